"""Binding of points to a skinned body (DESIGN §4).

Letters: P points, V vertices, F faces, E edges of a neighbourhood graph, J joints, W influences.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from baker.avatar import SkinnedMesh
from baker.meshes import dense_weights, interpolate, strongest
from runtime.errors import InputError

Method = Literal["diffused", "nearest_vertex"]
"""`diffused`: ours. `nearest_vertex`: LHM's, the single nearest template vertex (facts/upstream.md §2.2)."""

TOUCH_DISTANCE = 0.015
"""Cloth nearer to the body than about this [m] follows the body under it."""
TOUCH_CONFIDENCE = 200.0
"""How much firmer a touching point holds its weights: its diffusion length is `length` / sqrt(200)."""
NEIGHBOURS = 8


def bind(points: Float[np.ndarray, "P 3"], body: SkinnedMesh, *, method: Method = "diffused",
         loose: Bool[np.ndarray, " P"] | None = None, edges: Int[np.ndarray, "E 2"] | None = None,
         influences: int = 8, length: float = 0.12) -> tuple[np.ndarray, np.ndarray]:
    """Joints int32 [P W] and weights float32 [P W] (rows sum to 1, largest first) of points near a body.

    `diffused` takes the weights at the closest point of the surface and then, for `loose` points, smooths
    them over the garment by `length` metres, less where cloth touches the body, so that skirts split between
    the legs no more than it must. The garment's graph is `edges` between points (a mesh's), or the
    nearest neighbours among the loose points. Raises `InputError` for an unknown method.
    """
    if method not in get_args(Method):
        raise InputError(f"binding {method!r} is not known; use one of {', '.join(get_args(Method))}")
    joints = int(body.skin_joints.max()) + 1
    dense_body = dense_weights(body.skin_joints, body.skin_weights, joints=joints)
    if method == "nearest_vertex":
        _, nearest = cKDTree(body.vertices).query(points)
        return strongest(dense_body[nearest], influences=influences)
    faces, barycentrics, _, distances = closest_points(points, body)
    dense = interpolate(dense_body[body.faces], faces, barycentrics)
    if loose is not None and loose.any():
        subset = np.flatnonzero(loose)
        graph = neighbour_edges(points[subset]) if edges is None else _renumber(edges, subset, len(points))
        dense[subset] = diffuse(dense[subset], points[subset], graph, distances[subset], length=length)
    return strongest(dense, influences=influences)


def diffuse(dense: Float[np.ndarray, "P J"], points: Float[np.ndarray, "P 3"], edges: Int[np.ndarray, "E 2"],
            distances: Float[np.ndarray, " P"], *, length: float) -> Float[np.ndarray, "P J"]:
    """Weights smoothed over a graph: the solution w of `c (w - w0) = length^2 laplacian(w)`.

    c is 1 far from the body and `TOUCH_CONFIDENCE` where `distances` [m] are small. The system's matrix has
    positive diagonal, negative off-diagonals and keeps constants, so w stays in [0, 1] and sums to 1.
    """
    delta = points[edges[:, 0]].astype(np.float64) - points[edges[:, 1]]
    squared = np.maximum((delta**2).sum(1), 1e-10)
    ends = np.concatenate([edges, edges[:, ::-1]])
    degree = np.bincount(ends[:, 0], minlength=len(points)).astype(np.float64)
    # On a surface, the mean over neighbours of 4 (w_j - w_i) / d^2 is the Laplacian.
    pull = 4.0 / np.concatenate([squared, squared]) / np.maximum(degree, 1)[ends[:, 0]]
    adjacency = coo_matrix((pull, (ends[:, 0], ends[:, 1])), shape=(len(points),) * 2).tocsr()
    laplacian = diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency
    confidence = 1.0 + TOUCH_CONFIDENCE * np.exp(-((distances / TOUCH_DISTANCE) ** 2))
    system = (diags(confidence) + length**2 * laplacian).tocsc()
    used = np.flatnonzero(dense.max(0) > 0)
    smooth = np.zeros_like(dense, dtype=np.float64)
    smooth[:, used] = splu(system).solve(confidence[:, None] * dense[:, used])
    return np.maximum(smooth, 0.0)


def neighbour_edges(points: Float[np.ndarray, "P 3"], *, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Undirected edges [E 2] (first < second) from each point to its nearest `neighbours`."""
    k = min(neighbours + 1, len(points))
    _, near = cKDTree(points).query(points, k=k)
    near = near.reshape(len(points), -1)
    pairs = np.stack([np.repeat(np.arange(len(points)), near.shape[1]), near.ravel()], 1)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


def mesh_edges(faces: Int[np.ndarray, "F 3"]) -> np.ndarray:
    """Undirected edges [E 2] (first < second) of a triangle mesh."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def closest_points(points: Float[np.ndarray, "P 3"],
                   mesh: SkinnedMesh) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The exact closest point of a mesh's surface to each point.

    Returns faces [P], barycentrics [P 3], closest points [P 3] and distances [P] [m]. Faces are tried in
    order of their centroid's distance, until no face left can be nearer: a face reaches at most its radius
    beyond its centroid. Equal distances go to the face tried first.
    """
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    points = points.astype(np.float64)
    centroids = corners.mean(1)
    radii = np.linalg.norm(corners - centroids[:, None], axis=2).max(1)
    best = np.full(len(points), np.inf)
    face = np.zeros(len(points), np.int64)
    barycentrics = np.zeros((len(points), 3))
    # Few large faces must not make all small ones search far: one tree for each octave of radius.
    octave = np.floor(np.log2(np.maximum(radii, 1e-9))).astype(int)
    for level in np.unique(octave):
        members = np.flatnonzero(octave == level)
        _try_faces(points, corners, members, centroids, radii, (best, face, barycentrics))
    closest = np.einsum("pc,pck->pk", barycentrics, corners[face])
    return face, barycentrics, closest, best


def _try_faces(points: np.ndarray, corners: np.ndarray, members: np.ndarray, centroids: np.ndarray,
               radii: np.ndarray, found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Improve `found` (distance, face, barycentrics; in place) with the faces `members`."""
    best, face, barycentrics = found
    tree, reach = cKDTree(centroids[members]), radii[members].max()
    open_, done, k = np.arange(len(points)), 0, min(4, len(members))
    while len(open_):
        distance, near = tree.query(points[open_], k=k)
        distance, near = distance.reshape(len(open_), k)[:, done:], members[near.reshape(len(open_), k)[:, done:]]
        # Only pairs that can still win are worked out.
        row, column = np.nonzero(distance - radii[near] < best[open_][:, None])
        tried = near[row, column]
        where, bary = closest_on_triangles(points[open_[row]], corners[tried])
        reached = np.full(distance.shape, np.inf)
        reached[row, column] = np.sqrt(((where - points[open_[row]]) ** 2).sum(1))
        winner = reached.argmin(1)[row] == column
        better = winner & (reached[row, column] < best[open_[row]])
        target = open_[row[better]]
        best[target], face[target] = reached[row, column][better], tried[better]
        barycentrics[target] = bary[better]
        if k == len(members):
            return
        open_ = open_[distance[:, -1] - reach < best[open_]]
        done, k = k, min(4 * k, len(members))


def closest_on_triangles(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Closest points [... 3] and their barycentrics [... 3] on triangles [... 3 3] to points [... 3].

    The foot of the perpendicular where it is inside; else the nearest of the three edges' closest points.
    """
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = d00 * d11 - d01 * d01
    flat = area <= 1e-24
    v = (d11 * d20 - d01 * d21) / np.where(flat, 1.0, area)
    w = (d00 * d21 - d01 * d20) / np.where(flat, 1.0, area)
    inside = (v >= 0) & (w >= 0) & (v + w <= 1) & ~flat
    # Along each edge, the clamped parameter t of the closest point.
    t_ab = np.clip(d20 / np.maximum(d00, 1e-30), 0, 1)
    t_ac = np.clip(d21 / np.maximum(d11, 1e-30), 0, 1)
    bc = c - b
    t_bc = np.clip(((points - b) * bc).sum(-1) / np.maximum((bc * bc).sum(-1), 1e-30), 0, 1)
    zero = np.zeros_like(t_ab)
    on_edges = np.stack([np.stack([1 - t_ab, t_ab, zero], -1), np.stack([1 - t_ac, zero, t_ac], -1),
                         np.stack([zero, 1 - t_bc, t_bc], -1)], axis=-2)
    edge_points = on_edges @ corners
    pick = np.argmin(((edge_points - points[..., None, :]) ** 2).sum(-1), axis=-1)[..., None, None]
    edge = np.take_along_axis(on_edges, pick, axis=-2)[..., 0, :]
    bary = np.where(inside[..., None], np.stack([1 - v - w, v, w], -1), edge)
    return np.einsum("...c,...ck->...k", bary, corners), bary


def _renumber(edges: np.ndarray, subset: np.ndarray, count: int) -> np.ndarray:
    """The edges among the points of `subset`, numbered within it."""
    place = np.full(count, -1)
    place[subset] = np.arange(len(subset))
    inner = place[edges]
    return inner[(inner >= 0).all(1)]
