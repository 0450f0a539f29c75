"""Cameras: OpenCV axes, azimuths, fields of view, and framing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from runtime import rotations
from runtime.cameras import look_at, orbit_camera
from runtime.framing import root_targets
from runtime.skinning import joint_transforms
from runtime.types import Camera, Motion, Rig


def project(camera: Camera, point: np.ndarray) -> tuple[float, float, float]:
    """Pixel and depth of a world point."""
    x, y, z, _ = camera.T_camera_world @ np.append(point, 1.0)
    return camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy, float(z)


def front(azimuth: float = 0.0, elevation: float = 0.0) -> Camera:
    return orbit_camera(np.array([0.1, 1.0, -0.2]), azimuth=azimuth, elevation=elevation, distance=3.0,
                        fov_y=math.radians(40), size=(480, 832))


@pytest.mark.parametrize("azimuth", [0.0, 1.0, math.pi, -2.0])
@pytest.mark.parametrize("elevation", [-0.5, 0.0, 1.2])
def test_the_target_is_in_the_middle_at_the_asked_distance(azimuth: float, elevation: float) -> None:
    x, y, depth = project(front(azimuth, elevation), np.array([0.1, 1.0, -0.2]))
    assert (x, y, depth) == (pytest.approx(240), pytest.approx(416), pytest.approx(3.0))


def test_from_the_front_up_is_up_and_the_figures_left_is_on_the_right() -> None:
    x, y, _ = project(front(), np.array([0.1, 1.3, -0.2]))
    assert x == pytest.approx(240) and y < 416
    x, y, _ = project(front(), np.array([0.4, 1.0, -0.2]))
    assert x > 240 and y == pytest.approx(416)


def test_azimuth_grows_towards_the_figures_left() -> None:
    eye = np.linalg.inv(front(azimuth=math.pi / 2).T_camera_world)[:3, 3]
    np.testing.assert_allclose(eye, (3.1, 1.0, -0.2), atol=1e-12)
    eye = np.linalg.inv(front(elevation=math.pi / 6).T_camera_world)[:3, 3]
    np.testing.assert_allclose(eye, (0.1, 2.5, -0.2 + 3 * math.cos(math.pi / 6)), atol=1e-12)


def test_the_field_of_view_spans_the_height() -> None:
    reach = 3.0 * math.tan(math.radians(20))
    assert project(front(), np.array([0.1, 1.0 + reach, -0.2]))[1] == pytest.approx(0, abs=1e-9)
    assert project(front(), np.array([0.1, 1.0 - reach, -0.2]))[1] == pytest.approx(832)


def test_look_at_is_a_rigid_right_handed_transform() -> None:
    rng = np.random.default_rng(0)
    for eye, target in rng.normal(size=(50, 2, 3)):
        rotation = look_at(eye, target)[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
        assert rotation[1, 1] < 0, "the image's y axis points down"


def walk(root: np.ndarray) -> tuple[Rig, Motion]:
    """One joint at 1 m whose root goes where `root` [T 3] says, at 30 frames a second."""
    rest = np.eye(4)[None].copy()
    rest[0, 1, 3] = 1.0
    rig = Rig(joint_names=("root",), parents=np.array([-1]), T_world_joint_rest=rest,
              skin_joints=np.zeros((1, 1), int), skin_weights=np.ones((1, 1)))
    return rig, Motion(fps=30.0, root_translations=root, quats_wxyz=np.tile([1.0, 0, 0, 0], (len(root), 1, 1)))


def test_targets_follow_a_steady_walk_and_not_its_bounce() -> None:
    times = np.arange(120) / 30
    root = np.stack([0.05 * np.sin(40 * times), 0.04 * np.sin(12 * times), 1.2 * times], axis=1)
    targets = root_targets(*walk(root))
    np.testing.assert_allclose(targets[30:90, 2], root[30:90, 2], atol=1e-4)
    assert np.abs(targets[30:90, 0]).max() < 1e-3 and np.ptp(targets[:, 1]) == 0
    assert targets[0, 1] == pytest.approx(0.9 + np.median(root[:, 1]))


@pytest.mark.parametrize("frames", [1, 2, 7, 60])
def test_targets_are_the_normalised_gaussian_average_of_the_roots(frames: int) -> None:
    rng = np.random.default_rng(frames)
    rig, motion = walk(rng.normal(size=(frames, 3)))
    quats = rotations.normalize(rng.normal(size=(frames, 1, 4)))
    motion = replace(motion, quats_wxyz=quats)
    roots = np.stack([joint_transforms(rig, motion, t)[0, :3, 3] for t in range(frames)])
    times = np.arange(frames) / 30
    kernel = np.exp(-0.5 * ((times[:, None] - times) / 0.25) ** 2)
    expected = kernel @ roots / kernel.sum(axis=1, keepdims=True)
    expected[:, 1] = np.median(roots[:, 1]) - 0.1
    # The kernel is cut at six sigma, where it is 1.5e-8.
    np.testing.assert_allclose(root_targets(rig, motion), expected, atol=1e-6)


def test_a_clip_of_an_hour_is_framed_in_a_moment() -> None:
    assert root_targets(*walk(np.zeros((100_000, 3)))).shape == (100_000, 3)


def test_a_figure_with_low_hips_is_looked_at_in_its_middle_and_a_person_below_the_hips():
    rig, motion = walk(np.zeros((4, 3)))
    root = float(rig.T_world_joint_rest[0, 1, 3])
    person = np.array([[0, root - 0.95, 0], [0, root + 0.85, 0]], np.float32)
    toy = np.array([[0, root - 0.25, 0], [0, root + 1.45, 0]], np.float32)
    np.testing.assert_array_equal(root_targets(rig, motion, figure=person), root_targets(rig, motion))
    assert root_targets(rig, motion, figure=toy)[:, 1] == pytest.approx(root + 0.6, abs=1e-6)
