"""Reading glTF 2.0 (.gltf, .glb, .vrm): JSON, buffers, accessors, nodes, images. Nothing in a file is trusted.

Letters: K nodes. Matrices are column vectors' (`T @ p`), quaternions wxyz (the file has xyzw).
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from baker.motion_files.text import parse_json, read_bytes
from runtime import rotations
from runtime.errors import InputError

MAX_FILE = 1 << 30
MAX_ELEMENTS = 60_000_000
"""Numbers in one accessor."""
MAX_NODES = 20_000
DTYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
COLUMNS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
COMPRESSED = {"KHR_draco_mesh_compression": "Draco", "EXT_meshopt_compression": "meshopt",
              "KHR_meshopt_compression": "meshopt"}
READ_EXTENSIONS = {"KHR_materials_unlit", "KHR_texture_transform", "KHR_mesh_quantization", "VRM", "VRMC_vrm",
                   "KHR_materials_emissive_strength", "KHR_materials_specular", "KHR_materials_ior",
                   "KHR_materials_clearcoat", "KHR_materials_sheen", "KHR_materials_transmission",
                   "KHR_materials_volume", "KHR_lights_punctual", "VRMC_materials_mtoon", "VRMC_springBone",
                   "KHR_materials_pbrSpecularGlossiness", "EXT_texture_webp"}
"""Extensions whose presence under `extensionsRequired` does not change what is read, or that are read."""


@dataclass
class Gltf:
    """An open glTF document."""

    path: Path
    json: Mapping[str, Any]
    binary: bytes
    """The GLB's binary chunk, or empty."""
    decoded: dict[int, np.ndarray] = field(default_factory=dict)
    """Values of accessors whose data was compressed."""
    _buffers: dict[int, bytes] = field(default_factory=dict)

    def fail(self, what: str) -> InputError:
        """An error that names the file."""
        return InputError(f"{self.path}: {what}")

    def items(self, key: str) -> list[Any]:
        """A top-level array of objects."""
        value = self.json.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.fail(f"its '{key}' is not an array of objects; export it again")
        return value

    def item(self, key: str, index: object) -> Mapping[str, Any]:
        """An element of a top-level array, by an index that came from the file."""
        items = self.items(key)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(items):
            raise self.fail(f"refers to {key}[{index!r}], it has {len(items)}; export it again")
        return items[index]

    def whole(self, item: Mapping[str, Any], key: str, default: int | None = None) -> int:
        """A non-negative whole number of an object."""
        value = item.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
            raise self.fail(f"its '{key}' is {str(value)[:40]!r}, not a whole number; export it again")
        return value

    def view(self, index: object) -> tuple[bytes, int]:
        """Bytes and stride (0: tightly packed) of a buffer view."""
        view = self.item("bufferViews", index)
        if any(name in COMPRESSED for name in _extensions(view)):
            raise _compressed(self, view)
        data = self.buffer(view.get("buffer"))
        start, length = self.whole(view, "byteOffset", 0), self.whole(view, "byteLength")
        if start + length > len(data):
            raise self.fail(f"bufferView {index} reaches beyond its buffer; the file is truncated, copy it again")
        return data[start:start + length], self.whole(view, "byteStride", 0)

    def buffer(self, index: object) -> bytes:
        """A buffer's bytes: the GLB's chunk, a data URI, or a file beside."""
        item = self.item("buffers", index)
        assert isinstance(index, int)
        if index not in self._buffers:
            uri = item.get("uri")
            self._buffers[index] = self.binary if uri is None else self.load(uri, "buffer")
        return self._buffers[index]

    def load(self, uri: object, what: str) -> bytes:
        """The bytes of a data URI or of a file in the document's folder."""
        if not isinstance(uri, str):
            raise self.fail(f"a {what} has no address; export it again")
        if uri.startswith("data:"):
            head, comma, body = uri.partition(",")
            try:
                return base64.b64decode(body, validate=True) if comma and head.endswith(";base64") else unquote(
                    body).encode("latin-1")
            except (binascii.Error, ValueError):
                raise self.fail(f"the data of a {what} is not base64; export it again") from None
        inside = self.beside(uri)
        if inside is None:
            raise self.fail(f"its {what} {uri[:80]!r} is not a file in its folder; export it as one .glb")
        if not inside.is_file():
            raise self.fail(f"its {what} {unquote(uri)[:80]!r} is missing; put it beside the file, or export one .glb")
        return read_bytes(inside, what=f"a {what}", limit=MAX_FILE)

    def beside(self, uri: str) -> Path | None:
        """Where an address points that must be in the document's folder; None if it is not."""
        name, folder = unquote(uri), self.path.parent.resolve()
        if "://" in uri or "\0" in name:
            return None
        place = (folder / name).resolve()
        return place if place.is_relative_to(folder) else None

    def accessor(self, index: object, *, columns: tuple[int, ...], kinds: str = "f") -> np.ndarray:
        """The values [count C] of an accessor; floats float32 (normalised integers scaled), integers as int64 when
        `kinds` is 'i'."""
        item = self.item("accessors", index)
        count, width = self.whole(item, "count"), COLUMNS.get(str(item.get("type")), 0)
        dtype = DTYPES.get(item.get("componentType", 0)) if isinstance(item.get("componentType"), int) else None
        if dtype is None or width not in columns:
            raise self.fail(f"accessor {index} is {item.get('type')!r} of type {item.get('componentType')!r}, "
                            f"expected {' or '.join(str(c) for c in columns)} numbers a row; export it again")
        if count * width > MAX_ELEMENTS:
            raise self.fail(f"accessor {index} has {count} rows; the limit is {MAX_ELEMENTS // width}")
        assert isinstance(index, int)
        values = self.decoded[index] if index in self.decoded else np.zeros((count, width), dtype)
        if "bufferView" in item and index not in self.decoded:
            values = self._rows(item["bufferView"], self.whole(item, "byteOffset", 0), count, width, dtype)
        if "sparse" in item:
            values = self._sparse(item["sparse"], values, width, dtype)
        if kinds == "i":
            if values.dtype.kind == "f":
                raise self.fail(f"accessor {index} holds fractions where indices are needed; export it again")
            return values.astype(np.int64)
        if values.dtype.kind != "f":
            scale = float(np.iinfo(dtype).max) if item.get("normalized") else 1.0
            values = np.maximum(values.astype(np.float32) / scale, -1.0 if item.get("normalized") else -np.inf)
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise self.fail(f"accessor {index} row {row} is NaN or infinite; repair the file")
        return values.astype(np.float32)

    def _rows(self, view: object, offset: int, count: int, width: int, dtype: Any) -> np.ndarray:
        data, stride = self.view(view)
        size = np.dtype(dtype).itemsize * width
        stride = stride or size
        if stride < size or (count and offset + stride * (count - 1) + size > len(data)):
            raise self.fail(f"an accessor reaches beyond bufferView {view}; the file is truncated, copy it again")
        if not count:
            return np.zeros((0, width), dtype)
        raw = np.frombuffer(data, np.uint8, stride * (count - 1) + size, offset)
        rows = np.lib.stride_tricks.as_strided(raw, (count, size), (stride, 1))
        return np.ascontiguousarray(rows).view(np.dtype(dtype).newbyteorder("<")).reshape(count, width)

    def _sparse(self, sparse: Any, values: np.ndarray, width: int, dtype: Any) -> np.ndarray:
        if not isinstance(sparse, dict) or not all(isinstance(sparse.get(k), dict) for k in ("indices", "values")):
            raise self.fail("a sparse accessor is not complete; export it again")
        count, places, changed = self.whole(sparse, "count"), sparse["indices"], sparse["values"]
        kind = places.get("componentType")
        place_type = DTYPES.get(kind) if isinstance(kind, int) else None
        if place_type not in (np.uint8, np.uint16, np.uint32) or count > len(values):
            raise self.fail("a sparse accessor is not sound; export it again")
        where = self._rows(places.get("bufferView"), self.whole(places, "byteOffset", 0), count, 1, place_type)[:, 0]
        if len(where) and int(where.max()) >= len(values):
            raise self.fail("a sparse accessor reaches beyond its rows; export it again")
        values = values.copy()
        values[where.astype(np.int64)] = self._rows(changed.get("bufferView"), self.whole(changed, "byteOffset", 0),
                                                    count, width, dtype)
        return values


@dataclass(frozen=True)
class Nodes:
    """The scene's tree, parents before children."""

    names: tuple[str, ...]
    parents: np.ndarray
    """[K] rows of this table, -1 for a root."""
    index: np.ndarray
    """[K] index in the file."""
    row: Mapping[int, int]
    """File index to row."""
    translations: np.ndarray
    """[K 3]."""
    quats_wxyz: np.ndarray
    """[K 4]."""
    scales: np.ndarray
    """[K 3]."""

    def world(self) -> np.ndarray:
        """World matrices [K 4 4] of the file's own pose."""
        return world_matrices(self.parents, local_matrices(self.translations, self.quats_wxyz, self.scales))


def open_gltf(path: Path) -> Gltf:
    """Open a .glb, .vrm or .gltf, or an .fbx as the document it would be. Raises `InputError` for what is none or needs
    extensions that are not read."""
    if path.suffix.lower() == ".fbx":
        from baker.fbx_file import fbx_as_gltf

        return fbx_as_gltf(path)
    data = read_bytes(path, what="glTF", limit=MAX_FILE)
    if data[:4] == b"glTF":
        gltf = _open_binary(path, data)
    else:
        gltf = Gltf(path, _object(parse_json(data, f"{path}: is not a .glb and"), path), b"")
    asset = gltf.json.get("asset")
    version = str(asset.get("version", "")) if isinstance(asset, dict) else ""
    if not version.startswith("2"):
        raise gltf.fail(f"is glTF {version or 'of no version'}; export it as glTF 2.0")
    required = gltf.json.get("extensionsRequired", [])
    for name in required if isinstance(required, list) else ():
        if name in COMPRESSED:
            from baker.draco import EXTENSION, can_read_draco, unreadable

            if name != EXTENSION or not can_read_draco():
                raise unreadable(gltf, name)
        elif name not in READ_EXTENSIONS:
            raise gltf.fail(f"requires the extension {str(name)[:60]!r}, which is not read; export it without")
    return gltf


def linked_files(path: Path, *, keys: tuple[str, ...] = ("buffers", "images")) -> list[Path]:
    """The files in its folder that a document reads besides itself, as far as they are there, for fingerprints."""
    gltf = open_gltf(path)
    uris = [item.get("uri") for key in keys for item in gltf.items(key)]
    places = [gltf.beside(uri) for uri in uris if isinstance(uri, str) and not uri.startswith("data:")]
    return [place for place in places if place is not None and place.is_file()]


def _open_binary(path: Path, data: bytes) -> Gltf:
    if len(data) < 20:
        raise InputError(f"{path}: is a truncated .glb; copy it again")
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise InputError(f"{path}: is GLB version {version}; export it as glTF 2.0")
    if length > len(data):
        raise InputError(f"{path}: has {len(data)} of {length} bytes; copy it again")
    at, found = 12, {}
    while at + 8 <= length:
        size, kind = struct.unpack_from("<II", data, at)
        if at + 8 + size > length:
            raise InputError(f"{path}: a chunk reaches beyond the file; copy it again")
        found.setdefault(kind, data[at + 8:at + 8 + size])
        at += 8 + (size + 3) // 4 * 4
    if 0x4E4F534A not in found:
        raise InputError(f"{path}: has no JSON chunk; export it again")
    json = _object(parse_json(found[0x4E4F534A], f"{path}: its JSON chunk"), path)
    return Gltf(path, json, found.get(0x004E4942, b""))


def _object(value: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, dict) or "asset" not in value:
        raise InputError(f"{path}: is not glTF (no 'asset'); give a .glb, .vrm or .gltf file")
    return value


def _extensions(item: Mapping[str, Any]) -> Mapping[str, Any]:
    found = item.get("extensions", {})
    return found if isinstance(found, dict) else {}


def _compressed(gltf: Gltf, item: Mapping[str, Any]) -> InputError:
    from baker.draco import unreadable

    return unreadable(gltf, next(n for n in _extensions(item) if n in COMPRESSED))


def read_nodes(gltf: Gltf) -> Nodes:
    """All nodes, as trees, parents first. Raises `InputError` for loops and transforms that are not sound."""
    items = gltf.items("nodes")
    if not items or len(items) > MAX_NODES:
        raise gltf.fail(f"has {len(items)} nodes; it must have 1 to {MAX_NODES}")
    parent = np.full(len(items), -1)
    for i, item in enumerate(items):
        children = item.get("children", [])
        for child in children if isinstance(children, list) else ():
            gltf.item("nodes", child)
            if parent[child] >= 0 or child == i:
                raise gltf.fail(f"node {child} has two parents; export it again")
            parent[child] = i
    order: list[int] = [i for i in range(len(items)) if parent[i] < 0]
    by_parent: dict[int, list[int]] = {}
    for i, p in enumerate(parent):
        by_parent.setdefault(int(p), []).append(i)
    for i in order:  # grows while it is walked
        order += by_parent.get(i, []) if i >= 0 else []
    if len(order) != len(items):
        raise gltf.fail("its nodes form a loop; export it again")
    row = {i: k for k, i in enumerate(order)}
    poses = [_transform(gltf, items[i], i) for i in order]
    names = tuple(str(items[i].get("name") or f"node{i}")[:200] for i in order)
    return Nodes(names=names, parents=np.array([row[int(parent[i])] if parent[i] >= 0 else -1 for i in order]),
                 index=np.array(order), row=row, translations=np.array([p[0] for p in poses]),
                 quats_wxyz=np.array([p[1] for p in poses]), scales=np.array([p[2] for p in poses]))


def _transform(gltf: Gltf, item: Mapping[str, Any], index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Translation, rotation wxyz and scale of a node."""
    if "matrix" in item:
        m = gltf_numbers(gltf, item["matrix"], 16, f"the matrix of node {index}").reshape(4, 4).T
        scale = np.linalg.norm(m[:3, :3], axis=0)
        if (scale < 1e-12).any():
            return m[:3, 3], np.array([1.0, 0, 0, 0]), scale
        if np.linalg.det(m[:3, :3]) < 0:
            scale[0] = -scale[0]
        return m[:3, 3], rotations.from_matrix(rotations.nearest_rotation(m[:3, :3] / scale)), scale
    x, y, z, w = gltf_numbers(gltf, item.get("rotation", [0, 0, 0, 1]), 4, f"the rotation of node {index}")
    quat = np.array([w, x, y, z])
    length = float(np.linalg.norm(quat))
    if length < 1e-6:
        raise gltf.fail(f"the rotation of node {index} is zero; export it again")
    return (gltf_numbers(gltf, item.get("translation", [0, 0, 0]), 3, f"the translation of node {index}"),
            quat / length, gltf_numbers(gltf, item.get("scale", [1, 1, 1]), 3, f"the scale of node {index}"))


def gltf_numbers(gltf: Gltf, value: object, count: int, what: str) -> np.ndarray:
    """`count` finite numbers of the JSON."""
    good = isinstance(value, list) and len(value) == count and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e9 for v in value)
    if not good:
        raise gltf.fail(f"{what} is not {count} numbers; export it again")
    return np.array(value, np.float64)


def local_matrices(translations: np.ndarray, quats_wxyz: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """T R S as matrices [... 4 4]."""
    out = np.zeros((*translations.shape[:-1], 4, 4))
    out[..., :3, :3] = rotations.to_matrix(quats_wxyz) * scales[..., None, :]
    out[..., :3, 3], out[..., 3, 3] = translations, 1.0
    return out


def world_matrices(parents: np.ndarray, local: np.ndarray) -> np.ndarray:
    """World matrices [... K 4 4] of local ones, parents first."""
    world = np.empty_like(local)
    for k, parent in enumerate(parents):
        world[..., k, :, :] = local[..., k, :, :] if parent < 0 else world[..., parent, :, :] @ local[..., k, :, :]
    return world


def image_bytes(gltf: Gltf, index: object) -> bytes:
    """The encoded bytes of an image."""
    image = gltf.item("images", index)
    if "bufferView" in image:
        return gltf.view(image["bufferView"])[0]
    return gltf.load(image.get("uri"), "texture")
