"""What a 4D optimisation is given: who, in which motion, learnt from which pictures, computed by what.

Letters: N Gaussians, T frames, H X the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from baker.avatar import SkinnedMesh
from baker.pose_field import PoseField
from baker.videos import PoseAt, Video
from runtime.errors import InputError
from runtime.types import Camera, GaussianSet, Motion, Rig

Update = Callable[[int, PoseAt], list[Video]]
"""Dataset update: (round from 1, the current state) to newly restored videos. Called again with the same round
after an interruption, so it must keep what it made."""


@dataclass(frozen=True)
class Subject:
    """Who is learnt, in which motion."""

    gaussians: GaussianSet
    """The avatar at rest."""
    rig: Rig
    """Its binding."""
    motion: Motion
    """T frames."""
    body: SkinnedMesh | None = None
    """The surface to keep out of, where the avatar has one."""
    field: PoseField | None = None
    """A residual to learn in place of the configured HexPlane, for comparisons."""


@dataclass(frozen=True)
class Supervision:
    """What is learnt from."""

    videos: tuple[Video, ...]
    """Over a flat background."""
    background: tuple[float, float, float]
    """Its sRGB colour."""
    moments: tuple[tuple[int, ...], ...] | None = None
    """For each video the frame of the motion that each of its pictures shows; None where picture k shows frame k."""
    update: Update | None = None
    """The dataset update, where there is one; its pictures show one frame after the other."""


@dataclass(frozen=True)
class Backend:
    """What computes."""

    rasteriser: str = "cpu"
    """Name of a differentiable rasteriser."""
    device: str = "cpu"
    """Torch device."""


CPU = Backend()
"""Works everywhere."""


class Shot(NamedTuple):
    """One picture to learn from."""

    video: Video
    picture: int
    """Its place in the video."""
    frame: int
    """The frame of the motion that it shows."""

    @property
    def key(self) -> tuple[str, int]:
        """Tells it from all others."""
        return self.video.name, self.picture

    @property
    def camera(self) -> Camera:
        return self.video.cameras[self.picture]

    @property
    def rgb(self) -> UInt8[np.ndarray, "H X 3"]:
        return self.video.rgb[self.picture]

    @property
    def preserved(self) -> UInt8[np.ndarray, "H X"]:
        """Coverage 0..255."""
        return self.video.preserved[self.picture]


def check(subject: Subject, supervision: Supervision) -> None:
    """Raise `InputError` unless the one can be learnt from the other."""
    frames = subject.motion.frames
    for k, video in enumerate(supervision.videos):
        if supervision.moments is None:
            if len(video.cameras) != frames:
                raise InputError(f"video {video.name}: has {len(video.cameras)} frames, the motion {frames}")
        elif len(supervision.moments[k]) != len(video.cameras) or not all(
                0 <= moment < frames for moment in supervision.moments[k]):
            raise InputError(f"video {video.name}: its moments are not {len(video.cameras)} of the {frames} frames")
    if not supervision.videos:
        raise InputError("the optimisation has no video to learn from")
    if not subject.gaussians.may_move.any():
        raise InputError("nothing of this avatar may move (no garment, no hair); there is nothing to learn")
