"""Camera trajectories in view and time (paper 4.3: diagonal view-time sampling)."""

from __future__ import annotations

import math

import numpy as np

from runtime.cameras import orbit_camera
from runtime.framing import DISTANCE, ELEVATION, FOV_Y, root_targets
from runtime.types import Camera

__all__ = ["DISTANCE", "FOV_Y", "bullet_time", "diagonal", "root_targets"]


def diagonal(targets: np.ndarray, *, start_azimuth: float, turn: float, size: tuple[int, int],
             elevation: float = ELEVATION, distance: float = DISTANCE) -> tuple[Camera, ...]:
    """Time and azimuth advance together: frame t looks from `start_azimuth + turn * t / (T - 1)` [rad].

    `turn` = 0 is a fixed view; `size` is (width, height) [px].
    """
    steps = max(len(targets) - 1, 1)
    return tuple(orbit_camera(target, azimuth=start_azimuth + turn * t / steps, elevation=elevation,
                              distance=distance, fov_y=FOV_Y, size=size) for t, target in enumerate(targets))


def bullet_time(target: np.ndarray, *, views: int, size: tuple[int, int], elevation: float = ELEVATION,
                distance: float = DISTANCE) -> tuple[Camera, ...]:
    """One moment from `views` evenly spaced azimuths (the ablation of the paper's Fig. 9)."""
    return tuple(orbit_camera(target, azimuth=2 * math.pi * v / views, elevation=elevation, distance=distance,
                              fov_y=FOV_Y, size=size) for v in range(views))
