"""A virtual X display: a real window on it, real keys and mouse (xdotool), and what the screen shows.

The screen is read from the server's own memory file (XWD format), from outside the program under test.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
HINT = "apt-get install xvfb xdotool libgl1 libgl1-mesa-dri libfontconfig1 libfreetype6 fonts-dejavu-core"


class Screen:
    """The display `name`, its memory file in `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.environment = os.environ | {"DISPLAY": name, "PYTHONPATH": str(ROOT), "LIBGL_ALWAYS_SOFTWARE": "1"}

    def grab(self) -> np.ndarray:
        """What the screen shows, uint8 [H, W, 3]."""
        content = (self.folder / "Xvfb_screen0").read_bytes()
        header = struct.unpack(">25I", content[:100])
        width, height, row_bytes, color_count = header[4], header[5], header[12], header[19]
        pixels = np.frombuffer(content, np.uint8, row_bytes * height, header[0] + 12 * color_count)
        return pixels.reshape(height, row_bytes)[:, :4 * width].reshape(height, width, 4)[..., 2::-1].astype(int)

    def until(self, holds: Callable[[np.ndarray], bool], seconds: float = 8.0) -> np.ndarray:
        """The screen as soon as something holds of it, or as it is after so many seconds."""
        end, now = time.monotonic() + seconds, self.grab()
        while not holds(now) and time.monotonic() < end:
            time.sleep(0.05)
            now = self.grab()
        return now

    def settled(self, seconds: float = 10.0) -> np.ndarray:
        """The screen once it has stopped changing."""
        until, before = time.monotonic() + seconds, self.grab()
        while time.monotonic() < until:
            time.sleep(0.25)
            now = self.grab()
            if np.array_equal(now, before):
                return now
            before = now
        raise AssertionError("the screen does not come to rest")

    def xdotool(self, *arguments: object) -> None:
        """Send real events."""
        subprocess.run(["xdotool", *map(str, arguments)], env=self.environment, check=True, timeout=20)

    def drag(self, start: tuple[int, int], end: tuple[int, int], button: int = 1) -> None:
        """Press at a point, move in steps, let go at another. y down."""
        middle = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
        self.xdotool("mousemove", *start, "mousedown", button, "sleep", 0.1, "mousemove", *middle, "sleep", 0.1,
                     "mousemove", *end, "sleep", 0.1, "mouseup", button)


@contextmanager
def virtual_screen(folder: Path, size: str = "480x600") -> Iterator[Screen]:
    """A running display; skips the test where there can be none."""
    for tool in ("Xvfb", "xdotool"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}: {HINT}")
    read, write = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24", "-fbdir", str(folder)],
                              pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as number:
        name = number.readline().strip()
    if not name:
        pytest.skip(f"Xvfb does not start: {HINT}")
    try:
        yield Screen(f":{name}", folder)
    finally:
        server.terminate()
        server.wait(10)


@contextmanager
def playing(screen: Screen, *arguments: object, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`ani3d play` with arguments, its window up; the mouse in the middle of it."""
    process = subprocess.Popen([sys.executable, "-m", "ani3d", "play", *map(str, arguments)], cwd=folder, text=True,
                               env=screen.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 60
        while not (screen.grab().max(axis=2) > 30).mean() > 0.2:
            if process.poll() is not None:
                error = process.stderr.read()
                if "pip install" in error or "no window can be opened" in error:
                    pytest.skip(f"{HINT}: {error[-300:]}")
                raise AssertionError(error[-3000:])
            assert time.monotonic() < until, "no window after a minute"
            time.sleep(0.1)
        screen.xdotool("mousemove", 120, 200)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
