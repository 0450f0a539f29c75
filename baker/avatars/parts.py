"""A dressed, textured character in parts (`part_file.py`) becomes an `Avatar`.

Each part is cut into layers: meshes with one label, sampled into Gaussians in proportion to area and detail.
Letters: G Gaussians, V vertices, F faces, J joints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from baker.avatar import Avatar, Garment, SkinnedMesh
from baker.avatars.part_file import INFLUENCES, Part, PartFile, find_texture, read_part_file
from baker.binding import Method, bind, closest_points, mesh_edges
from baker.meshes import (
    ColorAt,
    SurfaceGaussians,
    dense_weights,
    face_areas,
    interpolate,
    interpolate_weights,
    load_texture,
    sample_mesh,
    texture_color,
    vertex_normals,
)
from baker.person_colors import fabric, occlusion, shade
from runtime import rotations
from runtime.errors import InputError
from runtime.types import SH_C0, GaussianSet, Label, Rig

LABELS: dict[str, Label] = {
    "body": Label.SKIN, "eyes": Label.EYE, "eyebrows": Label.FACE, "eyelashes": Label.FACE, "hair": Label.HAIR,
    "shoes": Label.SHOE, "dress": Label.GARMENT, "longskirt": Label.GARMENT, "skirt": Label.GARMENT,
    "cape": Label.GARMENT}
"""Parts with a label of their own; other parts are `TIGHT`."""
DENSITY: dict[Label, float] = {Label.FACE: 4.0, Label.HAND: 2.5, Label.EYE: 5.0, Label.HAIR: 1.3}
"""Gaussians per area relative to plain surfaces: small things people look at."""
RIVALS = ("dress", "longskirt")
"""Garments that overlap: worn one at a time. `dress` also holds the jacket that goes with `longskirt`."""
COVER_DISTANCE = 0.03
"""A surface at most this far [m] under an outer layer is hidden by it."""
WAISTBAND = 0.025
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


def load_parts(path: Path, *, parts: tuple[str, ...] = (), texture_dir: Path | None = None, count: int = 40_000,
               binding: Method = "diffused", seed: int = 0) -> Avatar:
    """The avatar of a character file wearing `parts`; empty is everything, but of `dress` and `longskirt` the
    former. `longskirt` alone comes with the jacket of `dress`, if the file has one, and with dark shorts.

    `count` Gaussians exactly. Raises `InputError` naming file and remedy for every bad input.
    """
    file = read_part_file(path, parts=parts)
    worn = parts or tuple(n for n in file.available if n != RIVALS[1] or RIVALS[0] not in file.available)
    if all(rival in worn for rival in RIVALS):
        raise InputError(f"{path}: parts '{RIVALS[0]}' and '{RIVALS[1]}' overlap; wear one of them")
    layers = _dress(file, worn, texture_dir=texture_dir)
    layers = _bound(layers, file, binding)
    pieces = _sample(layers, count=count, seed=seed)
    gaussians = _shaded(_join(layers, pieces), file)
    rig = _rig(layers, pieces, gaussians, file, binding)
    return Avatar(name=path.stem, gaussians=gaussians, rig=rig, body=file.collider,
                  garments=_garments(layers, pieces, gaussians), licence=file.licence)


def _dress(file: PartFile, worn: tuple[str, ...], *, texture_dir: Path | None) -> list[Layer]:
    """The layers of an outfit, with hidden faces marked and loose cloth pinned."""
    layers: list[Layer] = []
    for name in worn:
        part = file.parts[name]
        color_at = _colors(part, file, texture_dir)
        label = LABELS.get(name, Label.TIGHT)
        if label == Label.GARMENT:
            top, loose = _split_top(part, waist=float(file.joints[0, 1]))
            layers += [_fitted(f"{name}_top", part, color_at, top)] if top.any() else []
            layers += [_cut(name, part, color_at, loose, Label.GARMENT)] if loose.any() else []
        elif label == Label.SKIN:
            layers.append(Layer(name=name, mesh=part.mesh, color_at=color_at, labels=_body_labels(part.mesh, file)))
        else:
            layers.append(Layer(name=name, mesh=part.mesh, color_at=color_at,
                                labels=np.full(len(part.mesh.faces), int(label), np.uint8)))
    if RIVALS[1] in worn and RIVALS[0] in file.parts:
        dress = file.parts[RIVALS[0]]
        top, _ = _split_top(dress, waist=float(file.joints[0, 1]))
        layers += [_fitted("top", dress, _colors(dress, file, texture_dir), top)] if top.any() else []
        layers.append(_shorts(file))
    fitted = [layer for layer in layers if (layer.labels == Label.TIGHT).all() and layer.name != "shorts"]
    outer = [*fitted, *[layer for layer in layers if (layer.labels == Label.SHOE).all()]]
    return [_hidden_under(layer, [o for o in outer if o is not layer]) for layer in layers]


def _fitted(name: str, part: Part, color_at: ColorAt, faces: np.ndarray) -> Layer:
    return _cut(name, part, color_at, faces, Label.TIGHT)


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
        return fabric(np.stack([around, top - point[:, 1]], 1), pattern="plaid", first=(0.50, 0.10, 0.15),
                      second=(0.88, 0.70, 0.55), period=LONGSKIRT_PERIOD, length=float(np.ptp(vertices[:, 1])), seed=0)
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


def _hidden_under(layer: Layer, outer: list[Layer]) -> Layer:
    """The layer with its faces under `outer` layers marked, and, if it is loose cloth, its vertices pinned."""
    covered = np.zeros(len(layer.mesh.vertices), bool)
    if (layer.labels != Label.SHOE).any() and (layer.labels != Label.HAIR).any():
        for cover in outer:
            if (layer.labels == Label.TIGHT).all() and cover.name != "shoes":
                continue
            covered |= _covered(layer.mesh.vertices, cover.mesh)
    pinned = None
    if layer.garment:
        y = layer.mesh.vertices[:, 1]
        pinned = covered | (y > y.max() - WAISTBAND)
    return replace(layer, visible=~covered[layer.mesh.faces].all(1), pinned=pinned)


def _covered(points: np.ndarray, cover: SkinnedMesh) -> np.ndarray:
    """Boolean [P]: on the inner side of `cover`, near it, and not past its border."""
    faces, barycentrics, closest, distances = closest_points(points, cover)
    corners = cover.faces[faces]
    normal = interpolate(vertex_normals(cover.vertices, cover.faces)[cover.faces], faces, barycentrics)
    inside = ((points - closest) * normal).sum(1) < 0
    edges = np.sort(np.concatenate([cover.faces[:, [0, 1]], cover.faces[:, [1, 2]], cover.faces[:, [2, 0]]]), axis=1)
    unique, uses = np.unique(edges, axis=0, return_counts=True)
    border = np.zeros(len(cover.vertices), bool)
    border[unique[uses == 1]] = True
    at_border = (border[corners] | (barycentrics < 1e-6)).all(1)
    return inside & (distances < COVER_DISTANCE) & ~at_border


def _bound(layers: list[Layer], file: PartFile, binding: Method) -> list[Layer]:
    """Loose cloth bound to the body by `binding`; other layers keep the weights of the file."""
    return [replace(layer, mesh=_bind_mesh(layer.mesh, file.collider, binding)) if layer.garment else layer
            for layer in layers]


def _bind_mesh(mesh: SkinnedMesh, body: SkinnedMesh, binding: Method) -> SkinnedMesh:
    joints, weights = bind(mesh.vertices, body, method=binding, loose=np.ones(len(mesh.vertices), bool),
                           edges=mesh_edges(mesh.faces), influences=INFLUENCES)
    return replace(mesh, skin_joints=joints, skin_weights=weights)


def _sample(layers: list[Layer], *, count: int, seed: int) -> list[SurfaceGaussians]:
    """Gaussians of each layer, `count` in all, in proportion to visible area times `DENSITY`; face numbers are
    those of the layer's whole mesh."""
    cuts, shares = [], []
    for layer in layers:
        visible = np.flatnonzero(layer.visible) if layer.visible is not None else np.arange(len(layer.labels))
        density = np.array([DENSITY.get(Label(label), 1.0) for label in layer.labels[visible]])
        cuts.append((visible, density))
        shares.append(float((face_areas(layer.mesh.vertices, layer.mesh.faces[visible]) * density).sum()))
    edges = np.round(np.cumsum(shares) / np.sum(shares) * count).astype(int)
    counts = np.maximum(np.diff(edges, prepend=0), 0)
    pieces = []
    for i, (layer, (visible, density)) in enumerate(zip(layers, cuts, strict=True)):
        mesh = replace(layer.mesh, faces=layer.mesh.faces[visible])
        piece = sample_mesh(
            mesh, count=int(counts[i]), seed=seed * 1000 + i, density=density,
            color_at=lambda f, b, layer=layer, visible=visible: layer.color_at(visible[f], b))
        pieces.append(replace(piece, faces=visible[piece.faces].astype(np.int32)))
    return pieces


def _join(layers: list[Layer], pieces: list[SurfaceGaussians]) -> GaussianSet:
    """All pieces in one set. A garment's faces with only pinned corners never leave the body: they are TIGHT."""
    labels = []
    for layer, piece in zip(layers, pieces, strict=True):
        label = layer.labels[piece.faces].copy()
        if layer.pinned is not None:
            label[layer.pinned[layer.mesh.faces[piece.faces]].all(1)] = Label.TIGHT
        labels.append(label)
    names = ("means", "quats_wxyz", "log_scales", "opacity_logits", "sh0")
    return GaussianSet(**{name: np.concatenate([getattr(p, name) for p in pieces]) for name in names},
                       labels=np.concatenate(labels))


def _shaded(gaussians: GaussianSet, file: PartFile) -> GaussianSet:
    """Soft shading baked into the colours, as a photographed avatar has it: textures alone look flat."""
    normals = rotations.to_matrix(gaussians.quats_wxyz)[:, :, 2].astype(np.float64)
    head = file.joints[file.joint_names.index("head")] if "head" in file.joint_names else file.joints[0]
    # Hair cards have two sides; the outer one catches the light.
    hair = gaussians.labels == Label.HAIR
    inward = hair & (((gaussians.means - head) * normals).sum(1) < 0)
    normals[inward] *= -1
    visibility = occlusion(gaussians.means.astype(np.float64), normals, gaussians.means.astype(np.float64))
    color = shade(gaussians.colors.astype(np.float64), normals, visibility)
    return replace(gaussians, sh0=((color - 0.5) / SH_C0).astype(np.float32))


def _rig(layers: list[Layer], pieces: list[SurfaceGaussians], gaussians: GaussianSet, file: PartFile,
         binding: Method) -> Rig:
    """The skeleton, and weights of each Gaussian: of its place on its layer, or of the nearest body vertex."""
    joints = len(file.joint_names)
    if binding == "nearest_vertex":
        skin_joints, skin_weights = bind(gaussians.means, _template(file), method=binding, influences=INFLUENCES)
    else:
        rows = [interpolate_weights(layer.mesh, piece.faces, piece.barycentrics, joints=joints,
                                    influences=INFLUENCES) for layer, piece in zip(layers, pieces, strict=True)]
        skin_joints, skin_weights = (np.concatenate(column) for column in zip(*rows, strict=True))
    rest = np.tile(np.eye(4), (joints, 1, 1))
    rest[:, :3, 3] = file.joints
    return Rig(joint_names=file.joint_names, parents=file.parents, T_world_joint_rest=rest, skin_joints=skin_joints,
               skin_weights=skin_weights)


def _template(file: PartFile) -> SkinnedMesh:
    """The whole unclothed body: the collider with the worn body part, which has the arms and head."""
    meshes = [file.collider, *[file.parts[name].mesh for name in ("body",) if name in file.parts]]
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    return SkinnedMesh(vertices=np.concatenate([mesh.vertices for mesh in meshes]),
                       faces=np.concatenate([mesh.faces + o for mesh, o in zip(meshes, offsets[:-1], strict=True)]),
                       skin_joints=np.concatenate([mesh.skin_joints for mesh in meshes]),
                       skin_weights=np.concatenate([mesh.skin_weights for mesh in meshes]))


def _garments(layers: list[Layer], pieces: list[SurfaceGaussians], gaussians: GaussianSet) -> tuple[Garment, ...]:
    """Simulatable cloth with the Gaussians that may move on it."""
    garments, start = [], 0
    for layer, piece in zip(layers, pieces, strict=True):
        stop = start + len(piece.means)
        if layer.garment and layer.pinned is not None:
            moving = np.flatnonzero(gaussians.labels[start:stop] == Label.GARMENT)
            garments.append(Garment(name=layer.name, mesh=layer.mesh, pinned=layer.pinned,
                                    gaussian_indices=(start + moving).astype(np.int64),
                                    gaussian_faces=piece.faces[moving],
                                    gaussian_barycentrics=piece.barycentrics[moving]))
        start = stop
    return tuple(garments)
