"""Distilling the optimised field into offset textures (DESIGN §7): the smallest that meet the asked error bounds.

Letters: M moving Gaussians, T frames, K basis vectors, C = 3 channels of a group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from baker.field import ResidualField
from baker.trajectories import DISTANCE, FOV_Y, root_targets
from runtime import rotations
from runtime.cameras import orbit_camera
from runtime.offsets import decode, residual_at
from runtime.raster import render
from runtime.skinning import apply_residual, pose_gaussians
from runtime.types import Camera, GaussianSet, Motion, OffsetTexture, Residual, Rig

GROUPS = {"d_means": slice(0, 3), "d_rotations": slice(3, 6), "d_log_scales": slice(6, 9)}
"""Columns of each group in sampled offsets [T M 9]."""
LOSSLESS_DB = 120.0
"""Stands for an infinite PSNR, which JSON cannot hold."""


@dataclass(frozen=True)
class DistilConfig:
    """What the stored residual must keep (DESIGN §7)."""

    position_mm: float = 0.5
    """Bound on the 99th percentile of the position error [mm]."""
    rotation_degrees: float = 0.2
    """Bound on the 99th percentile of the rotation error [deg]."""
    log_scale: float = 0.02
    """Bound on the 99th percentile of the error of a log scale vector: two percent of a Gaussian's size."""
    psnr_db: float = 45.0
    """Least PSNR of every checked view against the undistilled render [dB]."""
    views: int = 6
    """Views checked, spread over the clip and around the figure."""
    width: int = 240
    """Width of a checked view [px]."""
    height: int = 416
    """Height of a checked view [px]."""


def distil(source: ResidualField | Float[np.ndarray, "T M 9"], gaussians: GaussianSet, rig: Rig, motion: Motion,
           config: DistilConfig) -> tuple[Residual, dict[str, float | int | str]]:
    """Sample a field at every frame (or take offsets sampled before) and store it as offset textures.

    Each group takes the smaller of a basis and dense frames, in int8 or int16, that meets its bound; all bounds
    tighten until the rendered views agree too. The metrics name the errors met, and layout, basis count, bits
    and bytes by group.
    """
    if isinstance(source, ResidualField):
        offsets, moving = source.sample(), source.moving
    else:
        offsets, moving = source, np.flatnonzero(gaussians.may_move)
    bounds = {"d_means": config.position_mm / 1000, "d_rotations": math.radians(config.rotation_degrees),
              "d_log_scales": config.log_scale}
    fits = {name: _GroupFit(offsets[..., columns]) for name, columns in GROUPS.items()}
    views = [(frame, camera, _view(gaussians, rig, motion, frame, camera, moving, offsets[frame]))
             for frame, camera in check_views(rig, motion, config)]
    tightening = 1.0
    while True:
        textures = {name: fit.smallest(bounds[name] * tightening) for name, fit in fits.items()}
        residual = Residual(moving=moving.astype(np.int64), **textures)
        psnr = min(_psnr(reference, _view(gaussians, rig, motion, frame, camera, moving,
                                          np.concatenate(residual_at(residual, frame), axis=1)))
                   for frame, camera, reference in views)
        # Below a hundredth of the bounds int16 itself is the limit; report what was reached.
        if psnr >= config.psnr_db or tightening < 0.01:
            return residual, _metrics(residual, offsets, psnr)
        tightening *= 0.7


def check_views(rig: Rig, motion: Motion, config: DistilConfig) -> list[tuple[int, Camera]]:
    """Frames spread over the clip, each from another azimuth (the golden angle apart)."""
    targets = root_targets(rig, motion)
    frames = np.unique(np.linspace(0, motion.frames - 1, config.views).round().astype(int)).tolist()
    golden = math.pi * (3 - math.sqrt(5))
    return [(frame, orbit_camera(targets[frame], azimuth=i * golden, elevation=math.radians(10.0),
                                 distance=DISTANCE, fov_y=FOV_Y, size=(config.width, config.height)))
            for i, frame in enumerate(frames)]


class _GroupFit:
    """One group's offsets, fitted with as many basis vectors as a bound asks."""

    def __init__(self, values: Float[np.ndarray, "T M C"]) -> None:
        self.mean = values.mean(axis=0, dtype=np.float64).astype(np.float32)
        # Against the float32 mean that is stored, so that its rounding is part of what the basis fits.
        self.values = values.astype(np.float64) - self.mean

    def smallest(self, bound: float) -> OffsetTexture:
        """The texture of fewest bytes with at most `bound` as 99th percentile of the error vector's length."""
        if _p99(self.values) <= bound:
            return _basis_texture(self.mean, [], len(self.values), np.dtype(np.int8))
        best = _dense(self.mean, self.values, bound)
        for dtype in (np.dtype(np.int8), np.dtype(np.int16)):
            chosen: list[_Mode] = []
            empty_bytes = texture_bytes(_basis_texture(self.mean, [], 0, dtype))
            mode_bytes = self.mean.size * dtype.itemsize + 4 * (self.mean.shape[1] + len(self.values))
            for mode, rest in _pursue(self.values, dtype, bound):
                chosen.append(mode)
                if empty_bytes + mode_bytes * len(chosen) >= texture_bytes(best):
                    break
                if rest is not None and _p99(rest) <= bound:
                    best = _basis_texture(self.mean, chosen, len(self.values), dtype)
                    break
        return best


@dataclass(frozen=True)
class _Mode:
    """One quantised basis vector and its coefficient per frame."""

    texels: np.ndarray
    """[M C] of the texture's integer type."""
    scales: np.ndarray
    """float32 [C]."""
    coefficients: np.ndarray
    """float32 [T]."""


def _pursue(values: Float[np.ndarray, "T M C"], dtype: np.dtype,
            bound: float) -> Iterator[tuple[_Mode, np.ndarray | None]]:
    """Basis vectors by the singular value decomposition of what the ones before left over, and that leftover
    [T M C] after each, once its root mean square is within `bound` (the percentile is dear and cannot be before,
    short of a hundredth of the vectors holding all of the error).

    Taking the leftovers, and not the decomposition of the values, lets a later vector mend the quantisation of
    an earlier one: the leading vectors need more than eight bits, and two int8 vectors serve them at the price
    of one int16 while all others stay at half.
    """
    frames, moving, channels = values.shape
    rest = values.reshape(frames, -1).copy()
    gram = rest @ rest.T
    while True:
        # 1. The leading left singular vector; its sign by its largest entry, so that equal input gives equal bits.
        _, vectors = eigh(gram, subset_by_index=[frames - 1, frames - 1])
        coefficients = vectors[:, 0]
        coefficients = (coefficients * np.sign(coefficients[np.argmax(np.abs(coefficients))])).astype(np.float32)
        direction = coefficients.astype(np.float64)
        texels, scales = quantise((direction @ rest).reshape(moving, channels), dtype)
        stored = (texels * scales.astype(np.float64)).reshape(-1)
        # 2. Take it away, and keep the Gram matrix in step: (R - u b)(R - u b)^T.
        cross = np.outer(direction, rest @ stored)
        gram += np.outer(direction, direction) * (stored @ stored) - cross - cross.T
        for row, weight in zip(rest, direction, strict=True):
            row -= weight * stored
        close = np.trace(gram) <= frames * moving * bound ** 2
        yield _Mode(texels, scales, coefficients), rest.reshape(values.shape) if close else None


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


def _basis_texture(mean: np.ndarray, modes: list[_Mode], frames: int, dtype: np.dtype) -> OffsetTexture:
    count = len(modes)
    return OffsetTexture(
        mean=mean, texels=np.array([m.texels for m in modes], dtype).reshape(count, *mean.shape),
        texel_scales=np.array([m.scales for m in modes], np.float32).reshape(count, mean.shape[1]),
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
    """99th percentile of the vectors' lengths."""
    return float(np.percentile(np.sqrt(np.einsum("...c,...c->...", errors, errors)), 99)) if errors.size else 0.0


def _view(gaussians: GaussianSet, rig: Rig, motion: Motion, frame: int, camera: Camera, moving: np.ndarray,
          offsets: Float[np.ndarray, "M 9"]) -> Float[np.ndarray, "H X 4"]:
    moved = apply_residual(gaussians, moving, *(offsets[:, columns] for columns in GROUPS.values()))
    return render(pose_gaussians(moved, rig, motion, frame), camera).rgba


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(((a.astype(np.float64) - b) ** 2).mean())
    return min(LOSSLESS_DB, -10 * math.log10(error)) if error > 0 else LOSSLESS_DB


def _metrics(residual: Residual, offsets: Float[np.ndarray, "T M 9"], psnr: float) -> dict[str, float | int | str]:
    """The errors as a player decodes them, and the sizes."""
    decoded = {name: np.stack([decode(getattr(residual, name), t) for t in range(len(offsets))]) for name in GROUPS}
    exact = {name: offsets[..., columns].astype(np.float64) for name, columns in GROUPS.items()}
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
    metrics["bytes"] = sum(texture_bytes(getattr(residual, name)) for name in GROUPS)
    return metrics
