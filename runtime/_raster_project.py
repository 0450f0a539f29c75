"""Projection of Gaussians to the image (numba).

A projected Gaussian is a row of `splats [N 8]`, float32: centre x, y [px]; A, B, D of its exponent
`(A dx + B dy)^2 + (D dy)^2` (the Cholesky factor of half the inverse covariance: a sum of squares cannot turn
negative by rounding); opacity; the exponent at which its alpha falls to 1/255; radius [px], the larger half side of
the box in which alpha reaches 1/255, 0 = culled. `channels [N K]` holds its colours and, last, its depth [m]. `rects
[N 4]` holds the tiles that the box touches: first and last column, first and last row.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np

from runtime._raster_template import compiled
from runtime._simd import take

TILE = 16
"""Tile edge [px]: one 16-lane vector per row."""
NEAR = 0.01
"""Nearest depth drawn [m] (gsplat's default)."""
EPS_2D = 0.3
"""Added to the projected covariance's diagonal [px2] (gsplat's eps2d): no splat is thinner than about a pixel."""
ALPHA_MIN = 1.0 / 255.0
"""Contributions below this are skipped."""
GUARD = 0.15
"""The affine approximation is taken at most this far outside the image, in image sizes (gsplat: 0.3 half sizes)."""
CHUNK = 1024
"""Gaussians that a thread takes at a time."""
SPLAT = 8
"""Columns of `splats`."""
BOUND_SLACK = 1e-3
"""Added to the half sizes [px]: rounding must not cut a row that still reaches 1/255."""

# Not `fastmath=True`: it lets the compiler assume that NaN and infinity do not occur, and they are what is culled here.
PROJECT_OPTIONS = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}


@compiled(inline="always", error_model="numpy")
@no_type_check
def _finite_row(values, i):
    """Whether a row holds finite numbers only."""
    total = 0.0
    for j in range(values.shape[1]):
        total += abs(values[i, j])
    return math.isfinite(total)


@compiled(**PROJECT_OPTIONS)
@no_type_check
def project(counter, count, means, quats, scales, opacities, colors, view, pinhole, splats, channels, rects):
    """Fill rows of `splats`, `channels`, `rects` from Gaussians, world to camera [3 4], fx, fy, cx, cy, width, height.
    """
    while True:
        begin = take(counter) * CHUNK
        if begin >= count:
            break
        _project_rows(begin, min(begin + CHUNK, count), means, quats, scales, opacities, colors, view, pinhole,
                      splats, channels, rects)


@compiled(**PROJECT_OPTIONS)
@no_type_check
def _project_rows(begin, end, means, quats, scales, opacities, colors, view, pinhole, splats, channels, rects):
    fx, fy, cx, cy, width, height = pinhole[0], pinhole[1], pinhole[2], pinhole[3], pinhole[4], pinhole[5]
    left, right = -cx / fx - GUARD * width / fx, (width - cx) / fx + GUARD * width / fx
    top, bottom = -cy / fy - GUARD * height / fy, (height - cy) / fy + GUARD * height / fy
    last_x, last_y = (int(width) - 1) // TILE, (int(height) - 1) // TILE
    for i in range(begin, end):
        for j in range(SPLAT):
            splats[i, j] = np.float32(0)
        for c in range(channels.shape[1]):
            channels[i, c] = np.float32(0)
        m0, m1, m2 = np.float64(means[i, 0]), np.float64(means[i, 1]), np.float64(means[i, 2])
        X = view[0, 0] * m0 + view[0, 1] * m1 + view[0, 2] * m2 + view[0, 3]
        Y = view[1, 0] * m0 + view[1, 1] * m1 + view[1, 2] * m2 + view[1, 3]
        Z = view[2, 0] * m0 + view[2, 1] * m1 + view[2, 2] * m2 + view[2, 3]
        opacity = min(np.float64(opacities[i]), 1.0)
        w, x, y, z = np.float64(quats[i, 0]), np.float64(quats[i, 1]), np.float64(quats[i, 2]), np.float64(quats[i, 3])
        norm2 = w * w + x * x + y * y + z * z
        # NaN fails every comparison, so a Gaussian with a NaN anywhere is culled here or by the finite tests.
        if not (Z >= NEAR and opacity >= ALPHA_MIN and norm2 >= 1e-24 and math.isfinite(norm2)):
            continue
        if not (_finite_row(means, i) and _finite_row(scales, i) and _finite_row(colors, i)):
            continue
        # 1. R S of the Gaussian.
        s = 2.0 / norm2
        s0, s1, s2 = np.float64(scales[i, 0]), np.float64(scales[i, 1]), np.float64(scales[i, 2])
        r00, r01, r02 = (1 - s * (y * y + z * z)) * s0, s * (x * y - w * z) * s1, s * (x * z + w * y) * s2
        r10, r11, r12 = s * (x * y + w * z) * s0, (1 - s * (x * x + z * z)) * s1, s * (y * z - w * x) * s2
        r20, r21, r22 = s * (x * z - w * y) * s0, s * (y * z + w * x) * s1, (1 - s * (x * x + y * y)) * s2
        # 2. Rows of the projection's Jacobian times the camera rotation (EWA splatting).
        tx, ty = min(max(X / Z, left), right), min(max(Y / Z, top), bottom)
        ax, ay = fx / Z, fy / Z
        u0, u1, u2 = (ax * (view[0, 0] - tx * view[2, 0]), ax * (view[0, 1] - tx * view[2, 1]),
                      ax * (view[0, 2] - tx * view[2, 2]))
        v0, v1, v2 = (ay * (view[1, 0] - ty * view[2, 0]), ay * (view[1, 1] - ty * view[2, 1]),
                      ay * (view[1, 2] - ty * view[2, 2]))
        p0, p1, p2 = (u0 * r00 + u1 * r10 + u2 * r20, u0 * r01 + u1 * r11 + u2 * r21, u0 * r02 + u1 * r12 + u2 * r22)
        q0, q1, q2 = (v0 * r00 + v1 * r10 + v2 * r20, v0 * r01 + v1 * r11 + v2 * r21, v0 * r02 + v1 * r12 + v2 * r22)
        # 3. Covariance, its inverse, and the ellipse where alpha falls to 1/255.
        c00, c11 = p0 * p0 + p1 * p1 + p2 * p2 + EPS_2D, q0 * q0 + q1 * q1 + q2 * q2 + EPS_2D
        c01 = p0 * q0 + p1 * q1 + p2 * q2
        det = c00 * c11 - c01 * c01
        if not (det > 0.0 and math.isfinite(det)):
            continue
        room = math.log(opacity / ALPHA_MIN)
        half_width, half_height = math.sqrt(2 * room * c00) + BOUND_SLACK, math.sqrt(2 * room * c11) + BOUND_SLACK
        px, py = fx * X / Z + cx, fy * Y / Z + cy
        if px + half_width <= 0 or px - half_width >= width or py + half_height <= 0 or py - half_height >= height:
            continue
        # 4. sigma = (a dx^2 + c dy^2) / 2 + b dx dy with a = c11 / det, b = -c01 / det, c = c00 / det, factored.
        A = math.sqrt(0.5 * c11 / det)
        splats[i, 0], splats[i, 1] = np.float32(px), np.float32(py)
        splats[i, 2], splats[i, 3] = np.float32(A), np.float32(-A * c01 / c11)
        splats[i, 4] = np.float32(math.sqrt(0.5 / c11))
        splats[i, 5], splats[i, 6] = np.float32(opacity), np.float32(room)
        splats[i, 7] = np.float32(max(half_width, half_height))
        for c in range(colors.shape[1]):
            channels[i, c] = colors[i, c]
        channels[i, colors.shape[1]] = np.float32(Z)
        rects[i, 0] = int(max(px - half_width, 0.0)) // TILE
        rects[i, 1] = min(last_x, int(min(px + half_width, width)) // TILE)
        rects[i, 2] = int(max(py - half_height, 0.0)) // TILE
        rects[i, 3] = min(last_y, int(min(py + half_height, height)) // TILE)
