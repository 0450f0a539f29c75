"""The container of binary FBX (versions 7.0 to 7.7): a tree of named nodes with properties. Nothing in it is trusted.

A record is (end, property count, property bytes, name), 32-bit before version 7500 and 64-bit from it on; arrays may be
zlib streams. After Blender's published description of the format.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baker.motion_files.text import read_bytes
from runtime.errors import InputError

MAGIC = b"Kaydara FBX Binary  \x00"
MAX_FILE = 1 << 30
MAX_DEPTH = 40
MAX_NODES = 2_000_000
MAX_ARRAY = 512 << 20
"""Bytes of one unpacked array."""
SCALARS = {b"Y": "<h", b"C": "<b", b"B": "<b", b"I": "<i", b"F": "<f", b"D": "<d", b"L": "<q"}
ARRAYS = {b"f": "<f4", b"d": "<f8", b"l": "<i8", b"i": "<i4", b"b": "u1", b"c": "u1"}


@dataclass(frozen=True)
class PackedArray:
    """A numeric array as it lies in the file."""

    dtype: str
    count: int
    packed: bool
    data: bytes


@dataclass(frozen=True)
class FbxNode:
    """A node: its properties (numbers, bytes, arrays) and children."""

    name: str
    values: tuple[object, ...]
    children: tuple[FbxNode, ...]

    def find(self, name: str) -> FbxNode | None:
        """The first child of a name."""
        return next((child for child in self.children if child.name == name), None)

    def all(self, name: str) -> Iterator[FbxNode]:
        """All children of a name."""
        return (child for child in self.children if child.name == name)

    def value(self, name: str, default: object = None) -> object:
        """The first property of a child."""
        child = self.find(name)
        return child.values[0] if child is not None and child.values else default


def read_fbx(path: Path) -> FbxNode:
    """The root of a file's nodes. Raises `InputError` for what is no binary FBX of a known version, or truncated."""
    data = read_bytes(path, what="FBX", limit=MAX_FILE)
    if not data.startswith(MAGIC):
        text = b"FBX" in data[:200] or b"FBXHeaderExtension" in data[:4000]
        raise InputError(f"{path}: {'is FBX written as text; save it as binary FBX' if text else 'is not FBX'}, or "
                         "export it as .glb")
    if len(data) < 27:
        raise InputError(f"{path}: is truncated; copy it again")
    version = struct.unpack_from("<I", data, 23)[0]
    if not 7000 <= version < 8000:
        raise InputError(f"{path}: is FBX version {version / 1000:.1f}; save it as FBX 2011 (7.1) or later, or export "
                         "it as .glb")
    return FbxNode("", (), _Reader(path, data, wide=version >= 7500).siblings(27, len(data), 0)[0])


def array(node: FbxNode | None, path: Path) -> np.ndarray:
    """The array that is a node's first property; empty where there is none."""
    packed = node.values[0] if node is not None and node.values else None
    if not isinstance(packed, PackedArray):
        return np.zeros(0)
    size = packed.count * np.dtype(packed.dtype).itemsize
    data = packed.data
    if not size:  # to zlib, a limit of 0 bytes is none
        return np.zeros(0, packed.dtype)
    if packed.packed:
        try:
            data = zlib.decompressobj().decompress(data, size)
        except zlib.error:
            raise InputError(f"{path}: an array is damaged; copy the file again") from None
    if len(data) < size:
        raise InputError(f"{path}: an array is shorter than it says; copy the file again")
    return np.frombuffer(data[:size], packed.dtype)


class _Reader:
    def __init__(self, path: Path, data: bytes, *, wide: bool):
        self.path, self.data, self.count = path, data, 0
        self.head = struct.Struct("<QQQB" if wide else "<IIIB")

    def fail(self) -> InputError:
        return InputError(f"{self.path}: its nodes do not fit together (truncated or damaged); copy it again")

    def siblings(self, at: int, stop: int, depth: int) -> tuple[tuple[FbxNode, ...], int]:
        """The nodes from `at` to their sentinel or `stop`, and where they end."""
        nodes: list[FbxNode] = []
        while at + self.head.size <= stop:
            end, properties, size, name_size = self.head.unpack_from(self.data, at)
            if end == 0:
                break
            start = at + self.head.size + name_size
            self.count += 1
            if not start + size <= end <= stop or depth > MAX_DEPTH or self.count > MAX_NODES:
                raise self.fail()
            name = self.data[start - name_size:start].decode("utf-8", "replace")
            values = self._values(start, start + size, properties)
            children, _ = self.siblings(start + size, end, depth + 1) if start + size < end else ((), 0)
            nodes.append(FbxNode(name, values, children))
            at = end
        return tuple(nodes), at

    def _values(self, at: int, stop: int, count: int) -> tuple[object, ...]:
        values: list[object] = []
        if count > stop - at:
            raise self.fail()
        for _ in range(count):
            kind, at = self.data[at:at + 1], at + 1
            if kind in SCALARS:
                form = struct.Struct(SCALARS[kind])
                if at + form.size > stop:
                    raise self.fail()
                values.append(form.unpack_from(self.data, at)[0])
                at += form.size
            elif kind in ARRAYS and at + 12 <= stop:
                length, encoding, size = struct.unpack_from("<III", self.data, at)
                unpacked = length * np.dtype(ARRAYS[kind]).itemsize
                size = size if encoding else unpacked
                if at + 12 + size > stop or unpacked > MAX_ARRAY:
                    raise self.fail()
                values.append(PackedArray(ARRAYS[kind], length, bool(encoding), self.data[at + 12:at + 12 + size]))
                at += 12 + size
            elif kind in (b"S", b"R") and at + 4 <= stop:
                size = struct.unpack_from("<I", self.data, at)[0]
                if at + 4 + size > stop:
                    raise self.fail()
                values.append(self.data[at + 4:at + 4 + size])
                at += 4 + size
            else:
                raise self.fail()
        return tuple(values)
