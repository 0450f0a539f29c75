"""A program that drags files onto a window of another one, as a file manager does (the XDND protocol, version 5).

Arguments: how many types it offers (1, or more than 3, which the protocol sends in another way), then the files.
Prints what the target answered as JSON. Run by test_viewer.py on the virtual display; Xlib comes with pyglet.
"""

from __future__ import annotations

import json
import sys
import time
from ctypes import POINTER, byref, c_int, c_long, c_ubyte, c_uint, c_ulong, cast
from pathlib import Path

from pyglet.libs.x11 import xlib

VERSION = 5


class Source:
    """A connection with a window that owns the selection."""

    def __init__(self, types: tuple[str, ...], paths: list[Path]) -> None:
        self.display = xlib.XOpenDisplay(None)
        self.root = xlib.XDefaultRootWindow(self.display)
        self.window = xlib.XCreateSimpleWindow(self.display, self.root, 0, 0, 1, 1, 0, 0, 0)
        self.types = [self.atom(name) for name in types]
        self.content = "".join(f"{path.absolute().as_uri()}\r\n" for path in paths).encode()
        xlib.XSetSelectionOwner(self.display, self.atom("XdndSelection"), self.window, 0)
        self.set_property(self.window, self.atom("XdndTypeList"), 4, (c_ulong * len(types))(*self.types), 32)

    def atom(self, name: str) -> int:
        return xlib.XInternAtom(self.display, name.encode(), False)

    def set_property(self, window: int, name: int, kind: int, content: object, bits: int) -> None:
        xlib.XChangeProperty(self.display, window, name, kind, bits, 0, cast(content, POINTER(c_ubyte)), len(content))

    def target(self) -> int:
        """The window that says it takes drops."""
        root, parent, count = c_ulong(), c_ulong(), c_uint()
        children = POINTER(c_ulong)()
        xlib.XQueryTree(self.display, self.root, byref(root), byref(parent), byref(children), byref(count))
        for window in children[:count.value]:
            kind, bits, items, rest, data = c_ulong(), c_int(), c_ulong(), c_ulong(), POINTER(c_ubyte)()
            xlib.XGetWindowProperty(self.display, window, self.atom("XdndAware"), 0, 1, False, 4, byref(kind),
                                    byref(bits), byref(items), byref(rest), byref(data))
            if items.value and cast(data, POINTER(c_ulong))[0] >= 3:
                return window
        raise SystemExit("no window takes drops")

    def send(self, window: int, name: str, *values: int) -> None:
        event = xlib.XEvent()
        event.xclient.type, event.xclient.format, event.xclient.window = 33, 32, window
        event.xclient.message_type = self.atom(name)
        for index, value in enumerate((self.window, *values)):
            event.xclient.data.l[index] = c_long(value).value
        xlib.XSendEvent(self.display, window, False, 0, byref(event))
        xlib.XFlush(self.display)

    def answer(self, name: str, seconds: float) -> list[int] | None:
        """The target's message of a name; hands the files out while it waits."""
        end, event = time.monotonic() + seconds, xlib.XEvent()
        while time.monotonic() < end:
            if not xlib.XPending(self.display):
                time.sleep(0.01)
                continue
            xlib.XNextEvent(self.display, byref(event))
            if event.type == 30:
                self.hand_out(event.xselectionrequest)
            elif event.type == 33 and event.xclient.message_type == self.atom(name):
                return list(event.xclient.data.l)
        return None

    def hand_out(self, request: object) -> None:
        """Write the list of files where the target asked for it."""
        self.set_property(request.requestor, request.property, request.target,
                          (c_ubyte * len(self.content))(*self.content), 8)
        reply = xlib.XEvent()
        reply.xselection.type = 31
        for name in ("requestor", "selection", "target", "property", "time"):
            setattr(reply.xselection, name, getattr(request, name))
        xlib.XSendEvent(self.display, request.requestor, False, 0, byref(reply))
        xlib.XFlush(self.display)


def main() -> None:
    count, *paths = sys.argv[1:]
    types = ("text/uri-list", "text/plain", "UTF8_STRING", "STRING", "TEXT")[:int(count)]
    source = Source(types, [Path(path) for path in paths])
    target = source.target()
    offered = [*source.types[:3], 0, 0][:3]
    source.send(target, "XdndEnter", VERSION << 24 | (len(types) > 3), *offered)
    copy = source.atom("XdndActionCopy")
    source.send(target, "XdndPosition", 0, 100 << 16 | 150, 0, copy)
    status = source.answer("XdndStatus", 5)
    seen = {"accepted": bool(status and status[1] & 1)}
    if seen["accepted"]:
        source.send(target, "XdndDrop", 0, 0)
        finished = source.answer("XdndFinished", 5)
        seen["finished"] = bool(finished and finished[0] == target and finished[1] & 1)
    print(json.dumps(seen))


main()
