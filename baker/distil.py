"""Distilling the optimised field into offset textures (DESIGN §7): the smallest that meet the asked error bounds.

Letters: M moving Gaussians, T frames, K basis vectors, C = 3 channels of a group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh

from baker.distil_config import DistilConfig
from baker.distil_kernels import LARGEST_COUNTED, settle
from baker.field import ResidualField
from baker.trajectories import DISTANCE, FOV_Y, root_targets
from runtime import rotations
from runtime.archive import deflate
from runtime.cameras import orbit_camera
from runtime.lod import lod_order
from runtime.offsets import decode, residual_at
from runtime.raster import render
from runtime.skinning import apply_residual, pose_gaussians
from runtime.types import GROUPS, Camera, GaussianSet, Motion, OffsetTexture, Residual, Rig

COLUMNS = {name: slice(3 * index, 3 * index + 3) for index, name in enumerate(GROUPS)}
"""Columns of each group in sampled offsets [T M 9]."""
LOSSLESS_DB = 120.0
"""Stands for an infinite PSNR, which JSON cannot hold."""


def distil(source: ResidualField | Float[np.ndarray, "T M 9"], gaussians: GaussianSet, rig: Rig, motion: Motion,
           config: DistilConfig) -> tuple[Residual, dict[str, float | int | str]]:
    """Sample a field at every frame (or take offsets sampled before) and store it as offset textures.

    Each group takes the texture of fewest deflated bytes that meets its bound; where the rendered views then differ
    too much, the group that is to blame most is tightened. The metrics name the errors met, and layout, texture
    count, bits and bytes by group.
    """
    if isinstance(source, ResidualField):
        offsets, moving = source.sample(), source.moving
    else:
        offsets, moving = source, np.flatnonzero(gaussians.may_move)
    bounds = dict(zip(GROUPS, (config.position_mm / 1000, math.radians(config.rotation_degrees), config.log_scale),
                      strict=True))
    file_order = _file_order(gaussians, moving)
    fits = {name: _GroupFit(offsets[..., columns], file_order) for name, columns in COLUMNS.items()}
    views = [(frame, camera, _view(gaussians, rig, motion, frame, camera, moving, offsets[frame]))
             for frame, camera in check_views(gaussians, rig, motion, config)]

    def worst_psnr(residual: Residual, groups: tuple[str, ...]) -> float:
        """Of the checked views, with only `groups` distilled."""
        decoded = []
        for frame, camera, reference in views:
            shown = offsets[frame].copy()
            for name, value in zip(GROUPS, residual_at(residual, frame), strict=True):
                if name in groups:
                    shown[:, COLUMNS[name]] = value
            decoded.append(_psnr(reference, _view(gaussians, rig, motion, frame, camera, moving, shown)))
        return min(decoded)

    textures = {name: fit.smallest(bounds[name]) for name, fit in fits.items()}
    for _ in range(_MOST_TIGHTENINGS):
        residual = Residual(moving=moving.astype(np.int64), **textures)
        psnr = worst_psnr(residual, GROUPS)
        if psnr >= config.psnr_db:
            break
        blame = min(GROUPS, key=lambda name: worst_psnr(residual, (name,)))
        bounds[blame] *= 0.7
        textures[blame] = fits[blame].smallest(bounds[blame])
    # Beyond that int16 itself is the limit; the metrics say what was reached.
    return residual, _metrics(residual, offsets, psnr, file_order)


def _file_order(gaussians: GaussianSet, moving: np.ndarray) -> np.ndarray:
    """Moving rows as a bundle will have them: their sizes in the file depend on who is whose neighbour."""
    place = np.empty(gaussians.count, np.int64)
    place[lod_order(gaussians)] = np.arange(gaussians.count)
    return np.argsort(place[moving])


def check_views(gaussians: GaussianSet, rig: Rig, motion: Motion,
                config: DistilConfig) -> list[tuple[int, Camera]]:
    """Frames spread over the clip, each from another azimuth (the golden angle apart)."""
    targets = root_targets(rig, motion, figure=gaussians.means)
    frames = np.unique(np.linspace(0, motion.frames - 1, config.views).round().astype(int)).tolist()
    golden = math.pi * (3 - math.sqrt(5))
    return [(frame, orbit_camera(targets[frame], azimuth=i * golden, elevation=math.radians(10.0),
                                 distance=DISTANCE, fov_y=FOV_Y, size=(config.width, config.height)))
            for i, frame in enumerate(frames)]


class _GroupFit:
    """One group's offsets, transform-coded: rotated over time so that few frames hold most of them, then rounded.

    The rotation is orthonormal (the left singular vectors of [T, M C]), so one step for all textures spreads the
    error where it costs least: textures below half a step vanish, leading ones span many steps and become two int8
    textures, a coarse and a fine one. The temporal mean is left in: as a texture it costs a byte, as floats four.
    """

    def __init__(self, values: Float[np.ndarray, "T M C"], file_order: np.ndarray | None = None) -> None:
        """`file_order` is the order of rows in which sizes are judged; as given, by default."""
        self.values = values.astype(np.float64)
        self.shape = values.shape
        self.file_order = np.arange(values.shape[1]) if file_order is None else file_order
        flat = self.values.reshape(len(values), -1)
        # Largest first; the sign by the largest entry, so that equal input gives equal bits.
        vectors = eigh(flat @ flat.T)[1][:, ::-1]
        largest = vectors[np.argmax(np.abs(vectors), axis=0), np.arange(vectors.shape[1])]
        # Rounded as stored, so that this error too is part of what is measured.
        self.vectors = (vectors * np.where(largest < 0, -1.0, 1.0)).astype(np.float32).astype(np.float64)
        self.planes = self.vectors.T @ flat

    def smallest(self, bound: float) -> OffsetTexture:
        """The cheapest texture with at most `bound` as 99th percentile of the error vector's length."""
        zero = np.zeros(self.shape[1:], np.float32)
        if _p99(self.values) <= bound:
            return _basis_texture(zero, [], self.shape[0])
        dense = _dense(zero, self.values, bound)
        coded: list[tuple[float, int, OffsetTexture]] = []
        whole = self._step(bound, len(self.vectors), 0.02 * bound, 8.0 * bound)
        used = len(self.vectors) if whole is None else np.count_nonzero(
            np.abs(_rounded(self.planes, whole)).max(axis=1, initial=0))
        for share in (1.0, 0.7, 0.5, 0.35):
            # Fewer vectors leave less room for rounding: a finer step, never a coarser one.
            limit = max(round(used * share), 1)
            step = whole if share == 1.0 else self._step(bound, limit, 0.1 * whole, whole) if whole else None
            texture = step and self._coded(_rounded(self.planes[:limit], step), step)
            if not step or not texture:
                break
            coded.append((step, limit, texture))
        if not coded:
            return dense
        step, limit, plain = min(coded, key=lambda one: self.cost(one[2]))
        return min((dense, plain, self._settled(step, limit, bound) or plain), key=self.cost)

    def cost(self, texture: OffsetTexture) -> float:
        """Deflated bytes, and a little for each byte that a player has to hold and sum."""
        return deflated_bytes(texture, self.file_order) + texture_bytes(texture) / 16

    def _step(self, bound: float, limit: int, low: float, high: float) -> float | None:
        """The coarsest step between two that keeps `limit` vectors within the bound; None where none does."""
        flat = self.values.reshape(self.shape[0], -1).astype(np.float32)
        kept, vectors = self.planes[:limit].astype(np.float32), self.vectors[:, :limit].astype(np.float32)

        def within(step: float) -> bool:
            rest = flat - vectors @ (_rounded(kept, step) * np.float32(step))
            return _p99(rest.reshape(self.shape)) <= bound * (1 - 1e-4)

        if not within(low):
            return None
        for _ in range(math.ceil(math.log2(math.log(high / low) / 0.04))):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if within(middle) else (low, middle)
        return low

    def _settled(self, step: float, limit: int, bound: float) -> OffsetTexture | None:
        """The first `limit` vectors with coefficients chosen together, at the coarsest step found within the bound.

        The 99th percentile grows as the step to the power of 0.65 here, so a few tries find it.
        """
        values = np.ascontiguousarray(self.values.transpose(1, 0, 2) / bound, dtype=np.float32)
        vectors = np.ascontiguousarray(self.vectors[:, :limit].T, dtype=np.float32)
        best, trial = None, 1.3 * step
        for _ in range(_STEP_TRIALS):
            steps = np.ascontiguousarray(_rounded(self.planes[:limit], trial).reshape(limit, -1, 3).transpose(1, 0, 2),
                                         dtype=np.int32)
            for _ in range(2):
                settle(values, vectors, trial / bound, _bits(steps), 2, steps)
            rest = values - np.einsum("kt,mkc->mtc", vectors, steps * np.float32(trial / bound), optimize=True)
            met = _p99(rest)
            if met <= 1 - 1e-4:
                best = (trial, steps)
            if 0.993 < met <= 1 - 1e-4:
                break
            trial *= (0.995 / met) ** 1.5
        return best and self._coded(best[1].transpose(1, 0, 2).reshape(limit, -1), best[0])

    def _coded(self, steps: Float[np.ndarray, "K P"] | Int[np.ndarray, "K P"], step: float) -> OffsetTexture | None:
        """The first K vectors in whole steps; nothing where two int8 textures do not resolve one."""
        largest = np.abs(steps).max(axis=1, initial=0)
        if largest.max(initial=0) > _FINE_STEPS * 254:
            return None
        modes: list[_Mode] = []
        for index in np.flatnonzero(largest > 0):
            modes += _split(steps[index].reshape(self.shape[1:]).astype(np.float64), step, self.vectors[:, index])
        return _basis_texture(np.zeros(self.shape[1:], np.float32), modes, self.shape[0])


def _bits(steps: Int[np.ndarray, "M K 3"]) -> Float[np.ndarray, "K 3 S"]:
    """What each number of steps costs a vector's channel: the logarithm of how rare it is there [bit]."""
    _, vectors, channels = steps.shape
    bits = np.empty((vectors, channels, 2 * LARGEST_COUNTED + 1), np.float32)
    for k in range(vectors):
        for c in range(channels):
            counted = steps[np.abs(steps[:, k, c]) <= LARGEST_COUNTED, k, c] + LARGEST_COUNTED
            # Values not seen cost as if seen a third of a time.
            seen = np.bincount(counted, minlength=bits.shape[2]) + 0.3
            bits[k, c] = -np.log2(seen / seen.sum())
    return bits


_FINE_STEPS = 127
"""Most steps of an int8 texel."""
_DEAD_ZONE = 0.15
"""Values this share of a step below the middle still round down: 2 % fewer bytes at equal error than none or 0.25."""
_STEP_TRIALS = 5
"""Steps tried with coefficients chosen together; three are enough for a percent."""
_MOST_TIGHTENINGS = 24
"""Bounds shrink to 0.7 each time; after eight for each group int16 itself is the limit."""


@dataclass(frozen=True)
class _Mode:
    """One quantised basis vector and its coefficient per frame."""

    texels: np.ndarray
    """int8 [M C]."""
    scale: float
    """Unit per texel step, the same for all channels."""
    coefficients: np.ndarray
    """float32 [T]."""


def _rounded(planes: Float[np.ndarray, "K P"], step: float) -> Float[np.ndarray, "K P"]:
    """Whole steps, rounded towards zero a little."""
    return np.sign(planes) * np.floor(np.abs(planes) / step + (0.5 - _DEAD_ZONE))


def _split(steps: Float[np.ndarray, "M C"], step: float, vector: Float[np.ndarray, " T"]) -> list[_Mode]:
    """One basis vector in whole steps, as one int8 texture or as a coarse and a fine one."""
    coefficients = vector.astype(np.float32)
    coarse = math.ceil(np.abs(steps).max() / _FINE_STEPS)
    if coarse <= 1:
        return [_Mode(steps.astype(np.int8), step, coefficients)]
    upper = np.rint(steps / coarse)
    return [_Mode(upper.astype(np.int8), step * coarse, coefficients),
            _Mode((steps - coarse * upper).astype(np.int8), step, coefficients)]


def quantise(values: Float[np.ndarray, "M C"], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric integers [M C] and the float32 step of each channel [C]; an all-zero channel has step 0."""
    limit = np.iinfo(dtype).max
    # The step is rounded to float32 upwards, so that the largest value stays within the limit.
    steps = np.nextafter((np.abs(values).max(axis=0, initial=0.0) / limit).astype(np.float32), np.float32(np.inf))
    steps = np.where(np.abs(values).max(axis=0, initial=0.0) > 0, steps, np.float32(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        texels = np.where(steps > 0, np.rint(values / steps.astype(np.float64)), 0)
    return texels.astype(dtype), steps


def texture_bytes(texture: OffsetTexture) -> int:
    """Bytes of a texture's arrays."""
    parts = (texture.mean, texture.texels, texture.texel_scales, texture.coefficients)
    return sum(part.nbytes for part in parts if part is not None)


def deflated_bytes(texture: OffsetTexture, file_order: np.ndarray) -> int:
    """Bytes of a texture in a bundle whose moving rows are in `file_order`."""
    parts = (texture.mean[file_order], texture.texels[:, file_order], texture.texel_scales, texture.coefficients)
    return sum(min(len(deflate(np.ascontiguousarray(part).tobytes(), 6)), part.nbytes)
               for part in parts if part is not None)


def _basis_texture(mean: np.ndarray, modes: list[_Mode], frames: int) -> OffsetTexture:
    count = len(modes)
    scales = np.array([m.scale for m in modes], np.float32).reshape(count, 1)
    return OffsetTexture(
        mean=mean, texels=np.array([m.texels for m in modes], np.int8).reshape(count, *mean.shape),
        texel_scales=np.ascontiguousarray(np.broadcast_to(scales, (count, mean.shape[1]))),
        coefficients=np.array([m.coefficients for m in modes], np.float32).reshape(count, frames).T.copy())


def _dense(mean: np.ndarray, values: Float[np.ndarray, "T M C"], bound: float) -> OffsetTexture:
    """Every frame as a texture, in int8 where that meets the bound, else in int16."""
    texture = None
    for dtype in (np.dtype(np.int8), np.dtype(np.int16)):
        frames = [quantise(value, dtype) for value in values]
        texture = OffsetTexture(mean=mean, texels=np.stack([texels for texels, _ in frames]),
                                texel_scales=np.stack([steps for _, steps in frames]), coefficients=None)
        if _p99(texture.texels * texture.texel_scales[:, None].astype(np.float64) - values) <= bound:
            break
    assert texture is not None
    return texture


def _p99(errors: Float[np.ndarray, "T M C"]) -> float:
    """99th percentile of the vectors' lengths: the length that at most one in a hundred exceeds."""
    if not errors.size:
        return 0.0
    squares = np.einsum("...c,...c->...", errors, errors).reshape(-1)
    place = min(math.ceil(0.99 * (len(squares) - 1)), len(squares) - 1)
    return math.sqrt(float(np.partition(squares, place)[place]))


def _view(gaussians: GaussianSet, rig: Rig, motion: Motion, frame: int, camera: Camera, moving: np.ndarray,
          offsets: Float[np.ndarray, "M 9"]) -> Float[np.ndarray, "H X 4"]:
    moved = apply_residual(gaussians, moving, *(offsets[:, columns] for columns in COLUMNS.values()))
    return render(pose_gaussians(moved, rig, motion, frame), camera).rgba


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(((a.astype(np.float64) - b) ** 2).mean())
    return min(LOSSLESS_DB, -10 * math.log10(error)) if error > 0 else LOSSLESS_DB


def _metrics(residual: Residual, offsets: Float[np.ndarray, "T M 9"], psnr: float,
             file_order: np.ndarray) -> dict[str, float | int | str]:
    """The errors as a player decodes them, and the sizes."""
    decoded = {name: np.stack([decode(getattr(residual, name), t) for t in range(len(offsets))]) for name in GROUPS}
    exact = {name: offsets[..., columns].astype(np.float64) for name, columns in COLUMNS.items()}
    turned = rotations.multiply(rotations.from_rotvec(decoded["d_rotations"].astype(np.float64)),
                                rotations.from_rotvec(-exact["d_rotations"]))
    metrics: dict[str, float | int | str] = {
        "position_error_mm_p99": 1000 * _p99(decoded["d_means"] - exact["d_means"]),
        "rotation_error_deg_p99": math.degrees(_p99(rotations.to_rotvec(turned))),
        "log_scale_error_p99": _p99(decoded["d_log_scales"] - exact["d_log_scales"]),
        "psnr_db": psnr,
    }
    for name in GROUPS:
        texture: OffsetTexture = getattr(residual, name)
        metrics[f"{name}_layout"] = "dense" if texture.coefficients is None else "basis"
        metrics[f"{name}_count"] = len(texture.texels)
        metrics[f"{name}_bits"] = 8 * texture.texels.itemsize
        metrics[f"{name}_bytes"] = texture_bytes(texture)
        metrics[f"{name}_deflated_bytes"] = deflated_bytes(texture, file_order)
    metrics["deflated_bytes"] = sum(deflated_bytes(getattr(residual, name), file_order) for name in GROUPS)
    metrics["bytes"] = sum(texture_bytes(getattr(residual, name)) for name in GROUPS)
    return metrics
