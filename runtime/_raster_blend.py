"""Front-to-back blending of sorted splats, one 16x16 tile at a time (numba).

Layout (facts §4): per tile one flat local buffer with constant plane offsets (transmittance, then one plane per
channel), one 16-lane row of it per step; indices unsigned, so that no negative-index branch stops vectorisation.
A stopped pixel keeps its transmittance negated.
"""

from __future__ import annotations

import functools
import math  # noqa: F401  the kernel text uses it
from collections.abc import Callable
from typing import Any, no_type_check

import numpy as np

from runtime._raster_project import ALPHA_MIN as _ALPHA_MIN
from runtime._raster_project import TILE  # noqa: F401  the kernel text uses it
from runtime._raster_template import compiled, specialise

f4 = np.float32
ZERO, HALF, ONE = f4(0), f4(0.5), f4(1)
ALPHA_MIN = f4(_ALPHA_MIN)
ALPHA_MAX = f4(0.999)
"""Largest alpha of one contribution (gsplat)."""
T_MIN = f4(1e-4)
"""A pixel stops before its transmittance would fall to this (gsplat)."""

# Every input is finite after `project`, so the compiler may assume it.
BLEND_OPTIONS = {"fastmath": True, "error_model": "numpy", "boundscheck": False}


@compiled(inline="always", fastmath=True, error_model="numpy")
@no_type_check
def exp(x):
    """exp on [-6, 0] as p(x / 16)^16, p of degree 6: relative error < 4e-6, no table, vectorises."""
    y = x * f4(0.0625)
    p = y * f4(1 / 720.0) + f4(1 / 120.0)
    p = p * y + f4(1 / 24.0)
    p = p * y + f4(1 / 6.0)
    p = p * y + HALF
    p = p * y + ONE
    p = p * y + ONE
    p = p * p
    p = p * p
    p = p * p
    return p * p



FORWARD = '''
def kernel_$K(begin, end, splats, channels, tile_starts, ids, width, height, image, image_stride,
              alpha, alpha_stride, depth):
    tiles_x = (width + TILE - 1) // TILE
    for t in range(begin, end):
        ty = t // tiles_x * TILE
        tx = t % tiles_x * TILE
        rows = min(TILE, height - ty)
        cols = min(TILE, width - tx)
        alive = rows
        B = np.zeros(($K + 1) * 256, f4)
        stopped = np.zeros(TILE, np.uint8)
        for l in range(256):
            B[l] = ONE
        for k in range(tile_starts[t], tile_starts[t + 1]):
            if alive <= 0:
                break
            g = np.uint32(ids[k])
            gx = splats[g, 0] - f4(tx) - HALF
            gy = splats[g, 1] - f4(ty) - HALF
            ca = -HALF * splats[g, 2]
            cb = splats[g, 3]
            cc = -HALF * splats[g, 4]
            opacity = splats[g, 5]
            reach = splats[g, 7]
            color$c = channels[g, $c]
            r0 = int(math.ceil(max(gy - reach, ZERO)))
            r1 = int(math.floor(min(gy + reach, f4(rows - 1))))
            for r in range(r0, r1 + 1):
                if stopped[r]:
                    continue
                dy = f4(r) - gy
                k1 = -cb * dy
                k0 = cc * dy * dy
                b = np.uint32(r * TILE)
                for l in range(np.uint32(TILE)):
                    dx = f4(l) - gx
                    s = (ca * dx + k1) * dx + k0
                    a = min(exp(max(s, f4(-6))) * opacity, ALPHA_MAX)
                    T = B[b + l]
                    T_next = T * (ONE - a)
                    drawn = (s <= ZERO) & (a >= ALPHA_MIN) & (T > ZERO)
                    use = drawn & (T_next > T_MIN)
                    stop = drawn & (T_next <= T_MIN)
                    w = a * T if use else ZERO
                    v = T_next if use else T
                    B[b + l] = -v if stop else v
                    B[b + l + np.uint32($c * 256 + 256)] += w * color$c
            if (k & 7) == 7:
                for r in range(r0, r1 + 1):
                    if not stopped[r]:
                        most = f4(-1)
                        b = np.uint32(r * TILE)
                        for l in range(np.uint32(TILE)):
                            most = max(most, B[b + l])
                        if most <= ZERO:
                            stopped[r] = 1
                            alive -= 1
        for r in range(rows):
            for l in range(cols):
                pixel = (ty + r) * width + tx + l
                alpha[pixel * alpha_stride] = ONE - abs(B[r * TILE + l])
                depth[pixel] = B[$K * 256 + r * TILE + l]
                for c in range($K - 1):
                    image[pixel * image_stride + c] = B[c * 256 + 256 + r * TILE + l]
'''


@functools.cache
def blend_forward(channels: int) -> Callable[..., Any]:
    """The blending kernel of `channels` channels, the last of them depth.

    Called with (begin, end, splats, channels, tile_starts, ids, width, height, image, image_stride, alpha,
    alpha_stride, depth) for the tiles begin..end; `image`, `alpha`, `depth` are flat float32 outputs, a pixel's values
    `stride` apart.
    """
    return specialise(FORWARD, channels=channels, module=globals(), options=BLEND_OPTIONS)
