"""OpenGL without a display (EGL): pictures and videos on a machine that has no window system."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from runtime.actor import Layer, Moment
from runtime.cameras import orbit_camera
from runtime.errors import InputError
from runtime.framing import DISTANCE, ELEVATION, FOV_Y
from runtime.offsets import bracket
from runtime.player import Player
from runtime.stage import STANDING
from viewer.gl_objects import GlError
from viewer.renderer import Renderer, RendererName, View, load_renderer

GL_RENDERERS: tuple[RendererName, ...] = ("compute", "instances")
"""What `--backend gl` takes, best first."""


def hidden_context() -> object:
    """A current OpenGL context that shows nothing; keep it while drawing, `close()` it after.

    Raises `InputError` where there is no EGL. The process can open no visible window after this.
    """
    try:
        import pyglet

        if "pyglet.window" in sys.modules and not pyglet.options.headless:
            raise InputError("a window was opened before; drawing without a display needs a process of its own")
        pyglet.options.headless = True
        pyglet.options.debug_gl = False
        import pyglet.window

        config = pyglet.gl.Config(double_buffer=False, major_version=3, minor_version=3)
        return pyglet.window.Window(16, 16, config=config, visible=False)
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"drawing with OpenGL needs pyglet and EGL ({error}); pip install 'ani3d[view]', on Debian "
                         "also apt-get install libegl1 libgl1-mesa-dri") from None
    except Exception as error:
        raise InputError(f"no OpenGL context without a display ({error}); use --backend cpu") from None


def orbit_frames(player: Player, *, size: tuple[int, int], turns: int | float, seconds: int | float,
                 background: tuple[float, float, float], residual: bool = True,
                 renderer: RendererName | None = None) -> Iterator[UInt8[np.ndarray, "H X 3"]]:
    """What `runtime.player.orbit_frames` draws, drawn by OpenGL."""
    context = hidden_context()
    try:
        try:
            own, _ = load_renderer(*([renderer] if renderer else GL_RENDERERS))
        except GlError as error:
            raise InputError(f"{error}; use --backend gl or cpu") from None
        own.set_scene([player.bundle], [STANDING])
        count = max(round(seconds * player.fps), 1)
        for i in range(count):
            yield picture(own, player, i / player.fps, size=size, azimuth=2 * math.pi * turns * i / count,
                          background=background, residual=residual)
        own.delete()
    finally:
        context.close()  # type: ignore[attr-defined]


def picture(renderer: Renderer, player: Player, time: float, *, size: tuple[int, int], azimuth: float,
            background: tuple[float, float, float], residual: bool = True) -> UInt8[np.ndarray, "H X 3"]:
    """One frame of a clip as its orbit video shows it."""
    before, after, weight = bracket(player.frame_at(time), player.frame_count)
    moment = Moment(layers=(Layer(clip=player.clip_index, before=before, after=after, weight=weight),),
                    residual=residual)
    camera = orbit_camera(player.target_at(time), azimuth=azimuth, elevation=ELEVATION, distance=DISTANCE,
                          fov_y=FOV_Y, size=size)
    renderer.draw([View(moments=(moment,), camera=camera)], size)
    return renderer.read(background)
