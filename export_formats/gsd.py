"""`.gsd` version 1 (DazaiStudio's 4dgs-converter, MIT), played in Unreal by their SplatRenderer plugin.

`GSD1`, a u32 length, a JSON header, then per frame a u32 length and a raw LZ4 block: the frame's square textures one
after the other (position float32; rotation, scale with opacity, colour float16; four channels a pixel), the bytes of
each texture grouped by their place in the pixel. Positions are packed as (z, x, -y) of COLMAP axes (RDF), as Unreal's
are; the file's layout is that of `app/pipeline/ply_to_gsd.py` and `ply_to_raw.py`.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from export_formats import ExportOptions, Report
from export_formats.output import new_file
from export_formats.sampling import sample_rate, selected, sequence
from runtime.errors import InputError
from runtime.types import Bundle, GaussianSet

AXES = "RDF"
MAGIC = b"GSD1"
FULL, HALF = 0, 1
"""Precision codes of the header: float32, float16."""
LOST = ("the rig: every frame is written in full", "the labels",
        "rotation, size, opacity and colour beyond float16 (0.05 %)")
OPENS_WITH = "DazaiStudio SplatRenderer for Unreal 5.5 and newer (Sequencer: ScrubFrame)"
_UNREAL_PER_METRE = 100.0


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """Every sampled frame. Raises `InputError` where the package lz4 is missing or nothing can be written."""
    compress = _load_lz4(path)
    frames: list[dict[str, Any]] = []
    # The header names every frame's size and comes first: frames wait in a file of no name.
    with new_file(path) as part, tempfile.TemporaryFile(dir=part.parent) as blobs:
        for gaussians in sequence(bundle, options, axes=AXES):
            block = compress(pack(gaussians), store_size=False)
            blobs.write(struct.pack("<I", len(block)))
            blobs.write(block)
            frames.append(_about(gaussians, len(block)))
        header = json.dumps(_header(bundle, options, frames), separators=(",", ":")).encode("ascii")
        with part.open("wb") as file:
            file.write(MAGIC + struct.pack("<I", len(header)) + header)
            _append(blobs, file)
    return Report(path=path, size_bytes=path.stat().st_size, frames=len(frames), lost=LOST, opens_with=OPENS_WITH)


def pack(gaussians: GaussianSet) -> bytes:
    """A frame's textures, before LZ4. The Gaussians are in COLMAP axes."""
    count = gaussians.count
    pixels = _texture_size(count) ** 2
    quats = gaussians.quats_wxyz / np.linalg.norm(gaussians.quats_wxyz, axis=1, keepdims=True)
    means, scales = gaussians.means, np.exp(gaussians.log_scales)
    textures = [np.zeros((pixels, 4), np.float32) for _ in range(4)]
    position, rotation, size, color = textures
    position[:count, :3] = np.stack([means[:, 2], means[:, 0], -means[:, 1]], axis=1)
    rotation[:count] = np.stack([quats[:, 3], quats[:, 1], -quats[:, 2], quats[:, 0]], axis=1)
    size[:count] = np.stack([scales[:, 2], scales[:, 0], scales[:, 1], gaussians.opacities], axis=1)
    color[:count, :3] = gaussians.sh0
    # Pixels that hold no Gaussian, as the converter leaves them.
    position[count:, 3] = rotation[count:, 3] = 1.0
    return b"".join(_grouped(texture.astype(np.float32 if texture is position else np.float16))
                    for texture in textures)


def _grouped(texture: np.ndarray) -> bytes:
    """All first bytes of the pixels, then all second ones, and so on."""
    pixels = np.ascontiguousarray(texture.astype(texture.dtype.newbyteorder("<"))).view(np.uint8)
    return np.ascontiguousarray(pixels.reshape(len(texture), -1).T).tobytes()


def _texture_size(count: int) -> int:
    return math.isqrt(count - 1) + 1


def _about(gaussians: GaussianSet, compressed: int) -> dict[str, Any]:
    """A frame's line in the header; bounds in Unreal's axes and centimetres."""
    means = gaussians.means
    unreal = np.stack([means[:, 2], means[:, 0], -means[:, 1]], axis=1) * np.float32(_UNREAL_PER_METRE)
    size = _texture_size(gaussians.count)
    low, high = unreal.min(axis=0).tolist(), unreal.max(axis=0).tolist()
    return {"compressedSize": compressed, "textureWidth": size, "textureHeight": size,
            "gaussianCount": gaussians.count, "minPosition": dict(zip("xyz", low, strict=True)),
            "maxPosition": dict(zip("xyz", high, strict=True))}


def _header(bundle: Bundle, options: ExportOptions, frames: list[dict[str, Any]]) -> dict[str, Any]:
    first = frames[0]
    return {"version": 1, "compression": "shuffle_lz4", "sequenceName": bundle.clips[options.clip].name,
            "frameCount": len(frames), "targetFPS": sample_rate(selected(bundle, options), options), "shDegree": 0,
            "textureWidth": first["textureWidth"], "textureHeight": first["textureHeight"],
            "gaussianCount": first["gaussianCount"], "positionPrecision": FULL, "rotationPrecision": HALF,
            "scaleOpacityPrecision": HALF, "shPrecision": HALF, "frames": frames}


def _append(blobs: BinaryIO, file: BinaryIO) -> None:
    blobs.seek(0)
    shutil.copyfileobj(blobs, file)


def _load_lz4(path: Path) -> Any:
    """`lz4.block.compress`, or an error that names the extra."""
    try:
        import lz4.block
    except ImportError:
        raise InputError(f"{path}: writing .gsd needs lz4; pip install 'ani3d[formats]'") from None
    return lz4.block.compress
