"""What a camera that follows a figure looks at, and from how far."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from runtime.skinning import joint_transforms
from runtime.types import Motion, Rig

FOV_Y = math.radians(40.0)
"""Vertical field of view [rad] (the released code's 40 degrees, facts §1.2)."""
DISTANCE = 3.2
"""Camera distance [m]: 2.3 m of height fit, a standing person with raised hands."""
ELEVATION = math.radians(10.0)
"""Camera elevation [rad]."""


def root_targets(rig: Rig, motion: Motion, *, smoothing: float = 0.25) -> Float[np.ndarray, "T 3"]:
    """What cameras look at: the root joint's horizontal path, smoothed over `smoothing` seconds, at the
    clip's median root height less 10 cm, so that the feet and the head are equally far from the border."""
    roots = np.stack([joint_transforms(rig, motion, t)[0, :3, 3] for t in range(motion.frames)])
    sigma = max(smoothing * motion.fps, 1e-3)
    times = np.arange(motion.frames)
    kernel = np.exp(-0.5 * ((times[:, None] - times[None]) / sigma) ** 2)
    targets = (kernel / kernel.sum(1, keepdims=True)) @ roots
    targets[:, 1] = np.median(roots[:, 1]) - 0.10
    return targets
