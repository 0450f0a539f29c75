"""A residual driven by pose alone, in PERSONA's manner (Sim and Moon, 2025), to compare with.

A triplane over the rest pose and the rotations of the joints near a point go through an MLP to an offset of its
centre; rotations and scales stay. Equal poses get equal cloth: what depends on how the pose was reached cannot be told.
PERSONA's own constants where they are known (facts/upstream.md §6): planes of 128 cells and 32 features
over 2 m, three layers of 128, joints within four steps of a point's main joint, 0.01 m per unit of output.
Letters: M moving Gaussians, B frames of a batch, T frames, J joints, D features, R cells of a plane along an axis.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from baker.field import SPACE_AXES, grid_sample, second_difference
from runtime import rotations
from runtime.types import GaussianSet, Motion, Rig

CELLS, FEATURES, WIDTH = 128, 32, 128
"""R, D and the width of the hidden layers."""
HALF_EXTENT = 1.0
"""Half side of the box that the planes span [m]."""
RINGS = 4
"""Joints so many steps along the skeleton from a point's main joint, or fewer, are seen by it."""
MEAN_SCALE = 0.01
"""Metres per unit of output."""


class PoseField(nn.Module):
    """d_means as a function of canonical position and pose; d_rotations and d_log_scales are zero."""

    def __init__(self, gaussians: GaussianSet, rig: Rig, motion: Motion, *, seed: int = 0) -> None:
        """Of the Gaussians that may move, over the poses of `motion`."""
        super().__init__()
        self.moving = np.flatnonzero(gaussians.may_move)
        points = gaussians.means[self.moving]
        centre = 0.5 * (points.min(0) + points.max(0))
        unit = torch.from_numpy(((points - centre) / HALF_EXTENT).astype(np.float32))
        self.register_buffer("unit", unit)
        self.register_buffer("poses", torch.from_numpy(_six_numbers(motion.quats_wxyz)))
        self.register_buffer("seen", torch.from_numpy(_seen_joints(rig, self.moving)).float())
        generator = torch.Generator().manual_seed(seed)
        self.space = nn.Parameter(0.1 * torch.randn(3, CELLS, CELLS, FEATURES, generator=generator))
        joints = rig.joint_count
        sizes = [3 * FEATURES + 6 * joints, WIDTH, WIDTH, WIDTH, 3]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        for layer in self.layers:
            bound = (6 / layer.in_features) ** 0.5
            layer.weight.data = bound * (2 * torch.rand(layer.weight.shape, generator=generator) - 1)
            layer.bias.data.zero_()
        self.layers[-1].weight.data.zero_()

    def forward(self, frames: Float[Tensor, " B"]) -> tuple[
            Float[Tensor, "B M 3"], Float[Tensor, "B M 3"], Float[Tensor, "B M 3"]]:
        """`(d_means [m], zeros, zeros)` at whole frames in 0..T-1."""
        still = torch.cat([grid_sample(plane, self.unit[:, column], self.unit[:, row])
                           for plane, (row, column) in zip(self.space, SPACE_AXES, strict=True)], dim=-1)
        offsets = []
        for pose in self.poses[frames.long()]:
            code = (self.seen[..., None] * pose).flatten(1)
            hidden = torch.cat([still, code], dim=-1)
            for layer in self.layers[:-1]:
                hidden = torch.relu(layer(hidden))
            offsets.append(MEAN_SCALE * self.layers[-1](hidden))
        d_means = torch.stack(offsets)
        return d_means, torch.zeros_like(d_means), torch.zeros_like(d_means)

    def at(self, points: Float[np.ndarray, "P 3"], moving: Int[np.ndarray, " P"]) -> PoseField:
        """Itself: adaptive density is no part of this baseline."""
        if not np.array_equal(moving, self.moving):
            raise ValueError("a pose field keeps its Gaussians: set density_rounds to 0 and prune_share above 1")
        return self

    def parameter_groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """What is learnt: planes, and the MLP's weights."""
        return [self.space], list(self.layers.parameters())

    def smoothness_in_space(self) -> Float[Tensor, ""]:
        """Mean squared second difference of the planes along both axes."""
        return second_difference(self.space, 1) + second_difference(self.space, 2)

    def smoothness_in_time(self) -> Float[Tensor, ""]:
        """Zero: it has no time."""
        return torch.zeros(())

    def time_l1(self) -> Float[Tensor, ""]:
        """Zero: it has no time."""
        return torch.zeros(())


def _six_numbers(quats_wxyz: Float[np.ndarray, "T J 4"]) -> Float[np.ndarray, "T J 6"]:
    """The first two columns of each rotation: continuous, unlike quaternions."""
    matrices = rotations.to_matrix(quats_wxyz.astype(np.float64))
    return np.concatenate([matrices[..., 0], matrices[..., 1]], -1).astype(np.float32)


def _seen_joints(rig: Rig, moving: Int[np.ndarray, " M"]) -> Bool[np.ndarray, "M J"]:
    """Joints within `RINGS` steps of each Gaussian's heaviest joint."""
    joints = rig.joint_count
    linked = np.eye(joints, dtype=bool)
    child = np.flatnonzero(rig.parents >= 0)
    linked[child, rig.parents[child]] = linked[rig.parents[child], child] = True
    near = np.linalg.matrix_power(linked.astype(np.int64), RINGS) > 0
    weights = rig.skin_weights[moving]
    main = rig.skin_joints[moving][np.arange(len(moving)), weights.argmax(1)]
    return near[main]
