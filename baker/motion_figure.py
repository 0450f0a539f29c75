"""Posing an SMPL-X figure from foot tracks: two-bone inverse kinematics, arms, and the curves motions are made of.

SMPL-X joint order and axes: rest is a T-pose facing +Z, left at +X. Angles in radians, lengths in metres, times in
seconds. Letters: T frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from baker.body import FINGERS, JOINT_NAMES
from runtime import rotations
from runtime.types import Rig

SOLE_PER_ANKLE = 0.57
"""The sole lies this fraction of the ankle-to-ball height under the ball joint (the built-in body's proportions)."""
REACH = 0.992
"""Longest leg, as a fraction of the straight one: a locked knee snaps."""


@dataclass(frozen=True)
class Figure:
    """The measures of a rig that motions need, from its rest pose."""

    rest: np.ndarray
    """Joint positions [J 3]."""
    floor: float
    """Estimated height of the soles in the rest pose [m]."""

    def at(self, name: str) -> np.ndarray:
        """A joint's rest position [3]."""
        return self.rest[JOINT_NAMES.index(name)]

    @property
    def leg(self) -> float:
        """Length of the straight leg, hip to ankle [m]."""
        return float(np.linalg.norm(self.at("left_knee") - self.at("left_hip"))
                     + np.linalg.norm(self.at("left_ankle") - self.at("left_knee")))


@dataclass
class Pose:
    """A motion under construction: local rotations by joint name (quaternions [T 4]) and the pelvis path."""

    pelvis: np.ndarray
    """World positions [T 3]."""
    quats: dict[str, np.ndarray]

    def turn(self, name: str, rotation: np.ndarray) -> None:
        """Apply `rotation` [T 4] after (outside of) what the joint has."""
        before = self.quats.get(name)
        self.quats[name] = rotation if before is None else rotations.multiply(rotation, before)


@dataclass(frozen=True)
class FootTrack:
    """Where one foot goes."""

    ball: np.ndarray
    """World position [T 3] of the flat foot's point under the ball joint."""
    yaw: np.ndarray
    """Heading [T]."""
    pitch: np.ndarray
    """Toe-up angle [T]; the foot turns about its heel when positive and about its ball when negative."""
    toe_flat: np.ndarray
    """How much [T, 0..1] the toes stay level while the heel rises."""


def measure(rig: Rig) -> Figure:
    """A rig's rest joints and the floor under its feet."""
    rest = rig.T_world_joint_rest[:, :3, 3].astype(np.float64)
    ankle, ball = rest[JOINT_NAMES.index("left_ankle"), 1], rest[JOINT_NAMES.index("left_foot"), 1]
    return Figure(rest=rest, floor=float(ball - SOLE_PER_ANKLE * (ankle - ball)))


def set_arm(pose: Pose, side: str, *, lower: np.ndarray | float, swing: np.ndarray, bend: np.ndarray,
         outward: float) -> None:
    """One arm: `lower` from the T-pose down to the side, `swing` backward (forward is negative), elbow `bend`."""
    s = 1.0 if side == "left" else -1.0
    frames = len(swing)
    lower = np.broadcast_to(np.asarray(lower, float), (frames,))
    # A third of the way down, at most, is the collar bone's: LBS shoulders keep their shape so.
    collar = np.clip(0.12 * lower, 0, 0.15)
    pose.turn(f"{side}_collar", about("z", -s * collar))
    pose.turn(f"{side}_shoulder", about("z", -s * (lower - collar)))
    pose.turn(f"{side}_shoulder", about("x", swing))
    if outward:
        pose.turn(f"{side}_shoulder", about("y", np.full(frames, s * outward)))
    pose.turn(f"{side}_elbow", about("y", -s * np.broadcast_to(bend, (frames,))))
    pose.turn(f"{side}_wrist", about("z", np.full(frames, -s * 0.08)))
    for finger in FINGERS:
        for i, curl in zip((1, 2, 3), (0.10, 0.15, 0.10) if finger == "thumb" else (0.30, 0.35, 0.22), strict=True):
            pose.turn(f"{side}_{finger}{i}", about("z", np.full(frames, -s * curl)))


def set_legs(pose: Pose, figure: Figure, feet: dict[str, FootTrack]) -> None:
    """Turn hips, knees, ankles and toes so that the feet follow their tracks; lowers the pelvis where a planted or
    swinging foot would be out of reach."""
    pelvis_turn = rotations.to_matrix(pose.quats["pelvis"])
    ankles = {side: _ankle_targets(figure, side, track) for side, track in feet.items()}
    limit = np.full(len(pose.pelvis), np.inf)
    for side, (ankle, _) in ankles.items():
        hip = np.einsum("tij,j->ti", pelvis_turn, figure.at(f"{side}_hip") - figure.rest[0])
        across = ankle[:, [0, 2]] - pose.pelvis[:, [0, 2]] - hip[:, [0, 2]]
        reach = np.maximum((REACH * figure.leg) ** 2 - (across**2).sum(1), 0.05)
        limit = np.minimum(limit, ankle[:, 1] + np.sqrt(reach) - hip[:, 1])
    pose.pelvis[:, 1] = _soft_minimum(pose.pelvis[:, 1], limit)
    for side, (ankle, foot_turn) in ankles.items():
        hip = pose.pelvis + np.einsum("tij,j->ti", pelvis_turn, figure.at(f"{side}_hip") - figure.rest[0])
        toward = pelvis_turn + foot_turn
        hip_turn, knee_angle = _two_bones(figure, side, ankle - hip, lateral=toward[:, :, 0])
        knee_turn = hip_turn @ rotations.to_matrix(about("x", knee_angle))
        transposed = np.swapaxes
        pose.turn(f"{side}_hip", rotations.from_matrix(transposed(pelvis_turn, 1, 2) @ hip_turn))
        pose.turn(f"{side}_knee", about("x", knee_angle))
        pose.turn(f"{side}_ankle", rotations.from_matrix(transposed(knee_turn, 1, 2) @ foot_turn))
        track = feet[side]
        pose.turn(f"{side}_foot", about("x", np.minimum(track.pitch, 0) * track.toe_flat))


def _ankle_targets(figure: Figure, side: str, track: FootTrack) -> tuple[np.ndarray, np.ndarray]:
    """World position of the ankle [T 3] and rotation of the foot [T 3 3] along a track."""
    ankle, ball = figure.at(f"{side}_ankle"), figure.at(f"{side}_foot")
    under_ball = np.array([ball[0], figure.floor, ball[2]])
    # The heel's underside is behind the ankle by about a third of the foot's ankle-to-ball length.
    under_heel = np.array([ankle[0], figure.floor, ankle[2] - 0.33 * (ball[2] - ankle[2])])
    yaw = rotations.to_matrix(about("y", track.yaw))
    foot_turn = yaw @ rotations.to_matrix(about("x", -track.pitch))
    heel_world = track.ball + np.einsum("tij,j->ti", yaw, under_heel - under_ball)
    about_ball = track.ball + np.einsum("tij,j->ti", foot_turn, ankle - under_ball)
    about_heel = heel_world + np.einsum("tij,j->ti", foot_turn, ankle - under_heel)
    return np.where((track.pitch > 0)[:, None], about_heel, about_ball), foot_turn


def _two_bones(figure: Figure, side: str, goal: np.ndarray, *, lateral: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World rotation of the hip [T 3 3] and flexion of the knee [T] that bring the ankle to `goal` from the hip.

    The knee turns about the leg's own x axis: |a + Rx(k) b| = |goal| for thigh a and shank b, a cosine in k.
    `lateral` [T 3] is where that axis should point.
    """
    a = figure.at(f"{side}_knee") - figure.at(f"{side}_hip")
    b = figure.at(f"{side}_ankle") - figure.at(f"{side}_knee")
    squared = (goal**2).sum(1)
    cosine, sine = a[1] * b[1] + a[2] * b[2], a[2] * b[1] - a[1] * b[2]
    level = 0.5 * (squared - a @ a - b @ b) - a[0] * b[0]
    angle = np.arctan2(sine, cosine) + np.arccos(np.clip(level / np.hypot(cosine, sine), -1, 1))
    straight = a + np.einsum("tij,j->ti", rotations.to_matrix(about("x", angle)), b)
    source = _frame(straight, np.broadcast_to(np.array([1.0, 0, 0]), goal.shape))
    return _frame(goal, lateral) @ np.swapaxes(source, 1, 2), angle


def _frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Orthonormal frames [T 3 3] whose first column is along `first` and second nearest to `second`."""
    x = first / np.linalg.norm(first, axis=1, keepdims=True)
    y = second - (second * x).sum(1, keepdims=True) * x
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=2)


def about(axis: Literal["x", "y", "z"], angles: np.ndarray) -> np.ndarray:
    """Quaternions [T 4] of turns about a coordinate axis."""
    rotvecs = np.zeros((*np.shape(angles), 3))
    rotvecs[..., "xyz".index(axis)] = angles
    return rotations.from_rotvec(rotvecs)


def euler(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Quaternions [T 4] of Ry @ Rx @ Rz."""
    return rotations.multiply(about("y", np.asarray(y)), rotations.multiply(about("x", np.asarray(x)),
                                                                            about("z", np.asarray(z))))


def ease(t: np.ndarray) -> np.ndarray:
    """0 to 1 with zero velocity and acceleration at both ends."""
    return t * t * t * (t * (6 * t - 15) + 10)


def keys(times: np.ndarray, keys: list[tuple[float, float]]) -> np.ndarray:
    """Eased interpolation between (time, value) keys in time order."""
    value = np.full(len(times), keys[0][1], float)
    for (t0, v0), (t1, v1) in pairwise(keys):
        part = np.clip((times - t0) / max(t1 - t0, 1e-6), 0, 1)
        value = np.where(times >= t0, v0 + (v1 - v0) * part * part * (3 - 2 * part), value)
    return value


def soften(values: np.ndarray, width: float, times: np.ndarray) -> np.ndarray:
    """Values smoothed by a Gaussian of `width` seconds."""
    kernel = np.exp(-0.5 * ((times[:, None] - times[None]) / width) ** 2)
    return (kernel / kernel.sum(1, keepdims=True)) @ values


def _soft_minimum(values: np.ndarray, limit: np.ndarray, *, softness: float = 0.006) -> np.ndarray:
    """Below both, smoothly where they meet: -s log(exp(-a / s) + exp(-b / s))."""
    return -softness * np.logaddexp(-values / softness, -limit / softness)
