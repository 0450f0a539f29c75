"""Cloth to simulate from the parts of any skinned mesh that are labelled as garments (cape, skirt, robe).

A file's mesh is split at texture seams and coarse; cloth is welded and divided, and Gaussians ride on the new faces.
Letters: V vertices, F faces, G Gaussians.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from baker.avatar import Garment, SkinnedMesh
from baker.avatars.textured import TexturedPart
from baker.binding import mesh_edges
from baker.meshes import SurfaceGaussians, dense_weights, strongest
from baker.roles import match_roles
from runtime.types import GaussianSet, Label, Rig

WELD = 1e-4
"""Vertices nearer than this [m] are one."""
CLOTH_EDGE = 0.04
"""Faces are divided until half of the edges are shorter [m]: folds of 10 cm and more show."""
MAX_CLOTH = 20_000
"""Vertices of a garment that can be simulated in minutes."""
HELD = 0.045
"""Height [m] of the upper border that holds a garment, as a waistband."""
WORN_CLOSE = 0.06
"""What is worn round the trunk is held above the waist where it is this near to the body [m]."""
INFLUENCES = 8


def loose_garments(parts: Sequence[TexturedPart], pieces: Sequence[SurfaceGaussians], gaussians: GaussianSet, rig: Rig,
                   body: SkinnedMesh) -> tuple[tuple[Garment, ...], np.ndarray]:
    """A garment for each part that is loose cloth as a whole, and the Gaussians' labels [G]: faces with only held
    corners never leave the body and are TIGHT.

    Held are the upper border, what touches another part, and, of what goes round the trunk, all above the waist that is
    near the body. Parts too fine to simulate are left out with a line on stderr.
    """
    labels, garments, start = gaussians.labels.copy(), [], 0
    solid = cKDTree(body.vertices)
    for part, piece in zip(parts, pieces, strict=True):
        rows = np.arange(start, start + len(piece.means))
        start += len(piece.means)
        if not len(rows) or not (part.labels == Label.GARMENT).all():
            continue
        mesh, faces, barycentrics = cloth_mesh(part.mesh, piece.faces, piece.barycentrics, joints=rig.joint_count)
        if len(mesh.vertices) > MAX_CLOTH:
            print(f"{part.name}: has {len(mesh.vertices)} vertices, too many to simulate as cloth ({MAX_CLOTH}); "
                  "reduce it", file=sys.stderr)
            continue
        pinned = held(mesh, rig, solid)
        follows = pinned[mesh.faces[faces]].all(1)
        if follows.all():
            continue
        labels[rows[follows]] = Label.TIGHT
        moving = np.flatnonzero(~follows)
        garments.append(Garment(name=part.name, mesh=mesh, pinned=pinned,
                                gaussian_indices=rows[moving].astype(np.int64),
                                gaussian_faces=faces[moving].astype(np.int32),
                                gaussian_barycentrics=barycentrics[moving].astype(np.float32),
                                meets_arms=not _around_trunk(mesh, rig)))
    return tuple(garments), labels


def cloth_mesh(mesh: SkinnedMesh, faces: np.ndarray, barycentrics: np.ndarray, *,
               joints: int) -> tuple[SkinnedMesh, np.ndarray, np.ndarray]:
    """A mesh welded and divided, and where points (face, barycentrics [G 3]) of the old one lie on it."""
    # 1. One vertex a place; faces that collapse go, but points keep riding on what they were sampled from.
    _, first, index = np.unique(np.round(mesh.vertices / WELD).astype(np.int64), axis=0, return_index=True,
                                return_inverse=True)
    corners = index.ravel()[mesh.faces]
    good = (corners != corners[:, [1, 2, 0]]).all(1)
    place = np.cumsum(good) - 1
    vertices = mesh.vertices[first].astype(np.float64)
    weights = dense_weights(mesh.skin_joints, mesh.skin_weights, joints=joints)[first]
    corners = corners[good]
    nearest = np.flatnonzero(good)[cKDTree(mesh.vertices[mesh.faces[good]].mean(1)).query(
        mesh.vertices[mesh.faces[faces]].mean(1))[1]] if not good[faces].all() else faces
    faces, barycentrics = place[np.where(good[faces], faces, nearest)], barycentrics.astype(np.float64)
    # 2. Every face in four, at the middles of its edges.
    while len(corners) and len(vertices) + 1.5 * len(corners) <= MAX_CLOTH:
        edges = mesh_edges(corners)
        if np.median(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)) < CLOTH_EDGE:
            break
        vertices, weights, corners = _divided(vertices, weights, corners)
        faces, barycentrics = _in_quarter(faces, barycentrics)
    skin_joints, skin_weights = strongest(weights, influences=INFLUENCES)
    whole = SkinnedMesh(vertices=vertices.astype(np.float32), faces=corners.astype(np.int32), skin_joints=skin_joints,
                        skin_weights=skin_weights)
    return whole, faces, barycentrics


def _divided(vertices: np.ndarray, weights: np.ndarray,
             corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, weights and faces with face f as 4f .. 4f+3: at its corners, then its middle."""
    sides = np.sort(corners[:, [[1, 2], [2, 0], [0, 1]]].reshape(-1, 2), axis=1)
    edges, index = np.unique(sides, axis=0, return_inverse=True)
    middle = len(vertices) + index.reshape(-1, 3)
    a, b, c = corners.T
    ab, bc, ca = middle[:, 2], middle[:, 0], middle[:, 1]
    # The middle face has its corners opposite to the old ones.
    quarters = np.stack([np.stack(q, 1) for q in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (bc, ca, ab))], axis=1)
    return (np.concatenate([vertices, vertices[edges].mean(1)]), np.concatenate([weights, weights[edges].mean(1)]),
            quarters.reshape(-1, 3))


def _in_quarter(faces: np.ndarray, barycentrics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The quarter that each point is in, and its place there."""
    largest = barycentrics.argmax(1)
    corner = barycentrics[np.arange(len(faces)), largest] >= 0.5
    at_corner = 2 * barycentrics
    at_corner[np.arange(len(faces)), largest] -= 1
    inside = np.where(corner[:, None], at_corner, 1 - 2 * barycentrics)
    return 4 * faces + np.where(corner, largest, 3), inside


def held(mesh: SkinnedMesh, rig: Rig, solid: cKDTree) -> np.ndarray:
    """Boolean [V]: vertices that follow the body; some in every connected piece."""
    y = mesh.vertices[:, 1].astype(np.float64)
    edges = mesh_edges(mesh.faces)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(y),) * 2)
    _, island = connected_components(graph, directed=False)
    top = np.full(island.max() + 1, -np.inf)
    np.maximum.at(top, island, y)
    distance = solid.query(mesh.vertices)[0]
    pinned = (y > top[island] - HELD) | (distance < WELD)
    if _around_trunk(mesh, rig):
        pinned |= (y > _waist(rig)) & (distance < WORN_CLOSE)
    return pinned


def _waist(rig: Rig) -> float:
    """Height [m] a tenth of the way from the hips to the shoulders above the hips."""
    joints = rig.T_world_joint_rest[:, :3, 3]
    roles = match_roles(rig.joint_names, rig.parents, joints)
    if not roles:
        return float(joints[0, 1])
    hips, shoulders = (np.mean([joints[roles[f"{side}_{name}"], 1] for side in ("left", "right")])
                       for name in ("hip", "shoulder"))
    return float(hips + 0.1 * (shoulders - hips))


def _around_trunk(mesh: SkinnedMesh, rig: Rig) -> bool:
    """Whether cloth at the height of the waist is on all sides of the body, as a skirt or a robe and unlike a cape."""
    centre = rig.T_world_joint_rest[0, :3, 3]
    near = np.abs(mesh.vertices[:, 1] - _waist(rig)) < 0.1
    angle = np.arctan2(mesh.vertices[near, 0] - centre[0], mesh.vertices[near, 2] - centre[2])
    return len(np.unique(np.floor((angle + np.pi) / (np.pi / 6)).clip(0, 11))) >= 10
