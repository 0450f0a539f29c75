"""Gaussians from the farthest to the nearest, in numba. The same keys and the same order as the GLSL sort.

A key is the depth's own float bits, shifted: bits of positive floats sort as the floats do. 24 of them tell depths
apart to 2e-6 of themselves (6 micrometres at 3 m). The sort is stable: equal keys keep their rows' order, so equal
input gives equal pictures on every path.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from runtime._raster_template import compiled

KEY_BITS = 24
KEY_SHIFT = 4
"""Float bits dropped from the fraction."""
NEAREST_BITS = int(np.float32(0.01).view(np.uint32))
"""Bits of the nearest depth drawn [m]; with 24 bits kept, keys end at 8e7 m."""
DIGIT_BITS = 12
LARGEST_KEY = (1 << KEY_BITS) - 1


def depth_order(means: Float[np.ndarray, "N 3"], depth_row: Float[np.ndarray, " 4"]) -> Int[np.ndarray, " N"]:
    """The reference: rows of `means` from far to near; `depth_row` is the third row of `T_camera_world`."""
    row = depth_row.astype(np.float32)
    depths = ((row[0] * means[:, 0] + row[1] * means[:, 1]) + row[2] * means[:, 2]) + row[3]
    bits = np.maximum(depths, np.float32(0.01)).astype(np.float32).view(np.uint32).astype(np.int64)
    keys = np.minimum((bits - NEAREST_BITS) >> KEY_SHIFT, LARGEST_KEY)
    return np.argsort(-keys, kind="stable")


@compiled()
@no_type_check
def depth_keys(begin, end, means, depth_row, depths):
    """Depths [m] of rows begin..end as float32, at least the nearest one drawn."""
    for n in range(begin, end):
        depth = ((depth_row[0] * means[n, 0] + depth_row[1] * means[n, 1]) + depth_row[2] * means[n, 2]) + depth_row[3]
        # Written so that a NaN is near, too.
        depths[n] = depth if depth > np.float32(0.01) else np.float32(0.01)


@compiled()
@no_type_check
def sort_far_to_near(depth_bits, keys, keys_out, starts, order_out, order):
    """Fill `order` [N] from depths seen as uint32 [N]; the rest is working memory: [N] each, `starts` 2^12 + 1."""
    count = depth_bits.shape[0]
    mask = np.uint32((1 << DIGIT_BITS) - 1)
    for n in range(count):
        key = min((depth_bits[n] - np.uint32(NEAREST_BITS)) >> np.uint32(KEY_SHIFT), np.uint32(LARGEST_KEY))
        keys[n] = np.uint32(LARGEST_KEY) - key
    for digit in range(2):
        shift = np.uint32(DIGIT_BITS * digit)
        starts[:] = 0
        for n in range(count):
            starts[((keys[n] >> shift) & mask) + np.uint32(1)] += np.uint32(1)
        for bucket in range(1 << DIGIT_BITS):
            starts[bucket + 1] += starts[bucket]
        for n in range(count):
            bucket = (keys[n] >> shift) & mask
            place = starts[bucket]
            starts[bucket] = place + np.uint32(1)
            if digit == 0:
                keys_out[place] = keys[n]
                order_out[place] = n
            else:
                order[place] = order_out[n]
        if digit == 0:
            for n in range(count):
                keys[n] = keys_out[n]
