"""Reading LHM's motions: a folder of one JSON a frame (`smplx_params/00001.json`), SMPL-X in OpenCV camera axes.

Keys of a frame: `root_pose [3]`, `body_pose [21 3]`, `jaw_pose`, `leye_pose`, `reye_pose`, `lhand_pose [15 3]`,
`rhand_pose [15 3]`, `trans [3]` (facts: upstream.md §2.4). There is no frame rate: 30, or the video's by --fps.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from baker.body import JOINT_NAMES
from baker.motion_files.amass import smplx_clip
from baker.motion_files.skeleton import MAX_FRAMES, SkeletonClip
from baker.motion_files.text import read_json
from runtime.errors import InputError

LHM_FPS = 30.0
ROWS = {"root_pose": 1, "body_pose": 21, "jaw_pose": 1, "leye_pose": 1, "reye_pose": 1, "lhand_pose": 15,
        "rhand_pose": 15}
"""Keys in SMPL-X's joint order, and how many joints each holds."""
OPTIONAL = ("jaw_pose", "leye_pose", "reye_pose", "lhand_pose", "rhand_pose")


def find_frames(folder: Path) -> list[Path]:
    """The frame files of a motion folder, in order; empty if it is none."""
    inner = folder / "smplx_params"
    place = inner if inner.is_dir() else folder
    found = [(int(match.group(1)), path) for path in place.glob("*.json")
             if (match := re.fullmatch(r"(\d{1,9})", path.stem))]
    return [path for _, path in sorted(found)]


def read_lhm(folder: Path) -> SkeletonClip:
    """The clip of a folder of frames. Raises `InputError` naming the frame file at fault."""
    paths = find_frames(folder)
    if not paths:
        raise InputError(f"{folder}: holds no frames (00001.json, … or smplx_params/00001.json, …)")
    if len(paths) > MAX_FRAMES:
        raise InputError(f"{folder}: has {len(paths)} frames, the limit is {MAX_FRAMES}")
    poses, trans = np.zeros((len(paths), len(JOINT_NAMES), 3)), np.empty((len(paths), 3))
    for i, path in enumerate(paths):
        frame = read_json(path, what="a frame of LHM", limit=4 << 20)
        if not isinstance(frame, dict):
            raise InputError(f"{path}: is not a frame of LHM (an object with root_pose, body_pose, trans)")
        at = 0
        for key, rows in ROWS.items():
            poses[i, at:at + rows] = _rows(frame, key, rows, path)
            at += rows
        trans[i] = _rows(frame, "trans", 1, path)[0]
    numbers = np.array([int(path.stem) for path in paths])
    gaps = int((np.diff(numbers) > 1).sum())
    # The camera looks along +z with y down: up is -y.
    clip = smplx_clip(poses, trans, JOINT_NAMES, fps=LHM_FPS, kind="lhm", source=str(folder), up="-y")
    from dataclasses import replace

    return replace(clip, warnings=(f"{gaps} gaps in the frame numbers were closed",) if gaps else ())


def _rows(frame: dict, key: str, rows: int, path: Path) -> np.ndarray:
    """The value of a key as [rows 3] finite numbers; zeros for an optional one that is not there."""
    if key not in frame and key in OPTIONAL:
        return np.zeros((rows, 3))
    try:
        value = np.asarray(frame.get(key), np.float64)
    except (TypeError, ValueError, OverflowError):  # a whole number beyond floats overflows
        value = np.empty(0)
    if value.size != 3 * rows:
        raise InputError(f"{path}: {key} is not {rows} x 3 numbers")
    if not np.isfinite(value).all() or np.abs(value).max() > 1e6:
        raise InputError(f"{path}: {key} holds NaN, infinity or a number beyond reason")
    return value.reshape(rows, 3)


def write_lhm(folder: Path, poses: np.ndarray, trans: np.ndarray) -> None:
    """Write axis-angle poses [T 55 3] (y-up) and translations [T 3] as LHM's frames, in camera axes, atomically."""
    import json

    from runtime import rotations

    flip = rotations.from_rotvec(np.array([np.pi, 0.0, 0.0]))
    root = rotations.to_rotvec(rotations.multiply(np.broadcast_to(flip, (len(poses), 4)),
                                                  rotations.from_rotvec(poses[:, 0])))
    partial = folder.with_name(folder.name + ".tmp")
    inner = partial / "smplx_params"
    if partial.exists():
        import shutil

        shutil.rmtree(partial)
    inner.mkdir(parents=True)
    for t in range(len(poses)):
        frame, at = {"betas": [0.0] * 10}, 0
        for key, rows in ROWS.items():
            value = poses[t, at:at + rows] if at else root[t][None]
            frame[key] = (value[0] if rows == 1 else value).tolist()
            at += rows
        frame["trans"] = (trans[t] * [1, -1, -1]).tolist()
        (inner / f"{t + 1:05d}.json").write_text(json.dumps(frame), encoding="utf-8")
    os.replace(partial, folder)
