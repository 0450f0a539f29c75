"""The avatar as the optimisation draws it, and the cloth's own stiffness.

Letters: N Gaussians, M of them moving.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from baker.posing import PoseTables, pose, pose_tables
from runtime.types import GaussianSet, Motion, Rig

MAX_KEPT = 1 << 30
"""Bytes of poses that are remembered: 650 frames of 40 000 Gaussians, a quarter of them moving."""


class PosedScene:
    """The avatar for the rasteriser: still Gaussians first, then the moving ones. Poses are made at first use; beyond
    `MAX_KEPT` the oldest go."""

    def __init__(self, gaussians: GaussianSet, rig: Rig, motion: Motion, device: torch.device) -> None:
        self.device = device
        self.moving, still = np.flatnonzero(gaussians.may_move), np.flatnonzero(~gaussians.may_move)
        self.still_count = len(still)
        self.rig, self.motion, self.still = rig, motion, still
        order = np.concatenate([still, self.moving])
        colors = np.concatenate([gaussians.colors, (~gaussians.may_move)[:, None]], axis=1)[order]
        self.channels = torch.from_numpy(colors.astype(np.float32)).to(device)
        """RGB and whether the Gaussian is preserved."""
        self.opacities = torch.from_numpy(gaussians.opacities[order]).to(device)
        self.rest, self.rest_still = (
            tuple(torch.from_numpy(np.ascontiguousarray(value[rows])).to(device) for value in
                  (gaussians.means, gaussians.quats_wxyz, gaussians.log_scales)) for rows in (self.moving, still))
        self.still_scales = torch.exp(self.rest_still[2])
        self.tables: dict[int, tuple[PoseTables, Tensor, Tensor]] = {}
        # Of a moving Gaussian 16 + 4 floats, of a still one 3 + 4.
        self.most = max(MAX_KEPT // (80 * len(self.moving) + 28 * len(still) + 1), 1)

    def posed(self, frame: int, d_means: Tensor, d_rotations: Tensor, d_log_scales: Tensor) -> tuple[
            Float[Tensor, "N 3"], Float[Tensor, "N 4"], Float[Tensor, "N 3"]]:
        """World means, quaternions and scales at a frame; the gradient runs through the moving ones only."""
        if frame not in self.tables:
            while len(self.tables) >= self.most:
                del self.tables[next(iter(self.tables))]
            self.tables[frame] = self._tables(frame)
        tables, still_means, still_quats = self.tables[frame]
        means, quats, scales = pose(*self.rest, d_means, d_rotations, d_log_scales, tables.blended[0],
                                    tables.turn_quats[0])
        return (torch.cat([still_means, means]), torch.cat([still_quats, quats]),
                torch.cat([self.still_scales, scales]))

    def _tables(self, frame: int) -> tuple[PoseTables, Tensor, Tensor]:
        still = pose_tables(self.rig, self.motion, frames=[frame], rows=self.still, device=self.device)
        zero = torch.zeros_like(self.rest_still[0])
        means, quats, _ = pose(*self.rest_still, zero, zero, zero, still.blended[0], still.turn_quats[0])
        moving = pose_tables(self.rig, self.motion, frames=[frame], rows=self.moving, device=self.device)
        return moving, means, quats


class ClothPairs:
    """Neighbours on the same kind of cloth in the rest pose: the nearest, the 2nd, 4th, 8th ... of each Gaussian,
    so that both a crease and a whole panel resist stretching."""

    def __init__(self, gaussians: GaussianSet, moving: np.ndarray, neighbours: int, device: torch.device) -> None:
        first, second = [], []
        for label in np.unique(gaussians.labels[moving]):
            rows = np.flatnonzero(gaussians.labels[moving] == label)
            ranks = [2 ** i for i in range(neighbours) if 2 ** i < len(rows)]
            if not ranks:
                continue
            _, near = cKDTree(gaussians.means[moving][rows]).query(gaussians.means[moving][rows], k=ranks[-1] + 1)
            first.append(np.repeat(rows, len(ranks)))
            second.append(rows[near[:, ranks].reshape(-1)])
        pairs = np.concatenate([np.stack([np.concatenate(part) if part else np.zeros(0, np.int64)
                                          for part in (first, second)])], axis=1)
        rest = gaussians.means[moving][pairs[0]] - gaussians.means[moving][pairs[1]]
        self.first, self.second = torch.from_numpy(pairs[0]).to(device), torch.from_numpy(pairs[1]).to(device)
        # 2 mm under the root: coincident Gaussians have no direction, and a millimetre means nothing to them.
        self.floor = 0.002 ** 2
        self.rest = torch.from_numpy(np.sqrt((rest.astype(np.float32) ** 2).sum(1) + self.floor)).to(device)

    def stretch(self, points: Float[Tensor, "M 3"]) -> Float[Tensor, ""]:
        """Mean squared relative change of the pairs' distances."""
        if len(self.first) == 0:
            return torch.zeros(())
        apart = points.index_select(0, self.first) - points.index_select(0, self.second)
        distance = torch.sqrt((apart * apart).sum(1) + self.floor)
        return ((distance - self.rest) / self.rest).square().mean()
