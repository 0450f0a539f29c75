"""The torch mirror of `runtime/skinning.py`: residual, then skinning, differentiable in the residual.

Letters: N Gaussians, T frames, J joints, W influences. What depends on the motion alone is computed once. `pose` is
one kernel on a CPU, forward and backward; `reference` is the same in plain torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from runtime import _raster_threads, fast_skinning, skinning
from runtime._raster_template import compiled
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
    joints = np.ascontiguousarray(rig.skin_joints[pick], np.int32)
    weights = np.ascontiguousarray(rig.skin_weights[pick], np.float32)
    count = len(joints)
    blended = np.zeros((len(frames), count, 4, 4), np.float32)
    turns = np.empty((len(frames), count, 4), np.float32)
    # Turning the identity gives the nearest rotation itself.
    still, identity = np.zeros((count, 3), np.float32), np.tile(np.float32([1, 0, 0, 0]), (count, 1))
    for frame, matrices, turn in zip(frames, blended, turns, strict=True):
        joint_matrices = np.ascontiguousarray(skinning.skinning_matrices(rig, motion, frame)[:, :3], np.float64)
        _raster_threads.run(_blend, count, joints, weights, joint_matrices, matrices)
        _raster_threads.run(fast_skinning.skin, count, still, identity, joints, weights, joint_matrices,
                            np.empty_like(still), turn)
    return PoseTables(blended=torch.from_numpy(blended).to(device), turn_quats=torch.from_numpy(turns).to(device))


def pose(means: Float[Tensor, "N 3"], quats_wxyz: Float[Tensor, "N 4"], log_scales: Float[Tensor, "N 3"],
         d_means: Float[Tensor, "N 3"], d_rotations: Float[Tensor, "N 3"], d_log_scales: Float[Tensor, "N 3"],
         blended: Float[Tensor, "N 4 4"], turn_quats: Float[Tensor, "N 4"]) -> tuple[Tensor, Tensor, Tensor]:
    """World means [N 3], unit quaternions [N 4] and scales [N 3] (not logs) of one frame.

    The offsets (metres, rotation vectors applied from the left, log) act in the rest pose, then the matrices do
    (DESIGN §4). A zero offset leaves exactly what skinning alone gives. Differentiable at zero.
    """
    on_cpu = all(v.device.type == "cpu" and v.dtype == torch.float32 for v in (means, d_means, blended))
    if not on_cpu or any(v.requires_grad for v in (means, quats_wxyz, blended, turn_quats)):
        return reference(means, quats_wxyz, log_scales, d_means, d_rotations, d_log_scales, blended, turn_quats)
    posed, turned = _Pose.apply(d_means, d_rotations, means, quats_wxyz, blended, turn_quats)
    return posed, turned, torch.exp(log_scales + d_log_scales)


def reference(means: Float[Tensor, "N 3"], quats_wxyz: Float[Tensor, "N 4"], log_scales: Float[Tensor, "N 3"],
              d_means: Float[Tensor, "N 3"], d_rotations: Float[Tensor, "N 3"], d_log_scales: Float[Tensor, "N 3"],
              blended: Float[Tensor, "N 4 4"], turn_quats: Float[Tensor, "N 4"]) -> tuple[Tensor, Tensor, Tensor]:
    """What `pose` gives, in plain torch: any device, any precision, differentiable in everything."""
    moved = means + d_means
    posed = (blended[:, :3, :3] @ moved[:, :, None])[:, :, 0] + blended[:, :3, 3]
    turned = multiply(from_rotvec(d_rotations), quats_wxyz)
    return posed, multiply(turn_quats, turned), torch.exp(log_scales + d_log_scales)


class _Pose(torch.autograd.Function):
    """Means and quaternions of `pose`, differentiable in the first two arguments."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*inputs)
        posed, turned = torch.empty_like(inputs[2]), torch.empty_like(inputs[3])
        _raster_threads.run(_pose, len(posed), *_plain(*inputs, posed, turned))
        return posed, turned

    @staticmethod
    def backward(ctx: Any, by_posed: Tensor, by_turned: Tensor) -> tuple[Tensor | None, ...]:
        _, d_rotations, _, quats, blended, turn_quats = ctx.saved_tensors
        by_means, by_rotations = torch.empty_like(by_posed), torch.empty_like(by_posed)
        _raster_threads.run(_pose_backward, len(by_means), *_plain(d_rotations, quats, blended, turn_quats, by_posed,
                                                                   by_turned, by_means, by_rotations))
        return by_means, by_rotations, None, None, None, None


def _plain(*values: Tensor) -> list[np.ndarray]:
    return [v.detach().contiguous().numpy() for v in values]


@compiled()
@no_type_check
def _blend(begin, end, joints, weights, joint_matrices, out):
    """Rows begin..end of blended matrices [N 4 4], from [J 3 4]; the last row is 0 0 0 1."""
    m = np.empty((3, 4))
    for n in range(begin, end):
        m[:] = 0.0
        for w in range(joints.shape[1]):
            weight = np.float64(weights[n, w])
            joint = joint_matrices[joints[n, w]]
            for row in range(3):
                for column in range(4):
                    m[row, column] += weight * joint[row, column]
        out[n, :3] = m
        out[n, 3, 3] = 1.0


@compiled(inline="always")
@no_type_check
def _times(aw, ax, ay, az, bw, bx, by, bz):
    """Hamilton product."""
    return (aw * bw - ax * bx - ay * by - az * bz, aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx, aw * bz + ax * by - ay * bx + az * bw)


@compiled(inline="always")
@no_type_check
def _half_turn(x, y, z):
    """cos(angle / 2), ratio = sin(angle / 2) / angle, and the ratio's derivative by the angle, over the angle."""
    squared = np.float64(x) * x + np.float64(y) * y + np.float64(z) * z
    if squared < 1e-6:  # what the series drop is under 3e-15, as in `from_rotvec`
        return 1 - squared / 8, 0.5 - squared / 48, -1 / 24.0
    angle = math.sqrt(squared)
    real, ratio = math.cos(0.5 * angle), math.sin(0.5 * angle) / angle
    return real, ratio, (0.5 * real - ratio) / squared


@compiled()
@no_type_check
def _pose(begin, end, d_means, d_rotations, means, quats, blended, turns, out_means, out_quats):
    """Rows begin..end of posed means and quaternions."""
    for n in range(begin, end):
        x, y, z = means[n, 0] + d_means[n, 0], means[n, 1] + d_means[n, 1], means[n, 2] + d_means[n, 2]
        for row in range(3):
            m = blended[n, row]
            out_means[n, row] = m[0] * x + m[1] * y + m[2] * z + m[3]
        rx, ry, rz = d_rotations[n, 0], d_rotations[n, 1], d_rotations[n, 2]
        real, ratio, _ = _half_turn(rx, ry, rz)
        w, x, y, z = _times(real, ratio * rx, ratio * ry, ratio * rz, quats[n, 0], quats[n, 1], quats[n, 2],
                            quats[n, 3])
        w, x, y, z = _times(turns[n, 0], turns[n, 1], turns[n, 2], turns[n, 3], w, x, y, z)
        out_quats[n, 0], out_quats[n, 1], out_quats[n, 2], out_quats[n, 3] = w, x, y, z


@compiled()
@no_type_check
def _pose_backward(begin, end, d_rotations, quats, blended, turns, by_posed, by_turned, by_means, by_rotations):
    """Rows begin..end of the gradients by d_means and d_rotations."""
    for n in range(begin, end):
        for column in range(3):
            by_means[n, column] = (blended[n, 0, column] * by_posed[n, 0] + blended[n, 1, column] * by_posed[n, 1]
                                   + blended[n, 2, column] * by_posed[n, 2])
        # The transpose of multiplying by a quaternion is multiplying by its conjugate.
        w, x, y, z = _times(turns[n, 0], -turns[n, 1], -turns[n, 2], -turns[n, 3], by_turned[n, 0], by_turned[n, 1],
                            by_turned[n, 2], by_turned[n, 3])
        w, x, y, z = _times(w, x, y, z, quats[n, 0], -quats[n, 1], -quats[n, 2], -quats[n, 3])
        rx, ry, rz = d_rotations[n, 0], d_rotations[n, 1], d_rotations[n, 2]
        _, ratio, slope = _half_turn(rx, ry, rz)
        along = slope * (rx * x + ry * y + rz * z) - 0.5 * ratio * w
        by_rotations[n, 0] = ratio * x + along * rx
        by_rotations[n, 1] = ratio * y + along * ry
        by_rotations[n, 2] = ratio * z + along * rz


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
