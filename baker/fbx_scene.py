"""The objects of a binary FBX and their connections, its transforms, and the glTF document they are written to.

Transforms are T Roff Rp Rpre R Rpost^-1 Rp^-1 Soff Sp S Sp^-1. Letters: T frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from baker.fbx_nodes import FbxNode
from runtime import rotations
from runtime.errors import InputError

ORDERS = ("xyz", "xzy", "yzx", "yxz", "zxy", "zyx")
"""By `RotationOrder`: the axis named first turns first."""


@dataclass(frozen=True)
class FbxObject:
    """An object of the file."""

    id: int
    kind: str
    name: str
    subkind: str
    node: FbxNode
    properties: dict[str, tuple[object, ...]]

    def vector(self, name: str, default: tuple[float, ...] = (0.0, 0.0, 0.0)) -> np.ndarray:
        values = self.properties.get(name, ())
        good = len(values) >= len(default) and all(isinstance(v, (int, float)) for v in values[: len(default)])
        vector = np.array(values[: len(default)] if good else default, np.float64)
        return vector if np.isfinite(vector).all() and np.abs(vector).max() < 1e9 else np.array(default, np.float64)

    def number(self, name: str, default: float) -> float:
        return float(self.vector(name, (default,))[0])


class FbxScene:
    """Objects by id and class, and who is connected to whom."""

    def __init__(self, path: Path, root: FbxNode):
        self.path = path
        self.things: dict[int, FbxObject] = {}
        objects = root.find("Objects")
        for node in objects.children if objects else ():
            if len(node.values) < 3 or not isinstance(node.values[0], int):
                continue
            name = fbx_text(node.values[1]).split("\0")[0]
            self.things[node.values[0]] = FbxObject(node.values[0], node.name, name, fbx_text(node.values[2]), node,
                                                 _properties(node))
        self.below: dict[int, list[tuple[int, str]]] = {}
        self.above: dict[int, list[int]] = {}
        connections = root.find("Connections")
        for node in connections.all("C") if connections else ():
            values = node.values
            if len(values) >= 3 and isinstance(values[1], int) and isinstance(values[2], int):
                self.below.setdefault(values[2], []).append((values[1], fbx_text(values[3]) if len(values) > 3 else ""))
                self.above.setdefault(values[1], []).append(values[2])
        settings = root.find("GlobalSettings")
        self.settings = FbxObject(0, "", "", "", settings, _properties(settings)) if settings else None
        if not any(self.of_class("Model")):
            raise InputError(f"{path}: holds no objects; export the character or its motion again")

    def of_class(self, kind: str) -> list[FbxObject]:
        return [thing for thing in self.things.values() if thing.kind == kind]

    def under(self, thing: FbxObject, kind: str) -> list[tuple[FbxObject, str]]:
        """(object, property it drives) of a class connected below a thing."""
        return [(self.things[i], prop) for i, prop in self.below.get(thing.id, ())
                if i in self.things and self.things[i].kind == kind]

    def parent(self, model: FbxObject) -> FbxObject | None:
        return next((self.things[i] for i in self.above.get(model.id, ())
                     if i in self.things and self.things[i].kind == "Model"), None)


def fbx_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _properties(node: FbxNode) -> dict[str, tuple[object, ...]]:
    block = node.find("Properties70")
    return {fbx_text(p.values[0]): p.values[4:] for p in (block.all("P") if block else ()) if len(p.values) > 4}


def euler_matrices(degrees: np.ndarray, order: str) -> np.ndarray:
    """Rotations [... 3 3] of Euler angles [... 3] in x, y, z."""
    result = np.broadcast_to(np.eye(3), (*degrees.shape[:-1], 3, 3))
    for axis in order:
        k = "xyz".index(axis)
        vector = np.zeros(degrees.shape)
        vector[..., k] = np.deg2rad(degrees[..., k])
        result = rotations.to_matrix(rotations.from_rotvec(vector)) @ result
    return result


def local_transforms(model: FbxObject, translation: np.ndarray, degrees: np.ndarray,
           scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Translations [T 3], rotations wxyz [T 4] and scales [T 3] of a model's channel values [T 3]."""
    active = model.number("RotationActive", 0.0) != 0
    order = int(model.number("RotationOrder", 0.0)) if active else 0
    before = euler_matrices(model.vector("PreRotation"), "xyz") if active else np.eye(3)
    after = euler_matrices(model.vector("PostRotation"), "xyz").T if active else np.eye(3)
    turn = before @ euler_matrices(degrees, ORDERS[order] if 0 <= order < 6 else "xyz") @ after
    pivot, scale_pivot = model.vector("RotationPivot"), model.vector("ScalingPivot")
    inner = model.vector("ScalingOffset") + scale_pivot - scale * scale_pivot - pivot
    place = translation + model.vector("RotationOffset") + pivot + np.einsum("tij,tj->ti", turn, inner)
    return place, rotations.from_matrix(turn), scale


@dataclass
class GltfBuilder:
    """glTF lists that grow, and the binary chunk."""

    path: Path
    binary: bytearray = field(default_factory=bytearray)
    lists: dict[str, list[Any]] = field(default_factory=dict)
    node_of: dict[int, int] = field(default_factory=dict)
    """Model id to node."""
    materials: dict[int, int] = field(default_factory=dict)

    def add(self, key: str, item: Any) -> int:
        self.lists.setdefault(key, []).append(item)
        return len(self.lists[key]) - 1

    def view(self, data: bytes) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        start = len(self.binary)
        self.binary += data
        return self.add("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(data)})

    def accessor(self, values: np.ndarray, kind: str) -> int:
        integers = values.dtype.kind in "iu"
        data = np.ascontiguousarray(values, "<u4" if integers and kind == "SCALAR" else "<u2" if integers else "<f4")
        return self.add("accessors", {"bufferView": self.view(data.tobytes()), "count": len(values), "type": kind,
                                      "componentType": {"<u4": 5125, "<u2": 5123}.get(data.dtype.str, 5126)})
