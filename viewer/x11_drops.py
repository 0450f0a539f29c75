"""Files dropped by an X11 file manager: what pyglet (2.1.19) gets wrong of the protocol (XDND version 5).

A source that offers one to three types makes it raise `TypeError`, which ends the program; and the source never hears
that its files arrived. On other systems there is nothing to do here.
"""

from __future__ import annotations

import ctypes
from typing import Any


def mend(window: Any) -> None:
    """Make a pyglet window read short lists of types."""
    atoms = getattr(window, "_xdnd_atoms", None)
    if not atoms:
        return
    enter = window._event_drag_enter

    def drag_enter(event: Any) -> None:
        source, flags, *types = event.xclient.data.l
        if flags & 1:  # four types or more: a list that pyglet reads rightly
            enter(event)
            return
        window._xdnd_source, window._xdnd_version = source, flags >> 24
        files = atoms["text/uri-list"]
        window._xdnd_format = files if files in types else None

    window._event_drag_enter = drag_enter


def thank(window: Any) -> None:
    """Tell the source of the last drop that its files were taken; pyglet tells the root window instead."""
    atoms = getattr(window, "_xdnd_atoms", None)
    if not atoms or not window._xdnd_source:
        return
    from pyglet.libs.x11 import xlib

    event = xlib.XEvent()
    event.xclient.type, event.xclient.format = xlib.ClientMessage, 32
    event.xclient.window, event.xclient.message_type = window._xdnd_source, atoms["XdndFinished"]
    for index, value in enumerate((window._window, 1, atoms["XdndActionCopy"])):
        event.xclient.data.l[index] = value
    xlib.XSendEvent(window._x_display, window._xdnd_source, False, xlib.NoEventMask, ctypes.byref(event))
    xlib.XFlush(window._x_display)
    window._xdnd_source = None
