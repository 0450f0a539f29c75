"""SPZ (Niantic Spatial), versions 1 to 4 read, 2 to 4 written: about 16 bytes a Gaussian before compression.

Positions are 24-bit fixed point, scales 8 bits of the logarithm, colour and opacity 8 bits, quaternions three 8-bit
components (version 2) or the smallest three of xyzw in 32 bits (3, 4). Versions to 3 are one gzip stream, version 4
is a plain header and one zstd stream an attribute. Data is RUB unless an extension record says otherwise; some
converters store PLY's axes without saying so (`axes="RDF"` or `"LDB"` reads those).
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from export_formats import ExportOptions, Report, quaternion_packing
from export_formats.sampling import still
from export_formats.splats import MAX_FILE_BYTES, check_count, content_of, logits_of, to_gaussians
from runtime.archive import write_atomically
from runtime.errors import InputError
from runtime.types import Bundle, GaussianSet

AXES = "RUB"
FRACTIONAL_BITS = 12
"""Positions are multiples of 2^-12 m, as every writer of the format makes them; readers may not know others."""
LOST = ("the rig, the motion and the labels: one frame is written",
        "positions beyond 0.12 mm, scales beyond 3.2 %, colours beyond 0.0037, opacities beyond 0.002")
LOST_ROTATION = {2: "angles beyond 1 degree, up to 14 where a rotation is near a half turn (version 3 has 0.4)",
                 3: "angles beyond 0.4 degrees", 4: "angles beyond 0.4 degrees"}
OPENS_WITH = {2: "aras-p's UnityGaussianSplatting, gsplat-unity, Spark, mkkellogg, SuperSplat",
              3: "Spark, gsplat-unity, Babylon.js, SuperSplat (not aras-p, not mkkellogg)",
              4: "gsplat-unity, PlayCanvas's script, splat-transform, Niantic's viewer (not Spark 2.2, not aras-p)"}
COLOR_SCALE = 0.15
"""Bytes hold f_dc * 0.15 + 0.5: colours somewhat outside [0, 1] survive."""
_MAGIC = b"NGSP"
_HEADER = struct.Struct("<4sIIBBBB")
"""Magic, version, count, degree, fractional bits, flags, reserved (version 4: streams, then offset and padding)."""
_HEADER_4_BYTES = 32
_HAS_EXTENSIONS = 2
_AXES_RECORD = 0xADBE0003
_AXES_VALUES = ("", "LDB", "RDB", "LUB", "RUB", "LDF", "RDF", "LUF", "RUF", "LFD", "RFD", "LFU", "RFU", "LBD", "RBD",
                "LBU", "RBU")
"""Values of the coordinate system record; 0 is unspecified, RUB."""
_SH_VALUES = (0, 9, 24, 45, 72)
"""Bytes of spherical harmonics above degree 0, per Gaussian."""
_MAX_WINDOW = 1 << 27


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """One frame; see `encode`."""
    content = encode(still(bundle, options, axes=AXES), options)
    write_atomically(path, content)
    return Report(path=path, size_bytes=len(content), frames=1, lost=lost(options), opens_with=opens_with(options))


def lost(options: ExportOptions) -> tuple[str, ...]:
    """What the asked version cannot hold."""
    return (*LOST, LOST_ROTATION[_check_version(options)])


def opens_with(options: ExportOptions) -> str:
    """Programs that read the asked version."""
    return OPENS_WITH[_check_version(options)]


def encode(gaussians: GaussianSet, options: ExportOptions) -> bytes:
    """The file of Gaussians that are in the written axes already. Equal Gaussians give equal bytes."""
    version, count = _check_version(options), gaussians.count
    fixed = np.rint(gaussians.means.astype(np.float64) * 2 ** FRACTIONAL_BITS)
    if np.abs(fixed).max() >= 2 ** 23:
        raise InputError(f"SPZ holds coordinates of at most {2 ** (23 - FRACTIONAL_BITS)} m; the figure is farther")
    positions = fixed.astype("<i4").view(np.uint8).reshape(count, 3, 4)[:, :, :3]
    streams = [
        positions.tobytes(), _byte(gaussians.opacities * 255.0),
        _byte(gaussians.sh0 * (COLOR_SCALE * 255) + 127.5), _byte((gaussians.log_scales + 10.0) * 16.0),
        (_first_three if version == 2 else _smallest_three)(gaussians.quats_wxyz)]
    if version < 4:
        header = _HEADER.pack(_MAGIC, version, count, 0, FRACTIONAL_BITS, 0, 0)
        return gzip.compress(header + b"".join(streams), 9, mtime=0)
    zstd = _load_zstandard("writing SPZ version 4")
    frames = [zstd.ZstdCompressor(level=12).compress(stream) for stream in streams]
    header = _HEADER.pack(_MAGIC, version, count, 0, FRACTIONAL_BITS, 0, len(streams))
    header += struct.pack("<I12x", _HEADER_4_BYTES)
    table = b"".join(struct.pack("<QQ", len(f), len(s)) for f, s in zip(frames, streams, strict=True))
    return header + table + b"".join(frames)


def read(path: Path, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of an SPZ file, without spherical harmonics above degree 0. Raises `InputError` naming the file."""
    return decode(content_of(path), str(path), axes=axes)


def decode(content: bytes, source: str, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of an SPZ file's bytes."""
    version, count, degree, bits, flags, streams = _header(content, source)
    check_count(count, source)
    if not 1 <= version <= 4 or degree > 4 or bits > 23:
        raise InputError(f"{source}: SPZ version {version}, degree {degree}, {bits} fractional bits; this reader knows "
                         "versions 1 to 4, degrees to 4, bits to 23")
    sizes = [count * n for n in (6 if version == 1 else 9, 1, 3, 3, 4 if version > 2 else 3, _SH_VALUES[degree])]
    if version == 4 and content.startswith(_MAGIC):
        parts, records = _parts_of_streams(content, sizes, streams=streams, source=source)
    else:
        parts, records = _parts_of_gzip(content, sizes, has_extensions=bool(flags & _HAS_EXTENSIONS), source=source)
    opacity, color, log_scale = (np.frombuffer(part, np.uint8).astype(np.float64) for part in parts[1:4])
    unpack = _from_smallest_three if version > 2 else _from_first_three
    return to_gaussians(
        source, means=_positions(parts[0], version=version, bits=bits), quats_wxyz=unpack(parts[4]),
        log_scales=log_scale.reshape(-1, 3) / 16 - 10, opacity_logits=logits_of(opacity / 255),
        sh0=(color.reshape(-1, 3) / 255 - 0.5) / COLOR_SCALE, axes=axes or _stated_axes(records) or AXES)


def harmonics(path: Path) -> int:
    """Degree of the spherical harmonics that `decode` drops."""
    return _header(content_of(path), str(path))[2]


def _header(content: bytes, source: str) -> tuple[int, int, int, int, int, int]:
    """Version, count, degree, fractional bits, flags, streams, as the file says."""
    start = _inflated(content, _HEADER.size, source)
    if len(start) < _HEADER.size or not start.startswith(_MAGIC):
        raise InputError(f"{source}: is not an SPZ file, or is cut off")
    _, version, count, degree, bits, flags, streams = _HEADER.unpack(start)
    return version, count, degree, bits, flags, streams


def _parts_of_gzip(content: bytes, sizes: list[int], *, has_extensions: bool, source: str) -> tuple[list[bytes], bytes]:
    """The attributes and the extension records of versions 1 to 3; inflates no more than the header asks for."""
    total = _HEADER.size + sum(sizes)
    extra = 1 << 16 if has_extensions else 1
    inflated = _inflated(content, total + extra, source)
    if len(inflated) < total or (len(inflated) > total and not has_extensions):
        raise InputError(f"{source}: its header asks for {total} bytes, and it holds "
                         f"{'more' if len(inflated) > total else len(inflated)}; it is damaged or cut off")
    ends = _HEADER.size + np.cumsum(sizes)
    return [inflated[end - size:end] for end, size in zip(ends, sizes, strict=True)], inflated[total:]


def _parts_of_streams(content: bytes, sizes: list[int], *, streams: int, source: str) -> tuple[list[bytes], bytes]:
    """The attributes and the extension records of version 4; inflates no more than the header asks for."""
    if len(content) < _HEADER_4_BYTES or streams not in (5, 6) or (streams == 5 and sizes[5]):
        raise InputError(f"{source}: is cut off, or has {streams} streams instead of 5 or 6")
    table, = struct.unpack_from("<I", content, _HEADER.size)
    offset = table + 16 * streams
    if not _HEADER_4_BYTES <= table <= offset <= len(content):
        raise InputError(f"{source}: its table of contents lies outside the file")
    zstd, parts = _load_zstandard(f"{source}: reading SPZ version 4"), []
    for index in range(streams):
        packed, size = struct.unpack_from("<QQ", content, table + 16 * index)
        if size != sizes[index] or packed > len(content) - offset:
            raise InputError(f"{source}: stream {index} is {size} bytes where {sizes[index]} are due, or is cut off")
        try:
            reader = zstd.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(
                io.BytesIO(content[offset:offset + packed]))
            parts.append(reader.read(size + 1))
        except zstd.ZstdError as error:
            raise InputError(f"{source}: stream {index} is damaged ({str(error)[:80]}); copy it again") from None
        if len(parts[-1]) != size:
            raise InputError(f"{source}: stream {index} holds another number of bytes than the {size} it says")
        offset += packed
    if offset != len(content):
        raise InputError(f"{source}: has {len(content) - offset} bytes after its last stream")
    return parts, content[_HEADER_4_BYTES:table]


def _stated_axes(records: bytes) -> str | None:
    """Axes of a coordinate system record, if there is one; other records are skipped."""
    offset = 0
    while offset + 8 <= len(records):
        kind, size = struct.unpack_from("<II", records, offset)
        if kind == _AXES_RECORD and size == 4 and offset + 12 <= len(records):
            value, = struct.unpack_from("<I", records, offset + 8)
            return _AXES_VALUES[value] or None if value < len(_AXES_VALUES) else None
        offset += 8 + size
    return None


def _inflated(content: bytes, limit: int, source: str) -> bytes:
    """The first `limit` bytes at most, inflated where the file is a gzip stream (some are stored plain)."""
    if limit > MAX_FILE_BYTES:
        raise InputError(f"{source}: inflates to more than {MAX_FILE_BYTES} bytes; refused")
    if not content.startswith(b"\x1f\x8b"):
        return content[:limit]
    try:
        return zlib.decompressobj(wbits=31).decompress(content, limit)
    except zlib.error as error:
        raise InputError(f"{source}: is damaged ({error}); copy it again") from None


def _positions(part: bytes, *, version: int, bits: int) -> np.ndarray:
    if version == 1:
        return np.frombuffer(part, "<f2").astype(np.float32).reshape(-1, 3)
    padded = np.zeros((len(part) // 3, 4), np.uint8)
    # In the high bytes of an int32, so that dividing by 256 extends the sign.
    padded[:, 1:] = np.frombuffer(part, np.uint8).reshape(-1, 3)
    return (padded.view("<i4").reshape(-1, 3) // 256 / 2.0 ** bits).astype(np.float32)


def _smallest_three(quats_wxyz: np.ndarray) -> bytes:
    """Two bits for the largest of xyzw, then a sign and nine bits for each of the others."""
    largest, three = quaternion_packing.split(np.roll(quats_wxyz, -1, axis=1))
    word = largest.astype(np.uint32)
    for column in three.T:
        magnitude = np.floor(511 * np.abs(column) / quaternion_packing.REACH + 0.5).astype(np.uint32)
        word = word << np.uint32(10) | (column < 0).astype(np.uint32) << np.uint32(9) | np.minimum(magnitude, 511)
    return word.astype("<u4").tobytes()


def _from_smallest_three(part: bytes) -> np.ndarray:
    words = np.frombuffer(part, "<u4").astype(np.int64)
    fields = np.stack([words >> shift & 1023 for shift in (20, 10, 0)], axis=1)
    three = np.where(fields & 512, -1.0, 1.0) * (fields & 511) * (quaternion_packing.REACH / 511)
    return np.roll(quaternion_packing.join(words >> 30, three), 1, axis=1)


def _first_three(quats_wxyz: np.ndarray) -> bytes:
    """xyz in a byte each, signed so that w, which is left out, is not negative."""
    quats = quats_wxyz.astype(np.float64)
    quats = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    return _byte(np.where(quats[:, :1] < 0, -127.5, 127.5) * quats[:, 1:] + 127.5)


def _from_first_three(part: bytes) -> np.ndarray:
    three = np.frombuffer(part, np.uint8).reshape(-1, 3) / 127.5 - 1
    w = np.sqrt(np.maximum(1 - (three ** 2).sum(axis=1, keepdims=True), 0))
    return np.concatenate([w, three], axis=1)


def _byte(values: np.ndarray) -> bytes:
    return np.clip(np.rint(values.astype(np.float64)), 0, 255).astype(np.uint8).tobytes()


def _check_version(options: ExportOptions) -> int:
    if options.spz_version not in OPENS_WITH:
        raise InputError(f"SPZ version {options.spz_version}: choose 2, 3 or 4")
    return options.spz_version


def _load_zstandard(task: str) -> Any:
    try:
        import zstandard
    except ImportError:
        raise InputError(f"{task} needs zstandard: pip install 'ani3d[formats]'") from None
    return zstandard
