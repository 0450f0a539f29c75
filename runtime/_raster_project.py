"""Projection of Gaussians to the image and their sorting into tiles (numba).

A projected Gaussian is a row of `splats [N 8]`, float32: centre x, y [px]; inverse covariance a, b, c [1/px2] of
`sigma = (a dx2 + c dy2) / 2 + b dx dy`; opacity; half width and half height [px] of the ellipse in which its alpha
reaches 1/255. Half width 0 means culled. `channels [N K]` holds its colours and, last, its depth [m].
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np

from runtime._raster_template import compiled

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
def project(begin, end, means, quats, scales, opacities, colors, view, pinhole, splats, channels):
    """Fill rows of `splats`, `channels` from Gaussians, world to camera [3 4], fx, fy, cx, cy, width, height."""
    fx, fy, cx, cy, width, height = pinhole[0], pinhole[1], pinhole[2], pinhole[3], pinhole[4], pinhole[5]
    left, right = -cx / fx - GUARD * width / fx, (width - cx) / fx + GUARD * width / fx
    top, bottom = -cy / fy - GUARD * height / fy, (height - cy) / fy + GUARD * height / fy
    for i in range(begin, end):
        splats[i, :] = np.float32(0)
        channels[i, :] = np.float32(0)
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
        reach = 2.0 * math.log(opacity / ALPHA_MIN)
        half_width, half_height = math.sqrt(reach * c00) + BOUND_SLACK, math.sqrt(reach * c11) + BOUND_SLACK
        px, py = fx * X / Z + cx, fy * Y / Z + cy
        if px + half_width <= 0 or px - half_width >= width or py + half_height <= 0 or py - half_height >= height:
            continue
        splats[i, 0], splats[i, 1] = np.float32(px), np.float32(py)
        splats[i, 2], splats[i, 3], splats[i, 4] = np.float32(c11 / det), np.float32(-c01 / det), np.float32(c00 / det)
        splats[i, 5] = np.float32(opacity)
        splats[i, 6], splats[i, 7] = np.float32(half_width), np.float32(half_height)
        for c in range(colors.shape[1]):
            channels[i, c] = colors[i, c]
        channels[i, colors.shape[1]] = np.float32(Z)


@compiled(error_model="numpy")
@no_type_check
def _sort_by_depth(keys, order):
    """Stable radix sort, three digits of 11 bits. Bits of positive floats sort as the floats do."""
    count = keys.shape[0]
    keys_out, order_out = np.empty_like(keys), np.empty_like(order)
    for digit in range(3):
        shift = np.uint32(11 * digit)
        starts = np.zeros(2049, np.int32)
        for i in range(count):
            starts[((keys[i] >> shift) & np.uint32(2047)) + 1] += 1
        for i in range(2048):
            starts[i + 1] += starts[i]
        for i in range(count):
            bucket = (keys[i] >> shift) & np.uint32(2047)
            place = starts[bucket]
            starts[bucket] = place + 1
            keys_out[place] = keys[i]
            order_out[place] = order[i]
        keys, keys_out = keys_out, keys
        order, order_out = order_out, order
    return order


@compiled(error_model="numpy")
@no_type_check
def bin_tiles(splats, depth_bits, width, height):
    """Sort into tiles; `depth_bits` is `channels` viewed as uint32. Returns tile_starts, ids, slots, first_slot.

    Tile t blends `ids[tile_starts[t]:tile_starts[t + 1]]`, front to back. Intersection k writes its gradient to row
    `slots[k]`; the rows of Gaussian i are `first_slot[i]:first_slot[i + 1]`, so sums need no atomics and keep their
    order.
    """
    count = splats.shape[0]
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    rect = np.empty((count, 4), np.int32)
    tile_starts = np.zeros(tiles_x * tiles_y + 1, np.int32)
    first_slot = np.zeros(count + 1, np.int32)
    keys, order = np.empty(count, np.uint32), np.empty(count, np.int32)
    visible = 0
    # 1. The tiles that each Gaussian's bounds touch, counted.
    for i in range(count):
        touched = 0
        if splats[i, 6] > 0:
            x, y, half_width, half_height = splats[i, 0], splats[i, 1], splats[i, 6], splats[i, 7]
            x0 = int(max(x - half_width, np.float32(0))) // TILE
            y0 = int(max(y - half_height, np.float32(0))) // TILE
            x1 = min(tiles_x - 1, int(min(x + half_width, np.float32(width))) // TILE)
            y1 = min(tiles_y - 1, int(min(y + half_height, np.float32(height))) // TILE)
            if x0 <= x1 and y0 <= y1:
                rect[i, 0], rect[i, 1], rect[i, 2], rect[i, 3] = x0, x1, y0, y1
                touched = (x1 - x0 + 1) * (y1 - y0 + 1)
                keys[visible], order[visible] = depth_bits[i, depth_bits.shape[1] - 1], i
                visible += 1
                for ty in range(y0, y1 + 1):
                    for tx in range(x0, x1 + 1):
                        tile_starts[ty * tiles_x + tx + 1] += 1
        first_slot[i + 1] = first_slot[i] + touched
    for t in range(tiles_x * tiles_y):
        tile_starts[t + 1] += tile_starts[t]
    # 2. Front to back, each Gaussian appended to its tiles.
    order = _sort_by_depth(keys[:visible].copy(), order[:visible].copy())
    cursor = tile_starts[:-1].copy()
    ids, slots = np.empty(first_slot[count], np.int32), np.empty(first_slot[count], np.int32)
    for k in range(visible):
        i = order[k]
        slot = first_slot[i]
        for ty in range(rect[i, 2], rect[i, 3] + 1):
            for tx in range(rect[i, 0], rect[i, 1] + 1):
                place = cursor[ty * tiles_x + tx]
                cursor[ty * tiles_x + tx] = place + 1
                ids[place] = i
                slots[place] = slot
                slot += 1
    return tile_starts, ids, slots, first_slot
