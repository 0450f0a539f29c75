"""Options of avatars and motions, which several subcommands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from runtime.arguments import parse_range


def add_character_options(parser: argparse.ArgumentParser) -> None:
    """What of the inputs is used."""
    add_outfit_options(parser)
    parser.add_argument("--frames", type=parse_range, metavar="A:B", help="frames A..B-1 of the motion only")


def add_outfit_options(parser: argparse.ArgumentParser) -> None:
    """What of a character file is used."""
    parser.add_argument("--parts", type=lambda text: tuple(text.split(",")), default=(), metavar="A,B,…",
                        help="all parts of a character file to show, the body too (default: those that fit together; "
                        "`ani3d inspect` lists them)")
    parser.add_argument("--textures", type=Path, metavar="DIR",
                        help="where a character's texture files are, or a folder above")
    parser.add_argument("--gaussians", type=int, metavar="N", help="how many Gaussians to make from a mesh")


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


def avatar_options(args: argparse.Namespace) -> Any:
    """The `AvatarOptions` of the options of `add_avatar_options`."""
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


def motion_options(args: argparse.Namespace) -> Any:
    """The `MotionOptions` of the options of `add_motion_options`; those of the range are the command's own."""
    from baker.motion_options import MotionOptions

    return MotionOptions(fps=args.fps, speed=args.speed, loop=args.loop, in_place=args.in_place, up=args.motion_up,
                         plant_feet=not args.no_plant).check()


def add_settings(parser: argparse.ArgumentParser, examples: str) -> None:
    """Changes of the fields of a config."""
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="settings",
                        help=f"e.g. {examples} (repeatable)")
