"""The pyglet window around a `Show`: events in, pictures out.

Importing this needs pyglet but no display: pyglet loads its window and OpenGL parts when they are first named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyglet
from jaxtyping import UInt8

from viewer.orbit import Orbit
from viewer.show import Show

HELP = """left drag     turn
right drag    move
wheel         nearer, farther
space         play, pause
left, right   one frame back, on
+  -          faster, slower
R             residual on, off
C             compare: rigid | baked
O             turn by itself
Home          reset the view
Tab           next clip
S             screenshot
H             this help
Esc           quit"""
_FPS_OVER_S = 0.5
"""Frames are counted over this long [s]."""


class ShowWindow:
    """The window of `ani3d play`."""

    def __init__(self, show: Show, size: tuple[int, int]) -> None:
        """Open a window of `size` (width, height) [px]."""
        self.window = pyglet.window.Window(*size, caption="ani3d", resizable=True, vsync=True)
        self.window.set_minimum_size(160, 160)
        self.show = show
        self.help_shown = False
        self.fps = 0.0
        self._pixels: UInt8[np.ndarray, "H X 3"] | None = None
        self._texture: pyglet.image.Texture | None = None
        self._changed = True
        self._sharp = False
        self._frames, self._counted_s = 0, 0.0
        self._note, self._note_s = "H: help", 4.0
        self._make_labels()
        self._actions = self._make_actions()
        self.window.push_handlers(self)
        pyglet.clock.schedule(self.advance)

    def _make_actions(self) -> dict[int, Callable[[], object]]:
        """What each key does. Pyglet itself closes the window on Esc."""
        show, key = self.show, pyglet.window.key
        toggles = {key.SPACE: "playing", key.R: "residual", key.C: "compare", key.O: "auto_orbit"}
        return {code: lambda name=name: setattr(show, name, not getattr(show, name))
                for code, name in toggles.items()} | {
            key.LEFT: lambda: show.step(-1), key.RIGHT: lambda: show.step(1),
            key.PLUS: lambda: show.change_speed(1), key.EQUAL: lambda: show.change_speed(1),
            key.NUM_ADD: lambda: show.change_speed(1), key.MINUS: lambda: show.change_speed(-1),
            key.NUM_SUBTRACT: lambda: show.change_speed(-1), key.TAB: lambda: show.next_clip(1),
            key.HOME: lambda: setattr(show, "orbit", Orbit()), key.S: self.save_screenshot,
            key.H: lambda: setattr(self, "help_shown", not self.help_shown),
        }

    def advance(self, seconds: float) -> None:
        """Let time pass; pyglet calls this before each picture."""
        self.show.advance(min(seconds, 0.25))
        self._note_s -= seconds
        self._counted_s += seconds
        if self._counted_s >= _FPS_OVER_S:
            self.fps, self._frames, self._counted_s = self._frames / self._counted_s, 0, 0.0

    def on_draw(self) -> None:
        """Draw the picture, a new one if anything changed, and the text over it."""
        size = self.window.get_framebuffer_size()
        if self.show.moving or self._changed:
            self._pixels = self.show.picture(size, full=False)
            self._changed, self._sharp = False, self.show.scale == 1.0
            self._frames += 1
        elif not self._sharp:
            # Nothing moves any more: take the time for full resolution.
            self._pixels = self.show.picture(size, full=True)
            self._sharp = True
        self.window.clear()
        self._upload()
        self._draw_text()

    def on_key_press(self, symbol: int, modifiers: int) -> None:
        """Do what `HELP` says."""
        if action := self._actions.get(symbol):
            action()
            self._changed = True

    def on_mouse_drag(self, x: int, y: int, dx: int, dy: int, buttons: int, modifiers: int) -> None:
        """Turn or move the camera."""
        mouse = pyglet.window.mouse
        if buttons & mouse.LEFT:
            self.show.orbit = self.show.orbit.turned(dx, dy)
        elif buttons & (mouse.RIGHT | mouse.MIDDLE):
            self.show.orbit = self.show.orbit.panned(dx, dy, height=self.window.height)
        self._changed = True

    def on_mouse_scroll(self, x: int, y: int, scroll_x: float, scroll_y: float) -> None:
        """Move the camera nearer or farther."""
        self.show.orbit = self.show.orbit.zoomed(scroll_y)
        self._changed = True

    def on_resize(self, width: int, height: int) -> None:
        """Draw at the new size."""
        self._changed = True

    def close(self) -> None:
        """Close the window, if it still is open, and stop its clock."""
        pyglet.clock.unschedule(self.advance)
        self.window.close()

    def save_screenshot(self) -> Path:
        """Write the view, without text, as the first free `NAME-001.png` of the working folder."""
        name = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.show.player.bundle.manifest.name) or "ani3d"
        path = next(p for i in range(1, 10_000) if not (p := Path(f"{name}-{i:03d}.png")).exists())
        picture = self.show.picture(self.window.get_framebuffer_size(), full=True)
        try:
            _image_data(picture).save(str(path))
            self._note, self._note_s = f"saved {path}", 3.0
        except OSError as error:
            self._note, self._note_s = f"{path}: cannot be written: {error.strerror}", 6.0
        return path

    def _upload(self) -> None:
        """Put the picture into the texture and draw it over the whole window."""
        assert self._pixels is not None
        height, width = self._pixels.shape[:2]
        if self._texture is None or (self._texture.width, self._texture.height) != (width, height):
            if self._texture is not None:
                self._texture.delete()
            linear = pyglet.gl.GL_LINEAR
            self._texture = pyglet.image.Texture.create(width, height, min_filter=linear, mag_filter=linear)
        self._texture.blit_into(_image_data(self._pixels), 0, 0, 0)
        self._texture.blit(0, 0, width=self.window.width, height=self.window.height)

    def _make_labels(self) -> None:
        """The texts, with a dark shadow each so that they are readable on any picture."""
        def label(text: str, **place: object) -> tuple[pyglet.text.Label, ...]:
            font = {"font_name": "monospace" if place.get("multiline") else None, "font_size": 11}
            return tuple(pyglet.text.Label(text, color=color, **font, **place)
                         for color in ((0, 0, 0, 230), (255, 255, 255, 255)))

        self._status = label("", anchor_x="left", anchor_y="bottom")
        self._message = label("", anchor_x="center", anchor_y="bottom")
        self._rigid = label("rigid", anchor_x="center", anchor_y="top")
        self._baked = label("baked", anchor_x="center", anchor_y="top")
        self._speed = label("", anchor_x="left", anchor_y="bottom")
        self._help = label(HELP, anchor_x="left", anchor_y="top", multiline=True, width=420)

    def _draw_text(self) -> None:
        """Status at the bottom, names of the halves at the top, help and messages when asked for."""
        self._write(self._status, self.show.status(), 8, 8)
        if self.show.moving:
            scale = "" if self.show.scale == 1.0 else f" at {self.show.scale:.0%} resolution"
            self._write(self._speed, f"{self.fps:.0f} fps{scale}", 8, 28)
        if self.show.compare:
            self._write(self._rigid, "rigid", self.window.width // 4, self.window.height - 8)
            self._write(self._baked, "baked", 3 * self.window.width // 4, self.window.height - 8)
        if self._note_s > 0:
            self._write(self._message, self._note, self.window.width // 2, 54)
        if self.help_shown:
            width, height = self._help[0].content_width + 24, self._help[0].content_height + 24
            pyglet.shapes.Rectangle(0, self.window.height - height, width, height, color=(0, 0, 0, 190)).draw()
            self._write(self._help, HELP, 12, self.window.height - 12)

    def _write(self, labels: tuple[pyglet.text.Label, ...], text: str, x: int, y: int) -> None:
        """Draw a text with its shadow."""
        for label, offset in zip(labels, (1, 0), strict=True):
            if label.text != text:
                label.text = text
            label.position = (x + offset, y - offset, 0)
            label.draw()


def _image_data(picture: UInt8[np.ndarray, "H X 3"]) -> pyglet.image.ImageData:
    """A picture, top row first, as pyglet wants it."""
    height, width = picture.shape[:2]
    return pyglet.image.ImageData(width, height, "RGB", np.ascontiguousarray(picture).tobytes(), pitch=-3 * width)
