"""baker/meshes.py: surface sampling and riding on a deformed mesh."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from baker import meshes
from baker.avatar import Garment, SkinnedMesh
from baker.meshes import (
    SurfaceGaussians,
    carry,
    interpolate,
    interpolate_weights,
    load_texture,
    ride,
    sample_mesh,
    sample_texture,
    strongest,
    texture_color,
)
from runtime import rotations
from runtime.errors import InputError
from runtime.types import SH_C0, GaussianSet


def sheet(columns: int = 20, rows: int = 20, *, size: float = 1.0, wave: float = 0.0) -> SkinnedMesh:
    """A square cloth [m] in the xy plane with its normal along +Z, two joints weighted left to right."""
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    z = wave * np.sin(6 * u)
    vertices = np.stack([size * u, size * v, z], -1).reshape(-1, 3).astype(np.float32)
    first = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    across, down = first + 1, first + columns + 1
    faces = np.concatenate([np.stack([first, across, down], 1), np.stack([across, down + 1, down], 1)])
    share = u.ravel().astype(np.float32)
    return SkinnedMesh(vertices=vertices, faces=faces.astype(np.int32),
                       skin_joints=np.tile(np.array([0, 1], np.int32), (len(vertices), 1)),
                       skin_weights=np.stack([1 - share, share], 1))


def gray(faces: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.full((len(faces), 3), 0.25)


def as_set(surface: SurfaceGaussians) -> GaussianSet:
    names = ("means", "quats_wxyz", "log_scales", "opacity_logits", "sh0")
    return GaussianSet(**{name: getattr(surface, name) for name in names},
                       labels=np.full(len(surface.means), 4, np.uint8))


def as_garment(surface: SurfaceGaussians, mesh: SkinnedMesh) -> Garment:
    return Garment(name="cloth", mesh=mesh, pinned=np.zeros(len(mesh.vertices), bool),
                   gaussian_indices=np.arange(len(surface.means)), gaussian_faces=surface.faces,
                   gaussian_barycentrics=surface.barycentrics)


@pytest.fixture(scope="module")
def cloth() -> tuple[SkinnedMesh, SurfaceGaussians]:
    mesh = sheet(wave=0.08)
    return mesh, sample_mesh(mesh, count=1500, seed=3, color_at=gray)


def test_samples_lie_where_their_faces_and_barycentrics_say(cloth: tuple[SkinnedMesh, SurfaceGaussians]) -> None:
    mesh, surface = cloth
    assert len(surface.means) == 1500
    place = interpolate(mesh.vertices[mesh.faces], surface.faces, surface.barycentrics)
    assert np.abs(place - surface.means).max() < 1e-6
    assert (surface.barycentrics >= -1e-6).all() and np.abs(surface.barycentrics.sum(1) - 1).max() < 1e-6


def test_spacing_is_more_even_than_chance(cloth: tuple[SkinnedMesh, SurfaceGaussians]) -> None:
    """In spacings: 1 % of neighbours are under 0.42 (of random points, under 0.06); the widest hole is 0.87."""
    mesh, surface = cloth
    spacing = np.sqrt(1.1 / 1500)
    nearest = cKDTree(surface.means).query(surface.means, k=2)[0][:, 1]
    assert np.percentile(nearest, 1) > 0.35 * spacing
    dense = sample_mesh(mesh, count=6000, seed=9, color_at=gray).means
    hole = cKDTree(surface.means).query(dense)[0].max()
    assert hole < 1.0 * spacing


def test_the_surface_is_closed_seen_along_its_normal() -> None:
    """Every inner point of a flat sheet is at least 80 % opaque and 93 % on average (worst seen 0.84, 0.964)."""
    surface = sample_mesh(sheet(), count=900, seed=1, color_at=gray)
    axes = rotations.to_matrix(surface.quats_wxyz)
    u = np.linspace(0.1, 0.9, 90)
    points = np.stack([*np.meshgrid(u, u), np.zeros((90, 90))], -1).reshape(-1, 3)
    opacity = 1 / (1 + np.exp(-surface.opacity_logits))
    through = np.ones(len(points))
    for mean, axis, scale, alpha in zip(surface.means, axes, np.exp(surface.log_scales), opacity, strict=True):
        local = ((points - mean) @ axis[:, :2]) / scale[:2]
        through *= 1 - alpha * np.exp(-0.5 * (local**2).sum(1))
    assert (1 - through).min() > 0.80 and (1 - through).mean() > 0.93


def test_gaussians_are_flat_and_face_along_the_normal() -> None:
    surface = sample_mesh(sheet(), count=400, seed=1, color_at=gray)
    normals = rotations.to_matrix(surface.quats_wxyz)[:, :, 2]
    assert np.abs(normals - [0, 0, 1]).max() < 1e-5
    scales = np.exp(surface.log_scales)
    assert (scales[:, 2] < 0.3 * scales[:, :2].min(1)).all()


def test_colour_is_kept_when_constant_and_averaged_when_too_fine() -> None:
    surface = sample_mesh(sheet(), count=300, seed=1, color_at=gray)
    np.testing.assert_allclose(0.5 + SH_C0 * surface.sh0, 0.25, atol=1e-6)
    # Stripes ten times finer than the Gaussians: each must be near the mean grey, not black or white.
    stripes = np.zeros((4, 400, 4), np.float32)
    stripes[..., 3] = 1
    stripes[:, ::2, :3] = 1
    mesh = sheet()
    uvs = mesh.vertices[:, :2].copy()
    fine = sample_mesh(mesh, count=300, seed=1, color_at=texture_color(stripes, uvs, mesh.faces))
    assert np.abs(SH_C0 * fine.sh0).std() < 0.12


def test_transparent_texture_makes_no_gaussians_and_lowers_no_count() -> None:
    texture = np.ones((8, 8, 4), np.float32)
    texture[:, :4, 3] = 0
    mesh = sheet()
    surface = sample_mesh(mesh, count=500, seed=1,
                          color_at=texture_color(texture, mesh.vertices[:, :2].copy(), mesh.faces))
    assert len(surface.means) == 500
    # Bilinear alpha reaches half a texel, 0.0625, past both edges of the opaque half (the texture repeats).
    x = surface.means[:, 0]
    assert not ((x > 0.0625) & (x < 0.5 - 0.0625)).any() and (x > 0.5).mean() > 0.8


def test_density_moves_gaussians_to_where_it_is_high() -> None:
    mesh = sheet()
    right = mesh.vertices[mesh.faces].mean(1)[:, 0] > 0.5
    surface = sample_mesh(mesh, count=1000, seed=1, color_at=gray, density=np.where(right, 4.0, 1.0))
    share = right[surface.faces].mean()
    assert 0.75 < share < 0.85, share
    sizes = np.exp(surface.log_scales[:, :2]).mean(1)
    assert sizes[~right[surface.faces]].mean() > 1.6 * sizes[right[surface.faces]].mean()


def test_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    runs = [sample_mesh(sheet(), count=300, seed=seed, color_at=gray) for seed in (5, 5, 6)]
    for field in fields(SurfaceGaussians):
        assert np.array_equal(getattr(runs[0], field.name), getattr(runs[1], field.name)), field.name
    assert not np.array_equal(runs[0].means, runs[2].means)


def test_texture_rows_run_down_from_v_one_and_texel_centres_are_exact() -> None:
    texture = np.random.default_rng(0).random((4, 6, 4)).astype(np.float32)
    row, column = np.mgrid[0:4, 0:6].reshape(2, -1)
    uv = np.stack([(column + 0.5) / 6, 1 - (row + 0.5) / 4], 1)
    np.testing.assert_allclose(sample_texture(texture, uv), texture[row, column], atol=1e-6)
    np.testing.assert_allclose(sample_texture(texture, uv + np.array([3, -2])), texture[row, column], atol=1e-5)


def test_riding_at_rest_changes_nothing(cloth: tuple[SkinnedMesh, SurfaceGaussians]) -> None:
    mesh, surface = cloth
    means, quats, log_scales = ride(as_set(surface), as_garment(surface, mesh), mesh.vertices)
    assert np.abs(means - surface.means).max() < 1e-6
    assert np.abs(quats - surface.quats_wxyz * np.sign((quats * surface.quats_wxyz).sum(1, keepdims=True))).max() < 1e-6
    assert np.abs(log_scales - surface.log_scales).max() < 1e-5


def test_riding_a_rigid_motion_is_that_motion(cloth: tuple[SkinnedMesh, SurfaceGaussians]) -> None:
    mesh, surface = cloth
    turn = rotations.from_rotvec(np.array([0.7, -1.1, 0.4]))
    rotation, shift = rotations.to_matrix(turn), np.array([0.3, 1.2, -0.5])
    lifted = as_set(surface)
    lifted = GaussianSet(**{f.name: getattr(lifted, f.name) for f in fields(GaussianSet)}
                         | {"means": lifted.means + np.float32([0, 0, 0.01])})
    posed = (mesh.vertices @ rotation.T + shift).astype(np.float32)
    means, quats, log_scales = ride(lifted, as_garment(surface, mesh), posed)
    # Float32 vertices 5 cm apart limit the frame to about 1e-6, times a 1 cm offset.
    assert np.abs(means - (lifted.means @ rotation.T + shift)).max() < 2e-6
    expected = rotations.multiply(turn, lifted.quats_wxyz)
    assert np.abs(np.abs((quats * expected).sum(1)) - 1).max() < 1e-5
    assert np.abs(log_scales - lifted.log_scales).max() < 1e-4


def test_riding_a_stretch_lengthens_in_plane_axes_only() -> None:
    mesh = sheet()
    surface = sample_mesh(mesh, count=200, seed=1, color_at=gray)
    means, _, log_scales = ride(as_set(surface), as_garment(surface, mesh), 2 * mesh.vertices)
    np.testing.assert_allclose(means, 2 * surface.means, atol=1e-6)
    change = log_scales - surface.log_scales
    np.testing.assert_allclose(change[:, :2], np.log(2), atol=1e-5)
    np.testing.assert_allclose(change[:, 2], 0, atol=1e-5)


def test_a_collapsed_face_does_not_make_riders_infinite(cloth: tuple[SkinnedMesh, SurfaceGaussians]) -> None:
    mesh, surface = cloth
    collapsed = mesh.vertices.copy()
    collapsed[mesh.faces[10]] = collapsed[mesh.faces[10, 0]]
    for value in ride(as_set(surface), as_garment(surface, mesh), collapsed):
        assert np.isfinite(value).all()
    means, quats = carry(surface.means, surface.quats_wxyz, surface.faces, surface.barycentrics, rest=mesh,
                         posed_vertices=np.zeros_like(mesh.vertices))
    assert np.isfinite(means).all() and np.isfinite(quats).all()


def test_interpolated_weights_are_linear_in_the_place(cloth: tuple[SkinnedMesh, SurfaceGaussians]) -> None:
    mesh, surface = cloth
    joints, weights = interpolate_weights(mesh, surface.faces, surface.barycentrics, joints=2, influences=2)
    right = np.where(joints == 1, weights, 0).sum(1)
    assert np.abs(right - surface.means[:, 0]).max() < 1e-6
    assert np.abs(weights.sum(1) - 1).max() < 2e-7


def test_strongest_keeps_the_largest_in_joint_order_for_ties() -> None:
    dense = np.array([[0.1, 0.3, 0.3, 0.3], [0.0, 1.0, 0.0, 0.0]])
    joints, weights = strongest(dense, influences=2)
    assert joints.tolist() == [[1, 2], [1, 1]]
    np.testing.assert_allclose(weights, [[0.5, 0.5], [1, 0]])


def test_meshes_without_area_or_colour_are_refused(tmp_path: Path) -> None:
    mesh = sheet()
    flat = SkinnedMesh(np.zeros_like(mesh.vertices), mesh.faces, mesh.skin_joints, mesh.skin_weights)
    with pytest.raises(InputError, match="no area"):
        sample_mesh(flat, count=10, seed=0, color_at=gray)
    with pytest.raises(InputError, match="transparent"):
        sample_mesh(mesh, count=10, seed=0, color_at=lambda f, b: np.zeros((len(f), 4)))
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    with pytest.raises(InputError, match=r"bad\.png: cannot be decoded as a picture"):
        load_texture(bad)


def test_a_texture_is_kept_as_bytes_and_read_as_fractions(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    texture = load_texture(tmp_path / "a.png")
    assert texture.dtype == np.uint8
    uv = np.random.default_rng(1).random((100, 2))
    np.testing.assert_array_equal(sample_texture(texture, uv), sample_texture(pixels.astype(np.float32) / 255.0, uv))


def test_a_huge_texture_and_one_that_would_run_a_program_are_refused(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(meshes, "MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(InputError, match="has 64 x 64 pixels; reduce it"):
        load_texture(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "b.png")
    with pytest.raises(InputError, match="cannot be decoded"):
        load_texture(tmp_path / "b.png")
