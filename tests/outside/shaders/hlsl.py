"""HLSL run without an engine: glslang makes SPIR-V of it, SPIRV-Cross GLSL of that, software OpenGL runs the GLSL."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

MISSING = next((f"install {package} (apt-get install {package}), or run `make test` as root on Debian"
                for program, package in (("glslangValidator", "glslang-tools"), ("spirv-cross", "spirv-cross"))
                if shutil.which(program) is None), None)

_SIZES = {"uint": (4, 4), "int": (4, 4), "float": (4, 4), "vec2": (8, 8), "uvec2": (8, 8), "vec3": (12, 16),
          "vec4": (16, 16), "uvec4": (16, 16)}
"""Bytes and alignment in a std140 block."""


def to_glsl(file: Path, entry: str, stage: str, *, include: Path | None = None) -> str:
    """GLSL 4.3 of one entry point of an HLSL file; raises where glslang does not compile it."""
    with tempfile.TemporaryDirectory() as folder:
        spirv = Path(folder) / "shader.spv"
        done = subprocess.run(
            ["glslangValidator", "-D", "-S", stage, "-e", entry, "-V", f"-I{include or file.parent}",
             "--auto-map-bindings", "--auto-map-locations", str(file), "-o", str(spirv)],
            capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        return subprocess.run(["spirv-cross", "--version", "430", "--no-es", str(spirv)],
                              capture_output=True, text=True, check=True).stdout


def bind(context: Any, glsl: str, *, buffers: dict[str, Any], uniforms: dict[str, np.ndarray]) -> None:
    """Bind buffers by their HLSL names, and a uniform block of `uniforms` where the text has one.

    Every name the text declares must be given.
    """
    for binding, name in re.findall(r"layout\(binding = (\d+), std430\)[^{]*?buffer (\w+)\n", glsl):
        buffers[name].bind_to_storage_buffer(int(binding))
    block = re.search(r"layout\(binding = (\d+), std140\) uniform \w+\n\{\n(.*?)\n\}", glsl, re.DOTALL)
    if block is None:
        return
    content, at = bytearray(), 0
    for kind, name, length in re.findall(r"(\w+) (\w+)(?:\[(\d+)\])?;", block[2]):
        size, alignment = _SIZES[kind]
        stride = size if not length else -(-size // 16) * 16
        at = -(-at // (16 if length else alignment)) * (16 if length else alignment)
        value = np.ascontiguousarray(uniforms[name], np.uint32 if kind in ("uint", "uvec2", "uvec4") else np.float32)
        assert value.nbytes == stride * int(length or 1), name
        content[len(content):] = bytes(at - len(content)) + value.tobytes()
        at = len(content)
    context.buffer(bytes(content) + bytes(-len(content) % 16)).bind_to_uniform_block(int(block[1]))
