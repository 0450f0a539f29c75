"""OpenGL without a display (EGL): pictures and videos on a machine that has no window system."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
    with drawing(player, renderer) as own:
        count = max(round(seconds * player.fps), 1)
        for i in range(count):
            yield picture(own, player, i / player.fps, size=size, azimuth=2 * math.pi * turns * i / count,
                          background=background, residual=residual)


@contextmanager
def drawing(player: Player, renderer: RendererName | None = None) -> Iterator[Renderer]:
    """The named renderer, else the best, with the player's bundle loaded. Raises `InputError` where there is none."""
    context = hidden_context()
    try:
        own = _renderer_of(player, [renderer] if renderer else GL_RENDERERS)
        yield own
        own.delete()
    except GlError as error:
        raise InputError(f"{error}; use --backend cpu") from None
    finally:
        context.close()  # type: ignore[attr-defined]


def _renderer_of(player: Player, names: Sequence[RendererName]) -> Renderer:
    """The first of the named renderers that takes the player's avatar; raises `GlError` where none does."""
    refused: list[str] = []
    for name in names:
        try:
            own, _ = load_renderer(name)
            own.set_scene([player.bundle], [STANDING])
            return own
        except GlError as error:
            refused.append(f"{error}")
    raise GlError("; ".join(refused))


def picture(renderer: Renderer, player: Player, time: int | float, *, size: tuple[int, int], azimuth: float,
            background: tuple[float, float, float], residual: bool = True) -> UInt8[np.ndarray, "H X 3"]:
    """What `runtime.player.picture` draws, drawn by OpenGL."""
    before, after, weight = bracket(player.frame_at(time), player.frame_count)
    moment = Moment(layers=(Layer(clip=player.clip_index, before=before, after=after, weight=weight),),
                    residual=residual)
    camera = orbit_camera(player.target_at(time), azimuth=azimuth, elevation=ELEVATION, distance=DISTANCE,
                          fov_y=FOV_Y, size=size)
    renderer.draw([View(moments=(moment,), camera=camera)], size)
    return renderer.read(background)
