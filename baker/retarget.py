"""A clip of any skeleton on an avatar's rig: limb directions kept, proportions the avatar's, feet planted.

Source joints are found by role (`baker/roles.py`). In a reference pose, each avatar joint is laid along the source's
limb (`baker/retarget_turns.py`); from there it turns as the source turns. Letters: T frames, J joints of the rig,
S joints of the source. World y-up in metres once `upright` has run; quaternions wxyz.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from baker.foot_planting import Step, contacts, place_root, plant_feet
from baker.least_turns import direction
from baker.motion_files.skeleton import SkeletonClip, conjugate, continuous, rotate
from baker.retarget_turns import BONES, point_limbs, world_turns
from baker.roles import SIDES, match_roles
from baker.source_pose import facing_forward, figure_height, leg_length, reference_frame, unit_of, up_axis, upright
from runtime import rotations
from runtime.errors import InputError
from runtime.types import Motion, Rig


@dataclass(frozen=True)
class RetargetReport:
    """What retargeting did, in numbers."""

    unit: str
    """The file's unit as guessed from the figure's height."""
    up: str
    """The axis that points up in the file."""
    scale: float
    """Avatar metres per file unit."""
    limb_error_deg: float
    """Mean angle between source and avatar limbs [degrees], after planting."""
    limb_error_deg_max_mean: float
    """The worst limb's mean [degrees]."""
    slide_before_cm: float
    """Largest way a planted foot slid within one step before planting [cm]."""
    slide_cm: float
    """The same after planting [cm]."""
    steps: int
    """Foot contacts found."""
    warnings: tuple[str, ...] = ()


def retarget(clip: SkeletonClip, rig: Rig, *, source: str, up: str | None = None,
             plant: bool = True) -> tuple[Motion, RetargetReport]:
    """The clip on `rig`. `up` overrides the axis found ('x', 'y', 'z', or with a '-').

    Raises `InputError` naming `source` where a skeleton is not a person's.
    """
    axis = up or clip.up or up_axis(clip, source)
    clip = upright(clip, axis)
    reference, plausible = reference_frame(clip)
    roles = match_roles(clip.joint_names, clip.parents, reference, stated=clip.roles)
    if not roles:
        raise InputError(f"{source}: its {len(clip.joint_names)} joints are not a person's with two arms and two legs "
                         f"({', '.join(clip.joint_names[:6])} …)")
    rest = rig.T_world_joint_rest[:, :3, 3].astype(np.float64)
    targets = match_roles(rig.joint_names, rig.parents, rest)
    if not targets:
        raise InputError("the avatar's skeleton is not a person's with two arms and two legs: it can only play motions "
                         "of its own joints")
    clip = facing_forward(clip, roles)
    scale = leg_length(rest, targets) / leg_length(reference, roles)
    turns = world_turns(clip, reference, roles, rig, targets, plausible=plausible)
    point_limbs(turns, clip, roles, rest, targets)
    hips = 0.5 * (clip.positions[:, roles["left_hip"]] + clip.positions[:, roles["right_hip"]])
    root = place_root(turns, rig, targets, scale * hips)
    steps: list[Step] = []
    before = after = 0.0
    if plant:
        root, steps, before, after = plant_feet(turns, root, rig, targets, fps=clip.fps,
                                                touching_of=source_contacts(clip, roles))
    motion = motion_of(turns, root, rig, clip.fps)
    errors = limb_errors(clip, roles, turns, rest, targets)
    report = RetargetReport(
        unit=unit_of(figure_height(reference, roles)), up=axis, scale=scale, limb_error_deg=float(errors.mean()),
        limb_error_deg_max_mean=float(errors.mean(1).max()), slide_before_cm=100 * before, slide_cm=100 * after,
        steps=len(steps), warnings=clip.warnings)
    return motion.check(source, rig=rig), report


def motion_of(turns: Float[np.ndarray, "T J 4"], root: Float[np.ndarray, "T 3"], rig: Rig, fps: float) -> Motion:
    """The `Motion` whose joints have these world turns relative to rest, with the root joint at `root`."""
    rest = rotations.from_matrix(rotations.nearest_rotation(rig.T_world_joint_rest[:, :3, :3].astype(np.float64)))
    world = rotations.multiply(turns, np.broadcast_to(rest, turns.shape))
    local = np.empty_like(world)
    for joint, parent in enumerate(rig.parents):
        # T_world_joint = T_world_parent T_parent_joint(rest) R: R is what is left of the joint's turn.
        if parent < 0:
            local[:, joint] = rotations.multiply(conjugate(rest[joint]), world[:, joint])
        else:
            local_rest = rotations.multiply(conjugate(rest[parent]), rest[joint])
            before = rotations.multiply(world[:, parent], np.broadcast_to(local_rest, world[:, parent].shape))
            local[:, joint] = rotations.multiply(conjugate(before), world[:, joint])
    return Motion(fps=fps, quats_wxyz=continuous(rotations.normalize(local)).astype(np.float32),
                  root_translations=(root - rig.T_world_joint_rest[0, :3, 3]).astype(np.float32),
                  joint_names=rig.joint_names)


def source_contacts(clip: SkeletonClip, roles: Mapping[str, int]) -> dict[str, np.ndarray]:
    """When each foot of an upright clip stands: ankle and ball [T 2] by side. In metres of a person of usual size, and
    over the height each point has when the foot is on the ground (the 5th percentile over both sides)."""
    size = 0.85 / leg_length(clip.positions[0], roles)
    points = {side: size * clip.positions[:, [roles[f"{side}_ankle"],
                                              roles.get(f"{side}_foot", roles[f"{side}_ankle"])]] for side in SIDES}
    low = np.min([np.percentile(points[side][..., 1], 5, axis=0) for side in SIDES], axis=0)
    return {side: contacts(points[side], low, fps=clip.fps, leg=0.85) for side in SIDES}


def limb_errors(clip: SkeletonClip, roles: Mapping[str, int], turns: np.ndarray, rest: np.ndarray,
                targets: Mapping[str, int]) -> Float[np.ndarray, "B T"]:
    """Angle [degrees] between source and avatar for each of `BONES` in each frame."""
    errors = []
    for a, b in BONES:
        ours = rotate(turns[:, targets[a]], rest[targets[b]] - rest[targets[a]])
        theirs = clip.positions[:, roles[b]] - clip.positions[:, roles[a]]
        cosine = (direction(ours) * direction(theirs)).sum(1)
        errors.append(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
    return np.stack(errors)
