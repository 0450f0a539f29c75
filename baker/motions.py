"""Motions on an avatar's rig: files of any kind, and procedural walk, run, twirl and jump.

World y-up, the floor is y = 0; procedural and retargeted figures start at the origin facing +Z. Letters: T frames,
J joints. Readers are in `baker/motion_files`, retargeting in `baker/retarget.py`, procedural motions in
`baker/motion_gaits.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from baker.avatar import Avatar, SkinnedMesh
from baker.body import JOINT_NAMES, PARENTS, make_body
from baker.foot_planting import plant_feet
from baker.gltf_file import linked_files
from baker.motion_files import KINDS, is_motion_file, read_motion, split_source
from baker.motion_files.asf_amc import find_asf
from baker.motion_files.lhm import find_frames
from baker.motion_files.skeleton import SkeletonClip, conjugate, forward, rotate
from baker.motion_gaits import ProceduralName, procedural
from baker.motion_options import MotionOptions, at_rate, closed_loop, cut, on_the_spot
from baker.retarget import RetargetReport, motion_of, retarget
from baker.roles import match_roles
from baker.source_pose import up_axis, upright
from runtime import rotations, skinning
from runtime.errors import InputError
from runtime.types import Motion, Rig

__all__ = ["MotionOptions", "ProceduralName", "clip_name", "ground", "load_motion", "load_motion_with_report",
           "motion_files_of", "on_rig", "procedural"]

GROUND_PERCENTILE = 10.0
"""The clip's floor is this percentile of the frames' lowest points: robust to a frame of penetration, and a clip in
the air for most of its length still lands."""


def load_motion(name_or_path: str, avatar: Avatar, *, seconds: float = 3.0, fps: float = 30.0,
                variation_seed: int | None = None, options: MotionOptions | None = None) -> Motion:
    """A procedural motion by name or a motion file by path (`FILE#CLIP`), on the avatar's rig and its floor.

    `seconds`, `fps` and `variation_seed` hold for procedural motions only. Raises `InputError`.
    """
    return load_motion_with_report(name_or_path, avatar, seconds=seconds, fps=fps, variation_seed=variation_seed,
                                   options=options)[0]


def load_motion_with_report(name_or_path: str, avatar: Avatar, *, seconds: float = 3.0, fps: float = 30.0,
                            variation_seed: int | None = None,
                            options: MotionOptions | None = None) -> tuple[Motion, RetargetReport | None]:
    """`load_motion`, and what retargeting did where there was any."""
    options = (options or MotionOptions()).check()
    report = None
    if name_or_path in get_args(ProceduralName):
        if not _is_smplx(avatar.rig):
            motion, report = _procedural_elsewhere(name_or_path, avatar.rig, seconds=seconds, fps=fps,
                                                   variation_seed=variation_seed, options=options)
        else:
            motion = procedural(name_or_path, avatar.rig, seconds=seconds, fps=fps, variation_seed=variation_seed)
    elif is_motion_file(name_or_path):
        motion, report = on_rig(read_motion(name_or_path), avatar.rig, source=name_or_path, options=options)
    else:
        names = ", ".join(get_args(ProceduralName))
        raise InputError(f"{name_or_path}: no such motion; give one of {names}, or the path of a motion file "
                         f"({', '.join(KINDS)}, or a folder of LHM's frames)")
    motion = cut(at_rate(motion, options), options.frames, name_or_path)
    if options.in_place:
        motion = on_the_spot(motion)
    motion = closed_loop(motion, options.loop, name_or_path)
    return ground(motion, avatar.rig, avatar.body), report


def _procedural_elsewhere(name: ProceduralName, rig: Rig, *, seconds: float, fps: float, variation_seed: int | None,
                          options: MotionOptions) -> tuple[Motion, RetargetReport | None]:
    """A procedural motion, made on the built-in body, on a rig of other joints."""
    joints = make_body({}).joints
    rest = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    rest[:, :3, 3] = joints
    body = Rig(joint_names=JOINT_NAMES, parents=np.array(PARENTS, np.int32), T_world_joint_rest=rest,
               skin_joints=np.zeros((1, 1), np.int32), skin_weights=np.ones((1, 1), np.float32))
    return on_rig(clip_of(procedural(name, body, seconds=seconds, fps=fps, variation_seed=variation_seed), body), rig,
                  source=name, options=options)


def clip_of(motion: Motion, rig: Rig) -> SkeletonClip:
    """A motion of a rig as a clip of its skeleton, y-up in metres."""
    rest = rig.T_world_joint_rest.astype(np.float64)
    rest_quats = rotations.from_matrix(rotations.nearest_rotation(rest[:, :3, :3]))
    local = skinning.local_rest_transforms(rig).astype(np.float64)
    positions = np.repeat(local[None, :, :3, 3], motion.frames, axis=0)
    positions[:, 0] += motion.root_translations
    turned = rotations.multiply(np.broadcast_to(rotations.from_matrix(rotations.nearest_rotation(
        local[:, :3, :3])), motion.quats_wxyz.shape), rotations.normalize(motion.quats_wxyz.astype(np.float64)))
    world_positions, world = forward(rig.parents, positions, turned)
    turns = rotations.multiply(world, np.broadcast_to(conjugate(rest_quats), world.shape))
    return SkeletonClip(kind="ani3d", fps=float(motion.fps), joint_names=rig.joint_names,
                        parents=rig.parents.astype(np.int64), rest_positions=rest[:, :3, 3], turns_wxyz=turns,
                        positions=world_positions, smplx=_is_smplx(rig), metres=True, up="y")


def motion_files_of(source: str) -> list[Path]:
    """The files a motion is read from, for fingerprints; none for a procedural motion."""
    if source in get_args(ProceduralName) or not is_motion_file(source):
        return []
    path, _ = split_source(source)
    if path.is_dir():
        return find_frames(path)
    if path.suffix.lower() == ".amc" and path.is_file():
        return [path, find_asf(path)]
    if path.suffix.lower() in (".glb", ".gltf", ".vrm") and path.is_file():
        return [path, *linked_files(path, keys=("buffers",))]
    return [path]


def clip_name(source: str) -> str:
    """What to call a motion: its clip's name, else its file's without suffix."""
    path, clip = split_source(source)
    return clip or path.stem or path.resolve().name


def on_rig(clip: SkeletonClip, rig: Rig, *, source: str,
           options: MotionOptions) -> tuple[Motion, RetargetReport | None]:
    """The clip on a rig: its own joints' turns where the skeleton is the rig's (no report), else retargeted."""
    if clip.smplx and all(name in clip.joint_names or name not in JOINT_NAMES[:22] for name in rig.joint_names) and (
            _is_smplx(rig)):
        return _by_name(clip, rig, source, options), None
    own = same_skeleton(clip, rig)
    if own is not None:
        turn, scale, index = own
        wide = np.broadcast_to(turn, (clip.frames, len(index), 4))
        turns = rotations.multiply(rotations.multiply(wide, clip.turns_wxyz[:, index]), conjugate(wide))
        root = rotate(wide[:, 0], clip.positions[:, index[0]] - clip.rest_positions[index[0]]) * scale
        return motion_of(turns, root + rig.T_world_joint_rest[0, :3, 3], rig, clip.fps).check(source, rig=rig), None
    return retarget(clip, rig, source=source, up=options.up, plant=options.plant_feet)


def same_skeleton(clip: SkeletonClip, rig: Rig) -> tuple[np.ndarray, float, np.ndarray] | None:
    """(rotation wxyz, scale, clip joint of each rig joint) that takes the clip's rest pose to the rig's, if all of the
    rig's joints are in the clip, by name, and at the same places but for one similarity; else None."""
    place = {name: i for i, name in enumerate(clip.joint_names)}
    if rig.joint_count < 3 or any(name not in place for name in rig.joint_names):
        return None
    index = np.array([place[name] for name in rig.joint_names])
    theirs, ours = clip.rest_positions[index], rig.T_world_joint_rest[:, :3, 3].astype(np.float64)
    a, b = theirs - theirs.mean(0), ours - ours.mean(0)
    size = float(np.sqrt((a**2).sum()))
    if size < 1e-9:
        return None
    turn = rotations.nearest_rotation(b.T @ a)
    scale = float((b * (a @ turn.T)).sum() / size**2)
    rest = float(np.sqrt(((scale * a @ turn.T - b) ** 2).sum() / (b**2).sum()))
    return (rotations.from_matrix(turn), scale, index) if rest < 0.01 else None


def _is_smplx(rig: Rig) -> bool:
    """SMPL-X's joint names and rest: T-pose, no rest rotations."""
    known = set(JOINT_NAMES) | {"left_hand", "right_hand"}
    return (len(known & set(rig.joint_names)) >= 22
            and bool(np.abs(rig.T_world_joint_rest[:, :3, :3] - np.eye(3)).max() < 1e-4))


def _by_name(clip: SkeletonClip, rig: Rig, source: str, options: MotionOptions) -> Motion:
    """SMPL-X rotations copied joint by joint; joints the clip lacks stay at rest in their parents."""
    clip = upright(clip, options.up or clip.up or up_axis(clip, source))
    place = {name: i for i, name in enumerate(clip.joint_names)}
    turns = np.zeros((clip.frames, rig.joint_count, 4))
    turns[..., 0] = 1
    for joint, name in enumerate(rig.joint_names):
        if name in place:
            turns[:, joint] = clip.turns_wxyz[:, place[name]]
        elif rig.parents[joint] >= 0:
            turns[:, joint] = turns[:, rig.parents[joint]]
    root = clip.positions[:, place["pelvis"]] - clip.rest_positions[place["pelvis"]]
    root = root + rig.T_world_joint_rest[0, :3, 3]
    if clip.kind == "lhm":
        # Seen by a camera metres away: the first frame is brought to the origin.
        root = root - root[0] * [1, 0, 1]
    if options.plant_feet:
        # The subject's legs were not the avatar's.
        targets = match_roles(rig.joint_names, rig.parents, rig.T_world_joint_rest[:, :3, 3].astype(np.float64))
        root, *_ = plant_feet(turns, root, rig, targets, fps=clip.fps)
    return motion_of(turns, root, rig, clip.fps).check(source, rig=rig)


def ground(motion: Motion, rig: Rig, body: SkinnedMesh) -> Motion:
    """The motion shifted in height so that, over the clip, the body's lowest points touch y = 0."""
    # Every eighth vertex and all of the lower legs: feet decide, but a hand or a knee may be lowest.
    low = body.vertices[:, 1] < np.quantile(body.vertices[:, 1], 0.12)
    chosen = np.flatnonzero(low | (np.arange(len(body.vertices)) % 8 == 0))
    points, joints, weights = body.vertices[chosen], body.skin_joints[chosen], body.skin_weights[chosen]
    lowest = np.empty(motion.frames)
    for frame in range(motion.frames):
        matrices = skinning.skinning_matrices(rig, motion, frame)
        # Only the height is needed: row 1 of the blended matrices.
        row = np.einsum("vw,vwc->vc", weights, matrices[joints, 1])
        lowest[frame] = ((row[:, :3] * points).sum(1) + row[:, 3]).min()
    shift = np.percentile(lowest, GROUND_PERCENTILE)
    moved = motion.root_translations - np.array([0, shift, 0], motion.root_translations.dtype)
    return replace(motion, root_translations=moved)
