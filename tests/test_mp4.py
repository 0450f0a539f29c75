"""MP4 files: what goes in comes out, sizes and failures."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export_formats.mp4 import write_mp4
from runtime.errors import InputError

av = pytest.importorskip("av", reason="pip install 'ani3d[export]'")


def ramps(count: int = 7, size: tuple[int, int] = (96, 64)) -> list[np.ndarray]:
    """Smooth colour ramps that shift over time."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    return [np.stack([40 + x, 60 + 2 * y, np.full_like(x, 30 + 20 * t)], -1).astype(np.uint8) for t in range(count)]


def decoded(path: Path) -> tuple[np.ndarray, Any]:
    """All frames as RGB, and the video stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]), stream


@pytest.mark.parametrize("fps", [30.0, 24.0, 29.97, 12.5])
def test_frames_come_back_with_their_colours_count_and_rate(tmp_path: Path, fps: float) -> None:
    report = write_mp4(ramps(), tmp_path / "a.mp4", fps=fps, size=(96, 64))
    back, stream = decoded(tmp_path / "a.mp4")
    assert report.frames == 7 and report.size_bytes == (tmp_path / "a.mp4").stat().st_size and report.lost
    assert back.shape == (7, 64, 96, 3)
    assert float(stream.average_rate) == pytest.approx(fps, rel=1e-3)
    assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
    # Worst measured on these ramps: mean 0.9, maximum 5 (4:2:0 chroma and crf 18).
    error = np.abs(back.astype(int) - np.stack(ramps()).astype(int))
    assert error.mean() < 2 and error.max() <= 12


def test_the_index_is_before_the_pictures_so_that_browsers_start_at_once(tmp_path: Path) -> None:
    write_mp4(ramps(), tmp_path / "a.mp4", fps=30, size=(96, 64))
    content = (tmp_path / "a.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_mp4(iter(ramps()), tmp_path / name, fps=30, size=(96, 64))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("size", [(95, 64), (96, 63), (0, 0), (10_000, 64)])
def test_sizes_an_mp4_cannot_have_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"a\.mp4: an mp4 is 2 to 8192"):
        write_mp4([], tmp_path / "a.mp4", fps=30, size=size)


def test_failures_leave_nothing_and_keep_what_was_there(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from ramps(3)
        raise RuntimeError("renderer stopped")

    target = tmp_path / "a.mp4"
    target.write_bytes(b"kept")
    with pytest.raises(RuntimeError, match="renderer stopped"):
        write_mp4(broken(), target, fps=30, size=(96, 64))
    with pytest.raises(InputError, match="no frames"):
        write_mp4([], target, fps=30, size=(96, 64))
    with pytest.raises(ValueError, match="frame 0 is"):
        write_mp4(ramps(size=(64, 64)), target, fps=30, size=(96, 64))
    with pytest.raises(InputError, match="cannot be written"):
        write_mp4(ramps(), tmp_path / "absent" / "a.mp4", fps=30, size=(96, 64))
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InputError, match=r"folder\.mp4: cannot be written"):
        write_mp4(ramps(), tmp_path / "folder.mp4", fps=30, size=(96, 64))
    assert target.read_bytes() == b"kept" and sorted(tmp_path.iterdir()) == [target, tmp_path / "folder.mp4"]


def test_without_pyav_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_av(name: str, *rest: Any, **named: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(InputError, match=r"ani3d\[export\]"):
        write_mp4(ramps(), tmp_path / "a.mp4", fps=30, size=(96, 64))
