"""Procedural motions: foot steps and a pelvis path are laid down first, the legs follow by inverse kinematics.

So a standing foot does not slide, by construction. SMPL-X joint order and axes: rest is a T-pose facing +Z, left at
+X. Angles in radians, lengths in metres, times in seconds. Letters: T frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from baker.body import FINGERS, JOINT_NAMES
from runtime import rotations
from runtime.errors import InputError
from runtime.types import Motion, Rig

ProceduralName = Literal["walk", "run", "twirl", "jump"]
SOLE_PER_ANKLE = 0.57
"""The sole lies this fraction of the ankle-to-ball height under the ball joint (the built-in body's proportions)."""
REACH = 0.992
"""Longest leg, as a fraction of the straight one: a locked knee snaps."""
GRAVITY = 9.81


@dataclass(frozen=True)
class Gait:
    """What a walk or a run looks like."""

    speed: float
    """Forward [m/s]."""
    cadence: float
    """Cycles (two steps) a second."""
    duty: float
    """Part of the cycle a foot stands; under 0.5 there is flight."""
    lift: float
    """Height of the ankle in mid swing [m]."""
    crouch: float
    """Lowering of the pelvis from standing [m]."""
    bounce: float
    """Vertical amplitude of the pelvis [m]."""
    sway: float
    """Sideways amplitude of the pelvis [m]."""
    lean: float
    """Forward lean of the trunk."""
    twist: float
    """Yaw amplitude of the pelvis; the chest turns the other way."""
    arm_swing: float
    """Amplitude at the shoulder."""
    elbow: float
    """Mean flexion."""
    step_width: float
    """Half the distance between the feet [m]."""
    heel: float
    """Toe-up angle when the heel strikes."""
    push: float
    """Toe-down angle when the toe leaves."""


WALK = Gait(speed=1.00, cadence=0.92, duty=0.61, lift=0.07, crouch=0.028, bounce=0.016, sway=0.022, lean=0.03,
            twist=0.10, arm_swing=0.42, elbow=0.35, step_width=0.075, heel=0.30, push=0.75)
RUN = Gait(speed=2.7, cadence=1.35, duty=0.36, lift=0.30, crouch=0.055, bounce=0.040, sway=0.012, lean=0.16,
           twist=0.16, arm_swing=0.75, elbow=1.55, step_width=0.05, heel=0.10, push=0.70)


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


def procedural(name: ProceduralName, rig: Rig, *, seconds: float = 3.0, fps: float = 30.0,
               variation_seed: int | None = None) -> Motion:
    """A motion of `round(seconds * fps) + 1` frames for an SMPL-X rig; the pose of walk and run closes.

    `variation_seed` varies tempo, amplitude and style; None is the plain version. Raises `InputError` for an
    unknown name, a rig without SMPL-X's joints, or a length outside 1..60 s.
    """
    makers: dict[str, Callable[[Figure, np.ndarray, np.random.Generator | None], Pose]] = {
        "walk": _walk, "run": _run, "twirl": _twirl, "jump": _jump}
    if name not in makers:
        raise InputError(f"motion {name!r} is not known; use one of {', '.join(makers)}")
    if tuple(rig.joint_names) != JOINT_NAMES:
        raise InputError(f"motion {name!r}: needs an avatar with SMPL-X's {len(JOINT_NAMES)} joints in their order, "
                         f"this one has {rig.joint_count}; give a motion file of the same skeleton")
    if not 1.0 <= seconds <= 60.0 or not 1.0 <= fps <= 240.0:
        raise InputError(f"motion {name!r}: {seconds} s at {fps} fps; use 1 to 60 s at 1 to 240 fps")
    frames = round(seconds * fps) + 1
    rng = None if variation_seed is None else np.random.Generator(np.random.Philox([variation_seed, 21]))
    pose = makers[name](measure(rig), np.arange(frames) / fps, rng)
    quats = np.zeros((frames, len(JOINT_NAMES), 4))
    quats[..., 0] = 1
    for joint, rotation in pose.quats.items():
        quats[:, JOINT_NAMES.index(joint)] = rotation
    rest = rig.T_world_joint_rest[0, :3, 3]
    return Motion(fps=fps, root_translations=(pose.pelvis - rest).astype(np.float32),
                  quats_wxyz=_continuous(quats).astype(np.float32), joint_names=JOINT_NAMES)


def measure(rig: Rig) -> Figure:
    """A rig's rest joints and the floor under its feet."""
    rest = rig.T_world_joint_rest[:, :3, 3].astype(np.float64)
    ankle, ball = rest[JOINT_NAMES.index("left_ankle"), 1], rest[JOINT_NAMES.index("left_foot"), 1]
    return Figure(rest=rest, floor=float(ball - SOLE_PER_ANKLE * (ankle - ball)))


# -- walk and run -------------------------------------------------------------------------------------------------


def _walk(figure: Figure, times: np.ndarray, rng: np.random.Generator | None) -> Pose:
    return _gait(figure, times, _vary(WALK, rng))


def _run(figure: Figure, times: np.ndarray, rng: np.random.Generator | None) -> Pose:
    return _gait(figure, times, _vary(RUN, rng))


def _vary(gait: Gait, rng: np.random.Generator | None) -> Gait:
    if rng is None:
        return gait
    pace = rng.uniform(0.85, 1.15)
    return replace(gait, speed=gait.speed * pace * rng.uniform(0.85, 1.1), cadence=gait.cadence * pace,
                   lift=gait.lift * rng.uniform(0.8, 1.3), bounce=gait.bounce * rng.uniform(0.7, 1.4),
                   sway=gait.sway * rng.uniform(0.5, 1.6), lean=gait.lean + rng.uniform(-0.03, 0.06),
                   twist=gait.twist * rng.uniform(0.6, 1.6), arm_swing=gait.arm_swing * rng.uniform(0.5, 1.4),
                   elbow=gait.elbow * rng.uniform(0.8, 1.2), step_width=gait.step_width * rng.uniform(0.7, 1.3))


def _gait(figure: Figure, times: np.ndarray, gait: Gait) -> Pose:
    """A closed cycle of steps: a whole number of cycles in the clip, at the nearest cadence that allows it."""
    cycles = max(1, round(gait.cadence * times[-1]))
    phase = times * cycles / times[-1]
    scale = figure.leg / 0.79
    stride = scale * gait.speed / gait.cadence
    turn = 2 * np.pi * phase
    # The left foot strikes at phase 0. In its stance the pelvis is over it at a quarter of a cycle.
    feet = {side: _gait_foot(figure, phase + shift, gait, stride, x * gait.step_width * scale, shift)
            for side, x, shift in (("left", 1.0, 0.0), ("right", -1.0, 0.5))}
    standing = -figure.floor
    # A walker is highest over the standing foot (an inverted pendulum), a runner lowest.
    sign = 1.0 if gait.duty > 0.5 else -1.0
    height = standing - gait.crouch * scale - sign * gait.bounce * scale * np.cos(2 * turn - 2 * np.pi * gait.duty)
    pelvis = np.stack([gait.sway * scale * np.cos(turn - np.pi * gait.duty), height, stride * phase], 1)
    pose = Pose(pelvis, {})
    pose.turn("pelvis", _about("z", 0.05 * sign * np.cos(turn - np.pi * gait.duty)))
    pose.turn("pelvis", _about("x", 0.5 * gait.lean * np.ones_like(turn)))
    # The side whose foot strikes is forward: at phase 0 the left hip is, a turn to the right.
    pose.turn("pelvis", _about("y", -gait.twist * np.cos(turn)))
    for part, share in (("spine1", 0.5), ("spine2", 0.6), ("spine3", 0.6)):
        pose.turn(part, _euler(0.2 * gait.lean + 0 * turn, gait.twist * share * 1.1 * np.cos(turn),
                               -0.02 * sign * np.cos(turn - np.pi * gait.duty)))
    pose.turn("neck", _euler(-0.3 * gait.lean + 0 * turn, -0.35 * gait.twist * np.cos(turn), 0 * turn))
    pose.turn("head", _euler(-0.3 * gait.lean + 0.02 * np.cos(2 * turn), -0.35 * gait.twist * np.cos(turn), 0 * turn))
    for side, lag in (("left", 0.0), ("right", np.pi)):
        # An arm goes with the other side's leg: the left one is back when the left heel strikes.
        swing = gait.arm_swing * np.cos(turn - 0.15 + lag) - 0.1 * gait.arm_swing
        bend = gait.elbow + 0.45 * gait.arm_swing * np.clip(-np.cos(turn - 0.5 + lag), -0.4, 1)
        _arm(pose, side, lower=1.22, swing=swing, bend=bend, outward=0.0)
    _legs(pose, figure, feet)
    return pose


def _gait_foot(figure: Figure, phase: np.ndarray, gait: Gait, stride: float, x: float, shift: float) -> FootTrack:
    """One foot of a gait: it strikes when `phase` is a whole number, half a stride's stance ahead of the pelvis."""
    cycle = np.floor(phase)
    p = phase - cycle
    # The pelvis is at stride * (phase - shift); mid stance is at duty / 2.
    strike = stride * (cycle + 0.5 * gait.duty - shift)
    swing = np.clip((p - gait.duty) / (1 - gait.duty), 0, 1)
    travel = _ease(swing)
    ball = np.zeros((len(phase), 3))
    ball[:, 0] = x
    ball[:, 2] = strike + stride * travel + figure.at("left_foot")[2]
    rise = np.sin(np.pi * swing ** 0.85) ** 1.5
    ball[:, 1] = gait.lift * rise
    strike_pitch = gait.heel * (1 - _ease(np.clip(p / 0.12, 0, 1)))
    push = gait.push * _ease(np.clip((p - 0.55 * gait.duty) / (0.45 * gait.duty), 0, 1))
    back = (1 - _ease(np.clip(swing / 0.75, 0, 1)))
    forward = gait.heel * _ease(np.clip((swing - 0.55) / 0.45, 0, 1))
    pitch = np.where(p < gait.duty, strike_pitch - push, -gait.push * back + forward)
    return FootTrack(ball=ball, yaw=0.06 * np.sign(x) + 0 * p, pitch=pitch,
                     toe_flat=np.where(p < gait.duty, 0.8, 0.8 * (1 - _ease(np.clip(swing / 0.35, 0, 1)))))


# -- twirl and jump -----------------------------------------------------------------------------------------------


def _twirl(figure: Figure, times: np.ndarray, rng: np.random.Generator | None) -> Pose:
    """One to two turns on the spot in small pivot steps, arms lifting with the spin."""
    draw = np.full(6, 0.5) if rng is None else rng.random(6)
    direction = 1.0 if draw[0] >= 0.5 else -1.0
    turns = 2.0 if rng is None else (1.0, 1.5, 2.0)[int(3 * draw[1] * 0.999)]
    duration = times[-1]
    u = times / duration
    wind = -0.30 * np.sin(np.pi * np.clip(u / 0.16, 0, 1)) ** 2

    def yaw_at(place: np.ndarray) -> np.ndarray:
        t = np.clip((place - 0.10) / 0.72, 0, 1)
        return direction * turns * 2 * np.pi * (t * t * t * (t * (6 * t - 15) + 10))

    yaw = yaw_at(u) + direction * wind
    spin = np.gradient(yaw, times) / (direction * turns * 2 * np.pi / (0.72 * duration) * 1.875)
    spin = np.clip(_soften(spin, 0.10, times), 0, 1)
    feet = {side: _pivot_foot(figure, u, yaw_at, side=side, pairs=round(5 * turns), lift=0.05 + 0.03 * draw[2])
            for side in ("left", "right")}
    rise = 0.012 * spin - 0.03 * np.sin(np.pi * np.clip(u / 0.2, 0, 1)) ** 2 - 0.03 * np.sin(
        np.pi * np.clip((u - 0.78) / 0.2, 0, 1)) ** 2
    circle = 0.025 * spin
    pelvis = np.stack([circle * np.sin(yaw), -figure.floor - 0.035 + rise, circle * np.cos(yaw) - circle], 1)
    pose = Pose(pelvis, {})
    pose.turn("pelvis", _about("y", yaw))
    lead = 0.18 * direction * spin
    for part in ("spine1", "spine2", "spine3"):
        pose.turn(part, _euler(0.01 - 0.03 * spin, 0.4 * lead + 0.25 * direction * wind, 0.02 * direction * spin))
    pose.turn("neck", _euler(-0.04 * spin, lead, 0 * u))
    pose.turn("head", _euler(-0.04 * spin, lead, -0.05 * direction * spin))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        lifted = (0.80 + 0.25 * draw[3 if sign > 0 else 4]) * spin
        _arm(pose, side, lower=1.24 - lifted, swing=-0.12 - 0.25 * spin - 0.2 * sign * direction * spin,
             bend=0.30 + 0.25 * (1 - spin) * 0.5 + 0.25 * spin, outward=0.0)
    _legs(pose, figure, feet)
    return pose


def _pivot_foot(figure: Figure, u: np.ndarray, yaw_at: Callable[[np.ndarray], np.ndarray], *, side: str, pairs: int,
                lift: float) -> FootTrack:
    """A foot that stands while the body turns over it and steps round to where the body will be."""
    x = 0.085 if side == "left" else -0.085
    # The feet alternate: each steps in its half of every pair of steps.
    edges = np.linspace(0.08, 0.86, pairs + 1)
    half = 0.5 * (edges[1] - edges[0])
    starts = edges[:-1] + (0.0 if side == "left" else half)
    # The last step ends square.
    over = np.append(np.minimum(starts[:-1] + 1.5 * half, 1.0), 1.0)
    planted = np.concatenate([[0.0], yaw_at(over)])
    yaw, height = np.full(len(u), planted[0]), np.zeros(len(u))
    for i, start in enumerate(starts):
        s = np.clip((u - start) / half, 0, 1)
        yaw = np.where(u >= start, planted[i] + (planted[i + 1] - planted[i]) * _ease(s), yaw)
        step = min(1.0, abs(planted[i + 1] - planted[i]) / 0.35)
        height = height + lift * step * np.sin(np.pi * s) ** 2
    place = np.array([x, 0.0, 0.35 * figure.at("left_foot")[2]])
    offset = rotations.to_matrix(_about("y", yaw)) @ place
    offset[:, 1] = height
    return FootTrack(ball=offset, yaw=yaw + np.sign(x) * 0.10, pitch=-3.0 * height, toe_flat=np.zeros(len(u)))


def _jump(figure: Figure, times: np.ndarray, rng: np.random.Generator | None) -> Pose:
    """Stand, crouch, leap, land in a crouch, stand."""
    draw = ([0.5] * 5) if rng is None else rng.random(5).tolist()
    end = float(times[-1])
    height = 0.24 + 0.16 * draw[0]
    depth = 0.20 + 0.10 * draw[1]
    flight = 2 * math.sqrt(2 * height / GRAVITY)
    forward = 0.0 if rng is None else 0.5 * (draw[2] - 0.3)
    stand = -figure.floor
    # Key times: crouched lowest, take-off, landing, landing crouch, upright. Long clips only wait longer at the ends.
    take_off = 0.5 * (end - flight) - 0.10 + 0.1 * draw[3]
    low, land = take_off - 0.24, take_off + flight
    absorbed, upright = land + 0.20, land + 0.85
    start = max(0.05, low - 0.60)
    toes = 0.055
    drop = _keys(times, [(0.0, 0.004), (start, 0.004), (low, depth), (take_off, -toes), (land, -0.02),
                         (absorbed, 0.75 * depth), (upright, 0.004), (end + 1, 0.004)])
    air = np.clip((times - take_off) / flight, 0, 1)
    arc = 4 * height * air * (1 - air)
    z = forward * air
    crouch = np.clip(drop / depth, 0, 1)
    # Bending at the hip keeps the weight over the feet: the pelvis goes back as the trunk leans.
    pelvis = np.stack([0 * times, stand - drop + arc, z - 0.30 * depth * crouch], 1)
    pose = Pose(pelvis, {})
    pose.turn("pelvis", _about("x", 0.50 * crouch))
    for part in ("spine1", "spine2", "spine3"):
        pose.turn(part, _euler(0.16 * crouch - 0.05 * arc / height, 0 * times, 0 * times))
    pose.turn("neck", _euler(-0.22 * crouch, 0 * times, 0 * times))
    pose.turn("head", _euler(-0.22 * crouch - 0.1 * arc / height, 0 * times, 0 * times))
    reach = 2.2 + 0.5 * draw[4]
    swing = _keys(times, [(0.0, 0.05), (start, 0.05), (low - 0.05, 0.85), (take_off + 0.05, -reach),
                          (take_off + 0.6 * flight, -0.9 * reach), (land, -1.3), (absorbed, -0.5), (upright, 0.05),
                          (end + 1, 0.05)])
    for side in ("left", "right"):
        _arm(pose, side, lower=1.22 - 0.25 * np.clip(-swing / reach, 0, 1), swing=swing,
             bend=0.25 + 0.45 * crouch, outward=0.0)
    toe_down = _keys(times, [(0.0, 0.0), (low + 0.08, 0.0), (take_off, 0.55), (take_off + 0.5 * flight, 0.60),
                             (land, 0.30), (land + 0.08, 0.0), (end + 1, 0.0)])
    tuck = 0.10 * np.sin(np.pi * air) ** 2
    feet = {side: _jump_foot(figure, x, arc=arc, tuck=tuck, z=z, toe_down=toe_down, air=air)
            for side, x in (("left", 0.09), ("right", -0.09))}
    _legs(pose, figure, feet)
    return pose


def _jump_foot(figure: Figure, x: float, *, arc: np.ndarray, tuck: np.ndarray, z: np.ndarray, toe_down: np.ndarray,
               air: np.ndarray) -> FootTrack:
    ball = np.stack([np.full(len(arc), x), arc + tuck, z - 0.02 + 0.6 * figure.at("left_foot")[2] - 0.6 * tuck], 1)
    standing = 1 - _ease(np.clip(air / 0.25, 0, 1)) + _ease(np.clip((air - 0.8) / 0.2, 0, 1))
    return FootTrack(ball=ball, yaw=np.full(len(arc), 0.12 * np.sign(x)), pitch=-toe_down, toe_flat=0.8 * standing)


# -- limbs --------------------------------------------------------------------------------------------------------


def _arm(pose: Pose, side: str, *, lower: np.ndarray | float, swing: np.ndarray, bend: np.ndarray,
         outward: float) -> None:
    """One arm: `lower` from the T-pose down to the side, `swing` backward (forward is negative), elbow `bend`."""
    s = 1.0 if side == "left" else -1.0
    frames = len(swing)
    lower = np.broadcast_to(np.asarray(lower, float), (frames,))
    # A third of the way down, at most, is the collar bone's: LBS shoulders keep their shape so.
    collar = np.clip(0.12 * lower, 0, 0.15)
    pose.turn(f"{side}_collar", _about("z", -s * collar))
    pose.turn(f"{side}_shoulder", _about("z", -s * (lower - collar)))
    pose.turn(f"{side}_shoulder", _about("x", swing))
    if outward:
        pose.turn(f"{side}_shoulder", _about("y", np.full(frames, s * outward)))
    pose.turn(f"{side}_elbow", _about("y", -s * np.broadcast_to(bend, (frames,))))
    pose.turn(f"{side}_wrist", _about("z", np.full(frames, -s * 0.08)))
    for finger in FINGERS:
        for i, curl in zip((1, 2, 3), (0.10, 0.15, 0.10) if finger == "thumb" else (0.30, 0.35, 0.22), strict=True):
            pose.turn(f"{side}_{finger}{i}", _about("z", np.full(frames, -s * curl)))


def _legs(pose: Pose, figure: Figure, feet: dict[str, FootTrack]) -> None:
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
        knee_turn = hip_turn @ rotations.to_matrix(_about("x", knee_angle))
        transposed = np.swapaxes
        pose.turn(f"{side}_hip", rotations.from_matrix(transposed(pelvis_turn, 1, 2) @ hip_turn))
        pose.turn(f"{side}_knee", _about("x", knee_angle))
        pose.turn(f"{side}_ankle", rotations.from_matrix(transposed(knee_turn, 1, 2) @ foot_turn))
        track = feet[side]
        pose.turn(f"{side}_foot", _about("x", np.minimum(track.pitch, 0) * track.toe_flat))


def _ankle_targets(figure: Figure, side: str, track: FootTrack) -> tuple[np.ndarray, np.ndarray]:
    """World position of the ankle [T 3] and rotation of the foot [T 3 3] along a track."""
    ankle, ball = figure.at(f"{side}_ankle"), figure.at(f"{side}_foot")
    under_ball = np.array([ball[0], figure.floor, ball[2]])
    # The heel's underside is behind the ankle by about a third of the foot's ankle-to-ball length.
    under_heel = np.array([ankle[0], figure.floor, ankle[2] - 0.33 * (ball[2] - ankle[2])])
    yaw = rotations.to_matrix(_about("y", track.yaw))
    foot_turn = yaw @ rotations.to_matrix(_about("x", -track.pitch))
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
    straight = a + np.einsum("tij,j->ti", rotations.to_matrix(_about("x", angle)), b)
    source = _frame(straight, np.broadcast_to(np.array([1.0, 0, 0]), goal.shape))
    return _frame(goal, lateral) @ np.swapaxes(source, 1, 2), angle


def _frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Orthonormal frames [T 3 3] whose first column is along `first` and second nearest to `second`."""
    x = first / np.linalg.norm(first, axis=1, keepdims=True)
    y = second - (second * x).sum(1, keepdims=True) * x
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=2)


# -- curves -------------------------------------------------------------------------------------------------------


def _about(axis: Literal["x", "y", "z"], angles: np.ndarray) -> np.ndarray:
    """Quaternions [T 4] of turns about a coordinate axis."""
    rotvecs = np.zeros((*np.shape(angles), 3))
    rotvecs[..., "xyz".index(axis)] = angles
    return rotations.from_rotvec(rotvecs)


def _euler(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Quaternions [T 4] of Ry @ Rx @ Rz."""
    return rotations.multiply(_about("y", np.asarray(y)), rotations.multiply(_about("x", np.asarray(x)),
                                                                            _about("z", np.asarray(z))))


def _ease(t: np.ndarray) -> np.ndarray:
    """0 to 1 with zero velocity and acceleration at both ends."""
    return t * t * t * (t * (6 * t - 15) + 10)


def _keys(times: np.ndarray, keys: list[tuple[float, float]]) -> np.ndarray:
    """Eased interpolation between (time, value) keys in time order."""
    value = np.full(len(times), keys[0][1], float)
    for (t0, v0), (t1, v1) in pairwise(keys):
        part = np.clip((times - t0) / max(t1 - t0, 1e-6), 0, 1)
        value = np.where(times >= t0, v0 + (v1 - v0) * part * part * (3 - 2 * part), value)
    return value


def _soften(values: np.ndarray, width: float, times: np.ndarray) -> np.ndarray:
    """Values smoothed by a Gaussian of `width` seconds."""
    kernel = np.exp(-0.5 * ((times[:, None] - times[None]) / width) ** 2)
    return (kernel / kernel.sum(1, keepdims=True)) @ values


def _soft_minimum(values: np.ndarray, limit: np.ndarray, *, softness: float = 0.006) -> np.ndarray:
    """Below both, smoothly where they meet: -s log(exp(-a / s) + exp(-b / s))."""
    return -softness * np.logaddexp(-values / softness, -limit / softness)


def _continuous(quats: np.ndarray) -> np.ndarray:
    """Quaternions [T J 4] with signs such that neighbouring frames are in the same hemisphere."""
    dots = (quats[1:] * quats[:-1]).sum(-1)
    flips = np.cumprod(np.where(dots < 0, -1.0, 1.0), axis=0)
    return np.concatenate([quats[:1], quats[1:] * flips[..., None]])
