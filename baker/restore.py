"""Restoring a coarse video of any length with a video prior: overlapping windows, cross-faded (paper 4.2).

Letters as in `runtime/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import minimum_filter

from baker.conditions import Conditions
from baker.priors import VideoPrior
from baker.restore_config import RestoreConfig, SamplingConfig
from baker.sampling import sample


def restore(prior: VideoPrior, conditions: Conditions, *, config: RestoreConfig, seed: int,
            progress: Callable[[int, int, str], None] | None = None) -> UInt8[np.ndarray, "T H X 3"]:
    """The restored video, of the coarse one's length and size. A function of its arguments: window k draws its noise
    from (seed, k). `progress` hears (windows done, windows in all, text)."""
    padded, (height, width) = _pad_to_multiple(conditions, prior.size_multiple)
    frames = len(conditions.coarse)
    length = min(prior.window, 4 * -(-(frames - 1) // 4) + 1)
    starts = window_starts(frames, length, overlap=min(config.overlap, length - 1))
    total = np.zeros((max(frames, length), *padded.coarse.shape[1:]), np.float32)
    weights = np.zeros((len(total), 1, 1, 1), np.float32)
    for k, start in enumerate(starts):
        piece = _restore_window(prior, padded.window(start, start + length), config.sampling, seed=_child(seed, k))
        ramp = fade(starts, k, length)[:, None, None, None]
        total[start : start + length] += ramp * piece
        weights[start : start + length] += ramp
        if progress is not None:
            progress(k + 1, len(starts), "restoring windows")
    video = (total / weights + 0.5).astype(np.uint8)[:frames, :height, :width]
    return _keep_preserved(video, conditions, config) if config.keep_preserved else video


def _restore_window(prior: VideoPrior, conditions: Conditions, config: SamplingConfig, *,
                    seed: int) -> UInt8[np.ndarray, "T H X 3"]:
    prepared = prior.prepare(conditions)
    latents = sample(lambda x, sigma: prior.velocity(x, sigma, prepared), prior.encode(conditions.coarse),
                     prior.latent_mask(conditions.preserved), config=config, seed=seed)
    return prior.decode(latents)


def window_starts(frames: int, length: int, *, overlap: int) -> list[int]:
    """First frames of the fewest windows of `length` that cover `frames` and share at least `overlap`, evenly
    spread; the last one ends with the video."""
    if frames <= length:
        return [0]
    count = -(-(frames - overlap) // (length - overlap))
    return [round(k * (frames - length) / (count - 1)) for k in range(count)]


def fade(starts: list[int], k: int, length: int) -> Float[np.ndarray, " L"]:
    """Weight of each frame of window k: 1 where it is alone, linear ramps inside what it shares, never 0."""
    frames = np.arange(length) + starts[k]
    weight = np.ones(length, np.float32)
    if k > 0:
        shared = starts[k - 1] + length - starts[k]
        weight = np.minimum(weight, (frames - starts[k] + 1) / (shared + 1))
    if k + 1 < len(starts):
        shared = starts[k] + length - starts[k + 1]
        weight = np.minimum(weight, (starts[k] + length - frames) / (shared + 1))
    return weight.astype(np.float32)


def _child(seed: int, k: int) -> int:
    """An independent seed below 2^63 for window k."""
    return int(np.random.SeedSequence([seed & 0xFFFFFFFF, seed >> 32, k, 1]).generate_state(1, np.uint64)[0] >> 1)


def _pad_to_multiple(conditions: Conditions, multiple: int) -> tuple[Conditions, tuple[int, int]]:
    """The conditions with sides rounded up by repeating the border, and the size (height, width) before."""
    height, width = conditions.coarse.shape[1:3]
    down, right = -height % multiple, -width % multiple

    def grow(video: np.ndarray, first: int) -> np.ndarray:
        pads = [(0, 0)] * video.ndim
        pads[first], pads[first + 1] = (0, down), (0, right)
        return np.pad(video, pads, mode="edge")

    return Conditions(coarse=grow(conditions.coarse, 1), pose=grow(conditions.pose, 1),
                      reference=grow(conditions.reference, 0), preserved=grow(conditions.preserved, 1),
                      prompt=conditions.prompt), (height, width)


def _keep_preserved(video: np.ndarray, conditions: Conditions, config: RestoreConfig) -> np.ndarray:
    side = 2 * config.keep_erosion + 1
    eroded = minimum_filter(conditions.preserved, size=(1, side, side))
    keep = eroded >= config.keep_level * 255
    return np.where(keep[..., None], conditions.coarse, video)
