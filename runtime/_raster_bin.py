"""Sorting of projected Gaussians into tiles, front to back (numba).

Letters: N Gaussians, I intersections of a Gaussian's box with a tile.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from runtime._raster_project import TILE
from runtime._raster_template import compiled

DIGIT = 11
"""Bits of a sorting pass: its 2048 counters stay in the first-level cache."""


MOST_INTERSECTIONS = 1 << 27
"""More are refused: 1.6 GB forward, and 64 bytes each backward. A figure of 160 000 Gaussians has half a million."""


@compiled(error_model="numpy")
@no_type_check
def _sort(keys, order, bits):
    """`order` by ascending `keys` of so many bits: a stable radix sort."""
    count = keys.shape[0]
    keys_out, order_out = np.empty_like(keys), np.empty_like(order)
    mask = np.uint32((1 << DIGIT) - 1)
    for digit in range((bits + DIGIT - 1) // DIGIT):
        shift = np.uint32(DIGIT * digit)
        starts = np.zeros((1 << DIGIT) + 1, np.int32)
        for i in range(count):
            starts[((keys[i] >> shift) & mask) + np.uint32(1)] += 1
        for i in range(1 << DIGIT):
            starts[i + 1] += starts[i]
        for i in range(count):
            bucket = (keys[i] >> shift) & mask
            place = starts[bucket]
            starts[bucket] = place + 1
            keys_out[place] = keys[i]
            order_out[place] = order[i]
        keys, keys_out = keys_out, keys
        order, order_out = order_out, order
    return order


@compiled(error_model="numpy")
@no_type_check
def bin_tiles(splats, depth_bits, rects, width, height):
    """Sort into tiles; `depth_bits` is `channels` viewed as uint32. Returns tile_starts, ids, slots, first_slot.

    Tile t blends `ids[tile_starts[t]:tile_starts[t + 1]]`, front to back. Intersection k writes its gradient to row
    `slots[k]`; the rows of Gaussian i are `first_slot[i]:first_slot[i + 1]`, so sums need no atomics and keep their
    order. Raises `ValueError` above `MOST_INTERSECTIONS`.
    """
    count = splats.shape[0]
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    tile_starts = np.zeros(tiles_x * tiles_y + 1, np.int32)
    first_slot = np.zeros(count + 1, np.int32)
    keys, order = np.empty(count, np.uint32), np.empty(count, np.int32)
    visible, total = 0, 0
    nearest, farthest = np.uint32(0xFFFFFFFF), np.uint32(0)
    # 1. Count. Bits of positive floats sort as the floats do.
    for i in range(count):
        first_slot[i] = total
        if splats[i, 7] > 0:
            key = depth_bits[i, depth_bits.shape[1] - 1]
            nearest, farthest = min(nearest, key), max(farthest, key)
            keys[visible], order[visible] = key, i
            visible += 1
            x0, x1, y0, y1 = rects[i, 0], rects[i, 1], rects[i, 2], rects[i, 3]
            total += (x1 - x0 + 1) * (y1 - y0 + 1)
            if total > MOST_INTERSECTIONS:
                raise ValueError("the Gaussians cover more than 2^27 tiles in all; most are larger than the image, so "
                                 "their scales (or the camera) are wrong")
            for ty in range(y0, y1 + 1):
                row = ty * tiles_x + 1
                for tx in range(row + x0, row + x1 + 1):
                    tile_starts[np.uint32(tx)] += 1
    first_slot[count] = total
    for t in range(tiles_x * tiles_y):
        tile_starts[t + 1] += tile_starts[t]
    # 2. Front to back. Depths of one figure differ in their low bits only, which saves a pass.
    bits = 0
    if visible:
        for i in range(visible):
            keys[i] -= nearest
        while bits < 32 and (farthest - nearest) >> np.uint32(bits):
            bits += 1
    order = _sort(keys[:visible].copy(), order[:visible].copy(), bits)
    # 3. Each Gaussian appended to its tiles.
    cursor = tile_starts[:-1].copy()
    ids, slots = np.empty(total, np.int32), np.empty(total, np.int32)
    for k in range(visible):
        i = np.uint32(order[k])
        slot = first_slot[i]
        x0, x1 = rects[i, 0], rects[i, 1]
        for ty in range(rects[i, 2], rects[i, 3] + 1):
            row = ty * tiles_x
            for tx in range(row + x0, row + x1 + 1):
                place = cursor[np.uint32(tx)]
                cursor[np.uint32(tx)] = place + 1
                ids[np.uint32(place)] = i
                slots[np.uint32(place)] = slot
                slot += 1
    return tile_starts, ids, slots, first_slot
