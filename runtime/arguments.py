"""Kinds of arguments of the `ani3d` command that several packages read. Each raises argparse's error for bad text."""

from __future__ import annotations

import argparse
import math
from pathlib import Path


def parse_bundle(text: str) -> Path:
    """A bundle's path; of a bake's folder, the bundle that it made."""
    path = Path(text)
    if not (path / "000_sources").is_dir():
        return path
    made = sorted(path.glob("060_bundle/*.ani3d"))
    if not made:
        raise argparse.ArgumentTypeError(f"{text}: this bake is not finished; its `ani3d bake` command continues it")
    return made[0]


def parse_size(text: str) -> tuple[int, int]:
    """`480x832` to (480, 832)."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a size as 480x832") from None
    if not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise argparse.ArgumentTypeError(f"{text!r}: each side must be 16..8192 pixels")
    return width, height


def parse_count(text: str) -> int:
    """A number of at least one."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number of at least 1")
    return int(text)


def parse_number(text: str) -> float:
    """A finite number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r}: write a number")
    return number


def parse_seconds(text: str) -> float:
    """A length of time, up to an hour."""
    seconds = parse_number(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: write seconds, above 0 and up to 3600")
    return seconds


def parse_range(text: str) -> tuple[int, int]:
    """`0:90` to (0, 90)."""
    try:
        start, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a range as 0:90") from None
    if not 0 <= start < stop:
        raise argparse.ArgumentTypeError(f"{text!r}: the range is empty")
    return start, stop


def parse_color(text: str) -> tuple[float, float, float]:
    """`1,1,1` to (1.0, 1.0, 1.0)."""
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write a colour as 0.5,0.5,0.5") from None
    if not all(0 <= channel <= 1 for channel in (red, green, blue)):
        raise argparse.ArgumentTypeError(f"{text!r}: each channel must be in 0..1")
    return red, green, blue
