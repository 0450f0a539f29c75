"""Procedural motions and AMASS-layout files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baker.avatar import Avatar
from baker.body import JOINT_NAMES
from baker.motion_files.amass import read_amass
from baker.motions import MotionOptions, ground, load_motion, on_rig, procedural
from baker.person import PersonConfig, make_person, random_person
from runtime import rotations, skinning
from runtime.errors import InputError
from runtime.types import Motion, Rig

NAMES = ("walk", "run", "twirl", "jump")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "motion" / "amass_layout_npz"


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return make_person(PersonConfig(gaussians=3000))


@pytest.fixture(scope="module")
def feet(avatar: Avatar) -> dict[str, np.ndarray]:
    """World positions [T V 3] of the lower legs' vertices through each procedural motion."""
    return {name: leg_points(avatar, load_motion(name, avatar)) for name in NAMES}


def leg_points(avatar: Avatar, motion: Motion) -> np.ndarray:
    body = avatar.body
    low = body.vertices[:, 1] < np.quantile(body.vertices[:, 1], 0.12)
    return np.stack([skinning.skin_points(body.vertices[low], skinning.blend(
        skinning.skinning_matrices(avatar.rig, motion, t), body.skin_joints[low], body.skin_weights[low]))
        for t in range(motion.frames)])


def joint_path(rig: Rig, motion: Motion, name: str) -> np.ndarray:
    return np.stack([skinning.joint_transforms(rig, motion, t)[JOINT_NAMES.index(name), :3, 3]
                     for t in range(motion.frames)])


def longest_slide(points: np.ndarray, *, below: float) -> float:
    """Farthest any point [T V 3] gets from where it touched down while it stays `below` metres."""
    worst, start = 0.0, points[0].copy()
    touching = points[..., 1] < below
    for t in range(1, len(points)):
        fresh = touching[t] & ~touching[t - 1]
        start[fresh] = points[t][fresh]
        held = touching[t] & touching[t - 1]
        if held.any():
            worst = max(worst, float(np.linalg.norm((points[t] - start)[held][:, [0, 2]], axis=1).max()))
    return worst


# -- procedural ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_length_and_rate_are_as_asked(avatar: Avatar, name: str) -> None:
    motion = procedural(name, avatar.rig)
    assert (motion.frames, motion.fps) == (91, 30.0)
    assert motion.duration >= 3.0
    assert procedural(name, avatar.rig, seconds=4.0, fps=24.0).frames == 97
    motion.check(name, rig=avatar.rig)
    np.testing.assert_allclose(np.linalg.norm(motion.quats_wxyz, axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["walk", "run"])
def test_walk_and_run_close_their_loop(avatar: Avatar, name: str) -> None:
    motion = procedural(name, avatar.rig)
    np.testing.assert_allclose(motion.quats_wxyz[0], motion.quats_wxyz[-1], atol=1e-6)
    start, end = motion.root_translations[[0, -1]]
    np.testing.assert_allclose(start[:2], end[:2], atol=1e-6)
    assert end[2] > start[2] + 1.0


def test_walking_feet_stand_on_the_floor_and_do_not_slide(feet: dict[str, np.ndarray]) -> None:
    lowest = feet["walk"][..., 1].min(1)
    assert lowest.min() > -0.02 and lowest.max() < 0.02
    assert longest_slide(feet["walk"], below=0.012) < 0.03


def test_running_feet_reach_the_floor_and_leave_it(feet: dict[str, np.ndarray]) -> None:
    lowest = feet["run"][..., 1].min(1)
    assert lowest.min() > -0.02
    assert (lowest < 0.02).mean() > 0.5 and lowest.max() > 0.03


def test_jump_crouches_flies_and_lands(avatar: Avatar, feet: dict[str, np.ndarray]) -> None:
    lowest = feet["jump"][..., 1].min(1)
    assert lowest.min() > -0.02 and lowest[0] < 0.02 and lowest[-1] < 0.02
    assert lowest.max() > 0.15
    root = procedural("jump", avatar.rig).root_translations[:, 1]
    flight = int(np.argmax(root))
    assert root[:flight].min() < root[0] - 0.12 and root[flight:].min() < root[-1] - 0.12
    # In the air only gravity acts: the second difference of the root is -g, within what legs and trunk add.
    air = np.flatnonzero(lowest > 0.08)
    fall = np.diff(root[air].astype(np.float64), 2) * 30.0**2
    assert abs(np.median(fall) + 9.81) < 2.0


@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3])
def test_twirl_turns_once_to_twice(avatar: Avatar, seed: int | None) -> None:
    motion = procedural("twirl", avatar.rig, variation_seed=seed)
    forward = rotations.to_matrix(motion.quats_wxyz[:, 0])[:, :, 2]
    heading = np.unwrap(np.arctan2(forward[:, 0], forward[:, 2]))
    assert 0.99 <= abs(heading[-1] - heading[0]) / (2 * np.pi) <= 2.01


def test_twirling_feet_stay_on_the_floor(feet: dict[str, np.ndarray]) -> None:
    lowest = feet["twirl"][..., 1].min(1)
    assert lowest.min() > -0.02 and lowest.max() < 0.02


def test_arms_hang_while_walking_and_swing_against_the_legs(avatar: Avatar) -> None:
    motion = procedural("walk", avatar.rig)
    wrist, shoulder = joint_path(avatar.rig, motion, "left_wrist"), joint_path(avatar.rig, motion, "left_shoulder")
    assert (wrist[:, 1] < shoulder[:, 1] - 0.30).all()
    pelvis, ankle = joint_path(avatar.rig, motion, "pelvis"), joint_path(avatar.rig, motion, "left_ankle")
    arm, leg = (wrist - pelvis)[:, 2], (ankle - pelvis)[:, 2]
    assert np.ptp(arm) > 0.2
    assert np.corrcoef(arm, leg)[0, 1] < -0.6


@pytest.mark.parametrize("name", NAMES)
def test_motion_is_smooth(avatar: Avatar, name: str) -> None:
    motion = procedural(name, avatar.rig, fps=60.0)
    inverse = motion.quats_wxyz[:-1] * np.array([1, -1, -1, -1], np.float32)
    speed = np.linalg.norm(rotations.to_rotvec(rotations.multiply(motion.quats_wxyz[1:], inverse)), axis=-1) * 60.0
    # The fastest measured is 18 rad/s, a knee stepping round in the twirl; a flipped quaternion or a snapping knee
    # is over 60.
    assert speed.max() < 25.0


@pytest.mark.parametrize("name", NAMES)
def test_variations_repeat_and_differ(avatar: Avatar, name: str) -> None:
    first, again, other = (procedural(name, avatar.rig, variation_seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.quats_wxyz, again.quats_wxyz)
    assert np.abs(first.quats_wxyz - other.quats_wxyz).max() > 0.02


@pytest.mark.parametrize("seed", [3, 6])
def test_varied_walks_of_varied_people_keep_their_feet_down(seed: int) -> None:
    someone = make_person(random_person(seed))
    points = leg_points(someone, load_motion("walk", someone, variation_seed=seed))
    lowest = points[..., 1].min(1)
    assert lowest.min() > -0.025 and lowest.max() < 0.025
    assert longest_slide(points, below=0.012) < 0.04


def test_unknown_motion_and_length_are_refused(avatar: Avatar) -> None:
    with pytest.raises(InputError, match=r"moonwalk.*walk, run, twirl, jump"):
        load_motion("moonwalk", avatar)
    with pytest.raises(InputError, match="1 to 60 s"):
        procedural("walk", avatar.rig, seconds=0.0)
    with pytest.raises(InputError, match="1 to 60 s"):
        procedural("walk", avatar.rig, fps=float("nan"))


# -- files --------------------------------------------------------------------------------------------------------


def write(path: Path, **changes: object) -> Path:
    rng = np.random.Generator(np.random.Philox(1))
    arrays: dict[str, object] = {"poses": 0.2 * rng.standard_normal((5, 165)), "trans": rng.standard_normal((5, 3)),
                                 "mocap_frame_rate": 30.0}
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


EXACT = MotionOptions(up="y", plant_feet=False)


def test_amass_file_is_read_as_written(avatar: Avatar, tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", betas=np.zeros(16), gender=np.array("neutral"))
    motion, _ = on_rig(read_amass(path), avatar.rig, source="a", options=EXACT)
    with np.load(path) as file:
        np.testing.assert_allclose(rotations.to_rotvec(motion.quats_wxyz).reshape(5, 165), file["poses"], atol=1e-5)
        np.testing.assert_allclose(motion.root_translations, file["trans"], atol=1e-6)
    assert motion.fps == 30.0
    assert read_amass(write(tmp_path / "b.npz", mocap_frame_rate=None, mocap_framerate=120.0)).fps == 120.0


@pytest.mark.parametrize(("columns", "taken"), [(72, slice(0, 22)), (156, [*range(22), *range(25, 55)])])
def test_smpl_and_smpl_h_poses_go_to_the_joints_of_their_names(avatar: Avatar, tmp_path: Path, columns: int,
                                                             taken: object) -> None:
    poses = 0.2 * np.random.Generator(np.random.Philox(2)).standard_normal((4, columns))
    path = write(tmp_path / "a.npz", poses=poses, trans=np.zeros((4, 3)))
    motion, _ = on_rig(read_amass(path), avatar.rig, source="a", options=EXACT)
    found = rotations.to_rotvec(motion.quats_wxyz)[:, taken]
    np.testing.assert_allclose(found.reshape(4, -1), poses[:, : found.shape[1] * 3], atol=1e-5)
    # Joints the file has not are at rest.
    assert np.abs(rotations.to_rotvec(motion.quats_wxyz)[:, 22:25]).max() < 1e-6


def test_z_up_as_amass_is_released_stands_up(avatar: Avatar, tmp_path: Path) -> None:
    walk = procedural("walk", avatar.rig)
    poses = rotations.to_rotvec(walk.quats_wxyz.astype(np.float64))
    to_z = rotations.from_rotvec(np.array([np.pi / 2, 0, 0]))
    poses[:, 0] = rotations.to_rotvec(rotations.multiply(np.broadcast_to(to_z, (walk.frames, 4)),
                                                         rotations.from_rotvec(poses[:, 0])))
    path = write(tmp_path / "z.npz", poses=poses.reshape(walk.frames, -1),
                 trans=walk.root_translations @ rotations.to_matrix(to_z).T)
    motion, _ = on_rig(read_amass(path), avatar.rig, source="z", options=MotionOptions(plant_feet=False))
    np.testing.assert_allclose(motion.root_translations, walk.root_translations, atol=1e-5)
    assert np.abs(motion.quats_wxyz * np.sign(motion.quats_wxyz[..., :1])
                  - walk.quats_wxyz * np.sign(walk.quats_wxyz[..., :1])).max() < 1e-5


@pytest.mark.parametrize(("changes", "message"), [
    ({"poses": None}, "has no key poses"),
    ({"trans": None}, "has no key trans"),
    ({"mocap_frame_rate": None}, "has no key mocap_frame_rate"),
    ({"poses": np.zeros((5, 150))}, r"poses has shape \(5, 150\).*165"),
    ({"poses": np.zeros(165)}, r"poses has shape \(165,\)"),
    ({"poses": np.full((5, 165), np.nan)}, "poses of frame 0 is NaN"),
    ({"trans": np.full((5, 3), np.inf)}, "trans of frame 0 is NaN or infinite"),
    ({"trans": np.zeros((4, 3))}, r"trans has shape \(4, 3\), poses has 5 frames"),
    ({"poses": np.zeros((0, 165)), "trans": np.zeros((0, 3))}, "holds no frames"),
    ({"mocap_frame_rate": 0.0}, "frame rate 0 is"),
    ({"mocap_frame_rate": 1e9}, "frame rate 1e\\+09"),
    ({"mocap_frame_rate": np.nan}, "frame rate nan"),
    ({"mocap_frame_rate": np.array([30.0, 60.0])}, "must be one number"),
    ({"poses": np.full((5, 165), "x")}, "not numbers"),
    ({"poses": np.full((5, 165), None)}, "cannot be read"),
])
def test_broken_amass_files_are_refused_by_name(avatar: Avatar, tmp_path: Path, changes: dict[str, object],
                                                message: str) -> None:
    path = write(tmp_path / "broken.npz", **changes)
    with pytest.raises(InputError, match=message) as error:
        read_amass(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_missing_truncated_and_foreign_files_are_refused(avatar: Avatar, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_amass(tmp_path / "none.npz")
    with pytest.raises(InputError, match="no such file"):
        load_motion(str(tmp_path / "none.npz"), avatar)
    whole = write(tmp_path / "whole.npz").read_bytes()
    for name, content in (("cut.npz", whole[: len(whole) // 2]), ("text.npz", b"not a zip"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="is not an npz file, or is truncated"):
            read_amass(tmp_path / name)
    flipped = bytearray(whole)
    flipped[300] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(flipped)
    with pytest.raises(InputError, match=r"damaged|truncated"):
        read_amass(tmp_path / "flipped.npz")
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(InputError, match="is not an npz file"):
        read_amass(tmp_path / "single.npy")


def test_ground_moves_only_height_and_puts_the_feet_at_zero(avatar: Avatar) -> None:
    motion = procedural("walk", avatar.rig)
    lifted = Motion(fps=motion.fps, quats_wxyz=motion.quats_wxyz, joint_names=motion.joint_names,
                    root_translations=motion.root_translations + np.array([0, 0.7, 0], np.float32))
    down = ground(lifted, avatar.rig, avatar.body)
    np.testing.assert_array_equal(down.root_translations[:, [0, 2]], motion.root_translations[:, [0, 2]])
    assert abs(np.percentile(leg_points(avatar, down)[..., 1].min(1), 10)) < 1e-4


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs {DATA}")
@pytest.mark.parametrize("name", ["cmu_02_01_walk", "fair1_dab", "jumping_jacks"])
def test_shared_motions_stand_upright_on_the_floor(avatar: Avatar, name: str) -> None:
    motion = load_motion(str(DATA / f"{name}.npz"), avatar)
    picked = Motion(fps=motion.fps, root_translations=motion.root_translations[::10],
                    quats_wxyz=motion.quats_wxyz[::10])
    lowest = leg_points(avatar, picked)[..., 1].min(1)
    # The worst measured is the walk's toes, 4 cm under the floor in one step (the clip's slip is not cleaned).
    assert lowest.min() > -0.06 and np.median(lowest) < 0.05
    head = joint_path(avatar.rig, picked, "head")[:, 1]
    assert head.min() > 1.0
