"""What a character wears: parts cut into layers, each under what is worn over it.

Letters: V vertices, F faces, P points, J joints. Lengths in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from baker.avatar import SkinnedMesh
from baker.avatars.part_file import Part, PartFile, find_texture
from baker.binding import closest_points, mesh_edges
from baker.meshes import ColorAt, dense_weights, interpolate, load_texture, texture_color, vertex_normals
from baker.person_colors import fabric
from runtime.errors import InputError
from runtime.types import Label

LABELS: dict[str, Label] = {
    "body": Label.SKIN, "eyes": Label.EYE, "eyebrows": Label.FACE, "eyelashes": Label.FACE, "hair": Label.HAIR,
    "shoes": Label.SHOE, "dress": Label.GARMENT, "longskirt": Label.GARMENT, "skirt": Label.GARMENT,
    "cape": Label.GARMENT}
"""Parts with a label of their own; other parts are `TIGHT`."""
RIVALS = ("dress", "longskirt")
"""Garments that overlap: worn one at a time. `dress` also holds the jacket that goes with `longskirt`."""
COVER_DISTANCE = 0.03
"""A surface at most this far [m] from a layer worn over it is under it."""
TUCK = 0.007
"""Skin is pushed this far [m] under cloth: more than the thickness of both layers of Gaussians."""
HEM_OVERLAP = 0.015
"""A skirt reaches this far [m] up behind the hem of the jacket worn over it; above, it is hidden."""
WAISTBAND = 0.045
"""Loose cloth is held by this much [m] of its upper border, and wherever a fitted layer covers it."""
SHORTS_COLOR = (0.13, 0.12, 0.14)
LONGSKIRT_PERIOD = 2 * np.pi * 0.2 / 14


@dataclass(frozen=True)
class Layer:
    """A mesh to sample, with all its Gaussians need."""

    name: str
    mesh: SkinnedMesh
    color_at: ColorAt
    labels: np.ndarray
    """A `Label` for each face."""
    garment: bool = False
    """Loose cloth, with a `Garment` for simulation."""
    pinned: np.ndarray | None = None
    """Boolean [V] of a garment."""
    visible: np.ndarray | None = None
    """Boolean [F]: faces not hidden under another layer; None for all."""
    span: tuple[float, float] = (-np.inf, np.inf)
    """Heights [m] between which the layer is shown."""


def dress(file: PartFile, parts: tuple[str, ...], *, texture_dir: Path | None) -> list[Layer]:
    """The layers of an outfit, with hidden faces marked and loose cloth pinned.

    No `parts` is everything, but of `dress` and `longskirt` the former. `longskirt` comes with the jacket of
    `dress`, if the file has one, tucked in, and with dark shorts. Raises `InputError` for parts that overlap and
    textures that are not there.
    """
    worn = parts or tuple(n for n in file.available if n != RIVALS[1] or RIVALS[0] not in file.available)
    if all(rival in worn for rival in RIVALS):
        raise InputError(f"{file.path}: parts '{RIVALS[0]}' and '{RIVALS[1]}' overlap; wear one of them")
    layers: list[Layer] = []
    for name in worn:
        part = file.parts[name]
        color_at = _colors(part, file, texture_dir)
        label = LABELS.get(name, Label.TIGHT)
        if label == Label.GARMENT:
            top, loose = _split_top(part, waist=float(file.joints[0, 1]))
            layers += [_cut(f"{name}_top", part, color_at, top, Label.TIGHT)] if top.any() else []
            layers += [_cut(name, part, color_at, loose, Label.GARMENT)] if loose.any() else []
        elif label == Label.SKIN:
            layers.append(Layer(name=name, mesh=part.mesh, color_at=color_at, labels=_body_labels(part.mesh, file)))
        else:
            layers.append(Layer(name=name, mesh=part.mesh, color_at=color_at,
                                labels=np.full(len(part.mesh.faces), int(label), np.uint8)))
    if RIVALS[1] in worn:
        layers.append(_shorts(file))
        if RIVALS[0] in file.parts:
            layers = _tucked_top(layers, file, texture_dir=texture_dir)
    return [_under(layer, [other for other in layers if _order(other) > _order(layer)]) for layer in layers]


def _order(layer: Layer) -> int:
    """What lies over what: skin and shorts, loose cloth, fitted cloth and shoes. Hair and eyes are in no order."""
    labels = set(layer.labels.tolist())
    if (labels <= {Label.SKIN, Label.FACE, Label.HAND} and layer.name == "body") or layer.name == "shorts":
        return 0
    if layer.garment:
        return 1
    return 2 if labels <= {Label.TIGHT, Label.SHOE} else 3


def _tucked_top(layers: list[Layer], file: PartFile, *, texture_dir: Path | None) -> list[Layer]:
    """The layers with the jacket of `dress` tucked into the long skirt: both end at one level line, where their
    meshes run through each other."""
    part = file.parts[RIVALS[0]]
    top, _ = _split_top(part, waist=float(file.joints[0, 1]))
    if not top.any():
        return layers
    line = max(float(layer.mesh.vertices[:, 1].max()) for layer in layers if layer.garment) - WAISTBAND
    jacket = _cut("top", part, _colors(part, file, texture_dir), top, Label.TIGHT)
    return [*(replace(layer, span=(-np.inf, line + TUCK)) if layer.garment else layer for layer in layers),
            replace(jacket, span=(line, np.inf))]


def _cut(name: str, part: Part, color_at: ColorAt, faces: np.ndarray, label: Label) -> Layer:
    """The layer of some faces (boolean [F]) of a part, with only their vertices."""
    index = np.flatnonzero(faces)
    mesh = _submesh(part.mesh, index)
    return Layer(name=name, mesh=mesh, color_at=lambda f, b: color_at(index[f], b), garment=label == Label.GARMENT,
                 labels=np.full(len(index), int(label), np.uint8))


def _submesh(mesh: SkinnedMesh, faces: np.ndarray) -> SkinnedMesh:
    """The faces of an index array, with only their vertices, in the old order."""
    used, corner = np.unique(mesh.faces[faces], return_inverse=True)
    return SkinnedMesh(vertices=mesh.vertices[used], faces=corner.reshape(-1, 3).astype(np.int32),
                       skin_joints=mesh.skin_joints[used], skin_weights=mesh.skin_weights[used])


def _split_top(part: Part, *, waist: float) -> tuple[np.ndarray, np.ndarray]:
    """Faces [F] of the connected pieces above the pelvis joint (a jacket), and of the others (a skirt)."""
    edges = mesh_edges(part.mesh.faces)
    count = len(part.mesh.vertices)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, piece = connected_components(graph, directed=False)
    lowest = np.full(piece.max() + 1, np.inf)
    np.minimum.at(lowest, piece, part.mesh.vertices[:, 1])
    top = (lowest > waist)[piece[part.mesh.faces[:, 0]]]
    return top, ~top


def _shorts(file: PartFile) -> Layer:
    """Dark shorts painted on the collider: what shows when a long skirt flies up, where the skin was clipped."""
    mesh = file.collider
    names = [i for i, n in enumerate(file.joint_names) if n in ("pelvis", "left_hip", "right_hip", "spine1")]
    share = dense_weights(mesh.skin_joints, mesh.skin_weights, joints=len(file.joint_names))[:, names].sum(1)
    knee = min(float(file.joints[i, 1]) for i, n in enumerate(file.joint_names) if n.endswith("knee"))
    hip = float(file.joints[names[1], 1]) if len(names) > 1 else 0.0
    y = mesh.vertices[:, 1]
    inside = (share > 0.9) & (y > hip + 0.62 * (knee - hip)) & (y < 0.05)
    index = np.flatnonzero(inside[mesh.faces].all(1))
    return Layer(name="shorts", mesh=_submesh(mesh, index), labels=np.full(len(index), int(Label.TIGHT), np.uint8),
                 color_at=lambda f, _: np.broadcast_to(np.array(SHORTS_COLOR), (len(f), 3)))


def _colors(part: Part, file: PartFile, texture_dir: Path | None) -> ColorAt:
    """The part's texture, or a woven fabric where it has none."""
    if part.texture:
        path = find_texture(part.texture, part_file=file.path, texture_dir=texture_dir)
        return texture_color(load_texture(path), part.uvs, part.uv_faces)
    vertices = part.mesh.vertices.astype(np.float64)
    top, centre = vertices[:, 1].max(), vertices.mean(0)

    def woven(faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        point = interpolate(vertices[part.mesh.faces], faces, barycentrics)
        around = 0.2 * np.arctan2(point[:, 0] - centre[0], point[:, 2] - centre[2])
        return fabric(np.stack([around, top - point[:, 1]], 1), pattern="plaid", first=(0.13, 0.24, 0.30),
                      second=(0.40, 0.50, 0.52), period=LONGSKIRT_PERIOD, length=float(np.ptp(vertices[:, 1])), seed=0)
    return woven


def _body_labels(mesh: SkinnedMesh, file: PartFile) -> np.ndarray:
    """SKIN, FACE or HAND for each face of the body, by the joints that move it."""
    face = [i for i, name in enumerate(file.joint_names) if name in ("head", "jaw") or "eye" in name]
    hand = [i for i, name in enumerate(file.joint_names)
            if any(word in name for word in ("wrist", "index", "middle", "pinky", "ring", "thumb"))]
    dense = dense_weights(mesh.skin_joints, mesh.skin_weights, joints=len(file.joint_names))
    labels = np.full(len(mesh.faces), int(Label.SKIN), np.uint8)
    labels[dense[:, face].sum(1)[mesh.faces].mean(1) > 0.5] = Label.FACE
    labels[dense[:, hand].sum(1)[mesh.faces].mean(1) > 0.5] = Label.HAND
    return labels


def _under(layer: Layer, outer: list[Layer]) -> Layer:
    """The layer pushed under the layers worn over it, its hidden faces marked; loose cloth gets its pins."""
    order = _order(layer)
    outer = [cover for cover in outer if _order(cover) < 3]
    mesh = layer.mesh
    hidden = mesh.vertices[:, 1] > layer.span[1]
    for cover in outer:
        if order == 0:
            mesh, covered = _tuck(mesh, cover.mesh)
            # Skin under loose cloth may show when the cloth flies up.
            hidden |= covered & (not cover.garment)
        elif order == 1 and (cover.labels == Label.TIGHT).all() and np.isinf(cover.span).all():
            hidden |= _overlapped(mesh, cover.mesh)
    pinned = hidden | (mesh.vertices[:, 1] > mesh.vertices[:, 1].max() - WAISTBAND) if layer.garment else None
    hidden |= mesh.vertices[:, 1] < layer.span[0]
    return replace(layer, mesh=mesh, visible=~hidden[mesh.faces].all(1), pinned=pinned)


def _tuck(mesh: SkinnedMesh, cover: SkinnedMesh) -> tuple[SkinnedMesh, np.ndarray]:
    """The mesh with vertices near `cover` moved to `TUCK` under it, and which vertices [V] it covers.

    What is nearest to the cover's border stays: it is in the open, or at the edge of it.
    """
    # A point within COVER_DISTANCE of a face is within that and the face's longest edge of one of its corners.
    edge = cover.vertices[cover.faces] - cover.vertices[np.roll(cover.faces, 1, axis=1)]
    reach = COVER_DISTANCE + float(np.linalg.norm(edge, axis=2).max())
    close = np.flatnonzero(cKDTree(cover.vertices).query(mesh.vertices)[0] <= reach)
    points, own = mesh.vertices[close], vertex_normals(mesh.vertices, mesh.faces)[close]
    faces, barycentrics, closest, distances = closest_points(points, cover)
    normal = interpolate(vertex_normals(cover.vertices, cover.faces)[cover.faces], faces, barycentrics)
    # A folded collar has its inner side outward: its normal counts in the direction of the skin's.
    normal *= np.where((normal * own).sum(1, keepdims=True) < 0, -1.0, 1.0)
    height = ((points - closest) * normal).sum(1)
    edges, uses = np.unique(np.sort(cover.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0,
                            return_counts=True)
    border = np.zeros(len(cover.vertices), bool)
    border[edges[uses == 1]] = True
    at_border = (border[cover.faces[faces]] | (barycentrics < 1e-6)).all(1)
    near = (distances < COVER_DISTANCE) & ~at_border
    push = np.where(near, np.maximum(height + TUCK, 0.0), 0.0)
    moved, covered = mesh.vertices.copy(), np.zeros(len(mesh.vertices), bool)
    moved[close] = (points - push[:, None] * normal).astype(np.float32)
    covered[close] = near & (height < TUCK)
    return replace(mesh, vertices=moved), covered


def _overlapped(mesh: SkinnedMesh, top: SkinnedMesh) -> np.ndarray:
    """Boolean [V]: loose cloth beside a fitted layer and above its hem, on either side of it (a tucked waist)."""
    _, _, _, distances = closest_points(mesh.vertices, top)
    return (distances < COVER_DISTANCE) & (mesh.vertices[:, 1] > top.vertices[:, 1].min() + HEM_OVERLAP)
