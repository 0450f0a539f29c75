"""Camera trajectories in view and time (paper 4.3: diagonal view-time sampling)."""

from __future__ import annotations

import math

import numpy as np

from runtime.cameras import orbit_camera
from runtime.skinning import joint_transforms
from runtime.types import Camera, Motion, Rig

FOV_Y = math.radians(40.0)
"""Vertical field of view [rad] (the released code's 40 degrees, facts §1.2)."""
DISTANCE = 3.2
"""Camera distance [m]: 2.3 m of height fit, a standing person with raised hands."""


def root_targets(rig: Rig, motion: Motion, *, smoothing: float = 0.25) -> np.ndarray:
    """What cameras look at [T 3]: the root joint's horizontal path, smoothed over `smoothing` seconds, at the
    clip's median root height less 10 cm, so that the feet and the head are equally far from the border."""
    roots = np.stack([joint_transforms(rig, motion, t)[0, :3, 3] for t in range(motion.frames)])
    sigma = max(smoothing * motion.fps, 1e-3)
    times = np.arange(motion.frames)
    kernel = np.exp(-0.5 * ((times[:, None] - times[None]) / sigma) ** 2)
    targets = (kernel / kernel.sum(1, keepdims=True)) @ roots
    targets[:, 1] = np.median(roots[:, 1]) - 0.10
    return targets


def diagonal(targets: np.ndarray, *, start_azimuth: float, turn: float, size: tuple[int, int],
             elevation: float = math.radians(10.0), distance: float = DISTANCE) -> tuple[Camera, ...]:
    """Time and azimuth advance together: frame t looks from `start_azimuth + turn * t / (T - 1)` [rad].

    `turn` = 0 is a fixed view; `size` is (width, height) [px].
    """
    steps = max(len(targets) - 1, 1)
    return tuple(orbit_camera(target, azimuth=start_azimuth + turn * t / steps, elevation=elevation,
                              distance=distance, fov_y=FOV_Y, size=size) for t, target in enumerate(targets))


def bullet_time(target: np.ndarray, *, views: int, size: tuple[int, int], elevation: float = math.radians(10.0),
                distance: float = DISTANCE) -> tuple[Camera, ...]:
    """One moment from `views` evenly spaced azimuths (the ablation of the paper's Fig. 9)."""
    return tuple(orbit_camera(target, azimuth=2 * math.pi * v / views, elevation=elevation, distance=distance,
                              fov_y=FOV_Y, size=size) for v in range(views))
