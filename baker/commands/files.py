"""`ani3d inspect` and `convert`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from baker.commands.inputs import (
    add_avatar_options,
    add_character_options,
    add_motion_options,
    avatar_options,
    motion_options,
)
from runtime.arguments import parse_bundle


def add_commands(commands: Any) -> None:
    """The commands from file to file."""
    inspect = commands.add_parser("inspect", help="what a bundle, an avatar or a motion holds",
                                  description="Say what a file is: counts, skeleton, units, axes, rate, warnings; for "
                                  "splats, the body fitted to them and how sure that is.")
    inspect.add_argument("file", type=parse_bundle, metavar="FILE",
                         help="a bundle, a bake's folder, an avatar, a motion (FILE.glb#CLIP), a folder")
    inspect.add_argument("--json", action="store_true")
    inspect.add_argument("--picture", type=Path, metavar="OUT.png", help="draw it")
    inspect.add_argument("--textures", type=Path, metavar="DIR",
                        help="where a character's texture files are, or a folder above")
    add_avatar_options(inspect)
    inspect.set_defaults(run=run_inspect)

    convert = commands.add_parser("convert", help="write a motion or splats as another kind of file",
                                  description="Motions become .bvh, AMASS-layout .npz or a folder of LHM's frames; "
                                  "avatars become splats in the zero pose (.ply, .spz, .sog, .splat, .ksplat).")
    convert.add_argument("source", metavar="IN")
    convert.add_argument("target", type=Path, metavar="OUT")
    add_character_options(convert)
    add_avatar_options(convert)
    add_motion_options(convert)
    convert.set_defaults(run=run_convert)


def run_inspect(args: argparse.Namespace) -> None:
    """Print what a file holds."""
    if args.file.suffix == ".ani3d" and args.picture is None:
        # A bundle is read without the baker's packages.
        from runtime.inspect import inspect_bundle

        facts = inspect_bundle(args.file)
        lines = "\n".join(f"{key:28} {json.dumps(value) if isinstance(value, (dict, list)) else value}"
                          for key, value in facts.items())
    else:
        from baker.inspect_file import format_facts, inspect_file

        facts = inspect_file(str(args.file), options=avatar_options(args), textures=args.textures,
                             picture=args.picture)
        lines = format_facts(facts)
    print(json.dumps(facts, indent=1) if args.json else lines)


def run_convert(args: argparse.Namespace) -> None:
    """Write a file as another kind."""
    from baker.convert import convert

    print(convert(args.source, args.target, avatar_options=avatar_options(args), parts=args.parts,
                  textures=args.textures, count=args.gaussians,
                  motion_options=replace(motion_options(args), frames=args.frames)))
