"""Compressed PLY (PlayCanvas, SuperSplat): 16 bytes a Gaussian, quantised between the bounds of every 256.

Positions and log scales have 11, 10 and 11 bits, colours and opacity 8, quaternions 2 + 3 x 10 (wxyz, smallest three).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from export_formats import ExportOptions, Report, quaternion_packing
from export_formats.axes import check as check_axes
from export_formats.ply import PlyTable, parse
from export_formats.sampling import still
from export_formats.splats import content_of, logits_of, to_gaussians
from runtime.archive import write_atomically
from runtime.errors import InputError
from runtime.lod import morton_codes
from runtime.types import SH_C0, Bundle, GaussianSet

AXES = "LDB"
"""PlayCanvas turns a PLY by 180 degrees about z."""
CHUNK = 256
"""Gaussians that share bounds."""
LOST = ("the rig, the motion and the labels: one frame is written", "the order of rows (Morton, for small chunks)",
        "positions and scales beyond 1/1023 of a chunk's extent, colours beyond 1/255 of it, angles beyond 0.3 degrees")
OPENS_WITH = "SuperSplat, PlayCanvas and Spark (turn 180 degrees about z; SuperSplat does)"
_BOUNDS = tuple(f"{end}_{name}" for group in (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b"))
                for end in ("min", "max") for name in group)
_PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
_SCALE_LIMIT = 20.0
"""Log scales are clipped here, as the format's first writer does."""
_BITS = (11, 10, 11)
"""Of x, y and z, from the high bits to the low."""


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """One frame; see `encode`."""
    content = encode(still(bundle, options, axes=AXES), options)
    write_atomically(path, content)
    return Report(path=path, size_bytes=len(content), frames=1, lost=LOST, opens_with=OPENS_WITH)


def encode(gaussians: GaussianSet, options: ExportOptions) -> bytes:
    """The file of Gaussians that are in the written axes already, in Morton order."""
    gaussians = gaussians.take(np.argsort(morton_codes(gaussians.means), kind="stable"))
    # The last chunk is filled up with its last Gaussian: bounds do not change.
    rows = np.minimum(np.arange(-(-gaussians.count // CHUNK) * CHUNK), gaussians.count - 1)
    groups = (gaussians.means, np.clip(gaussians.log_scales, -_SCALE_LIMIT, _SCALE_LIMIT), gaussians.colors)
    bounds, packed = [], []
    for values, bits in zip(groups, (_BITS, _BITS, (8, 8, 8)), strict=True):
        chunks = values[rows].reshape(-1, CHUNK, 3)
        low, high = chunks.min(axis=1), chunks.max(axis=1)
        bounds += [low, high]
        extent = np.maximum(high - low, np.finfo(np.float32).tiny)[:, None]
        packed.append(_pack(((chunks - low[:, None]) / extent).reshape(-1, 3), bits)[:gaussians.count])
    position, scale, color = packed
    opacity = np.rint(gaussians.opacities.astype(np.float64) * 255).astype(np.uint32)
    largest, three = quaternion_packing.split(gaussians.quats_wxyz)
    rotation = _pack(three / (2 * quaternion_packing.REACH) + 0.5, (10, 10, 10)) | largest.astype(np.uint32) << 30
    vertices = np.stack([position, rotation, scale, color << 8 | opacity], axis=1).astype("<u4")
    header = ["ply", "format binary_little_endian 1.0", f"comment axes {check_axes(options.axes or AXES)}",
              f"element chunk {len(rows) // CHUNK}", *(f"property float {name}" for name in _BOUNDS),
              f"element vertex {gaussians.count}", *(f"property uint {name}" for name in _PACKED), "end_header\n"]
    return "\n".join(header).encode("ascii") + np.hstack(bounds).astype("<f4").tobytes() + vertices.tobytes()


def read(path: Path, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a compressed PLY, without spherical harmonics above degree 0. Raises `InputError`."""
    return decode(content_of(path), str(path), axes=axes)


def decode(content: bytes, source: str, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a compressed PLY's bytes."""
    table = parse(content, source)
    low, high, words = _columns(table, source)
    count = len(words)
    chunk = np.arange(count) // CHUNK
    if len(low) < -(-count // CHUNK):
        raise InputError(f"{source}: {count} Gaussians need {-(-count // CHUNK)} chunks, the file has {len(low)}")

    def between(group: int, unit: np.ndarray) -> np.ndarray:
        start, stop = low[chunk, 3 * group:3 * group + 3], high[chunk, 3 * group:3 * group + 3]
        return (start + unit * (stop - start)).astype(np.float32)

    colors = _unpack(words[:, 3] >> 8, (8, 8, 8))
    colors = between(2, colors) if low.shape[1] == 9 else colors
    three = (_unpack(words[:, 1], (10, 10, 10)) - 0.5) * (2 * quaternion_packing.REACH)
    return to_gaussians(
        source, means=between(0, _unpack(words[:, 0], _BITS)), log_scales=between(1, _unpack(words[:, 2], _BITS)),
        quats_wxyz=quaternion_packing.join((words[:, 1] >> 30).astype(np.int64), three),
        opacity_logits=logits_of((words[:, 3] & 255) / 255.0), sh0=(colors - 0.5) / SH_C0,
        axes=axes or table.axes or AXES)


def harmonics(path: Path) -> int:
    """Degree of the spherical harmonics that `decode` drops."""
    table = parse(content_of(path), str(path)).elements.get("sh")
    return 0 if table is None else round(math.sqrt(len(table.dtype.names or ()) / 3 + 1)) - 1


def _columns(table: PlyTable, source: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper bounds of chunks [chunks, 6 or 9] and packed words [N 4]."""
    chunks, vertex = table.elements.get("chunk"), table.elements.get("vertex")
    if chunks is None or vertex is None or any(name not in (vertex.dtype.names or ()) for name in _PACKED):
        raise InputError(f"{source}: lacks the chunks or packed properties of a compressed PLY")
    bounds = _BOUNDS if "min_r" in (chunks.dtype.names or ()) else _BOUNDS[:12]
    if any(name not in (chunks.dtype.names or ()) for name in bounds):
        raise InputError(f"{source}: its chunks lack bounds")
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = (np.stack([chunks[name] for name in bounds if name.startswith(end)], axis=1).astype(np.float64)
                     for end in ("min", "max"))
    return low, high, np.stack([vertex[name].astype(np.uint32) for name in _PACKED], axis=1)


def _pack(unit: np.ndarray, bits: tuple[int, int, int]) -> np.ndarray:
    """Three numbers in [0, 1] a row in one word, the first in the highest bits."""
    word = np.zeros(len(unit), np.uint32)
    for column, width in enumerate(bits):
        steps = 2 ** width - 1
        word = word << np.uint32(width) | np.clip(np.floor(unit[:, column] * steps + 0.5), 0, steps).astype(np.uint32)
    return word


def _unpack(words: np.ndarray, bits: tuple[int, int, int]) -> np.ndarray:
    """Three numbers in [0, 1] a row of the low bits of each word, float64 [N 3]."""
    columns, shift = [], sum(bits)
    for width in bits:
        shift -= width
        columns.append((words >> np.uint32(shift) & np.uint32(2 ** width - 1)) / (2 ** width - 1))
    return np.stack(columns, axis=1)
