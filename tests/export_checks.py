"""What the tests of splat formats share: rows matched across orders, errors against bounds from the bits, poison."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import export_formats
from runtime.errors import InputError
from runtime.types import GaussianSet

OPACITY_8_BITS = 0.5 / 255 + 1e-6
"""Largest error of an opacity in a byte."""


@dataclass(frozen=True)
class Bounds:
    """Largest errors a format may make, derived from its bits."""

    position: float | np.ndarray = 0.0
    """[m], of one coordinate."""
    log_scale: float = 0.0
    angle: float = 2e-6
    """[rad]. A few float32 roundings where the format keeps floats."""
    opacity: float = 0.0
    color: float = 0.0
    """Of one channel in [0, 1]."""


def match(gaussians: GaussianSet, truth: GaussianSet) -> GaussianSet:
    """`truth` in the order of `gaussians`, by nearest centre; a failure unless that is one to one."""
    distance = np.linalg.norm(gaussians.means[:, None].astype(np.float64) - truth.means[None], axis=2)
    rows = distance.argmin(axis=1)
    assert gaussians.count == truth.count and len(np.unique(rows)) == truth.count
    return truth.take(rows)


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle [rad] between rotations, exact for small ones: |a - b| or |a + b| is 2 sin(angle / 4)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    chord = np.minimum(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
    return 4 * np.arcsin(np.minimum(chord / 2, 1))


def assert_within(gaussians: GaussianSet, truth: GaussianSet, bounds: Bounds, *, ordered: bool = True) -> None:
    """Every value is as near to the truth as the format's bits allow."""
    truth = truth if ordered else match(gaussians, truth)
    assert gaussians.count == truth.count
    assert (np.abs(gaussians.means.astype(np.float64) - truth.means) <= bounds.position).all()
    assert np.abs(gaussians.log_scales - truth.log_scales).max() <= bounds.log_scale + 2e-6
    assert angles(gaussians.quats_wxyz, truth.quats_wxyz).max() <= bounds.angle
    assert np.abs(gaussians.opacities - truth.opacities).max() <= bounds.opacity + 1e-6
    assert np.abs(gaussians.colors - truth.colors).max() <= bounds.color + 1e-6
    assert (gaussians.labels == 0).all()


def refuse_poison(content: bytes, path: Path, read: Callable[[Path], GaussianSet], *, mutations: int,
                  seed: int = 0, head: int = 400, memory: int = 64 << 20) -> None:
    """Cut, lengthen and mutate a good file hundreds of times.

    Each is refused with an `InputError` of one line that names the file, or read as sound Gaussians (a changed bit of
    a colour is a colour); no other exception, and no more memory than `memory`, whatever a header claims.
    """
    rng = np.random.default_rng(seed)
    refused = 0
    tracemalloc.start()
    try:
        for index in range(mutations):
            changed = bytearray(content)
            kind = index % 4
            if kind == 0:
                changed = changed[:int(rng.integers(0, len(changed)))]
            elif kind == 1:
                changed += bytes(rng.integers(0, 256, int(rng.integers(1, 50)), dtype=np.uint8))
            else:
                span = min(head, len(changed)) if kind == 2 else len(changed)
                start, size = int(rng.integers(0, span)), int(rng.integers(1, 5))
                fill = bytes([255]) * size if rng.integers(2) else bytes(rng.integers(0, 256, size, dtype=np.uint8))
                changed[start:start + size] = fill
            path.write_bytes(changed)
            tracemalloc.reset_peak()
            try:
                read(path).check(str(path))
            except InputError as error:
                refused += 1
                assert path.name in str(error) and "\n" not in str(error) and len(str(error)) < 600
            with contextlib.suppress(InputError):
                export_formats.dropped(path)
            assert tracemalloc.get_traced_memory()[1] < memory, f"mutation {index}"
    finally:
        tracemalloc.stop()
    # Cutting always damages, so that at least that quarter is refused.
    assert refused >= mutations // 4 - 2


def refused(path: Path, content: bytes, read: Callable[[Path], GaussianSet], word: str) -> None:
    """`content` is refused with the file's name and `word`."""
    path.write_bytes(content)
    with pytest.raises(InputError, match=word) as error:
        read(path)
    assert path.name in str(error.value) and "\n" not in str(error.value)
