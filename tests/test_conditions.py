"""The pose video is drawn where the rig's joints are, in DWPose's colours, and hides what the body hides."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from baker.conditions import (
    COLORS,
    KEYPOINTS,
    LIMBS,
    MIRRORED,
    Conditions,
    draw_pose,
    keypoints,
    pose_video,
    project,
    reference_image,
    rest_keypoints,
)
from runtime.cameras import orbit_camera
from runtime.types import Camera, GaussianSet, Label, Motion, Rig

POSITIONS = {
    "pelvis": (0, 1.0, 0), "left_hip": (0.1, 0.95, 0), "right_hip": (-0.1, 0.95, 0), "left_knee": (0.1, 0.5, 0),
    "right_knee": (-0.1, 0.5, 0), "left_ankle": (0.1, 0.08, 0), "right_ankle": (-0.1, 0.08, 0),
    "head": (0, 1.6, 0), "left_shoulder": (0.18, 1.45, 0), "right_shoulder": (-0.18, 1.45, 0),
    "left_elbow": (0.45, 1.45, 0), "right_elbow": (-0.45, 1.45, 0), "left_wrist": (0.7, 1.45, 0),
    "right_wrist": (-0.7, 1.45, 0),
}


def figure(*, without: tuple[str, ...] = (), gaussians: int = 1) -> Rig:
    """A T-pose of SMPL-X joints, every joint a child of the pelvis."""
    names = tuple(name for name in POSITIONS if name not in without)
    rest = np.tile(np.eye(4), (len(names), 1, 1))
    rest[:, :3, 3] = [POSITIONS[name] for name in names]
    return Rig(joint_names=names, parents=np.array([-1] + [0] * (len(names) - 1)), T_world_joint_rest=rest,
               skin_joints=np.zeros((gaussians, 1), np.int32), skin_weights=np.ones((gaussians, 1), np.float32))


def still(rig: Rig, frames: int = 1) -> Motion:
    return Motion(fps=30.0, root_translations=np.zeros((frames, 3)),
                  quats_wxyz=np.tile([1.0, 0, 0, 0], (frames, rig.joint_count, 1)))


def camera(azimuth: float = 0.0) -> Camera:
    return orbit_camera(np.array([0.0, 0.9, 0.0]), azimuth=azimuth, elevation=0.0, distance=3.2,
                        fov_y=math.radians(40), size=(160, 224))


def plate(centre: tuple[float, float, float], label: Label) -> GaussianSet:
    """An opaque 0.3 m patch of Gaussians facing the front camera."""
    grid = np.stack(np.meshgrid(*[np.linspace(-0.15, 0.15, 13)] * 2), -1).reshape(-1, 2)
    count = len(grid)
    means = np.concatenate([grid, np.zeros((count, 1))], 1) + centre
    return GaussianSet(
        means=means.astype(np.float32), quats_wxyz=np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
        log_scales=np.full((count, 3), math.log(0.03), np.float32), opacity_logits=np.full(count, 5, np.float32),
        sh0=np.zeros((count, 3), np.float32), labels=np.full(count, int(label), np.uint8))


def scattered() -> tuple[np.ndarray, np.ndarray]:
    """Keypoints on a 6 x 3 grid of a 256 x 768 picture, all seen."""
    index = np.arange(18)
    positions = np.stack([20 + 40.0 * (index % 6), 200 + 150.0 * (index // 6)], axis=1)
    return positions[None], np.ones((1, 18), bool)


def test_joints_are_discs_of_their_colour_and_limbs_are_dimmed_to_six_tenths() -> None:
    positions, _ = scattered()
    for limb, (a, b) in enumerate(LIMBS):
        seen = np.zeros((1, 18), bool)
        seen[0, [a, b]] = True
        picture = draw_pose(positions, seen, height=768, width=256)[0]
        middle = np.round(positions[0, [a, b]].mean(0) - 0.5).astype(int)
        np.testing.assert_allclose(picture[middle[1], middle[0]], 0.6 * COLORS[limb], atol=0.51)
        for joint in (a, b):
            column, row = (positions[0, joint] - 0.5).astype(int)
            np.testing.assert_allclose(picture[row, column], COLORS[joint], atol=0.51)


def test_a_limb_needs_both_its_ends() -> None:
    positions, seen = scattered()
    seen[:] = False
    seen[0, 3] = True
    lit = draw_pose(positions, seen, height=768, width=256)[0].any(-1)
    assert math.pi * 4.0**2 <= lit.sum() <= math.pi * 5.0**2  # one disc of radius 4 with a soft rim


def test_sizes_scale_with_the_height() -> None:
    positions, seen = scattered()
    large = draw_pose(positions, seen, height=768, width=256)[0].astype(float).mean()
    small = draw_pose(positions / 4, seen, height=192, width=64)[0].astype(float).mean()
    # Antialiasing keeps the drawn area but for the pointed ends of thin ellipses: 7.0 % apart.
    assert small == pytest.approx(large, rel=0.08)


def test_limbs_are_the_bones_of_a_body_in_openposes_order() -> None:
    """The order decides the colours, which are what a video model has learnt to read."""
    arm, leg = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
    bones = [("neck", "right_shoulder"), ("neck", "left_shoulder")]
    bones += [(f"{side}_{a}", f"{side}_{b}") for side in ("right", "left") for a, b in pairwise(arm)]
    for side in ("right", "left"):
        bones += [("neck", f"{side}_hip"), *((f"{side}_{a}", f"{side}_{b}") for a, b in pairwise(leg))]
    bones += [("neck", "nose")]
    bones += [pair for side in ("right", "left") for pair in (("nose", f"{side}_eye"), (f"{side}_eye", f"{side}_ear"))]
    assert [(KEYPOINTS[a], KEYPOINTS[b]) for a, b in LIMBS] == bones


def test_left_and_right_exchanged_and_flipped_is_the_pose_of_the_flipped_picture() -> None:
    positions, seen = scattered()
    seen[0, 4] = False
    flipped_positions = positions[:, MIRRORED].copy()
    flipped_positions[..., 0] = 256 - flipped_positions[..., 0]
    flipped = draw_pose(flipped_positions, seen[:, MIRRORED], height=768, width=256)
    exchanged = draw_pose(positions[:, MIRRORED], seen[:, MIRRORED], height=768, width=256)
    difference = np.abs(flipped.astype(int) - exchanged[:, :, ::-1].astype(int))
    assert difference.max() <= 1  # one rounding


def test_drawn_joints_are_where_the_camera_sees_them() -> None:
    rig, view = figure(), camera(0.4)
    picture = pose_video(rig, still(rig), (view,))[0]
    for name in ("left_wrist", "right_knee", "left_ankle"):
        located, _ = project(np.array([POSITIONS[name]], float), view)
        column, row = np.floor(located[0]).astype(int)
        color = COLORS[KEYPOINTS.index(name)]
        near = picture[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3).astype(float)
        assert np.abs(near - color).sum(1).min() < 60, name


def test_the_figure_s_left_is_on_the_right_of_a_front_picture() -> None:
    rig = figure()
    positions, _ = keypoints(rig, still(rig), (camera(),))
    left, right = (positions[0, KEYPOINTS.index(f"{side}_wrist"), 0] for side in ("left", "right"))
    assert left > 80 > right


def test_the_neck_is_between_the_shoulders_and_the_face_in_front_of_the_head() -> None:
    points = rest_keypoints(figure())
    assert points.known.all()
    world = points.in_world(figure(), figure().T_world_joint_rest)
    np.testing.assert_allclose(world[1], (0, 1.45, 0))
    nose, left_ear = world[0], world[17]
    assert nose[2] > left_ear[2] and left_ear[0] > 0 and abs(nose[0]) < 1e-9


def test_missing_joints_are_left_out() -> None:
    rig = figure(without=("left_wrist", "head"))
    _, seen = keypoints(rig, still(rig), (camera(),))
    hidden = {KEYPOINTS[i] for i in np.flatnonzero(~seen[0])}
    assert hidden == {"left_wrist", "nose", "left_eye", "right_eye", "left_ear", "right_ear"}


@pytest.mark.parametrize(("label", "depth", "hides"), [
    (Label.TIGHT, 0.5, True), (Label.TIGHT, 0.1, False), (Label.TIGHT, -0.5, False), (Label.GARMENT, 0.5, False)])
def test_the_body_hides_joints_behind_it_and_loose_cloth_does_not(label: Label, depth: float, hides: bool) -> None:
    x, y, _ = POSITIONS["left_knee"]
    surface = plate((x, y, depth), label)
    if label == Label.GARMENT:  # something that stays must be there too
        body = plate((5.0, 0.0, 0.0), Label.SKIN)
        surface = GaussianSet(**{name: np.concatenate([getattr(surface, name), getattr(body, name)])
                                 for name in surface.__dataclass_fields__})
    rig = figure(gaussians=surface.count)
    _, seen = keypoints(rig, still(rig), (camera(),), lambda _: surface)
    assert seen[0, KEYPOINTS.index("left_knee")] == (not hides)
    assert seen[0, KEYPOINTS.index("right_wrist")]


def test_the_reference_shows_the_figure_from_the_front() -> None:
    surface = plate((0.2, 1.0, 0.0), Label.SKIN)
    rig = figure(gaussians=surface.count)
    picture = reference_image(surface, rig, size=(128, 224), background=(1.0, 1.0, 1.0))
    _, columns = np.nonzero(picture[..., 0] < 200)
    assert picture.shape == (224, 128, 3)
    assert 64 < columns.mean() < 100  # x = +0.2 m, the figure's left, is on the right


def test_pictures_of_other_sizes_are_refused() -> None:
    video = np.zeros((3, 8, 8, 3), np.uint8)
    other = Conditions(coarse=video, pose=video, reference=video[0], preserved=video[..., 0])
    # Past the constructor's type check under pytest, to the check that users meet.
    object.__setattr__(other, "preserved", np.zeros((3, 8, 9), np.uint8))
    with pytest.raises(ValueError, match="preserved has shape"):
        other.__post_init__()


def test_a_window_past_the_end_repeats_the_last_frame() -> None:
    video = np.arange(3, dtype=np.uint8)[:, None, None, None] + np.zeros((3, 8, 8, 3), np.uint8)
    conditions = Conditions(coarse=video, pose=video, reference=video[0], preserved=video[..., 0])
    assert conditions.window(1, 5).coarse[:, 0, 0, 0].tolist() == [1, 2, 2, 2]
