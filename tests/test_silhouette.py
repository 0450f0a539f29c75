"""Uncovered pixels of the figure pull the nearest point, and nothing else does."""

import numpy as np
import torch

from baker.silhouette import cloth_pixels, uncovered
from runtime.cameras import orbit_camera

CAMERA = orbit_camera(np.zeros(3), azimuth=0.0, elevation=0.0, distance=2.0, fov_y=0.6, size=(40, 60))
PIXEL = 2.0 / CAMERA.fx
"""Metres per pixel at the origin's depth."""


def test_the_pull_is_the_distance_to_the_nearest_point() -> None:
    cloth = np.zeros((60, 40), bool)
    cloth[30, 26] = True
    # In the pixels 20 and 14 of row 30; the first is nearer, its centre 6 px off.
    means = torch.tensor([[0.5 * PIXEL, -0.5 * PIXEL, 0.0], [-5.5 * PIXEL, -0.5 * PIXEL, 0.0]], requires_grad=True)
    value = uncovered(means, CAMERA, cloth)
    value.backward()
    assert abs(value.item() - 6.0) < 0.01
    assert means.grad[0, 0] < 0 and abs(means.grad[0, 1]) < 0.01 * abs(means.grad[0, 0])
    assert not means.grad[1].any()


def test_covered_pixels_and_empty_pictures_ask_for_nothing() -> None:
    cloth = np.zeros((60, 40), bool)
    means = torch.tensor([[0.5 * PIXEL, -0.5 * PIXEL, 0.0]], requires_grad=True)
    assert uncovered(means, CAMERA, cloth).item() == 0.0
    cloth[30, 20] = True
    assert uncovered(means, CAMERA, cloth).item() == 0.0


def test_points_behind_the_camera_cover_nothing() -> None:
    cloth = np.ones((60, 40), bool)
    value = uncovered(torch.tensor([[0.0, 0.0, 5.0]], requires_grad=True), CAMERA, cloth)
    value.backward()
    assert value.item() == 0.0


def test_cloth_is_the_figure_without_what_is_preserved() -> None:
    rgb = np.full((60, 40, 3), 128, np.uint8)
    rgb[20:50, 10:30] = (200, 60, 60)
    rgb[30:33, 15:18] = 128
    rgb[5, 5] = 255
    preserved = np.zeros((60, 40), np.uint8)
    preserved[20:25, 10:30] = 255
    cloth = cloth_pixels(rgb, preserved, (0.5, 0.5, 0.5))
    assert cloth[31, 16], "a hole of the background's colour belongs to the cloth"
    assert not cloth[5, 5], "a speck does not"
    assert not cloth[22, 20] and cloth[26, 20]
    assert cloth.sum() == 25 * 20 - 2, "opening by a cross rounds the two corners that meet the background"
