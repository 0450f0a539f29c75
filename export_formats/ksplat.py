"""`.ksplat` (mkkellogg), read only: sections of Gaussians, positions relative to the centres of buckets.

Compression 0 stores float32, 1 stores 16-bit positions and half floats, 2 differs from 1 in the harmonics alone, which
are dropped here. Layout as in the reader of PlayCanvas's splat-transform.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export_formats.splats import check_count, content_of, logits_of, logs_of, to_gaussians
from runtime.errors import InputError
from runtime.types import SH_C0, GaussianSet

AXES = "RDF"
MAX_SECTIONS = 4096
_MAIN_BYTES, _SECTION_BYTES = 4096, 1024
_HARMONICS = (0, 9, 24, 45)
"""Values above degree 0."""
_ROWS = {
    0: [("means", "<f4", 3), ("scales", "<f4", 3), ("quats", "<f4", 4), ("rgba", "u1", 4)],
    1: [("means", "<u2", 3), ("scales", "<f2", 3), ("quats", "<f2", 4), ("rgba", "u1", 4)],
}
_HARMONIC_BYTES = {0: 4, 1: 2, 2: 1}


@dataclass(frozen=True)
class _Section:
    """A section's header."""

    count: int
    """Gaussians in use."""
    capacity: int
    """Gaussians there is room for."""
    bucket_capacity: int
    """Gaussians of a full bucket."""
    buckets: int
    """All buckets."""
    block_size: float
    """Extent of a bucket [unit of the file]."""
    bucket_bytes: int
    """Bytes of a bucket's centre and padding."""
    steps: int
    """Position steps in half a bucket."""
    full: int
    """Full buckets, which come first."""
    partial: int
    """Buckets with a size of their own."""
    degree: int
    """Degree of spherical harmonics."""


def read(path: Path, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a `.ksplat` file, without harmonics above degree 0. Raises `InputError` naming the file."""
    return decode(content_of(path), str(path), axes=axes)


def decode(content: bytes, source: str, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a `.ksplat` file's bytes."""
    compression, headers = _headers(content, source)
    offset = _MAIN_BYTES + _SECTION_BYTES * len(headers)
    columns = []
    for header in headers:
        decoded, offset = _rows(content, offset, header, compression=compression, source=source)
        columns.append(decoded)
    means, scales, quats, rgba = (np.concatenate(column) for column in zip(*columns, strict=True))
    if (scales < 0).any():
        raise InputError(f"{source}: a scale is negative; it is damaged")
    return to_gaussians(source, means=means, quats_wxyz=quats, log_scales=logs_of(scales),
                        opacity_logits=logits_of(rgba[:, 3] / 255.0), sh0=(rgba[:, :3] / 255.0 - 0.5) / SH_C0,
                        axes=axes or AXES)


def harmonics(path: Path) -> int:
    """Degree of the spherical harmonics that `decode` drops."""
    return max(header.degree for header in _headers(content_of(path), str(path))[1])


def _headers(content: bytes, source: str) -> tuple[int, list[_Section]]:
    """The compression, and the headers of the sections."""
    if len(content) < _MAIN_BYTES:
        raise InputError(f"{source}: {len(content)} bytes are no .ksplat file, or it is cut off")
    major, minor, sections, count, compression = struct.unpack_from("<BB2xI8xIH", content)
    if (major, minor > 0) != (0, True) or compression > 2 or not 0 < sections <= MAX_SECTIONS:
        raise InputError(f"{source}: version {major}.{minor}, compression {compression}, {sections} sections; this "
                         "reader knows version 0.1 and later, compression 0 to 2")
    check_count(count, source)
    if _MAIN_BYTES + _SECTION_BYTES * sections > len(content):
        raise InputError(f"{source}: is cut off in its {sections} section headers")
    headers = [_section(content, _MAIN_BYTES + _SECTION_BYTES * index, source) for index in range(sections)]
    if sum(header.count for header in headers) != count:
        raise InputError(f"{source}: says {count} Gaussians, its sections hold {sum(h.count for h in headers)}")
    return compression, headers


def _section(content: bytes, offset: int, source: str) -> _Section:
    """A section header at `offset`, checked by itself."""
    header = _Section(*struct.unpack_from("<IIIIfH2xI4xIIH", content, offset))
    if (header.degree >= len(_HARMONICS) or header.count > header.capacity or header.full > header.buckets
            or header.partial > header.buckets or not np.isfinite(header.block_size)
            or (header.buckets and header.bucket_bytes < 12)):
        raise InputError(f"{source}: a section header contradicts itself; the file is damaged")
    return header


def _rows(content: bytes, offset: int, header: _Section, *, compression: int, source: str) -> tuple[
        tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], int]:
    """Means, scales, quaternions and colours of the section at `offset`, and the offset of the next."""
    harmonics = _HARMONICS[header.degree] * _HARMONIC_BYTES[compression]
    row = np.dtype([*_ROWS[min(compression, 1)], ("harmonics", "u1", harmonics)])
    centres_at = offset + 4 * header.partial
    rows_at = centres_at + header.bucket_bytes * header.buckets
    end = rows_at + row.itemsize * header.capacity
    if end > len(content):
        raise InputError(f"{source}: is cut off: a section of {header.capacity} Gaussians ends at byte {end} of "
                         f"{len(content)}")
    rows = np.frombuffer(content, row, count=header.count, offset=rows_at)
    if compression == 0:
        return (rows["means"], rows["scales"], rows["quats"], rows["rgba"]), end
    sizes = np.frombuffer(content, "<u4", count=header.partial, offset=offset).astype(np.int64)
    ends = np.cumsum(np.concatenate([np.full(header.full, header.bucket_capacity, np.int64), sizes]))
    bucket = np.searchsorted(ends, np.arange(header.count), side="right")
    if header.count and (not len(ends) or ends[-1] < header.count or int(bucket.max()) >= header.buckets):
        raise InputError(f"{source}: its buckets hold fewer than the section's {header.count} Gaussians")
    # The centres lie packed at the start of the buckets' room, 12 bytes each, as in the format's readers.
    centres = np.frombuffer(content, "<f4", count=3 * header.buckets, offset=centres_at).reshape(-1, 3)
    steps = header.steps or 32767
    means = (rows["means"].astype(np.float64) - steps) * (header.block_size / 2 / steps) + centres[bucket]
    return (means, rows["scales"].astype(np.float32), rows["quats"].astype(np.float32), rows["rgba"]), end
