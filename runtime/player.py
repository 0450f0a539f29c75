"""Playing a bundle: Gaussians in the world at any time, and a video of an orbit around them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8

from runtime import fast_offsets, offsets, rotations
from runtime.actor import Layer, Moment
from runtime.cameras import orbit_camera
from runtime.compositing import composite
from runtime.errors import InputError
from runtime.framing import DISTANCE, ELEVATION, FOV_Y, root_targets
from runtime.raster import render
from runtime.stage import Figure
from runtime.types import Bundle, GaussianSet, Motion


class Player:
    """One clip of a bundle at any time, exactly as stored. Times are in seconds from the clip's first frame.

    `runtime.actor` plays: several clips, fades, loops that close.
    """

    def __init__(self, bundle: Bundle, clip: int = 0) -> None:
        """Raises `InputError` where the bundle has no such clip."""
        if not 0 <= clip < len(bundle.clips):
            raise InputError(f"{bundle.manifest.name}: has clips 0 to {len(bundle.clips) - 1}, not {clip}")
        self.bundle = bundle
        self.clip = bundle.clips[clip]
        self.clip_index = clip
        self._figure = Figure(bundle)
        self._targets = root_targets(bundle.rig, self.clip.motion, figure=bundle.gaussians.means)

    @property
    def fps(self) -> float:
        """Frames per second the clip was made at."""
        return self.clip.motion.fps

    @property
    def frame_count(self) -> int:
        """T."""
        return self.clip.motion.frames

    @property
    def duration(self) -> float:
        """Seconds from the first to the last frame."""
        return self.clip.motion.duration

    def frame_at(self, time_seconds: int | float, *, loop: bool = True) -> float:
        """The fractional frame, in 0..T-1, shown at a time.

        A looping clip shows each of its T frames for 1 / fps, then starts again: nothing is interpolated across
        the seam. Otherwise the ends hold.
        """
        frame = time_seconds * self.fps
        # t / fps * fps may be a rounding error away from t; whole frames need no interpolation.
        nearest = float(round(frame))
        frame = nearest if abs(frame - nearest) < 1e-6 else frame
        if loop:
            frame %= self.frame_count
        return min(max(frame, 0.0), float(self.frame_count - 1))

    def motion_at(self, time_seconds: int | float, *, loop: bool = True) -> Motion:
        """The pose at a time, as a motion of one frame: root linear, rotations along their shortest arcs."""
        frame = self.frame_at(time_seconds, loop=loop)
        before, after, weight = offsets.bracket(frame, self.frame_count)
        motion = self.clip.motion
        if weight == 0:
            return motion.slice(before, before + 1)
        root = (1 - weight) * motion.root_translations[before] + weight * motion.root_translations[after]
        quats = rotations.slerp(motion.quats_wxyz[before], motion.quats_wxyz[after], weight)
        return Motion(fps=motion.fps, root_translations=root[None], quats_wxyz=quats[None],
                      joint_names=motion.joint_names)

    def residual_at(self, time_seconds: int | float, *, loop: bool = True) -> tuple[
            Float[np.ndarray, "M 3"], Float[np.ndarray, "M 3"], Float[np.ndarray, "M 3"]]:
        """Offsets of the moving Gaussians: metres, rotation vectors [rad], log scales."""
        return fast_offsets.residual_at(self.clip.residual, self.frame_at(time_seconds, loop=loop))

    def gaussians_at(self, time_seconds: int | float, *, residual: bool = True, loop: bool = True) -> GaussianSet:
        """All Gaussians in the world at a time; `residual=False` gives rigid skinning alone."""
        before, after, weight = offsets.bracket(self.frame_at(time_seconds, loop=loop), self.frame_count)
        layer = Layer(clip=self.clip_index, before=before, after=after, weight=weight)
        moment = Moment(layers=(layer,), residual=residual)
        self._figure.pose(moment)
        self._figure.decode(moment)
        self._figure.skin()
        return self._figure.gaussians()

    def target_at(self, time_seconds: int | float, *, loop: bool = True) -> Float[np.ndarray, " 3"]:
        """What a camera that follows the figure looks at [m]: the root, smoothed."""
        before, after, weight = offsets.bracket(self.frame_at(time_seconds, loop=loop), self.frame_count)
        return (1 - weight) * self._targets[before] + weight * self._targets[after]


def orbit_frames(player: Player, *, size: tuple[int, int], turns: int | float = 1.0, seconds: int | float | None = None,
                 background: tuple[float, float, float] = (0.5, 0.5, 0.5),
                 residual: bool = True) -> Iterator[UInt8[np.ndarray, "H X 3"]]:
    """Frames of the clip, looping, seen from a camera that follows the figure and circles it `turns` times.

    `size` is (width, height) [px]; `seconds` defaults to the clip's duration; `turns` = 0 stays in front.
    There are `round(seconds * player.fps)` frames, at least one.
    """
    seconds = player.duration if seconds is None else seconds
    count = max(round(seconds * player.fps), 1)
    for i in range(count):
        yield picture(player, i / player.fps, size=size, azimuth=2 * math.pi * turns * i / count,
                      background=background, residual=residual)


def picture(player: Player, time_seconds: int | float, *, size: tuple[int, int], azimuth: float,
            background: tuple[float, float, float], residual: bool = True) -> UInt8[np.ndarray, "H X 3"]:
    """The clip at a time from a camera that follows the figure; `azimuth` [rad] is 0 in front, pi / 2 at its left."""
    camera = orbit_camera(player.target_at(time_seconds), azimuth=azimuth, elevation=ELEVATION, distance=DISTANCE,
                          fov_y=FOV_Y, size=size)
    image = render(player.gaussians_at(time_seconds, residual=residual), camera)
    return composite(image.rgba, background)
