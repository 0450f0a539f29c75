"""PNG and JPEG, for pictures of a result. PNG keeps every pixel; JPEG loses what no eye sees at its quality of 95."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from export_formats import Report
from export_formats.output import new_file
from runtime.errors import InputError

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Ending to Pillow's name of the format."""


def write_picture(pixels: UInt8[np.ndarray, "H X 3"], path: Path | str) -> Report:
    """Write sRGB pixels as the path's ending says; the file appears when it is complete.

    Raises `InputError` for another ending, and where the path cannot be written.
    """
    from PIL import Image

    path = Path(path)
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: a picture's name ends with {', '.join(KINDS)}")
    with new_file(path) as part:
        # Full-resolution chroma: halved, it blurs the edge of a red skirt by a pixel. PNG ignores both.
        Image.fromarray(pixels).save(part, format=kind, quality=95, subsampling=0)
    lost = ("differences of a few 8-bit steps",) if kind == "JPEG" else ()
    return Report(path=path, size_bytes=path.stat().st_size, frames=1, lost=lost)
