"""Measuring a prior on held-out clips: against the coarse video, and against what its codec can hold.

PSNR over all pixels of all clips at once; "garment" is where garment or hair covers at least half a pixel in the
truth or the coarse video. Letters as in `baker/priors/embedded.py`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from baker.conditions import Conditions
from baker.prior_data import COARSE, GARMENT, POSE, PRESERVED, TRUTH
from baker.priors.embedded import EmbeddedPrior
from baker.restore import RestoreConfig, restore
from baker.sampling import SamplingConfig

FEW_STEPS = SamplingConfig(steps=1, gamma=0.0)
"""The sampler of a validation during training: one step, which measures best and is quickest."""


@dataclass(frozen=True)
class Validation:
    """PSNR [dB] against the truth, over the whole picture and in the garment region."""

    psnr: dict[str, float]
    """Whole picture: coarse, codec (the truth through the codec), restored, pose_only (without the coarse video)."""
    garment_psnr: dict[str, float]
    """The same in the garment region."""
    seconds_per_clip: float
    """Wall-clock time of restoring one clip [s]."""


def conditions_of(packed: np.ndarray) -> Conditions:
    """The conditions of a stored clip [T+1 H X 16]."""
    clip = np.asarray(packed[:-1])
    return Conditions(coarse=np.ascontiguousarray(clip[..., COARSE]), pose=np.ascontiguousarray(clip[..., POSE]),
                      preserved=np.ascontiguousarray(clip[..., PRESERVED]),
                      reference=np.ascontiguousarray(packed[-1, ..., TRUTH]))


def validate(prior: EmbeddedPrior, clips: Sequence[np.ndarray], *, sampling: SamplingConfig, pose_only: int,
             strips: Path | None = None) -> Validation:
    """Restore every clip (array as `ClipStore.read` gives it), and the first `pose_only` of them without the coarse
    video; `strips` is where a picture of them goes: pose, coarse, restored, truth, pose only, at three times."""
    error, garment = {}, {}
    pictures, seconds = [], 0.0
    for index, packed in enumerate(clips):
        conditions = conditions_of(packed)
        truth = np.ascontiguousarray(packed[:-1, ..., TRUTH])
        region = packed[:-1, ..., GARMENT] >= 128
        began = time.perf_counter()
        videos = {"coarse": conditions.coarse, "codec": prior.decode(prior.encode(truth)),
                  "restored": restore(prior, conditions, config=RestoreConfig(sampling=sampling), seed=index)}
        seconds += time.perf_counter() - began
        if index < pose_only:
            blind = replace(prior, sees_coarse=False)
            videos["pose_only"] = restore(blind, conditions, config=RestoreConfig(sampling=sampling), seed=index)
        for name, video in videos.items():
            squared = ((video.astype(np.float32) - truth) / 255).astype(np.float64) ** 2
            error.setdefault(name, []).append((float(squared.sum()), squared.size))
            garment.setdefault(name, []).append((float(squared[region].sum()), 3 * int(region.sum())))
        if index % 3 == 0 and len(pictures) < 4:
            pictures.append(strip(conditions.pose, conditions.coarse, videos["restored"], truth,
                                  videos.get("pose_only", np.zeros_like(truth))))
    if strips is not None:
        Image.fromarray(np.concatenate(pictures)).save(strips)
    return Validation(psnr=_psnr(error), garment_psnr=_psnr(garment), seconds_per_clip=seconds / len(clips))


def strip(*videos: np.ndarray) -> np.ndarray:
    """Frames at 1/4, 1/2 and 3/4 of videos [T H X 3] that stand side by side."""
    frames = [int(part * (len(videos[0]) - 1)) for part in (0.25, 0.5, 0.75)]
    return np.concatenate([video[frame] for frame in frames for video in videos], axis=1)


def _psnr(sums: dict[str, list[tuple[float, int]]]) -> dict[str, float]:
    """From (sum of squared errors, count) of each clip."""
    result = {}
    for name, parts in sums.items():
        total, count = np.asarray(parts, np.float64).sum(0)
        result[name] = round(float(-10 * np.log10(max(total / max(count, 1), 1e-12))), 3)
    return result
