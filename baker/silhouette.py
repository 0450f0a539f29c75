"""Where a restored video shows cloth and the current state has none.

A picture's gradient reaches a Gaussian only from pixels under its own footprint, so cloth hardly feels a fold that it
should reach. Here every uncovered pixel of the figure pulls the nearest Gaussian: one half of a chamfer distance
(the other half, Gaussians outside the figure, measured nothing: their pixels already push them in). Ours, no part of
the paper. Letters: H X the image, M points, P pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import binary_fill_holes, binary_opening, distance_transform_edt
from torch import Tensor

from runtime.types import Camera

THRESHOLD = 0.08
"""A pixel belongs to the figure when a channel is this far from the background; above the codec's ripples."""
PRESERVED = 26
"""Preserved coverage (of 255) from which a pixel asks for no cloth."""
FREE = 1.0
"""Gaussians cover this much round their centres [px]."""
NEAR_PLANE = 0.1
"""Points nearer to the camera than this cover nothing [m]."""


def cloth_pixels(rgb: UInt8[np.ndarray, "H X 3"], preserved: UInt8[np.ndarray, "H X"],
                 background: tuple[float, float, float]) -> Bool[np.ndarray, "H X"]:
    """Pixels of the figure that show nothing preserved."""
    return figure(rgb, background) & (preserved < PRESERVED)


def figure(rgb: UInt8[np.ndarray, "H X 3"], background: tuple[float, float, float]) -> Bool[np.ndarray, "H X"]:
    """Pixels of the figure on a flat sRGB background; specks are left out, holes filled (cloth may have the
    background's colour)."""
    apart = np.abs(rgb / 255.0 - np.asarray(background)).max(-1) > THRESHOLD
    return binary_fill_holes(binary_opening(apart))


def uncovered(means: Float[Tensor, "M 3"], camera: Camera, cloth: Bool[np.ndarray, "H X"]) -> Float[Tensor, ""]:
    """Mean distance [px] of the pixels `cloth` from the nearest pixel that a point projects into, where it is more
    than `FREE`; the gradient pulls that point."""
    T = torch.from_numpy(np.asarray(camera.T_camera_world, np.float32)).to(means)
    seen = means @ T[:3, :3].t() + T[:3, 3]
    depth = seen[:, 2].clamp_min(NEAR_PLANE)
    points = torch.stack([camera.fx * seen[:, 0] / depth + camera.cx, camera.fy * seen[:, 1] / depth + camera.cy], 1)
    column, row = np.floor(points.detach().cpu().numpy()).astype(np.int64).T
    height, width = cloth.shape
    seen_at = np.flatnonzero((column >= 0) & (column < width) & (row >= 0) & (row < height)
                             & (seen[:, 2].detach().cpu().numpy() > NEAR_PLANE))
    if len(seen_at) == 0 or not cloth.any():
        return means.sum() * 0.0
    owner = np.full(cloth.shape, -1)
    owner[row[seen_at], column[seen_at]] = seen_at
    away, (nearest_row, nearest_column) = distance_transform_edt(owner < 0, return_indices=True)
    y, x = np.nonzero(cloth & (away > FREE))
    pulled = torch.from_numpy(owner[nearest_row[y, x], nearest_column[y, x]]).to(means.device)
    centres = torch.from_numpy(np.stack([x, y], 1) + 0.5).to(means)
    apart = points.index_select(0, pulled) - centres
    return torch.sqrt(apart.square().sum(1) + 1e-6).sum() / int(cloth.sum())
