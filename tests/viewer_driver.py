"""Opens the real window on `$DISPLAY`, sends it events, and prints what happened as JSON. Run by test_viewer.py.

Arguments: a bundle, and a folder for pictures.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pyglet
from pyglet.window import key, mouse

from viewer.app import load_show
from viewer.window import ShowWindow


def main() -> None:
    bundle, folder = Path(sys.argv[1]), Path(sys.argv[2])
    os.chdir(folder)
    show = load_show([bundle])
    view = ShowWindow(show, (240, 400))
    window = view.window
    seen: dict[str, object] = {"torch": "torch" in sys.modules}

    def look(name: str | None = None) -> np.ndarray:
        """Let the window draw, and return its pixels, top row first.

        Drawn twice: a picture at lower resolution is followed by a sharp one when nothing moves.
        """
        window.switch_to()
        for _ in range(2):
            window.dispatch_events()
            pyglet.clock.tick()
            view.on_draw()
        image = pyglet.image.get_buffer_manager().get_color_buffer().get_image_data()
        pixels = np.frombuffer(image.get_data("RGB", -3 * image.width), np.uint8)
        window.flip()
        pixels = pixels.reshape(image.height, image.width, 3).copy()
        if name:
            pyglet.image.ImageData(image.width, image.height, "RGB", pixels.tobytes(), -3 * image.width).save(
                str(folder / f"{name}.png"))
        return pixels

    def press(symbol: int) -> None:
        # Pyglet queues events that come from outside, as the window system's do.
        window.dispatch_event("on_key_press", symbol, 0)
        window.dispatch_events()

    def changed(before: np.ndarray, after: np.ndarray) -> float:
        """Share of pixels that differ by more than 8 steps, in the middle, away from the text."""
        inner = (slice(40, -80), slice(None))
        return float((np.abs(before[inner].astype(int) - after[inner].astype(int)).max(-1) > 8).mean())

    # 1. It plays, and stops.
    first = look()
    time.sleep(0.2)
    seen["playing"] = changed(first, look())
    seen["time_passed"] = show.time > 0.15
    press(key.SPACE)
    press(key.LEFT)
    show.time = 0.0
    view._changed = True
    still = look("still")
    time.sleep(0.1)
    seen["paused"] = changed(still, look())
    seen["figure"] = float((np.abs(still.astype(int) - still[60, 2].astype(int)).max(-1) > 20)[40:-70].mean())

    # 2. Each control changes the picture, and back again.
    def both_ways(name: str, there: int, back: int) -> None:
        press(there)
        there_picture = look(name)
        press(back)
        look()
        seen[name] = (changed(still, there_picture), changed(still, look()))

    both_ways("residual", key.R, key.R)
    both_ways("compare", key.C, key.C)
    both_ways("step", key.RIGHT, key.LEFT)
    for name, event in (("turn", ("on_mouse_drag", 100, 100, 60, 20, mouse.LEFT, 0)),
                        ("pan", ("on_mouse_drag", 100, 100, 30, 40, mouse.RIGHT, 0)),
                        ("zoom", ("on_mouse_scroll", 100, 100, 0.0, 3.0))):
        window.dispatch_event(*event)
        moved = look(name)
        press(key.HOME)
        look()
        seen[name] = (changed(still, moved), changed(still, look()))
    press(key.PLUS)
    seen["speed"] = show.speed
    press(key.MINUS)
    press(key.O)
    look()
    time.sleep(0.2)
    look()
    seen["auto_orbit"] = show.orbit.azimuth
    press(key.O)
    press(key.HOME)

    # 3. Overlays, screenshot, another size, closing.
    plain = look()
    press(key.H)
    seen["help"] = float((np.abs(plain.astype(int) - look("help").astype(int)).max(-1) > 8)[:100, :100].mean())
    press(key.H)
    press(key.S)
    seen["screenshots"] = sorted(path.name for path in folder.glob("random_person-*.png"))
    window.set_size(320, 240)
    for _ in range(5):
        resized = look("resized")
    seen["resized"] = list(resized.shape)
    seen["gl_error"] = pyglet.gl.glGetError()
    press(key.ESCAPE)
    seen["asked_to_close"] = window.has_exit
    view.close()
    seen["closed"] = window not in pyglet.app.windows
    print(json.dumps(seen))


main()
