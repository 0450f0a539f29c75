"""Premultiplied pictures over a flat background, as 8-bit sRGB."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, UInt8

from runtime._raster_template import compiled


def composite(rgba: Float[np.ndarray, "H X 4"],
              background: tuple[float, float, float]) -> UInt8[np.ndarray, "H X 3"]:
    """`rgba` (premultiplied sRGB) over an sRGB colour, rounded and clipped.

    In numpy this took as long as rasterising the picture (16 ms at 480x832); this takes 1.
    """
    height, width = rgba.shape[:2]
    out = np.empty((height * width, 3), np.uint8)
    _composite(np.ascontiguousarray(rgba, np.float32).reshape(-1, 4), np.asarray(background, np.float32), out)
    return out.reshape(height, width, 3)


@compiled()
@no_type_check
def _composite(rgba, background, out):
    """Flat pictures [P 4] and [P 3]."""
    zero, one, top, half = np.float32(0.0), np.float32(1.0), np.float32(255.0), np.float32(0.5)
    for p in range(rgba.shape[0]):
        through = one - rgba[p, 3]
        for c in range(3):
            value = min(max(rgba[p, c] + through * background[c], zero), one)
            out[p, c] = np.uint8(value * top + half)
