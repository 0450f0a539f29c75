"""`ani3d evaluate sampler`: the coarse video, the rivals, self-guided stochastic sampling and its ablations on clips
whose truth is simulated, with persons, garments, fabrics and motions that no training has seen.

Two regimes: the prior sees pose and reference only, as in the paper, or the coarse video too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from baker.motion_files import KINDS
from baker.prior_data import GARMENT, PRESERVED, TRUTH, PriorDataConfig, Report, make_dataset
from baker.prior_metrics import (
    RandomFeatures,
    face_centres,
    face_crops,
    flicker,
    frechet_distance,
    psnr,
    squared_error,
    ssim,
)
from baker.prior_validation import conditions_of, strip
from baker.priors import VideoPrior, load_prior
from baker.restore_config import SamplingConfig
from baker.sampling import Velocity, sample
from baker.sampling_rivals import RIVALS, Schedule
from baker.stages import file_fingerprint, fingerprint_of, write_text_atomic
from export_formats.output import new_file

UNSEEN_SEED = 900
"""Seeds the clips of the evaluation. Trainings draw their persons from other seeds: person and motion are functions
of (seed, simulation), see `PriorDataConfig`."""
Sampler = Callable[[Velocity, Tensor, Tensor, int], Tensor]
"""(velocity, coarse latents, mask, seed) to restored latents."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured."""

    simulations: int = 5
    """Persons in motion."""
    clips: int = 2
    """Clips of each."""
    t0: float = 0.6
    """Start of every sampler, before the shift (paper 5.3: the same for all)."""
    steps: int = 18
    """Velocity evaluations of every sampler of many steps."""
    prior: str = "embedded"
    """The prior's name."""
    prior_path: str = ""
    """Its weights; empty for the shipped ones."""
    motion_folder: str = ""
    """Folder of AMASS-layout motions that are mixed in; empty for procedural ones only."""


def samplers(config: EvaluationConfig) -> dict[str, Sampler]:
    """Every sampler that is compared, by its name in the table."""
    schedule = Schedule(t0=config.t0, steps=config.steps)

    def ours(**settings: Any) -> Sampler:
        ready = SamplingConfig(t0=config.t0, **({"steps": config.steps} | settings))
        return lambda velocity, y, mask, seed: sample(velocity, y, mask, config=ready, seed=seed)

    def rival(name: str) -> Sampler:
        return lambda velocity, y, mask, seed: RIVALS[name](velocity, y, mask, schedule=schedule, seed=seed)

    return {
        "ode, 1 step": ours(steps=1, gamma=0.0), **{name: rival(name) for name in RIVALS},
        "sgss": ours(), "sgss, gamma 1": ours(gamma=1.0),
        "sgss without stochasticity": ours(gamma=0.0), "sgss without guidance": ours(guidance=0.0),
    }


def evaluate(config: EvaluationConfig, output: Path, progress: Report | None = None) -> dict[str, Any]:
    """Measure everything into `output`: `sampler.json`, `sampler.txt` (the table) and `sampler.png` (the strip); the
    clips lie in `output/clips` and are made once. Returns what `sampler.json` holds."""
    prior = load_prior(config.prior, Path(config.prior_path) if config.prior_path else None)
    clips = held_out_clips(config, output / "clips", progress)
    regimes: dict[str, VideoPrior] = {"with coarse video": prior}
    if hasattr(prior, "sees_coarse"):
        regimes = {"pose + reference": replace(prior, sees_coarse=False), **regimes}
    measured, pictures = measure(config, regimes, clips, progress)
    result = {"config": asdict(config), "prior": prior.fingerprint, "clips": len(clips),
              "features": "fixed random convolutional network (baker/prior_metrics.py)", "rows": measured}
    write_text_atomic(output / "sampler.json", json.dumps(result, indent=1))
    write_text_atomic(output / "sampler.txt", table(measured))
    with new_file(output / "sampler.png") as part:
        Image.fromarray(pictures).save(part)
    return result


def held_out_clips(config: EvaluationConfig, folder: Path, progress: Report | None = None) -> list[np.ndarray]:
    """Clips of persons and motions that trainings do not draw, as `ClipStore.read` gives them. Those with motions of a
    folder lie apart, by the motions' contents: clips of other motions must not be taken for them."""
    if config.motion_folder:
        files = sorted(path for path in Path(config.motion_folder).rglob("*") if path.suffix.lower() in KINDS)
        folder = folder / fingerprint_of({}, [file_fingerprint(path) for path in files if path.is_file()])[:16]
    data = PriorDataConfig(seed=UNSEEN_SEED, simulations=config.simulations, clips_per_simulation=config.clips,
                           motion_folder=config.motion_folder)
    store = make_dataset(data, folder, progress)
    return [store.read(simulation, clip) for simulation in range(config.simulations) for clip in range(config.clips)]


@dataclass
class _Row:
    """Sums of one sampler over clips."""

    garment: list[tuple[float, int]]
    preserved: list[tuple[float, int]]
    garment_ssim: list[float]
    preserved_ssim: list[float]
    features: list[np.ndarray]
    identity: list[float]
    flicker: list[float]
    seconds: float = 0.0


def measure(config: EvaluationConfig, regimes: dict[str, VideoPrior], clips: Sequence[np.ndarray],
            progress: Report | None = None) -> tuple[list[dict[str, Any]], np.ndarray]:
    """A row of numbers for every regime and sampler, and the strip of pictures: a row of each, and the truth's."""
    network = RandomFeatures()
    rows: dict[tuple[str, str], _Row] = {}
    truths: list[np.ndarray] = []
    pictures: dict[tuple[str, str], list[np.ndarray]] = {}
    methods = samplers(config)
    for index, packed in enumerate(clips):
        conditions = conditions_of(packed)
        truth = np.ascontiguousarray(packed[:-1, ..., TRUTH])
        regions = packed[:-1, ..., GARMENT] >= 128, packed[:-1, ..., PRESERVED] >= 250
        centres = face_centres(conditions.pose)
        truths.append(network.pooled(truth, regions[0]))
        any_prior = next(iter(regimes.values()))
        latents = any_prior.encode(conditions.coarse)
        videos = {("", "coarse"): (conditions.coarse, 0.0), ("", "coarse through the codec"): (
            any_prior.decode(latents), 0.0), ("", "truth"): (truth, 0.0)}
        for regime, prior in regimes.items():
            for name, method in methods.items():
                videos[regime, name] = _timed(prior, conditions, method, seed=index)
        for key, (video, seconds) in videos.items():
            row = rows.setdefault(key, _Row([], [], [], [], [], [], []))
            _add(row, video, truth, regions, centres, network)
            row.seconds += seconds
            if index in (0, len(clips) // 2):
                pictures.setdefault(key, []).append(strip(video))
        if progress is not None:
            progress(index + 1, len(clips), "restoring with every sampler")
    coarse = rows["", "coarse"]
    table_rows = [_numbers(key, row, coarse, np.concatenate(truths), len(clips)) for key, row in rows.items()
                  if key[1] != "truth"]
    return table_rows, np.concatenate([np.concatenate(parts, axis=1) for parts in pictures.values()])


def _timed(prior: VideoPrior, conditions: Any, method: Sampler, *, seed: int) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    prepared = prior.prepare(conditions)
    latents = method(lambda x, sigma: prior.velocity(x, sigma, prepared), prior.encode(conditions.coarse),
                     prior.latent_mask(conditions.preserved), seed)
    return prior.decode(latents), time.perf_counter() - began


def _add(row: _Row, video: np.ndarray, truth: np.ndarray, regions: tuple[np.ndarray, np.ndarray],
         centres: np.ndarray, network: RandomFeatures) -> None:
    garment, preserved = regions
    row.garment.append(squared_error(video, truth, garment))
    row.preserved.append(squared_error(video, truth, preserved))
    row.garment_ssim.append(ssim(video, truth, garment))
    row.preserved_ssim.append(ssim(video, truth, preserved))
    row.features.append(network.pooled(video, garment))
    row.identity.append(network.identity_distance(face_crops(video, centres), face_crops(truth, centres)))
    row.flicker.append(flicker(video, truth, garment))


def _numbers(key: tuple[str, str], row: _Row, coarse: _Row, truths: np.ndarray, clips: int) -> dict[str, Any]:
    gains = [psnr([mine]) - psnr([theirs]) for mine, theirs in zip(row.garment, coarse.garment, strict=True)]
    return {
        "regime": key[0], "sampler": key[1], "garment_psnr": psnr(row.garment),
        "garment_ssim": round(float(np.mean(row.garment_ssim)), 4), "worst_gain_db": round(min(gains), 3),
        "preserved_psnr": psnr(row.preserved), "preserved_ssim": round(float(np.mean(row.preserved_ssim)), 4),
        "frechet": round(frechet_distance(np.concatenate(row.features), truths), 5),
        "identity": round(float(np.nanmean(row.identity)), 5), "flicker": round(float(np.mean(row.flicker)), 3),
        "seconds": round(row.seconds / clips, 3)}


COLUMNS = (("garment_psnr", "garment dB"), ("garment_ssim", "SSIM"), ("worst_gain_db", "worst +dB"),
           ("preserved_psnr", "kept dB"), ("preserved_ssim", "SSIM"), ("frechet", "Fréchet"), ("identity", "identity"),
           ("flicker", "flicker"), ("seconds", "s/clip"))
"""Of the table; lower is better for Fréchet, identity and flicker."""


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'':48}" + "".join(f"{title:>11}" for _, title in COLUMNS)]
    for row in rows:
        name = f"{row['regime']}: {row['sampler']}" if row["regime"] else row["sampler"]
        lines.append(f"{name:48}" + "".join(f"{row[key]:>11}" for key, _ in COLUMNS))
    return "\n".join(lines) + "\n"
