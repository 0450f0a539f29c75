"""Axes by letters, and quaternions in few bits."""

import itertools

import numpy as np
import pytest
from asymmetric_figure import assert_right_way_round, make_figure
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import export_formats
from export_formats import ExportOptions, axes, quaternion_packing
from runtime import rotations
from runtime.errors import InputError
from runtime.types import GaussianSet

ALL_AXES = ["".join(order) for letters in itertools.product("RL", "UD", "BF")
            for order in itertools.permutations(letters)]
units = st.floats(-1, 1, width=32)


def gaussians_of(means: np.ndarray, quats: np.ndarray) -> GaussianSet:
    count = len(means)
    rng = np.random.default_rng(0)
    return GaussianSet(means=means.astype(np.float32), quats_wxyz=quats.astype(np.float32),
                       log_scales=rng.normal(-4, 1, (count, 3)).astype(np.float32),
                       opacity_logits=np.zeros(count, np.float32), sh0=np.zeros((count, 3), np.float32),
                       labels=np.zeros(count, np.uint8))


def covariances(g: GaussianSet) -> np.ndarray:
    half = rotations.to_matrix(rotations.normalize(g.quats_wxyz.astype(np.float64))) * np.exp(g.log_scales)[:, None]
    return half @ half.transpose(0, 2, 1)


def quats_near(draw: np.ndarray) -> np.ndarray:
    quats = draw.astype(np.float64)
    quats[np.linalg.norm(quats, axis=1) < 0.1] = (1, 0, 0, 0)
    return rotations.normalize(quats)


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle [rad] between rotations, exact for small ones: |a - b| or |a + b| is 2 sin(angle / 4)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    chord = np.minimum(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
    return 4 * np.arcsin(np.minimum(chord / 2, 1))


def test_there_are_48_axes_half_of_them_left_handed():
    signs = [round(np.linalg.det(axes.matrix(letters))) for letters in ALL_AXES]
    assert len(set(ALL_AXES)) == 48 and signs.count(1) == signs.count(-1) == 24


@pytest.mark.parametrize("letters, point", [
    ("RUB", (1, 2, 3)), ("RDF", (1, -2, -3)), ("LDB", (-1, -2, 3)), ("RUF", (1, 2, -3)), ("LUF", (-1, 2, -3)),
    ("BRU", (3, 1, 2)), ("RFU", (1, -3, 2))])
def test_letters_name_where_axes_point(letters, point):
    assert (axes.matrix(letters) @ (1, 2, 3) == point).all()
    assert axes.check(letters.lower()) == letters


@settings(max_examples=60, deadline=None)
@given(letters=st.sampled_from(ALL_AXES), means=arrays(np.float32, (4, 3), elements=st.floats(-10, 10, width=32)),
       quats=arrays(np.float32, (4, 4), elements=units))
def test_axes_round_trip_and_turn_covariances(letters, means, quats):
    original = gaussians_of(means, quats_near(quats))
    turned = axes.from_ours(original, letters)
    back = axes.to_ours(turned, letters)
    # Signed permutations of floats are exact; two products of unit quaternions are off by a few roundings.
    np.testing.assert_array_equal(back.means, original.means)
    assert angles(back.quats_wxyz, original.quats_wxyz).max() < 2e-6
    m = axes.matrix(letters)
    expected = m @ covariances(original) @ m.T
    np.testing.assert_allclose(covariances(turned), expected, atol=4e-6 * np.abs(expected).max())
    np.testing.assert_array_equal(turned.log_scales, original.log_scales)


@pytest.mark.parametrize("letters", ["", "RU", "RUBB", "RRB", "RLU", "XYZ", "RUU", "UDB"])
def test_bad_letters_are_refused(letters):
    with pytest.raises(InputError, match="axes"):
        axes.check(letters)


def test_the_test_figure_is_asymmetric():
    figure = make_figure().gaussians
    assert_right_way_round(figure)
    for letters in ALL_AXES:
        if letters != axes.OURS:
            with pytest.raises(AssertionError):
                assert_right_way_round(axes.from_ours(figure, letters))


@settings(max_examples=15, deadline=None)
@given(letters=st.sampled_from(ALL_AXES), seed=st.integers(0, 2 ** 32 - 1))
def test_color_kept_is_the_mean_of_the_harmonics_over_all_directions(tmp_path_factory, letters, seed):
    """A turn of the axes mixes harmonics of equal degree only and keeps the sphere: what readers keep needs no turning.

    Evaluated by another implementation, at nodes that integrate polynomials of degree 7 exactly.
    """
    import torch

    from baker.spherical_harmonics import reference
    from export_formats import ply
    from runtime.types import Camera

    figure = make_figure().gaussians.take(np.arange(12))
    content = ply.encode(axes.from_ours(figure, letters), ExportOptions(sh_degree=3, axes=letters))
    head = content.index(b"end_header\n") + 11
    rows = ply.parse(content, "a").elements["vertex"].copy()
    # Small enough for no colour to be cut off at zero. The file has all of red's, then green's, then blue's.
    rest = np.random.default_rng(seed).uniform(-1, 1, (12, 3, 15)).astype(np.float32) * 1e-3
    for index in range(45):
        rows[f"f_rest_{index}"] = rest.reshape(12, 45)[:, index]
    path = tmp_path_factory.mktemp("sh") / "a.ply"
    path.write_bytes(content[:head] + rows.tobytes())
    kept = export_formats.read(path, axes=letters)
    heights, weights = np.polynomial.legendre.leggauss(4)
    turns = np.arange(8) * np.pi / 4
    level = np.sqrt(1 - heights ** 2)
    nodes = np.stack(np.broadcast_arrays(level[:, None] * np.cos(turns), level[:, None] * np.sin(turns),
                                         heights[:, None]), axis=-1)
    here = Camera(width=1, height=1, fx=1.0, fy=1.0, cx=0.5, cy=0.5, T_camera_world=np.eye(4))
    sh = torch.from_numpy(np.concatenate([figure.sh0[:, :, None], rest], axis=2).transpose(0, 2, 1).astype(np.float64))
    # Every Gaussian at every node: [12 * 4 * 8].
    seen = reference(sh.repeat_interleave(32, dim=0), torch.from_numpy(np.tile(nodes.reshape(-1, 3), (12, 1))), here)
    seen = seen.numpy().reshape(12, 4, 8, 3)
    mean = np.einsum("nhtc,h->nc", seen, weights / 16)
    assert (np.abs(seen - mean[:, None, None]) > 1e-4).any()
    np.testing.assert_allclose(kept.colors, mean, atol=1e-6)
    assert export_formats.dropped(path) == ("spherical harmonics of degree 3: colour is the average over directions",)


@settings(max_examples=200, deadline=None)
@given(quats=arrays(np.float32, (8, 4), elements=units))
def test_smallest_three_keeps_the_rotation(quats):
    unit = quats_near(quats)
    largest, three = quaternion_packing.split(unit)
    assert (np.abs(three) <= quaternion_packing.REACH + 1e-9).all()
    assert angles(quaternion_packing.join(largest, three), unit).max() < 1e-6


@settings(max_examples=200, deadline=None)
@given(quats=arrays(np.float32, (8, 4), elements=units), bits=st.integers(6, 12))
def test_angle_bound_holds_for_rounded_components(quats, bits):
    unit = quats_near(quats)
    largest, three = quaternion_packing.split(unit)
    step = 2 * quaternion_packing.REACH / (2 ** bits - 1)
    rounded = np.rint(three / step) * step
    assert angles(quaternion_packing.join(largest, rounded), unit).max() <= quaternion_packing.angle_bound(step / 2)
