"""`ani3d play`."""

from __future__ import annotations

import argparse
from typing import Any

from runtime.arguments import parse_bundle, parse_count, parse_size


def add_command(commands: Any) -> None:
    """The command that opens the window."""
    play = commands.add_parser("play", help="open bundles in a window")
    play.add_argument("bundles", nargs="+", type=parse_bundle, metavar="X.ani3d", help="or a bake's folder")
    play.add_argument("--size", type=parse_size, default=(480, 832), metavar="WxH")
    play.add_argument("--backend", choices=("auto", "compute", "instances", "cpu"), default="auto",
                      help="what draws: OpenGL 4.3 compute, OpenGL 3.3 with the CPU's player, or the CPU alone")
    play.add_argument("--lod", type=parse_count, metavar="N", help="only the N most important Gaussians of each")
    play.set_defaults(run=run_play)


def run_play(args: argparse.Namespace) -> None:
    """Open the window."""
    from viewer.app import play

    renderer = None if args.backend == "auto" else args.backend
    play(args.bundles, size=args.size, renderer=renderer, lod=args.lod)
