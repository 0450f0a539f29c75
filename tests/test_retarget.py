"""baker/roles.py, retarget.py, foot_planting.py, motion_options.py: any skeleton's clip on the avatar."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baker.body import JOINT_NAMES, PARENTS, make_body
from baker.foot_planting import runs
from baker.motion_files import read_motion
from baker.motion_files.skeleton import SkeletonClip, rotate
from baker.motion_gaits import procedural
from baker.motion_options import at_rate, closed_loop, cut, on_the_spot
from baker.motions import MotionOptions, clip_of, on_rig
from baker.retarget import retarget, source_contacts
from baker.retarget_turns import BONES
from baker.roles import match_roles
from baker.source_pose import upright
from runtime import rotations, skinning
from runtime.errors import InputError
from runtime.types import Motion, Rig

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BVH = sorted((DATA / "motion" / "bvh").glob("*.bvh"))
needs_data = pytest.mark.skipif(not BVH, reason=f"needs {DATA}/motion/bvh")


@pytest.fixture(scope="module")
def rig() -> Rig:
    joints = make_body({}).joints
    rest = np.tile(np.eye(4, dtype=np.float32), (55, 1, 1))
    rest[:, :3, 3] = joints
    return Rig(joint_names=JOINT_NAMES, parents=np.array(PARENTS, np.int32), T_world_joint_rest=rest,
               skin_joints=np.zeros((1, 1), np.int32), skin_weights=np.ones((1, 1), np.float32))


@pytest.fixture(scope="module")
def walk(rig: Rig) -> SkeletonClip:
    """The procedural walk as a clip of another skeleton: names of another tool, SMPL-X's marks taken off."""
    clip = clip_of(procedural("walk", rig, seconds=2.0), rig)
    return replace(clip, smplx=False, up="")


def positions(rig: Rig, motion: Motion) -> np.ndarray:
    return np.stack([skinning.joint_transforms(rig, motion, t)[:, :3, 3] for t in range(motion.frames)])


def bone_angles(a: np.ndarray, b: np.ndarray, roles_a: dict[str, int], roles_b: dict[str, int]) -> np.ndarray:
    angles = []
    for first, second in BONES:
        u = a[:, roles_a[second]] - a[:, roles_a[first]]
        v = b[:, roles_b[second]] - b[:, roles_b[first]]
        cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        angles.append(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
    return np.stack(angles)


# -- roles --------------------------------------------------------------------------------------------------------

CONVENTIONS = {
    "mixamo": ("mixamorig:Hips", "mixamorig:{Left}UpLeg", "mixamorig:{Left}Leg", "mixamorig:{Left}Foot",
               "mixamorig:{Left}ToeBase", "mixamorig:{Left}Shoulder", "mixamorig:{Left}Arm",
               "mixamorig:{Left}ForeArm", "mixamorig:{Left}Hand"),
    "rokoko": ("Hips", "{Left}Thigh", "{Left}Shin", "{Left}Foot", "{Left}Toe", "{Left}Shoulder", "{Left}Arm",
               "{Left}ForeArm", "{Left}Hand"),
    "unreal": ("pelvis", "thigh_{l}", "calf_{l}", "foot_{l}", "ball_{l}", "clavicle_{l}", "upperarm_{l}",
               "lowerarm_{l}", "hand_{l}"),
    "makehuman": ("Root", "UpLeg_{L}", "LoLeg_{L}", "Foot_{L}", "Toe_{L}", "Clavicle_{L}", "UpArm_{L}", "LoArm_{L}",
                  "Hand_{L}"),
    "biped": ("Bip01 Pelvis", "Bip01 {L} Thigh", "Bip01 {L} Calf", "Bip01 {L} Foot", "Bip01 {L} Toe0",
              "Bip01 {L} Clavicle", "Bip01 {L} UpperArm", "Bip01 {L} Forearm", "Bip01 {L} Hand"),
    "cmu_asf": ("root", "{l}femur", "{l}tibia", "{l}foot", "{l}toes", "{l}clavicle", "{l}humerus", "{l}radius",
                "{l}wrist"),
    "cmu_bvh": ("Hips", "{Left}Hip", "{Left}Knee", "{Left}Ankle", "{Left}Toe", "{Left}Collar", "{Left}Shoulder",
                "{Left}Elbow", "{Left}Wrist"),
    "vroid": ("J_Bip_C_Hips", "J_Bip_{L}_UpperLeg", "J_Bip_{L}_LowerLeg", "J_Bip_{L}_Foot", "J_Bip_{L}_ToeBase",
              "J_Bip_{L}_Shoulder", "J_Bip_{L}_UpperArm", "J_Bip_{L}_LowerArm", "J_Bip_{L}_Hand"),
    "rigify": ("DEF-spine", "DEF-thigh.{L}", "DEF-shin.{L}", "DEF-foot.{L}", "DEF-toe.{L}", "DEF-shoulder.{L}",
               "DEF-upper_arm.{L}", "DEF-forearm.{L}", "DEF-hand.{L}"),
    "nothing": ("b0",) + ("?",) * 8,
}
PARTS = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")


@pytest.mark.parametrize("tool", CONVENTIONS)
def test_every_tools_names_give_the_same_roles(walk: SkeletonClip, tool: str) -> None:
    pattern = dict(zip(("pelvis", *PARTS), CONVENTIONS[tool], strict=True))
    names = []
    for i, name in enumerate(walk.joint_names):
        side, _, part = name.partition("_")
        if name == "pelvis":
            names.append(pattern["pelvis"])
        elif part in PARTS:
            left = side == "left"
            words = {"{Left}": "Left" if left else "Right", "{L}": "L" if left else "R", "{l}": "l" if left else "r"}
            text = pattern[part]
            for key, word in words.items():
                text = text.replace(key, word)
            names.append(f"b{i}" if text == "?" else text)
        else:
            names.append(f"b{i}")
    roles = match_roles(names, walk.parents, walk.rest_positions)
    for role in (f"{side}_{part}" for side in ("left", "right") for part in PARTS if part not in ("collar", "foot")):
        assert roles[role] == JOINT_NAMES.index(role), (tool, role, names[roles[role]])
    assert roles["pelvis"] == 0 and roles["spine3"] == JOINT_NAMES.index("spine3")


def test_a_skeleton_that_is_no_person_has_no_roles(walk: SkeletonClip) -> None:
    parents = np.arange(-1, 19)
    snake = np.stack([np.zeros(20), np.zeros(20), np.arange(20.0)], 1)
    assert match_roles([f"bone{i}" for i in range(20)], parents, snake) == {}
    clip = replace(walk, joint_names=tuple(f"b{i}" for i in range(20)), parents=parents, rest_positions=snake,
                   turns_wxyz=walk.turns_wxyz[:, :20], positions=np.repeat(snake[None], walk.frames, 0))
    with pytest.raises(InputError, match=r"snake\.bvh: its 20 joints are not a person's"):
        retarget(clip, _any_rig(), source="snake.bvh")


def _any_rig() -> Rig:
    rest = np.tile(np.eye(4, dtype=np.float32), (55, 1, 1))
    rest[:, :3, 3] = make_body({}).joints
    return Rig(joint_names=JOINT_NAMES, parents=np.array(PARENTS, np.int32), T_world_joint_rest=rest,
               skin_joints=np.zeros((1, 1), np.int32), skin_weights=np.ones((1, 1), np.float32))


# -- retargeting --------------------------------------------------------------------------------------------------


def test_a_clip_of_the_rig_itself_comes_back(rig: Rig, walk: SkeletonClip) -> None:
    motion, report = retarget(walk, rig, source="walk", plant=False)
    original = procedural("walk", rig, seconds=2.0)
    moved = positions(rig, motion)
    expected = positions(rig, original)
    expected -= expected[0, 0] * [1, 0, 1]
    assert np.abs(moved - expected).max() < 2e-3
    assert report.up == "y" and report.unit == "m" and abs(report.scale - 1) < 1e-6


@pytest.mark.parametrize(("axis", "scale"), [("z", 100.0), ("-y", 1.0), ("x", 39.37), ("-z", 1000.0)])
def test_axes_and_units_do_not_matter(rig: Rig, walk: SkeletonClip, axis: str, scale: float) -> None:
    turn = rotations.from_matrix(_to_axis(axis))
    wide = np.broadcast_to(turn, walk.turns_wxyz.shape)
    other = replace(walk, positions=scale * rotate(wide, walk.positions), rest_positions=scale * walk.rest_positions,
                    turns_wxyz=rotations.multiply(wide, walk.turns_wxyz))
    motion, report = retarget(other, rig, source="other")
    plain, _ = retarget(walk, rig, source="walk")
    assert report.up == axis
    assert np.abs(positions(rig, motion) - positions(rig, plain)).max() < 1e-4


def _to_axis(axis: str) -> np.ndarray:
    """The rotation that takes +y to `axis`, the inverse of `upright`."""
    eye = SkeletonClip(kind="", fps=30.0, joint_names=("a", "b", "c"), parents=np.array([-1, 0, 1]),
                       rest_positions=np.eye(3), turns_wxyz=np.tile([1.0, 0, 0, 0], (1, 3, 1)),
                       positions=np.eye(3)[None])
    return upright(eye, axis).positions[0]


@pytest.mark.parametrize("kind", ["all along x", "arms down", "no lengths"])
def test_rest_poses_that_are_no_t_pose(rig: Rig, walk: SkeletonClip, kind: str) -> None:
    """The same motion written over another rest pose: limbs still point the same way."""
    rest = walk.rest_positions.copy()
    turn = np.tile([1.0, 0, 0, 0], (55, 1))
    if kind == "arms down":
        for side, angle in (("left", -1.4), ("right", 1.4)):
            arm = rotations.from_rotvec(np.array([0, 0, angle]))
            for i, name in enumerate(walk.joint_names):
                if name.startswith(side) and any(
                        p in name for p in ("shoulder", "elbow", "wrist", "index", "middle", "pinky", "ring", "thumb")):
                    turn[i] = arm
    elif kind == "all along x":
        for i in range(55):
            child = next((c for c in range(55) if walk.parents[c] == i), None)
            if child is not None:
                from baker.least_turns import least_quats

                turn[i] = least_quats((rest[child] - rest[i])[None], np.array([[1.0, 0, 0]]))[0]
    else:
        rest = np.zeros_like(rest)
    new = rest.copy()
    for i, parent in enumerate(walk.parents):
        if parent >= 0:
            new[i] = new[parent] + rotate(turn[parent], rest[i] - rest[parent])
    # W = turn from the old rest; from the new one, W turn^-1.
    inverse = turn * [1, -1, -1, -1]
    other = replace(walk, rest_positions=new, turns_wxyz=rotations.multiply(
        walk.turns_wxyz, np.broadcast_to(inverse, walk.turns_wxyz.shape)))
    motion, report = retarget(other, rig, source=kind)
    roles = {name: i for i, name in enumerate(JOINT_NAMES)}
    errors = bone_angles(positions(rig, motion), walk.positions, roles, roles)
    assert errors.mean() < 2 and report.limb_error_deg < 2
    # The trunk too: hips and shoulders as in the source, to 8 degrees.
    for a, b in (("left_hip", "right_hip"), ("left_shoulder", "right_shoulder")):
        u = positions(rig, motion)[:, roles[a]] - positions(rig, motion)[:, roles[b]]
        v = walk.positions[:, roles[a]] - walk.positions[:, roles[b]]
        cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).mean() < 8


@needs_data
@pytest.mark.parametrize("path", BVH, ids=lambda p: p.stem)
def test_real_clips_keep_their_limbs_and_plant_their_feet(rig: Rig, path: Path) -> None:
    """Limb directions to 2 degrees mean, standing feet to 1 cm a step; measured here from the motion itself."""
    clip = read_motion(str(path))
    motion, report = retarget(clip, rig, source=path.name)
    free, _ = retarget(clip, rig, source=path.name, plant=False)
    source = upright(clip, report.up)
    roles = match_roles(clip.joint_names, clip.parents, clip.rest_positions)
    ours = {name: i for i, name in enumerate(JOINT_NAMES)}
    moved, unplanted = positions(rig, motion), positions(rig, free)
    heading = _heading(unplanted, ours) - _heading(source.positions, roles)
    turn = rotations.from_rotvec(np.array([0.0, heading, 0.0]))
    turned = rotate(np.broadcast_to(turn, (*source.positions.shape[:2], 4)), source.positions)
    assert bone_angles(unplanted, turned, ours, roles).max() < 0.1
    assert bone_angles(moved, turned, ours, roles).mean() < 2.0
    # When the performer's feet stand, from the file; where the avatar's are, from its motion.
    standing = source_contacts(source, roles)
    assert path.stem in ("dance1", "zombieWalk1") or sum(mask.any() for mask in standing.values()) == 2
    for side in ("left", "right"):
        for start, stop in runs(standing[side][:, 1]):
            way = moved[start:stop, ours[f"{side}_foot"]][:, [0, 2]]
            assert np.linalg.norm(way - way[0], axis=1).max() < 0.01
    assert report.slide_cm < 1.0
    if clip.frames > 1:
        # No leap of a joint against what the source moves in a frame.
        step = np.linalg.norm(np.diff(moved, axis=0), axis=2).max()
        assert step < report.scale * np.linalg.norm(np.diff(source.positions, axis=0), axis=2).max() + 0.12


def _heading(positions: np.ndarray, roles: dict[str, int]) -> float:
    left = positions[0, roles["left_hip"]] - positions[0, roles["right_hip"]]
    return float(np.arctan2(-left[2], left[0]))


@needs_data
def test_bvh_agrees_with_an_independent_retargeting(rig: Rig) -> None:
    """dab.bvh against the npz that other code made of it: median limb angle 4 degrees or less in all frames."""
    ours, _ = retarget(read_motion(str(DATA / "motion/bvh/dab.bvh")), rig, source="dab", plant=False)
    theirs, _ = on_rig(read_motion(str(DATA / "motion/amass_layout_npz/fair1_dab.npz")), rig, source="npz",
                       options=MotionOptions(plant_feet=False))
    roles = {name: i for i, name in enumerate(JOINT_NAMES)}
    a, b = positions(rig, ours), positions(rig, theirs)
    turn = rotations.from_rotvec(np.array([0.0, _heading(a, roles) - _heading(b, roles), 0.0]))
    b = rotate(np.broadcast_to(turn, (*b.shape[:2], 4)), b)
    assert np.median(bone_angles(a, b, roles, roles)) < 4.0


# -- options ------------------------------------------------------------------------------------------------------


def test_rate_and_speed_change_only_the_sampling(rig: Rig) -> None:
    walk = procedural("walk", rig, seconds=2.0)
    fine = at_rate(walk, MotionOptions(fps=60.0))
    assert (fine.fps, fine.frames) == (60.0, 2 * walk.frames - 1)
    np.testing.assert_allclose(fine.quats_wxyz[::2], walk.quats_wxyz, atol=1e-6)
    fast = at_rate(walk, MotionOptions(speed=2.0))
    assert fast.fps == walk.fps and abs(fast.duration - walk.duration / 2) < 0.02
    np.testing.assert_allclose(fast.root_translations[5], walk.root_translations[10], atol=1e-6)


def test_in_place_takes_the_way_out_and_leaves_the_sway(rig: Rig) -> None:
    walk = procedural("walk", rig, seconds=3.0)
    still = on_the_spot(walk)
    assert np.ptp(walk.root_translations[:, 2]) > 1.5
    assert np.abs(still.root_translations[:, [0, 2]]).max() < 0.12
    np.testing.assert_array_equal(still.root_translations[:, 1], walk.root_translations[:, 1])


def test_a_closed_loop_ends_as_it_begins_without_a_jump(rig: Rig) -> None:
    twirl = cut(procedural("twirl", rig, seconds=3.0), (10, 80), "twirl")
    closed = closed_loop(twirl, 0.5, "twirl")
    assert closed.frames == twirl.frames - 15
    first, last = closed.quats_wxyz[0], closed.quats_wxyz[-1]
    # Pose and height are the same; the heading may be the way's.
    assert (np.abs((first[1:] * last[1:]).sum(-1)) > 1 - 1e-6).all()
    assert abs(closed.root_translations[0, 1] - closed.root_translations[-1, 1]) < 1e-5
    steps = np.abs(np.diff(closed.quats_wxyz[:, 1:], axis=0)).max()
    assert steps < 1.5 * np.abs(np.diff(twirl.quats_wxyz[:, 1:], axis=0)).max() + 0.02
    with pytest.raises(InputError, match="too short for a cross-fade"):
        closed_loop(twirl, 2.0, "twirl")


@pytest.mark.parametrize(("options", "message"), [
    (MotionOptions(fps=0.0), "--fps"), (MotionOptions(speed=float("nan")), "--speed"),
    (MotionOptions(loop=-1.0), "--loop")])
def test_options_out_of_range_are_named(options: MotionOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        options.check()
