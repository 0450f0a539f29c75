"""What is done to a motion besides putting it on a rig: rate, speed, range, loop, place. Letters: T frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from baker.motion_files.skeleton import continuous, rotate
from runtime import rotations
from runtime.errors import InputError
from runtime.types import Motion

IN_PLACE_SMOOTHING = 0.5
"""In place, the figure keeps the sway of its hips about its path smoothed over this time [s]."""


@dataclass(frozen=True)
class MotionOptions:
    """How a motion file is used."""

    fps: float | None = None
    """Frames per second of the result; None keeps the file's."""
    speed: float = 1.0
    """Times as fast; 2 halves the duration."""
    frames: tuple[int, int] | None = None
    """Frames A..B-1 of the result; None is all."""
    loop: float = 0.0
    """Seconds of cross-fade that close the loop: the last frame is the first; 0 leaves the ends."""
    in_place: bool = False
    """Take the way out: the figure moves on the spot."""
    up: str | None = None
    """The file's up axis ('y', 'z', '-y', …); None finds it."""
    plant_feet: bool = True
    """Let standing feet not slide."""

    def check(self) -> MotionOptions:
        """Raise `InputError` for values that make no motion; returns self."""
        if self.fps is not None and not 1 <= self.fps <= 240:
            raise InputError(f"--fps {self.fps:g}: must be between 1 and 240")
        if not 0.05 <= self.speed <= 20:
            raise InputError(f"--speed {self.speed:g}: must be between 0.05 and 20")
        if not 0 <= self.loop <= 60:
            raise InputError(f"--loop {self.loop:g}: must be between 0 and 60 seconds")
        return self


def at_rate(motion: Motion, options: MotionOptions) -> Motion:
    """Faster or slower, and resampled to the asked rate: rotations along the shortest way, positions linearly."""
    motion = replace(motion, fps=motion.fps * options.speed)
    if options.fps is None and options.speed != 1.0:
        options = replace(options, fps=motion.fps / options.speed)
    if options.fps is None or abs(options.fps - motion.fps) < 1e-9 or motion.frames < 2:
        return motion
    count = int(np.floor(motion.duration * options.fps + 1e-6)) + 1
    at = np.arange(count) * motion.fps / options.fps
    first = np.clip(at.astype(int), 0, motion.frames - 2)
    share = (at - first)[:, None]
    quats = motion.quats_wxyz.astype(np.float64)
    a, b = quats[first], quats[first + 1]
    b = np.where((a * b).sum(-1, keepdims=True) < 0, -b, b)
    mixed = rotations.normalize((1 - share[..., None]) * a + share[..., None] * b)
    roots = motion.root_translations.astype(np.float64)
    return replace(motion, fps=options.fps, quats_wxyz=mixed.astype(motion.quats_wxyz.dtype),
                   root_translations=((1 - share) * roots[first] + share * roots[first + 1]).astype(
                       motion.root_translations.dtype))


def cut(motion: Motion, frames: tuple[int, int] | None, source: str) -> Motion:
    """Frames A..B-1."""
    if frames is None:
        return motion
    start, stop = frames
    if start >= motion.frames:
        raise InputError(f"{source}: has {motion.frames} frames, --frames {start}:{stop} takes none")
    return motion.slice(start, min(stop, motion.frames))


def on_the_spot(motion: Motion) -> Motion:
    """Without the horizontal way: its smooth path, straight on beyond the ends, is subtracted."""
    roots = motion.root_translations.astype(np.float64)
    count = len(roots)
    if count < 2:
        return replace(motion, root_translations=(roots * [0, 1, 0]).astype(np.float32))
    # The ends go on as they go on average over half the smoothing.
    width = int(np.clip(round(IN_PLACE_SMOOTHING * motion.fps), 1, count - 1))
    pad = 3 * width
    before = roots[0] - np.arange(pad, 0, -1)[:, None] * (roots[width] - roots[0]) / width
    after = roots[-1] + np.arange(1, pad + 1)[:, None] * (roots[-1] - roots[-1 - width]) / width
    path = gaussian_filter1d(np.concatenate([before, roots, after]), width, axis=0)[pad:-pad]
    still = roots - path * [1, 0, 1]
    return replace(motion, root_translations=still.astype(motion.root_translations.dtype))


def closed_loop(motion: Motion, seconds: float, source: str) -> Motion:
    """The motion whose last frame has the pose and height of its first.

    The last `seconds` are laid over the beginning, turned and moved to it, and faded out; so the result is that much
    shorter, and its last frame is its first, further along its way.
    """
    fade = round(seconds * motion.fps)
    if fade == 0:
        return motion
    if motion.frames < 2 * fade + 1:
        raise InputError(f"{source}: lasts {motion.duration:.2f} s, too short for a cross-fade of {seconds:g} s; at "
                         "most half of it")
    quats, roots = motion.quats_wxyz.astype(np.float64), motion.root_translations.astype(np.float64)
    end = motion.frames - 1 - fade
    # The end's heading and place are brought to the beginning's.
    yaw = _heading(quats[0, 0]) - _heading(quats[end, 0])
    turn = rotations.from_rotvec(np.array([0.0, yaw, 0.0]))
    tail = quats[end:].copy()
    tail[:, 0] = rotations.multiply(np.broadcast_to(turn, tail[:, 0].shape), tail[:, 0])
    away = rotate(np.broadcast_to(turn, (fade + 1, 4)), roots[end:] - roots[end] * [1, 0, 1])
    tail_roots = away + roots[0] * [1, 0, 1]
    t = np.arange(fade + 1) / fade
    weight = (t * t * (3 - 2 * t))[:, None, None]
    head = quats[: fade + 1]
    tail = np.where((head * tail).sum(-1, keepdims=True) < 0, -tail, tail)
    out_quats, out_roots = quats[: end + 1].copy(), roots[: end + 1].copy()
    out_quats[: fade + 1] = rotations.normalize((1 - weight) * tail + weight * head)
    out_roots[: fade + 1] = (1 - weight[:, 0]) * tail_roots + weight[:, 0] * roots[: fade + 1]
    return replace(motion, quats_wxyz=continuous(out_quats).astype(motion.quats_wxyz.dtype),
                   root_translations=out_roots.astype(motion.root_translations.dtype))


def _heading(quat_wxyz: np.ndarray) -> float:
    """The turn about +Y [rad] nearest to a rotation."""
    return float(2 * np.arctan2(quat_wxyz[2], quat_wxyz[0]))
