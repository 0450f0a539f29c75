"""`.splat` (antimatter15): 32 bytes a Gaussian, no header, most visible first, so that a stream shows early.

Position and linear scale are float32; colour, opacity and the wxyz quaternion have 8 bits a channel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export_formats import ExportOptions, Report
from export_formats.sampling import still
from export_formats.splats import check_count, content_of, logits_of, logs_of, to_gaussians
from runtime.archive import write_atomically
from runtime.errors import InputError
from runtime.types import SH_C0, Bundle, GaussianSet

AXES = "RDF"
LOST = ("the rig, the motion and the labels: one frame is written", "the order of rows (most visible first)",
        "colours outside [0, 1], colour and opacity beyond 1/255, angles beyond 1 degree")
OPENS_WITH = "antimatter15/splat, Spark, three.js, Babylon.js, gsplat.js, SuperSplat (write with --axes LDB), SplatVFX"
ROW = np.dtype([("means", "<f4", 3), ("scales", "<f4", 3), ("rgba", "u1", 4), ("quats", "u1", 4)])
"""One Gaussian."""


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """One frame; see `encode`."""
    content = encode(still(bundle, options, axes=AXES), options)
    write_atomically(path, content)
    return Report(path=path, size_bytes=len(content), frames=1, lost=LOST, opens_with=OPENS_WITH)


def encode(gaussians: GaussianSet, options: ExportOptions) -> bytes:
    """The file of Gaussians that are in the written axes already, by falling size times opacity."""
    volume = gaussians.log_scales.astype(np.float64).sum(axis=1) + np.log(gaussians.opacities + 1e-30)
    gaussians = gaussians.take(np.argsort(-volume, kind="stable"))
    rows = np.zeros(gaussians.count, ROW)
    rows["means"], rows["scales"] = gaussians.means, np.exp(gaussians.log_scales)
    rows["rgba"][:, :3], rows["rgba"][:, 3] = _byte(gaussians.colors * 255), _byte(gaussians.opacities * 255)
    # 128 is zero, so +1 would be 256: the sign with the largest component negative reaches it exactly.
    quats = gaussians.quats_wxyz
    largest = np.take_along_axis(quats, np.argmax(np.abs(quats), axis=1)[:, None], axis=1)
    rows["quats"] = _byte(np.where(largest > 0, -quats, quats) * 128 + 128)
    return rows.tobytes()


def read(path: Path, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a `.splat` file. Raises `InputError` naming it."""
    return decode(content_of(path), str(path), axes=axes)


def decode(content: bytes, source: str, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a `.splat` file's bytes."""
    if len(content) % ROW.itemsize:
        raise InputError(f"{source}: {len(content)} bytes are not whole Gaussians of {ROW.itemsize}; it is cut off, or "
                         "no .splat file")
    check_count(len(content) // ROW.itemsize, source)
    rows = np.frombuffer(content, ROW)
    if (rows["scales"] < 0).any():
        raise InputError(f"{source}: a scale is negative; it is no .splat file, or damaged")
    return to_gaussians(
        source, means=rows["means"], quats_wxyz=(rows["quats"].astype(np.float32) - 128) / 128,
        log_scales=logs_of(rows["scales"]), opacity_logits=logits_of(rows["rgba"][:, 3] / 255.0),
        sh0=(rows["rgba"][:, :3] / 255.0 - 0.5) / SH_C0, axes=axes or AXES)


def harmonics(path: Path) -> int:
    """The format has no spherical harmonics."""
    return 0


def _byte(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
