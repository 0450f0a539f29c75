"""Decoding of offset textures in numba: `offsets.residual_at` at playing speed.

Kernels that call each other are in one file: numba's cache on disk notices a change of a kernel's own file only.
Texels are kept channel-major, `[3, K, M]`: the sum over K then runs along contiguous rows, 16 Gaussians an
instruction, in blocks whose sums stay in the first-level cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Float32

from runtime._raster_template import compiled
from runtime.offsets import bracket
from runtime.types import GROUPS, OffsetTexture, Residual

BLOCK = 1024
"""Gaussians summed at a time: three channels of them are 12 KB."""
ROTATIONS = 1
"""Which of `GROUPS` turns: between frames it follows arcs, not lines."""


@dataclass(frozen=True)
class PackedTexture:
    """An `OffsetTexture` laid out for decoding."""

    mean: Float32[np.ndarray, "3 M"]
    """Temporal mean."""
    texels: np.ndarray
    """int8 or int16 [3, K, M]."""
    texel_scales: Float32[np.ndarray, "K 3"]
    """Unit per texel step."""
    coefficients: Float32[np.ndarray, "T K"] | None
    """None when dense."""

    @classmethod
    def pack(cls, texture: OffsetTexture) -> PackedTexture:
        """A channel-major copy of `texture`."""
        coefficients = texture.coefficients
        return cls(mean=np.ascontiguousarray(texture.mean.T, np.float32),
                   texels=np.ascontiguousarray(np.moveaxis(texture.texels, 2, 0)),
                   texel_scales=np.ascontiguousarray(texture.texel_scales, np.float32),
                   coefficients=None if coefficients is None else np.ascontiguousarray(coefficients, np.float32))

    @property
    def moving(self) -> int:
        """M."""
        return self.mean.shape[1]

    def steps(self, before: int, after: int, weight: float) -> tuple[np.ndarray, Float32[np.ndarray, "S 3"]]:
        """Texture rows to sum and each row's factor by channel, for the value between two frames.

        The value is linear in its coefficients, so those are interpolated. Rows without weight are left out.
        """
        if self.coefficients is None:
            rows = np.array([before, after] if weight else [before], np.int64)
            weights = np.array([1 - weight, weight] if weight else [1.0], np.float32)
        else:
            at = self.coefficients[before]
            weights = at if weight == 0 else np.float32(1 - weight) * at + np.float32(weight) * self.coefficients[after]
            rows = np.arange(len(at))
        return self.of_weights(rows, weights)

    def of_weights(self, rows: np.ndarray, weights: Float32[np.ndarray, " R"]) -> tuple[
            np.ndarray, Float32[np.ndarray, "S 3"]]:
        """`steps` of given weights for given rows."""
        factors = weights[:, None] * self.texel_scales[rows]
        used = (factors != 0).any(axis=1)
        return rows[used], np.ascontiguousarray(factors[used], np.float32)


@dataclass(frozen=True)
class PackedResidual:
    """A `Residual` laid out for decoding."""

    groups: tuple[PackedTexture, PackedTexture, PackedTexture]
    """In the order of `GROUPS`."""
    frames: int
    """T."""

    @classmethod
    def pack(cls, residual: Residual) -> PackedResidual:
        """A channel-major copy of `residual`."""
        groups = tuple(PackedTexture.pack(getattr(residual, name)) for name in GROUPS)
        return cls(groups=(groups[0], groups[1], groups[2]), frames=residual.frames)


def residual_at(residual: Residual, frame: int | float) -> tuple[
        Float[np.ndarray, "M 3"], Float[np.ndarray, "M 3"], Float[np.ndarray, "M 3"]]:
    """`(d_means [m], d_rotations [rad], d_log_scales)` at a frame, one residual's once: packs it first.

    Agrees with the numpy reference within float32 rounding of a sum over K terms.
    """
    packed = PackedResidual.pack(residual)
    before, after, weight = bracket(frame, packed.frames)
    values = []
    for index, group in enumerate(packed.groups):
        value, end = np.empty_like(group.mean), np.empty_like(group.mean)
        turning = index == ROTATIONS and weight != 0
        accumulate(0, blocks(group.moving), group.mean, group.texels,
                   *group.steps(before, after, 0.0 if turning else weight), value)
        if turning:
            accumulate(0, blocks(group.moving), group.mean, group.texels, *group.steps(after, after, 0.0), end)
            slerp_rotvecs(value, end, np.float32(weight))
        values.append(np.ascontiguousarray(value.T))
    return values[0], values[1], values[2]


def blocks(moving: int) -> int:
    """Pieces of `BLOCK` that M Gaussians make: the range that `accumulate` takes."""
    return -(-moving // BLOCK)


@compiled(fastmath={"contract", "nsz", "reassoc"})
@no_type_check
def accumulate(begin, end, mean, texels, rows, steps, out):
    """out [3 M] = mean + sum_r steps[r] * texels[:, rows[r]], for blocks begin..end of M. Four rows a pass."""
    count = mean.shape[1]
    for block in range(begin, end):
        first, last = block * BLOCK, min((block + 1) * BLOCK, count)
        for c in range(3):
            total = out[c, first:last]
            total[:] = mean[c, first:last]
            r = 0
            while r + 4 <= rows.shape[0]:
                a, b = texels[c, rows[r], first:last], texels[c, rows[r + 1], first:last]
                d, e = texels[c, rows[r + 2], first:last], texels[c, rows[r + 3], first:last]
                p, q, s, t = steps[r, c], steps[r + 1, c], steps[r + 2, c], steps[r + 3, c]
                for m in range(last - first):
                    total[m] += (p * np.float32(a[m]) + q * np.float32(b[m])
                                 + (s * np.float32(d[m]) + t * np.float32(e[m])))
                r += 4
            while r < rows.shape[0]:
                a, p = texels[c, rows[r], first:last], steps[r, c]
                for m in range(last - first):
                    total[m] += p * np.float32(a[m])
                r += 1


@compiled(inline="always")
@no_type_check
def quaternion(x, y, z):
    """Unit quaternion of a rotation vector."""
    squared = x * x + y * y + z * z
    if squared < np.float32(1e-4):
        # Taylor of cos and sinc: the next terms are below float32 here.
        half = np.float32(0.5) - squared * np.float32(1 / 48)
        return np.float32(1) - squared * np.float32(0.125), x * half, y * half, z * half
    angle = math.sqrt(squared)
    scale = np.float32(math.sin(angle * np.float32(0.5)) / angle)
    return np.float32(math.cos(angle * np.float32(0.5))), x * scale, y * scale, z * scale


@compiled(inline="always")
@no_type_check
def slerp(aw, ax, ay, az, bw, bx, by, bz, weight):
    """Shortest-path spherical interpolation of unit quaternions; weight 0 gives a."""
    dot = aw * bw + ax * bx + ay * by + az * bz
    if dot < 0:
        bw, bx, by, bz, dot = -bw, -bx, -by, -bz, -dot
    if dot > np.float32(0.9995):
        # Turns under 3.6 degrees: the chord, renormalised, is within 1.1e-6 rad of the arc.
        p, q = np.float32(1) - weight, weight
    else:
        angle = math.acos(dot)
        sine = math.sin(angle)
        p = np.float32(math.sin((1 - weight) * angle) / sine)
        q = np.float32(math.sin(weight * angle) / sine)
    w, x, y, z = p * aw + q * bw, p * ax + q * bx, p * ay + q * by, p * az + q * bz
    scale = np.float32(1) / np.float32(math.sqrt(w * w + x * x + y * y + z * z))
    return w * scale, x * scale, y * scale, z * scale


@compiled()
@no_type_check
def slerp_rotvecs(a, b, weight):
    """Rotation vectors a [3 M] become the ones at `weight` of the way to b, by their quaternions."""
    for m in range(a.shape[1]):
        aw, ax, ay, az = quaternion(a[0, m], a[1, m], a[2, m])
        bw, bx, by, bz = quaternion(b[0, m], b[1, m], b[2, m])
        w, x, y, z = slerp(aw, ax, ay, az, bw, bx, by, bz, weight)
        if w < 0:
            w, x, y, z = -w, -x, -y, -z
        sine = math.sqrt(x * x + y * y + z * z)
        scale = np.float32(2) if sine < 1e-8 else np.float32(2 * math.atan2(sine, w) / sine)
        a[0, m], a[1, m], a[2, m] = x * scale, y * scale, z * scale


@compiled(error_model="numpy")
@no_type_check
def mix_offsets(begin, end, texel_of_row, d_means, d_rotations, d_log_scales, later_rotations, weight, share, offsets):
    """Rows begin..end of offsets (mean, quaternion, log scale) move by `share` to a clip's; zero where it has none."""
    zero, one = np.float32(0), np.float32(1)
    for row in range(begin, end):
        m = texel_of_row[row]
        px, py, pz, lx, ly, lz = zero, zero, zero, zero, zero, zero
        w, x, y, z = one, zero, zero, zero
        if m >= 0:
            px, py, pz = d_means[0, m], d_means[1, m], d_means[2, m]
            lx, ly, lz = d_log_scales[0, m], d_log_scales[1, m], d_log_scales[2, m]
            w, x, y, z = quaternion(d_rotations[0, m], d_rotations[1, m], d_rotations[2, m])
            if weight != zero:
                bw, bx, by, bz = quaternion(later_rotations[0, m], later_rotations[1, m], later_rotations[2, m])
                w, x, y, z = slerp(w, x, y, z, bw, bx, by, bz, weight)
        if share != one:
            keep = one - share
            px, py, pz = (keep * offsets[row, 0] + share * px, keep * offsets[row, 1] + share * py,
                          keep * offsets[row, 2] + share * pz)
            w, x, y, z = slerp(offsets[row, 3], offsets[row, 4], offsets[row, 5], offsets[row, 6], w, x, y, z, share)
            lx, ly, lz = (keep * offsets[row, 7] + share * lx, keep * offsets[row, 8] + share * ly,
                          keep * offsets[row, 9] + share * lz)
        offsets[row, 0], offsets[row, 1], offsets[row, 2] = px, py, pz
        offsets[row, 3], offsets[row, 4], offsets[row, 5], offsets[row, 6] = w, x, y, z
        offsets[row, 7], offsets[row, 8], offsets[row, 9] = lx, ly, lz


@compiled(error_model="numpy")
@no_type_check
def apply_offsets(begin, end, rows, offsets, base_means, base_quats, base_log_scales, means, quats, log_scales,
                   scales):
    """Rest-pose rows `rows[begin:end]` become their base with its offsets."""
    for row in range(begin, end):
        n = rows[row]
        for c in range(3):
            means[n, c] = base_means[row, c] + offsets[row, c]
            log_scales[n, c] = base_log_scales[row, c] + offsets[row, 7 + c]
            scales[n, c] = np.exp(log_scales[n, c])
        aw, ax, ay, az = offsets[row, 3], offsets[row, 4], offsets[row, 5], offsets[row, 6]
        bw, bx, by, bz = base_quats[row, 0], base_quats[row, 1], base_quats[row, 2], base_quats[row, 3]
        quats[n, 0] = aw * bw - ax * bx - ay * by - az * bz
        quats[n, 1] = aw * bx + ax * bw + ay * bz - az * by
        quats[n, 2] = aw * by - ax * bz + ay * bw + az * bx
        quats[n, 3] = aw * bz + ax * by - ay * bx + az * bw
