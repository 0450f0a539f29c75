"""OpenEXR 2 pictures: RGBA scan lines of half or float, zip-compressed. Written from the format's specification."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_MAGIC, _VERSION = 20000630, 2
_ZIP, _LINES_PER_CHUNK = 3, 16
_PIXEL_TYPES = {np.dtype("<f2"): 1, np.dtype("<f4"): 2}
_CHANNELS = "ABGR"
"""Channels are stored in the order of their names."""


def encode(picture: np.ndarray) -> bytes:
    """The file of a picture [H X 4] of R, G, B, A, float16 or float32; row 0 is the top."""
    height, width, _ = picture.shape
    kind = _PIXEL_TYPES[picture.dtype]
    channels = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", kind, 0, 1, 1) for name in _CHANNELS) + b"\0"
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    header = struct.pack("<ii", _MAGIC, _VERSION) + b"".join([
        _attribute("channels", "chlist", channels), _attribute("compression", "compression", bytes([_ZIP])),
        _attribute("dataWindow", "box2i", window), _attribute("displayWindow", "box2i", window),
        _attribute("lineOrder", "lineOrder", b"\0"), _attribute("pixelAspectRatio", "float", struct.pack("<f", 1)),
        _attribute("screenWindowCenter", "v2f", struct.pack("<ff", 0, 0)),
        _attribute("screenWindowWidth", "float", struct.pack("<f", 1))]) + b"\0"
    chunks = []
    for top in range(0, height, _LINES_PER_CHUNK):
        # Scan line by scan line, and in each the channels one after the other.
        lines = np.ascontiguousarray(picture[top:top + _LINES_PER_CHUNK, :, ::-1].transpose(0, 2, 1))
        content = _compress(lines.tobytes())
        chunks.append(struct.pack("<ii", top, len(content)) + content)
    start = len(header) + 8 * len(chunks)
    offsets = start + np.cumsum([0, *(len(chunk) for chunk in chunks[:-1])])
    return header + offsets.astype("<u8").tobytes() + b"".join(chunks)


def _attribute(name: str, kind: str, value: bytes) -> bytes:
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value


def _compress(content: bytes) -> bytes:
    """Bytes of even places, then of odd ones, as differences, deflated; as they are where that is not smaller."""
    raw = np.frombuffer(content, np.uint8)
    shuffled = np.concatenate([raw[0::2], raw[1::2]])
    differences = shuffled.copy()
    differences[1:] = shuffled[1:] - shuffled[:-1] + np.uint8(128)
    packed = zlib.compress(differences.tobytes(), 6)
    return packed if len(packed) < len(content) else content
