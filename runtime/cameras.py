"""Cameras around a figure. Azimuth 0 looks at the figure's front (+Z); it grows towards the figure's left (+X)."""

from __future__ import annotations

import math

import numpy as np

from runtime.types import Camera


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`T_camera_world` [4 4] of an upright OpenCV camera at `eye` [3] that looks at `target` [3] (metres)."""
    forward = target - eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, np.array([0.0, 1.0, 0.0]))
    right = right / np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    T_camera_world = np.eye(4)
    T_camera_world[:3, :3] = rotation
    T_camera_world[:3, 3] = -rotation @ eye
    return T_camera_world


def orbit_camera(target: np.ndarray, *, azimuth: float, elevation: float, distance: float, fov_y: float,
                 size: tuple[int, int]) -> Camera:
    """A camera on a sphere around `target` [3].

    `azimuth`, `elevation`, `fov_y` in radians, `distance` in metres, `size` is (width, height) in pixels.
    """
    width, height = size
    direction = np.array([math.sin(azimuth) * math.cos(elevation), math.sin(elevation),
                          math.cos(azimuth) * math.cos(elevation)])
    focal = 0.5 * height / math.tan(0.5 * fov_y)
    return Camera(width=width, height=height, fx=focal, fy=focal, cx=width / 2, cy=height / 2,
                  T_camera_world=look_at(target + distance * direction, target))
