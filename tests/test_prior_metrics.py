"""Laws of the measures: the best value for equal videos, known values where there are some, and their regions."""

from __future__ import annotations

import numpy as np
import pytest

from baker.conditions import draw_pose
from baker.prior_metrics import (
    RandomFeatures,
    face_centres,
    face_crops,
    flicker,
    frechet_distance,
    psnr,
    squared_error,
    ssim,
)


def video(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (5, 32, 24, 3), dtype=np.uint8)


EVERYWHERE = np.ones((5, 32, 24), bool)


def test_equal_videos_measure_best() -> None:
    a, network = video(), RandomFeatures()
    assert psnr([squared_error(a, a, EVERYWHERE)]) == 99.0
    assert ssim(a, a, EVERYWHERE) == pytest.approx(1.0, abs=1e-6)
    assert flicker(a, a, EVERYWHERE) == 0.0
    faces = a[:, :16, :16]
    assert network.identity_distance(faces, faces) == pytest.approx(0.0, abs=1e-6)
    assert network.identity_distance(video(1)[:, :16, :16], faces) > 0.1


def test_psnr_of_a_known_error_counts_its_region_only() -> None:
    a = np.full((5, 32, 24, 3), 100, np.uint8)
    b = a.copy()
    b[:, :16] += 51  # a fifth of the range: 20 log10 5 dB
    top = EVERYWHERE.copy()
    top[:, 16:] = False
    assert psnr([squared_error(b, a, top)]) == pytest.approx(13.979, abs=1e-3)
    assert psnr([squared_error(b, a, ~top)]) == 99.0
    assert ssim(b, a, ~top & np.roll(~top, 6, axis=1)) == pytest.approx(1.0, abs=1e-4)  # off the window's reach


def test_flicker_sees_what_changes_from_frame_to_frame_and_not_what_stays() -> None:
    a = video() // 2
    assert flicker(a + np.uint8(9), a, EVERYWHERE) == 0.0
    b = a.copy()
    b[1::2] += 9
    assert flicker(b, a, EVERYWHERE) == pytest.approx(9.0)


def test_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    # |m|^2 + sum (s_a - s_b)^2 for diagonal covariances; samples standardised exactly.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3))
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    a, b = x * [1.0, 2.0, 3.0], x * [2.0, 2.0, 1.0] + [0.5, 0.0, 1.0]
    assert frechet_distance(a, b) == pytest.approx(0.25 + 1.0 + 1.0 + 4.0, abs=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)


def test_faces_are_where_the_pose_video_shows_a_nose() -> None:
    positions = np.full((3, 18, 2), 10.0)
    positions[:, 0] = [(60.3, 40.7), (30.0, 80.0), (60.0, 40.0)]
    seen = np.zeros((3, 18), bool)
    seen[:2, [0, 1]] = True  # the neck too: a limb of a dimmer red, and another disc
    centres = face_centres(draw_pose(positions, seen, height=224, width=128))
    assert centres[:, 0].tolist() == [0, 1]
    np.testing.assert_allclose(centres[:, 1:] + 0.5, positions[:2, 0, ::-1], atol=1.0)
    pictures = np.zeros((3, 224, 128, 3), np.uint8)
    pictures[1, 79, 29] = 200
    crops = face_crops(pictures, centres)
    assert crops.shape == (2, 28, 28, 3)
    assert crops[1].max() == 200 and crops[0].max() == 0
