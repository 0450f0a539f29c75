"""One numba function per channel count, from one text.

A blending kernel is fast only when its channel loop is unrolled into scalars: with a run-time channel count the
compiler cannot prove that colours and accumulators do not overlap, and drops vector instructions (6x slower,
facts §4). So a kernel is written once as a text in which every line that mentions `$c` stands for one line per
channel, and `$K` for the number of channels.

The text is compiled under the file name of the module that holds it. numba's on-disk cache then treats the result
like any function of that module: it lies in the module's `__pycache__` (in the user's cache folder when the
installation is read-only) and is dropped when the module's file changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

MAX_CHANNELS = 64
"""Most channels of one kernel: compile time and registers grow with them."""


def expand(template: str, *, channels: int) -> str:
    """The text of a kernel for `channels` channels."""
    lines: list[str] = []
    for line in template.replace("$K", str(channels)).splitlines():
        lines += [line.replace("$c", str(c)) for c in range(channels)] if "$c" in line else [line]
    return "\n".join(lines) + "\n"


def specialise(template: str, *, channels: int, module: dict[str, Any], options: dict[str, Any]) -> Callable[..., Any]:
    """The kernel `kernel_$K` of a template, compiled by numba with `options`; `module` is its module's globals."""
    if not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"{channels} channels: between 1 and {MAX_CHANNELS} can be blended in one pass")
    code = compile(expand(template, channels=channels), module["__file__"], "exec")
    # `__name__` of these globals is what a cached function re-imports; a copy keeps the module free of the names.
    scope = dict(module)
    exec(code, scope)  # our own text above, no outside input
    return compiled(**options)(scope[f"kernel_{channels}"])


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`numba.njit(cache=True, nogil=True, ...)` as a decorator; without the cache where no folder can be written.

    Kernels also wear `@no_type_check`: tests wrap every other function to check shapes, which numba cannot compile.
    """
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return njit(nogil=True, **options)(function)

    return decorate
