"""A small writer of binary FBX for tests: the person of boxes as Mixamo exports people (centimetres, pre-rotations)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from sample_gltf import COUNT, box_person

from baker.body import JOINT_NAMES, PARENTS, make_body
from runtime import rotations

TICKS = 46_186_158_000
FRAMES = 31
Tree = tuple[str, list[object], list["Tree"]]


def array(values: np.ndarray, *, packed: bool) -> bytes:
    """An array property."""
    letter = {"<f8": b"d", "<f4": b"f", "<i4": b"i", "<i8": b"l"}[values.dtype.str]
    data = values.tobytes()
    body = zlib.compress(data) if packed else data
    return letter + struct.pack("<III", values.size, int(packed), len(body)) + body


def _value(value: object, packed: bool) -> bytes:
    if isinstance(value, np.ndarray):
        return array(value, packed=packed)
    if isinstance(value, bytes):
        return b"R" + struct.pack("<I", len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return b"S" + struct.pack("<I", len(data)) + data
    if isinstance(value, np.int32):
        return b"I" + struct.pack("<i", value)
    if isinstance(value, int):
        return b"L" + struct.pack("<q", value)
    assert isinstance(value, float)
    return b"D" + struct.pack("<d", value)


def _record(tree: Tree, at: int, wide: bool, packed: bool) -> bytes:
    name, values, children = tree
    properties = b"".join(_value(value, packed) for value in values)
    head = struct.Struct("<QQQB" if wide else "<IIIB")
    body = name.encode() + properties
    inner = b""
    for child in children:
        inner += _record(child, at + head.size + len(body) + len(inner), wide, packed)
    if children:
        inner += b"\0" * head.size
    return head.pack(at + head.size + len(body) + len(inner), len(values), len(properties), len(name)) + body + inner


def write(path: Path, trees: list[Tree], *, version: int = 7400, packed: bool = True) -> Path:
    """Write nodes as a binary FBX file."""
    data = b"Kaydara FBX Binary  \x00\x1a\x00" + struct.pack("<I", version)
    for tree in trees:
        data += _record(tree, len(data), version >= 7500, packed)
    path.write_bytes(data + b"\0" * (25 if version >= 7500 else 13) + b"\xfa" * 16)
    return path


def properties(**values: object) -> Tree:
    """`Properties70`; underscores in names are spaces."""
    rows: list[Tree] = []
    for name, value in values.items():
        name = name.replace("_", " ")
        kind = ("int" if "Axis" in name else "bool" if "Active" in name else "double" if "Unit" in name else
                "enum" if "Mode" in name else "Color" if "Color" in name else name if "Lcl" in name else "Vector3D")
        label = {"int": "Integer", "double": "Number", "Vector3D": "Vector"}.get(kind, "")
        numbers: list[object] = [np.int32(v) if kind in ("int", "bool", "enum") else float(v)
                                 for v in np.atleast_1d(np.asarray(value, float))]
        rows.append(("P", [name, kind, label, "", *numbers], []))
    return "Properties70", [], rows


def pre_rotation(joint: int) -> np.ndarray:
    """Degrees about x, y, z: any, different for each joint."""
    return np.random.default_rng(joint).uniform(-80, 80, 3)


def euler(degrees: np.ndarray) -> np.ndarray:
    """Rotation [3 3] of angles about x, then y, then z."""
    x, y, z = (rotations.to_matrix(rotations.from_rotvec(np.eye(3)[k] * np.deg2rad(degrees[k]))) for k in range(3))
    return z @ y @ x


def curve_degrees(joint: int, times: np.ndarray) -> np.ndarray:
    """Local Euler angles [T 3] on top of the pre-rotation."""
    return np.stack([10 * np.sin(2 * np.pi * times + joint), 3 * times, 8 * np.cos(5 * times) - 8], 1)


def world(times: np.ndarray, *, skip: tuple[int, ...] = ()) -> np.ndarray:
    """Positions [T J 3] in metres of the joints, worked out from the angles."""
    rest = make_body({}).joints[:COUNT].astype(np.float64)
    bind = [np.eye(3)]
    for joint in range(1, COUNT):
        bind.append(bind[PARENTS[joint]] @ euler(pre_rotation(joint)))
    out = np.zeros((len(times), COUNT, 3))
    for t, time in enumerate(times):
        turn = [np.eye(3)] * COUNT
        for joint in range(COUNT):
            angles = euler(curve_degrees(joint, np.array([time]))[0])
            if joint == 0:
                turn[0], out[t, 0] = angles, rest[0] + [0, 0, time]
                continue
            parent = PARENTS[joint]
            local = bind[parent].T @ (rest[joint] - rest[parent])
            out[t, joint] = out[t, parent] + turn[parent] @ local
            turn[joint] = turn[parent] @ euler(pre_rotation(joint)) @ angles
    return out


def person(*, mesh: bool = True, texture: bytes | None = None, texture_name: str = "skin.png") -> list[Tree]:
    """The nodes of the person: models, mesh and skin, one animation with a key a frame at 30 a second."""
    rest = make_body({}).joints[:COUNT].astype(np.float64)
    bind = [np.eye(3)]
    for joint in range(1, COUNT):
        bind.append(bind[PARENTS[joint]] @ euler(pre_rotation(joint)))
    objects: list[Tree] = []
    links: list[tuple[int, int, str]] = []
    pose: list[Tree] = []
    for joint in range(COUNT):
        parent = PARENTS[joint]
        place = rest[0] if joint == 0 else bind[parent].T @ (rest[joint] - rest[parent])
        extra = {} if joint == 0 else {"PreRotation": pre_rotation(joint)}
        objects.append(("Model", [1000 + joint, f"mixamorig:{JOINT_NAMES[joint]}\0\1Model", "LimbNode"], [
            properties(RotationActive=1, Lcl_Translation=100 * place, **extra)]))
        links.append((1000 + joint, 0 if joint == 0 else 1000 + parent, ""))
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = bind[joint], 100 * rest[joint]
        pose.append(("PoseNode", [], [("Node", [1000 + joint], []), ("Matrix", [matrix.T.ravel()], [])]))
    objects.append(("Pose", [9000, "BindPose\0\1Pose", "BindPose"], pose))
    if mesh:
        _mesh(objects, links, rest, bind, texture, texture_name)
    _animation(objects, links, rest)
    connections: list[Tree] = [("C", ["OP", child, parent, prop] if prop else ["OO", child, parent], [])
                               for child, parent, prop in links]
    return [("GlobalSettings", [], [properties(UpAxis=1, CoordAxis=0, FrontAxis=2, UnitScaleFactor=1.0, TimeMode=6)]),
            ("Objects", [], objects), ("Connections", [], connections)]


def _mesh(objects: list[Tree], links: list[tuple[int, int, str]], rest: np.ndarray, bind: list[np.ndarray],
          texture: bytes | None, texture_name: str) -> None:
    vertices, faces, owner = box_person()
    ends = faces.astype(np.int32).copy()
    ends[:, 2] = ~ends[:, 2]
    uvs = np.stack([vertices[:, 0] + 0.5, 0.5 + 0.5 * vertices[:, 1]], 1)
    layers: list[Tree] = [
        ("Vertices", [100 * vertices.ravel()], []), ("PolygonVertexIndex", [ends.ravel()], []),
        ("LayerElementUV", [np.int32(0)], [("Name", ["UV"], []), ("MappingInformationType", ["ByPolygonVertex"], []),
                                 ("ReferenceInformationType", ["IndexToDirect"], []),
                                 ("UV", [uvs.ravel()], []), ("UVIndex", [faces.astype(np.int32).ravel()], [])]),
        ("LayerElementMaterial", [np.int32(0)], [("Name", [""], []), ("MappingInformationType", ["AllSame"], []),
                                       ("Materials", [np.zeros(1, np.int32)], [])])]
    objects += [("Geometry", [2000, "figure\0\1Geometry", "Mesh"], layers),
                ("Model", [2001, "figure\0\1Model", "Mesh"], [properties(Lcl_Scaling=[1, 1, 1])]),
                ("Material", [2002, "cloth\0\1Material", ""], [properties(DiffuseColor=[0.2, 0.5, 0.8])]),
                ("Deformer", [2003, "\0\1Deformer", "Skin"], [])]
    links += [(2000, 2001, ""), (2001, 0, ""), (2002, 2001, ""), (2003, 2000, "")]
    if texture is not None:
        objects += [("Texture", [2010, "t\0\1Texture", ""], [("RelativeFilename", [f"..\\away\\{texture_name}"], [])]),
                    ("Video", [2011, "v\0\1Video", "Clip"], [("Content", [texture], [])])]
        links += [(2010, 2002, "DiffuseColor"), (2011, 2010, "")]
    for joint in np.unique(owner):
        index = np.flatnonzero(owner == joint).astype(np.int32)
        link = np.eye(4)
        link[:3, :3], link[:3, 3] = bind[joint], 100 * rest[joint]
        objects.append(("Deformer", [3000 + int(joint), "\0\1SubDeformer", "Cluster"], [
            ("Indexes", [index], []), ("Weights", [np.ones(len(index))], []),
            ("Transform", [np.linalg.inv(link).T.ravel()], []), ("TransformLink", [link.T.ravel()], [])]))
        links += [(3000 + int(joint), 2003, ""), (1000 + int(joint), 3000 + int(joint), "")]


def _animation(objects: list[Tree], links: list[tuple[int, int, str]], rest: np.ndarray) -> None:
    times = np.arange(FRAMES) / 30
    ticks = np.round(times * TICKS).astype(np.int64)
    objects += [("AnimationStack", [4000, "mixamo.com\0\1AnimStack", ""], []),
                ("AnimationLayer", [4001, "BaseLayer\0\1AnimLayer", ""], []),
                ("AnimationStack", [4002, "Take 001\0\1AnimStack", ""], [])]
    links.append((4001, 4000, ""))
    number = 5000
    channels = [(0, "Lcl Translation", 100 * (rest[0] + times[:, None] * [0, 0, 1]))]
    channels += [(joint, "Lcl Rotation", curve_degrees(joint, times)) for joint in range(COUNT)]
    for joint, prop, values in channels:
        objects.append(("AnimationCurveNode", [number, "T\0\1AnimCurveNode", ""], []))
        links += [(number, 4001, ""), (number, 1000 + joint, prop)]
        for k, axis in enumerate("XYZ"):
            objects.append(("AnimationCurve", [number + 1 + k, "\0\1AnimCurve", ""], [
                ("KeyTime", [ticks], []), ("KeyValueFloat", [values[:, k].astype(np.float32)], []),
                ("KeyAttrFlags", [np.array([4], np.int32)], []),
                ("KeyAttrDataFloat", [np.zeros(4, np.float32)], []),
                ("KeyAttrRefCount", [np.array([FRAMES], np.int32)], [])]))
            links.append((number + 1 + k, number, f"d|{axis}"))
        number += 4
