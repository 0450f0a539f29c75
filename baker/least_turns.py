"""The least rotation that takes one direction to another. Letters: T frames."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from runtime import rotations


def least_turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The least rotation [3 3] that takes the direction of a to that of b."""
    return rotations.to_matrix(least_quats(a[None], b[None])[0])


def least_quats(a: Float[np.ndarray, "T 3"], b: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "T 4"]:
    """The least rotations that take directions a to b: (1 + a.b, a x b) normalised; half a turn about any
    perpendicular where they are opposite; none where one has no length."""
    a, b = direction(a), direction(b)
    quats = np.concatenate([1 + (a * b).sum(1, keepdims=True), np.cross(a, b)], axis=1)
    flat = np.linalg.norm(quats, axis=1) < 1e-6
    if flat.any():
        other = np.where(np.abs(a[:, :1]) < 0.9, [1.0, 0, 0], [0, 1.0, 0])
        quats[flat] = np.concatenate([np.zeros((len(a), 1)), direction(np.cross(a, other))], axis=1)[flat]
    none = (np.linalg.norm(a, axis=1) < 0.5) | (np.linalg.norm(b, axis=1) < 0.5)
    quats[none] = [1, 0, 0, 0]
    return rotations.normalize(quats)


def direction(vectors: np.ndarray) -> np.ndarray:
    """Vectors at length 1; those of no length stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
