"""Decoding of offset textures in numpy: the reference for the shader, the engines and the player (DESIGN §7).

A residual holds three groups, each `mean + sum_k c_k(t) basis_k` or dense frames. Frames may be fractional.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from runtime import rotations
from runtime.types import OffsetTexture, Residual


def decode(texture: OffsetTexture, frame: int | float) -> Float[np.ndarray, "M C"]:
    """One group's value at a frame, in the group's unit.

    A fractional frame is the linear interpolation of its two neighbours; frames outside 0..T-1 hold the end.
    Rotation vectors need `decode_rotations` between frames.
    """
    before, after, weight = bracket(frame, texture.frames)
    value = _decode_frame(texture, before)
    return value if weight == 0 else (1 - weight) * value + weight * _decode_frame(texture, after)


def decode_rotations(texture: OffsetTexture, frame: int | float) -> Float[np.ndarray, "M 3"]:
    """Rotation vectors [rad] at a frame; between frames along the shortest arc of their quaternions."""
    before, after, weight = bracket(frame, texture.frames)
    value = _decode_frame(texture, before)
    if weight == 0:
        return value
    a = rotations.from_rotvec(value)
    b = rotations.from_rotvec(_decode_frame(texture, after))
    return rotations.to_rotvec(rotations.slerp(a, b, weight)).astype(np.float32)


def residual_at(residual: Residual, frame: int | float) -> tuple[
        Float[np.ndarray, "M 3"], Float[np.ndarray, "M 3"], Float[np.ndarray, "M 3"]]:
    """`(d_means [m], d_rotations [rad], d_log_scales)` at a frame, as `apply_residual` takes them."""
    return (decode(residual.d_means, frame), decode_rotations(residual.d_rotations, frame),
            decode(residual.d_log_scales, frame))


def bracket(frame: int | float, frames: int) -> tuple[int, int, float]:
    """The stored frames around `frame`, held at both ends, and the weight in [0, 1) of the later one."""
    held = min(max(float(frame), 0.0), float(frames - 1))
    before = math.floor(held)
    return before, min(before + 1, frames - 1), held - before


def _decode_frame(texture: OffsetTexture, frame: int) -> Float[np.ndarray, "M C"]:
    if texture.coefficients is None:
        return texture.mean + texture.texel_scales[frame] * texture.texels[frame]
    value = texture.mean.copy()
    # One basis vector at a time: half the memory traffic of converting all texels to float first.
    steps = texture.coefficients[frame][:, None] * texture.texel_scales
    for texels, step in zip(texture.texels, steps, strict=True):
        value += step * texels
    return value
