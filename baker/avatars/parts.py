"""A dressed, textured character in parts (`part_file.py`, `outfit.py`) becomes an `Avatar`.

Letters: G Gaussians, S surface samples, V vertices, F faces, J joints.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from baker.avatar import Avatar, Garment, SkinnedMesh
from baker.avatars.outfit import Layer, dress
from baker.avatars.part_file import INFLUENCES, PartFile, read_part_file
from baker.avatars.textured import DENSITY, detail
from baker.binding import Method, bind, mesh_edges
from baker.meshes import (
    CLOSED,
    FAITHFUL,
    Invisible,
    SurfaceGaussians,
    face_areas,
    inset_surface,
    interpolate,
    interpolate_weights,
    no_gaussians,
    sample_mesh,
)
from baker.person_colors import occlusion, shade
from runtime import rotations
from runtime.errors import InputError
from runtime.types import SH_C0, GaussianSet, Label, Rig

BINDING_LENGTH = 0.1
"""Diffusion length of loose cloth [m]: between legs that stand out of the long skirt in a walk (2.7 % of their
points at 0.12 m, 0.9 % at 0.1, 0.2 % at 0.08) and cloth that stretches (its 99.5th percentile edge 1.6, 1.7, 2.0
times)."""
CLOTH_OVERLAP = 1.25
"""Loose cloth is made of wider Gaussians than a closed surface needs: skinning stretches the cloth, not them."""


def load_parts(path: Path, *, parts: tuple[str, ...] = (), texture_dir: Path | None = None, count: int = 40_000,
               binding: Method = "diffused", seed: int = 0) -> Avatar:
    """The avatar of a character file wearing `parts`, as `outfit.dress` describes; of `count` Gaussians exactly.

    Raises `InputError` naming file and remedy for every bad input.
    """
    file = read_part_file(path, parts=parts)
    layers = dress(file, parts, texture_dir=texture_dir)
    layers = bound_layers(layers, file, binding)
    pieces = sample_layers(layers, count=count, seed=seed, source=str(path))
    gaussians = _shaded(join_layers(layers, pieces), file)
    rig = _rig(layers, pieces, gaussians, file, binding)
    return Avatar(name=path.stem, gaussians=gaussians, rig=rig, body=file.collider,
                  garments=_garments(layers, pieces, gaussians), licence=file.licence)


def bound_layers(layers: list[Layer], file: PartFile, binding: Method) -> list[Layer]:
    """Loose cloth bound to the body by `binding`; other layers keep the weights of the file."""
    return [replace(layer, mesh=_bind_mesh(layer.mesh, file.collider, binding)) if layer.garment else layer
            for layer in layers]


def _bind_mesh(mesh: SkinnedMesh, body: SkinnedMesh, binding: Method) -> SkinnedMesh:
    joints, weights = bind(mesh.vertices, body, method=binding, loose=np.ones(len(mesh.vertices), bool),
                           edges=mesh_edges(mesh.faces), influences=INFLUENCES, length=BINDING_LENGTH)
    return replace(mesh, skin_joints=joints, skin_weights=weights)


def sample_layers(layers: list[Layer], *, count: int, seed: int, source: str) -> list[SurfaceGaussians]:
    """Gaussians of each layer, `count` in all, in proportion to visible area, `DENSITY` and the texture's detail;
    face numbers are those of the layer's whole mesh. None of a layer that is invisible or too small for one.

    Raises `InputError` naming `source` where nothing can be seen.
    """
    cuts, shares = [], []
    for layer in layers:
        visible = np.flatnonzero(layer.visible) if layer.visible is not None else np.arange(len(layer.labels))
        density = np.array([DENSITY.get(Label(label), 1.0) for label in layer.labels[visible]])
        density = density * detail(layer.mesh, layer.color_at)[visible]
        cuts.append((visible, density))
        shares.append(float((face_areas(layer.mesh.vertices, layer.mesh.faces[visible]) * density).sum()))
    if not np.isfinite(shares).all() or sum(shares) <= 0:
        raise InputError(f"{source}: its meshes have no area; check its vertices and scale")
    edges = np.round(np.cumsum(shares) / np.sum(shares) * count).astype(int)
    counts = np.maximum(np.diff(edges, prepend=0), 0)
    pieces = []
    for i, (layer, (visible, density)) in enumerate(zip(layers, cuts, strict=True)):
        mesh = replace(layer.mesh, faces=layer.mesh.faces[visible])
        try:
            piece = no_gaussians() if counts[i] == 0 else sample_mesh(
                mesh, count=int(counts[i]), seed=seed * 1000 + i, density=density,
                sampling=CLOSED if layer.garment else FAITHFUL,
                color_at=lambda f, b, layer=layer, visible=visible: _shown(layer, visible[f], b))
        except Invisible:
            piece = no_gaussians()
        except InputError as error:
            raise InputError(f"{source}: part '{layer.name}': {error}") from None
        piece = piece if layer.garment else inset_surface(piece)  # cloth rides on its very mesh
        pieces.append(replace(piece, faces=visible[piece.faces].astype(np.int32)))
    if not sum(len(piece.means) for piece in pieces):
        raise InputError(f"{source}: is transparent everywhere; check its textures")
    return pieces


def _shown(layer: Layer, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
    """Colour [S 4] of a layer, transparent outside its span of heights."""
    color = np.asarray(layer.color_at(faces, barycentrics), np.float64)
    height = interpolate(layer.mesh.vertices[layer.mesh.faces], faces, barycentrics)[:, 1]
    alpha = color[:, 3] if color.shape[1] == 4 else np.ones(len(color))
    shown = (height >= layer.span[0]) & (height <= layer.span[1])
    return np.concatenate([color[:, :3], (alpha * shown)[:, None]], axis=1)


def join_layers(layers: list[Layer], pieces: list[SurfaceGaussians]) -> GaussianSet:
    """All pieces in one set. A garment's faces with only pinned corners never leave the body: they are TIGHT."""
    labels = []
    for layer, piece in zip(layers, pieces, strict=True):
        label = layer.labels[piece.faces].copy()
        if layer.pinned is not None:
            label[layer.pinned[layer.mesh.faces[piece.faces]].all(1)] = Label.TIGHT
        labels.append(label)
    names = ("means", "quats_wxyz", "log_scales", "opacity_logits", "sh0")
    joined = {name: np.concatenate([getattr(p, name) for p in pieces]) for name in names}
    every = np.concatenate(labels)
    joined["log_scales"][every == Label.GARMENT, :2] += np.float32(np.log(CLOTH_OVERLAP))
    return GaussianSet(**joined, labels=every)


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
            if len(moving):
                garments.append(Garment(name=layer.name, mesh=layer.mesh, pinned=layer.pinned,
                                        gaussian_indices=(start + moving).astype(np.int64),
                                        gaussian_faces=piece.faces[moving],
                                        gaussian_barycentrics=piece.barycentrics[moving]))
        start = stop
    return tuple(garments)
