"""Thin owners of OpenGL objects: programs, buffers, framebuffers. Errors of the driver become exceptions here.

Constants reach the shaders by `#define` when they are loaded, so each is written once, in Python.
Nothing here names an OpenGL constant while it is imported: that would open a display.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from pyglet import gl

from runtime import _raster_blend, _raster_project, bundle_blocks, fast_sort

SHADERS = Path(__file__).parent / "shaders"
GROUP = 256
"""Invocations of a compute work group."""
DIGIT_BITS = 4
"""Bits that one pass of the radix sort orders."""

DEFINES = {
    "NEAR": _raster_project.NEAR, "EPS_2D": _raster_project.EPS_2D, "ALPHA_MIN": _raster_project.ALPHA_MIN,
    "ALPHA_MAX": float(_raster_blend.ALPHA_MAX), "GUARD": _raster_project.GUARD, "POINT_RADIUS": 1.6,
    "GROUP": GROUP, "DIGITS": 1 << DIGIT_BITS, "WEIGHT_ONE": float(bundle_blocks.WEIGHT_ONE), "SQUARINGS": 24,
    "LARGEST_KEY": f"{fast_sort.LARGEST_KEY}u", "NEAREST_BITS": f"{fast_sort.NEAREST_BITS}u",
    "KEY_SHIFT": f"{fast_sort.KEY_SHIFT}u",
}
"""Names that shaders use."""


class GlError(Exception):
    """The driver refused something; the viewer then takes its next path."""


def check_errors(where: str) -> None:
    """Raise `GlError` if OpenGL has recorded an error."""
    codes = []
    while (code := gl.glGetError()) != gl.GL_NO_ERROR and len(codes) < 16:
        codes.append(hex(code))
    if codes:
        raise GlError(f"OpenGL error {', '.join(codes)} {where}")


class Program:
    """A linked program and its uniforms."""

    def __init__(self, version: int, *stages: str, defines: tuple[str, ...] = ()) -> None:
        """Compile the shader files `stages` for GLSL `version`, with further names defined."""
        self.id = gl.glCreateProgram()
        head = f"#version {version}{' core' if version < 430 else ''}\n" + "".join(
            f"#define {name} {value}\n" for name, value in {**DEFINES, **dict.fromkeys(defines, 1)}.items())
        shaders = [_compile(stage, head) for stage in stages]
        for shader in shaders:
            gl.glAttachShader(self.id, shader)
        gl.glLinkProgram(self.id)
        for shader in shaders:
            gl.glDeleteShader(shader)
        status = ctypes.c_int()
        gl.glGetProgramiv(self.id, gl.GL_LINK_STATUS, ctypes.byref(status))
        if not status.value:
            log = ctypes.create_string_buffer(2048)
            gl.glGetProgramInfoLog(self.id, 2048, None, log)
            raise GlError(f"{' + '.join(stages)} do not link: {log.value.decode(errors='replace')}")
        self._locations: dict[str, int] = {}

    def use(self, **uniforms: object) -> None:
        """Make it current and set uniforms: int or float arrays of 1 to 4, or a 4x4 float matrix."""
        gl.glUseProgram(self.id)
        for name, value in uniforms.items():
            array = np.asarray(value)
            location = self._location(name)
            if array.shape == (4, 4):
                data = np.ascontiguousarray(array, np.float32)
                gl.glUniformMatrix4fv(location, 1, gl.GL_TRUE, data.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
            elif array.dtype.kind == "f":
                (gl.glUniform1f, gl.glUniform2f, gl.glUniform3f, gl.glUniform4f)[array.size - 1](
                    location, *map(float, array.reshape(-1)))
            else:
                (gl.glUniform1i, gl.glUniform2i, gl.glUniform3i, gl.glUniform4i)[array.size - 1](
                    location, *map(int, array.reshape(-1)))

    def _location(self, name: str) -> int:
        if name not in self._locations:
            self._locations[name] = gl.glGetUniformLocation(self.id, name.encode())
        return self._locations[name]

    def delete(self) -> None:
        """Free it."""
        gl.glDeleteProgram(self.id)


def _compile(name: str, head: str) -> int:
    """A compiled shader of a file in `shaders/`; its kind is in the name."""
    kind = {"vert": gl.GL_VERTEX_SHADER, "frag": gl.GL_FRAGMENT_SHADER, "comp": gl.GL_COMPUTE_SHADER}[
        name.split(".")[-2]]
    text = (head + "#line 1\n" + (SHADERS / name).read_text(encoding="ascii")).encode()
    shader = gl.glCreateShader(kind)
    pointer = ctypes.cast(ctypes.pointer(ctypes.c_char_p(text)), ctypes.POINTER(ctypes.POINTER(ctypes.c_char)))
    gl.glShaderSource(shader, 1, pointer, ctypes.c_int(len(text)))
    gl.glCompileShader(shader)
    status = ctypes.c_int()
    gl.glGetShaderiv(shader, gl.GL_COMPILE_STATUS, ctypes.byref(status))
    if not status.value:
        log = ctypes.create_string_buffer(2048)
        gl.glGetShaderInfoLog(shader, 2048, None, log)
        raise GlError(f"{name} does not compile: {log.value.decode(errors='replace')}")
    return shader


class Buffer:
    """A buffer of bytes."""

    def __init__(self, data: np.ndarray | int, *, usage: int | None = None) -> None:
        """Of an array's content, or of so many uninitialised bytes. Never empty: some drivers refuse that.

        `usage` is OpenGL's hint, GL_STATIC_DRAW by default.
        """
        self.usage = gl.GL_STATIC_DRAW if usage is None else usage
        self.id = _generated(gl.glGenBuffers)
        self.set(data)

    def set(self, data: np.ndarray | int) -> None:
        """Replace the content; the old storage is left to what still draws from it."""
        gl.glBindBuffer(gl.GL_ARRAY_BUFFER, self.id)
        if isinstance(data, int):
            gl.glBufferData(gl.GL_ARRAY_BUFFER, max(data, 16), None, self.usage)
        else:
            data = np.ascontiguousarray(data)
            if data.nbytes < 16:
                gl.glBufferData(gl.GL_ARRAY_BUFFER, 16, None, self.usage)
                gl.glBufferSubData(gl.GL_ARRAY_BUFFER, 0, data.nbytes, data.ctypes.data_as(ctypes.c_void_p))
            else:
                gl.glBufferData(gl.GL_ARRAY_BUFFER, data.nbytes, data.ctypes.data_as(ctypes.c_void_p), self.usage)
        gl.glBindBuffer(gl.GL_ARRAY_BUFFER, 0)

    def read(self, dtype: type, count: int) -> np.ndarray:
        """`count` values from the beginning: for tests."""
        out = np.empty(count, dtype)
        gl.glBindBuffer(gl.GL_ARRAY_BUFFER, self.id)
        gl.glGetBufferSubData(gl.GL_ARRAY_BUFFER, 0, out.nbytes, out.ctypes.data_as(ctypes.c_void_p))
        gl.glBindBuffer(gl.GL_ARRAY_BUFFER, 0)
        return out

    def delete(self) -> None:
        """Free it."""
        gl.glDeleteBuffers(1, ctypes.byref(ctypes.c_uint(self.id)))


class Canvas:
    """A framebuffer with one colour texture."""

    def __init__(self, size: tuple[int, int], *, half_float: bool) -> None:
        """Of `size` (width, height) [px]; RGBA of halves or of bytes."""
        self.size = size
        self.texture = _generated(gl.glGenTextures)
        gl.glBindTexture(gl.GL_TEXTURE_2D, self.texture)
        storage, kind = (gl.GL_RGBA16F, gl.GL_HALF_FLOAT) if half_float else (gl.GL_RGBA8, gl.GL_UNSIGNED_BYTE)
        gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, storage, *size, 0, gl.GL_RGBA, kind, None)
        for name, value in ((gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR), (gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR),
                            (gl.GL_TEXTURE_WRAP_S, gl.GL_CLAMP_TO_EDGE), (gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE)):
            gl.glTexParameteri(gl.GL_TEXTURE_2D, name, value)
        gl.glBindTexture(gl.GL_TEXTURE_2D, 0)
        self.id = _generated(gl.glGenFramebuffers)
        before = bound_framebuffer()
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self.id)
        gl.glFramebufferTexture2D(gl.GL_FRAMEBUFFER, gl.GL_COLOR_ATTACHMENT0, gl.GL_TEXTURE_2D, self.texture, 0)
        complete = gl.glCheckFramebufferStatus(gl.GL_FRAMEBUFFER) == gl.GL_FRAMEBUFFER_COMPLETE
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, before)
        if not complete:
            raise GlError(f"a canvas of {size[0]} x {size[1]} cannot be drawn on")

    def delete(self) -> None:
        """Free it."""
        gl.glDeleteFramebuffers(1, ctypes.byref(ctypes.c_uint(self.id)))
        gl.glDeleteTextures(1, ctypes.byref(ctypes.c_uint(self.texture)))


def vertex_array() -> int:
    """A new vertex array's name."""
    return _generated(gl.glGenVertexArrays)


def bound_framebuffer() -> int:
    """The framebuffer that is drawn on."""
    value = ctypes.c_int()
    gl.glGetIntegerv(gl.GL_DRAW_FRAMEBUFFER_BINDING, ctypes.byref(value))
    return value.value


def integer(name: int) -> int:
    """One of the driver's numbers."""
    value = ctypes.c_int()
    gl.glGetIntegerv(name, ctypes.byref(value))
    return value.value


def driver_name() -> str:
    """What the driver calls itself, e.g. the card's name."""
    name = gl.glGetString(gl.GL_RENDERER)
    return ctypes.cast(name, ctypes.c_char_p).value.decode(errors="replace") if name else ""


def _generated(generate: object) -> int:
    name = ctypes.c_uint()
    generate(1, ctypes.byref(name))  # type: ignore[operator]
    return name.value
