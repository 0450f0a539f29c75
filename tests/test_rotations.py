"""Rotations: the laws of the group, round trips, and the nearest rotation against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import rotations

TOLERANCE = 1e-12
"""Double precision; a handful of products of numbers of size one."""
SMALL = st.floats(-3.0, 3.0, allow_nan=False)
ROTVECS = st.tuples(SMALL, SMALL, SMALL).map(np.array)
QUATS = ROTVECS.map(rotations.from_rotvec)


def random_quats(count: int, seed: int = 0) -> np.ndarray:
    return rotations.normalize(np.random.default_rng(seed).normal(size=(count, 4)))


def same_rotation(a: np.ndarray, b: np.ndarray, tolerance: float = TOLERANCE) -> bool:
    """Equal up to the sign of the quaternion."""
    return bool((np.minimum(np.abs(a - b).max(-1), np.abs(a + b).max(-1)) < tolerance).all())


@given(QUATS, QUATS, QUATS)
def test_quaternions_form_a_group(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    one, inverse = np.array([1.0, 0, 0, 0]), a * (1, -1, -1, -1)
    left = rotations.multiply(rotations.multiply(a, b), c)
    np.testing.assert_allclose(left, rotations.multiply(a, rotations.multiply(b, c)), atol=TOLERANCE)
    np.testing.assert_allclose(rotations.multiply(a, one), a, atol=TOLERANCE)
    np.testing.assert_allclose(rotations.multiply(a, inverse), one, atol=TOLERANCE)
    assert abs(np.linalg.norm(left) - 1) < TOLERANCE


@given(QUATS, QUATS)
def test_a_product_of_quaternions_is_the_product_of_their_matrices(a: np.ndarray, b: np.ndarray) -> None:
    product = rotations.to_matrix(rotations.multiply(a, b))
    np.testing.assert_allclose(product, rotations.to_matrix(a) @ rotations.to_matrix(b), atol=TOLERANCE)
    np.testing.assert_allclose(product @ product.T, np.eye(3), atol=TOLERANCE)
    assert np.linalg.det(product) > 0


def test_a_quarter_turn_about_each_axis_is_right_handed() -> None:
    for axis in range(3):
        turn = rotations.to_matrix(rotations.from_rotvec(np.eye(3)[axis] * math.pi / 2))
        np.testing.assert_allclose(turn @ np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3], atol=TOLERANCE)


def test_matrices_round_trip_in_every_branch() -> None:
    # Rotations near the identity and near half turns about each axis: each makes another component the largest.
    hard = np.concatenate([np.eye(4), np.eye(4) + 1e-9, random_quats(2000)])
    hard = rotations.normalize(hard)
    back = rotations.from_matrix(rotations.to_matrix(hard))
    assert same_rotation(back, hard) and (back[:, 0] >= 0).all()


@given(ROTVECS)
def test_rotation_vectors_round_trip_within_half_a_turn(rotvec: np.ndarray) -> None:
    angle = np.linalg.norm(rotvec)
    quat = rotations.from_rotvec(rotvec)
    back = rotations.to_rotvec(quat)
    assert np.linalg.norm(back) <= math.pi + TOLERANCE
    # Near zero the angle comes from a sine of down to 1e-8: an error of 1e-8 of it.
    assert same_rotation(rotations.from_rotvec(back), quat, 1e-9)
    if angle < math.pi - 1e-6:
        np.testing.assert_allclose(back, rotvec, atol=1e-8)


@pytest.mark.parametrize("angle", [0.0, 1e-20, 1e-12, 1e-9, 1e-7, 1e-3])
def test_small_rotation_vectors_keep_their_digits(angle: float) -> None:
    rotvec = angle * np.array([0.6, 0.0, -0.8])
    back = rotations.to_rotvec(rotations.from_rotvec(rotvec))
    np.testing.assert_allclose(back, rotvec, rtol=1e-9, atol=0)


@given(QUATS, QUATS, st.floats(0, 1))
def test_slerp_moves_evenly_along_the_shorter_arc(a: np.ndarray, b: np.ndarray, weight: float) -> None:
    def angle(p: np.ndarray, q: np.ndarray) -> float:
        return float(np.linalg.norm(rotations.to_rotvec(rotations.multiply(q, p * (1, -1, -1, -1)))))

    between, whole = rotations.slerp(a, b, weight), angle(a, b)
    assert whole <= math.pi + 1e-9
    # atol: an angle near zero is read off with 1e-8.
    assert angle(a, between) == pytest.approx(weight * whole, abs=1e-7)
    assert angle(between, b) == pytest.approx((1 - weight) * whole, abs=1e-7)
    assert same_rotation(rotations.slerp(a, b, 0.0), a) and same_rotation(rotations.slerp(a, b, 1.0), b, 1e-9)
    assert same_rotation(rotations.slerp(a, -b, weight), between, 1e-7) or whole > math.pi - 1e-6


def test_the_nearest_rotation_of_a_stretched_rotation_is_that_rotation() -> None:
    turns = rotations.to_matrix(random_quats(500))
    rng = np.random.default_rng(1)
    frames = rotations.to_matrix(random_quats(500, seed=2))
    # Closed form: R S with S symmetric positive definite has polar factor R.
    stretch = np.einsum("nij,nj,nkj->nik", frames, rng.uniform(0.05, 3, (500, 3)), frames)
    np.testing.assert_allclose(rotations.nearest_rotation(turns @ stretch), turns, atol=1e-11)


def test_the_nearest_rotation_of_two_turns_about_one_axis_is_their_middle() -> None:
    # w R(a) + (1-w) R(b) in the plane is a multiple of R(c), c the argument of w e^ia + (1-w) e^ib.
    for a, b, weight in ((0.0, 2.0, 0.5), (-1.0, 1.3, 0.2), (0.1, 3.0, 0.7)):
        blend = sum(w * rotations.to_matrix(rotations.from_rotvec(np.array([0, 0, angle])))
                    for w, angle in ((weight, a), (1 - weight, b)))
        middle = np.angle(weight * np.exp(1j * a) + (1 - weight) * np.exp(1j * b))
        expected = rotations.to_matrix(rotations.from_rotvec(np.array([0, 0, middle])))
        np.testing.assert_allclose(rotations.nearest_rotation(blend), expected, atol=1e-11)


def test_no_rotation_is_nearer_than_the_nearest_even_of_a_reflection() -> None:
    rng = np.random.default_rng(3)
    matrices = rng.normal(size=(300, 3, 3))
    assert (np.linalg.det(matrices) < 0).any()
    nearest = rotations.nearest_rotation(matrices)
    np.testing.assert_allclose(np.linalg.det(nearest), 1, atol=1e-12)
    distance = np.linalg.norm(matrices - nearest, axis=(1, 2))
    for candidate in rotations.to_matrix(random_quats(300, seed=4)):
        assert (np.linalg.norm(matrices - candidate, axis=(1, 2)) >= distance - 1e-12).all()
    for nudge in rotations.to_matrix(rotations.from_rotvec(rng.normal(size=(20, 3)) * 1e-3)):
        assert (np.linalg.norm(matrices - nudge @ nearest, axis=(1, 2)) >= distance - 1e-12).all()
