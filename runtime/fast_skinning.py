"""Linear blend skinning of Gaussians in numba: `skinning.pose_gaussians` at playing speed.

The nearest rotation of a blended 3x3 matrix M is found without an SVD: it is the unit quaternion q that maximises
tr(R(q)^T M) = q^T A q, A linear in M (Horn 1987). For a blend of rotations, A + I = 4 sum_j w_j q_j q_j^T: nearly
of rank one. Squaring it makes it rank one; its columns are then multiples of q.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import no_type_check

import numpy as np
from jaxtyping import Float

from runtime import _raster_threads
from runtime._raster_template import compiled
from runtime.types import GaussianSet, Rig

_MAX_SQUARINGS = 40
"""Two rotations 179.9 degrees apart, equally weighted, need 15."""


def pose_gaussians(gaussians: GaussianSet, rig: Rig, matrices: Float[np.ndarray, "J 4 4"]) -> GaussianSet:
    """Rest-pose Gaussians in the world, given `skinning_matrices` of a frame.

    Agrees with the numpy reference within float32 rounding (1e-6 m, 1e-6 of a quaternion) where the nearest
    rotation is unique.
    """
    means = np.ascontiguousarray(gaussians.means, np.float32)
    quats = np.ascontiguousarray(gaussians.quats_wxyz, np.float32)
    posed_means, posed_quats = np.empty_like(means), np.empty_like(quats)
    _raster_threads.run(skin, len(means), means, quats, np.ascontiguousarray(rig.skin_joints, np.int32),
                        np.ascontiguousarray(rig.skin_weights, np.float32),
                        np.ascontiguousarray(matrices[:, :3, :], np.float64), posed_means, posed_quats)
    return replace(gaussians, means=posed_means, quats_wxyz=posed_quats)


@compiled(fastmath={"contract", "nsz"})
@no_type_check
def skin(begin, end, means, quats, skin_joints, skin_weights, matrices, out_means, out_quats):
    """Rows begin..end of means [N 3] and quaternions [N 4] under blended matrices [J 3 4].

    The blended matrix lives in twelve scalars, not in an array: a quarter less time.
    """
    influences = skin_joints.shape[1]
    for n in range(begin, end):
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = c0 = c1 = c2 = c3 = 0.0
        for w in range(influences):
            weight = np.float64(skin_weights[n, w])
            if weight != 0.0:
                m = matrices[skin_joints[n, w]]
                a0 += weight * m[0, 0]
                a1 += weight * m[0, 1]
                a2 += weight * m[0, 2]
                a3 += weight * m[0, 3]
                b0 += weight * m[1, 0]
                b1 += weight * m[1, 1]
                b2 += weight * m[1, 2]
                b3 += weight * m[1, 3]
                c0 += weight * m[2, 0]
                c1 += weight * m[2, 1]
                c2 += weight * m[2, 2]
                c3 += weight * m[2, 3]
        x, y, z = means[n, 0], means[n, 1], means[n, 2]
        out_means[n, 0] = a0 * x + a1 * y + a2 * z + a3
        out_means[n, 1] = b0 * x + b1 * y + b2 * z + b3
        out_means[n, 2] = c0 * x + c1 * y + c2 * z + c3
        aw, ax, ay, az = _nearest_quaternion(a0, a1, a2, b0, b1, b2, c0, c1, c2)
        bw, bx, by, bz = quats[n, 0], quats[n, 1], quats[n, 2], quats[n, 3]
        out_quats[n, 0] = aw * bw - ax * bx - ay * by - az * bz
        out_quats[n, 1] = aw * bx + ax * bw + ay * bz - az * by
        out_quats[n, 2] = aw * by - ax * bz + ay * bw + az * bx
        out_quats[n, 3] = aw * bz + ax * by - ay * bx + az * bw


@compiled(fastmath={"contract", "nsz"})
@no_type_check
def covariances(begin, end, quats, scales, out):
    """Rows begin..end of xx, xy, xz, yy, yz, zz [m²] of orientations [N 4] and standard deviations [N 3]."""
    two, one = np.float32(2), np.float32(1)
    for n in range(begin, end):
        w, x, y, z = quats[n, 0], quats[n, 1], quats[n, 2], quats[n, 3]
        sx, sy, sz = scales[n, 0], scales[n, 1], scales[n, 2]
        a0, a1, a2 = (one - two * (y * y + z * z)) * sx, two * (x * y - w * z) * sy, two * (x * z + w * y) * sz
        b0, b1, b2 = two * (x * y + w * z) * sx, (one - two * (x * x + z * z)) * sy, two * (y * z - w * x) * sz
        c0, c1, c2 = two * (x * z - w * y) * sx, two * (y * z + w * x) * sy, (one - two * (x * x + y * y)) * sz
        out[n, 0] = a0 * a0 + a1 * a1 + a2 * a2
        out[n, 1] = a0 * b0 + a1 * b1 + a2 * b2
        out[n, 2] = a0 * c0 + a1 * c1 + a2 * c2
        out[n, 3] = b0 * b0 + b1 * b1 + b2 * b2
        out[n, 4] = b0 * c0 + b1 * c1 + b2 * c2
        out[n, 5] = c0 * c0 + c1 * c1 + c2 * c2


@compiled(inline="always", fastmath={"contract", "nsz"})
@no_type_check
def _nearest_quaternion(a0, a1, a2, b0, b1, b2, c0, c1, c2):
    """Unit quaternion (w >= 0) of the rotation nearest to the 3x3 of rows a, b, c; the identity for a zero matrix."""
    norm = a0 * a0 + a1 * a1 + a2 * a2 + b0 * b0 + b1 * b1 + b2 * b2 + c0 * c0 + c1 * c1 + c2 * c2
    if norm < 1e-24:
        return 1.0, 0.0, 0.0, 0.0
    # Any shift of at least the smallest singular value makes the largest eigenvalue the one largest in size;
    # this one makes the others vanish when the matrix is a multiple of a rotation.
    shift = math.sqrt(norm / 3.0)
    p00 = a0 + b1 + c2 + shift
    p11 = a0 - b1 - c2 + shift
    p22 = b1 - a0 - c2 + shift
    p33 = c2 - a0 - b1 + shift
    p01, p02, p03 = c1 - b2, a2 - c0, b0 - a1
    p12, p13, p23 = a1 + b0, a2 + c0, b2 + c1
    for squaring in range(_MAX_SQUARINGS):
        s00 = p00 * p00 + p01 * p01 + p02 * p02 + p03 * p03
        s11 = p01 * p01 + p11 * p11 + p12 * p12 + p13 * p13
        s22 = p02 * p02 + p12 * p12 + p22 * p22 + p23 * p23
        s33 = p03 * p03 + p13 * p13 + p23 * p23 + p33 * p33
        s01 = p00 * p01 + p01 * p11 + p02 * p12 + p03 * p13
        s02 = p00 * p02 + p01 * p12 + p02 * p22 + p03 * p23
        s03 = p00 * p03 + p01 * p13 + p02 * p23 + p03 * p33
        s12 = p01 * p02 + p11 * p12 + p12 * p22 + p13 * p23
        s13 = p01 * p03 + p11 * p13 + p12 * p23 + p13 * p33
        s23 = p02 * p03 + p12 * p13 + p22 * p23 + p23 * p33
        trace = p00 + p11 + p22 + p33
        square = s00 + s11 + s22 + s33
        scale = 1.0 / square
        p00, p11, p22, p33 = s00 * scale, s11 * scale, s22 * scale, s33 * scale
        p01, p02, p03 = s01 * scale, s02 * scale, s03 * scale
        p12, p13, p23 = s12 * scale, s13 * scale, s23 * scale
        # Only a square has no negative eigenvalues, for which a trace that squares with it means rank one. The other
        # eigenvalues are below 3e-5 of the largest before this squaring, so 1e-9 of it after.
        if squaring > 0 and square > (1.0 - 1e-9) * (trace * trace):
            break
    # The column with the largest diagonal entry is the best conditioned.
    if p00 >= p11 and p00 >= p22 and p00 >= p33:
        w, x, y, z = p00, p01, p02, p03
    elif p11 >= p22 and p11 >= p33:
        w, x, y, z = p01, p11, p12, p13
    elif p22 >= p33:
        w, x, y, z = p02, p12, p22, p23
    else:
        w, x, y, z = p03, p13, p23, p33
    scale = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
    if w < 0.0:
        scale = -scale
    return w * scale, x * scale, y * scale, z * scale
