"""A person of boxes as a GLB: a skinned, textured mesh on SMPL-X's body joints, with one animation."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from baker.body import JOINT_NAMES, PARENTS, make_body

COUNT = 22
Change = Callable[[dict[str, Any]], object]


def box_person() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V 3], faces [F 3] and the joint [V] of a box along every bone."""
    joints = make_body({}).joints.astype(np.float64)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    vertices, faces, owner = [], [], []
    for j in range(1, COUNT):
        a, b = joints[PARENTS[j]], joints[j]
        middle, half = 0.5 * (a + b), 0.5 * np.abs(b - a) + 0.045
        start = 8 * len(owner) // 8
        vertices.append(middle + corners * half)
        faces += [(8 * (j - 1) + q[i], 8 * (j - 1) + q[k], 8 * (j - 1) + q[m]) for q in quads
                  for i, k, m in ((0, 1, 2), (0, 2, 3))]
        owner += [PARENTS[j]] * 8
        assert start == 8 * (j - 1)
    head = joints[15] + [0, 0.1, 0.02]
    vertices.append(head + corners * [0.08, 0.11, 0.1])
    faces += [(8 * (COUNT - 1) + q[i], 8 * (COUNT - 1) + q[k], 8 * (COUNT - 1) + q[m]) for q in quads
              for i, k, m in ((0, 1, 2), (0, 2, 3))]
    owner += [15] * 8
    return np.concatenate(vertices), np.array(faces), np.array(owner)


def write_glb(path: Path, *, change: Change | None = None, external_texture: str | None = None) -> Path:
    """Write the person; `change` edits the JSON (the binary chunk stays)."""
    vertices, faces, owner = box_person()
    joints = make_body({}).joints[:COUNT].astype(np.float64)
    binary, views, accessors = bytearray(), [], []

    def add(data: np.ndarray, kind: str, component: int, normalized: bool = False) -> int:
        while len(binary) % 4:
            binary.append(0)
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": data.nbytes})
        binary.extend(data.tobytes())
        item = {"bufferView": len(views) - 1, "componentType": component, "count": len(data), "type": kind}
        if data.dtype == np.float32 and kind == "VEC3":
            item |= {"min": data.min(0).tolist(), "max": data.max(0).tolist()}
        if data.dtype == np.float32 and kind == "SCALAR":
            item |= {"min": [float(data.min())], "max": [float(data.max())]}
        accessors.append(item)
        return len(accessors) - 1

    inverse = np.tile(np.eye(4), (COUNT, 1, 1))
    inverse[:, :3, 3] = -joints
    index = np.zeros((len(vertices), 4), np.uint8)
    index[:, 0] = owner
    weights = np.zeros((len(vertices), 4), np.float32)
    weights[:, 0] = 1
    uv = (vertices[:, :2] * 0.5 + 0.5).astype(np.float32)
    attributes = {"POSITION": add(vertices.astype(np.float32), "VEC3", 5126), "TEXCOORD_0": add(uv, "VEC2", 5126),
                  "JOINTS_0": add(index, "VEC4", 5121), "WEIGHTS_0": add(weights, "VEC4", 5126)}
    indices = add(faces.astype(np.uint16).ravel(), "SCALAR", 5123)
    matrices = add(inverse.transpose(0, 2, 1).astype(np.float32).reshape(COUNT, 16), "MAT4", 5126)
    times = add(np.array([0, 0.5, 1.0], np.float32), "SCALAR", 5126)
    half = np.sin(np.pi / 4)
    turn = add(np.array([[0, 0, 0, 1], [0, 0, -half, half], [0, 0, 0, 1]], np.float32), "VEC4", 5126)
    way = add(np.array([[0, 0.9, 0], [0, 0.9, 0.5], [0, 0.9, 1.0]], np.float32), "VEC3", 5126)
    picture = io.BytesIO()
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8], pixels[8:] = (200, 60, 40), (40, 60, 200)
    Image.fromarray(pixels).save(picture, format="PNG")
    image: dict[str, Any] = {"uri": external_texture}
    if external_texture is None:
        while len(binary) % 4:
            binary.append(0)
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(picture.getvalue())})
        binary.extend(picture.getvalue())
        image = {"bufferView": len(views) - 1, "mimeType": "image/png"}
    nodes: list[dict[str, Any]] = []
    for j in range(COUNT):
        parent = PARENTS[j]
        start = joints[parent] if parent >= 0 else np.array([0, -0.9, 0.0])
        node: dict[str, Any] = {"name": JOINT_NAMES[j], "translation": (joints[j] - start).tolist()}
        if children := [k for k in range(COUNT) if PARENTS[k] == j]:
            node["children"] = children
        nodes.append(node)
    nodes += [{"name": "figure", "mesh": 0, "skin": 0}]
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "copyright": "CC0"}, "scene": 0, "scenes": [{"nodes": [0, COUNT]}], "nodes": nodes,
        "meshes": [{"name": "body", "primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "skins": [{"joints": list(range(COUNT)), "inverseBindMatrices": matrices}],
        "materials": [{"name": "skin", "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}], "images": [image],
        "animations": [{"name": "wave", "samplers": [{"input": times, "output": turn}, {"input": times, "output": way}],
                        "channels": [{"sampler": 0, "target": {"node": 16, "path": "rotation"}},
                                     {"sampler": 1, "target": {"node": 0, "path": "translation"}}]}],
        "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(binary)}]}
    if change is not None:
        change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary.extend(b"\0" * (-len(binary) % 4))
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body)
    return path
