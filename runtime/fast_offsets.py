"""Decoding of offset textures in numba: `offsets.residual_at` at playing speed."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from runtime import rotations
from runtime.offsets import bracket
from runtime.types import OffsetTexture, Residual


def residual_at(residual: Residual, frame: int | float) -> tuple[
        Float[np.ndarray, "M 3"], Float[np.ndarray, "M 3"], Float[np.ndarray, "M 3"]]:
    """`(d_means [m], d_rotations [rad], d_log_scales)` at a frame.

    Agrees with the numpy reference within float32 rounding of a sum over K terms.
    """
    before, after, weight = bracket(frame, residual.frames)
    d_rotations = _decode(residual.d_rotations, before, after, 0.0)
    if weight != 0:
        a = rotations.from_rotvec(d_rotations)
        b = rotations.from_rotvec(_decode(residual.d_rotations, after, after, 0.0))
        d_rotations = rotations.to_rotvec(rotations.slerp(a, b, weight)).astype(np.float32)
    return (_decode(residual.d_means, before, after, weight), d_rotations,
            _decode(residual.d_log_scales, before, after, weight))


def _decode(texture: OffsetTexture, before: int, after: int, weight: float) -> Float[np.ndarray, "M 3"]:
    """A group's value between two frames. Linear in its coefficients, so those are interpolated, not values."""
    if texture.coefficients is None:
        frames = np.array([before, after])
        steps = np.array([[1 - weight], [weight]], np.float32) * texture.texel_scales[frames]
        texels = texture.texels[frames]
    else:
        at = (1 - weight) * texture.coefficients[before] + weight * texture.coefficients[after]
        steps, texels = at.astype(np.float32)[:, None] * texture.texel_scales, texture.texels
    value = texture.mean.astype(np.float32)
    _accumulate(value, np.ascontiguousarray(texels), np.ascontiguousarray(steps, np.float32))
    return value


@njit(cache=True, nogil=True)
@no_type_check
def _accumulate(value, texels, steps):
    """value [M 3] += sum_k steps[k] * texels[k]."""
    for k in range(texels.shape[0]):
        x, y, z = steps[k, 0], steps[k, 1], steps[k, 2]
        if x != 0 or y != 0 or z != 0:
            for m in range(value.shape[0]):
                value[m, 0] += x * np.float32(texels[k, m, 0])
                value[m, 1] += y * np.float32(texels[k, m, 1])
                value[m, 2] += z * np.float32(texels[k, m, 2])
