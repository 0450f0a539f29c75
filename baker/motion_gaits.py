"""Procedural motions: foot steps and a pelvis path are laid down first, the legs follow by inverse kinematics.

So a standing foot does not slide, by construction. SMPL-X joint order and axes: rest is a T-pose facing +Z, left at
+X. Angles in radians, lengths in metres, times in seconds. Letters: T frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from baker.body import JOINT_NAMES
from baker.motion_figure import (
    Figure,
    FootTrack,
    Pose,
    about,
    ease,
    euler,
    keys,
    measure,
    set_arm,
    set_legs,
    soften,
)
from baker.motion_files.skeleton import continuous
from runtime import rotations
from runtime.errors import InputError
from runtime.types import Motion, Rig

ProceduralName = Literal["walk", "run", "twirl", "jump"]
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
                  quats_wxyz=continuous(quats).astype(np.float32), joint_names=JOINT_NAMES)


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
    pose.turn("pelvis", about("z", 0.05 * sign * np.cos(turn - np.pi * gait.duty)))
    pose.turn("pelvis", about("x", 0.5 * gait.lean * np.ones_like(turn)))
    # The side whose foot strikes is forward: at phase 0 the left hip is, a turn to the right.
    pose.turn("pelvis", about("y", -gait.twist * np.cos(turn)))
    for part, share in (("spine1", 0.5), ("spine2", 0.6), ("spine3", 0.6)):
        pose.turn(part, euler(0.2 * gait.lean + 0 * turn, gait.twist * share * 1.1 * np.cos(turn),
                               -0.02 * sign * np.cos(turn - np.pi * gait.duty)))
    pose.turn("neck", euler(-0.3 * gait.lean + 0 * turn, -0.35 * gait.twist * np.cos(turn), 0 * turn))
    pose.turn("head", euler(-0.3 * gait.lean + 0.02 * np.cos(2 * turn), -0.35 * gait.twist * np.cos(turn), 0 * turn))
    for side, lag in (("left", 0.0), ("right", np.pi)):
        # An arm goes with the other side's leg: the left one is back when the left heel strikes.
        swing = gait.arm_swing * np.cos(turn - 0.15 + lag) - 0.1 * gait.arm_swing
        bend = gait.elbow + 0.45 * gait.arm_swing * np.clip(-np.cos(turn - 0.5 + lag), -0.4, 1)
        set_arm(pose, side, lower=1.22, swing=swing, bend=bend, outward=0.0)
    set_legs(pose, figure, feet)
    return pose


def _gait_foot(figure: Figure, phase: np.ndarray, gait: Gait, stride: float, x: float, shift: float) -> FootTrack:
    """One foot of a gait: it strikes when `phase` is a whole number, half a stride's stance ahead of the pelvis."""
    cycle = np.floor(phase)
    p = phase - cycle
    # The pelvis is at stride * (phase - shift); mid stance is at duty / 2.
    strike = stride * (cycle + 0.5 * gait.duty - shift)
    swing = np.clip((p - gait.duty) / (1 - gait.duty), 0, 1)
    travel = ease(swing)
    ball = np.zeros((len(phase), 3))
    ball[:, 0] = x
    ball[:, 2] = strike + stride * travel + figure.at("left_foot")[2]
    rise = np.sin(np.pi * swing ** 0.85) ** 1.5
    ball[:, 1] = gait.lift * rise
    strike_pitch = gait.heel * (1 - ease(np.clip(p / 0.12, 0, 1)))
    push = gait.push * ease(np.clip((p - 0.55 * gait.duty) / (0.45 * gait.duty), 0, 1))
    back = (1 - ease(np.clip(swing / 0.75, 0, 1)))
    forward = gait.heel * ease(np.clip((swing - 0.55) / 0.45, 0, 1))
    pitch = np.where(p < gait.duty, strike_pitch - push, -gait.push * back + forward)
    return FootTrack(ball=ball, yaw=0.06 * np.sign(x) + 0 * p, pitch=pitch,
                     toe_flat=np.where(p < gait.duty, 0.8, 0.8 * (1 - ease(np.clip(swing / 0.35, 0, 1)))))


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
    spin = np.clip(soften(spin, 0.10, times), 0, 1)
    feet = {side: _pivot_foot(figure, u, yaw_at, side=side, pairs=round(5 * turns), lift=0.05 + 0.03 * draw[2])
            for side in ("left", "right")}
    rise = 0.012 * spin - 0.03 * np.sin(np.pi * np.clip(u / 0.2, 0, 1)) ** 2 - 0.03 * np.sin(
        np.pi * np.clip((u - 0.78) / 0.2, 0, 1)) ** 2
    circle = 0.025 * spin
    pelvis = np.stack([circle * np.sin(yaw), -figure.floor - 0.035 + rise, circle * np.cos(yaw) - circle], 1)
    pose = Pose(pelvis, {})
    pose.turn("pelvis", about("y", yaw))
    lead = 0.18 * direction * spin
    for part in ("spine1", "spine2", "spine3"):
        pose.turn(part, euler(0.01 - 0.03 * spin, 0.4 * lead + 0.25 * direction * wind, 0.02 * direction * spin))
    pose.turn("neck", euler(-0.04 * spin, lead, 0 * u))
    pose.turn("head", euler(-0.04 * spin, lead, -0.05 * direction * spin))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        lifted = (0.80 + 0.25 * draw[3 if sign > 0 else 4]) * spin
        set_arm(pose, side, lower=1.24 - lifted, swing=-0.12 - 0.25 * spin - 0.2 * sign * direction * spin,
             bend=0.30 + 0.25 * (1 - spin) * 0.5 + 0.25 * spin, outward=0.0)
    set_legs(pose, figure, feet)
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
        yaw = np.where(u >= start, planted[i] + (planted[i + 1] - planted[i]) * ease(s), yaw)
        step = min(1.0, abs(planted[i + 1] - planted[i]) / 0.35)
        height = height + lift * step * np.sin(np.pi * s) ** 2
    place = np.array([x, 0.0, 0.35 * figure.at("left_foot")[2]])
    offset = rotations.to_matrix(about("y", yaw)) @ place
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
    drop = keys(times, [(0.0, 0.004), (start, 0.004), (low, depth), (take_off, -toes), (land, -0.02),
                         (absorbed, 0.75 * depth), (upright, 0.004), (end + 1, 0.004)])
    air = np.clip((times - take_off) / flight, 0, 1)
    arc = 4 * height * air * (1 - air)
    z = forward * air
    crouch = np.clip(drop / depth, 0, 1)
    # Bending at the hip keeps the weight over the feet: the pelvis goes back as the trunk leans.
    pelvis = np.stack([0 * times, stand - drop + arc, z - 0.30 * depth * crouch], 1)
    pose = Pose(pelvis, {})
    pose.turn("pelvis", about("x", 0.50 * crouch))
    for part in ("spine1", "spine2", "spine3"):
        pose.turn(part, euler(0.16 * crouch - 0.05 * arc / height, 0 * times, 0 * times))
    pose.turn("neck", euler(-0.22 * crouch, 0 * times, 0 * times))
    pose.turn("head", euler(-0.22 * crouch - 0.1 * arc / height, 0 * times, 0 * times))
    reach = 2.2 + 0.5 * draw[4]
    swing = keys(times, [(0.0, 0.05), (start, 0.05), (low - 0.05, 0.85), (take_off + 0.05, -reach),
                          (take_off + 0.6 * flight, -0.9 * reach), (land, -1.3), (absorbed, -0.5), (upright, 0.05),
                          (end + 1, 0.05)])
    for side in ("left", "right"):
        set_arm(pose, side, lower=1.22 - 0.25 * np.clip(-swing / reach, 0, 1), swing=swing,
             bend=0.25 + 0.45 * crouch, outward=0.0)
    toe_down = keys(times, [(0.0, 0.0), (low + 0.08, 0.0), (take_off, 0.55), (take_off + 0.5 * flight, 0.60),
                             (land, 0.30), (land + 0.08, 0.0), (end + 1, 0.0)])
    tuck = 0.10 * np.sin(np.pi * air) ** 2
    feet = {side: _jump_foot(figure, x, arc=arc, tuck=tuck, z=z, toe_down=toe_down, air=air)
            for side, x in (("left", 0.09), ("right", -0.09))}
    set_legs(pose, figure, feet)
    return pose


def _jump_foot(figure: Figure, x: float, *, arc: np.ndarray, tuck: np.ndarray, z: np.ndarray, toe_down: np.ndarray,
               air: np.ndarray) -> FootTrack:
    ball = np.stack([np.full(len(arc), x), arc + tuck, z - 0.02 + 0.6 * figure.at("left_foot")[2] - 0.6 * tuck], 1)
    standing = 1 - ease(np.clip(air / 0.25, 0, 1)) + ease(np.clip((air - 0.8) / 0.2, 0, 1))
    return FootTrack(ball=ball, yaw=np.full(len(arc), 0.12 * np.sign(x)), pitch=-toe_down, toe_flat=0.8 * standing)
