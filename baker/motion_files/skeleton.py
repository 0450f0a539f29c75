"""T frames of any skeleton, as a motion file holds them: the form between the readers and `baker/retarget.py`.

Letters: T frames, J joints. Lengths and axes are the file's own; quaternions wxyz.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from runtime import rotations
from runtime.errors import InputError

MAX_JOINTS = 1024
MAX_FRAMES = 200_000
MAX_POSES = 20_000_000
"""Joints times frames: 640 MB of quaternions."""


@dataclass(frozen=True)
class SkeletonClip:
    """A motion of a skeleton whose rest pose may be anything."""

    kind: str
    """What was read: bvh, amass, lhm, asf/amc, gltf, fbx."""
    fps: float
    """Frames per second."""
    joint_names: tuple[str, ...]
    """J names, parents before children."""
    parents: Int[np.ndarray, " J"]
    """Parent joint, -1 for a root."""
    rest_positions: Float[np.ndarray, "J 3"]
    """Joint positions in the rest pose."""
    turns_wxyz: Float[np.ndarray, "T J 4"]
    """Rotation of each joint in the world relative to the rest pose: what turns the limb from rest to its place."""
    positions: Float[np.ndarray, "T J 3"]
    """Joint positions in the world."""
    smplx: bool = False
    """The skeleton is SMPL-X's or a part of it, with identity rest rotations: rotations may be copied by name."""
    metres: bool = False
    """Positions are known to be metres."""
    up: str = ""
    """The axis that points up, where the format says so: 'x', 'y', 'z' or one of them with a '-'; else ''."""
    roles: tuple[tuple[str, str], ...] = ()
    """(role, joint name) pairs that the file itself states (VRM humanoids)."""
    warnings: tuple[str, ...] = ()
    """What was odd and how it was read."""

    @property
    def frames(self) -> int:
        """T."""
        return len(self.turns_wxyz)

    def take(self, index: np.ndarray) -> SkeletonClip:
        """Only the frames of an index array."""
        return replace(self, turns_wxyz=self.turns_wxyz[index], positions=self.positions[index])


def check_size(joints: int, frames: int, source: str) -> None:
    """Raise `InputError` for a skeleton or a length that no motion has."""
    if joints > MAX_JOINTS:
        raise InputError(f"{source}: has {joints} joints, the limit is {MAX_JOINTS}")
    if frames > MAX_FRAMES or joints * frames > MAX_POSES:
        raise InputError(f"{source}: {frames} frames of {joints} joints are too many to load; cut the file")


def check_rate(fps: float, source: str) -> float:
    """The frame rate, or an `InputError` if it is none."""
    if not np.isfinite(fps) or not 0.1 <= fps <= 1000:
        raise InputError(f"{source}: frame rate {fps:.6g} is not between 0.1 and 1000")
    # Frame times are written with few digits: 0.0333333 s is 30 a second.
    whole = float(round(fps))
    return whole if whole and abs(fps - whole) < 1e-4 * whole else float(fps)


def forward(parents: Int[np.ndarray, " J"], local_positions: Float[np.ndarray, "T J 3"],
            local_quats_wxyz: Float[np.ndarray, "T J 4"]) -> tuple[np.ndarray, np.ndarray]:
    """World positions [T J 3] and rotations [T J 4] of joints from their place and rotation in their parent."""
    positions, quats = np.empty_like(local_positions), np.empty_like(local_quats_wxyz)
    for joint, parent in enumerate(parents):
        if parent < 0:
            positions[:, joint], quats[:, joint] = local_positions[:, joint], local_quats_wxyz[:, joint]
        else:
            positions[:, joint] = positions[:, parent] + rotate(quats[:, parent], local_positions[:, joint])
            quats[:, joint] = rotations.multiply(quats[:, parent], local_quats_wxyz[:, joint])
    return positions, quats


def rotate(quats_wxyz: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Vectors [... 3] turned by unit quaternions [... 4]: v + 2 w (u x v) + 2 u x (u x v)."""
    w, u = quats_wxyz[..., :1], quats_wxyz[..., 1:]
    cross = np.cross(u, vectors)
    return vectors + 2 * (w * cross + np.cross(u, cross))


def conjugate(quats_wxyz: np.ndarray) -> np.ndarray:
    """The inverse of unit quaternions."""
    return quats_wxyz * np.array([1.0, -1.0, -1.0, -1.0])


def continuous(quats_wxyz: np.ndarray) -> np.ndarray:
    """Quaternions [T ... 4] with signs such that neighbouring frames are in the same hemisphere."""
    dots = (quats_wxyz[1:] * quats_wxyz[:-1]).sum(-1)
    flips = np.cumprod(np.where(dots < 0, -1.0, 1.0), axis=0)
    return np.concatenate([quats_wxyz[:1], quats_wxyz[1:] * flips[..., None]])


def check_clip(clip: SkeletonClip, source: str) -> SkeletonClip:
    """Raise `InputError` naming `source` unless the clip's values are sound; returns it."""
    check_rate(clip.fps, source)
    if clip.frames == 0:
        raise InputError(f"{source}: holds no frames")
    for name, value in (("position", clip.positions), ("rotation", clip.turns_wxyz)):
        if not np.isfinite(value).all():
            frame, joint = (int(i) for i in np.argwhere(~np.isfinite(value))[0][:2])
            raise InputError(f"{source}: the {name} of {clip.joint_names[joint]!r} in frame {frame} is NaN or "
                             "infinite; repair or cut the file")
    if np.abs(clip.positions).max() > 1e7:
        raise InputError(f"{source}: a joint is {np.abs(clip.positions).max():.3g} units from the origin; repair the "
                         "file")
    return clip
