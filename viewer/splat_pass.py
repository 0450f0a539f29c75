"""Drawing sorted instances on a canvas: the pass that both OpenGL renderers share."""

from __future__ import annotations

import ctypes

import numpy as np
from jaxtyping import UInt8
from pyglet import gl

from runtime.types import Camera
from viewer.gl_objects import Buffer, Canvas, Program, bound_framebuffer, check_errors, vertex_array
from viewer.instances import WORDS
from viewer.renderer import Style


class SplatPass:
    """Canvas, programs and vertex array."""

    def __init__(self, instances: Buffer) -> None:
        """Draws from `instances`, laid out as `viewer.instances` says."""
        self._programs = {
            "splats": Program(330, "splat.vert.glsl", "splat.frag.glsl"),
            "points": Program(330, "splat.vert.glsl", "splat.frag.glsl", defines=("POINTS",))}
        self._cover = Program(330, "canvas.vert.glsl", "canvas.frag.glsl")
        self._nothing = vertex_array()
        self._array = vertex_array()
        gl.glBindVertexArray(self._array)
        gl.glBindBuffer(gl.GL_ARRAY_BUFFER, instances.id)
        # Components, type and byte offset of mean, covariance (twice three), colour with opacity.
        attributes = ((3, gl.GL_FLOAT, 0), (3, gl.GL_FLOAT, 12), (3, gl.GL_FLOAT, 24), (4, gl.GL_HALF_FLOAT, 36))
        for location, (components, kind, offset) in enumerate(attributes):
            gl.glEnableVertexAttribArray(location)
            gl.glVertexAttribPointer(location, components, kind, gl.GL_FALSE, 4 * WORDS, ctypes.c_void_p(offset))
            gl.glVertexAttribDivisor(location, 1)
        gl.glBindBuffer(gl.GL_ARRAY_BUFFER, 0)
        gl.glBindVertexArray(0)
        self._canvas: Canvas | None = None
        check_errors("while setting up")

    def begin(self, size: tuple[int, int]) -> None:
        """An empty canvas of `size` (width, height) [px]."""
        if self._canvas is None or self._canvas.size != size:
            if self._canvas is not None:
                self._canvas.delete()
            self._canvas = Canvas(size, half_float=True)
        before = bound_framebuffer()
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._canvas.id)
        gl.glViewport(0, 0, *size)
        gl.glClearColor(0, 0, 0, 0)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, before)

    def draw(self, count: int, camera: Camera, *, left: int, style: Style) -> None:
        """Blend `count` instances, far to near, into the view that begins `left` pixels from the canvas's edge."""
        assert self._canvas is not None, "begin comes first"
        before = bound_framebuffer()
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._canvas.id)
        view = (left, 0, camera.width, camera.height)
        gl.glViewport(*view)
        gl.glScissor(*view)
        gl.glEnable(gl.GL_SCISSOR_TEST)
        gl.glDisable(gl.GL_DEPTH_TEST)
        gl.glDisable(gl.GL_CULL_FACE)
        gl.glEnable(gl.GL_BLEND)
        gl.glBlendEquation(gl.GL_FUNC_ADD)
        gl.glBlendFunc(gl.GL_ONE, gl.GL_ONE_MINUS_SRC_ALPHA)
        self._programs[style].use(T_camera_world=camera.T_camera_world,
                                  pinhole=(camera.fx, camera.fy, camera.cx, camera.cy),
                                  size=(float(camera.width), float(camera.height)))
        gl.glBindVertexArray(self._array)
        gl.glDrawArraysInstanced(gl.GL_TRIANGLE_STRIP, 0, 4, count)
        gl.glBindVertexArray(0)
        gl.glUseProgram(0)
        gl.glDisable(gl.GL_BLEND)
        gl.glDisable(gl.GL_SCISSOR_TEST)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, before)

    def show(self, size: tuple[int, int], background: tuple[float, float, float]) -> None:
        """Stretch the canvas over the current framebuffer of `size` [px]."""
        assert self._canvas is not None, "begin comes first"
        gl.glViewport(0, 0, *size)
        gl.glDisable(gl.GL_BLEND)
        gl.glActiveTexture(gl.GL_TEXTURE0)
        gl.glBindTexture(gl.GL_TEXTURE_2D, self._canvas.texture)
        self._cover.use(canvas=0, background=tuple(map(float, background)))
        gl.glBindVertexArray(self._nothing)
        gl.glDrawArrays(gl.GL_TRIANGLES, 0, 3)
        gl.glBindVertexArray(0)
        gl.glUseProgram(0)
        gl.glBindTexture(gl.GL_TEXTURE_2D, 0)

    def read(self, background: tuple[float, float, float]) -> UInt8[np.ndarray, "H X 3"]:
        """The canvas over a background, top row first."""
        assert self._canvas is not None, "begin comes first"
        width, height = self._canvas.size
        flat = Canvas(self._canvas.size, half_float=False)
        before = bound_framebuffer()
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, flat.id)
        self.show(self._canvas.size, background)
        pixels = np.empty((height, width, 3), np.uint8)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        gl.glReadPixels(0, 0, width, height, gl.GL_RGB, gl.GL_UNSIGNED_BYTE, pixels.ctypes.data_as(ctypes.c_void_p))
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, before)
        flat.delete()
        return np.ascontiguousarray(pixels[::-1])

    def delete(self) -> None:
        """Free everything but the instances."""
        for program in (*self._programs.values(), self._cover):
            program.delete()
        for array in (self._array, self._nothing):
            gl.glDeleteVertexArrays(1, ctypes.byref(ctypes.c_uint(array)))
        if self._canvas is not None:
            self._canvas.delete()
