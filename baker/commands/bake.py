"""`ani3d bake`, `status` and `drive`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from baker.commands.inputs import (
    add_avatar_options,
    add_character_options,
    add_motion_options,
    avatar_options,
    motion_options,
)
from baker.config import PRESETS, BakeConfig, check, preset, show, with_settings
from runtime.arguments import parse_bundle

BAKE_EPILOG = """\
AVATAR   builtin[:SEED]  the built-in person; with a number, another one
         FILE.npz        a SMPL-X-layout character in parts (NAME_v, NAME_w, NAME_f, NAME_vt, NAME_ft), or a body
                         model (SMPL, SMPL-H, SMPL-X)
         FILE.glb        a skinned mesh on any skeleton (.glb, .gltf, .vrm, .fbx)
         FILE.ply        splats of a standing person (.ply, .spz, .sog, .splat, .ksplat): a body is fitted to them.
                         LHM's and LHM++'s: give --body-model SMPLX.npz --betas FILE, and --sample-points if
                         you have them
MOTION   walk | run | twirl | jump
         FILE.bvh        of any tool; .amc with its .asf beside it
         FILE.npz        AMASS layout (SMPL, SMPL-H or SMPL-X)
         FILE.glb#CLIP   an animation of a .glb, .gltf, .vrm or .fbx
         FOLDER          LHM's frames, 00001.json, …
         A skeleton other than the avatar's is retargeted; feet that stand are planted.

A bake that was stopped at any moment continues when the same command is given again.
A changed setting runs its stage and the later ones again, nothing earlier.

"""

MAIN_SETTINGS = (
    "coarse.trajectories", "coarse.width", "coarse.height", "restore.sampling.steps", "optimise.iterations",
    "optimise.update_every", "optimise.dssim", "optimise.isometry", "optimise.field.base", "optimise.field.levels",
    "optimise.field.features", "optimise.field.time_samples", "distil.psnr_db")
"""What the manual says of every preset."""


def add_commands(commands: Any) -> None:
    """The commands that make bundles of one's own."""
    bake = commands.add_parser("bake", help="bake an avatar and a motion", epilog=BAKE_EPILOG + preset_table(),
                               formatter_class=argparse.RawDescriptionHelpFormatter,
                               description="Bake an avatar and a motion into a playable bundle.")
    bake.add_argument("avatar", metavar="AVATAR")
    bake.add_argument("motion", metavar="MOTION")
    bake.add_argument("-o", "--output", type=Path, required=True, metavar="X.bake", help="folder of the bake")
    add_bake_options(bake)
    bake.set_defaults(run=run_bake)

    status = commands.add_parser("status", help="stages of a bake")
    status.add_argument("bake", type=Path, metavar="X.bake")
    status.add_argument("--json", action="store_true")
    status.set_defaults(run=run_status)

    drive = commands.add_parser("drive", help="add a motion that was not baked",
                                description="Add a motion to a bundle. Its cloth is moved by a small network from "
                                "pose to the baked clip's textures, trained from the baked clips in seconds.")
    drive.add_argument("bundle", type=parse_bundle, metavar="X.ani3d", help="or a bake's folder")
    drive.add_argument("motion", metavar="MOTION", help="as for bake")
    drive.add_argument("-o", "--output", type=Path, required=True, metavar="Y.ani3d")
    drive.set_defaults(run=run_drive)


def add_bake_options(bake: argparse.ArgumentParser) -> None:
    """Options of `ani3d bake`; `--preset NAME --show-settings` prints a preset's values."""
    add_character_options(bake)
    add_avatar_options(bake)
    add_motion_options(bake)
    bake.add_argument("--binding", choices=("diffused", "nearest_vertex"), default="diffused",
                      help="how Gaussians follow the body (nearest_vertex: as LHM does, for comparison)")
    bake.add_argument("--preset", choices=PRESETS, default="draft",
                      help="how large and how long, see below (default: draft)")
    bake.add_argument("--prior", default="embedded", metavar="NAME",
                      help="video prior: embedded (default), wan-fun-control or wan-vace")
    bake.add_argument("--prior-path", type=Path, metavar="PATH",
                      help="its weights: the Wan model's folder, or a file for embedded (default: the shipped)")
    bake.add_argument("--prior-tuned", type=Path, metavar="DIR", help="what `ani3d prior train --backend` made of it")
    bake.add_argument("--segmenter", choices=("labels", "grounded-sam2"), default="labels",
                      help="who finds what must be preserved (default: the Gaussians' labels, exact)")
    bake.add_argument("--segmenter-path", type=Path, metavar="DIR", help="its weights: grounding-dino/ and sam2/")
    bake.add_argument("--supervision", choices=("prior", "simulation"), default="prior",
                      help="learn from the video prior, or from a cloth simulation of the avatar's garments")
    bake.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                      help="where the optimisation runs (default: an NVIDIA GPU where gsplat works, else the CPU)")
    bake.add_argument("--rasteriser", choices=("cpu", "reference", "gsplat"), help="default: the device's own")
    bake.add_argument("--residual-mlp", action="store_true",
                      help="train the network from pose to cloth too; `ani3d drive` then needs no training")
    bake.add_argument("--seed", type=int, default=0, help="of noise and sampling order (default 0)")
    bake.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", dest="settings",
                      help="change one setting of the preset, e.g. optimise.iterations=4000 (repeatable)")
    bake.add_argument("--show-settings", action="store_true", help="print the settings and stop")


def preset_table() -> str:
    """The presets side by side, in the names that --set takes: their main settings, and all that tell them apart."""
    usual = [_settings(preset(name)) for name in PRESETS]
    rows = [(name, [column[name] for column in usual]) for name in usual[0]
            if name in MAIN_SETTINGS or len({column[name] for column in usual}) > 1]
    others = {"--supervision simulation": [_settings(preset(name, supervision="simulation")) for name in PRESETS],
              "a Wan prior": [_settings(preset(name, prior="wan-fun-control")) for name in PRESETS]}
    rows += [(f"{name}, {note}", [column[name] for column in columns]) for note, columns in others.items()
             for name in MAIN_SETTINGS if [c[name] for c in columns] != [c[name] for c in usual]]
    lines = [f"{name:54}" + "".join(f"{value:>10}" for value in values)
             for name, values in [("PRESET", PRESETS), *rows]]
    return "\n  ".join([*lines, "(every setting of one: the whole command with --preset NAME --show-settings)"])


def _settings(config: BakeConfig) -> dict[str, str]:
    """Setting to value, as `--show-settings` prints them."""
    return dict(line.split(" = ", 1) for line in show(config).splitlines())


def run_bake(args: argparse.Namespace) -> None:
    """Run or continue a bake."""
    from baker.bake import BakeRequest, bake
    from baker.devices import choose

    config = check(with_settings(preset(args.preset, supervision=args.supervision, prior=args.prior),
                                 args.settings))
    if args.show_settings:
        print(show(config))
        return
    device, rasteriser = choose(args.device)
    request = BakeRequest(
        avatar=args.avatar, motion=args.motion, motion_options=motion_options(args), output=args.output,
        avatar_options=avatar_options(args),
        parts=args.parts, textures=args.textures,
        gaussians=args.gaussians, frames=args.frames, binding=args.binding, prior=args.prior,
        prior_path=args.prior_path,
        prior_tuned=args.prior_tuned, segmenter=args.segmenter, segmenter_path=args.segmenter_path,
        supervision=args.supervision, device=device,
        rasteriser=args.rasteriser or rasteriser, seed=args.seed, residual_mlp=args.residual_mlp)
    result = bake(request, config)
    print(f"bundle  {result.bundle}\nreport  {result.report}")


def run_status(args: argparse.Namespace) -> None:
    """Print the stages of a bake."""
    from baker.stages import status

    rows = status(args.bake)
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        seconds = f"{row['seconds']:8.1f} s" if row["seconds"] is not None else " " * 10
        print(f"{row['stage']:14} {row['state']:12} {seconds}")


def run_drive(args: argparse.Namespace) -> None:
    """Train the pose residual if there is none, and add the motion."""
    from baker.residual_mlp import MlpConfig, drive

    drive(args.bundle, args.motion, args.output, MlpConfig())
    print(args.output)
