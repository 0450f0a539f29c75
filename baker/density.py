"""Adaptive density of the moving Gaussians (3D Gaussian Splatting, Kerbl et al. 2023, 5.2; Ani3DHuman 4.3).

Splits happen in the rest pose and children inherit label, binding and the residual of where they are, so nothing moves
when one is made. Letters: N Gaussians, M of them moving, S chosen rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_dilation

from runtime import rotations
from runtime.types import Camera, GaussianSet, Rig

SHRINK = 1.6
"""A child's deviation along the split axis is its parent's divided by this (3DGS)."""
MARGIN = 2
"""A point this near to the figure counts as on it [px]."""


def most(rank: Float[np.ndarray, " N"], count: int) -> Int[np.ndarray, " S"]:
    """The `count` rows of the largest positive values, ascending; ties go to the first."""
    order = np.argsort(-rank, kind="stable")[:count]
    return np.sort(order[rank[order] > 0])


def split(gaussians: GaussianSet, rig: Rig, rows: Int[np.ndarray, " S"]) -> tuple[GaussianSet, Rig]:
    """Two children for each row, side by side along its longest axis: one in its place, one at the end.

    Their mixture has the parent's mean and covariance (3DGS draws the children's centres at random and shrinks all
    three axes, which thins cloth).
    """
    logs = gaussians.log_scales[rows]
    longest = logs.argmax(1)
    each = np.arange(len(rows))
    deviation = np.exp(logs[each, longest].astype(np.float64))
    axes = rotations.to_matrix(gaussians.quats_wxyz[rows].astype(np.float64))[each, :, longest]
    offset = (axes * (deviation * np.sqrt(1 - SHRINK**-2))[:, None]).astype(np.float32)
    smaller = logs.copy()
    smaller[each, longest] -= np.float32(np.log(SHRINK))
    means, log_scales = gaussians.means.copy(), gaussians.log_scales.copy()
    means[rows] += offset
    log_scales[rows] = smaller
    grown = replace(gaussians, means=means, log_scales=log_scales)
    second = replace(gaussians.take(rows), means=gaussians.means[rows] - offset, log_scales=smaller)
    together = GaussianSet(**{f.name: np.concatenate([getattr(grown, f.name), getattr(second, f.name)])
                              for f in fields(GaussianSet)})
    return together, replace(rig, skin_joints=np.concatenate([rig.skin_joints, rig.skin_joints[rows]]),
                             skin_weights=np.concatenate([rig.skin_weights, rig.skin_weights[rows]]))


def drop(gaussians: GaussianSet, rig: Rig, rows: Int[np.ndarray, " S"]) -> tuple[GaussianSet, Rig]:
    """Without the rows."""
    kept = np.ones(gaussians.count, bool)
    kept[rows] = False
    return gaussians.take(kept), replace(rig, skin_joints=np.ascontiguousarray(rig.skin_joints[kept]),
                                         skin_weights=np.ascontiguousarray(rig.skin_weights[kept]))


def share_outside(means_at: Callable[[int], Float[np.ndarray, "M 3"]],
                  seen: Mapping[int, Sequence[tuple[Camera, Bool[np.ndarray, "H X"]]]]) -> Float[np.ndarray, " M"]:
    """In what share of all pictures each point lies more than `MARGIN` off the figure; `seen` holds the pictures of
    each frame: camera and the figure's pixels. The cameras hold the whole figure, so a point beyond the picture's
    border is off it; pictures without a figure say nothing."""
    outside: np.ndarray | float = 0.0
    pictures = 0
    for frame, shots in sorted(seen.items()):
        means = means_at(frame).astype(np.float64)
        for camera, figure in shots:
            if not figure.any():
                continue
            near = binary_dilation(figure, iterations=MARGIN)
            column, row, within = pixels(means, camera)
            pictures += 1
            outside = outside + ~(within & near[row, column])
    return outside / max(pictures, 1) * np.ones(len(means_at(0)))


def pixels(means: Float[np.ndarray, "M 3"], camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column and row of the pixel that each point projects into, clipped to the picture, and whether it is in it."""
    T = camera.T_camera_world.astype(np.float64)
    x, y, z = (means @ T[:3, :3].T + T[:3, 3]).T
    depth = np.maximum(z, 1e-6)
    column = np.floor(np.clip(camera.fx * x / depth + camera.cx, -1, camera.width)).astype(np.int64)
    row = np.floor(np.clip(camera.fy * y / depth + camera.cy, -1, camera.height)).astype(np.int64)
    within = (z > 1e-6) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    return column.clip(0, camera.width - 1), row.clip(0, camera.height - 1), within
