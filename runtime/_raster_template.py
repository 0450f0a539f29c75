"""One numba function per channel count, from one text, and numba's cache made safe.

The accumulators of a blending kernel must be registers, one per channel, so the number of channels is part of the
code. A kernel is written once as a text in which every line that mentions `$c` stands for one line per channel, and
`$K` for the number of channels.

numba keeps compiled code beside a module and drops it when that module's file changes, but not when a constant or
an inlined function of another module does. So the name under which a kernel is kept holds a digest of the sources
of all the rasteriser's modules of `runtime`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

MAX_CHANNELS = 64
"""Most channels of one kernel: compile time and registers grow with them."""


def digest(folder: Path) -> str:
    """Of the modules in `folder` that a kernel's code and constants may come from."""
    total = hashlib.sha256()
    for path in sorted([*folder.glob("_raster_*.py"), folder / "_simd.py"]):
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


SOURCES = digest(Path(__file__).parent)
"""Part of the name of every kernel."""


def expand(template: str, *, channels: int) -> str:
    """The text of a kernel for `channels` channels."""
    lines: list[str] = []
    for line in template.replace("$K", str(channels)).splitlines():
        lines += [line.replace("$c", str(c)) for c in range(channels)] if "$c" in line else [line]
    return "\n".join(lines) + "\n"


def specialise(template: str, *, channels: int, module: dict[str, Any], options: dict[str, Any],
               name: str = "kernel_$K") -> Callable[..., Any]:
    """The kernel `name` of a template, compiled by numba with `options`; `module` is its module's globals.

    The text is compiled under the file name of that module, so that numba keeps the result in its `__pycache__` (in
    the user's cache folder when the installation is read-only).
    """
    if not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"{channels} channels: between 1 and {MAX_CHANNELS} can be blended in one pass")
    name = name.replace("$K", str(channels))
    return from_text(expand(template, channels=channels), name, module=module, options=options)


def from_text(text: str, name: str, *, module: dict[str, Any], options: dict[str, Any]) -> Callable[..., Any]:
    """The function `name` of a text, compiled by numba as if it stood in the module with these globals."""
    # `__name__` of these globals is what a cached function re-imports; a copy keeps the module free of the names.
    scope = dict(module)
    exec(compile(text, module["__file__"], "exec"), scope)  # our own text, no outside input
    return compiled(**options)(scope[name])


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`numba.njit(cache=True, nogil=True, ...)` as a decorator; without the cache where no folder can be written.

    Kernels also wear `@no_type_check`: tests wrap every other function to check shapes, which numba cannot compile.
    """
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__qualname__ += f"-{SOURCES}"
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return njit(nogil=True, **options)(function)

    return decorate
