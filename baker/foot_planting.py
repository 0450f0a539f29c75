"""Feet that stand still while they stand: contacts, anchors, two-bone inverse kinematics on any rig.

A foot has two points, the ankle (heel) and the ball. In a step, what touches first is anchored; the ball takes over
when it comes down, so that heel strike, flat foot and push-off each stay put. Between steps the correction is blended.
World y-up, metres, seconds. Letters: T frames, J joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.ndimage import binary_closing, binary_opening, gaussian_filter1d, maximum_filter1d

from baker.least_turns import least_quats
from baker.motion_files.skeleton import rotate
from baker.roles import SIDES
from runtime import rotations
from runtime.types import Rig

CONTACT_SPEED = 0.30
"""A point of a standing foot is slower than this [m/s] for a leg of 0.85 m: a walking foot swings at 2 to 4 m/s."""
CONTACT_HEIGHT = 0.055
"""And at most this far [m] over the lowest it gets, for the same leg."""
SHORTEST_CONTACT = 0.1
"""Contacts shorter than this [s] are noise."""
REACH = 0.9995
"""Longest leg as a fraction of the straight one."""
MAX_DROP = 0.12
"""The pelvis is lowered by at most this [m] for feet out of reach, for the same leg."""

PELVIS_SMOOTHING = 0.2
"""The pelvis follows the feet's mean correction, smoothed over this time [s]."""


@dataclass(frozen=True)
class Step:
    """One foot on the ground."""

    side: str
    start: int
    stop: int
    """Frames start..stop-1."""


def place_root(turns: Float[np.ndarray, "T J 4"], rig: Rig, targets: Mapping[str, int],
               hips: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "T 3"]:
    """Root positions that put the middle of the hip joints at `hips`."""
    positions = joint_positions(turns, np.zeros((len(turns), 3)), rig)
    return hips - 0.5 * (positions[:, targets["left_hip"]] + positions[:, targets["right_hip"]])


def joint_positions(turns: Float[np.ndarray, "T J 4"], root: Float[np.ndarray, "T 3"],
                    rig: Rig) -> Float[np.ndarray, "T J 3"]:
    """World positions of joints with given world turns relative to rest."""
    rest = rig.T_world_joint_rest[:, :3, 3].astype(np.float64)
    positions = np.empty((len(turns), rig.joint_count, 3))
    for joint, parent in enumerate(rig.parents):
        positions[:, joint] = root if parent < 0 else (
            positions[:, parent] + rotate(turns[:, parent], rest[joint] - rest[parent]))
    return positions


def plant_feet(turns: Float[np.ndarray, "T J 4"], root: Float[np.ndarray, "T 3"], rig: Rig,
               targets: Mapping[str, int], *, fps: float,
               touching_of: Mapping[str, np.ndarray] | None = None) -> tuple[np.ndarray, list[Step], float, float]:
    """Turn hips and knees (`turns`, in place) so that standing feet do not slide.

    `touching_of` gives the contacts [T 2] of each side, where the performer's are known; else they are found in the
    avatar's own feet.

    Returns the root positions (lowered where a foot was out of reach), the steps, and the largest slide within a
    step before and after [m].
    """
    rest = rig.T_world_joint_rest[:, :3, 3].astype(np.float64)
    leg = _leg(rest, targets)
    positions = joint_positions(turns, root, rig)
    steps: list[Step] = []
    goals: dict[str, np.ndarray] = {}
    corrections: list[np.ndarray] = []
    before = 0.0
    points = {side: _foot_points(positions, targets, side) for side in SIDES}
    rests = {side: _foot_points(rest[None], targets, side)[0] for side in SIDES}
    # The floor is where soles are: a foot's points are over it as at rest.
    sole = min(float(rests[side][:, 1].min()) for side in SIDES)
    heights = {side: rests[side][:, 1] - sole for side in SIDES}
    if touching_of is None:
        touching_of = {side: contacts(points[side], heights[side], fps=fps, leg=leg) for side in SIDES}
    standing = np.concatenate([(points[side][..., 1] - heights[side])[touching_of[side]] for side in SIDES])
    floor = float(np.median(standing)) if len(standing) else 0.0
    for side in SIDES:
        touching = touching_of[side]
        anchored, found = _anchored(points[side], touching, heights[side], floor=floor, leg=leg)
        goals[side] = points[side][:, 0] + anchored
        corrections.append(anchored)
        steps += [Step(side, a, b) for a, b in found]
        before = max(before, slide(points[side], touching))
        points[side] = np.concatenate([touching[..., None], points[side]], axis=2)
    # What both feet need, the pelvis does: legs then keep their directions.
    shared = gaussian_filter1d(0.5 * (corrections[0] + corrections[1]), PELVIS_SMOOTHING * fps, axis=0, mode="nearest")
    root, positions = root + shared, positions + shared[:, None]
    root = _lowered(root, positions, goals, targets, leg=leg, fps=fps)
    positions = joint_positions(turns, root, rig)
    for side in SIDES:
        _bend_leg(turns, positions, goals[side], rest, targets, side)
    after = 0.0
    moved = joint_positions(turns, root, rig)
    for side in SIDES:
        after = max(after, slide(_foot_points(moved, targets, side), points[side][..., 0] > 0.5))
    return root, steps, before, after


def contacts(points: Float[np.ndarray, "T 2 3"], rest_heights: Float[np.ndarray, " 2"], *, fps: float,
             leg: float) -> np.ndarray:
    """Boolean [T 2]: ankle and ball of one foot on the ground: slow, and low."""
    if len(points) < 3:
        return np.zeros(points.shape[:2], bool)
    unit = leg / 0.85
    smooth = gaussian_filter1d(points, max(0.02 * fps, 0.3), axis=0)
    speed = np.linalg.norm(np.gradient(smooth, 1 / fps, axis=0), axis=2)
    # Heights over rest, so that an ankle on the ground is as low as a ball.
    height = points[..., 1] - rest_heights
    floor = np.percentile(height.min(1), 5)
    touching = (speed < CONTACT_SPEED * unit) & (height < floor + CONTACT_HEIGHT * unit)
    length = max(round(SHORTEST_CONTACT * fps), 1)
    pad = np.pad(touching, ((length, length), (0, 0)), mode="edge")
    line = np.ones((length, 1), bool)
    return binary_opening(binary_closing(pad, line), line)[length:-length]


def slide(points: Float[np.ndarray, "T 2 3"], touching: np.ndarray) -> float:
    """The farthest [m] a touching point gets, along the ground, from where it touched down; the ankle counts only
    while the ball is in the air."""
    worst = 0.0
    alone = touching.copy()
    alone[:, 0] &= ~touching[:, 1]
    for k in (0, 1):
        for a, b in runs(alone[:, k]):
            path = points[a:b, k][:, [0, 2]]
            worst = max(worst, float(np.linalg.norm(path - path[0], axis=1).max()))
    return worst


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _foot_points(positions: np.ndarray, targets: Mapping[str, int], side: str) -> np.ndarray:
    """Ankle and ball [T 2 3]; a rig without toes has the ankle twice."""
    ankle = targets[f"{side}_ankle"]
    return positions[:, [ankle, targets.get(f"{side}_foot", ankle)]]


def _anchored(points: np.ndarray, touching: np.ndarray, rest_heights: np.ndarray, *, floor: float,
              leg: float) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Corrections [T 3] of the foot's place, constant anchors in each step, blended between; and the steps."""
    unit = leg / 0.85
    found = runs(touching.any(1))
    correction = np.full(points[:, 0].shape, np.nan)
    height = points[..., 1] - rest_heights
    for a, b in found:
        offset = None
        start = a
        while start < b:
            k = 1 if touching[start, 1] else 0
            stop = start + 1
            while stop < b and (1 if touching[stop, 1] else 0) == k and touching[stop, k] == touching[start, k]:
                stop += 1
            path = points[start:stop, k]
            if offset is None:
                anchor = np.median(path, axis=0)
                # On a level floor the foot stands on it; on a stair, where it is.
                if abs(anchor[1] - rest_heights[k] - floor) < 0.035 * unit:
                    anchor[1] = rest_heights[k] + _near(anchor[1] - rest_heights[k], floor, unit)
            else:
                anchor = path[0] + offset
                if k == 1 and abs(height[start, 1] - floor) < 0.06 * unit:
                    anchor[1] = rest_heights[1] + _near(anchor[1] - rest_heights[1], floor, unit)
            correction[start:stop] = anchor - path
            offset = correction[stop - 1]
            start = stop
    if not found:
        return np.zeros_like(points[:, 0]), found
    return _blended(correction), found


def _near(height: float, floor: float, unit: float) -> float:
    """The height brought to within 6 mm of the floor: less is not seen, and a straight leg that is 3 mm shorter bends
    by 7 degrees."""
    return float(np.clip(height, floor - 0.006 * unit, floor + 0.006 * unit))


def _blended(correction: np.ndarray) -> np.ndarray:
    """NaN gaps filled: an eased way from one step's correction to the next; constant before the first and after
    the last."""
    known = np.flatnonzero(~np.isnan(correction[:, 0]))
    filled = correction.copy()
    filled[: known[0]], filled[known[-1] + 1:] = correction[known[0]], correction[known[-1]]
    for a, b in pairwise(known):
        if b - a > 1:
            t = np.arange(1, b - a) / (b - a)
            ease = (t * t * (3 - 2 * t))[:, None]
            filled[a + 1:b] = (1 - ease) * correction[a] + ease * correction[b]
    return filled


def _lowered(root: np.ndarray, positions: np.ndarray, goals: Mapping[str, np.ndarray], targets: Mapping[str, int], *,
             leg: float, fps: float) -> np.ndarray:
    """The root lowered, smoothly in time, where a leg could not reach its goal."""
    need = np.zeros(len(root))
    for side in SIDES:
        hip, knee, ankle = (positions[:, targets[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
        reach = REACH * (np.linalg.norm(knee - hip, axis=1) + np.linalg.norm(ankle - knee, axis=1))
        away = goals[side] - hip
        across = (away[:, [0, 2]] ** 2).sum(1)
        lowest = -np.sqrt(np.maximum(reach**2 - across, 0.0))
        need = np.maximum(need, np.where(away[:, 1] < lowest, lowest - away[:, 1], 0.0))
    need = np.minimum(need, MAX_DROP * leg / 0.85)
    if need.max() <= 0:
        return root
    width = max(round(0.12 * fps), 1)
    drop = gaussian_filter1d(maximum_filter1d(need, 2 * width + 1, mode="nearest"), 0.5 * width, mode="nearest")
    lowered = root.copy()
    lowered[:, 1] -= np.maximum(drop, need)
    return lowered


def _bend_leg(turns: np.ndarray, positions: np.ndarray, goal: np.ndarray, rest: np.ndarray,
              targets: Mapping[str, int], side: str) -> None:
    """Turn hip and knee (in place) so that the ankle is at `goal` [T 3]; the knee keeps its plane, the foot its turn.

    The knee lies on the circle both bones allow: along the hip-ankle line by the law of cosines, away from it toward
    where it was, or forward where the leg was straight.
    """
    hip_j, knee_j, ankle_j = (targets[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
    hip, knee, ankle = positions[:, hip_j], positions[:, knee_j], positions[:, ankle_j]
    upper = np.linalg.norm(knee - hip, axis=1, keepdims=True)
    lower = np.linalg.norm(ankle - knee, axis=1, keepdims=True)
    away = goal - hip
    far = np.linalg.norm(away, axis=1, keepdims=True)
    line = away / np.maximum(far, 1e-9)
    distance = np.clip(far, np.abs(upper - lower) * 1.001 + 1e-6, (upper + lower) * 0.99998)
    old = (ankle - hip) / np.maximum(np.linalg.norm(ankle - hip, axis=1, keepdims=True), 1e-9)
    carried = rotate(least_quats(old, line), knee - hip)
    out = carried - (carried * line).sum(1, keepdims=True) * line
    pelvis_forward = rotate(turns[:, targets["pelvis"]], np.array([0.0, 0.0, 1.0]))
    forward = pelvis_forward - (pelvis_forward * line).sum(1, keepdims=True) * line
    out = out + 0.02 * upper * forward
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    new_knee = hip + along * line + np.sqrt(np.maximum(upper**2 - along**2, 0)) * out
    new_ankle = hip + distance * line
    # The change of direction of each bone turns the joint at its start.
    turns[:, hip_j] = rotations.multiply(least_quats(knee - hip, new_knee - hip), turns[:, hip_j])
    shin = rotate(turns[:, knee_j], rest[ankle_j] - rest[knee_j])
    turns[:, knee_j] = rotations.multiply(least_quats(shin, new_ankle - new_knee), turns[:, knee_j])


def _leg(rest: np.ndarray, targets: Mapping[str, int]) -> float:
    hip, knee, ankle = (rest[targets[f"left_{name}"]] for name in ("hip", "knee", "ankle"))
    return float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))
