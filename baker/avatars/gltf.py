"""A skinned, textured .glb, .gltf or .vrm becomes an `Avatar`, on its own skeleton.

The rest pose is the bind pose, upright, facing +Z, in metres. The rig keeps the joints that carry something and those
between them; its root is the lowest joint above them all, so that a figure's hips can move through space.
Letters: V vertices, F faces, J joints, K nodes, W influences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baker.avatar import Avatar, SkinnedMesh
from baker.avatars.gltf_materials import Textures, material_color
from baker.avatars.options import AvatarOptions
from baker.avatars.textured import TexturedPart, textured_avatar
from baker.draco import EXTENSION, can_read_draco, decode_primitive, unreadable
from baker.gltf_file import COMPRESSED, Gltf, Nodes, open_gltf, read_nodes
from baker.meshes import ColorAt, dense_weights, strongest
from baker.motion_files.gltf import bind_pose, humanoid_roles, skin_joints
from baker.roles import SIDES, match_roles
from runtime import rotations
from runtime.types import Label, Rig

INFLUENCES = 8
MAX_VERTICES, MAX_FACES = 5_000_000, 10_000_000
MAX_JOINTS = 1024
HEIGHTS = (0.8, 2.2)
"""A figure of another height [m] is scaled to `USUAL_HEIGHT`: cameras stand where people fit."""
USUAL_HEIGHT = 1.75
WORDS: tuple[tuple[str, Label], ...] = (
    (r"brow|lash|teeth|tongue|mouth|lip", Label.FACE), (r"eye|iris|pupil|sclera|cornea", Label.EYE),
    (r"hair|beard|bangs|ponytail|braid|fringe", Label.HAIR),
    (r"skirt|dress|cape|cloak|robe|gown|coat|kilt|scarf|poncho|veil|sari|kimono|cloth_loose", Label.GARMENT),
    (r"shoe|boot|sandal|sneaker|heel|footwear", Label.SHOE),
    (r"shirt|top|pants|trouser|jean|jacket|sweater|sock|suit|vest|hat|helmet|glove|armor|belt|cloth|outfit|"
     r"tops|bottom|accessor", Label.TIGHT))
"""Words in the names of meshes, nodes and materials, the first that fits."""


@dataclass(frozen=True)
class _Piece:
    """A primitive with its place in the bind pose."""

    name: str
    words: str
    vertices: np.ndarray
    faces: np.ndarray
    rows: np.ndarray
    """Node row of each influence [V W]."""
    weights: np.ndarray
    color_at: ColorAt
    attached: bool
    """Not skinned: hangs on one joint."""
    unlit: bool


def load_gltf(path: Path, *, options: AvatarOptions, parts: tuple[str, ...] = (), count: int = 40_000,
              seed: int = 0) -> Avatar:
    """The avatar of a skinned glTF file wearing `parts` (mesh node names; empty: all) in `count` Gaussians.

    Raises `InputError` naming file and remedy.
    """
    gltf = open_gltf(path)
    nodes = read_nodes(gltf)
    if not gltf.items("skins"):
        raise gltf.fail("has no skin (no joints that move a mesh); give a rigged character, or its splats")
    rest = bind_pose(gltf, nodes)
    pieces = list(_pieces(gltf, nodes, rest, parts))
    rig_rows, parents = _used_joints(nodes, pieces, gltf)
    names = _unique(tuple(nodes.names[row] for row in rig_rows))
    T_rest = rest[rig_rows].copy()
    T_rest[:, :3, :3] = rotations.nearest_rotation(T_rest[:, :3, :3])
    if not np.isfinite(T_rest).all():
        raise gltf.fail("its rest pose holds NaN or infinity; repair the rig")
    turn, scale, shift = _placement(gltf, nodes, names, parents, T_rest, pieces, options)
    T_rest[:, :3, 3] = scale * T_rest[:, :3, 3] @ turn.T + shift
    T_rest[:, :3, :3] = turn @ T_rest[:, :3, :3]
    place = {row: i for i, row in enumerate(rig_rows)}
    textured = [_part(piece, place, turn, scale, shift, names, T_rest, parents, options) for piece in pieces]
    rig = Rig(joint_names=names, parents=parents, T_world_joint_rest=T_rest.astype(np.float32),
              skin_joints=np.zeros((0, 1), np.int32), skin_weights=np.zeros((0, 1), np.float32))
    return textured_avatar(path.stem, textured, rig, count=count, seed=seed, licence=_licence(gltf), source=str(path))


def part_names(gltf: Gltf) -> tuple[str, ...]:
    """Names of the nodes with meshes, as `parts` takes them."""
    nodes = read_nodes(gltf)
    items = gltf.items("nodes")
    return tuple(nodes.names[row] for row in range(len(nodes.names)) if "mesh" in items[nodes.index[row]])


def _pieces(gltf: Gltf, nodes: Nodes, rest: np.ndarray, parts: tuple[str, ...]) -> Iterator[_Piece]:
    """All triangles of the worn mesh nodes, in the bind pose."""
    available = part_names(gltf)
    unknown = [name for name in parts if name not in available]
    if unknown:
        raise gltf.fail(f"has no part '{unknown[0]}'; it has {', '.join(available[:20])}")
    textures, world, total, faces_total = Textures(gltf), nodes.world(), 0, 0
    joints = {row for skin in gltf.items("skins") for row in skin_joints(gltf, skin, nodes)[0]}
    found = False
    for row, name in enumerate(nodes.names):
        node = gltf.items("nodes")[nodes.index[row]]
        if "mesh" not in node or (parts and name not in parts):
            continue
        skin = skin_joints(gltf, gltf.item("skins", node["skin"]), nodes) if "skin" in node else None
        holder = row
        while skin is None and holder >= 0 and holder not in joints:
            holder = int(nodes.parents[holder])
        if skin is None and holder < 0:
            continue  # scenery: hangs on no joint
        mesh = gltf.item("meshes", node["mesh"])
        primitives = mesh.get("primitives", [])
        for primitive in primitives if isinstance(primitives, list) else ():
            if not isinstance(primitive, dict):
                raise gltf.fail("a mesh has no primitives; export it again")
            raw = _geometry(gltf, primitive, node.get("weights", mesh.get("weights")))
            if raw is None:
                continue
            vertices, faces, uvs, colors = raw
            total, faces_total = total + len(vertices), faces_total + len(faces)
            if total > MAX_VERTICES or faces_total > MAX_FACES:
                raise gltf.fail(f"has over {MAX_VERTICES} vertices or {MAX_FACES} faces; reduce it")
            if skin is None:
                matrix = rest[holder] @ np.linalg.pinv(world[holder]) @ world[row]
                placed = _place(vertices, matrix[None], np.zeros((len(vertices), 1), int), np.ones((len(vertices), 1)))
                rows, weights = np.full((len(vertices), 1), holder), np.ones((len(vertices), 1))
                flip = bool(np.linalg.det(matrix[:3, :3]) < 0)
            else:
                index, weights = _weights(gltf, primitive, len(vertices), len(skin[0]), name)
                to_rest = rest[skin[0]] @ skin[1]
                placed = _place(vertices, to_rest, index, weights)
                rows, flip = np.array(skin[0])[index], bool(np.linalg.det(to_rest[0, :3, :3]) < 0)
            material = gltf.item("materials", primitive["material"]) if "material" in primitive else {}
            words = " ".join((name, str(mesh.get("name", "")), str(material.get("name", "")))).lower()
            found = True
            yield _Piece(name=name, words=words, vertices=placed, rows=rows, weights=weights,
                         faces=faces[:, ::-1] if flip else faces, attached=skin is None,
                         color_at=_flipped(material_color(textures, material, uvs, colors, faces), flip),
                         unlit="KHR_materials_unlit" in _object(gltf, material.get("extensions", {}), "extensions"))
    if not found:
        raise gltf.fail("has no triangles on its skeleton; export the meshes with it")


def _object(gltf: Gltf, value: object, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise gltf.fail(f"its '{key}' is {str(value)[:40]!r}, not an object; export it again")
    return value


def _flipped(color_at: ColorAt, flip: bool) -> ColorAt:
    """`color_at` for faces whose corners are listed the other way round."""
    return (lambda faces, barycentrics: color_at(faces, barycentrics[:, ::-1])) if flip else color_at


def _geometry(gltf: Gltf, primitive: dict[str, Any], morphs: object) -> tuple | None:
    """Vertices [V 3] with the `morphs` (weights) that the file sets, faces [F 3], texture coordinates by set, colours
    [V 4] or None; None if no triangles."""
    extensions = primitive.get("extensions")
    for name in extensions if isinstance(extensions, dict) else ():
        if name == EXTENSION and can_read_draco():
            decode_primitive(gltf, primitive)
        elif name in COMPRESSED:
            raise unreadable(gltf, name)
    mode, attributes = primitive.get("mode", 4), primitive.get("attributes")
    if mode not in (4, 5, 6):
        return None
    if not isinstance(attributes, dict) or "POSITION" not in attributes:
        raise gltf.fail("a mesh has no positions; export it again")
    vertices = gltf.accessor(attributes["POSITION"], columns=(3,)).astype(np.float64)
    vertices = vertices + _morphed(gltf, primitive.get("targets"), morphs, vertices)
    if np.abs(vertices).max(initial=0) > 1e6:
        raise gltf.fail(f"a vertex is {np.abs(vertices).max():.3g} units from the origin; repair the file")
    index = (gltf.accessor(primitive["indices"], columns=(1,), kinds="i")[:, 0] if "indices" in primitive
             else np.arange(len(vertices)))
    if len(index) and int(index.max()) >= len(vertices):
        raise gltf.fail(f"a face names vertex {int(index.max())} of {len(vertices)}; export it again")
    if mode == 4:
        faces = index[: len(index) // 3 * 3].reshape(-1, 3)
    elif len(index) < 3:
        faces = np.zeros((0, 3), np.int64)
    elif mode == 5:
        faces = np.stack([index[:-2], index[1:-1], index[2:]], 1)
        faces[1::2] = faces[1::2, [1, 0, 2]]
    else:
        faces = np.stack([np.broadcast_to(index[0], len(index) - 2), index[1:-1], index[2:]], 1)
    if not len(faces):
        return None
    uvs = {int(key[9:]): _rows(gltf, attributes[key], (2,), vertices) for key in attributes
           if re.fullmatch(r"TEXCOORD_\d", key)}
    colors = None
    if "COLOR_0" in attributes:
        colors = _rows(gltf, attributes["COLOR_0"], (3, 4), vertices)
        colors = np.concatenate([colors, np.ones((len(colors), 4 - colors.shape[1]))], axis=1)
    return vertices, faces, uvs, colors


def _morphed(gltf: Gltf, targets: object, weights: object, vertices: np.ndarray) -> np.ndarray:
    """Displacements [V 3] of the morph targets at the weights the file sets; those left out are 0."""
    result = np.zeros_like(vertices)
    pairs = zip(targets, weights, strict=False) if isinstance(targets, list) and isinstance(weights, list) else ()
    for target, weight in pairs:
        good = isinstance(weight, (int, float)) and not isinstance(weight, bool) and abs(weight) < 1e3
        if good and weight and isinstance(target, dict) and "POSITION" in target:
            result += weight * _rows(gltf, target["POSITION"], (3,), vertices)
    return result


def _rows(gltf: Gltf, accessor: object, columns: tuple[int, ...], vertices: np.ndarray) -> np.ndarray:
    values = gltf.accessor(accessor, columns=columns)
    if len(values) != len(vertices):
        raise gltf.fail(f"an attribute has {len(values)} rows for {len(vertices)} vertices; export it again")
    return values


def _weights(gltf: Gltf, primitive: dict[str, Any], vertices: int, joints: int,
             name: str) -> tuple[np.ndarray, np.ndarray]:
    """Joint numbers [V W] and weights [V W] (rows sum to 1) of a skinned primitive; up to four sets of four."""
    attributes = primitive["attributes"]
    index, weights = [], []
    for k in range(4):
        if f"JOINTS_{k}" in attributes and f"WEIGHTS_{k}" in attributes:
            index.append(gltf.accessor(attributes[f"JOINTS_{k}"], columns=(4,), kinds="i"))
            weights.append(gltf.accessor(attributes[f"WEIGHTS_{k}"], columns=(4,)).astype(np.float64))
    if not index:
        raise gltf.fail(f"mesh '{name}' has a skin but no weights; bind it to its skeleton and export it again")
    joint, weight = np.concatenate(index, axis=1), np.maximum(np.concatenate(weights, axis=1), 0.0)
    if len(joint) != vertices or len(weight) != vertices:
        raise gltf.fail(f"mesh '{name}' has {vertices} vertices but {len(weight)} rows of weights; export it again")
    weight = np.where((joint >= 0) & (joint < joints), weight, 0.0)
    total = weight.sum(1, keepdims=True)
    if (total < 1e-6).any():
        row = int(np.argmax(total[:, 0] < 1e-6))
        raise gltf.fail(f"mesh '{name}': vertex {row} has no weights; normalise them in the tool that made the file")
    return np.clip(joint, 0, joints - 1), weight / total


def _place(vertices: np.ndarray, matrices: np.ndarray, index: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Vertices by their blended matrices."""
    out = np.zeros_like(vertices)
    for w in range(index.shape[1]):
        m = matrices[index[:, w]]
        out += weights[:, w, None] * (np.einsum("vij,vj->vi", m[:, :3, :3], vertices) + m[:, :3, 3])
    return out


def _used_joints(nodes: Nodes, pieces: list[_Piece], gltf: Gltf) -> tuple[list[int], np.ndarray]:
    """Node rows of the rig's joints, parents first, and their parents. The root is the lowest joint above all that
    carry something: controls and what lies above it are left out."""
    carrying = {int(r) for piece in pieces for r in np.unique(piece.rows[piece.weights > 1e-4])}
    paths = []
    for row in carrying:
        path = [row]
        while nodes.parents[path[-1]] >= 0:
            path.append(int(nodes.parents[path[-1]]))
        paths.append(path[::-1])
    depth = 0
    while all(len(path) > depth and path[depth] == paths[0][depth] for path in paths):
        depth += 1
    if depth == 0:
        raise gltf.fail("its skins hang on several trees of joints; join them under one root")
    rows = sorted({row for path in paths for row in path[depth - 1:]})
    if len(rows) > MAX_JOINTS:
        raise gltf.fail(f"has {len(rows)} joints, the limit is {MAX_JOINTS}")
    place = {row: i for i, row in enumerate(rows)}
    return rows, np.array([place.get(int(nodes.parents[row]), -1) for row in rows], np.int32)


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names made different by numbers where two are the same."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return tuple(result)


def _placement(gltf: Gltf, nodes: Nodes, names: tuple[str, ...], parents: np.ndarray, T_rest: np.ndarray,
               pieces: list[_Piece], options: AvatarOptions) -> tuple[np.ndarray, float, np.ndarray]:
    """Rotation [3 3], scale and translation [3] that stand the figure upright, facing +Z, in metres, root over the
    origin."""
    joints = T_rest[:, :3, 3]
    roles = match_roles(names, parents, joints, stated=humanoid_roles(gltf, nodes))
    turn = np.eye(3)
    if roles:
        left = sum(joints[roles[f"left_{p}"]] - joints[roles[f"right_{p}"]] for p in ("hip", "shoulder"))
        up = sum(joints[roles[f"{side}_shoulder"]] - joints[roles[f"{side}_ankle"]] for side in SIDES)
        turn = _to_nearest_quarter(np.stack([_unit(left), _unit(up)]))
    points = np.concatenate([piece.vertices for piece in pieces]) @ turn.T
    height = float(np.ptp(points[:, 1]))
    if not np.isfinite(height) or height < 1e-9:
        raise gltf.fail("its figure has no height; check its scale")
    scale = 1.0 if HEIGHTS[0] <= height <= HEIGHTS[1] else USUAL_HEIGHT / height
    for metres in (0.01, 0.001, 0.0254, 0.1):
        # A file in centimetres or inches says so by its size.
        if scale != 1.0 and 1.2 <= height * metres <= HEIGHTS[1] and height > 10:
            scale = metres
            break
    if options.height is not None:
        scale = options.height / height
    root = scale * turn @ joints[0]
    return turn, scale, -root


def _to_nearest_quarter(left_up: np.ndarray) -> np.ndarray:
    """The rotation of quarter turns that takes a figure's left and up nearest to +X and +Y; bind poses lean, files'
    axes do not."""
    frame = np.stack([left_up[0], left_up[1], np.cross(left_up[0], left_up[1])])
    best, found = -np.inf, np.eye(3)
    axes = np.eye(3)
    for i in range(3):
        for j in range(3):
            for a in (1, -1):
                for b in (1, -1):
                    if i == j:
                        continue
                    turn = np.stack([a * axes[i], b * axes[j], np.cross(a * axes[i], b * axes[j])])
                    # Rows are what becomes x, y and z.
                    score = float((turn * frame).sum())
                    if score > best:
                        best, found = score, turn
    return found


def _part(piece: _Piece, place: dict[int, int], turn: np.ndarray, scale: float, shift: np.ndarray,
          names: tuple[str, ...], T_rest: np.ndarray, parents: np.ndarray, options: AvatarOptions) -> TexturedPart:
    known = np.array([place.get(int(r), 0) for r in range(int(piece.rows.max()) + 1)])
    weights = np.where(piece.weights > 1e-4, piece.weights, 0.0)
    dense = dense_weights(known[piece.rows], weights, joints=len(names))
    skin_joints, skin_weights = strongest(dense, influences=INFLUENCES)
    mesh = SkinnedMesh(vertices=(scale * piece.vertices @ turn.T + shift).astype(np.float32),
                       faces=piece.faces.astype(np.int32), skin_joints=skin_joints, skin_weights=skin_weights)
    return TexturedPart(name=piece.name, mesh=mesh, color_at=piece.color_at, lit=piece.unlit,
                        labels=_labels(piece, mesh, dense, names, parents, T_rest, options))


def _labels(piece: _Piece, mesh: SkinnedMesh, dense: np.ndarray, names: tuple[str, ...], parents: np.ndarray,
            T_rest: np.ndarray, options: AvatarOptions) -> np.ndarray:
    """A label a face: the user's, by name, or by the joints that carry it."""
    count = len(mesh.faces)
    for word, label in options.labels:
        if word.lower() in piece.words:
            return np.full(count, int(label), np.uint8)
    for pattern, label in WORDS:
        if re.search(pattern, piece.words):
            return np.full(count, int(label), np.uint8)
    roles = match_roles(names, parents, T_rest[:, :3, 3])
    labels = np.full(count, int(Label.TIGHT if piece.attached else Label.SKIN), np.uint8)
    if not roles or piece.attached:
        return labels
    below = lambda roots: [i for i in range(len(names)) if any(r in _path(parents, i) for r in roots)]  # noqa: E731
    head = below([roles[r] for r in ("head",) if r in roles])
    hands = below([roles[f"{side}_wrist"] for side in SIDES])
    for joints, label in ((head, Label.FACE), (hands, Label.HAND)):
        labels[dense[:, joints].sum(1)[mesh.faces].mean(1) > 0.5] = label
    return labels


def _path(parents: np.ndarray, joint: int) -> list[int]:
    path = [joint]
    while parents[path[-1]] >= 0:
        path.append(int(parents[path[-1]]))
    return path


def _licence(gltf: Gltf) -> str:
    """What the file says of its licence."""
    asset = gltf.json.get("asset", {})
    said = asset.get("copyright") if isinstance(asset, dict) else None
    extensions = gltf.json.get("extensions", {})
    for key in ("VRM", "VRMC_vrm"):
        meta = extensions.get(key, {}).get("meta") if isinstance(extensions, dict) and isinstance(
            extensions.get(key), dict) else None
        if isinstance(meta, dict):
            said = meta.get("licenseUrl") or meta.get("licenseName") or said
    return str(said)[:500] if said else ""


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
