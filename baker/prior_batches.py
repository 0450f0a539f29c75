"""Batches for training the embedded prior: which clips, cropped and changed how, as a function of a generator.

Letters as in `baker/priors/embedded.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from baker.prior_data import COARSE, EXCHANGED, FLOW, GARMENT, POSE, PRESERVED, TRUTH
from baker.priors.codec import STRIDE, PatchCodec, pool_mask, to_signed
from baker.priors.embedded import NetworkInputs, garment_channels

FLOW_REACH = 32
"""How far from the figure the flow goes on [px]."""


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
    flow: Tensor
    """True flow [B (4 2) t h w] [px], of each frame of a latent frame."""
    flow_weight: Tensor
    """Weight of its error, 0 where it is unknown or the coarse video is left out [B (4 2) t h w]."""
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
    """Latents of packed clips, uint8 [B T+1 H X 16]."""
    clips, reference = packed[:, :-1], packed[:, -1:, ..., TRUTH]
    coarse_video = to_signed(clips[..., COARSE])
    difference = (clips[..., TRUTH].float() - clips[..., COARSE].float()).abs().amax(-1) > 8
    moving = (difference | (clips[..., GARMENT] > 25)).to(torch.uint8) * 255
    weight = torch.stack([still_weight + (1 - still_weight) * (1 - pool_mask(255 - m)) for m in moving])
    flow, known = _patch_flow(clips[..., FLOW])
    return Batch(
        flow=flow, flow_weight=known * sees_coarse.view(-1, 1, 1, 1, 1),
        truth=codec.encode(to_signed(clips[..., TRUTH])), weight=weight,
        inputs=NetworkInputs(pose=codec.encode(to_signed(clips[..., POSE])), coarse=codec.encode(coarse_video),
                             coarse_video=coarse_video, reference=codec.encode(to_signed(reference)),
                             mask=torch.stack([pool_mask(m) for m in clips[..., PRESERVED]]),
                             garment=garment_channels(coarse_video, clips[..., PRESERVED] / 255.0),
                             sees_coarse=sees_coarse))


def _patch_flow(stored: Tensor) -> tuple[Tensor, Tensor]:
    """Flow [B 8 t h w] [px] and its weight [B 8 t h w] for each patch and frame, from uint8 [B T H X 2]; the first
    frame counts four times, as in the codec.

    A known patch has its mean. Around the figure, as far as `FLOW_REACH`, the nearest known patch's flow goes on:
    where the coarse cloth hangs over what is background in the truth, it fetches the background beyond the cloth.
    """
    known = (stored > 0).float()
    value = (stored.float() - 128) / 2 * known
    sums = []
    for field in (value, known):
        field = torch.cat([field[:, :1].expand(-1, STRIDE, -1, -1, -1), field[:, 1:]], dim=1)
        batch, frames, height, width, _ = field.shape
        patches = field.reshape(batch, frames // STRIDE, STRIDE, height // STRIDE, STRIDE, width // STRIDE, STRIDE, 2)
        sums.append(patches.mean((4, 6)))
    flow, share = (sums[0] / sums[1].clamp_min(1e-6)).numpy(), sums[1][..., 0].numpy()
    weight = np.where(share > 0.25, 1.0, 0.0).astype(np.float32)
    for place in np.ndindex(share.shape[:3]):
        if weight[place].any():
            distance, (row, column) = distance_transform_edt(weight[place] == 0, return_indices=True)
            flow[place] = flow[place][row, column]
            weight[place] = np.where(distance == 0, 1.0, 0.5 * (distance <= FLOW_REACH / STRIDE))
    both = [torch.from_numpy(a).permute(0, 2, 5, 1, 3, 4).flatten(1, 2) for a in (flow, weight[..., None])]
    return both[0], both[1].repeat_interleave(2, dim=1)


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
        # 128 + 2 d becomes 128 - 2 d; the unknown, 0, stays.
        across = clip[..., FLOW.start]
        clip[..., FLOW.start] = np.where(across > 0, np.uint8(0) - np.maximum(across, 1), 0)
    if rng.random() < config.recolor:
        order, gain, offset = rng.permutation(3), rng.uniform(0.75, 1.15, 3), rng.uniform(-20, 20, 3)
        tables = np.clip(np.arange(256) * gain[:, None] + offset[:, None] + 0.5, 0, 255).astype(np.uint8)
        for part in (TRUTH, COARSE):
            source = clip[..., part].copy()
            for channel in range(3):
                clip[..., part.start + channel] = np.take(tables[channel], source[..., order[channel]])
    return clip
