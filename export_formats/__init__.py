"""One file per format: `write(..., path) -> Report`, and `read(path)` where the format allows. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """What a writer wrote, and what the format could not hold."""

    path: Path
    """The file or folder."""
    size_bytes: int
    """All of it."""
    frames: int
    """Frames or pictures written."""
    lost: tuple[str, ...] = ()
    """One line for each kind of thing dropped or rounded beyond sight."""
