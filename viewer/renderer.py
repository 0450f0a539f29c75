"""What draws: three renderers with one signature, the best for the driver picked first.

`compute`    OpenGL 4.3: decodes, skins, sorts and draws on the GPU.
`instances`  OpenGL 3.3 (4.1 on macOS): the CPU player's Gaussians, uploaded each frame, drawn on the GPU.
`cpu`        no OpenGL: the CPU rasteriser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from runtime.actor import Moment
from runtime.compositing import composite
from runtime.raster import render
from runtime.stage import Stage
from runtime.types import Bundle, Camera, GaussianSet

Style = Literal["splats", "points"]
RendererName = Literal["compute", "instances", "cpu"]
POINT_LOG_SCALE = -6.2
"""Size of a point on the CPU: 2 mm."""


@dataclass(frozen=True)
class View:
    """One picture, or one half of a split one."""

    moments: tuple[Moment, ...]
    """One for each avatar of the scene."""
    camera: Camera
    """Its size is the view's."""
    left: int = 0
    """Where the view begins in the picture [px]."""
    style: Style = "splats"


@runtime_checkable
class Renderer(Protocol):
    """Draws views of a scene. `draw` then `show` or `read`; a drawn picture stays until the next."""

    name: RendererName

    def set_scene(self, bundles: Sequence[Bundle], placements: Sequence[np.ndarray]) -> None:
        """What is drawn from now on; `placements` [3 4] stand the avatars in the world."""
        ...

    def draw(self, views: Sequence[View], size: tuple[int, int]) -> None:
        """Draw a picture of `size` (width, height) [px], transparent where nothing is."""
        ...

    def show(self, size: tuple[int, int], background: tuple[float, float, float]) -> None:
        """Stretch the picture over the current framebuffer of `size` [px]."""
        ...

    def read(self, background: tuple[float, float, float]) -> UInt8[np.ndarray, "H X 3"]:
        """The picture over a background, top row first."""
        ...

    def delete(self) -> None:
        """Free what it holds."""
        ...


class CpuRenderer:
    """The CPU rasteriser; `show` needs any OpenGL that pyglet can open, `read` none."""

    name: RendererName = "cpu"

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._rgba = np.zeros((1, 1, 4), np.float32)
        self._canvas: object | None = None

    def set_scene(self, bundles: Sequence[Bundle], placements: Sequence[np.ndarray]) -> None:
        """See `Renderer`."""
        self._stage = Stage(list(bundles), list(placements))
        self._still = merged([bundle.gaussians for bundle in bundles])

    def draw(self, views: Sequence[View], size: tuple[int, int]) -> None:
        """See `Renderer`."""
        assert self._stage is not None, "set_scene comes first"
        self._rgba = np.zeros((size[1], size[0], 4), np.float32)
        for view in views:
            self._stage.show(list(view.moments))
            arrays, still = self._stage.arrays, self._still
            log_scales, logits = arrays.log_scales, still.opacity_logits
            if view.style == "points":
                log_scales, logits = np.full_like(log_scales, POINT_LOG_SCALE), np.full_like(logits, 6.0)
            gaussians = GaussianSet(means=arrays.means, quats_wxyz=arrays.quats, log_scales=log_scales,
                                    opacity_logits=logits, sh0=still.sh0, labels=still.labels)
            part = render(gaussians, view.camera).rgba
            self._rgba[:, view.left:view.left + part.shape[1]] = part

    def show(self, size: tuple[int, int], background: tuple[float, float, float]) -> None:
        """See `Renderer`."""
        from viewer.picture import Picture

        if self._canvas is None:
            self._canvas = Picture()
        self._canvas.show(self.read(background), size)  # type: ignore[attr-defined]

    def read(self, background: tuple[float, float, float]) -> UInt8[np.ndarray, "H X 3"]:
        """See `Renderer`."""
        return composite(self._rgba, background)

    def delete(self) -> None:
        """See `Renderer`."""


def merged(sets: Sequence[GaussianSet]) -> GaussianSet:
    """All Gaussians of several sets, one after the other."""
    return GaussianSet(**{name: np.concatenate([getattr(one, name) for one in sets])
                          for name in ("means", "quats_wxyz", "log_scales", "opacity_logits", "sh0", "labels")})


def _compute() -> Renderer:
    from viewer.compute_renderer import ComputeRenderer

    return ComputeRenderer()


def _instances() -> Renderer:
    from viewer.instance_renderer import InstanceRenderer

    return InstanceRenderer()


RENDERERS: dict[RendererName, Callable[[], Renderer]] = {
    "compute": _compute, "instances": _instances, "cpu": CpuRenderer}
"""Loaders; what fails while drawing is replaced by the next. They raise `viewer.gl_objects.GlError` where the current
OpenGL does not do."""


SOFTWARE_DRIVERS = ("llvmpipe", "softpipe", "swrast", "swiftshader", "software")
"""Parts of the names of drivers that draw on the CPU: our own rasteriser does that three to four times faster."""


def best_first(driver: str) -> tuple[RendererName, ...]:
    """The renderers in the order to try with an OpenGL driver of this name."""
    if any(name in driver.lower() for name in SOFTWARE_DRIVERS):
        return ("cpu", "instances", "compute")
    return ("compute", "instances", "cpu")


def load_renderer(*names: RendererName) -> tuple[Renderer, tuple[str, ...]]:
    """The first of the named renderers that the current OpenGL context does, and why earlier ones were passed over.

    Without names, the best for the driver. Raises `GlError` where none works.
    """
    from viewer.gl_objects import GlError, driver_name

    refused: list[str] = []
    for name in names or best_first(driver_name()):
        try:
            return RENDERERS[name](), tuple(refused)
        except GlError as error:
            refused.append(f"{name}: {error}")
    raise GlError("; ".join(refused))
