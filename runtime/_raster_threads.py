"""Kernels over tiles or Gaussians on all cores.

Compiled functions that release Python's lock, on a pool of Python threads, instead of numba's own `prange`: it
compiles 2.5x faster, hands small pieces to whoever is free (the figure is in the middle of the image), and any number
of Python threads may draw at once, where numba's `workqueue` layer ends the process.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import config

PIECES_PER_THREAD = 8
"""Pieces of work per thread: small enough to even out, large enough to hide a call's 20 microseconds."""


def run(kernel: Callable[..., None], count: int, *args: Any) -> None:
    """`kernel(begin, end, *args)` over ranges that cover `0..count`. Pieces must not write to the same place.

    As many threads as numba would use (`NUMBA_NUM_THREADS`, or the cores this process may run on).
    """
    threads = _threads()
    pieces = min(count, threads * PIECES_PER_THREAD) if threads > 1 else 1
    edges = [count * i // pieces for i in range(pieces + 1)] if pieces else []
    # One iterator for all: whoever is free takes the next piece.
    todo = iter(list(itertools.pairwise(edges)))
    _together(min(threads, pieces), lambda: _drain(todo, kernel, args))


def run_taking(kernel: Callable[..., None], count: int, *args: Any) -> None:
    """`kernel(counter, count, *args)`, once per thread: it takes its pieces from `counter` itself (see
    `_simd.take`), as small as a tile, at a nanosecond each."""
    counter = np.zeros(1, np.int64)
    _together(_threads(), lambda: kernel(counter, count, *args))


def _together(threads: int, work: Callable[[], None]) -> None:
    others = [_pool().submit(work) for _ in range(threads - 1)]
    # The caller works too, so a busy pool only slows.
    work()
    for other in others:
        if not other.cancel():
            other.result()


def _drain(todo: Iterator[tuple[int, int]], kernel: Callable[..., None], args: tuple[Any, ...]) -> None:
    for begin, end in todo:
        kernel(begin, end, *args)


def _threads() -> int:
    return vars(config)["NUMBA_NUM_THREADS"]  # numba sets it in a way that type checkers do not follow


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(_threads() - 1, 1), thread_name_prefix="raster")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
