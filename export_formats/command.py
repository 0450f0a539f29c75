"""What `ani3d export` does: reads the bundle, writes the format, and says what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export_formats import WRITERS, ExportOptions, Report, write
from runtime.bundle import read_bundle
from runtime.errors import InputError


def export(bundle: Path, output: Path, *, to: str, options: ExportOptions) -> Report:
    """Write the bundle file `bundle` to `output` in the format called `to`. Raises `InputError`."""
    if to not in WRITERS:
        raise InputError(f"export format {to!r}: choose {', '.join(WRITERS)}")
    if not output.parent.is_dir():
        raise InputError(f"{output}: cannot be written: there is no folder {output.parent}")
    if output.exists() and output.samefile(bundle):
        raise InputError(f"{output}: is the bundle itself; choose another name")
    return write(read_bundle(bundle), output, to=to, options=options)


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values."""
    return {"path": str(report.path), "size_bytes": report.size_bytes, "frames": report.frames,
            "lost": list(report.lost), "opens_with": report.opens_with}


def as_text(report: Report) -> str:
    """The report as a table for a terminal."""
    size = _size(report.size_bytes)
    if report.frames > 1:
        size += f", {report.frames} frames, {_size(report.size_bytes / report.frames)} a frame"
    rows = [("written", str(report.path)), ("size", size)]
    rows += [("not in it" if index == 0 else "", line) for index, line in enumerate(report.lost)]
    if report.opens_with:
        rows.append(("opens with", report.opens_with))
    return "\n".join(f"{name:11} {value}" for name, value in rows)


def _size(size_bytes: int | float) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size_bytes >= step:
            return f"{size_bytes / step:.1f} {unit}"
    return f"{size_bytes:.0f} bytes"
