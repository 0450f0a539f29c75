"""Front-to-back blending of sorted splats, one 16x16 tile at a time (numba).

A tile is sixteen pieces of eight columns and two rows, numbered left, right, left, right ... downwards. A Gaussian is
blended into the pieces that its ellipse touches, found for sixteen rows at once and kept as the bits of a number.
Layout: one flat buffer per tile; a piece holds a vector of transmittances, then one of every channel. A stopped pixel
keeps its transmittance negated, and a piece whose pixels have all stopped drops out of `alive`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, no_type_check

import numpy as np

from runtime._raster_project import ALPHA_MIN as _ALPHA_MIN
from runtime._raster_project import TILE
from runtime._raster_template import compiled, specialise
from runtime._simd import (  # noqa: F401  the kernel text uses them
    LANES,
    at_least,
    bits,
    both,
    fma,
    greater,
    load,
    lowest_bit,
    maximum,
    minimum,
    negated_where,
    ramp,
    ramp_by_2,
    ramp_by_8,
    ramp_of_2,
    ramp_of_8,
    root,
    select,
    splat,
    store,
    take,
)

f4, u4 = np.float32, np.uint32
ZERO, HALF, ONE = f4(0), f4(0.5), f4(1)
ALPHA_MIN = f4(_ALPHA_MIN)
ALPHA_MAX = f4(0.999)
"""Largest alpha of one contribution (gsplat)."""
T_MIN = f4(1e-4)
"""A pixel stops before its transmittance would fall to this (gsplat)."""
PIECES = TILE * TILE // LANES
"""Pieces of a tile: eight columns by two rows each."""
REACH_SLACK = f4(1e-3)
"""Added to a row's half width in exponent units: rounding must not lose a pixel that still reaches 1/255."""

# Every input is finite after `project`, so the compiler may assume it.
BLEND_OPTIONS = {"fastmath": True, "error_model": "numpy", "boundscheck": False}


@compiled(**BLEND_OPTIONS, inline="always")
@no_type_check
def falloff(s):
    """exp(-s) for s in [0, 6] as q(s)^8, q of degree 5 with the least relative error: 2.5e-6 in float32."""
    q = fma(s, splat(f4(-1.75145023e-07)), splat(f4(9.66979974e-06)))
    q = fma(q, s, splat(f4(-0.000324007782)))
    q = fma(q, s, splat(f4(0.00781045919)))
    q = fma(q, s, splat(f4(-0.124999082)))
    q = fma(q, s, splat(ONE))
    q = q * q
    q = q * q
    return q * q


@compiled(**BLEND_OPTIONS, inline="always")
@no_type_check
def contribution(u, v, opacity, T):
    """What one splat does to the pixels of a piece, given their transmittances: its falloff, its alpha without and with
    the upper limit, its weight (0 where it is not drawn), the transmittances behind it, and where it is drawn."""
    e = falloff(minimum(fma(u, u, v * v), splat(f4(6))))
    raw = e * opacity
    a = minimum(raw, splat(ALPHA_MAX))
    w = a * T
    T_next = T - w
    seen = at_least(a, splat(ALPHA_MIN))
    drawn = both(seen, greater(T_next, splat(T_MIN)))
    return e, raw, a, select(drawn, w, splat(ZERO)), select(drawn, T_next, negated_where(seen, T)), drawn


@compiled(**BLEND_OPTIONS)
@no_type_check
def find_pieces(splats, ids, first, last, tx, ty, touched):
    """Fill touched[first:last] with the bits of the pieces that each splat's ellipse touches.

    Before the blending and not within it: there a wrongly predicted end of the loop over a splat's pieces would
    wait for all of this.
    """
    for k in range(first, last):
        g = u4(ids[k])
        A, B, D, room = splats[g, 2], splats[g, 3], splats[g, 4], splats[g, 6]
        dx, dy = f4(tx) + HALF - splats[g, 0], f4(ty) + HALF - splats[g, 1]
        # 1. Sixteen rows at once: u = A dx + B dy, v = D dy, and what v leaves for u.
        v = fma(splat(D), ramp(), splat(D * dy))
        left_over = splat(room) - v * v
        reach = root(maximum(left_over, splat(ZERO))) + splat(REACH_SLACK)
        inside = at_least(left_over, splat(-REACH_SLACK))
        # 2. u grows along a row. Left half: some pixel of it must lie within -reach .. reach; the right half likewise.
        start = fma(splat(B), ramp(), splat(A * dx + B * dy))
        left = both(inside, both(at_least(reach, start), at_least(start + splat(A * f4(7)) + reach, splat(ZERO))))
        start = start + splat(A * f4(8))
        right = both(inside, both(at_least(reach, start), at_least(start + splat(A * f4(7)) + reach, splat(ZERO))))
        # 3. A piece is two rows.
        l, r = bits(left), bits(right)
        touched[k] = ((l | l >> u4(1)) & u4(0x5555)) | ((r | r << u4(1)) & u4(0xAAAA))


@compiled(**BLEND_OPTIONS, inline="always")
@no_type_check
def fill_lines(A, B, D, dx, dy, lines):
    """Fill `lines` [2 PIECES] with u and then v at the first pixel of every piece of a tile, whose own first pixel is
    `dx`, `dy` from the centre."""
    store(lines, 0, fma(splat(B * f4(2)), ramp_of_2(), fma(splat(A * f4(8)), ramp_by_2(), splat(A * dx + B * dy))))
    store(lines, PIECES, fma(splat(D * f4(2)), ramp_of_2(), splat(D * dy)))


@compiled(**BLEND_OPTIONS, inline="always")
@no_type_check
def place(row, column):
    """(piece, lane) of a pixel of a tile, as one index: piece * LANES + lane."""
    return (row // 2 * 2 + column // 8) * LANES + row % 2 * 8 + column % 8


@compiled(**BLEND_OPTIONS)
@no_type_check
def aligned(size):
    """So many floats from the start of a cache line on: a vector that straddles two costs double."""
    buffer = np.empty(size + LANES, f4)
    start = -(buffer.ctypes.data // 4) % LANES
    return buffer[start:start + size]


FORWARD = '''
def kernel_$K(counter, tiles, splats, channels, tile_starts, ids, width, height, image, image_stride,
              alpha, alpha_stride, depth, touched):
    tiles_x = (width + TILE - 1) // TILE
    tile = aligned(($K + 1) * TILE * TILE)
    lines = np.empty(2 * PIECES, f4)
    column, row = ramp_by_8(), ramp_of_8()
    while True:
        t = take(counter)
        if t >= tiles:
            break
        ty = t // tiles_x * TILE
        tx = t % tiles_x * TILE
        rows = min(TILE, height - ty)
        cols = min(TILE, width - tx)
        first = tile_starts[t]
        last = tile_starts[t + 1]
        if first == last:
            for r in range(rows):
                pixel = (ty + r) * width + tx
                for p in range(pixel, pixel + cols):
                    alpha[p * alpha_stride] = ZERO
                    depth[p] = ZERO
                    for c in range($K - 1):
                        image[p * image_stride + c] = ZERO
            continue
        find_pieces(splats, ids, first, last, tx, ty, touched)
        tile[:] = ZERO
        for r in range(TILE):
            for l in range(TILE):
                i = place(r, l)
                tile[i // LANES * (($K + 1) * LANES) + i % LANES] = ONE if r < rows and l < cols else -ONE
        # What this loop does next must not wait for the arithmetic of the last few splats, or nothing overlaps: pieces
        # that have stopped are left out four to eight splats later.
        alive = u4(0xFFFF)
        settling = alive
        settled = alive
        for k in range(first, last):
            if (k & 3) == 3:
                settled = settling
                settling = alive
                if settled == u4(0):
                    touched[k:last] = u4(0)
                    break
            g = u4(ids[k])
            A = splats[g, 2]
            B = splats[g, 3]
            D = splats[g, 4]
            todo = settled & touched[k]
            touched[k] = todo
            fill_lines(A, B, D, f4(tx) + HALF - splats[g, 0], f4(ty) + HALF - splats[g, 1], lines)
            u_lanes = fma(splat(A), column, splat(B) * row)
            v_lanes = splat(D) * row
            opacity = splat(splats[g, 5])
            color$c = splat(channels[g, $c])
            while todo != u4(0):
                j = lowest_bit(todo)
                todo &= todo - u4(1)
                b = j * u4(($K + 1) * LANES)
                u = u_lanes + splat(lines[j])
                v = v_lanes + splat(lines[j + u4(PIECES)])
                _, _, _, w, T, _ = contribution(u, v, opacity, load(tile, b))
                store(tile, b, T)
                store(tile, b + u4($c * LANES + LANES), fma(w, color$c, load(tile, b + u4($c * LANES + LANES))))
                if bits(greater(T, splat(ZERO))) == u4(0):
                    alive &= ~(u4(1) << j)
        for r in range(rows):
            for l in range(cols):
                pixel = (ty + r) * width + tx + l
                i = place(r, l)
                i = i // LANES * (($K + 1) * LANES) + i % LANES
                alpha[pixel * alpha_stride] = ONE - abs(tile[i])
                depth[pixel] = tile[$K * LANES + i]
                for c in range($K - 1):
                    image[pixel * image_stride + c] = tile[c * LANES + LANES + i]
'''


@functools.cache
def blend_forward(channels: int) -> Callable[..., Any]:
    """The blending kernel of `channels` channels, the last of them depth.

    Called with (counter, tiles, splats, channels, tile_starts, ids, width, height, image, image_stride, alpha,
    alpha_stride, depth, touched); `image`, `alpha`, `depth` are flat float32 outputs, a pixel's values `stride`
    apart, `touched` takes the pieces that each intersection was blended into.
    """
    return specialise(FORWARD, channels=channels, module=globals(), options=BLEND_OPTIONS)
