"""A rig's pose between stored frames and between clips, and its skinning matrices, in numba.

`skinning.skinning_matrices` at playing speed. T frames, J joints; float64 as the reference.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np

from runtime._raster_template import compiled

LINEAR_ABOVE = 1 - 1e-9
"""Cosine of half the angle above which an arc is taken as its chord: 0.005 degrees, where both agree to 1e-14."""


@compiled()
@no_type_check
def sample(roots, quats, before, after, weight, out_root, out_quats):
    """Root [3] and rotations [J 4] at `weight` of the way from stored frame `before` to `after`."""
    for axis in range(3):
        out_root[axis] = (1 - weight) * roots[before, axis] + weight * roots[after, axis]
    for joint in range(quats.shape[1]):
        for c in range(4):
            out_quats[joint, c] = quats[before, joint, c]
        if weight != 0.0:
            _slerp(out_quats, quats[after], joint, weight)


@compiled()
@no_type_check
def mix(root, quats, other_root, other_quats, weight):
    """Root and rotations become the ones at `weight` of the way to the other pose."""
    for axis in range(3):
        root[axis] = (1 - weight) * root[axis] + weight * other_root[axis]
    for joint in range(quats.shape[0]):
        _slerp(quats, other_quats, joint, weight)


@compiled()
@no_type_check
def _slerp(a, b, joint, weight):
    """Row `joint` of quaternions a [J 4], which become unit, moves along the shortest arc to that of b."""
    dot = 0.0
    for c in range(4):
        dot += a[joint, c] * b[joint, c]
    sign = -1.0 if dot < 0 else 1.0
    dot = min(abs(dot), 1.0)
    p, q = 1.0 - weight, weight
    if dot < LINEAR_ABOVE:
        angle = math.acos(dot)
        p, q = math.sin(p * angle) / math.sin(angle), math.sin(q * angle) / math.sin(angle)
    norm = 0.0
    for c in range(4):
        a[joint, c] = p * a[joint, c] + sign * q * b[joint, c]
        norm += a[joint, c] ** 2
    norm = math.sqrt(norm)
    for c in range(4):
        a[joint, c] /= norm


@compiled()
@no_type_check
def skinning_matrices(root, quats, parents, local_rest, inverse_rest, placement, joints, matrices):
    """Fill `joints` [J 3 4], `T_world_joint` of a pose, and `matrices` [J 3 4], which skin rest-pose points with it.

    `local_rest` [J 4 4] is `skinning.local_rest_transforms`, `placement` [3 4] stands the whole avatar in the world.
    """
    local = np.empty((3, 4))
    for joint in range(quats.shape[0]):
        w, x, y, z = quats[joint, 0], quats[joint, 1], quats[joint, 2], quats[joint, 3]
        r00, r01, r02 = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
        r10, r11, r12 = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
        r20, r21, r22 = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
        for row in range(3):
            a, b, c = local_rest[joint, row, 0], local_rest[joint, row, 1], local_rest[joint, row, 2]
            local[row, 0] = a * r00 + b * r10 + c * r20
            local[row, 1] = a * r01 + b * r11 + c * r21
            local[row, 2] = a * r02 + b * r12 + c * r22
            local[row, 3] = local_rest[joint, row, 3]
            if joint == 0:
                local[row, 3] += root[row]
        _compose(placement if parents[joint] < 0 else joints[parents[joint]], local, joints[joint])
        _compose(joints[joint], inverse_rest[joint], matrices[joint])


@compiled()
@no_type_check
def _compose(a, b, out):
    """out = a b, affine [3 4] each (or their first three rows)."""
    for row in range(3):
        for column in range(4):
            out[row, column] = a[row, 0] * b[0, column] + a[row, 1] * b[1, column] + a[row, 2] * b[2, column]
        out[row, 3] += a[row, 3]
