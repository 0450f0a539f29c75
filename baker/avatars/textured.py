"""Textured, skinned mesh parts become one avatar's Gaussians.

Letters: V vertices, F faces, N Gaussians, W influences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8
from scipy.spatial import cKDTree

from baker.avatar import Avatar, SkinnedMesh
from baker.meshes import (
    FAITHFUL,
    ColorAt,
    Invisible,
    SurfaceGaussians,
    face_areas,
    inset_surface,
    interpolate_weights,
    no_gaussians,
    sample_mesh,
)
from baker.person_colors import occlusion, shade
from runtime import rotations
from runtime.errors import InputError
from runtime.types import MOVING_LABELS, SH_C0, GaussianSet, Label, Rig

DENSITY: dict[Label, float] = {Label.FACE: 4.0, Label.HAND: 2.5, Label.EYE: 5.0, Label.HAIR: 0.8, Label.GARMENT: 0.8}
"""Gaussians per area relative to plain surfaces: small things people look at."""
INFLUENCES = 8
CONTRAST = 0.22
"""Strength of the baked light (`person_colors.shade`): unlit textures look flat."""


@dataclass(frozen=True)
class TexturedPart:
    """One mesh with its colours, bound to the rig in the rest pose."""

    name: str
    mesh: SkinnedMesh
    color_at: ColorAt
    labels: UInt8[np.ndarray, " F"]
    """A `Label` for each face."""
    lit: bool = False
    """The texture already holds its light: none is baked."""


def textured_avatar(name: str, parts: Sequence[TexturedPart], rig: Rig, *, count: int, seed: int, licence: str,
                    source: str) -> Avatar:
    """An avatar of exactly `count` Gaussians over all parts; `rig` brings the joints, its binding is made here.

    Raises `InputError` naming `source` where nothing can be seen.
    """
    pieces = sample_parts(parts, count=count, seed=seed, source=source)
    gaussians = join(parts, pieces)
    lit = np.concatenate([np.full(len(piece.means), part.lit) for part, piece in zip(parts, pieces, strict=True)])
    gaussians = baked_light(gaussians, where=~lit)
    rows = [interpolate_weights(part.mesh, piece.faces, piece.barycentrics, joints=rig.joint_count,
                                influences=INFLUENCES) for part, piece in zip(parts, pieces, strict=True)]
    width = max(joints.shape[1] for joints, _ in rows)
    pads = [(0, width - joints.shape[1]) for joints, _ in rows]
    rig = replace(rig, skin_joints=np.concatenate([np.pad(j, ((0, 0), p)) for (j, _), p in zip(rows, pads,
                                                                                             strict=True)]),
                  skin_weights=np.concatenate([np.pad(w, ((0, 0), p)) for (_, w), p in zip(rows, pads, strict=True)]))
    solid = [part for part in parts if not np.isin(part.labels, [int(m) for m in MOVING_LABELS]).all()]
    body = joined_mesh([part.mesh for part in solid or parts])
    from baker.avatars.loose_parts import loose_garments  # which names TexturedPart

    # Where everything is cloth there is no body for it to lie on.
    garments, labels = loose_garments(parts, pieces, gaussians, rig, body) if solid else ((), gaussians.labels)
    return Avatar(name=name, gaussians=replace(gaussians, labels=labels), rig=rig, body=body, garments=garments,
                  licence=licence)


def sample_parts(parts: Sequence[TexturedPart], *, count: int, seed: int, source: str) -> list[SurfaceGaussians]:
    """Gaussians of each part, `count` in all, by area, label and detail."""
    densities = [np.array([DENSITY.get(Label(label), 1.0) for label in part.labels]) * detail(part.mesh, part.color_at)
                 for part in parts]
    areas = [face_areas(part.mesh.vertices, part.mesh.faces) for part in parts]
    shares = np.array([float((a * d).sum()) for a, d in zip(areas, densities, strict=True)])
    if not np.isfinite(shares).all() or shares.sum() <= 0:
        raise InputError(f"{source}: its meshes have no area; check its vertices and scale")
    edges = np.round(np.cumsum(shares) / shares.sum() * count).astype(int)
    counts = np.diff(edges, prepend=0)
    pieces = []
    for i, part in enumerate(parts):
        if counts[i] == 0:
            pieces.append(no_gaussians())
            continue
        try:
            piece = sample_mesh(part.mesh, count=int(counts[i]), seed=seed * 1000 + i, density=densities[i],
                                color_at=part.color_at, sampling=FAITHFUL)
            pieces.append(inset_surface(piece))
        except Invisible:
            pieces.append(no_gaussians())
        except InputError as error:
            raise InputError(f"{source}: part '{part.name}': {error}") from None
    if not sum(len(piece.means) for piece in pieces):
        raise InputError(f"{source}: is transparent everywhere; check its textures")
    return pieces


def join(parts: Sequence[TexturedPart], pieces: Sequence[SurfaceGaussians]) -> GaussianSet:
    """All pieces in one set, labelled by their faces."""
    names = ("means", "quats_wxyz", "log_scales", "opacity_logits", "sh0")
    return GaussianSet(**{name: np.concatenate([getattr(p, name) for p in pieces]) for name in names},
                       labels=np.concatenate([part.labels[piece.faces] for part, piece in
                                              zip(parts, pieces, strict=True)]).astype(np.uint8))


def detail(mesh: SkinnedMesh, color_at: ColorAt) -> np.ndarray:
    """Relative density [F], 0.8 for a plain texture to 2.2 for fine stripes: the spread of the colour within each
    face's neighbourhood, smoothed over the mesh."""
    count = len(mesh.faces)
    steps = np.array([[a, b, 4 - a - b] for a in range(5) for b in range(5 - a)]) / 4.0
    faces = np.repeat(np.arange(count), len(steps))
    rgb = np.asarray(color_at(faces, np.tile(steps, (count, 1))), np.float64)[:, :3].reshape(count, -1, 3)
    centres = mesh.vertices[mesh.faces].mean(1).astype(np.float64)
    near = cKDTree(centres).query(centres, k=min(12, count))[1].reshape(count, -1)
    mean, square = rgb.mean(1), (rgb**2).mean(1)
    spread = np.sqrt(np.maximum(square[near].mean(1) - mean[near].mean(1) ** 2, 0).mean(1))
    return np.clip(0.6 + spread / 0.1, 0.8, 2.2)


def baked_light(gaussians: GaussianSet, *, where: np.ndarray) -> GaussianSet:
    """Soft light and occlusion baked into the colours of the Gaussians at `where`."""
    if not where.any():
        return gaussians
    normals = rotations.to_matrix(gaussians.quats_wxyz)[:, :, 2].astype(np.float64)
    means = gaussians.means.astype(np.float64)
    visibility = occlusion(means, normals, means)
    color = gaussians.colors.astype(np.float64)
    lit = shade(color, normals, visibility, contrast=CONTRAST)
    return replace(gaussians, sh0=((np.where(where[:, None], lit, color) - 0.5) / SH_C0).astype(np.float32))


def joined_mesh(meshes: Sequence[SkinnedMesh]) -> SkinnedMesh:
    """Several meshes as one."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    width = max(mesh.skin_joints.shape[1] for mesh in meshes)

    def wide(values: np.ndarray) -> np.ndarray:
        return np.pad(values, ((0, 0), (0, width - values.shape[1])))

    return SkinnedMesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        faces=np.concatenate([mesh.faces + o for mesh, o in zip(meshes, offsets[:-1], strict=True)]).astype(np.int32),
        skin_joints=np.concatenate([wide(mesh.skin_joints) for mesh in meshes]),
        skin_weights=np.concatenate([np.pad(mesh.skin_weights, ((0, 0), (0, width - mesh.skin_weights.shape[1])))
                                     for mesh in meshes]))
