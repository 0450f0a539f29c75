"""Image losses of the 4D optimisation (paper 4.3), differentiable, for float32 images [H X 3] in [0, 1].

Letters: H image height, X image width, C channels.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import no_type_check

import numba
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from baker.field import load_tensors
from runtime.errors import InputError

SSIM_SIGMA = 1.5
"""Standard deviation of the SSIM window [px] (Wang et al. 2004)."""
SSIM_RADIUS = 5
"""Half width of the SSIM window [px]: 11 x 11 (Wang et al. 2004)."""
VGG_BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Convolutions of VGG-16 in torchvision's numbering; a pooling precedes every block but the first."""


def l1(image: Float[Tensor, "H X C"], target: Float[Tensor, "H X C"]) -> Float[Tensor, ""]:
    """Mean absolute difference."""
    return (image - target).abs().mean()


def multiscale_l1(image: Float[Tensor, "H X C"], target: Float[Tensor, "H X C"], *, levels: int,
                  skip: int = 0) -> Float[Tensor, ""]:
    """Mean over `levels` of the L1 at half, quarter ... resolution, the first `skip` of them left out.

    A Gaussian gets a gradient from pixels within its own footprint only; the pooled images widen its view
    to a cloth fold that is many pixels away. No part of the paper: its start is a restored video close to the
    coarse one.
    """
    difference = (image - target).permute(2, 0, 1)[None]
    total = torch.zeros(())
    for level in range(levels):
        # Windows overlap by half: with boxes side by side, motion within a box would go unseen.
        difference = F.avg_pool2d(difference, 4, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
        if level >= skip:
            total = total + difference.abs().mean()
    return total / max(levels - skip, 1)


def dssim(image: Float[Tensor, "H X C"], target: Float[Tensor, "H X C"]) -> Float[Tensor, ""]:
    """(1 - SSIM) / 2, with an 11 x 11 Gaussian window of sigma 1.5 and zeros beyond the border, as 3DGS has it."""
    return _Dssim.apply(image, target)


def mask_loss(coverage: Float[Tensor, "H X"], target: Float[Tensor, "H X"]) -> Float[Tensor, ""]:
    """Mean absolute difference of two coverages in [0, 1] (of the preserved region, paper's l3)."""
    return (coverage - target).abs().mean()


class _Dssim(torch.autograd.Function):
    """Value and gradient in closed form, worked out together.

    Written out in torch operations the same takes 10 to 20 ms for a 128x224 image on two cores, most of it the
    start of some sixty small parallel regions; this takes about 3 ms.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, image: Tensor, target: Tensor) -> Tensor:
        a, b = (np.ascontiguousarray(x.detach().numpy().transpose(2, 0, 1)) for x in (image, target))
        gradient = np.empty_like(a)
        total = _ssim_with_gradient(a, b, _WINDOW, gradient).sum()
        ctx.save_for_backward(torch.from_numpy(gradient).permute(1, 2, 0) * (-0.5 / a.size))
        return torch.tensor((1 - total / a.size) / 2, dtype=torch.float32)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, upstream: Tensor) -> tuple[Tensor, None]:
        return upstream * ctx.saved_tensors[0], None


def _window() -> np.ndarray:
    kernel = np.exp(-0.5 * (np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1) / SSIM_SIGMA) ** 2)
    return (kernel / kernel.sum()).astype(np.float32)


_WINDOW = _window()


@numba.njit(parallel=True, cache=True)
@no_type_check
def _ssim_with_gradient(a, b, window, gradient):
    """Sum of the SSIM map of each channel (float64 [C]); writes its gradient by `a`, both [C H X]."""
    channels, height, width = a.shape
    sums = np.zeros(channels)
    c1, c2, two = np.float32(1e-4), np.float32(9e-4), np.float32(2)
    for c in numba.prange(channels):
        mu_a, mu_b = _blurred(a[c], window), _blurred(b[c], window)
        aa, bb, ab = _blurred(a[c] * a[c], window), _blurred(b[c] * b[c], window), _blurred(a[c] * b[c], window)
        total = 0.0
        for y in range(height):
            for x in range(width):
                p, q = mu_a[y, x], mu_b[y, x]
                # ssim = (t1 t2) / (d1 d2), written as mean * contrast.
                t1, d1 = two * p * q + c1, p * p + q * q + c1
                t2, d2 = two * (ab[y, x] - p * q) + c2, aa[y, x] - p * p + bb[y, x] - q * q + c2
                mean, contrast = t1 / d1, t2 / d2
                total += mean * contrast
                # By mu_a, E[aa] and E[ab]; the maps are done with, so they take the derivatives.
                mu_a[y, x] = (contrast * two * (q - mean * p) / d1 - mean * two * (q - contrast * p) / d2)
                aa[y, x] = -mean * contrast / d2
                ab[y, x] = mean * two / d2
        sums[c] = total
        # The window is symmetric, so blurring is its own adjoint.
        by_mean, by_aa, by_ab = _blurred(mu_a, window), _blurred(aa, window), _blurred(ab, window)
        for y in range(height):
            for x in range(width):
                gradient[c, y, x] = by_mean[y, x] + two * a[c, y, x] * by_aa[y, x] + b[c, y, x] * by_ab[y, x]
    return sums


@numba.njit(cache=True)
@no_type_check
def _blurred(plane, window):
    """Separable window over one [H X] map, zero beyond the border."""
    height, width = plane.shape
    radius = len(window) // 2
    out = np.zeros((height, width), np.float32)
    padded = np.zeros(width + 2 * radius, np.float32)
    for y in range(height):
        middle = padded[radius:radius + width]
        middle[:] = 0
        for k in range(len(window)):
            source = y + k - radius
            if 0 <= source < height:
                row, weight = plane[source], window[k]
                for x in range(width):
                    middle[x] += weight * row[x]
        target = out[y]
        for k in range(len(window)):
            shifted, weight = padded[k:k + width], window[k]
            for x in range(width):
                target[x] += weight * shifted[x]
    return out


class Lpips:
    """Learned perceptual distance (Zhang et al. 2018) with VGG-16, from a weights file of the user's.

    The file is safetensors with torchvision's `features.N.weight|bias` and the lpips package's
    `linK.model.1.weight`. Neither package is needed, nor may be installed (DESIGN §12).
    """

    def __init__(self, path: Path) -> None:
        """Raises `InputError` when the file is absent or lacks a tensor."""
        tensors, _ = load_tensors(path)
        try:
            self.convolutions = {n: (tensors[f"features.{n}.weight"].float(), tensors[f"features.{n}.bias"].float())
                                 for block in VGG_BLOCKS for n in block}
            self.linear = [tensors[f"lin{k}.model.1.weight"].float() for k in range(len(VGG_BLOCKS))]
        except KeyError as error:
            raise InputError(f"{path}: LPIPS weights lack the tensor {error}; see baker/losses.py for the layout") \
                from error
        # The normalisation the lpips package applies to images in [-1, 1].
        self.shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
        self.scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]

    def __call__(self, image: Float[Tensor, "H X 3"], target: Float[Tensor, "H X 3"]) -> Float[Tensor, ""]:
        """The distance; images of at least 16 px a side."""
        pair = torch.stack([image, target]).permute(0, 3, 1, 2)
        hidden = (2 * pair - 1 - self.shift) / self.scale
        total = torch.zeros(())
        for block, linear in zip(VGG_BLOCKS, self.linear, strict=True):
            hidden = hidden if block[0] == 0 else F.max_pool2d(hidden, 2)
            for n in block:
                hidden = torch.relu(F.conv2d(hidden, *self.convolutions[n], padding=1))
            unit = hidden / (hidden.square().sum(1, keepdim=True).sqrt() + 1e-10)
            total = total + F.conv2d((unit[:1] - unit[1:]).square(), linear).mean()
        return total


def psnr_of_mse(mse: float) -> float:
    """Peak signal-to-noise ratio [dB] of a mean squared error of values in [0, 1]."""
    return math.inf if mse == 0 else -10 * math.log10(mse)
