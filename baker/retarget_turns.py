"""World turns of a rig's joints that follow a source's: a reference pose laid over the other, then turn by turn.

Letters: T frames, J joints of the rig, S joints of the source. World y-up; quaternions wxyz; turns are from rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from baker.body import FINGERS, JOINT_NAMES
from baker.least_turns import direction, least_quats, least_turn
from baker.motion_files.skeleton import SkeletonClip, conjugate, rotate
from baker.roles import SIDES
from runtime import rotations
from runtime.types import Rig

BONES = tuple((f"{side}_{a}", f"{side}_{b}") for side in SIDES
              for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")))
"""Limbs whose directions are kept exactly and measured."""
PARENT_ROLE = {JOINT_NAMES[i]: JOINT_NAMES[p] for i, p in enumerate((
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)) if p >= 0}


def world_turns(clip: SkeletonClip, reference: np.ndarray, roles: Mapping[str, int], rig: Rig,
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


def point_limbs(turns: np.ndarray, clip: SkeletonClip, roles: Mapping[str, int], rest: np.ndarray,
                 targets: Mapping[str, int]) -> None:
    """Turn limbs (in place) exactly along the source's: joints between two roles (twist bones, ankles that are not
    children) leave a difference."""
    for a, b in BONES:
        theirs = clip.positions[:, roles[b]] - clip.positions[:, roles[a]]
        ours = rotate(turns[:, targets[a]], rest[targets[b]] - rest[targets[a]])
        length = np.linalg.norm(theirs, axis=1, keepdims=True)
        theirs = np.where(length > 1e-9, theirs, ours)
        turns[:, targets[a]] = rotations.multiply(least_quats(ours, theirs), turns[:, targets[a]])


def _frame(positions: np.ndarray, roles: Mapping[str, int], lateral: str, up: np.ndarray) -> np.ndarray:
    """Left, up and forward as columns, from the line between two joints and an upward direction."""
    left = direction(positions[roles[f"left_{lateral}"]] - positions[roles[f"right_{lateral}"]])
    y = direction(up - (up @ left) * left)
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
