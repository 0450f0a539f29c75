"""H.264 in MP4, for pictures of a result: plays in browsers, phones and slides.

It cannot hold transparency, more than 8 bits a channel, full-resolution chroma, or odd sizes.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from export_formats import Report
from export_formats.output import new_file
from runtime.errors import InputError

CRF = 18
"""x264's constant rate factor: visually lossless by its authors' own words."""
THREADS = 1
"""x264's output depends on the number of threads, and with two it was once seen to differ between equal runs."""
_BT709 = 1
_SRGB_TRANSFER = 13


def write_mp4(frames: Iterable[UInt8[np.ndarray, "H X 3"]], path: Path | str, *, fps: int | float,
              size: tuple[int, int]) -> Report:
    """Write sRGB frames of `size` (width, height), both even; the file appears when it is complete.

    The same frames give the same bytes with the same PyAV. Raises `InputError` when the `export` extra is
    missing, the size is odd, there are no frames, or the path cannot be written.
    """
    path, (width, height) = Path(path), size
    av = _load_av(path)
    if width % 2 or height % 2 or min(size) < 2 or max(size) > 8192:
        raise InputError(f"{path}: an mp4 is 2 to 8192 pixels wide and high, both even, not {width}x{height}")
    # faststart: the index comes first, so that a browser plays before all has arrived.
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with new_file(path) as part:
        with av.open(str(part), "w", format="mp4", options=options) as container:
            count = _encode(av, container, frames, fps=fps, size=size)
        if count == 0:
            raise InputError(f"{path}: there are no frames to write")
    lost = ("chroma at half the width and height", "differences of about one 8-bit step (crf 18)")
    return Report(path=path, size_bytes=path.stat().st_size, frames=count, lost=lost)


def _load_av(path: Path) -> Any:
    """PyAV, or an error that names the extra."""
    try:
        import av
    except ImportError:
        raise InputError(f"{path}: writing video needs PyAV; pip install 'ani3d[export]'") from None
    return av


def _encode(av: Any, container: Any, frames: Iterable[np.ndarray], *, fps: int | float, size: tuple[int, int]) -> int:
    """Encode all frames into an open container; returns their number."""
    width, height = size
    rate = Fraction(fps).limit_denominator(1001)
    stream = container.add_stream("libx264", rate=rate, options={"crf": str(CRF), "preset": "medium"})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    codec = stream.codec_context
    codec.thread_count, codec.flags = THREADS, codec.flags | av.codec.context.Flags.bitexact
    codec.color_range, codec.colorspace, codec.color_primaries = _BT709, _BT709, _BT709
    codec.color_trc = _SRGB_TRANSFER
    count = 0
    for frame in frames:
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"frame {count} is {frame.dtype} {frame.shape}, not uint8 ({height}, {width}, 3)")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        picture.pts, picture.time_base = count, 1 / rate
        container.mux(stream.encode(picture))
        count += 1
    if count:
        container.mux(stream.encode(None))
    return count
