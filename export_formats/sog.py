"""SOG version 2 (PlayCanvas): a zip of lossless WebP pictures, one pixel a Gaussian, and `meta.json`.

Positions are 16 bits of sign(x) ln(|x| + 1) between their bounds, log scales and colours are entries of two codebooks
of 256, opacity has 8 bits, quaternions are the smallest three of wxyz, 8 bits each. Rows keep their order.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from export_formats import ExportOptions, Report, quaternion_packing
from export_formats.axes import check as check_axes
from export_formats.sampling import still
from export_formats.splats import MAX_SPLATS, check_count, content_of, logits_of, to_gaussians
from runtime.archive import write_atomically
from runtime.errors import InputError
from runtime.types import Bundle, GaussianSet

AXES = "LDB"
"""PlayCanvas turns what it calls PLY space by 180 degrees about z."""
LOST = ("the rig, the motion and the labels: one frame is written",
        "positions beyond 2^-16 of the figure's (logarithmic) extent, opacities beyond 0.002, angles beyond 1 degree",
        "scales and colours beyond the nearest of 256 values each")
OPENS_WITH = "SuperSplat, PlayCanvas, Spark and Babylon.js (turn 180 degrees about z; SuperSplat does)"
CODEBOOK = 256
_LLOYD_ROUNDS = 12
"""Rounds of one-dimensional k-means: the error falls by less than a hundredth after ten."""
_MAX_META_BYTES = 1 << 20
_FIRST_TAG = 252
"""Alpha of a quaternion's pixel is this plus the place of the largest component."""
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,80}")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, SyntaxError, NotImplementedError, KeyError,
            RuntimeError, OverflowError, IndexError)
"""What zipfile and Pillow raise on damaged input."""


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """One frame; see `encode`."""
    content = encode(still(bundle, options, axes=AXES), options)
    write_atomically(path, content)
    return Report(path=path, size_bytes=len(content), frames=1, lost=LOST, opens_with=OPENS_WITH)


def encode(gaussians: GaussianSet, options: ExportOptions) -> bytes:
    """The `.sog` file of Gaussians that are in the written axes already."""
    count = gaussians.count
    width = math.ceil(math.sqrt(count) / 4) * 4
    height = math.ceil(count / width / 4) * 4
    logs = _to_log(gaussians.means.astype(np.float64))
    low, high = logs.min(axis=0), logs.max(axis=0)
    words = np.rint((logs - low) / np.where(high > low, high - low, 1) * 65535).astype(np.uint16)
    scale_codes, scale_places = _quantise(np.clip(gaussians.log_scales, -30, 10))
    color_codes, color_places = _quantise(gaussians.sh0)
    largest, three = quaternion_packing.split(gaussians.quats_wxyz)
    quats = np.rint((three / quaternion_packing.REACH * 0.5 + 0.5) * 255)
    opacities = np.rint(gaussians.opacities.astype(np.float64) * 255)
    pictures = {
        "means_l": words & 255, "means_u": words >> 8, "scales": scale_places,
        "quats": np.column_stack([quats, largest + _FIRST_TAG]), "sh0": np.column_stack([color_places, opacities])}
    meta = {
        "version": 2, "count": count,
        "asset": {"generator": "ani3d", "axes": check_axes(options.axes or AXES)},
        "means": {"mins": low.tolist(), "maxs": high.tolist(), "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": scale_codes.tolist(), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": color_codes.tolist(), "files": ["sh0.webp"]}}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", allowZip64=False) as archive:
        entries = {"meta.json": json.dumps(meta, allow_nan=False).encode("ascii")}
        entries |= {f"{name}.webp": _webp(values, width=width, height=height) for name, values in pictures.items()}
        for name, content in entries.items():
            # A fixed date: equal Gaussians give equal bytes.
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_STORED)
    return buffer.getvalue()


def read(path: Path, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a `.sog` file, or of the folder or `meta.json` of an unpacked one. Raises `InputError`."""
    if (folder := _folder(path)) is not None:
        return _decode(lambda name: content_of(folder / name), str(path), axes=axes)
    return decode(content_of(path), str(path), axes=axes)


def decode(content: bytes, source: str, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a `.sog` file's bytes."""
    return _decode(_entries(content, source), source, axes=axes)


def harmonics(path: Path) -> int:
    """Degree of the spherical harmonics that `read` drops."""
    folder, source = _folder(path), str(path)
    entry = _entries(content_of(path), source) if folder is None else lambda name: content_of(folder / name)
    bands = _meta(entry("meta.json"), source).get("shN", {})
    return bands.get("bands", 0) if isinstance(bands, dict) and bands.get("bands") in (1, 2, 3) else 0


def _folder(path: Path) -> Path | None:
    """The folder of an unpacked file, if it is one."""
    return path if path.is_dir() else path.parent if path.name == "meta.json" else None


def _entries(content: bytes, source: str) -> Callable[[str], bytes]:
    """What reads an entry of a `.sog` file by name."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _DAMAGED:
        raise InputError(f"{source}: is not a .sog file (a zip), or is cut off") from None

    def entry(name: str) -> bytes:
        try:
            info = archive.getinfo(name)
            # Pictures do not deflate further: a stored entry is never larger than the file.
            if info.file_size > 4 * len(content) + _MAX_META_BYTES:
                raise InputError(f"{source}/{name}: would inflate to {info.file_size} bytes; refused")
            return archive.read(info)
        except InputError:
            raise
        except _DAMAGED as error:
            raise InputError(f"{source}/{name}: is missing or damaged ({str(error)[:80]})") from None

    return entry


def _decode(entry: Callable[[str], bytes], source: str, *, axes: str | None) -> GaussianSet:
    """Gaussians of named files; spherical harmonics above degree 0 are not opened."""
    meta = _meta(entry("meta.json"), source)
    count = meta["count"]

    def pixels(group: str, index: int, channels: int) -> np.ndarray:
        return _pixels(entry(meta[group]["files"][index]), count=count, channels=channels,
                       source=f"{source}/{meta[group]['files'][index]}")

    low, high = (np.array(meta["means"][key], np.float64) for key in ("mins", "maxs"))
    words = pixels("means", 0, 3).astype(np.uint16) | pixels("means", 1, 3).astype(np.uint16) << 8
    extent = np.where(high > low, high - low, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        means = _from_log(low + extent * (words / 65535))
    quats = pixels("quats", 0, 4).astype(np.int64)
    if (quats[:, 3] < _FIRST_TAG).any():
        raise InputError(f"{source}: a rotation names no largest component; the file is damaged")
    three = (quats[:, :3] / 255 - 0.5) * (2 * quaternion_packing.REACH)
    color = pixels("sh0", 0, 4)
    stated = meta["asset"].get("axes") if isinstance(meta.get("asset"), dict) else None
    return to_gaussians(
        source, means=means, quats_wxyz=quaternion_packing.join(quats[:, 3] - _FIRST_TAG, three),
        log_scales=np.array(meta["scales"]["codebook"], np.float64)[pixels("scales", 0, 3)],
        opacity_logits=logits_of(color[:, 3] / 255.0), sh0=np.array(meta["sh0"]["codebook"], np.float64)[color[:, :3]],
        axes=axes or (stated if isinstance(stated, str) else None) or AXES)


def _meta(content: bytes, source: str) -> dict[str, Any]:
    """meta.json, with everything checked that `_decode` takes from it."""
    try:
        if len(content) > _MAX_META_BYTES:
            raise ValueError(f"more than {_MAX_META_BYTES} bytes")
        meta = json.loads(content)
        if meta.get("version") != 2:
            raise InputError(f"{source}: SOG version {str(meta.get('version'))[:20]}, this reader knows 2")
        if type(meta["count"]) is not int:
            raise ValueError("count is not a number")
        for group, files, numbers in (("means", 2, ("mins", "maxs")), ("scales", 1, ("codebook",)),
                                      ("quats", 1, ()), ("sh0", 1, ("codebook",))):
            names = meta[group]["files"]
            if not isinstance(names, list) or len(names) < files or not all(
                    isinstance(name, str) and _FILE_NAME.fullmatch(name) for name in names):
                raise ValueError(f"{group} has no usable file names")
            for key in numbers:
                values = np.array(meta[group][key], np.float64)
                if values.shape != ((CODEBOOK,) if key == "codebook" else (3,)) or not np.isfinite(values).all():
                    raise ValueError(f"{group} {key} is not {values.shape} finite numbers")
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise InputError(f"{source}/meta.json: cannot be used: {str(error)[:120]}") from None
    check_count(meta["count"], source)
    return meta


def _pixels(content: bytes, *, count: int, channels: int, source: str) -> np.ndarray:
    """The first `count` pixels [count, channels] of a WebP; its size is checked before it is decoded."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as image:
            area = image.width * image.height
            if not count <= area <= 4 * max(count, 4096) or area > 4 * MAX_SPLATS:
                raise InputError(f"{source}: {image.width} x {image.height} pixels for {count} Gaussians; damaged")
            array = np.asarray(image.convert("RGBA"))
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"{source}: is no WebP picture, or damaged ({str(error)[:80]})") from None
    return array.reshape(-1, 4)[:count, :channels]


def _webp(values: np.ndarray, *, width: int, height: int) -> bytes:
    """A lossless WebP of rows [N 3 or 4], padded with zeros; RGB is kept where alpha is 0."""
    from PIL import Image

    channels = values.shape[1]
    picture = np.zeros((width * height, channels), np.uint8)
    picture[:len(values)] = values
    buffer = io.BytesIO()
    image = Image.fromarray(picture.reshape(height, width, channels))
    # Effort 1, quality 50 is within 1 % of effort 6 and quality 100, which takes 300 times as long.
    image.save(buffer, "WEBP", lossless=True, exact=True, quality=50, method=1)
    return buffer.getvalue()


def _quantise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """256 ascending values and, for each input, the place of the nearest (one-dimensional k-means)."""
    ordered = np.sort(values.astype(np.float64), axis=None)
    distinct = np.unique(ordered)
    if len(distinct) <= CODEBOOK:
        codes = np.concatenate([distinct, np.full(CODEBOOK - len(distinct), distinct[-1])])
    else:
        # Half from quantiles and half evenly spread, so that rare values have one near them too.
        codes = np.sort(np.concatenate([np.quantile(ordered, np.linspace(0, 1, CODEBOOK // 2)),
                                        np.linspace(ordered[0], ordered[-1], CODEBOOK // 2 + 2)[1:-1]]))
        sums = np.concatenate([[0.0], np.cumsum(ordered)])
        for _ in range(_LLOYD_ROUNDS):
            edges = np.searchsorted(ordered, (codes[1:] + codes[:-1]) / 2)
            starts, stops = np.concatenate([[0], edges]), np.concatenate([edges, [len(ordered)]])
            members = stops - starts
            codes = np.where(members > 0, (sums[stops] - sums[starts]) / np.maximum(members, 1), codes)
            codes = np.sort(codes)
    codes = codes.astype(np.float32).astype(np.float64)
    return codes, np.searchsorted((codes[1:] + codes[:-1]) / 2, values).astype(np.uint8)


def _to_log(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values))


def _from_log(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.expm1(np.abs(values))
