"""`play`: open bundles in a window. Importing this needs no display and no pyglet; calling it does."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.bundle import read_bundle
from runtime.errors import InputError
from runtime.lod import at_most
from viewer.renderer import RendererName
from viewer.show import Show

WITHOUT_WINDOW = "make a video with `ani3d render X.ani3d --orbit -o X.mp4` instead"


def load_show(paths: Sequence[Path | str], *, lod: int | None = None) -> Show:
    """All clips of all bundles, of each the first `lod` Gaussians; raises `InputError` for a file that is not one."""
    return Show([at_most(read_bundle(path), lod) for path in paths])


def play(paths: Sequence[Path | str], *, size: tuple[int, int] = (480, 832),
         renderer: RendererName | None = None, lod: int | None = None) -> None:
    """Show bundles in a window of `size` (width, height) [px] until it is closed; `renderer` None picks the best.

    Raises `InputError` for a file that cannot be read, and where no window can be opened.
    """
    show = load_show(paths, lod=lod)
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        raise InputError(f"there is no display to open a window on; {WITHOUT_WINDOW}")
    try:
        import pyglet

        pyglet.options.debug_gl = False  # a third of the cost of each call; the renderers check errors themselves
        import pyglet.window

        from viewer.gl_objects import GlError
        from viewer.window import ShowWindow
    except ImportError as error:
        raise InputError(f"the window needs pyglet and system fonts ({error}); pip install 'ani3d[view]', on Debian "
                         "also apt-get install libgl1 libfontconfig1 libfreetype6") from None
    except Exception as error:
        raise InputError(_refused(error)) from None
    try:
        window = ShowWindow(show, size, renderer=renderer)
    except GlError as error:
        raise InputError(f"{error}; use --backend auto") from None
    except (pyglet.window.WindowException, pyglet.gl.ContextException) as error:
        raise InputError(_refused(error)) from None
    try:
        pyglet.app.run(interval=None)  # the window draws when something has changed
    finally:
        window.close()


def _refused(error: Exception) -> str:
    return f"no window can be opened ({str(error).rstrip('.')}): it needs a display with OpenGL 3.3; {WITHOUT_WINDOW}"
