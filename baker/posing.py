"""The torch mirror of `runtime/skinning.py`: residual, then skinning, differentiable in the residual.

Letters: N Gaussians, T frames. What depends on the motion alone is computed once, in numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from runtime import rotations, skinning
from runtime.types import GaussianSet, Motion, Rig


@dataclass(frozen=True)
class GaussianTensors:
    """A `GaussianSet` as tensors; same fields, units and storage."""

    means: Float[Tensor, "N 3"]
    """Centres [m]."""
    quats_wxyz: Float[Tensor, "N 4"]
    """Orientations, unit."""
    log_scales: Float[Tensor, "N 3"]
    """Natural log of the standard deviations [m]."""
    opacity_logits: Float[Tensor, " N"]
    """Logit of the opacity."""
    sh0: Float[Tensor, "N 3"]
    """Degree-0 coefficients."""
    labels: UInt8[Tensor, " N"]
    """A `Label` each, uint8."""

    @staticmethod
    def from_set(gaussians: GaussianSet, *, device: torch.device | str = "cpu") -> GaussianTensors:
        """A copy on `device`."""
        return GaussianTensors(**{f.name: torch.tensor(getattr(gaussians, f.name), device=device)
                                  for f in fields(GaussianTensors)})

    def to_set(self) -> GaussianSet:
        """A copy in numpy, off the graph."""
        return GaussianSet(**{f.name: getattr(self, f.name).detach().cpu().numpy().copy()
                              for f in fields(GaussianTensors)})


@dataclass(frozen=True)
class PoseTables:
    """What skinning does to each Gaussian at each of T frames, whatever the residual."""

    blended: Float[Tensor, "T N 4 4"]
    """Blended skinning matrices, rest pose to world."""
    turn_quats: Float[Tensor, "T N 4"]
    """Their nearest rotations."""


def pose_tables(rig: Rig, motion: Motion, *, frames: Sequence[int], rows: np.ndarray | None = None,
                device: torch.device | str = "cpu") -> PoseTables:
    """Tables of `frames` for the Gaussians `rows` (all by default); 80 bytes a Gaussian and frame."""
    pick = slice(None) if rows is None else rows
    joints, weights = rig.skin_joints[pick], rig.skin_weights[pick]
    blended = np.empty((len(frames), len(joints), 4, 4), np.float32)
    turns = np.empty((len(frames), len(joints), 4), np.float32)
    for i, frame in enumerate(frames):
        matrices = skinning.blend(skinning.skinning_matrices(rig, motion, frame), joints, weights)
        blended[i] = matrices
        turns[i] = rotations.from_matrix(rotations.nearest_rotation(matrices[:, :3, :3]))
    return PoseTables(blended=torch.from_numpy(blended).to(device), turn_quats=torch.from_numpy(turns).to(device))


def pose(means: Float[Tensor, "N 3"], quats_wxyz: Float[Tensor, "N 4"], log_scales: Float[Tensor, "N 3"],
         d_means: Float[Tensor, "N 3"], d_rotations: Float[Tensor, "N 3"], d_log_scales: Float[Tensor, "N 3"],
         blended: Float[Tensor, "N 4 4"], turn_quats: Float[Tensor, "N 4"]) -> tuple[Tensor, Tensor, Tensor]:
    """World means [N 3], unit quaternions [N 4] and scales [N 3] (not logs) of one frame.

    The offsets (metres, rotation vectors applied from the left, log) act in the rest pose, then the matrices do
    (DESIGN §4). A zero offset leaves exactly what skinning alone gives. Differentiable at zero.
    """
    moved = means + d_means
    posed = (blended[:, :3, :3] @ moved[:, :, None])[:, :, 0] + blended[:, :3, 3]
    turned = multiply(from_rotvec(d_rotations), quats_wxyz)
    return posed, multiply(turn_quats, turned), torch.exp(log_scales + d_log_scales)


def multiply(a: Float[Tensor, "... 4"], b: Float[Tensor, "... 4"]) -> Float[Tensor, "... 4"]:
    """Hamilton product: the rotation b, then a."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack([
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ], dim=-1)


def from_rotvec(rotvecs: Float[Tensor, "... 3"]) -> Float[Tensor, "... 4"]:
    """Unit quaternions of rotation vectors [rad]; value and gradient are exact at zero.

    Below 1e-3 rad the series takes over, since a norm has no gradient at zero; the term it drops, angle^4 / 384,
    is under 3e-15.
    """
    squared = (rotvecs * rotvecs).sum(-1, keepdim=True)
    small = squared < 1e-6
    angle = torch.sqrt(torch.where(small, torch.ones_like(squared), squared))
    real = torch.where(small, 1 - squared / 8, torch.cos(0.5 * angle))
    ratio = torch.where(small, 0.5 - squared / 48, torch.sin(0.5 * angle) / angle)
    return torch.cat([real, ratio * rotvecs], dim=-1)
