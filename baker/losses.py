"""Image losses of the 4D optimisation (paper 4.3), differentiable, for float32 images [H X 3] in [0, 1].

Letters: H image height, X image width, C channels.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from baker.field import load_tensors
from baker.ssim import dssim as dssim
from runtime.errors import InputError

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


def mask_loss(coverage: Float[Tensor, "H X"], target: Float[Tensor, "H X"]) -> Float[Tensor, ""]:
    """Mean absolute difference of two coverages in [0, 1] (of the preserved region, paper's l3)."""
    return (coverage - target).abs().mean()


def depth_loss(depth: Float[Tensor, "H X"], target: Float[Tensor, "H X"],
               region: Bool[Tensor, "H X"]) -> Float[Tensor, ""]:
    """Mean absolute difference [m] of expected depths inside a region (paper 4.3: of what is preserved); 0 for none."""
    if not region.any():
        return depth.sum() * 0.0
    return (depth - target)[region].abs().mean()


class Lpips:
    """Learned perceptual distance (Zhang et al. 2018) with VGG-16, from a weights file of the user's.

    The file is safetensors with torchvision's `features.N.weight|bias` and the lpips package's
    `linK.model.1.weight`. Neither package is needed, nor may be installed (DESIGN §12).
    """

    def __init__(self, path: Path, *, device: torch.device | str = "cpu") -> None:
        """Raises `InputError` when the file is absent or lacks a tensor."""
        tensors = {key: value.to(device) for key, value in load_tensors(path)[0].items()}
        try:
            self.convolutions = {n: (tensors[f"features.{n}.weight"].float(), tensors[f"features.{n}.bias"].float())
                                 for block in VGG_BLOCKS for n in block}
            self.linear = [tensors[f"lin{k}.model.1.weight"].float() for k in range(len(VGG_BLOCKS))]
        except KeyError as error:
            raise InputError(f"{path}: LPIPS weights lack the tensor {error}; see baker/losses.py for the layout") \
                from error
        # The normalisation the lpips package applies to images in [-1, 1].
        self.shift = torch.tensor([-0.030, -0.088, -0.188], device=device)[:, None, None]
        self.scale = torch.tensor([0.458, 0.448, 0.450], device=device)[:, None, None]

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
