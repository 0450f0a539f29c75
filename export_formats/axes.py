"""Axes by letters: where x, y and z point, for a viewer who faces the figure.

R and L are the viewer's right and left, U and D up and down, B towards the viewer ("back"), F away from the viewer
("forward"). Ours is RUB: +Y up, the figure faces +Z towards the viewer, its left hand at the viewer's right. glTF, USD,
SPZ and three.js agree. COLMAP and most 3DGS PLY are RDF; PlayCanvas takes PLY and SOG as LDB; Unity is RUF.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from runtime import rotations
from runtime.errors import InputError
from runtime.types import GaussianSet

OURS = "RUB"
"""The runtime's axes."""
_DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "U": (0, 1, 0), "D": (0, -1, 0), "B": (0, 0, 1), "F": (0, 0, -1)}


def matrix(axes: str) -> Float[np.ndarray, "3 3"]:
    """Our coordinates to those of `axes`: a signed permutation, of determinant -1 for left-handed axes."""
    return np.array([_DIRECTIONS[letter] for letter in check(axes)], np.float64)


def check(axes: str) -> str:
    """The letters in upper case; raises `InputError` unless they name three perpendicular directions."""
    letters = axes.upper()
    if len(letters) != 3 or any(sum(letter in pair for letter in letters) != 1 for pair in ("RL", "UD", "BF")):
        raise InputError(f"axes {axes[:20]!r}: give one of R or L, one of U or D, one of B or F, in the order x y z, "
                         f"e.g. {OURS}")
    return letters


def from_ours(gaussians: GaussianSet, axes: str) -> GaussianSet:
    """Our Gaussians in the coordinates of `axes`."""
    return _turn(gaussians, matrix(axes))


def to_ours(gaussians: GaussianSet, axes: str) -> GaussianSet:
    """Gaussians given in the coordinates of `axes`, in ours."""
    return _turn(gaussians, matrix(axes).T)


def turn_quats(quats_wxyz: Float[np.ndarray, "*B 4"], turn: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "*B 4"]:
    """Orientations of Gaussians whose centres are moved by `turn`, a rotation or a reflection.

    An ellipsoid is its own mirror image through the centre, so that the rotation det(A) A R serves where A R is a
    reflection: scales need no change.
    """
    proper = rotations.from_matrix(np.linalg.det(turn).round() * turn)
    return rotations.multiply(proper.astype(quats_wxyz.dtype), quats_wxyz)


def _turn(gaussians: GaussianSet, turn: np.ndarray) -> GaussianSet:
    if np.array_equal(turn, np.eye(3)):
        return gaussians
    means = np.ascontiguousarray(gaussians.means @ turn.T.astype(gaussians.means.dtype))
    return replace(gaussians, means=means, quats_wxyz=turn_quats(gaussians.quats_wxyz, turn))
