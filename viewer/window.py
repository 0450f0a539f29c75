"""The pyglet window around a `Show`: events in, pictures out.

Importing this needs pyglet but no display: pyglet loads its window and OpenGL parts when they are first named.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyglet

from runtime.bench_play import memory_now_mib
from runtime.bundle import read_bundle
from runtime.errors import InputError
from viewer import x11_drops
from viewer.controls import Control, Layout
from viewer.gl_objects import GlError
from viewer.orbit import Orbit
from viewer.overlay import HELP, Overlay
from viewer.picture import save_png
from viewer.renderer import RENDERERS, RendererName, load_renderer
from viewer.show import DETAIL_STEPS, Show

__all__ = ["HELP", "ShowWindow", "open_window"]

SCALES = (1.0, 0.75, 0.5, 0.35)
"""Resolutions, as shares of the window's, among which moving pictures choose."""
SLOW_S, FAST_S = 1 / 20, 1 / 45
"""A picture slower than the first goes down in resolution, one faster than the second goes up [s]."""
STEP_S, STILL_S = 1 / 60, 0.25
"""Time between two pictures of what moves, and of what does not [s]: a window that shows a still costs little."""
_FPS_OVER_S = 0.5
"""Frames are counted over this long [s]."""


def open_window(size: tuple[int, int]) -> pyglet.window.Window:
    """A window with the newest OpenGL there is, 3.3 at least, that takes dropped files."""
    last: Exception | None = None
    for major, minor in ((4, 3), (3, 3)):
        config = pyglet.gl.Config(major_version=major, minor_version=minor, double_buffer=True)
        try:
            return pyglet.window.Window(*size, caption="ani3d", resizable=True, vsync=True, config=config,
                                        file_drops=True)
        except (pyglet.window.NoSuchConfigException, pyglet.gl.ContextException) as error:
            last = error
    assert last is not None
    raise last


class ShowWindow:
    """The window of `ani3d play`."""

    def __init__(self, show: Show, size: tuple[int, int], *, renderer: RendererName | None = None) -> None:
        """Open a window of `size` (width, height) [px]; `renderer` None takes the best that works.

        Raises `GlError` where a named renderer does not work here.
        """
        self.window = open_window(size)
        self.window.set_minimum_size(160, 160)
        x11_drops.mend(self.window)
        self.show = show
        self.help_shown, self.statistics_shown, self.clips_shown = False, False, len(show.clips) > 1
        self.fps, self.picture_s, self.scale = 0.0, 0.0, 1.0
        self.renderer, self.refused = load_renderer(*([renderer] if renderer else []))
        self._scene_key: tuple[object, ...] | None = None
        self._held: Control | None = None
        self._changed, self._sharp, self._hidden, self._still_s = True, False, False, 0.0
        self._frames, self._counted_s = 0, 0.0
        self._first_clip = 0
        self._note, self._note_s = "H: help", 4.0
        self._overlay = Overlay()
        self._actions = self._make_actions()
        self.window.push_handlers(self)
        pyglet.clock.schedule_interval(self.advance, STEP_S)

    def _make_actions(self) -> dict[int, Callable[[], object]]:
        """What each key does. Pyglet itself closes the window on Esc."""
        show, key = self.show, pyglet.window.key
        toggles = {key.SPACE: "playing", key.R: "residual", key.C: "compare", key.O: "auto_orbit", key.K: "skeleton",
                   key.B: "backwards", key.M: "root_motion", key.A: "together"}
        own = {key.H: "help_shown", key.I: "statistics_shown", key.L: "clips_shown"}
        return {code: lambda name=name: setattr(show, name, not getattr(show, name))
                for code, name in toggles.items()} | {
            code: lambda name=name: setattr(self, name, not getattr(self, name)) for code, name in own.items()} | {
            key.LEFT: lambda: show.step(-1), key.RIGHT: lambda: show.step(1),
            key.PLUS: lambda: show.change_speed(1), key.EQUAL: lambda: show.change_speed(1),
            key.NUM_ADD: lambda: show.change_speed(1), key.MINUS: lambda: show.change_speed(-1),
            key.NUM_SUBTRACT: lambda: show.change_speed(-1), key.TAB: lambda: show.choose_clip(show.clip_index + 1),
            key.HOME: lambda: setattr(show, "orbit", Orbit()), key.S: self.save_screenshot,
            key.P: lambda: setattr(show, "style", "splats" if show.style == "points" else "points"),
            key.G: lambda: setattr(show, "background_index", show.background_index + 1),
            key.BRACKETLEFT: lambda: self._set_detail(show.detail - 1),
            key.BRACKETRIGHT: lambda: self._set_detail(show.detail + 1),
        }

    def advance(self, seconds: float) -> None:
        """Let time pass, and draw if that changes anything; pyglet's clock calls this."""
        if self._held != "timeline":
            self.show.advance(min(seconds, 0.25))
        self._note_s -= seconds
        self._counted_s += seconds
        if self._counted_s >= _FPS_OVER_S:
            self.fps, self._frames, self._counted_s = self._frames / self._counted_s, 0, 0.0
        busy = self.show.moving or self._changed or not self._sharp or self._note_s > 0
        self._still_s += seconds
        if not self._hidden and (busy or self._still_s > STILL_S) and self.window in pyglet.app.windows:
            self._still_s = 0.0
            self.window.draw(seconds)

    def on_hide(self) -> None:
        """Minimised: nobody looks."""
        self._hidden = True

    def on_show(self) -> None:
        """Seen again."""
        self._hidden, self._changed = False, True

    def on_expose(self) -> None:
        """Another window went away."""
        self._changed = True

    def on_draw(self) -> None:
        """Draw the picture, a new one if anything changed, and what goes over it."""
        size = self.window.get_framebuffer_size()
        if self.show.moving or self._changed:
            began = time.perf_counter()
            self._picture(self.scale)
            self.picture_s = time.perf_counter() - began
            self._changed, self._sharp = False, self.scale == 1.0
            self._frames += 1
            self._adapt()
        elif not self._sharp:
            # Nothing moves any more: take the time for full resolution.
            self._picture(1.0)
            self._sharp = True
        self.window.clear()
        self.renderer.show(size, self.show.background)
        pyglet.gl.glViewport(0, 0, *size)
        window_size = (self.window.width, self.window.height)
        if self.show.skeleton:
            for view in self.show.views(window_size):
                self._overlay.draw_bones(self.show.bones(view), window_size)
        self._overlay.draw(self.show, window_size, note=self._note if self._note_s > 0 else "",
                           statistics=self.statistics() if self.statistics_shown else "",
                           help_shown=self.help_shown, clips_shown=self.clips_shown, first_clip=self._first_clip)

    def on_key_press(self, symbol: int, modifiers: int) -> None:
        """Do what `HELP` says."""
        if action := self._actions.get(symbol):
            clip = self.show.clip_index
            action()
            if self.show.clip_index != clip:
                self._scroll_to_clip()
            self._changed = True

    def on_mouse_press(self, x: int, y: int, button: int, modifiers: int) -> None:
        """Take hold of a control, or press a button."""
        if button != pyglet.window.mouse.LEFT:
            return
        layout = Layout(self.window.width, self.window.height)
        self._held = layout.control_at(x, y)
        if self._held in ("timeline", "detail"):
            self._slide(x)
        elif self._held == "play":
            self.show.playing = not self.show.playing
        elif self._held is not None:
            self.show.step(1 if self._held == "on" else -1)
        elif self.clips_shown and (
                index := layout.clip_at(x, y, len(self.show.clips), self._first_clip)) is not None:
            self.show.choose_clip(index)
        self._changed = True

    def on_mouse_release(self, x: int, y: int, button: int, modifiers: int) -> None:
        """Let go."""
        self._held = None

    def on_mouse_drag(self, x: int, y: int, dx: int, dy: int, buttons: int, modifiers: int) -> None:
        """Slide what is held, or turn or move the camera."""
        mouse = pyglet.window.mouse
        if self._held is not None:
            self._slide(x)
        elif buttons & mouse.LEFT:
            self.show.orbit = self.show.orbit.turned(dx, dy)
        elif buttons & (mouse.RIGHT | mouse.MIDDLE):
            self.show.pan(dx, dy, (self.window.width, self.window.height))
        self._changed = True

    def on_mouse_scroll(self, x: int, y: int, scroll_x: float, scroll_y: float) -> None:
        """Move the camera nearer or farther; scroll the clip list where it is longer than the window."""
        layout, count = Layout(self.window.width, self.window.height), len(self.show.clips)
        clips = layout.clips_shown(count, self._first_clip)
        if self.clips_shown and len(clips) < count and layout.clip_at(x, y, count, clips.start) is not None:
            lines = int(math.copysign(math.ceil(abs(scroll_y)), scroll_y))
            self._first_clip = layout.clips_shown(count, clips.start - lines).start
        else:
            self.show.orbit = self.show.orbit.zoomed(scroll_y)
        self._changed = True

    def on_resize(self, width: int, height: int) -> None:
        """Draw at the new size."""
        self._scroll_to_clip()
        self._changed = True

    def on_file_drop(self, x: int, y: int, paths: Sequence[str]) -> None:
        """Add the avatars of dropped files; a file that cannot be read changes nothing and says why."""
        x11_drops.thank(self.window)
        try:
            bundles = [read_bundle(path) for path in paths]
            self.show.add(bundles)
            self.clips_shown = len(self.show.clips) > 1
            self._scroll_to_clip()
            self._say(f"added {', '.join(bundle.manifest.name for bundle in bundles)}", 4.0)
        except InputError as error:
            self._say(str(error), 8.0)
        self._changed = True

    def close(self) -> None:
        """Close the window, if it still is open, and stop its clock."""
        pyglet.clock.unschedule(self.advance)
        if self.window in pyglet.app.windows:
            self.window.switch_to()
            self.renderer.delete()
        self.window.close()

    def save_screenshot(self) -> Path:
        """Write the view, without text, as the first free `NAME-001.png` of the working folder."""
        name = self.show.bundles[self.show.shown].manifest.name
        name = "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "ani3d"
        path = next(p for i in range(1, 10_000) if not (p := Path(f"{name}-{i:03d}.png")).exists())
        self._picture(1.0)
        try:
            save_png(self.renderer.read(self.show.background), path)
            self._say(f"saved {path}", 3.0)
        except OSError as error:
            self._say(f"{path}: cannot be written: {error.strerror}", 6.0)
        return path

    def statistics(self) -> str:
        """What is drawn, how, how fast."""
        count = sum(self.show.counts())
        moving = sum(len(actor.bundle.clips[actor.clip].residual.moving) for actor in
                     (self.show.actors if self.show.together else [self.show.actor]))
        info = self.window.context.get_info()
        return (f"{self.fps:.0f} pictures/s\n{1000 * self.picture_s:.1f} ms a picture\n"
                f"at {self.scale:.0%} resolution\n{count} Gaussians\n{moving} may move\n"
                f"renderer {self.renderer.name}\nOpenGL {info.get_version()[0]}.{info.get_version()[1]}\n"
                f"{info.get_renderer()[:28]}\n{memory_now_mib():.0f} MiB")

    def _picture(self, scale: float) -> None:
        """Draw the show on the renderer's canvas; a renderer that fails is replaced by the next best."""
        width, height = self.window.get_framebuffer_size()
        size = (max(round(width * scale), 2), max(round(height * scale), 2))
        try:
            if self.show.scene_key != self._scene_key:
                self.renderer.set_scene(*self.show.scene())
                self._scene_key = self.show.scene_key
            self.renderer.draw(self.show.views(size), size)
            # Without waiting, the time measured is that of handing over commands.
            pyglet.gl.glFinish()
        except GlError as error:
            names = list(RENDERERS)
            later = names[names.index(self.renderer.name) + 1:]
            if not later:
                raise
            self._say(f"{self.renderer.name}: {error}", 8.0)
            self.renderer.delete()
            self.renderer, _ = load_renderer(*later)
            self._scene_key = None
            self._picture(scale)

    def _adapt(self) -> None:
        """Choose the next picture's resolution by the time of this one."""
        index = SCALES.index(self.scale)
        if self.picture_s > SLOW_S:
            self.scale = SCALES[min(index + 1, len(SCALES) - 1)]
        elif self.picture_s < FAST_S:
            self.scale = SCALES[max(index - 1, 0)]

    def _scroll_to_clip(self) -> None:
        """Have the clip that plays in view."""
        layout = Layout(self.window.width, self.window.height)
        self._first_clip = layout.scrolled_to(self.show.clip_index, len(self.show.clips), self._first_clip)

    def _slide(self, x: float) -> None:
        """Move the held slider's knob."""
        box = Layout(self.window.width, self.window.height).boxes.get(self._held or "play")
        if self._held == "timeline" and box is not None:
            self.show.seek(box.share(x))
        elif self._held == "detail" and box is not None:
            self._set_detail(round(box.share(x) * DETAIL_STEPS))

    def _set_detail(self, steps: int) -> None:
        self.show.detail = min(max(steps, 1), DETAIL_STEPS)

    def _say(self, note: str, seconds: float) -> None:
        self._note, self._note_s = note, seconds
