"""`ani3d prior personalise AVATAR MOTION... -o DIR`: the embedded prior fine-tuned on one avatar's own garments.

The garments are simulated over the motions, clips of them are rendered as `baker/prior_data.py` does, and the shipped
weights (or others) learn them for some hundred steps. A motion that is not learnt from says whether it helped: the
weights given are kept unless others measure better on it. Killed and started again, it goes on.

    DIR/embedded.safetensors   the weights, for --prior-path
    DIR/personal.json          the avatar, the motions, the weights begun with, and the measures before and after
    DIR/log.jsonl, clips/, checkpoint.safetensors, strips_*.png
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np

from baker.avatar import Avatar
from baker.cloth import ClothConfig
from baker.motion_options import MotionOptions
from baker.motions import ProceduralName, load_motion
from baker.prior_batches import BatchConfig
from baker.prior_data import RATE, ClipStore, PriorDataConfig, Report, draw_material, render_clip, scene_of
from baker.prior_training import PriorTrainConfig, fit
from baker.priors.embedded import SHIPPED, EmbeddedPrior
from runtime.errors import InputError
from runtime.types import GaussianSet, Motion


@dataclass(frozen=True)
class PersonalConfig:
    """Settings of a fine-tuning."""

    seed: int = 0
    """Seeds variations, cameras and batches."""
    steps: int = 300
    """Optimiser steps. May be raised or lowered between runs of one fine-tuning."""
    learning_rate: float = 5e-5
    """What the training ends with. One run at 2e-4 (with half the clips, too) made f01's long skirt on a walk held out
    0.1 dB worse in 40 steps, 0.2 in 80; one at this made it 0.1 dB better in 30, 0.3 in 60."""
    variations: int = 2
    """Variations of each procedural motion; a file has one."""
    seconds: float = 3.0
    """Length of procedural motions [s]."""
    clips_per_simulation: int = 6
    """Clips rendered of each simulation."""
    held_out_clips: int = 4
    """Clips of the motion held out."""
    materials: bool = False
    """Vary the cloth's material between simulations; off, as an avatar's garment has one."""
    frames: int = 33
    """Frames of a clip, 4 k + 1."""
    width: int = 128
    """Picture width [px]."""
    height: int = 224
    """Picture height [px]."""
    weights: str = ""
    """Weights to begin with; empty for the shipped ones."""
    validate_every: int = 100
    """Steps between measurements."""
    batch: BatchConfig = field(default_factory=lambda: BatchConfig(recolor=0.3, coarse_dropout=0.0))
    """The avatar keeps its colours more often than people in the training do; the coarse video is there at use."""


def personalise(avatar: Avatar, motions: list[str], out: Path, *, held_out: str, config: PersonalConfig,
                progress: Report | None = None) -> dict[str, Any]:
    """Fine-tune in folder `out`, or go on there; returns what `personal.json` holds.

    Motions are procedural names or files. Raises `InputError` for an avatar without garments, for `held_out` among the
    motions, for motions shorter than a clip, and for a folder of another fine-tuning.
    """
    if not avatar.garments:
        raise InputError(f"{avatar.name}: has no garments to learn; use an avatar with loose cloth")
    if held_out in motions:
        raise InputError(f"{held_out}: is learnt from, so it cannot be held out; name another with --held-out")
    prior = EmbeddedPrior.load(Path(config.weights) if config.weights else SHIPPED)
    out.mkdir(parents=True, exist_ok=True)
    about = {"avatar": avatar.name, "avatar_sha256": _digest(avatar), "motions": motions, "held_out": held_out,
             "weights_sha256": prior.weights_sha256, "settings": _fixed(config)}
    _check_same(out / "personal.json", about)
    simulations = [(held_out, None)] + [(name, k) for name in motions
                                        for k in range(config.variations if is_procedural(name) else 1)]
    store = _make_clips(avatar, simulations, out / "clips", config, progress)
    training = PriorTrainConfig(
        data=PriorDataConfig(seed=config.seed, simulations=len(simulations), held_out=1), network=prior.network.config,
        batch=config.batch, seed=config.seed, steps=config.steps, learning_rate=config.learning_rate,
        validate_every=config.validate_every, checkpoint_every=min(50, config.validate_every),
        validation_clips=config.held_out_clips)
    fit(training, store, out, progress, start=prior.network)
    about |= _before_and_after(out / "log.jsonl")
    _write(out / "personal.json", about)
    return about


def _make_clips(avatar: Avatar, simulations: list[tuple[str, int | None]], folder: Path, config: PersonalConfig,
                progress: Report | None) -> ClipStore:
    """The clips that are not there yet. Simulation 0 is the motion held out, as it is named; of the others variation 0
    is that too, and further ones are drawn."""
    folder.mkdir(exist_ok=True)
    store = ClipStore(folder)
    present = set(store.list())
    data = PriorDataConfig(seed=config.seed, frames=config.frames, width=config.width, height=config.height)
    for number, (name, variation) in enumerate(simulations):
        count = config.clips_per_simulation if number else config.held_out_clips
        missing = [clip for clip in range(count) if (number, clip) not in present]
        if missing:
            motion = _motion(name, avatar, variation, config)
            rng = np.random.default_rng((config.seed, number, 77))
            scene = scene_of(avatar, motion, draw_material(rng) if config.materials and number else ClothConfig())
            for clip in missing:
                store.write(number, clip, render_clip(data, scene, number, clip))
        if progress is not None:
            progress(number + 1, len(simulations), "simulating and rendering the avatar's own clips")
    return store


def _motion(name: str, avatar: Avatar, variation: int | None, config: PersonalConfig) -> Motion:
    if is_procedural(name):
        motion = load_motion(name, avatar, seconds=config.seconds, fps=RATE, variation_seed=variation or None)
    else:
        motion = load_motion(name, avatar, options=MotionOptions(fps=RATE))
    if motion.frames < config.frames:
        raise InputError(f"{name}: {motion.frames} frames at {RATE:g} a second; a clip needs {config.frames}")
    return motion


def is_procedural(name: str) -> bool:
    """Whether a motion is one of ours rather than a file."""
    return name in get_args(ProceduralName)


def _digest(avatar: Avatar) -> str:
    """Of all that the clips depend on."""
    digest = hashlib.sha256()
    arrays = [getattr(avatar.gaussians, f.name) for f in fields(GaussianSet)]
    arrays += [avatar.rig.skin_joints, avatar.rig.skin_weights, avatar.rig.T_world_joint_rest]
    for garment in avatar.garments:
        arrays += [garment.mesh.vertices, garment.mesh.faces, garment.pinned, garment.gaussian_faces]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _fixed(config: PersonalConfig) -> dict[str, Any]:
    """Settings that may not change between runs."""
    settings = asdict(config)
    settings.pop("steps")
    return settings


def _check_same(path: Path, about: dict[str, Any]) -> None:
    """Store what is fine-tuned in a new folder; refuse a folder of something else."""
    if not path.is_file():
        _write(path, about)
        return
    old = json.loads(path.read_text(encoding="utf-8"))
    other = [name for name, value in about.items() if old.get(name) != value]
    if other:
        raise InputError(f"{path}: this folder holds a fine-tuning of another {', '.join(other)}; give a new folder")


def _write(path: Path, about: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(about, indent=1), encoding="utf-8")
    os.replace(temporary, path)


def _before_and_after(log: Path) -> dict[str, Any]:
    """The measures of the weights begun with and of those kept, on the motion held out."""
    measured = [entry for entry in map(json.loads, log.read_text(encoding="utf-8").splitlines()) if "kept" in entry]
    kept = [entry for entry in measured if entry["kept"]]
    last = kept[-1] if kept else measured[0]

    def numbers(entry: dict[str, Any]) -> dict[str, int | float]:
        restored = {name: entry[name]["restored"] for name in ("garment_psnr", "garment_ssim", "preserved_psnr")}
        return {"step": entry["step"], **restored, "worst_gain": entry["worst_gain"]}

    return {"coarse": {"garment_psnr": measured[0]["garment_psnr"]["coarse"],
                       "garment_ssim": measured[0]["garment_ssim"]["coarse"]},
            "before": numbers(measured[0]), "after": numbers(last)}
