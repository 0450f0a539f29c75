"""The 11 words of an instance, as the shaders take it: mean 3, covariance 6 (floats), colour and opacity (4 halves)."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import UInt32

from runtime import _raster_threads
from runtime._raster_template import compiled
from runtime.stage import PosedArrays
from runtime.types import GaussianSet

WORDS = 11


def packed_colors(gaussians: GaussianSet) -> UInt32[np.ndarray, "N 2"]:
    """sRGB and opacity as halves: within 2^-11 of themselves, an eighth of an 8-bit step."""
    rgba = np.concatenate([np.clip(gaussians.colors, 0, 1000), gaussians.opacities[:, None]], axis=1)
    return np.ascontiguousarray(rgba.astype(np.float16)).view(np.uint32)


def gather(arrays: PosedArrays, colors: UInt32[np.ndarray, "N 2"], order: UInt32[np.ndarray, " N"],
           out: UInt32[np.ndarray, "N 11"]) -> None:
    """Fill `out` with the instances in the given order."""
    _raster_threads.run(_gather, len(order), arrays.means.view(np.uint32), arrays.covariances.view(np.uint32), colors,
                        order, out)


@compiled()
@no_type_check
def _gather(begin, end, means, covariances, colors, order, out):
    for i in range(begin, end):
        n = order[i]
        for c in range(3):
            out[i, c] = means[n, c]
        for c in range(6):
            out[i, 3 + c] = covariances[n, c]
        out[i, 9], out[i, 10] = colors[n, 0], colors[n, 1]
