"""Convolutions after the transformer: from one token in 16 x 16 pixels to what a 4 x 4 patch needs.

A linear map from a token cannot draw an edge that its 16 positions do not share; a few convolutions at the codec's
resolution, which see the latents themselves again, can. Letters as in `baker/priors/embedded.py`; D is the width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RefinementHead(nn.Module):
    """Output channels [B O t h w] from transformer features and latents, and the noise level."""

    def __init__(self, *, features: int, seen: int, width: int, blocks: int, out: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(features + seen, width, 1)
        self.level = nn.Linear(2, width)
        self.blocks = nn.ModuleList(RefinementBlock(width) for _ in range(blocks))
        self.norm = nn.GroupNorm(8, width)
        self.leave = nn.Conv2d(width, out, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, features: Tensor, seen: Tensor, sigma: Tensor) -> Tensor:
        """`features` [B F t h w] of the transformer, `seen` [B S t h w] what it was given, `sigma` [B]."""
        batch, _, t, _, _ = features.shape
        x = self.enter(_to_pictures(torch.cat([features, seen.to(features.dtype)], dim=1)))
        level = self.level(torch.stack([sigma, sigma.square()], dim=-1))
        x = x + level.repeat_interleave(t, dim=0)[..., None, None]
        for block in self.blocks:
            x = block(x, t)
        return self.leave(F.silu(self.norm(x))).unflatten(0, (batch, t)).transpose(1, 2)


class RefinementBlock(nn.Module):
    """A residual of two convolutions over the picture and a light one over time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.time = nn.Parameter(torch.zeros(2, width))
        nn.init.normal_(self.time, std=0.05)

    def forward(self, x: Tensor, t: int) -> Tensor:
        """Pictures [(B t) D h w]."""
        inner = self.conv1(F.silu(self.norm1(x)))
        # Each channel also takes a share of its neighbours in time: a depthwise kernel of three, cheap as a sum.
        frames = inner.unflatten(0, (-1, t))
        before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
        after = torch.cat([frames[:, 1:], frames[:, -1:]], dim=1)
        weights = self.time[:, :, None, None].to(inner.dtype)
        inner = (frames + weights[0] * before + weights[1] * after).flatten(0, 1)
        return x + self.conv2(F.silu(self.norm2(inner)))


def _to_pictures(latents: Tensor) -> Tensor:
    """[B C t h w] to [(B t) C h w]."""
    return latents.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
