"""Quaternions as their three smallest components and the place of the largest, which follows from unit length.

Formats differ in the order of components, in the field of the place and in the coding of the three; this is what
they share. With an error of at most e in each of the three, the rotation is off by at most `angle_bound(e)`.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int

REACH = math.sqrt(0.5)
"""Largest absolute value of a component that is not the largest."""
_OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])


def split(quats: Float[np.ndarray, "N 4"]) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, "N 3"]]:
    """The place of the largest component, and the others in their order, signed so that the largest is positive."""
    quats = quats.astype(np.float64)
    quats = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    largest = np.argmax(np.abs(quats), axis=1)
    sign = np.where(np.take_along_axis(quats, largest[:, None], axis=1) < 0, -1.0, 1.0)
    return largest, sign * np.take_along_axis(quats, _OTHERS[largest], axis=1)


def join(largest: Int[np.ndarray, " N"], three: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 4"]:
    """The quaternions of `split`, of unit length where the three are not longer than that."""
    quats = np.empty((len(three), 4))
    np.put_along_axis(quats, _OTHERS[largest], three.astype(np.float64), axis=1)
    left = np.sqrt(np.maximum(1.0 - (three.astype(np.float64) ** 2).sum(axis=1), 0.0))
    np.put_along_axis(quats, largest[:, None], left[:, None], axis=1)
    return quats


def angle_bound(component_error: float) -> float:
    """Largest angle [rad] between a quaternion and its copy with the three components off by `component_error` each.

    The three are off by sqrt(3) e together; the largest is at least 1/2 and the three at most sqrt(3)/2 long, so that
    it is off by at most sqrt(3) of that (to first order: a tenth is added); an angle is twice that on the unit sphere.
    """
    return 1.1 * 2 * math.hypot(1.0, math.sqrt(3.0)) * math.sqrt(3.0) * component_error
