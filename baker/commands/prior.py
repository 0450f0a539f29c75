"""`ani3d prior` and `truth`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from baker.commands.inputs import add_character_options, add_outfit_options, add_settings


def add_commands(commands: Any) -> None:
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
    add_settings(train, "steps=1000, lora_rank=32 (0: all weights), width=480, height=832, frames=81")
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
    add_outfit_options(personal)
    add_settings(personal, "steps=600, variations=4, materials=True")
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
    add_settings(truth, "trajectories=1, width=128, height=224")
    truth.set_defaults(run=run_truth)


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
