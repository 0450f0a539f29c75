"""A binary glTF 2.0 file under construction: accessors appended to one buffer, then the JSON."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from runtime.errors import InputError

ARRAY_BUFFER = 34962
"""Target of buffer views that hold vertex attributes."""
_COMPONENTS = {np.dtype("u1"): 5121, np.dtype("<u2"): 5123, np.dtype("<u4"): 5125, np.dtype("<f4"): 5126}
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_MOST_BYTES = 2 ** 32 - 1
"""The header counts in 32 bits."""
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942


class GlbBuffer:
    """Bytes of the binary chunk, and the views and accessors that describe them."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, array: np.ndarray, *, target: int | None = None) -> int:
        """Append an array's bytes, padded to 4; returns the view's index."""
        content = np.ascontiguousarray(array).tobytes()
        view = {"buffer": 0, "byteOffset": self._size, "byteLength": len(content)}
        self.views.append(view | ({} if target is None else {"target": target}))
        padding = -len(content) % 4
        self._parts.append(content + bytes(padding))
        self._size += len(content) + padding
        return len(self.views) - 1

    def accessor(self, array: np.ndarray, *, target: int | None = None, normalized: bool = False,
                 bounds: bool = False) -> int:
        """Append rows [N] or [N C]; `bounds` adds the minimum and maximum that positions and times must have."""
        accessor = self._describe(array, count=len(array), bounds=bounds)
        accessor |= {"bufferView": self.view(array, target=target)} | ({"normalized": True} if normalized else {})
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def sparse(self, values: np.ndarray, *, count: int, rows_view: int, rows_type: np.dtype) -> int:
        """An accessor of `count` rows, zero but for `values` [M 3] at the rows that the view `rows_view` holds."""
        accessor = self._describe(values, count=count, bounds=True)
        if len(values) < count:
            accessor["min"] = np.minimum(accessor["min"], 0.0).tolist()
            accessor["max"] = np.maximum(accessor["max"], 0.0).tolist()
        accessor["sparse"] = {
            "count": len(values), "values": {"bufferView": self.view(values)},
            "indices": {"bufferView": rows_view, "componentType": _COMPONENTS[rows_type]}}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def zeros(self, *, count: int) -> int:
        """An accessor of `count` zero vectors: no bytes at all."""
        self.accessors.append({"componentType": _COMPONENTS[np.dtype("<f4")], "count": count, "type": "VEC3",
                               "min": [0.0] * 3, "max": [0.0] * 3})
        return len(self.accessors) - 1

    def glb(self, document: dict[str, Any]) -> bytes:
        """The file: `document` with this buffer's arrays added. Raises `InputError` beyond the format's 4 GiB."""
        document = document | {"buffers": [{"byteLength": self._size}], "bufferViews": self.views,
                               "accessors": self.accessors}
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode("utf-8")
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + self._size
        if total > _MOST_BYTES:
            raise InputError(f"a .glb file ends at 4 GiB and this one would take {total / 2 ** 30:.1f}; ask for fewer "
                             "with --lod, --frames or --fps")
        return b"".join([struct.pack("<4sII", b"glTF", 2, total), struct.pack("<II", len(text), _JSON_CHUNK), text,
                         struct.pack("<II", self._size, _BINARY_CHUNK), *self._parts])

    def _describe(self, array: np.ndarray, *, count: int, bounds: bool) -> dict[str, Any]:
        width = 1 if array.ndim == 1 else array.shape[1]
        accessor = {"componentType": _COMPONENTS[array.dtype], "count": count, "type": _TYPES[width]}
        if bounds:
            rows = array.reshape(len(array), width)
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        return accessor
