"""Opens the real window on `$DISPLAY` with each renderer and prints what happened as JSON. Run by test_viewer.py.

What real keys and a mouse cannot do here: dropped files, other renderers, resizing, OpenGL's error flag.
Arguments: a bundle, a second one, and a folder to work in.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyglet

from runtime.bundle import read_bundle
from viewer.app import load_show
from viewer.picture import save_png
from viewer.show import Show
from viewer.window import ShowWindow


def main() -> None:
    first, second, folder = (Path(argument) for argument in sys.argv[1:4])
    os.chdir(folder)
    seen: dict[str, object] = {}
    pictures = {}
    for name in ("compute", "instances", "cpu"):
        show = load_show([first])
        show.playing = False
        show.seek(0.4)
        view = ShowWindow(show, (240, 400), renderer=name)
        seen[f"{name}_renderer"] = view.renderer.name
        pictures[name] = look(view).astype(int)
        if name != "cpu":
            view.close()
    seen["differences"] = [float(np.abs(pictures[a] - pictures["cpu"]).mean()) for a in ("compute", "instances")]

    # Dropped files: an unreadable one changes nothing, a good one adds its clips and is shown.
    (folder / "broken.ani3d").write_bytes(b"PK\x03\x04 no")
    view.window.dispatch_event("on_file_drop", 10, 10, [str(folder / "broken.ani3d")])
    view.window.dispatch_events()  # pyglet queues events that come from outside, as the window system's do
    seen["after_broken"] = [len(show.bundles), view._note]
    view.window.dispatch_event("on_file_drop", 10, 10, [str(second)])
    view.window.dispatch_events()
    seen["after_good"] = [len(show.bundles), show.shown, len(show.clips)]
    seen["dropped"] = float(np.abs(look(view).astype(int) - pictures["cpu"]).mean())
    show.together = True
    view._changed = True
    seen["together"] = float(np.abs(look(view).astype(int) - pictures["cpu"]).mean())

    # A renderer that fails in the middle is replaced, and says so.
    failing = ShowWindow(load_show([first]), (160, 160), renderer="instances")

    def fail(*arguments: object) -> None:
        from viewer.gl_objects import GlError

        raise GlError("out of memory")

    failing.renderer.draw = fail
    look(failing)
    seen["replaced"] = [failing.renderer.name, failing._note]
    failing.close()

    look_at_a_long_list(first, folder, seen)
    view.window.switch_to()
    view.window.set_size(320, 240)
    for _ in range(5):
        resized = look(view)
    seen["resized"] = list(resized.shape)
    seen["torch"] = "torch" in sys.modules
    view.window.switch_to()
    seen["gl_error"] = pyglet.gl.glGetError()
    view.close()
    seen["closed"] = view.window not in pyglet.app.windows
    print(json.dumps(seen))


def look_at_a_long_list(path: Path, folder: Path, seen: dict[str, object]) -> None:
    """Sixty clips: the first chosen, the last, and a wheel on the list and off it."""
    bundle = read_bundle(path)
    clips = tuple(replace(bundle.clips[0], name=f"clip {index}") for index in range(60))
    show = Show([replace(bundle, clips=clips)], playing=False)
    view = ShowWindow(show, (240, 400), renderer="cpu")
    view._note_s = 0.0
    look(view)
    seen["list_begins"] = names_in_list(view)[:3]
    for _ in range(59):
        view.on_key_press(pyglet.window.key.TAB, 0)
    pixels = look(view)
    save_png(pixels, folder / "list.png")
    seen["list_ends"] = names_in_list(view)
    # The column of the bar beside the list: 300 pixels from 10 below the top.
    rows = np.flatnonzero((pixels[10:310, 225] == 255).all(axis=1))
    seen["list_bar"] = [len(rows), int(rows.max())]
    scrolled = []
    for lines in (100, -100, 44.5):
        view.on_mouse_scroll(50, 300, 0.0, lines)
        scrolled.append(view._first_clip)
    seen["list_wheeled"] = scrolled
    before = show.orbit.distance
    view.on_mouse_scroll(50, 60, 0.0, 1.0)
    seen["list_zoomed"] = show.orbit.distance < before and view._first_clip == 0
    view.close()


def names_in_list(view: ShowWindow) -> list[str]:
    """The lines of the clip list as drawn last."""
    return [text._labels[1].text for text in view._overlay._clips]


def look(view: ShowWindow) -> np.ndarray:
    """Let the window draw, and return its pixels, top row first.

    Drawn twice: a picture at lower resolution is followed by a sharp one when nothing moves.
    """
    for _ in range(2):
        # Twice, as pyglet's own loop does: events draw, and a clock's tick may leave another window's context current.
        view.window.switch_to()
        view.window.dispatch_events()
        pyglet.clock.tick()
        view.window.switch_to()
        view.on_draw()
    image = pyglet.image.get_buffer_manager().get_color_buffer().get_image_data()
    pixels = np.frombuffer(image.get_data("RGB", -3 * image.width), np.uint8)
    view.window.flip()
    return pixels.reshape(image.height, image.width, 3).copy()


main()
