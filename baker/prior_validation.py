"""Measuring a prior on held-out clips: against the coarse video, and against what its codec can hold.

"garment" is where garment or hair covers at least half a pixel in the truth or the coarse video, "preserved" where
the coarse video shows what must stay. Letters as in `baker/priors/embedded.py`.
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
from baker.prior_metrics import psnr, squared_error, ssim
from baker.priors.embedded import EmbeddedPrior
from baker.restore import restore
from baker.restore_config import RestoreConfig, SamplingConfig

FEW_STEPS = SamplingConfig(steps=1, gamma=0.0)
"""The sampler of a validation during training: one step, which measures best and is quickest."""


@dataclass(frozen=True)
class Validation:
    """Against the truth; by video: coarse, codec (the truth through the codec), kept (the coarse video through the
    codec), restored, pose_only (without the coarse video, of the first clips only)."""

    psnr: dict[str, float]
    """Whole picture [dB]."""
    garment_psnr: dict[str, float]
    """In the garment region [dB]."""
    garment_ssim: dict[str, float]
    """The same."""
    preserved_psnr: dict[str, float]
    """In the preserved region [dB]."""
    worst_gain: float
    """Least gain over the coarse video of a clip, in the garment region [dB]."""
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
    sums: dict[str, dict[str, list[tuple[float, int]]]] = {"all": {}, "garment": {}, "preserved": {}}
    similarity: dict[str, list[float]] = {}
    pictures, seconds, gains = [], 0.0, []
    for index, packed in enumerate(clips):
        conditions = conditions_of(packed)
        truth = np.ascontiguousarray(packed[:-1, ..., TRUTH])
        regions = {"all": np.ones(truth.shape[:-1], bool), "garment": packed[:-1, ..., GARMENT] >= 128,
                   "preserved": packed[:-1, ..., PRESERVED] >= 250}
        began = time.perf_counter()
        videos = {"restored": restore(prior, conditions, config=RestoreConfig(sampling=sampling), seed=index)}
        seconds += time.perf_counter() - began
        videos |= {"coarse": conditions.coarse, "codec": prior.decode(prior.encode(truth)),
                   "kept": prior.decode(prior.encode(conditions.coarse))}
        if index < pose_only:
            blind = replace(prior, sees_coarse=False)
            videos["pose_only"] = restore(blind, conditions, config=RestoreConfig(sampling=sampling), seed=index)
        for name, video in videos.items():
            for region, where in regions.items():
                sums[region].setdefault(name, []).append(squared_error(video, truth, where))
            similarity.setdefault(name, []).append(ssim(video, truth, regions["garment"]))
        gains.append(psnr(sums["garment"]["restored"][-1:]) - psnr(sums["garment"]["coarse"][-1:]))
        if index % 3 == 0 and len(pictures) < 4:
            pictures.append(strip(conditions.pose, conditions.coarse, videos["restored"], truth,
                                  videos.get("pose_only", np.zeros_like(truth))))
    if strips is not None:
        Image.fromarray(np.concatenate(pictures)).save(strips)
    total = {region: {name: psnr(parts) for name, parts in of.items()} for region, of in sums.items()}
    return Validation(psnr=total["all"], garment_psnr=total["garment"], preserved_psnr=total["preserved"],
                      garment_ssim={name: round(float(np.mean(values)), 4) for name, values in similarity.items()},
                      worst_gain=round(min(gains), 3), seconds_per_clip=seconds / len(clips))


def strip(*videos: np.ndarray) -> np.ndarray:
    """Frames at 1/4, 1/2 and 3/4 of videos [T H X 3] that stand side by side."""
    frames = [int(part * (len(videos[0]) - 1)) for part in (0.25, 0.5, 0.75)]
    return np.concatenate([video[frame] for frame in frames for video in videos], axis=1)
