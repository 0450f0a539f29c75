"""baker/binding.py: exact closest points, weights that stay weights, skirts that hold together."""

from __future__ import annotations

import numpy as np
import pytest

from baker.avatar import SkinnedMesh
from baker.binding import bind, closest_on_triangles, closest_points, diffuse, mesh_edges, neighbour_edges
from baker.meshes import dense_weights
from runtime.errors import InputError


def tube(x: float, *, radius: float, top: float, bottom: float, joint: int, around: int = 24,
         rows: int = 20) -> SkinnedMesh:
    """A vertical tube around (x, ., 0): joint 0 at the top, blending to `joint` downwards."""
    angle = np.arange(around) / around * 2 * np.pi
    height = np.linspace(top, bottom, rows)
    vertices = np.stack([x + radius * np.sin(angle)[None].repeat(rows, 0), height[:, None].repeat(around, 1),
                         radius * np.cos(angle)[None].repeat(rows, 0)], -1).reshape(-1, 3)
    i, j = np.mgrid[0:rows - 1, 0:around].reshape(2, -1)
    a, b = i * around + j, i * around + (j + 1) % around
    faces = np.concatenate([np.stack([a, a + around, b], 1), np.stack([b, a + around, b + around], 1)])
    share = np.clip(np.linspace(0, 4, rows), 0, 1).repeat(around)
    return SkinnedMesh(vertices=vertices.astype(np.float32), faces=faces.astype(np.int32),
                       skin_joints=np.tile(np.array([0, joint], np.int32), (rows * around, 1)),
                       skin_weights=np.stack([1 - share, share], 1).astype(np.float32))


def two_legs() -> SkinnedMesh:
    left, right = (tube(x, radius=0.07, top=0.1, bottom=-0.8, joint=joint) for x, joint in ((0.1, 1), (-0.1, 2)))
    return SkinnedMesh(np.concatenate([left.vertices, right.vertices]),
                       np.concatenate([left.faces, right.faces + len(left.vertices)]),
                       np.concatenate([left.skin_joints, right.skin_joints]),
                       np.concatenate([left.skin_weights, right.skin_weights]))


def soup(rng: np.random.Generator, count: int) -> SkinnedMesh:
    """Triangles of sizes from 1 mm to 1 m, some of them degenerate to a segment or a point."""
    size = 10.0 ** rng.uniform(-3, 0, (count, 1, 1))
    corners = rng.normal(size=(count, 1, 3)) + size * rng.normal(size=(count, 3, 3))
    corners[::17, 2] = corners[::17, 1]
    corners[::41] = corners[::41, :1]
    return SkinnedMesh(corners.reshape(-1, 3).astype(np.float32), np.arange(3 * count).reshape(-1, 3).astype(np.int32),
                       np.zeros((3 * count, 1), np.int32), np.ones((3 * count, 1), np.float32))


@pytest.mark.parametrize("seed", range(4))
def test_closest_points_are_those_of_an_exhaustive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mesh, points = soup(rng, 400), rng.normal(size=(300, 3)).astype(np.float32) * 1.5
    faces, barycentrics, closest, distances = closest_points(points, mesh)
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    every, _ = closest_on_triangles(points[:, None].astype(np.float64), np.broadcast_to(corners, (300, 400, 3, 3)))
    exact = np.linalg.norm(every - points[:, None], axis=2).min(1)
    assert np.abs(distances - exact).max() < 1e-12
    assert np.abs(np.linalg.norm(closest - points, axis=1) - distances).max() < 1e-12
    assert np.abs(np.einsum("pc,pck->pk", barycentrics, corners[faces]) - closest).max() < 1e-12


def test_the_closest_point_of_a_triangle_beats_a_fine_grid_of_it() -> None:
    rng = np.random.default_rng(0)
    corners, points = rng.normal(size=(200, 3, 3)), 2 * rng.normal(size=(200, 3))
    closest, barycentrics = closest_on_triangles(points, corners)
    assert (barycentrics >= 0).all() and np.abs(barycentrics.sum(1) - 1).max() < 1e-12
    u, v = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 41))
    grid = np.stack([1 - u - v, u, v], -1)[u + v <= 1 + 1e-9]
    on_grid = np.linalg.norm(np.einsum("gc,nck->ngk", grid, corners) - points[:, None], axis=2).min(1)
    mine = np.linalg.norm(closest - points, axis=1)
    assert (mine <= on_grid + 1e-12).all()
    edge = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    assert (on_grid - mine <= edge / 40).all()


@pytest.mark.parametrize("method", ["diffused", "nearest_vertex"])
def test_weights_sum_to_one_and_are_never_negative(method: str) -> None:
    body = two_legs()
    points = np.random.default_rng(2).normal(size=(500, 3)).astype(np.float32) * 0.4
    joints, weights = bind(points, body, method=method, loose=points[:, 1] < 0)
    assert np.abs(weights.sum(1) - 1).max() < 3e-7
    assert (weights >= 0).all() and joints.min() >= 0 and joints.max() <= 2
    assert (np.diff(weights, axis=1) <= 0).all()
    again = bind(points, body, method=method, loose=points[:, 1] < 0)
    assert np.array_equal(joints, again[0]) and np.array_equal(weights, again[1])


def test_a_fitted_point_on_a_vertex_has_the_vertex_weights() -> None:
    body = two_legs()
    joints, weights = bind(body.vertices, body)
    assert np.abs(dense_weights(joints, weights, joints=3)
                  - dense_weights(body.skin_joints, body.skin_weights, joints=3)).max() < 1e-6


def test_nearest_vertex_copies_one_template_vertex() -> None:
    body = two_legs()
    points = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32) * 0.3
    joints, weights = bind(points, body, method="nearest_vertex")
    nearest = np.linalg.norm(body.vertices[None] - points[:, None], axis=2).argmin(1)
    expected = dense_weights(body.skin_joints, body.skin_weights, joints=3)[nearest]
    assert np.abs(dense_weights(joints, weights, joints=3) - expected).max() < 1e-6


def test_a_diffused_skirt_does_not_split_between_the_legs() -> None:
    """Front and back of a skirt switch legs from one vertex to the next by nearest vertex: a jump of 1."""
    body = two_legs()
    skirt = tube(0.0, radius=0.25, top=0.05, bottom=-0.7, joint=0, around=48)
    edges = mesh_edges(skirt.faces)
    jump = {}
    for method in ("diffused", "nearest_vertex"):
        joints, weights = bind(skirt.vertices, body, method=method, edges=edges,
                               loose=np.ones(len(skirt.vertices), bool))
        dense = dense_weights(joints, weights, joints=3)
        jump[method] = np.abs(dense[edges[:, 0]] - dense[edges[:, 1]]).max()
        # Its sides still follow the leg beside them.
        low = skirt.vertices[:, 1] < -0.4
        assert dense[low & (skirt.vertices[:, 0] > 0.2), 1].min() > 0.6
    assert jump["nearest_vertex"] > 0.99 and jump["diffused"] < 0.2, jump


def test_cloth_that_touches_the_body_keeps_the_body_weights() -> None:
    body = two_legs()
    tight = tube(0.1, radius=0.072, top=0.0, bottom=-0.6, joint=0)
    joints, weights = bind(tight.vertices, body, edges=mesh_edges(tight.faces),
                           loose=np.ones(len(tight.vertices), bool))
    fitted = bind(tight.vertices, body)
    moved = np.abs(dense_weights(joints, weights, joints=3) - dense_weights(*fitted, joints=3)).max()
    assert moved < 0.05, moved


def test_diffusion_keeps_constants_and_makes_no_new_extremes() -> None:
    rng = np.random.default_rng(4)
    points = rng.random((300, 3)).astype(np.float32)
    edges = neighbour_edges(points)
    constant = np.tile([0.25, 0.75], (300, 1))
    distances = rng.random(300) * 0.1
    assert np.abs(diffuse(constant, points, edges, distances, length=0.2) - constant).max() < 1e-10
    weights = rng.dirichlet([0.3, 0.3, 0.3], 300)
    smooth = diffuse(weights, points, edges, distances, length=0.2)
    assert np.abs(smooth.sum(1) - 1).max() < 1e-10
    assert (smooth.min(0) >= weights.min(0) - 1e-12).all() and (smooth.max(0) <= weights.max(0) + 1e-12).all()


def test_diffusion_spreads_over_the_given_length() -> None:
    """On a fine strip the answer to a step is 1/2 exp(-|x| / length), the Green's function's integral."""
    x = np.linspace(-1, 1, 401)
    u, v = np.meshgrid(x, np.arange(6) * 0.005)
    points = np.stack([u, v, np.zeros_like(u)], -1).reshape(-1, 3)
    near = np.abs(points[:, None, :2] - points[None, :, :2]).max(2) < 0.0051
    edges = np.argwhere(np.triu(near, 1))
    step = (points[:, 0] > 0).astype(float)
    smooth = diffuse(np.stack([step, 1 - step], 1), points, edges, np.full(len(points), 1.0), length=0.1)[:, 0]
    exact = np.where(points[:, 0] > 0, 1 - 0.5 * np.exp(-points[:, 0] / 0.1), 0.5 * np.exp(points[:, 0] / 0.1))
    assert np.abs(smooth - exact).max() < 0.06


def test_an_unknown_method_is_refused_by_name() -> None:
    unchecked = getattr(bind, "__wrapped__", bind)  # Under tests the type checker would object first.
    with pytest.raises(InputError, match=r"'magic'.*diffused"):
        unchecked(np.zeros((1, 3), np.float32), two_legs(), method="magic")
