"""Numbered files, one a frame: what every splat player without an animation format of its own can show.

The names (`frame_0000.ply`, …) are those that SuperSplat, PlayCanvas's flipbook, MLSLabs and UnrealSplat group.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from export_formats import ExportOptions, Report
from export_formats.output import new_folder, size_of
from export_formats.sampling import sample_rate, sample_times, sequence
from runtime.types import Bundle

SUFFIXES = {"ply": ".ply", "compressed_ply": ".compressed.ply", "spz": ".spz", "sog": ".sog"}
"""Module of a still format -> suffix of its files."""
_DIGITS = 4


def writer(format_module: str) -> Callable[[Bundle, Path, ExportOptions], Report]:
    """The writer of sequences of a still format, named by its module."""
    still = import_module(f"export_formats.{format_module}")
    suffix = SUFFIXES[format_module]

    def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
        fps, count = sample_rate(bundle, options), len(sample_times(bundle, options))
        digits = max(_DIGITS, len(str(count - 1)))
        with new_folder(path, owned=rf"frame_\d+{suffix.replace('.', '[.]')}") as folder:
            for index, gaussians in enumerate(sequence(bundle, options, axes=still.AXES)):
                (folder / f"frame_{index:0{digits}}{suffix}").write_bytes(still.encode(gaussians, options))
        lost = still.lost(options) if hasattr(still, "lost") else still.LOST
        opens_with = still.opens_with(options) if hasattr(still, "opens_with") else still.OPENS_WITH
        return Report(path=path, size_bytes=size_of(path), frames=count,
                      lost=(f"the frame rate: tell the player {fps:g} frames a second",
                            "the rig and the labels: every frame is a set of Gaussians of its own", *lost[1:]),
                      opens_with=opens_with)

    return write
