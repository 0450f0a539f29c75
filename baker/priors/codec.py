"""A closed-form video codec that stands where a video VAE would (DESIGN §9): principal components of patches.

A patch is 4 frames x 4 x 4 pixels x 3 colours = 192 numbers, kept as C latent channels of unit variance. As in
Wan's VAE the first frame stands alone (here: repeated four times) and the rest go in fours, so T = 4 k + 1 frames
become t = k + 1 latent frames; h = H / 4, w = X / 4. Letters as in `runtime/__init__.py`; B is any batch shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STRIDE = 4
"""Frames and pixels per latent, in time and in both directions of the picture."""
PATCH = STRIDE**3 * 3
"""Numbers in a patch."""


@dataclass(frozen=True)
class PatchCodec:
    """An orthonormal basis of patches, the closest linear codec in mean squared error."""

    basis: Tensor
    """Orthonormal columns [192 C]."""
    mean: Tensor
    """Mean patch [192], of colours in [-1, 1]."""
    deviation: Tensor
    """Standard deviation of each channel [C]; latents are divided by it."""

    @property
    def channels(self) -> int:
        """C."""
        return self.basis.shape[1]

    def encode(self, video: Tensor) -> Tensor:
        """Latents [B C t h w] of a video [B T H X 3] with colours in [-1, 1]."""
        return self._to_latents((_patches(video) - self.mean) @ self.basis / self.deviation)

    def decode(self, latents: Tensor) -> Tensor:
        """Video [B T H X 3], not clipped, of latents [B C t h w]."""
        patches = (latents.movedim(-4, -1) * self.deviation) @ self.basis.T + self.mean
        *batch, t, h, w, _ = patches.shape
        grid = patches.reshape(*batch, t, h, w, STRIDE, STRIDE, STRIDE, 3)
        # [B t h w (4 frames) (4 rows) (4 columns) 3] to [B (t 4) (h 4) (w 4) 3]
        n = len(batch)
        order = [*range(n), n, n + 3, n + 1, n + 4, n + 2, n + 5, n + 6]
        video = grid.permute(order).reshape(*batch, t * STRIDE, h * STRIDE, w * STRIDE, 3)
        first = video[..., :STRIDE, :, :, :].mean(dim=-4, keepdim=True)
        return torch.cat([first, video[..., STRIDE:, :, :, :]], dim=-4)

    @staticmethod
    def _to_latents(values: Tensor) -> Tensor:
        return values.movedim(-1, -4)


def _patches(video: Tensor) -> Tensor:
    """Patches [B t h w 192] of a video [B T H X 3]."""
    *batch, frames, height, width, _ = video.shape
    if frames % STRIDE != 1 or height % STRIDE or width % STRIDE:
        raise ValueError(f"a video of {frames} frames, {width} x {height}: the codec takes 4 k + 1 frames and sides "
                         "that are multiples of 4")
    n = len(batch)
    first = video[..., :1, :, :, :].expand(*batch, STRIDE, height, width, 3)
    padded = torch.cat([first, video[..., 1:, :, :, :]], dim=-4)
    grid = padded.reshape(*batch, padded.shape[n] // STRIDE, STRIDE, height // STRIDE, STRIDE, width // STRIDE,
                          STRIDE, 3)
    order = [*range(n), n, n + 2, n + 4, n + 1, n + 3, n + 5, n + 6]
    return grid.permute(order).reshape(*grid.shape[:n], grid.shape[n], grid.shape[n + 2], grid.shape[n + 4], PATCH)


def fit_codec(patches: Tensor, *, channels: int) -> PatchCodec:
    """The best C-channel codec for sample patches [S 192] of colours in [-1, 1], by eigenvectors."""
    samples = patches.double()
    mean = samples.mean(0)
    covariance = (samples - mean).T @ (samples - mean) / len(samples)
    values, vectors = torch.linalg.eigh(covariance)
    basis = vectors.flip(1)[:, :channels]
    # A sign that does not depend on the eigensolver: the largest entry of a column is positive.
    basis = basis * torch.sign(basis.gather(0, basis.abs().argmax(0, keepdim=True)))
    deviation = values.flip(0)[:channels].clamp_min(1e-8).sqrt()
    return PatchCodec(basis=basis.float(), mean=mean.float(), deviation=deviation.float())


def sample_patches(video: Tensor, *, count: int, generator: torch.Generator) -> Tensor:
    """`count` random patches [count 192] of a video [T H X 3], all but a tenth from where the picture is not flat
    (a flat background would fill the sample otherwise)."""
    patches = _patches(video).reshape(-1, PATCH)
    weight = (patches.std(dim=1) > 0.01).float()
    weight = weight + 0.1 * weight.mean().clamp_min(1e-3)
    return patches[torch.multinomial(weight, count, replacement=True, generator=generator)]


def to_signed(rgb: Tensor) -> Tensor:
    """uint8 0..255 to [-1, 1]."""
    return rgb.float() / 127.5 - 1.0


def to_bytes(video: Tensor) -> Tensor:
    """[-1, 1] to uint8, rounded, clipped."""
    return ((video + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def pool_mask(preserved: Tensor) -> Tensor:
    """Latent mask [1 t h w] in [0, 1] of a mask [T H X] 0..255: the least value of each patch, so that no latent
    that touches a garment edge counts as preserved (the released code takes the largest, facts §1.2)."""
    _, height, width = preserved.shape
    values = preserved.float() / 255.0
    padded = torch.cat([values[:1].expand(STRIDE, height, width), values[1:]])
    return padded.reshape(-1, STRIDE, height // STRIDE, STRIDE, width // STRIDE, STRIDE).amin((1, 3, 5))[None]
