"""Batches for training the embedded prior: which clips, cropped and changed how, as a function of a generator.

Letters as in `baker/priors/embedded.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from baker.prior_data import COARSE, EXCHANGED, GARMENT, POSE, PRESERVED, TRUTH
from baker.priors.codec import PatchCodec, pool_mask, to_signed
from baker.priors.embedded import NetworkInputs


@dataclass(frozen=True)
class BatchConfig:
    """How batches are drawn."""

    size: int = 4
    """Clips per step; whole pictures come in half as many."""
    crop_width: int = 96
    """Crops around the garment [px], a multiple of 16."""
    crop_height: int = 128
    """The same, down the picture."""
    whole: float = 0.2
    """Share of steps that see whole pictures."""
    coarse_dropout: float = 0.15
    """Share of clips without the coarse video."""
    recolor: float = 0.5
    """Share of clips whose colour channels are shuffled and stretched."""
    still_weight: float = 0.3
    """Weight of the loss where neither garment nor difference is; 1 elsewhere."""


@dataclass(frozen=True)
class Batch:
    """A batch at latent size."""

    truth: Tensor
    """[B C t h w]."""
    weight: Tensor
    """Loss weights [B 1 t h w]."""
    inputs: NetworkInputs


def draw_batch(config: BatchConfig, clips: Sequence[np.ndarray], codec: PatchCodec,
               rng: np.random.Generator) -> Batch:
    """Random `clips` (arrays as `ClipStore.read` gives them), cropped at any pixel near the garment, half of them
    flipped, some with other colours."""
    whole = rng.random() < config.whole
    count = max(config.size // 2, 1) if whole else config.size
    pieces = []
    for _ in range(count):
        clip = clips[int(rng.integers(len(clips)))]
        crop = clip if whole else _crop(clip, config, rng)
        pieces.append(_augment(np.ascontiguousarray(crop), config, rng))
    sees = torch.from_numpy((rng.random(count) >= config.coarse_dropout).astype(np.float32))
    return encode_batch(torch.from_numpy(np.stack(pieces)), codec, sees_coarse=sees, still_weight=config.still_weight)


def encode_batch(packed: Tensor, codec: PatchCodec, *, sees_coarse: Tensor, still_weight: float) -> Batch:
    """Latents of packed clips, uint8 [B T+1 H X 14]."""
    clips, reference = packed[:, :-1], packed[:, -1:, ..., TRUTH]
    coarse_video = to_signed(clips[..., COARSE])
    difference = (clips[..., TRUTH].float() - clips[..., COARSE].float()).abs().amax(-1) > 8
    moving = (difference | (clips[..., GARMENT] > 25)).to(torch.uint8) * 255
    weight = torch.stack([still_weight + (1 - still_weight) * (1 - pool_mask(255 - m)) for m in moving])
    return Batch(
        truth=codec.encode(to_signed(clips[..., TRUTH])), weight=weight,
        inputs=NetworkInputs(pose=codec.encode(to_signed(clips[..., POSE])), coarse=codec.encode(coarse_video),
                             coarse_video=coarse_video, reference=codec.encode(to_signed(reference)),
                             mask=torch.stack([pool_mask(m) for m in clips[..., PRESERVED]]),
                             sees_coarse=sees_coarse))


def _crop(clip: np.ndarray, config: BatchConfig, rng: np.random.Generator) -> np.ndarray:
    """A window around a random garment pixel, inside the picture."""
    frame = clip[int(rng.integers(len(clip) - 1)), ..., GARMENT]
    rows, columns = np.nonzero(frame > 25)
    height, width = frame.shape
    pick = int(rng.integers(len(rows))) if len(rows) else 0
    row, column = (int(rows[pick]), int(columns[pick])) if len(rows) else (height // 2, width // 2)
    top = int(np.clip(row - rng.integers(config.crop_height), 0, height - config.crop_height))
    left = int(np.clip(column - rng.integers(config.crop_width), 0, width - config.crop_width))
    return clip[:, top : top + config.crop_height, left : left + config.crop_width]


def _augment(clip: np.ndarray, config: BatchConfig, rng: np.random.Generator) -> np.ndarray:
    """Flip (the pose video with left and right exchanged takes the place of the other) and recolour."""
    clip = clip.copy()
    if rng.random() < 0.5:
        clip = clip[:, :, ::-1].copy()
        pose = clip[..., POSE].copy()
        clip[..., POSE], clip[..., EXCHANGED] = clip[..., EXCHANGED], pose
    if rng.random() < config.recolor:
        order, gain, offset = rng.permutation(3), rng.uniform(0.75, 1.15, 3), rng.uniform(-20, 20, 3)
        tables = np.clip(np.arange(256) * gain[:, None] + offset[:, None] + 0.5, 0, 255).astype(np.uint8)
        for part in (TRUTH, COARSE):
            source = clip[..., part].copy()
            for channel in range(3):
                clip[..., part.start + channel] = np.take(tables[channel], source[..., order[channel]])
    return clip
