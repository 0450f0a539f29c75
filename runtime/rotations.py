"""Rotations in numpy: quaternions wxyz, rotation vectors [rad], 3x3 matrices. Batched over leading axes.

The reference for the torch and GLSL versions; tests compare those with this and nothing else.
"""

from __future__ import annotations

import numpy as np


def normalize(quats_wxyz: np.ndarray) -> np.ndarray:
    """Unit quaternions [... 4]; raises nothing, a zero quaternion becomes NaN (checked where files enter)."""
    return quats_wxyz / np.linalg.norm(quats_wxyz, axis=-1, keepdims=True)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product [... 4]: the rotation b, then a."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack([
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ], axis=-1)


def to_matrix(quats_wxyz: np.ndarray) -> np.ndarray:
    """Rotation matrices [... 3 3] of unit quaternions [... 4]."""
    w, x, y, z = np.moveaxis(quats_wxyz, -1, 0)
    return np.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ], axis=-1).reshape(*quats_wxyz.shape[:-1], 3, 3)


def from_matrix(matrices: np.ndarray) -> np.ndarray:
    """Unit quaternions [... 4], w >= 0, of rotation matrices [... 3 3] (Shepperd's method: no cancellation)."""
    m = matrices
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    # Four candidates, each exact; the one with the largest leading component is well conditioned.
    leading = np.stack([trace, m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]], axis=-1)
    candidates = np.stack([
        np.stack([1 + trace, m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0],
                  m[..., 1, 0] - m[..., 0, 1]], -1),
        np.stack([m[..., 2, 1] - m[..., 1, 2], 1 + m[..., 0, 0] - m[..., 1, 1] - m[..., 2, 2],
                  m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0]], -1),
        np.stack([m[..., 0, 2] - m[..., 2, 0], m[..., 0, 1] + m[..., 1, 0],
                  1 - m[..., 0, 0] + m[..., 1, 1] - m[..., 2, 2], m[..., 1, 2] + m[..., 2, 1]], -1),
        np.stack([m[..., 1, 0] - m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1],
                  1 - m[..., 0, 0] - m[..., 1, 1] + m[..., 2, 2]], -1),
    ], axis=-2)
    pick = np.argmax(leading, axis=-1)[..., None, None]
    q = normalize(np.take_along_axis(candidates, pick, axis=-2)[..., 0, :])
    return np.where(q[..., :1] < 0, -q, q)


def from_rotvec(rotvecs: np.ndarray) -> np.ndarray:
    """Unit quaternions [... 4] of rotation vectors [... 3]."""
    angle = np.linalg.norm(rotvecs, axis=-1, keepdims=True)
    # np.sinc(x) = sin(pi x) / (pi x): smooth at zero.
    return np.concatenate([np.cos(angle / 2), 0.5 * np.sinc(angle / (2 * np.pi)) * rotvecs], axis=-1)


def to_rotvec(quats_wxyz: np.ndarray) -> np.ndarray:
    """Rotation vectors [... 3], angle in [0, pi], of unit quaternions [... 4]."""
    q = np.where(quats_wxyz[..., :1] < 0, -quats_wxyz, quats_wxyz)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, q[..., :1])
    ratio = np.where(sine > 1e-8, angle / np.maximum(sine, 1e-8), 2.0)
    return ratio * q[..., 1:]


def slerp(a: np.ndarray, b: np.ndarray, weight: float) -> np.ndarray:
    """Shortest-path spherical interpolation [... 4]; weight 0 gives a, 1 gives b."""
    conjugate = a * np.array([1, -1, -1, -1], a.dtype)
    return multiply(from_rotvec(weight * to_rotvec(multiply(b, conjugate))).astype(a.dtype), a)


def nearest_rotation(matrices: np.ndarray) -> np.ndarray:
    """The rotation [... 3 3] closest in Frobenius norm to each matrix (polar decomposition, det +1)."""
    u, _, vt = np.linalg.svd(matrices)
    sign = np.sign(np.linalg.det(u @ vt))
    u = u.copy()
    u[..., :, 2] *= np.where(sign == 0, 1.0, sign)[..., None]
    return u @ vt
