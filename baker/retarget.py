"""A clip of any skeleton on an avatar's rig: limb directions kept, proportions the avatar's, feet planted.

Source joints are found by role (`baker/roles.py`). In a reference pose, each avatar joint is laid along the source's
limb (`_reference_turns`); from there it turns as the source turns. Letters: T frames, J joints of the rig,
S joints of the source. World y-up in metres once `_upright` has run; quaternions wxyz.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from baker.body import FINGERS, JOINT_NAMES
from baker.foot_planting import Step, contacts, place_root, plant_feet
from baker.motion_files.skeleton import SkeletonClip, conjugate, continuous, rotate
from baker.roles import SIDES, match_roles
from runtime import rotations
from runtime.errors import InputError
from runtime.types import Motion, Rig

BONES = tuple((f"{side}_{a}", f"{side}_{b}") for side in SIDES
              for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")))
"""Limbs whose directions are kept exactly and measured."""
UNITS = {"m": 1.0, "dm": 0.1, "inch": 0.0254, "cm": 0.01, "mm": 0.001, "CMU inch/0.45": 0.0254 / 0.45}
PARENT_ROLE = {JOINT_NAMES[i]: JOINT_NAMES[p] for i, p in enumerate((
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)) if p >= 0}


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
    reference, plausible = _reference_frame(clip)
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
    scale = _leg(rest, targets) / _leg(reference, roles)
    turns = _turns(clip, reference, roles, rig, targets, plausible=plausible)
    _point_limbs(turns, clip, roles, rest, targets)
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
    size = 0.85 / _leg(clip.positions[0], roles)
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
        cosine = (_unit(ours) * _unit(theirs)).sum(1)
        errors.append(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
    return np.stack(errors)


# -- axes and units -----------------------------------------------------------------------------------------------


def up_axis(clip: SkeletonClip, source: str) -> str:
    """The axis along which heads are above feet, over the clip; the rest pose decides where frames do not."""
    index, plausible = _reference_frame(clip)
    roles = match_roles(clip.joint_names, clip.parents, index, stated=clip.roles)
    if not roles:
        roles = match_roles(clip.joint_names, clip.parents, clip.rest_positions, stated=clip.roles)
    if not roles:
        raise InputError(f"{source}: its {len(clip.joint_names)} joints are not a person's with two arms and two legs "
                         f"({', '.join(clip.joint_names[:6])} …)")
    mean = _upward(clip.positions, roles).mean(0)
    if np.abs(mean).max() < 0.7 and plausible:
        mean = _upward(clip.rest_positions[None], roles)[0]
    axis = int(np.argmax(np.abs(mean)))
    return ("-" if mean[axis] < 0 else "") + "xyz"[axis]


def _upward(positions: np.ndarray, roles: Mapping[str, int]) -> np.ndarray:
    """Unit vectors [T 3] from the feet over the hips to the shoulders."""
    def middle(name: str) -> np.ndarray:
        return 0.5 * (positions[:, roles[f"left_{name}"]] + positions[:, roles[f"right_{name}"]])
    return _unit(_unit(middle("shoulder") - middle("hip")) + _unit(middle("hip") - middle("ankle")))


def upright(clip: SkeletonClip, axis: str) -> SkeletonClip:
    """The clip turned so that `axis` is +y, z-up as Blender has it: its -y becomes our +z."""
    turn = {"y": np.eye(3), "-y": np.diag([1.0, -1, -1]),
            "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), "-z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
            "x": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
            "-x": np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])}.get(axis)
    if turn is None:
        raise InputError(f"up axis {axis!r}: give x, y, z, -x, -y or -z")
    quat = rotations.from_matrix(turn)
    # The rest pose keeps its own axes: `turns` takes it to the world, whichever those are.
    return replace(clip, positions=clip.positions @ turn.T,
                   turns_wxyz=rotations.multiply(np.broadcast_to(quat, clip.turns_wxyz.shape), clip.turns_wxyz))


def facing_forward(clip: SkeletonClip, roles: Mapping[str, int]) -> SkeletonClip:
    """The clip turned by quarter turns so that its first frame faces +Z more than anywhere else, and starts at the
    origin."""
    first = clip.positions[0]
    left = first[roles["left_hip"]] - first[roles["right_hip"]]
    heading = np.arctan2(-left[2], left[0])  # of left x up
    quarter = -round(float(heading) / (np.pi / 2)) * (np.pi / 2)
    turn = rotations.from_rotvec(np.array([0.0, quarter, 0.0]))
    positions = clip.positions - first[roles["pelvis"]] * [1.0, 0.0, 1.0]
    return replace(clip, positions=rotate(np.broadcast_to(turn, (*positions.shape[:2], 4)), positions),
                   turns_wxyz=rotations.multiply(np.broadcast_to(turn, clip.turns_wxyz.shape), clip.turns_wxyz))


def unit_of(height: float) -> str:
    """The unit in which a person is `height` tall, 1.2 to 2.2 m; '' if there is none."""
    fits = {unit: abs(np.log(height * metres / 1.7)) for unit, metres in UNITS.items()
            if 1.2 <= height * metres <= 2.2}
    return min(fits, key=lambda unit: fits[unit]) if fits else ""


def figure_height(positions: np.ndarray, roles: Mapping[str, int]) -> float:
    """About how tall a figure is, from bone lengths: feet and head are in proportion to leg and trunk."""
    trunk = np.linalg.norm(0.5 * (positions[roles["left_shoulder"]] + positions[roles["right_shoulder"]])
                           - 0.5 * (positions[roles["left_hip"]] + positions[roles["right_hip"]]))
    return float(1.27 * (_leg(positions, roles) + trunk))


def _leg(positions: np.ndarray, roles: Mapping[str, int]) -> float:
    """Mean length of the straight leg."""
    total = 0.0
    for side in SIDES:
        hip, knee, ankle = (positions[roles[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
        total += 0.5 * float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))
    return max(total, 1e-9)


# -- reference pose -----------------------------------------------------------------------------------------------


def reference_positions(clip: SkeletonClip) -> Float[np.ndarray, "S 3"]:
    """Joint positions a skeleton is read from: the rest pose if a person could stand so, else the first frame."""
    return _reference_frame(clip)[0]


def _reference_frame(clip: SkeletonClip) -> tuple[np.ndarray, bool]:
    """Joint positions [S 3] to read the skeleton from, and whether they are a rest pose that a person could take.

    A file whose rest pose is none (all bones along one axis, or no lengths) is read from its first frame.
    """
    rest = clip.rest_positions
    roles = match_roles(clip.joint_names, clip.parents, rest, stated=clip.roles)
    if roles and _is_standing(rest, roles):
        return rest, True
    return clip.positions[0], False


def _is_standing(positions: np.ndarray, roles: Mapping[str, int]) -> bool:
    """Legs point away from the trunk, limbs have length, left is left of right."""
    def middle(name: str) -> np.ndarray:
        return 0.5 * (positions[roles[f"left_{name}"]] + positions[roles[f"right_{name}"]])
    up = _unit(middle("shoulder") - middle("hip"))
    lateral = positions[roles["left_hip"]] - positions[roles["right_hip"]]
    shoulders = positions[roles["left_shoulder"]] - positions[roles["right_shoulder"]]
    legs = [_unit(positions[roles[f"{side}_ankle"]] - positions[roles[f"{side}_hip"]]) for side in SIDES]
    return bool(np.linalg.norm(middle("shoulder") - middle("hip")) > 1e-6 and _leg(positions, roles) > 1e-6
                and all(float(leg @ up) < -0.75 for leg in legs)
                and abs(float(_unit(lateral) @ up)) < 0.35 and float(_unit(lateral) @ _unit(shoulders)) > 0.8)


def _frame(positions: np.ndarray, roles: Mapping[str, int], lateral: str, up: np.ndarray) -> np.ndarray:
    """Left, up and forward as columns, from the line between two joints and an upward direction."""
    left = _unit(positions[roles[f"left_{lateral}"]] - positions[roles[f"right_{lateral}"]])
    y = _unit(up - (up @ left) * left)
    return np.stack([left, y, np.cross(left, y)], axis=1)


def _trunk_up(positions: np.ndarray, roles: Mapping[str, int]) -> np.ndarray:
    return sum(positions[roles[f"{side}_shoulder"]] - positions[roles[f"{side}_hip"]] for side in SIDES)


def _reference_turns(positions: np.ndarray, roles: Mapping[str, int], rest: np.ndarray,
                     targets: Mapping[str, int], *, plausible: bool) -> dict[str, np.ndarray]:
    """For each role both have, the rotation [3 3] that lays the avatar's rest pose over the source's reference pose.

    The trunk by its frame of hips and shoulders; limbs by the least turn, from their parent's, that aligns the bone.
    In a rest pose that a person could take, head, collars and feet are taken to be at rest on both sides.
    """
    shared = [role for role in JOINT_NAMES if role in roles and role in targets and _is_transferred(role, roles)]
    trunk = (_frame(positions, roles, "hip", _trunk_up(positions, roles))
             @ _frame(rest, targets, "hip", _trunk_up(rest, targets)).T)
    chest = (_frame(positions, roles, "shoulder", _trunk_up(positions, roles))
             @ _frame(rest, targets, "shoulder", _trunk_up(rest, targets)).T)
    turns: dict[str, np.ndarray] = {"pelvis": trunk, "spine3": trunk if plausible else chest}
    next_role = dict(BONES)
    for side in SIDES:
        next_role |= {f"{side}_{f}{i}": f"{side}_{f}{i + 1}" for f in FINGERS for i in (1, 2)}
        next_role[f"{side}_wrist"] = f"{side}_middle1"
    for role in shared:
        if role in turns:
            continue
        parent = PARENT_ROLE.get(role, "")
        while parent and parent not in turns:
            parent = PARENT_ROLE.get(parent, "")
        side, _, part = role.partition("_")
        if any(part.startswith(f) for f in FINGERS):
            parent = f"{side}_{part[:-1]}{int(part[-1]) - 1}" if part[-1] != "1" else f"{side}_wrist"
        base = turns.get(parent, turns["spine3" if role in ("head", "jaw") else "pelvis"])
        turns[role] = base
        following = next_role.get(role)
        if following in roles and following in targets:
            ours = base @ (rest[targets[following]] - rest[targets[role]])
            theirs = positions[roles[following]] - positions[roles[role]]
            turns[role] = least_turn(ours, theirs) @ base
        elif part == "ankle":
            turns[role] = _foot_turn(positions, roles, rest, targets, side, trunk if plausible else base,
                                     level=plausible)
    return turns


def _is_transferred(role: str, roles: Mapping[str, int]) -> bool:
    """Fingers of one joint are stubs (CMU's thumbs) that turn as no finger does; eyes have no common rest."""
    part = role.partition("_")[2]
    finger = next((f for f in FINGERS if part.startswith(f)), None)
    return "eye" not in role and (finger is None or f"{role[:-1]}2" in roles)


def _foot_turn(positions: np.ndarray, roles: Mapping[str, int], rest: np.ndarray, targets: Mapping[str, int],
               side: str, base: np.ndarray, *, level: bool) -> np.ndarray:
    """The foot along the source's; soles that stand level stay level: only their headings are aligned."""
    toe, ankle = f"{side}_foot", f"{side}_ankle"
    if toe not in roles or toe not in targets:
        return base
    ours, theirs = base @ (rest[targets[toe]] - rest[targets[ankle]]), positions[roles[toe]] - positions[roles[ankle]]
    if level:
        up = base[:, 1]
        ours, theirs = ours - (ours @ up) * up, theirs - (theirs @ up) * up
    return least_turn(ours, theirs) @ base


# -- turns of every frame -----------------------------------------------------------------------------------------


def _turns(clip: SkeletonClip, reference: np.ndarray, roles: Mapping[str, int], rig: Rig,
           targets: Mapping[str, int], *, plausible: bool) -> Float[np.ndarray, "T J 4"]:
    """World turns of the avatar's joints relative to rest: of each joint with a role as the source's joint turns
    from the reference pose, of the spine between pelvis and chest, of any other joint its parent's."""
    rest = rig.T_world_joint_rest[:, :3, 3].astype(np.float64)
    aligned = _reference_turns(reference, roles, rest, targets, plausible=plausible)
    by_joint = {}
    for role, matrix in aligned.items():
        if role not in roles or role not in targets:
            continue
        source = clip.turns_wxyz[:, roles[role]]
        if plausible:
            # A = M: at rest the source has not turned.
            constant = rotations.from_matrix(matrix)
        else:
            constant = rotations.multiply(conjugate(source[0]), rotations.from_matrix(matrix))
        by_joint[targets[role]] = rotations.multiply(source, np.broadcast_to(constant, source.shape))
    by_joint |= _spine(clip, reference, roles, rest, rig, targets, by_joint, aligned["pelvis"], plausible=plausible)
    turns = np.zeros((clip.frames, rig.joint_count, 4))
    turns[..., 0] = 1
    for joint, parent in enumerate(rig.parents):
        if joint in by_joint:
            turns[:, joint] = by_joint[joint]
        elif parent >= 0:
            turns[:, joint] = turns[:, parent]
        else:
            turns[:, joint] = by_joint[targets["pelvis"]]
    return turns


def _spine(clip: SkeletonClip, reference: np.ndarray, roles: Mapping[str, int], rest: np.ndarray, rig: Rig,
           targets: Mapping[str, int], done: Mapping[int, np.ndarray], trunk: np.ndarray, *,
           plausible: bool) -> dict[int, np.ndarray]:
    """Turns of the avatar's spine joints between pelvis and chest, at their fractions of its length, from the
    source's spine joints at theirs."""
    pelvis, chest = targets["pelvis"], targets.get("spine3", targets["pelvis"])
    ours = _between(rig.parents, pelvis, chest)
    if not ours:
        return {}
    theirs = _between(clip.parents, roles["pelvis"], roles.get("spine3", roles["pelvis"]))
    constant = rotations.from_matrix(trunk)
    places, samples = [0.0], [done[pelvis]]
    total = _fraction(reference, clip.parents, roles["pelvis"], roles.get("spine3", roles["pelvis"]))
    for joint in theirs:
        turn = clip.turns_wxyz[:, joint]
        by = constant if plausible else rotations.multiply(conjugate(turn[0]), constant)
        places.append(_fraction(reference, clip.parents, roles["pelvis"], joint) / max(total, 1e-9))
        samples.append(rotations.multiply(turn, np.broadcast_to(by, turn.shape)))
    places.append(1.0)
    samples.append(done.get(chest, done[pelvis]))
    whole = _fraction(rest, rig.parents, pelvis, chest)
    result = {}
    for joint in ours:
        place = _fraction(rest, rig.parents, pelvis, joint) / max(whole, 1e-9)
        k = int(np.clip(np.searchsorted(places, place) - 1, 0, len(places) - 2))
        width = max(places[k + 1] - places[k], 1e-9)
        result[joint] = rotations.slerp(samples[k], samples[k + 1], float(np.clip((place - places[k]) / width, 0, 1)))
    return result


def _between(parents: np.ndarray, first: int, last: int) -> list[int]:
    """Joints strictly between an ancestor and a joint, ancestor's side first; none if it is no ancestor."""
    path, joint = [], last
    while joint != first and joint >= 0:
        joint = int(parents[joint])
        path.append(joint)
    return path[-2::-1] if path and path[-1] == first else []


def _fraction(positions: np.ndarray, parents: np.ndarray, first: int, joint: int) -> float:
    """Way along the bones from an ancestor to a joint."""
    way = 0.0
    while joint != first and parents[joint] >= 0:
        way += float(np.linalg.norm(positions[joint] - positions[parents[joint]]))
        joint = int(parents[joint])
    return way


def _point_limbs(turns: np.ndarray, clip: SkeletonClip, roles: Mapping[str, int], rest: np.ndarray,
                 targets: Mapping[str, int]) -> None:
    """Turn limbs (in place) exactly along the source's: joints between two roles (twist bones, ankles that are not
    children) leave a difference."""
    for a, b in BONES:
        theirs = clip.positions[:, roles[b]] - clip.positions[:, roles[a]]
        ours = rotate(turns[:, targets[a]], rest[targets[b]] - rest[targets[a]])
        length = np.linalg.norm(theirs, axis=1, keepdims=True)
        theirs = np.where(length > 1e-9, theirs, ours)
        turns[:, targets[a]] = rotations.multiply(least_quats(ours, theirs), turns[:, targets[a]])


def least_turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The least rotation [3 3] that takes the direction of a to that of b."""
    return rotations.to_matrix(least_quats(a[None], b[None])[0])


def least_quats(a: Float[np.ndarray, "T 3"], b: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "T 4"]:
    """The least rotations that take directions a to b: (1 + a.b, a x b) normalised; half a turn about any
    perpendicular where they are opposite; none where one has no length."""
    a, b = _unit(a), _unit(b)
    quats = np.concatenate([1 + (a * b).sum(1, keepdims=True), np.cross(a, b)], axis=1)
    flat = np.linalg.norm(quats, axis=1) < 1e-6
    if flat.any():
        other = np.where(np.abs(a[:, :1]) < 0.9, [1.0, 0, 0], [0, 1.0, 0])
        quats[flat] = np.concatenate([np.zeros((len(a), 1)), _unit(np.cross(a, other))], axis=1)[flat]
    none = (np.linalg.norm(a, axis=1) < 0.5) | (np.linalg.norm(b, axis=1) < 0.5)
    quats[none] = [1, 0, 0, 0]
    return rotations.normalize(quats)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
