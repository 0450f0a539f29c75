"""What the readers of splat files share: limits, the file's bytes, and the way into a `GaussianSet`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float

from export_formats.axes import check as check_axes
from export_formats.axes import to_ours
from runtime.archive import file_content
from runtime.errors import InputError
from runtime.types import GaussianSet

MAX_SPLATS = 4_000_000
"""Gaussians of one file, as many as a bundle may have."""
MAX_FILE_BYTES = 2 << 30
"""Size of a file, and of what it inflates to."""
MAX_OPACITY_LOGIT = 30.0
"""Opacities of exactly 0 and 1 have infinite logits; bundles clip here too."""
MIN_LOG_SCALE, MAX_LOG_SCALE = -30.0, 10.0
"""Flat Gaussians have a scale of exactly 0; bundles clip here too."""
_OPACITY_MARGIN = 1e-6
"""Opacities stored as exactly 0 or 1 are read this far inside."""


def content_of(path: Path) -> bytes:
    """All bytes of a file of acceptable size."""
    return file_content(path, most=MAX_FILE_BYTES)


def check_count(count: int, source: str) -> int:
    """`count`, if a file may have as many Gaussians."""
    if count == 0:
        raise InputError(f"{source}: holds no Gaussians")
    if not 0 < count <= MAX_SPLATS:
        raise InputError(f"{source}: {count} Gaussians, at most {MAX_SPLATS} are read")
    return count


def logits_of(opacities: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Logits of opacities in [0, 1]."""
    inside = np.clip(opacities.astype(np.float64), _OPACITY_MARGIN, 1 - _OPACITY_MARGIN)
    return np.log(inside / (1 - inside)).astype(np.float32)


def logs_of(scales: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Natural logarithms of standard deviations, zero ones clipped."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(scales.astype(np.float64)).astype(np.float32)


def to_gaussians(source: str, *, means: np.ndarray, quats_wxyz: np.ndarray, log_scales: np.ndarray,
                 opacity_logits: np.ndarray, sh0: np.ndarray, axes: str) -> GaussianSet:
    """A file's columns as Gaussians of the runtime: unit quaternions, our axes, labels unknown (SKIN).

    Raises `InputError` naming the file for NaN, for coordinates or colours without meaning and for zero quaternions.
    """
    count = check_count(len(means), source)
    try:
        axes = check_axes(axes)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(quats_wxyz.astype(np.float64), axis=1, keepdims=True)
    if not (norms > 1e-12).all() or not np.isfinite(norms).all():
        row = int(np.argmax(~((norms > 1e-12) & np.isfinite(norms))))
        raise InputError(f"{source}: the rotation of Gaussian {row} is zero, NaN or infinite; repair the file")
    log_scales = np.where(log_scales == -math.inf, MIN_LOG_SCALE, log_scales)
    for name, value, largest in (("position", means, 1e7), ("scale", log_scales, 80.0), ("colour", sh0, 1e6)):
        if not (np.abs(value) <= largest).all():
            row = int(np.argwhere(~(np.abs(value) <= largest))[0][0])
            raise InputError(f"{source}: the {name} of Gaussian {row} is NaN or out of range; repair the file")
    gaussians = GaussianSet(
        means=_floats(means), quats_wxyz=_floats(quats_wxyz / norms),
        log_scales=_floats(np.clip(log_scales, MIN_LOG_SCALE, MAX_LOG_SCALE)),
        opacity_logits=_floats(np.clip(opacity_logits, -MAX_OPACITY_LOGIT, MAX_OPACITY_LOGIT)), sh0=_floats(sh0),
        labels=np.zeros(count, np.uint8))
    return to_ours(gaussians.check(source), axes)


def _floats(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
