"""What a camera that follows a figure looks at, and from how far."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from runtime.types import Motion, Rig

FOV_Y = math.radians(40.0)
"""Vertical field of view [rad] (the released code's 40 degrees, facts §1.2)."""
DISTANCE = 3.2
"""Camera distance [m]: 2.3 m of height fit, a standing person with raised hands."""
ELEVATION = math.radians(10.0)
"""Camera elevation [rad]."""


SEEN_SHARE = 0.94
"""A standing figure should take at most this share of the picture's half above and below what the camera looks at."""
SEEN = SEEN_SHARE * DISTANCE * math.tan(FOV_Y / 2)
"""The same at the figure's place [m]."""
BELOW_ROOT = 0.10
"""A person's middle lies this far below the hips [m]."""


def root_targets(rig: Rig, motion: Motion, *, figure: Float[np.ndarray, "N 3"] | None = None,
                 smoothing: float = 0.25) -> Float[np.ndarray, "T 3"]:
    """What cameras look at: the root joint's horizontal path, smoothed over `smoothing` seconds, at the
    clip's median root height less 10 cm, so that the feet and the head are equally far from the border.

    `figure` are the Gaussians' centres at rest: where those of a figure with low hips (a big head, a tall hat) would
    leave the picture, the middle of their height takes the place of the 10 cm.
    """
    # The root has no parent and turns about itself: only its translation moves it.
    roots = rig.T_world_joint_rest[0, :3, 3].astype(np.float64) + motion.root_translations
    sigma = max(smoothing * motion.fps, 1e-3)
    radius = min(math.ceil(6 * sigma), motion.frames)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    inside = slice(radius, radius + motion.frames)
    # Near the ends only the frames that exist count.
    weight = np.convolve(np.ones(motion.frames), kernel)[inside]
    targets = np.stack([np.convolve(roots[:, axis], kernel)[inside] / weight for axis in range(3)], axis=1)
    targets[:, 1] = np.median(roots[:, 1]) + _middle(rig, figure)
    return targets


def _middle(rig: Rig, figure: Float[np.ndarray, "N 3"] | None) -> float:
    """Height of what is looked at above the root joint [m]."""
    if figure is not None and len(figure):
        heights = figure[:, 1].astype(np.float64) - float(rig.T_world_joint_rest[0, 1, 3])
        low, high = float(heights.min()), float(heights.max())
        if low < -BELOW_ROOT - SEEN or high > SEEN - BELOW_ROOT:
            return (low + high) / 2
    return -BELOW_ROOT
