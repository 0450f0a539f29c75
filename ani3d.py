"""The `ani3d` command. Every package is imported by the subcommand that needs it, so `--help` is instant.

Exit codes: 0 done, 1 a defect of ours or an interrupted run, 2 bad use or bad input (one line says what to do).
"""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from baker.commands import bake, evaluate, files, prior
from runtime.arguments import (
    parse_bundle,
    parse_color,
    parse_count,
    parse_number,
    parse_range,
    parse_seconds,
    parse_size,
)
from viewer import command as play

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
  ani3d render X.ani3d --time 1 -o still.png   one moment
  ani3d inspect FILE [--picture OUT.png]       what a bundle, an avatar or a motion holds
  ani3d convert IN OUT                         a motion or splats as another kind of file
  ani3d export X.ani3d --to glb -o X.glb       for Unity, Unreal, the web, Blender, Houdini, splat viewers

Where X.ani3d is asked for, X.bake will do.
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


def build_parser() -> argparse.ArgumentParser:
    """The whole command line. What concerns one package stands there; what joins several stands here."""
    parser = argparse.ArgumentParser(prog="ani3d", description=DESCRIPTION, formatter_class=RAW)
    parser.add_argument("--version", action="version", version=f"ani3d {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add_demo(commands)
    bake.add_commands(commands)
    play.add_command(commands)
    add_render(commands)
    files.add_commands(commands)
    add_export(commands)
    prior.add_commands(commands)
    evaluate.add_commands(commands)
    add_bench(commands)
    return parser


def add_demo(commands: Any) -> None:
    """`ani3d demo`."""
    demo = commands.add_parser("demo", help="bake the built-in person and show it",
                               description="Bake the built-in person walking, then open the window "
                               "(or, with --headless, leave demo.ani3d, orbit.mp4 and report.html in the folder).")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder (default: demo)")
    demo.add_argument("--motion", default="walk", choices=("walk", "run", "twirl", "jump"))
    demo.add_argument("--headless", action="store_true", help="open no window")
    demo.set_defaults(run=run_demo)


def add_render(commands: Any) -> None:
    """`ani3d render`."""
    render = commands.add_parser("render", help="render a bundle to a video or a picture",
                                 description="Render a bundle to a video, or one moment of it to a picture, without "
                                 "a display.")
    render.add_argument("bundle", type=parse_bundle, metavar="X.ani3d", help="or a bake's folder")
    render.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="X.mp4, X.png or X.jpg")
    render.add_argument("--orbit", action="store_true", default=None,
                        help="video: one full orbit; without it a fixed front view")
    render.add_argument("--turns", type=parse_number, help="video: orbits (default 1 with --orbit, else 0)")
    render.add_argument("--seconds", type=parse_seconds,
                        help="video: length (default: the clip's, at least 6 s with --orbit)")
    render.add_argument("--time", type=parse_number, metavar="S", help="picture: seconds into the clip (default 0)")
    render.add_argument("--azimuth", type=parse_number, metavar="DEGREES",
                        help="picture: from where; 0 is in front (default), 90 at the figure's left")
    render.add_argument("--size", type=parse_size, default=(480, 832), metavar="WxH", help="default 480x832")
    render.add_argument("--rigid", action="store_true", help="without the residual, for comparison")
    render.add_argument("--background", type=parse_color, default=(0.5, 0.5, 0.5), metavar="R,G,B",
                        help="sRGB in 0..1 (default 0.5,0.5,0.5)")
    render.add_argument("--backend", choices=("cpu", "gl", "compute", "instances"), default="cpu",
                        help="cpu, or OpenGL through EGL: gl picks compute (4.3) or instances (3.3)")
    render.add_argument("--clip", type=int, default=0, metavar="I", help="which clip (default 0)")
    render.add_argument("--lod", type=parse_count, metavar="N", help="only the N most important Gaussians")
    render.set_defaults(run=run_render)


def add_export(commands: Any) -> None:
    """`ani3d export`; a format ignores options it has no use for."""
    export = commands.add_parser("export", help="write a bundle for engines, viewers and other programs",
                                 epilog=EXPORT_EPILOG, formatter_class=RAW,
                                 description="Write a bundle in a format that other programs read.")
    export.add_argument("bundle", type=parse_bundle, metavar="X.ani3d", help="or a bake's folder")
    export.add_argument("--to", required=True, metavar="FORMAT")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE_OR_DIR")
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
    export.set_defaults(run=run_export)


def add_bench(commands: Any) -> None:
    """`ani3d bench`."""
    bench = commands.add_parser("bench", help="measure")
    bench.add_argument("what", choices=("raster", "field", "step", "play", "decode", "soak", "gl", "export",
                                        "import", "gpu", "wan"))
    bench.add_argument("bundle", nargs="?", metavar="FILE", help="for play to export: a bundle (default: the "
                       "yardstick); for import: a character in parts, measured against its own mesh")
    bench.add_argument("--json", action="store_true")
    bench.add_argument("--gate", action="store_true",
                       help="raster, field, step: exit code 1 when a ratio or the memory is worse than the baseline's")
    bench.set_defaults(run=run_bench)


def run_demo(args: argparse.Namespace) -> None:
    """Bake the built-in person, then show the result."""
    from baker.demo import make_demo

    bundle = make_demo(args.output, motion=args.motion)
    if not args.headless:
        from viewer.app import play

        play([bundle])


def run_render(args: argparse.Namespace) -> None:
    """Render a video or a picture, on the CPU or with OpenGL, as the output's ending says."""
    from export_formats.picture import KINDS
    from runtime.bundle import read_bundle
    from runtime.errors import InputError
    from runtime.lod import at_most
    from runtime.player import Player

    ending = args.output.suffix.lower()
    if ending not in (".mp4", *KINDS):
        raise InputError(f"{args.output}: end the name with .mp4 for a video, or with {', '.join(KINDS)} for a picture")
    foreign = ("time", "azimuth") if ending == ".mp4" else ("orbit", "turns", "seconds")
    given = [f"--{name}" for name in foreign if getattr(args, name) is not None]
    if given:
        kind, other = ("video", "picture (.png, .jpg)") if ending == ".mp4" else ("picture", "video (.mp4)")
        raise InputError(f"{args.output}: is a {kind}; {', '.join(given)} goes with a {other}")
    player = Player(at_most(read_bundle(args.bundle), args.lod), args.clip)
    (render_video if ending == ".mp4" else render_picture)(player, args)
    print(args.output)


def render_video(player: Any, args: argparse.Namespace) -> None:
    """The clip, looping, as an MP4."""
    from export_formats.mp4 import write_mp4
    from runtime.player import orbit_frames

    turns = args.turns if args.turns is not None else 1.0 if args.orbit else 0.0
    seconds = args.seconds if args.seconds is not None else max(player.duration, 6.0 if turns else 0.0)
    seen = {"size": args.size, "turns": turns, "seconds": seconds, "background": args.background,
            "residual": not args.rigid}
    if args.backend == "cpu":
        frames = orbit_frames(player, **seen)
    else:
        from viewer import headless

        frames = headless.orbit_frames(player, **seen, renderer=None if args.backend == "gl" else args.backend)
    total = max(round(seconds * player.fps), 1)
    write_mp4(with_progress(frames, total, "rendering"), args.output, fps=player.fps, size=args.size)


def render_picture(player: Any, args: argparse.Namespace) -> None:
    """One moment of the clip."""
    from export_formats.picture import write_picture
    from runtime.errors import InputError
    from runtime.player import picture

    time = args.time or 0.0
    if not 0 <= time <= player.duration + 1e-6:
        raise InputError(f"{args.bundle}: time {time:g} s is not in the clip, 0 to {player.duration:g} s")
    seen = {"size": args.size, "azimuth": math.radians(args.azimuth or 0.0), "background": args.background,
            "residual": not args.rigid}
    if args.backend == "cpu":
        pixels = picture(player, time, **seen)
    else:
        from viewer import headless

        with headless.drawing(player, None if args.backend == "gl" else args.backend) as renderer:
            pixels = headless.picture(renderer, player, time, **seen)
    write_picture(pixels, args.output)


def with_progress(items: Iterable[Any], total: int, text: str) -> Iterable[Any]:
    """Pass items on under a progress bar with the time left; silent when the output is not a terminal."""
    from rich.progress import track

    return track(items, description=text, total=total, disable=not sys.stderr.isatty(), transient=True)


def run_export(args: argparse.Namespace) -> None:
    """Write a bundle in another format and print what came of it."""
    from export_formats import ExportOptions
    from export_formats.command import as_json, as_text, export

    report = export(args.bundle, args.output, to=args.to, options=ExportOptions(
        clip=args.clip, all_clips=args.all_clips, time=args.time, rest=args.rest, frames=args.frames, fps=args.fps,
        lod=args.lod, axes=args.axes, residual=not args.rigid, sh_degree=args.sh_degree,
        spz_version=args.spz_version, texture=args.texture))
    print(json.dumps(as_json(report), indent=1) if args.json else as_text(report))


def run_bench(args: argparse.Namespace) -> None:
    """Measure one part, print the figures, and judge them where asked."""
    figures = measure(args.what, args.bundle)
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


def measure(what: str, bundle: str | None) -> dict[str, Any]:
    """The figures of one part, by name."""
    if what in ("play", "decode", "soak"):
        from runtime import bench_play

        return {"play": bench_play.bench_play, "decode": bench_play.bench_decode, "soak": bench_play.soak}[what](bundle)
    if what == "gl":
        from viewer.bench import bench_gl

        return bench_gl(bundle)
    if what == "export":
        from export_formats.bench import bench_export

        return bench_export(bundle)
    if what == "import":
        from baker.bench_import import bench_import
        from runtime.errors import InputError

        if bundle is None:
            raise InputError("bench import: give a character in parts (.npz)")
        return bench_import(Path(bundle))
    if what == "wan":
        from baker.bench_wan import bench_wan

        return bench_wan()
    from baker import bench

    return {"raster": bench.bench_raster, "field": bench.bench_field, "step": bench.bench_step,
            "gpu": bench.bench_gpu}[what]()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    from runtime.errors import InputError

    try:
        args = build_parser().parse_args(argv)
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
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        print(f"ani3d: {str(error.filename)[:200]}: {error.strerror}; {REMEDIES[error.errno]}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in EXTRA_OF:
            extra = EXTRA_OF[error.name.split(".")[0]]
            print(f"ani3d: this command needs {error.name}: pip install 'ani3d[{extra}]'", file=sys.stderr)
            return 2
        raise
    return 0


REMEDIES = {errno.ENAMETOOLONG: "give a shorter one", errno.EROFS: "write elsewhere",
            errno.ENOSPC: "free some space; the same command continues",
            errno.EDQUOT: "free some space; the same command continues"}
"""What to do about errors of the file system that can come from anywhere."""
EXTRA_OF = {"torch": "bake", "diffusers": "bake", "transformers": "bake", "safetensors": "bake", "scipy": "bake",
            "filelock": "bake", "numba": "play", "pyglet": "view", "av": "export", "PIL": "export",
            "zstandard": "formats", "pxr": "formats",
            "gsplat": "gpu", "smplx": "smplx-noncommercial"}
"""Third-party module to the extra that brings it."""


if __name__ == "__main__":
    sys.exit(main())
