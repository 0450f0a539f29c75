"""How a skeleton of any file stands: its up axis and unit, which way it faces, the pose it is read from.

Letters: T frames, S joints. Positions in the file's axes and unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from baker.least_turns import direction
from baker.motion_files.skeleton import SkeletonClip, rotate
from baker.roles import SIDES, match_roles
from runtime import rotations
from runtime.errors import InputError

UNITS = {"m": 1.0, "dm": 0.1, "inch": 0.0254, "cm": 0.01, "mm": 0.001, "CMU inch/0.45": 0.0254 / 0.45}
"""Name to metres."""


def up_axis(clip: SkeletonClip, source: str) -> str:
    """The axis along which heads are above feet, over the clip; the rest pose decides where frames do not."""
    index, plausible = reference_frame(clip)
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
    return direction(direction(middle("shoulder") - middle("hip")) + direction(middle("hip") - middle("ankle")))


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
    return float(1.27 * (leg_length(positions, roles) + trunk))


def leg_length(positions: np.ndarray, roles: Mapping[str, int]) -> float:
    """Mean length of the straight leg."""
    total = 0.0
    for side in SIDES:
        hip, knee, ankle = (positions[roles[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
        total += 0.5 * float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))
    return max(total, 1e-9)


def reference_positions(clip: SkeletonClip) -> Float[np.ndarray, "S 3"]:
    """Joint positions a skeleton is read from: the rest pose if a person could stand so, else the first frame."""
    return reference_frame(clip)[0]


def reference_frame(clip: SkeletonClip) -> tuple[np.ndarray, bool]:
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
    up = direction(middle("shoulder") - middle("hip"))
    lateral = positions[roles["left_hip"]] - positions[roles["right_hip"]]
    shoulders = positions[roles["left_shoulder"]] - positions[roles["right_shoulder"]]
    legs = [direction(positions[roles[f"{side}_ankle"]] - positions[roles[f"{side}_hip"]]) for side in SIDES]
    return bool(np.linalg.norm(middle("shoulder") - middle("hip")) > 1e-6 and leg_length(positions, roles) > 1e-6
                and all(float(leg @ up) < -0.75 for leg in legs)
                and abs(float(direction(lateral) @ up)) < 0.35
                and float(direction(lateral) @ direction(shoulders)) > 0.8)
