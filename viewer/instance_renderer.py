"""OpenGL 3.3: the CPU player poses, decodes, skins and sorts; its instances are uploaded and drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from pyglet import gl

from runtime.stage import Stage
from runtime.types import Bundle
from viewer.gl_objects import Buffer, GlError, check_errors, integer
from viewer.instances import WORDS, gather, packed_colors
from viewer.renderer import RendererName, View, merged
from viewer.splat_pass import SplatPass


class InstanceRenderer:
    """See `viewer.renderer.Renderer`."""

    name: RendererName = "instances"

    def __init__(self) -> None:
        """Raises `GlError` below OpenGL 3.3."""
        version = (integer(gl.GL_MAJOR_VERSION), integer(gl.GL_MINOR_VERSION))
        if version < (3, 3):
            raise GlError(f"OpenGL {version[0]}.{version[1]}, needs 3.3")
        self._instances = Buffer(0, usage=gl.GL_STREAM_DRAW)
        self._pass = SplatPass(self._instances)
        self._stage: Stage | None = None

    def set_scene(self, bundles: Sequence[Bundle], placements: Sequence[np.ndarray]) -> None:
        """See `Renderer`."""
        self._stage = Stage(list(bundles), list(placements))
        self._colors = packed_colors(merged([bundle.gaussians for bundle in bundles]))
        self._words = np.empty((self._stage.count, WORDS), np.uint32)

    def draw(self, views: Sequence[View], size: tuple[int, int]) -> None:
        """See `Renderer`."""
        assert self._stage is not None, "set_scene comes first"
        self._pass.begin(size)
        for view in views:
            self._stage.show(list(view.moments))
            gather(self._stage.arrays, self._colors, self._stage.sort(view.camera.T_camera_world), self._words)
            self._instances.set(self._words)
            self._pass.draw(self._stage.count, view.camera, left=view.left, style=view.style)
        check_errors("while drawing")

    def show(self, size: tuple[int, int], background: tuple[float, float, float]) -> None:
        """See `Renderer`."""
        self._pass.show(size, background)

    def read(self, background: tuple[float, float, float]) -> UInt8[np.ndarray, "H X 3"]:
        """See `Renderer`."""
        return self._pass.read(background)

    def delete(self) -> None:
        """See `Renderer`."""
        self._pass.delete()
        self._instances.delete()
