"""The residual as a function of pose: what moves the cloth of a motion that was not baked.

A small network takes a window of recent poses to the coefficients of a baked clip's leading offset textures. Its
inputs and outputs are clamped to what it has seen in training, so no motion can blow it up. The letters of
`runtime/__init__.py`, and L lags, F joints it looks at, P inputs, K outputs.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32, Int

from runtime import rotations
from runtime.actor_loop import Loop
from runtime.errors import InputError
from runtime.types import Motion, PoseResidual, Rig

STEP_S = 1 / 30
"""Speeds are differences over this long [s]."""
INPUT_LIMIT = 3.0
"""Normalised inputs are clamped to this many standard deviations of the training poses."""
MAX_LAGS, MAX_LAYERS, MAX_WIDTH = 16, 4, 1024
"""Limits of the file format."""


def check_pose_residual(own: PoseResidual, source: str, *, joints: int, textures: tuple[int, ...]) -> PoseResidual:
    """Raise `InputError` naming `source` unless it can drive a clip of so many textures; returns it."""
    def refuse(what: str) -> None:
        raise InputError(f"{source}: pose residual: {what}")

    if len(own.lags) == 0 or len(own.lags) > MAX_LAGS or own.lags[0] != 0 or (np.diff(own.lags) <= 0).any():
        refuse(f"lags must be 1 to {MAX_LAGS} ascending times from 0")
    if (np.diff(own.joints, prepend=0) <= 0).any() or (own.joints >= joints).any():
        refuse("joints must be ascending and not the root")
    if any(not 0 <= count <= most for count, most in zip(own.counts, textures, strict=True)):
        refuse("drives more textures than its clip has")
    if not 1 <= len(own.weights) <= MAX_LAYERS or len(own.biases) != len(own.weights):
        refuse(f"must have 1 to {MAX_LAYERS} layers")
    width = own.input_count
    for weight, bias in zip(own.weights, own.biases, strict=True):
        if weight.shape != (len(bias), width) or not len(bias) <= max(MAX_WIDTH, own.output_count):
            refuse(f"a layer of {weight.shape} does not follow one of {width}")
        width = len(bias)
    if width != own.output_count or len(own.input_range) != own.input_count or len(own.output_range) != width:
        refuse("inputs or outputs do not fit")
    values = (own.lags, own.input_range, own.output_range, *own.weights, *own.biases)
    if not all(np.isfinite(value).all() and (np.abs(value) <= 1e6).all() for value in values):
        refuse("holds NaN or a value beyond a million")
    if (own.output_range[:, 0] > own.output_range[:, 1]).any():
        refuse("an output's least value is above its largest")
    return own


def pose_features(rig: Rig, motion: Motion, frame: int | float, *, lags: Float32[np.ndarray, " L"],
                  joints: Int[np.ndarray, " F"], loop: Loop | None = None) -> Float32[np.ndarray, " P"]:
    """The inputs at a frame of a motion; before its first frame the figure stood still in it.

    A motion with a closed `loop` has no first frame: what came before is its end. Heading and place do not matter:
    everything is seen from the root joint.
    """
    rest = rig.T_world_joint_rest[0, :3, :3]
    parts: list[np.ndarray] = []
    for lag in lags.tolist():
        root, quats = _pose_at(motion, frame - lag * motion.fps, loop)
        root_before, quats_before = _pose_at(motion, frame - (lag + STEP_S) * motion.fps, loop)
        R_world_root, R_before = (rest @ rotations.to_matrix(q[0]) for q in (quats, quats_before))
        parts += [R_world_root[1], (root - root_before) @ R_world_root / STEP_S,
                  rotations.to_rotvec(rotations.from_matrix(R_before.T @ R_world_root)) / STEP_S,
                  rotations.to_rotvec(quats[joints]).reshape(-1)]
    return np.concatenate(parts).astype(np.float32)


def _pose_at(motion: Motion, frame: float, loop: Loop | None) -> tuple[np.ndarray, np.ndarray]:
    """Root [3] and rotations [J 4] at a fractional frame, held at both ends or going round."""
    offset, frames = np.zeros(3), motion.frames
    if loop is not None and loop.closed:
        turn = math.floor(frame / frames)
        frame -= turn * frames
        offset[[0, 2]] = turn * loop.travel[0], turn * loop.travel[1]
        before = min(int(frame), frames - 1)
        after, weight = (before + 1) % frames, frame - before
    else:
        held = min(max(float(frame), 0.0), frames - 1.0)
        before = int(held)
        after, weight = min(before + 1, frames - 1), held - before
    last = motion.root_translations[after].astype(np.float64)
    if loop is not None and after < before:
        last[[0, 2]] += loop.travel
    a, b = motion.quats_wxyz[before].astype(np.float64), motion.quats_wxyz[after].astype(np.float64)
    # Frames are close: the chord of each arc, made unit again, differs from it by less than the network notices.
    b = np.where((a * b).sum(axis=1, keepdims=True) < 0, -b, b)
    return offset + (1 - weight) * motion.root_translations[before] + weight * last, rotations.normalize(
        (1 - weight) * a + weight * b)
