"""Motions of SMPL-X's 55 joints: AMASS-layout files, and procedural walk, run, twirl and jump.

World y-up, the figure starts at the origin facing +Z, the floor is y = 0. Letters: T frames, J joints.
The procedural motions and their inverse kinematics are in `baker/motion_gaits.py`.
"""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from baker.avatar import Avatar, SkinnedMesh
from baker.motion_gaits import ProceduralName, procedural
from runtime import rotations, skinning
from runtime.errors import InputError
from runtime.types import Motion, Rig

__all__ = ["ProceduralName", "ground", "load_amass", "load_motion", "procedural"]

RATE_KEYS = ("mocap_frame_rate", "mocap_framerate")
"""AMASS has spelt it both ways (SMPL-X and SMPL+H releases)."""
GROUND_PERCENTILE = 10.0
"""The clip's floor is this percentile of the frames' lowest points: robust to a frame of penetration, and a clip in
the air for most of its length still lands."""


def load_motion(name_or_path: str, avatar: Avatar, *, seconds: float = 3.0, fps: float = 30.0,
                variation_seed: int | None = None) -> Motion:
    """A procedural motion by name or an AMASS-layout npz by path, grounded on the avatar's body.

    `seconds`, `fps` and `variation_seed` hold for procedural motions only. Raises `InputError`.
    """
    if name_or_path in get_args(ProceduralName):
        motion = procedural(name_or_path, avatar.rig, seconds=seconds, fps=fps, variation_seed=variation_seed)
    elif Path(name_or_path).suffix == ".npz" or Path(name_or_path).exists():
        motion = load_amass(Path(name_or_path), avatar.rig)
    else:
        names = ", ".join(get_args(ProceduralName))
        raise InputError(f"{name_or_path}: no such motion; give one of {names}, or the path of an AMASS-layout npz")
    return ground(motion, avatar.rig, avatar.body)


def load_amass(path: Path, rig: Rig) -> Motion:
    """A motion from an npz with AMASS's keys `poses` [T 3J] (axis-angle), `trans` [T 3] and a frame rate.

    Positions are y-up metres, as in `runtime/__init__.py`. Raises `InputError` naming the file and the fault.
    """
    arrays = _read_npz(path)
    rate_key = next((key for key in RATE_KEYS if key in arrays), None)
    missing = [key for key in ("poses", "trans") if key not in arrays] + ([RATE_KEYS[0]] if rate_key is None else [])
    if rate_key is None or missing:
        raise InputError(f"{path}: has no key {', '.join(missing)}; an AMASS-layout npz is needed")
    poses, trans = _numbers(arrays["poses"], "poses", path), _numbers(arrays["trans"], "trans", path)
    rate = _numbers(arrays[rate_key], rate_key, path)
    if rate.size != 1:
        raise InputError(f"{path}: {rate_key} must be one number, it has shape {rate.shape}")
    if poses.ndim != 2 or poses.shape[1] != 3 * rig.joint_count:
        raise InputError(f"{path}: poses has shape {poses.shape}; the avatar's {rig.joint_count} joints need "
                         f"[T, {3 * rig.joint_count}] (SMPL-X axis-angle)")
    if trans.shape != (len(poses), 3):
        raise InputError(f"{path}: trans has shape {trans.shape}, poses has {len(poses)} frames; it must be "
                         f"[{len(poses)}, 3]")
    if not np.isfinite(poses).all():
        frame = int(np.argwhere(~np.isfinite(poses))[0][0])
        raise InputError(f"{path}: poses of frame {frame} is NaN or infinite; repair the file")
    quats = rotations.from_rotvec(poses.reshape(len(poses), rig.joint_count, 3)).astype(np.float32)
    motion = Motion(fps=float(rate.reshape(())), root_translations=trans.astype(np.float32), quats_wxyz=quats,
                    joint_names=rig.joint_names)
    return motion.check(str(path), rig=rig)


def ground(motion: Motion, rig: Rig, body: SkinnedMesh) -> Motion:
    """The motion shifted in height so that, over the clip, the body's lowest points touch y = 0."""
    # Every eighth vertex and all of the lower legs: feet decide, but a hand or a knee may be lowest.
    low = body.vertices[:, 1] < np.quantile(body.vertices[:, 1], 0.12)
    chosen = np.flatnonzero(low | (np.arange(len(body.vertices)) % 8 == 0))
    points, joints, weights = body.vertices[chosen], body.skin_joints[chosen], body.skin_weights[chosen]
    lowest = np.empty(motion.frames)
    for frame in range(motion.frames):
        matrices = skinning.skinning_matrices(rig, motion, frame)
        # Only the height is needed: row 1 of the blended matrices.
        row = np.einsum("vw,vwc->vc", weights, matrices[joints, 1])
        lowest[frame] = ((row[:, :3] * points).sum(1) + row[:, 3]).min()
    shift = np.percentile(lowest, GROUND_PERCENTILE)
    moved = motion.root_translations - np.array([0, shift, 0], motion.root_translations.dtype)
    return replace(motion, root_translations=moved)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz; object arrays and anything unreadable are refused."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of an AMASS-layout npz")
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise InputError(f"{path}: {broken} is damaged; copy the file again")
        with np.load(path, allow_pickle=False) as file:
            # Files carry extra keys (gender, betas); an object array among those is skipped, not unpickled.
            return {name: file[name] for name in file.files if name in (*RATE_KEYS, "poses", "trans")}
    except zipfile.BadZipFile:
        raise InputError(f"{path}: is not an npz file, or is truncated; copy the file again") from None
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy the file again") from None


def _numbers(value: np.ndarray, name: str, path: Path) -> np.ndarray:
    """The array as float64, or an error if it does not hold numbers."""
    if value.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name} holds {value.dtype}, not numbers; an AMASS-layout npz is needed")
    return value.astype(np.float64)
