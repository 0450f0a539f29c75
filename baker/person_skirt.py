"""The built-in person's skirt: a pleated cone that clears hips and legs, as a regular grid for cloth simulation.

Letters: R rows from waist to hem, C columns around, V = R * C vertices. Lengths in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import ConvexHull

from baker.body import JOINT_NAMES, Body
from baker.meshes import SurfaceGaussians, vertex_normals
from runtime import rotations

COLUMNS = 96
"""Six a pleat at sixteen pleats."""
CLEARANCE = 0.012
"""Cloth over the body at rest [m]."""
JOIN_DEPTH = 0.006
"""By how much a dress's seam lies nearer to the body than a waistband [m]."""
PINNED_ROWS = 2
OVERLAP = 0.65
"""Standard deviation over spacing of the cloth's Gaussians: at 0.6 cloth stretched by a step shows gaps."""
BAND = 0.02
"""Half height of the body slice whose hull a row must clear [m]."""


@dataclass(frozen=True)
class SkirtShape:
    """What makes one skirt differ from another."""

    length: float
    """0 ends at the knee, 1 just above the ankle."""
    flare: float
    """Growth of the radius per metre of drop below the hips."""
    waist: float
    """Height of the upper edge above the body's natural waist [m]."""
    pleats: int
    """Number of folds around."""
    pleat_depth: float
    """Radial depth of the folds at the hem [m]."""
    joined: bool = False
    """The upper edge lies close, as a dress's does where its bodice goes on."""


@dataclass(frozen=True)
class SkirtSurface:
    """The skirt in the rest pose."""

    vertices: Float[np.ndarray, "V 3"]
    """Row by row from the waist [m]."""
    faces: Int[np.ndarray, "F 3"]
    """Counter-clockwise from outside."""
    uv: Float[np.ndarray, "V 2"]
    """Distance around (at mid length) and down from the waist [m]; `uv` jumps at the seam, so look it up with
    `face_uv`."""
    girth: float
    """Distance around at mid length [m]: the period of u."""
    face_uv: Float[np.ndarray, "F 3 2"]
    """`uv` of each face's corners, continuous across the seam."""
    valley: Float[np.ndarray, " V"]
    """How deep in a fold each vertex lies, 0..1."""
    rows: int
    hem_height: float
    """Height of the hem [m]."""
    waist_height: float
    """Height of the upper edge [m]."""


def make_skirt(body: Body, shape: SkirtShape) -> SkirtSurface:
    """A skirt around `body` (rest pose) that clears its torso and legs by `CLEARANCE`."""
    joint = dict(zip(JOINT_NAMES, body.joints, strict=True))
    top = float(0.6 * joint["spine1"][1] + shape.waist)
    knee, ankle = float(joint["left_knee"][1]), float(joint["left_ankle"][1])
    bottom = knee - 0.03 + shape.length * (ankle + 0.07 - (knee - 0.03))
    rows = int(np.clip(round((top - bottom) / 0.026), 18, 28))
    heights = np.linspace(top, bottom, rows)
    # 1. Columns: rays from the axis, evenly spaced along the widest hull's contour.
    trunk = _trunk(body)
    axis_z = float(trunk[np.abs(trunk[:, 1] - joint["left_hip"][1]) < BAND, 2].mean())
    fine = np.linspace(0, 2 * np.pi, 721)
    hips = _hull_radius(trunk, height=float(joint["left_hip"][1]) - 0.05, axis_z=axis_z, angles=fine)
    arc = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(_polar(hips, fine), axis=0).T))])
    around = np.arange(COLUMNS) / COLUMNS * arc[-1]
    angles = np.interp(around, arc, fine)
    # 2. Radii: the hulls' running maximum from the waist down, then the flare and the folds.
    radii = np.stack([_hull_radius(trunk, height=y, axis_z=axis_z, angles=angles) for y in heights]) + CLEARANCE
    if shape.joined:
        radii -= (JOIN_DEPTH * np.clip(1 - (heights[0] - heights) / 0.08, 0, 1))[:, None]
    radii = np.maximum.accumulate(_smooth_around(radii), axis=0)
    drop = np.maximum(heights[0] - heights - 0.05, 0.0)[:, None]
    radii = radii[:1] + np.maximum(radii - radii[:1], shape.flare * drop)
    fold = 0.5 - 0.5 * np.cos(shape.pleats * 2 * np.pi * around / arc[-1])
    depth = shape.pleat_depth * (np.clip(drop / drop[-1], 0, 1)) ** 0.8
    radii = radii + depth * fold
    valley = (1 - fold) * depth / max(shape.pleat_depth, 1e-6) * min(1.0, shape.pleat_depth / 0.04)
    # 3. The grid.
    vertices = np.empty((rows, COLUMNS, 3))
    vertices[..., 0] = radii * np.sin(angles)
    vertices[..., 1] = heights[:, None]
    vertices[..., 2] = axis_z + radii * np.cos(angles)
    down = np.broadcast_to((heights[0] - heights)[:, None], (rows, COLUMNS))
    # Distances around are true at mid length: above it a pattern is narrower, below it wider, as in a flared cut.
    middle = vertices[rows // 2]
    girth = float(np.linalg.norm(np.diff(middle, axis=0, append=middle[:1]), axis=1).sum())
    uv = np.stack([np.broadcast_to(around * girth / arc[-1], (rows, COLUMNS)), down], -1)
    faces, seam = _grid_faces(rows)
    face_uv = uv.reshape(-1, 2)[faces].copy()
    face_uv[..., 0] += np.where(seam, girth, 0.0)
    return SkirtSurface(vertices=vertices.reshape(-1, 3).astype(np.float32), faces=faces, rows=rows, girth=girth,
                        valley=valley.ravel().astype(np.float32),
                        uv=uv.reshape(-1, 2).astype(np.float32), face_uv=face_uv.astype(np.float32),
                        hem_height=float(bottom), waist_height=float(top))


def pinned(surface: SkirtSurface) -> np.ndarray:
    """Boolean [V]: the waistband."""
    return np.arange(len(surface.vertices)) < PINNED_ROWS * COLUMNS


def sample_rows(surface: SkirtSurface, *, count: int, seed: int) -> SurfaceGaussians:
    """About `count` flat Gaussians in rows along the cloth's warp and weft, so that patterns and hem keep clean edges.

    Rows are as far apart as neighbours in a row at the mean circumference; each row has as many Gaussians as its
    circumference asks. Colours are zero; the caller paints them (`sh0` follows from faces and barycentrics).
    """
    grid = surface.vertices.reshape(surface.rows, COLUMNS, 3).astype(np.float64)
    around = np.linalg.norm(np.diff(grid, axis=1, append=grid[:, :1]), axis=2)
    slant = np.linalg.norm(np.diff(grid, axis=0), axis=2).mean(1)
    depth = np.concatenate([[0], np.cumsum(slant)])
    girth = around.sum(1)
    area = float((0.5 * (girth[1:] + girth[:-1]) * slant).sum())
    spacing = np.sqrt(area / count)
    rows = max(8, round(depth[-1] / spacing))
    middles = (np.arange(rows) + 0.5) / rows
    place = np.interp(middles * depth[-1], depth, np.arange(surface.rows))
    each = np.interp(place, np.arange(surface.rows), girth)
    numbers = np.maximum(24, np.round(each / each.sum() * count)).astype(int)
    shift = np.random.Generator(np.random.Philox([seed, 31])).random(rows)
    r = np.repeat(place, numbers)
    # Columns of the grid, evenly spaced along each row's own contour.
    c = np.concatenate([_spread(_row(around, place[i]), (np.arange(n) + shift[i]) / n % 1.0)
                        for i, n in enumerate(numbers)])
    size_u = np.repeat(each / numbers, numbers)
    faces, barycentrics = _locate(r, c, surface)
    points = np.einsum("gc,gck->gk", barycentrics, surface.vertices[surface.faces[faces]].astype(np.float64))
    normals = np.einsum("gc,gck->gk", barycentrics,
                        vertex_normals(surface.vertices, surface.faces)[surface.faces[faces]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    down = np.stack([0 * r, -np.ones_like(r), 0 * r], 1)
    down -= (down * normals).sum(1, keepdims=True) * normals
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    frames = np.stack([np.cross(down, normals), down, normals], axis=2)
    sizes = np.stack([OVERLAP * size_u, np.full(len(r), OVERLAP * depth[-1] / rows), np.full(len(r), 0.0008)], 1)
    return SurfaceGaussians(means=points.astype(np.float32),
                            quats_wxyz=rotations.from_matrix(frames).astype(np.float32),
                            log_scales=np.log(sizes).astype(np.float32),
                            opacity_logits=np.full(len(r), 3.9, np.float32), sh0=np.zeros((len(r), 3), np.float32),
                            faces=faces, barycentrics=barycentrics.astype(np.float32))


def _spread(lengths: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Fractional columns at `parts` (0..1) of the way around a contour with `lengths` [C]."""
    walked = np.concatenate([[0], np.cumsum(lengths)])
    return np.interp(parts * walked[-1], walked, np.arange(COLUMNS + 1))


def _row(values: np.ndarray, place: float) -> np.ndarray:
    """The row of a [R C] array at a fractional row."""
    low = min(int(place), len(values) - 2)
    return values[low] + (place - low) * (values[low + 1] - values[low])


def _locate(r: np.ndarray, c: np.ndarray, surface: SkirtSurface) -> tuple[np.ndarray, np.ndarray]:
    """Faces [G] and barycentrics [G 3] of fractional rows and columns of the grid (the order of `_grid_faces`)."""
    row = np.minimum(r.astype(int), surface.rows - 2)
    column = np.minimum(c.astype(int), COLUMNS - 1)
    y, x = r - row, c - column
    odd = (row + column) % 2 == 1
    # Odd quads: (a d c), (a c b), split along a-c. Even quads: (a d b), (b d c), split along d-b.
    second = np.where(odd, x > y, x + y > 1)
    bary = np.where(odd[:, None],
                    np.where(second[:, None], np.stack([1 - x, y, x - y], 1), np.stack([1 - y, y - x, x], 1)),
                    np.where(second[:, None], np.stack([1 - y, 1 - x, x + y - 1], 1), np.stack([1 - x - y, y, x], 1)))
    return (2 * (row * COLUMNS + column) + second).astype(np.int32), bary


def _trunk(body: Body) -> np.ndarray:
    """Points of the torso and legs of the outer skin [P 3]: all but the arms and the head."""
    tights = body.vertices[np.unique(body.faces_of["tights"])]
    skin = body.vertices[np.unique(body.faces_of["body"])]
    points = np.concatenate([tights, skin])
    shoulder = body.joints[JOINT_NAMES.index("left_shoulder")]
    return points[(np.abs(points[:, 0]) < shoulder[0] + 0.12) & (points[:, 1] < shoulder[1] - 0.12)]


def _hull_radius(points: np.ndarray, *, height: float, axis_z: float, angles: np.ndarray) -> np.ndarray:
    """Distance from the axis to the convex hull of the slice at `height`, along each angle from +Z to +X."""
    near = points[np.abs(points[:, 1] - height) < BAND]
    flat = np.stack([near[:, 0], near[:, 2] - axis_z], 1)
    hull = ConvexHull(flat).equations
    direction = np.stack([np.sin(angles), np.cos(angles)])
    along = hull[:, :2] @ direction
    # The hull is n . x + d <= 0; a ray leaves through the nearest facet it runs towards.
    reach = np.where(along > 1e-9, -hull[:, 2:] / np.maximum(along, 1e-9), np.inf)
    return reach.min(0)


def _smooth_around(radii: Float[np.ndarray, "R C"]) -> Float[np.ndarray, "R C"]:
    """Radii smoothed along the columns, never below what they were."""
    smooth = radii
    for _ in range(2):
        smooth = (np.roll(smooth, 1, 1) + 2 * smooth + np.roll(smooth, -1, 1)) / 4
    return np.maximum(radii, smooth)


def _polar(radii: np.ndarray, angles: np.ndarray) -> np.ndarray:
    return np.stack([radii * np.sin(angles), radii * np.cos(angles)], 1)


def _grid_faces(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles [F 3] of the closed grid with alternating diagonals, and which corners lie past the seam [F 3]."""
    faces, seam = [], []
    for row in range(rows - 1):
        for column in range(COLUMNS):
            a, d = row * COLUMNS + column, (row + 1) * COLUMNS + column
            nxt = (column + 1) % COLUMNS
            b, c = row * COLUMNS + nxt, (row + 1) * COLUMNS + nxt
            past = nxt == 0
            if (row + column) % 2:
                faces += [(a, d, c), (a, c, b)]
                seam += [(False, False, past), (False, past, past)]
            else:
                faces += [(a, d, b), (b, d, c)]
                seam += [(False, False, past), (past, False, past)]
    return np.array(faces, np.int32), np.array(seam)
