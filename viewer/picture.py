"""A picture in memory, shown in a window: what the CPU renderer needs of OpenGL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyglet
from jaxtyping import UInt8


class Picture:
    """One texture, made anew when the picture's size changes."""

    def __init__(self) -> None:
        self._texture: pyglet.image.Texture | None = None

    def show(self, pixels: UInt8[np.ndarray, "H X 3"], size: tuple[int, int]) -> None:
        """Stretch a picture, top row first, over a window of `size` [px]."""
        height, width = pixels.shape[:2]
        if self._texture is None or (self._texture.width, self._texture.height) != (width, height):
            if self._texture is not None:
                self._texture.delete()
            linear = pyglet.gl.GL_LINEAR
            self._texture = pyglet.image.Texture.create(width, height, min_filter=linear, mag_filter=linear)
        self._texture.blit_into(_image_data(pixels), 0, 0, 0)
        self._texture.blit(0, 0, width=size[0], height=size[1])


def save_png(pixels: UInt8[np.ndarray, "H X 3"], path: Path) -> None:
    """Write a picture; raises `OSError` where it cannot be written."""
    _image_data(pixels).save(str(path))


def _image_data(pixels: UInt8[np.ndarray, "H X 3"]) -> pyglet.image.ImageData:
    height, width = pixels.shape[:2]
    return pyglet.image.ImageData(width, height, "RGB", np.ascontiguousarray(pixels).tobytes(), pitch=-3 * width)
