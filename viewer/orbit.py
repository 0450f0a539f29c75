"""An orbit camera that mouse movements steer. Pure values; no window."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from runtime.cameras import orbit_camera
from runtime.framing import DISTANCE, ELEVATION, FOV_Y
from runtime.types import Camera

TURN_PER_PIXEL = math.radians(0.4)
"""Azimuth and elevation per pixel dragged [rad]."""
ZOOM_PER_NOTCH = 1.1
"""Distance factor per notch of the wheel."""
ELEVATION_LIMIT = math.radians(85.0)
"""Straight up and down have no upright view."""
DISTANCE_LIMITS = (0.3, 30.0)
"""[m]."""


@dataclass(frozen=True)
class Orbit:
    """Where the camera is, relative to the point it follows."""

    azimuth: float = 0.0
    """[rad], 0 is the figure's front."""
    elevation: float = ELEVATION
    """[rad]."""
    distance: float = DISTANCE
    """[m]."""
    pan: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Offset from the followed point [m], world axes."""

    def camera(self, target: Float[np.ndarray, " 3"], size: tuple[int, int]) -> Camera:
        """The camera around a followed point, for a picture of `size` (width, height) [px].

        A picture narrower than 9:16 keeps the width of a 9:16 one in view.
        """
        fov_y = FOV_Y
        width, height = size
        if 16 * width < 9 * height:
            fov_y = 2 * math.atan(math.tan(FOV_Y / 2) * (9 * height) / (16 * width))
        return orbit_camera(target + np.asarray(self.pan), azimuth=self.azimuth, elevation=self.elevation,
                            distance=self.distance, fov_y=fov_y, size=size)

    def turned(self, dx: int | float, dy: int | float) -> Orbit:
        """Dragged by pixels, y up: the figure follows the hand."""
        elevation = self.elevation - dy * TURN_PER_PIXEL
        return replace(self, azimuth=(self.azimuth - dx * TURN_PER_PIXEL) % (2 * math.pi),
                       elevation=min(max(elevation, -ELEVATION_LIMIT), ELEVATION_LIMIT))

    def panned(self, dx: int | float, dy: int | float, *, size: tuple[int, int]) -> Orbit:
        """Dragged by pixels, y up, in a picture of `size` [px]: the followed point stays under the hand."""
        camera = self.camera(np.zeros(3), size)
        rotation = camera.T_camera_world[:3, :3]
        shift = (-dx * rotation[0] + dy * rotation[1]) * self.distance / camera.fy
        return replace(self, pan=tuple(float(p + s) for p, s in zip(self.pan, shift, strict=True)))

    def zoomed(self, notches: int | float) -> Orbit:
        """The wheel turned; positive is nearer."""
        distance = self.distance * ZOOM_PER_NOTCH ** -notches
        return replace(self, distance=min(max(distance, DISTANCE_LIMITS[0]), DISTANCE_LIMITS[1]))
