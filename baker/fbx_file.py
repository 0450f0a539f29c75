"""Binary FBX as a glTF document: skeleton, skins, meshes, textures and animations, so that one path reads both.

A root node brings axes and units to glTF's. Not read: an animation's layers above its first, constraints, shapes
(morphs), inheritance that leaves out a parent's scale. Letters: V vertices, C polygon corners, F triangles.
"""

from __future__ import annotations

import json
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import quote

import numpy as np

from baker.fbx_animation import write_animation
from baker.fbx_nodes import FbxNode, array, read_fbx
from baker.fbx_scene import FbxObject, FbxScene, GltfBuilder, euler_matrices, fbx_text, local_transforms
from baker.gltf_file import Gltf
from runtime import rotations
from runtime.errors import InputError

INFLUENCES = 8
COLOR_TEXTURES = ("DiffuseColor", "Maya|baseColor", "Maya|TEX_color_map", "3dsMax|Parameters|base_color_map")
MAX_CORNERS = 30_000_000
LARGEST = 1e9
"""Positions, texture coordinates and matrices beyond it are damage."""


def fbx_as_gltf(path: Path) -> Gltf:
    """The document of an FBX file. Raises `InputError` naming the file."""
    scene = FbxScene(path, read_fbx(path))
    builder = GltfBuilder(path)
    _write_nodes(scene, builder)
    for model in scene.of_class("Model"):
        _write_mesh(scene, builder, model)
    _write_bind_pose(scene, builder)
    for stack in scene.of_class("AnimationStack"):
        write_animation(scene, builder, stack)
    document = {"asset": {"version": "2.0", "generator": "FBX"}, "buffers": [{"byteLength": len(builder.binary)}],
                **{key: value for key, value in builder.lists.items() if value}}
    return Gltf(path, json.loads(json.dumps(document)), bytes(builder.binary))


def _rest(model: FbxObject) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return local_transforms(model, model.vector("Lcl Translation")[None], model.vector("Lcl Rotation")[None],
                            model.vector("Lcl Scaling", (1.0, 1.0, 1.0))[None])


def _write_nodes(scene: FbxScene, builder: GltfBuilder) -> None:
    """All models below one root that brings axes and units to glTF's."""
    settings = scene.settings
    axes = [int(settings.number(name, default)) if settings else int(default)
            for name, default in (("CoordAxis", 0.0), ("UpAxis", 1.0))]
    signs = [(-1.0 if settings and settings.number(name, 1.0) < 0 else 1.0) for name in ("CoordAxisSign", "UpAxisSign")]
    if not all(0 <= a <= 2 for a in axes) or axes[0] == axes[1]:
        axes = [0, 1]
    right, up = (np.eye(3)[a] * s for a, s in zip(axes, signs, strict=True))
    quat = rotations.from_matrix(np.stack([right, up, np.cross(right, up)]))
    unit = float(np.clip(settings.number("UnitScaleFactor", 1.0) if settings else 1.0, 1e-4, 1e5)) / 100
    root = builder.add("nodes", {"name": "fbx", "rotation": _xyzw(quat), "scale": [unit] * 3, "children": []})
    models = scene.of_class("Model")
    for model in models:
        place, turn, scale = _rest(model)
        builder.node_of[model.id] = builder.add("nodes", {
            "name": model.name, "translation": place[0].tolist(), "rotation": _xyzw(turn[0]),
            "scale": scale[0].tolist(), "children": []})
    for model in models:
        parent = scene.parent(model)
        builder.lists["nodes"][root if parent is None else builder.node_of[parent.id]]["children"].append(
            builder.node_of[model.id])


def _xyzw(quat: np.ndarray) -> list[float]:
    return [float(v) for v in np.roll(quat, -1)]


def _matrix(node: FbxNode | None, path: Path) -> np.ndarray | None:
    """A 4 x 4 matrix of column vectors, if there is a sound one."""
    values = array(node, path)
    if len(values) != 16 or not np.isfinite(values).all() or np.abs(values).max() > LARGEST:
        return None
    return values.reshape(4, 4).T.astype(np.float64)


def _inverse(matrix: np.ndarray, path: Path) -> np.ndarray:
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-18:
        raise InputError(f"{path}: a joint's bind matrix is singular (scaled to nothing); repair the rig")
    return np.linalg.inv(matrix)


def _write_mesh(scene: FbxScene, builder: GltfBuilder, model: FbxObject) -> None:
    """A model's mesh as one primitive a material, with its skin."""
    geometry = next((g for g, _ in scene.under(model, "Geometry") if g.subkind == "Mesh"), None)
    if geometry is None:
        return
    path, node = scene.path, geometry.node
    points = array(node.find("Vertices"), path).astype(np.float64)
    ends = array(node.find("PolygonVertexIndex"), path).astype(np.int64)
    if len(points) < 9 or len(ends) < 3 or len(ends) > MAX_CORNERS:
        return
    points = points[: len(points) // 3 * 3].reshape(-1, 3)
    corners = np.where(ends < 0, ~ends, ends)
    if not np.isfinite(points).all() or np.abs(points).max() > LARGEST:
        raise InputError(f"{path}: a vertex of '{model.name}' is NaN or over {LARGEST:g} units away; repair it")
    if corners.min() < 0 or corners.max() >= len(points):
        raise InputError(f"{path}: a face of '{model.name}' names vertex {corners.max()} of {len(points)}; export it "
                         "again")
    triangles, polygon = _triangles(ends)
    geometric = np.eye(4)
    geometric[:3, :3] = euler_matrices(model.vector("GeometricRotation"), "xyz")
    geometric[:3, :3] *= model.vector("GeometricScaling", (1.0, 1.0, 1.0))
    geometric[:3, 3] = model.vector("GeometricTranslation")
    skin = _skin(scene, builder, geometry, len(points), geometric)
    if skin is None:
        points = points @ geometric[:3, :3].T + geometric[:3, 3]
    uvs = _layer(node.find("LayerElementUV"), "UV", 2, corners, path)
    of_polygon = _polygon_materials(node.find("LayerElementMaterial"), int(polygon.max(initial=-1)) + 1, path)
    materials = [thing for thing, _ in scene.under(model, "Material")]
    primitives = []
    for number in np.unique(of_polygon[polygon]):
        used = triangles[of_polygon[polygon] == number].ravel()
        # One vertex for corners that share place and texture coordinates.
        keys = np.column_stack([corners[used], np.zeros((len(used), 2)) if uvs is None else uvs[used]])
        rows, index = np.unique(keys, axis=0, return_inverse=True)
        vertex = rows[:, 0].astype(np.int64)
        attributes = {"POSITION": builder.accessor(points[vertex].astype(np.float32), "VEC3")}
        if uvs is not None:
            attributes["TEXCOORD_0"] = builder.accessor((rows[:, 1:] * [1, -1] + [0, 1]).astype(np.float32), "VEC2")
        for k in range(INFLUENCES // 4 if skin is not None else 0):
            assert skin is not None
            part = slice(4 * k, 4 * k + 4)
            attributes[f"JOINTS_{k}"] = builder.accessor(skin[1][vertex, part], "VEC4")
            attributes[f"WEIGHTS_{k}"] = builder.accessor(skin[2][vertex, part].astype(np.float32), "VEC4")
        primitive = {"attributes": attributes, "indices": builder.accessor(index.ravel(), "SCALAR")}
        if number < len(materials):
            primitive["material"] = _material(scene, builder, materials[int(number)])
        primitives.append(primitive)
    item = builder.lists["nodes"][builder.node_of[model.id]]
    item["mesh"] = builder.add("meshes", {"name": geometry.name or model.name, "primitives": primitives})
    if skin is not None:
        item["skin"] = skin[0]


def _triangles(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corner rows of triangles [F 3], fans of the polygons, and the polygon of each."""
    stops = np.flatnonzero(ends < 0) + 1
    starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)
    counts = np.maximum(stops - starts - 2, 0)
    polygon = np.repeat(np.arange(len(stops)), counts)
    step = np.arange(len(polygon)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = starts[polygon]
    return np.stack([first, first + step + 1, first + step + 2], 1), polygon


def _layer(layer: FbxNode | None, name: str, width: int, corners: np.ndarray, path: Path) -> np.ndarray | None:
    """Values [C width] of a layer at each corner; None where it has none that fits."""
    values = array(layer.find(name), path) if layer is not None else np.zeros(0)
    if layer is None or len(values) < width:
        return None
    values = values[: len(values) // width * width].reshape(-1, width)
    by = fbx_text(layer.value("MappingInformationType"))
    rows = corners if by in ("ByVertice", "ByVertex") else np.arange(len(corners))
    if fbx_text(layer.value("ReferenceInformationType")) in ("IndexToDirect", "Index"):
        index = array(layer.find(f"{name}Index"), path).astype(np.int64)
        if not len(index) or rows.max() >= len(index):
            return None
        rows = index[rows]
    if rows.max() >= len(values) or not np.isfinite(values).all() or np.abs(values).max() > LARGEST:
        return None
    return values[np.maximum(rows, 0)]


def _polygon_materials(layer: FbxNode | None, polygons: int, path: Path) -> np.ndarray:
    numbers = array(layer.find("Materials"), path).astype(np.int64) if layer is not None else np.zeros(1, np.int64)
    if layer is None or fbx_text(layer.value("MappingInformationType")) != "ByPolygon" or len(numbers) < polygons:
        return np.full(polygons, max(int(numbers[0]), 0) if len(numbers) else 0)
    return np.maximum(numbers[:polygons], 0)


def _skin(scene: FbxScene, builder: GltfBuilder, geometry: FbxObject, vertices: int,
          geometric: np.ndarray) -> tuple[int, np.ndarray, np.ndarray] | None:
    """Skin number, joints [V W] and weights [V W] of a geometry; None if it has no clusters."""
    clusters = [cluster for deformer, _ in scene.under(geometry, "Deformer") if deformer.subkind == "Skin"
                for cluster, _ in scene.under(deformer, "Deformer") if cluster.subkind == "Cluster"]
    joints, inverse, entries = [], [], []
    for cluster in clusters:
        bone = next((m for m, _ in scene.under(cluster, "Model")), None)
        link = _matrix(cluster.node.find("TransformLink"), scene.path)
        if bone is None or link is None:
            continue
        to_bone = _matrix(cluster.node.find("Transform"), scene.path)
        to_bone = _inverse(link, scene.path) if to_bone is None else to_bone
        index = array(cluster.node.find("Indexes"), scene.path).astype(np.int64)
        weight = array(cluster.node.find("Weights"), scene.path).astype(np.float64)
        count = min(len(index), len(weight))
        good = (index[:count] >= 0) & (index[:count] < vertices) & np.isfinite(weight[:count])
        entries.append((index[:count][good], np.full(int(good.sum()), len(joints)), weight[:count][good]))
        joints.append(builder.node_of[bone.id])
        inverse.append(to_bone @ geometric)
    if not joints:
        return None
    vertex, joint, weight = (np.concatenate(column) for column in zip(*entries, strict=True))
    order = np.lexsort((-weight, vertex))
    vertex, joint, weight = vertex[order], joint[order], weight[order]
    rank = np.arange(len(vertex)) - np.searchsorted(vertex, vertex)
    keep = rank < INFLUENCES
    rows, weights = np.zeros((vertices, INFLUENCES), np.int64), np.zeros((vertices, INFLUENCES))
    rows[vertex[keep], rank[keep]], weights[vertex[keep], rank[keep]] = joint[keep], weight[keep]
    return _add_skin(builder, joints, np.stack(inverse)), rows, weights


def _add_skin(builder: GltfBuilder, joints: list[int], inverse: np.ndarray) -> int:
    flat = inverse.transpose(0, 2, 1).reshape(-1, 16).astype(np.float32)
    return builder.add("skins", {"joints": joints, "inverseBindMatrices": builder.accessor(flat, "MAT4")})


def _write_bind_pose(scene: FbxScene, builder: GltfBuilder) -> None:
    """A motion without a mesh keeps its bind pose as a skin that moves nothing."""
    if builder.lists.get("skins"):
        return
    joints, inverse = [], []
    for pose in scene.of_class("Pose"):
        for node in pose.node.all("PoseNode"):
            matrix, model = _matrix(node.find("Matrix"), scene.path), node.value("Node")
            if matrix is not None and isinstance(model, int) and model in builder.node_of and (
                    scene.things[model].subkind in ("LimbNode", "Root")):
                joints.append(builder.node_of[model])
                inverse.append(_inverse(matrix, scene.path))
    if len(joints) > 1 and len(set(joints)) == len(joints):
        _add_skin(builder, joints, np.stack(inverse))


def _material(scene: FbxScene, builder: GltfBuilder, thing: FbxObject) -> int:
    """A material's colour, its texture, and whether its alpha counts."""
    if thing.id in builder.materials:
        return builder.materials[thing.id]
    color = thing.vector("DiffuseColor", (0.8, 0.8, 0.8)) if "DiffuseColor" in thing.properties else np.ones(3)
    pbr: dict[str, Any] = {"baseColorFactor": [*np.clip(color, 0, 1).tolist(), 1.0]}
    item: dict[str, Any] = {"name": thing.name, "pbrMetallicRoughness": pbr}
    textures = scene.under(thing, "Texture")
    for texture, prop in textures:
        if prop in COLOR_TEXTURES and "baseColorTexture" not in pbr:
            pbr["baseColorTexture"] = {"index": builder.add("textures", {"source": _image(scene, builder, texture)})}
            pbr["baseColorFactor"] = [1.0, 1.0, 1.0, 1.0]
        if prop in ("TransparentColor", "TransparencyFactor", "Maya|opacity"):
            item["alphaMode"] = "BLEND"
    builder.materials[thing.id] = builder.add("materials", item)
    return builder.materials[thing.id]


def _image(scene: FbxScene, builder: GltfBuilder, texture: FbxObject) -> int:
    """An image inside the file, or found by its name in the folders exporters write to."""
    holders = [video for video, _ in scene.under(texture, "Video")]
    for holder in holders:
        content = holder.node.value("Content")
        if isinstance(content, bytes) and content:
            return builder.add("images", {"bufferView": builder.view(content)})
    folder, wanted = scene.path.parent, "texture"
    for holder in (texture, *holders):
        for key in ("RelativeFilename", "FileName", "Filename"):
            name = PureWindowsPath(fbx_text(holder.node.value(key))).name
            wanted = name or wanted
            for place in ("", f"{scene.path.stem}.fbm", "textures", "Textures"):
                if name and "\0" not in name and (folder / place / name).is_file():
                    return builder.add("images", {"uri": quote(f"{place}/{name}" if place else name)})
    raise InputError(f"{scene.path}: its texture '{wanted[:80]}' is missing; put it beside the file, or export with "
                     "embedded media")
