"""Batches for training the embedded prior: which clips, cropped and changed how, as a function of a generator.

Letters as in `baker/priors/embedded.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from baker.prior_data import COARSE, EXCHANGED, FLOW, GARMENT, POSE, PRESERVED, TRUTH, TRUTH_GARMENT
from baker.priors.codec import STRIDE, PatchCodec, pool_mask, to_signed
from baker.priors.embedded import NetworkInputs
from baker.priors.layers import border_color, coarse_layers, garment_channels

SAME = 8
"""Pixels that differ by no more than this from the coarse video count as kept [0..255]."""


@dataclass(frozen=True)
class BatchConfig:
    """How batches are drawn."""

    size: int = 4
    """Clips per step; whole pictures come in a quarter as many."""
    crop_width: int = 96
    """Crops around the garment [px], a multiple of 16."""
    crop_height: int = 144
    """The same, down the picture."""
    crop_frames: int = 17
    """Frames of a crop, 4 k + 1: a clip's frames are much alike, so shorter crops of more clips teach more."""
    whole: float = 0.25
    """Share of steps that see whole pictures."""
    coarse_dropout: float = 0.15
    """Share of clips without the coarse video."""
    recolor: float = 0.5
    """Share of clips whose colour channels are shuffled and stretched."""
    still_weight: float = 0.3
    """Weight of the loss where neither garment nor difference is; 1 elsewhere."""


@dataclass(frozen=True)
class Batch:
    """A batch; layers and flow count only in clips that see the coarse video."""

    video: Tensor
    """The truth [B T H X 3] in [-1, 1]."""
    truth: Tensor
    """Its latents [B C t h w]."""
    weight: Tensor
    """Loss weights of pixels [B T H X]."""
    shares: Tensor
    """What is true of a pixel [3 B T H X]: kept, garment, uncovered."""
    flow: Tensor
    """True flow [B (4 2) t h w] [px], of each frame of a latent frame."""
    flow_weight: Tensor
    """Share of the patch where it is known and garment [B (4 2) t h w]."""
    inputs: NetworkInputs


def draw_batch(config: BatchConfig, clips: Sequence[np.ndarray], codec: PatchCodec,
               rng: np.random.Generator) -> Batch:
    """Random `clips` (arrays as `ClipStore.read` gives them), cropped at any pixel near the garment, half of them
    flipped, some with other colours."""
    whole = rng.random() < config.whole
    count = max(config.size // 4, 1) if whole else config.size
    pieces, backgrounds = [], []
    for _ in range(count):
        clip = clips[int(rng.integers(len(clips)))]
        # Of the whole picture, as at use: a crop's border may be all cloth.
        background = border_color(torch.from_numpy(clip[None, :1, ..., COARSE].astype(np.float32))).numpy()
        crop = np.array(clip) if whole else _crop(clip, config, rng)
        piece, background = _augment(crop, background.reshape(3).astype(np.uint8), config, rng)
        pieces.append(piece)
        backgrounds.append(background)
    sees = torch.from_numpy((rng.random(count) >= config.coarse_dropout).astype(np.float32))
    return encode_batch(torch.from_numpy(np.stack(pieces)), torch.from_numpy(np.stack(backgrounds)), codec,
                        sees_coarse=sees, still_weight=config.still_weight)


def encode_batch(packed: Tensor, background: Tensor, codec: PatchCodec, *, sees_coarse: Tensor,
                 still_weight: float) -> Batch:
    """The batch of packed clips, uint8 [B T+1 H X 17], and their backgrounds' colours, uint8 [B 3]."""
    clips, reference = packed[:, :-1], packed[:, -1:, ..., TRUTH]
    video = to_signed(clips[..., TRUTH])
    layers = coarse_layers(to_signed(clips[..., COARSE]), clips[..., PRESERVED] / 255.0,
                           to_signed(background).view(-1, 1, 1, 1, 3))
    differs = (clips[..., TRUTH].float() - clips[..., COARSE].float()).abs().amax(-1) > SAME
    garment = clips[..., TRUTH_GARMENT] / 255.0
    rest = 1 - garment
    flow, flow_weight = _patch_flow(clips[..., FLOW], garment > 0.5)
    moving = (differs | (clips[..., GARMENT] > 25)).float()
    return Batch(
        video=video, truth=codec.encode(video), weight=still_weight + (1 - still_weight) * moving,
        shares=torch.stack([rest * ~differs, garment, rest * differs]), flow=flow, flow_weight=flow_weight,
        inputs=NetworkInputs(pose=codec.encode(to_signed(clips[..., POSE])), coarse=codec.encode(layers.video),
                             layers=layers, reference=codec.encode(to_signed(reference)),
                             mask=torch.stack([pool_mask(m) for m in clips[..., PRESERVED]]),
                             garment=garment_channels(layers.garment), sees_coarse=sees_coarse))


def _patch_flow(stored: Tensor, garment: Tensor) -> tuple[Tensor, Tensor]:
    """Mean flow [B 8 t h w] [px] of each patch and frame, and the share of it that is known garment [B 8 t h w],
    from uint8 [B T H X 2] and where the truth has garment [B T H X]; the first frame counts four times."""
    known = ((stored > 0) & garment[..., None]).float()
    value = (stored.float() - 128) / 2 * known
    sums = []
    for field in (value, known):
        field = torch.cat([field[:, :1].expand(-1, STRIDE, -1, -1, -1), field[:, 1:]], dim=1)
        batch, frames, height, width, _ = field.shape
        patches = field.reshape(batch, frames // STRIDE, STRIDE, height // STRIDE, STRIDE, width // STRIDE, STRIDE, 2)
        sums.append(patches.mean((4, 6)).permute(0, 2, 5, 1, 3, 4).flatten(1, 2))
    return sums[0] / sums[1].clamp_min(1e-6), sums[1]


def _crop(clip: np.ndarray, config: BatchConfig, rng: np.random.Generator) -> np.ndarray:
    """A window around a random garment pixel, inside the picture, and some of the frames; a copy."""
    frame = clip[int(rng.integers(len(clip) - 1)), ..., GARMENT]
    rows, columns = np.nonzero(frame > 25)
    height, width = frame.shape
    pick = int(rng.integers(len(rows))) if len(rows) else 0
    row, column = (int(rows[pick]), int(columns[pick])) if len(rows) else (height // 2, width // 2)
    top = int(np.clip(row - rng.integers(config.crop_height), 0, height - config.crop_height))
    left = int(np.clip(column - rng.integers(config.crop_width), 0, width - config.crop_width))
    length = min(config.crop_frames, len(clip) - 1)
    start = int(rng.integers(len(clip) - length))
    frames = [*range(start, start + length), len(clip) - 1]  # the last one holds the reference
    return clip[frames, top : top + config.crop_height, left : left + config.crop_width]


def _augment(clip: np.ndarray, background: np.ndarray, config: BatchConfig,
             rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Flip (the pose video with left and right exchanged takes the place of the other) and recolour `clip`, which is
    changed; the clip and its background's colour [3]."""
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
        background = np.array([tables[channel][background[order[channel]]] for channel in range(3)], np.uint8)
    return clip, background
