"""The `ani3d` command. Every package is imported by the subcommand that needs it, so `--help` is instant.

Exit codes: 0 done, 1 a defect of ours or an interrupted run, 2 bad use or bad input (one line says what to do).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Before torch or numba load (DESIGN §12): libgomp's spinning and a second thread pool cost a third of every step.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")

__version__ = "0.1.0"

RAW = argparse.RawDescriptionHelpFormatter
"""Keeps the line breaks of the texts below."""

DESCRIPTION = """\
ani3d bakes the cloth of a video prior into a rigged 3D Gaussian person, and plays the result in real time.

  ani3d demo                                   bake the built-in person and show it
  ani3d bake AVATAR MOTION -o X.bake           make X.bake/060_bundle/X.ani3d and a report
  ani3d status X.bake                          what is done, how long it took
  ani3d play X.ani3d                           open a window
  ani3d render X.ani3d --orbit -o orbit.mp4    one orbit while the motion plays
  ani3d inspect FILE [--picture OUT.png]       what a bundle, an avatar or a motion holds
  ani3d convert IN OUT                         a motion or splats as another kind of file
  ani3d export X.ani3d --to glb -o X.glb       for Unity, Unreal, the web, Blender, Houdini, splat viewers
"""

EXPORT_EPILOG = """\
FORMAT  one frame       ply | compressed-ply | spz | sog | splat | glb-still
        numbered files  ply-sequence | compressed-ply-sequence | spz-sequence | sog-sequence   (-o is a folder)
        animated        glb    KHR_gaussian_splatting with skin, morph targets and animation: no code of ours needed
                        usd    OpenUSD ParticleField3DGaussianSplat, time-sampled
                        vat    vertex animation textures (SideFX VAT 3.0 names) and bone texture   (-o is a folder)
        engines         unity | unreal | web   (-o is a folder), gsd   (a file for DazaiStudio's Unreal player)

Axes are three letters, where x, y and z point for a viewer who faces the figure: R or L, U or D, B (to the viewer) or
F (away). The bundle, glb, usd and spz are RUB; ply and splat are RDF, compressed-ply and sog LDB (PlayCanvas) unless
--axes says otherwise.
"""

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


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="ani3d", description=DESCRIPTION, formatter_class=RAW)
    parser.add_argument("--version", action="version", version=f"ani3d {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add_baking_commands(commands)
    add_playing_commands(commands)
    add_file_commands(commands)
    add_prior_commands(commands)
    add_measuring_commands(commands)
    return parser


def add_baking_commands(commands: Any) -> None:
    """The commands that make bundles."""
    demo = commands.add_parser("demo", help="bake the built-in person and show it",
                               description="Bake the built-in person walking, then open the window "
                               "(or, with --headless, leave demo.ani3d, orbit.mp4 and report.html in the folder).")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder (default: demo)")
    demo.add_argument("--motion", default="walk", choices=("walk", "run", "twirl", "jump"))
    demo.add_argument("--headless", action="store_true", help="open no window")
    demo.set_defaults(run=run_demo)

    bake = commands.add_parser("bake", help="bake an avatar and a motion", epilog=BAKE_EPILOG, formatter_class=RAW,
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
    drive.add_argument("bundle", type=Path, metavar="X.ani3d")
    drive.add_argument("motion", metavar="MOTION", help="as for bake")
    drive.add_argument("-o", "--output", type=Path, required=True, metavar="Y.ani3d")
    drive.set_defaults(run=run_drive)


def add_playing_commands(commands: Any) -> None:
    """The commands that show bundles."""
    play = commands.add_parser("play", help="open bundles in a window")
    play.add_argument("bundles", nargs="+", metavar="X.ani3d")
    play.add_argument("--size", type=parse_size, default=(480, 832), metavar="WxH")
    play.add_argument("--backend", choices=("auto", "compute", "instances", "cpu"), default="auto",
                      help="what draws: OpenGL 4.3 compute, OpenGL 3.3 with the CPU's player, or the CPU alone")
    play.add_argument("--lod", type=parse_count, metavar="N", help="only the N most important Gaussians of each")
    play.set_defaults(run=run_play)

    render = commands.add_parser("render", help="render a bundle to a video",
                                 description="Render a bundle to an MP4, without a display.")
    render.add_argument("bundle", metavar="X.ani3d")
    render.add_argument("-o", "--output", type=Path, required=True, metavar="X.mp4")
    render.add_argument("--orbit", action="store_true", help="one full orbit; without it a fixed front view")
    render.add_argument("--turns", type=float, help="orbits (default 1 with --orbit, else 0)")
    render.add_argument("--seconds", type=float, help="length (default: the clip's, at least 6 s with --orbit)")
    render.add_argument("--size", type=parse_size, default=(480, 832), metavar="WxH", help="default 480x832")
    render.add_argument("--rigid", action="store_true", help="without the residual, for comparison")
    render.add_argument("--background", type=parse_color, default=(0.5, 0.5, 0.5), metavar="R,G,B",
                        help="sRGB in 0..1 (default 0.5,0.5,0.5)")
    render.add_argument("--backend", choices=("cpu", "gl", "compute", "instances"), default="cpu",
                        help="cpu, or OpenGL through EGL: gl picks compute (4.3) or instances (3.3)")
    render.add_argument("--clip", type=int, default=0, metavar="I", help="which clip (default 0)")
    render.add_argument("--lod", type=parse_count, metavar="N", help="only the N most important Gaussians")
    render.set_defaults(run=run_render)


def add_file_commands(commands: Any) -> None:
    """The commands from file to file."""
    inspect = commands.add_parser("inspect", help="what a bundle, an avatar or a motion holds",
                                  description="Say what a file is: counts, skeleton, units, axes, rate, warnings; for "
                                  "splats, the body fitted to them and how sure that is.")
    inspect.add_argument("file", metavar="FILE", help="a bundle, an avatar, a motion (FILE.glb#CLIP), a folder")
    inspect.add_argument("--json", action="store_true")
    inspect.add_argument("--picture", type=Path, metavar="OUT.png", help="draw it")
    add_avatar_options(inspect)
    inspect.set_defaults(run=run_inspect)

    convert = commands.add_parser("convert", help="write a motion or splats as another kind of file",
                                  description="Motions become .bvh, AMASS-layout .npz or a folder of LHM's frames; "
                                  "avatars become splats in the zero pose (.ply, .spz, .sog, .splat, .ksplat).")
    convert.add_argument("source", metavar="IN")
    convert.add_argument("target", type=Path, metavar="OUT")
    convert.add_argument("--frames", type=parse_range, metavar="A:B", help="frames A..B-1 of the motion only")
    convert.add_argument("--gaussians", type=int, metavar="N", help="how many Gaussians to make from a mesh")
    add_avatar_options(convert)
    add_motion_options(convert)
    convert.set_defaults(run=run_convert)

    export = commands.add_parser("export", help="write a bundle for engines, viewers and other programs",
                                 epilog=EXPORT_EPILOG, formatter_class=RAW,
                                 description="Write a bundle in a format that other programs read.")
    export.add_argument("bundle", type=Path, metavar="X.ani3d")
    export.add_argument("--to", required=True, metavar="FORMAT")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE_OR_DIR")
    add_export_options(export)
    export.set_defaults(run=run_export)


def add_prior_commands(commands: Any) -> None:
    """The commands of the video prior and its truth."""
    prior = commands.add_parser("prior", help="train or describe a video prior")
    actions = prior.add_subparsers(dest="action", required=True, metavar="ACTION")
    train = actions.add_parser(
        "train", help="train the embedded prior on simulated cloth, or a Wan prior on your clips; resumable",
        description="Train the embedded prior on clips with simulated cloth, or with --backend a Wan prior on your own "
        "(folders of video.mp4, pose.mp4, reference.png). Several GPUs: accelerate launch -m ani3d prior train ...")
    train.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    train.add_argument("--backend", choices=("embedded", "wan-fun-control", "wan-vace"), default="embedded")
    train.add_argument("--prior-path", type=Path, metavar="DIR", help="the Wan model's folder")
    train.add_argument("--clips", type=Path, metavar="DIR", help="folder of clips, one folder each")
    train.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="settings",
                       help="e.g. steps=1000, lora_rank=32 (0: all weights), width=480, height=832, frames=81 "
                       "(repeatable)")
    train.set_defaults(run=run_prior_train)
    personal = actions.add_parser(
        "personalise", help="fine-tune the embedded prior on an avatar's own garments; resumable",
        description="Simulate the avatar's garments over the motions and fine-tune the embedded prior's weights on it. "
        "Use the result with: ani3d bake ... --prior-path DIR/embedded.safetensors")
    personal.add_argument("avatar", metavar="AVATAR")
    personal.add_argument("motions", metavar="MOTION", nargs="+", help="names or files to learn from")
    personal.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    personal.add_argument("--held-out", default="jump", metavar="MOTION",
                          help="what the result is measured on and not learnt from (default: jump)")
    personal.add_argument("--prior-path", type=Path, metavar="FILE", help="weights to begin with (default: shipped)")
    personal.add_argument("--parts", type=lambda text: tuple(text.split(",")), default=(), metavar="A,B,…",
                          help="parts of a character file to wear")
    personal.add_argument("--textures", type=Path, metavar="DIR", help="where a character's texture files are")
    personal.add_argument("--gaussians", type=int, metavar="N", help="how many Gaussians to make from a mesh")
    personal.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="settings",
                          help="e.g. steps=300, variations=2, learning_rate=2e-4 (repeatable)")
    personal.set_defaults(run=run_prior_personalise)
    info = actions.add_parser("info", help="what weights or a Wan model's folder hold, and what is missing")
    info.add_argument("path", nargs="?", type=Path, help="file or folder (default: the shipped weights)")
    info.set_defaults(run=run_prior_info)

    truth = commands.add_parser("truth", help="simulate an avatar's garments over a motion and write everything out",
                                description="Simulate the garments and write meshes, posed Gaussians, videos, masks.")
    truth.add_argument("avatar", metavar="AVATAR")
    truth.add_argument("motion", metavar="MOTION")
    truth.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    add_character_options(truth)
    truth.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="settings",
                       help="e.g. trajectories=1, width=128, height=224 (repeatable)")
    truth.set_defaults(run=run_truth)


def add_measuring_commands(commands: Any) -> None:
    """The commands that measure."""
    evaluate = commands.add_parser("evaluate", help="measure quality against simulated truth")
    subjects = evaluate.add_subparsers(dest="subject", required=True, metavar="WHAT")
    sampler = subjects.add_parser("sampler", help="the coarse video, rival samplers, ours and its ablations",
                                  description="Restore held-out clips with every sampler; write a table and pictures.")
    sampler.add_argument("-o", "--output", type=Path, default=Path("evaluation"), metavar="DIR")
    sampler.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="settings",
                         help="e.g. simulations=8, steps=9, prior_path=FILE, motion_folder=DIR (repeatable)")
    sampler.add_argument("--json", action="store_true")
    sampler.set_defaults(run=run_evaluate_sampler)

    baked = subjects.add_parser("bake", help="rigid skinning, bakes and their ablations against simulated cloth",
                                description="Bake held-out people from the prior and from the truth; write a table and "
                                "pictures. The defaults take about half an hour on two cores.")
    baked.add_argument("-o", "--output", type=Path, default=Path("evaluation"), metavar="DIR")
    baked.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="settings",
                       help="e.g. cases=3, iterations=2000, ablations=all, prior_path=FILE (repeatable)")
    baked.add_argument("--json", action="store_true")
    baked.set_defaults(run=run_evaluate_bake)

    bench = commands.add_parser("bench", help="measure")
    bench.add_argument("what", choices=("raster", "field", "step", "play", "decode", "soak", "gl", "export",
                                        "import", "gpu", "wan"))
    bench.add_argument("bundle", nargs="?", metavar="FILE", help="for play to export: a bundle (default: the "
                       "yardstick); for import: a character in parts, measured against its own mesh")
    bench.add_argument("--json", action="store_true")
    bench.add_argument("--gate", action="store_true",
                       help="raster, field, step: exit code 1 when a ratio or the memory is worse than the baseline's")
    bench.set_defaults(run=run_bench)


def add_bake_options(bake: argparse.ArgumentParser) -> None:
    """Options of `ani3d bake`; `--preset NAME --show-settings` prints a preset's values."""
    add_character_options(bake)
    add_avatar_options(bake)
    add_motion_options(bake)
    bake.add_argument("--binding", choices=("diffused", "nearest_vertex"), default="diffused",
                      help="how Gaussians follow the body (nearest_vertex: as LHM does, for comparison)")
    bake.add_argument("--preset", choices=("draft", "standard", "paper"), default="draft")
    bake.add_argument("--prior", default="embedded", help="video prior (default: embedded)")
    bake.add_argument("--prior-path", type=Path, help="its weights, where not shipped")
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
    bake.add_argument("--seed", type=int, default=0)
    bake.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", dest="settings",
                      help="change one setting of the preset, e.g. optimise.iterations=4000 (repeatable)")
    bake.add_argument("--show-settings", action="store_true", help="print the settings and stop")


def add_character_options(parser: argparse.ArgumentParser) -> None:
    """What of the inputs is used."""
    parser.add_argument("--parts", type=lambda text: tuple(text.split(",")), default=(), metavar="A,B,…",
                        help="parts of a character file to wear")
    parser.add_argument("--textures", type=Path, metavar="DIR", help="where a character's texture files are")
    parser.add_argument("--gaussians", type=int, metavar="N", help="how many Gaussians to make from a mesh")
    parser.add_argument("--frames", type=parse_range, metavar="A:B", help="frames A..B-1 of the motion only")


def add_export_options(export: argparse.ArgumentParser) -> None:
    """Options of `ani3d export`; a format ignores what it has no use for."""
    export.add_argument("--clip", type=int, default=0, metavar="N", help="which clip (default 0)")
    export.add_argument("--all-clips", action="store_true", help="glb: every clip, as an animation each")
    export.add_argument("--time", type=float, default=0.0, metavar="S", help="one frame: seconds into the clip")
    export.add_argument("--rest", action="store_true", help="one frame: the rest pose instead")
    export.add_argument("--frames", type=parse_range, metavar="A:B", help="frames A..B-1 only, counted at --fps")
    export.add_argument("--fps", type=float, help="frames a second (default: the clip's)")
    export.add_argument("--lod", type=int, metavar="N", help="the N most important Gaussians, enlarged to fill")
    export.add_argument("--axes", metavar="XYZ", help="axes of the file, see below")
    export.add_argument("--rigid", action="store_true", help="without the residual, for comparison")
    export.add_argument("--sh-degree", type=int, default=0, choices=(0, 1, 2, 3),
                        help="ply: zeros for readers that insist on f_rest")
    export.add_argument("--spz-version", type=int, default=3, choices=(2, 3, 4))
    export.add_argument("--texture", default="exr-half", choices=("exr-half", "exr-float", "png"),
                        help="vat: kind of textures")
    export.add_argument("--json", action="store_true")


def add_avatar_options(parser: argparse.ArgumentParser) -> None:
    """Companions and corrections of an avatar file."""
    avatar = parser.add_argument_group("avatar")
    avatar.add_argument("--body-model", type=Path, metavar="FILE.npz",
                        help="the body the splats were made on, in SMPL-X's layout")
    avatar.add_argument("--betas", type=Path, metavar="FILE", help="the subject's shape (.npz, .npy, .json)")
    avatar.add_argument("--sample-points", type=Path, metavar="FILE.ply", help="LHM's dense sample points")
    axes = ("x", "y", "z", "-x", "-y", "-z")
    avatar.add_argument("--up", choices=axes, help="up axis of a scan (default: found)")
    avatar.add_argument("--facing", choices=axes, help="where a scan faces (default: found)")
    avatar.add_argument("--pose", choices=("t", "a", "relaxed"), help="a scan's pose (default: found)")
    avatar.add_argument("--height", type=float, metavar="METRES", help="the person's height (default: the file's)")
    avatar.add_argument("--mirror", action="store_true", help="exchange a scan's left and right, where writing on "
                        "clothes reads backwards (no program can tell from the shape)")
    avatar.add_argument("--label", action="append", default=[], metavar="NAME=LABEL",
                        help="label of a mesh part by a part of its name, e.g. cape=garment (repeatable)")


def avatar_options(args: argparse.Namespace):
    """The options of `add_avatar_options`."""
    from baker.avatars.options import AvatarOptions, parse_label

    return AvatarOptions(body_model=args.body_model, betas=args.betas, sample_points=args.sample_points, up=args.up,
                         facing=args.facing, pose=args.pose, height=args.height,
                         mirror=args.mirror, labels=tuple(parse_label(text) for text in args.label)).check()


def add_motion_options(parser: argparse.ArgumentParser) -> None:
    """How a motion is used."""
    motion = parser.add_argument_group("motion")
    motion.add_argument("--fps", type=float, help="resample the motion to this rate (default: the file's)")
    motion.add_argument("--speed", type=float, default=1.0, help="times as fast (default 1)")
    motion.add_argument("--loop", type=float, default=0.0, metavar="SECONDS",
                        help="close the loop with a cross-fade of this length")
    motion.add_argument("--in-place", action="store_true", help="take the way out: move on the spot")
    motion.add_argument("--motion-up", choices=("x", "y", "z", "-x", "-y", "-z"),
                        help="the motion's up axis (default: found)")
    motion.add_argument("--no-plant", action="store_true", help="do not hold standing feet still")


def motion_options(args: argparse.Namespace):
    """The options of `add_motion_options`; those of the range are the command's own."""
    from baker.motion_options import MotionOptions

    return MotionOptions(fps=args.fps, speed=args.speed, loop=args.loop, in_place=args.in_place, up=args.motion_up,
                         plant_feet=not args.no_plant).check()


def parse_size(text: str) -> tuple[int, int]:
    """`480x832` to (480, 832)."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a size as 480x832") from None
    if not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise argparse.ArgumentTypeError(f"{text!r}: each side must be 16..8192 pixels")
    return width, height


def parse_count(text: str) -> int:
    """A number of at least one."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number of at least 1")
    return int(text)


def parse_range(text: str) -> tuple[int, int]:
    """`0:90` to (0, 90)."""
    try:
        start, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a range as 0:90") from None
    if not 0 <= start < stop:
        raise argparse.ArgumentTypeError(f"{text!r}: the range is empty")
    return start, stop


def parse_color(text: str) -> tuple[float, float, float]:
    """`1,1,1` to (1.0, 1.0, 1.0)."""
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a colour as 0.5,0.5,0.5") from None
    if not all(0 <= channel <= 1 for channel in (red, green, blue)):
        raise argparse.ArgumentTypeError(f"{text!r}: each channel must be in 0..1")
    return red, green, blue


def run_demo(args: argparse.Namespace) -> None:
    """Bake the built-in person, then show the result."""
    from baker.demo import make_demo

    bundle = make_demo(args.output, motion=args.motion)
    if not args.headless:
        from viewer.app import play

        play([bundle])


def run_bake(args: argparse.Namespace) -> None:
    """Run or continue a bake."""
    from baker.bake import BakeRequest, bake
    from baker.config import check, preset, show, with_settings
    from baker.devices import choose

    config = check(with_settings(preset(args.preset, supervision=args.supervision), args.settings))
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


def run_play(args: argparse.Namespace) -> None:
    """Open the window."""
    from viewer.app import play

    renderer = None if args.backend == "auto" else args.backend
    play([Path(bundle) for bundle in args.bundles], size=args.size, renderer=renderer, lod=args.lod)


def run_render(args: argparse.Namespace) -> None:
    """Render a video, on the CPU or with OpenGL."""
    from export_formats.mp4 import write_mp4
    from runtime.bundle import read_bundle
    from runtime.lod import at_most
    from runtime.player import Player, orbit_frames

    player = Player(at_most(read_bundle(Path(args.bundle)), args.lod), args.clip)
    turns = args.turns if args.turns is not None else float(args.orbit)
    seconds = args.seconds if args.seconds is not None else max(player.duration, 6.0 if turns else 0.0)
    if args.backend == "cpu":
        frames = orbit_frames(player, size=args.size, turns=turns, seconds=seconds, background=args.background,
                              residual=not args.rigid)
    else:
        from viewer import headless

        frames = headless.orbit_frames(player, size=args.size, turns=turns, seconds=seconds,
                                       background=args.background, residual=not args.rigid,
                                       renderer=None if args.backend == "gl" else args.backend)
    total = max(round(seconds * player.fps), 1)
    write_mp4(with_progress(frames, total, "rendering"), args.output, fps=player.fps, size=args.size)
    print(args.output)


def with_progress(items, total: int, text: str):
    """Pass items on under a progress bar with the time left; silent when the output is not a terminal."""
    from rich.progress import track

    return track(items, description=text, total=total, disable=not sys.stderr.isatty(), transient=True)


def run_drive(args: argparse.Namespace) -> None:
    """Train the pose residual if there is none, and add the motion."""
    from baker.residual_mlp import MlpConfig, drive

    drive(args.bundle, args.motion, args.output, MlpConfig())
    print(args.output)


def run_inspect(args: argparse.Namespace) -> None:
    """Print what a file holds."""
    if args.file.endswith(".ani3d") and args.picture is None:
        # A bundle is read without the baker's packages.
        from runtime.inspect import inspect_bundle

        facts = inspect_bundle(Path(args.file))
        lines = "\n".join(f"{key:28} {json.dumps(value) if isinstance(value, (dict, list)) else value}"
                          for key, value in facts.items())
    else:
        from baker.inspect_file import format_facts, inspect_file

        facts = inspect_file(args.file, options=avatar_options(args), picture=args.picture)
        lines = format_facts(facts)
    print(json.dumps(facts, indent=1) if args.json else lines)


def run_convert(args: argparse.Namespace) -> None:
    """Write a file as another kind."""
    from dataclasses import replace

    from baker.convert import convert

    print(convert(args.source, args.target, avatar_options=avatar_options(args), count=args.gaussians,
                  motion_options=replace(motion_options(args), frames=args.frames)))


def run_export(args: argparse.Namespace) -> None:
    """Write a bundle in another format and print what came of it."""
    from export_formats import ExportOptions
    from export_formats.command import as_json, as_text, export

    report = export(args.bundle, args.output, to=args.to, options=ExportOptions(
        clip=args.clip, all_clips=args.all_clips, time=args.time, rest=args.rest, frames=args.frames, fps=args.fps,
        lod=args.lod, axes=args.axes, residual=not args.rigid, sh_degree=args.sh_degree,
        spz_version=args.spz_version, texture=args.texture))
    print(json.dumps(as_json(report), indent=1) if args.json else as_text(report))


def run_prior_train(args: argparse.Namespace) -> None:
    """Make the training set and train; continues where it was stopped."""
    from baker.config import with_settings
    from baker.progress import Progress
    from runtime.errors import InputError

    if args.backend == "embedded":
        from baker.prior_training import PriorTrainConfig, train

        if args.clips or args.prior_path:
            raise InputError("the embedded prior learns from clips it makes itself; give --backend wan-fun-control or "
                             "wan-vace with --clips")
        with Progress() as progress:
            print(train(with_settings(PriorTrainConfig(), args.settings), args.output, progress.report))
        return
    from baker.wan_training import WanTrainConfig, train_on_clips

    if not args.clips or not args.prior_path:
        raise InputError(f"training {args.backend} needs --prior-path (the model's folder) and --clips (your clips)")
    with Progress() as progress:
        tuned = train_on_clips(args.backend, args.prior_path, args.clips, args.output,
                               with_settings(WanTrainConfig(), args.settings), progress.report)
    print(tuned)
    print(f"use it: ani3d bake ... --prior {args.backend} --prior-path {args.prior_path} --prior-tuned {tuned}")


def run_prior_info(args: argparse.Namespace) -> None:
    """Print what a weights folder holds."""
    from baker.prior_info import prior_info

    print(json.dumps(prior_info(args.path), indent=1))


def run_prior_personalise(args: argparse.Namespace) -> None:
    """Fine-tune the embedded prior on one avatar; continues where it was stopped."""
    from baker.avatars import load_avatar
    from baker.config import with_settings
    from baker.prior_personal import PersonalConfig, personalise
    from baker.progress import Progress

    config = with_settings(PersonalConfig(weights=str(args.prior_path or "")), args.settings)
    avatar = load_avatar(args.avatar, parts=args.parts, count=args.gaussians, texture_dir=args.textures)
    with Progress() as progress:
        made = personalise(avatar, args.motions, args.output, held_out=args.held_out, config=config,
                           progress=progress.report)
    print(json.dumps(made, indent=1))


def run_truth(args: argparse.Namespace) -> None:
    """Simulate garments and write the result."""
    from baker.avatars import load_avatar
    from baker.config import with_settings
    from baker.motions import MotionOptions, load_motion
    from baker.progress import Progress
    from baker.truth import TruthConfig, write_truth

    config = with_settings(TruthConfig(), args.settings)
    avatar = load_avatar(args.avatar, parts=args.parts, count=args.gaussians, texture_dir=args.textures)
    motion = load_motion(args.motion, avatar, options=MotionOptions(frames=args.frames))
    with Progress() as progress:
        print(write_truth(avatar, motion, args.output, config=config, progress=progress.report))


def run_evaluate_sampler(args: argparse.Namespace) -> None:
    """Measure samplers on held-out clips."""
    from baker.config import with_settings
    from baker.evaluate_sampler import EvaluationConfig, evaluate, table
    from baker.progress import Progress

    args.output.mkdir(parents=True, exist_ok=True)
    with Progress() as progress:
        result = evaluate(with_settings(EvaluationConfig(), args.settings), args.output, progress.report)
    print(json.dumps(result, indent=1) if args.json else table(result["rows"]), end="\n" if args.json else "")


def run_evaluate_bake(args: argparse.Namespace) -> None:
    """Measure bakes of held-out people."""
    from baker.config import with_settings
    from baker.evaluate_bake import BakeEvaluationConfig, evaluate, table
    from baker.progress import Progress

    config = with_settings(BakeEvaluationConfig(), args.settings)
    args.output.mkdir(parents=True, exist_ok=True)
    with Progress() as progress:
        result = evaluate(config, args.output, progress.report)
    print(json.dumps(result, indent=1) if args.json else table(result["means"]), end="\n" if args.json else "")


def run_bench(args: argparse.Namespace) -> None:
    """Measure one part and print the figures."""
    if args.what in ("play", "decode", "soak"):
        from runtime import bench_play

        play = {"play": bench_play.bench_play, "decode": bench_play.bench_decode, "soak": bench_play.soak}
        figures = play[args.what](args.bundle)
    elif args.what == "gl":
        from viewer.bench import bench_gl

        figures = bench_gl(args.bundle)
    elif args.what == "export":
        from export_formats.bench import bench_export

        figures = bench_export(args.bundle)
    elif args.what == "import":
        from baker.bench_import import bench_import

        if args.bundle is None:
            from runtime.errors import InputError

            raise InputError("bench import: give a character in parts (.npz)")
        figures = bench_import(Path(args.bundle))
    elif args.what == "wan":
        from baker.bench_wan import bench_wan

        figures = bench_wan()
    else:
        from baker import bench

        figures = {"raster": bench.bench_raster, "field": bench.bench_field, "step": bench.bench_step,
                   "gpu": bench.bench_gpu}[args.what]()
    if args.json:
        print(json.dumps(figures, indent=1))
    else:
        for key, value in figures.items():
            print(f"{key:48} {value}")
    if args.gate:
        from baker.bench_gate import GATES, failures

        worse = failures(args.what, figures) if args.what in GATES else [f"{args.what}: has no gate"]
        if worse:
            print("\n".join(f"ani3d: {line}" for line in worse), file=sys.stderr)
            raise SystemExit(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    args = build_parser().parse_args(argv)
    from runtime.errors import InputError

    try:
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # `ani3d inspect X | head`: nobody reads on. Without this the interpreter fails once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except InputError as error:
        print(f"ani3d: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ani3d: interrupted; the same command continues", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in EXTRA_OF:
            extra = EXTRA_OF[error.name.split(".")[0]]
            print(f"ani3d: this command needs {error.name}: pip install 'ani3d[{extra}]'", file=sys.stderr)
            return 2
        raise
    return 0


EXTRA_OF = {"torch": "bake", "diffusers": "bake", "transformers": "bake", "safetensors": "bake", "scipy": "bake",
            "filelock": "bake", "numba": "play", "pyglet": "view", "av": "export", "PIL": "export",
            "zstandard": "formats", "pxr": "formats",
            "gsplat": "gpu", "smplx": "smplx-noncommercial"}
"""Third-party module to the extra that brings it."""


if __name__ == "__main__":
    sys.exit(main())
