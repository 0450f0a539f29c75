"""Reading AMASS npz files: SMPL (24 joints), SMPL-H (52), SMPL-X (55). Axis-angle poses; z-up as released, or y-up.

Keys: `poses [T 3J]` (or SMPL-X's `root_orient`, `pose_body`, `pose_jaw`, `pose_eye`, `pose_hand`), `trans [T 3]` and a
frame rate. Object arrays, and all other keys, are left unread.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from baker.body import JOINT_NAMES, PARENTS, make_body
from baker.motion_files.npz import check_headers
from baker.motion_files.skeleton import SkeletonClip, check_clip, check_size, forward
from export_formats.output import new_file
from runtime import rotations
from runtime.errors import InputError

RATE_KEYS = ("mocap_frame_rate", "mocap_framerate", "fps")
"""AMASS has spelt it two ways (SMPL-X and SMPL+H releases); AIST++ and others say fps."""
PARTS = ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")
SMPL_NAMES = (*JOINT_NAMES[:22], "left_hand", "right_hand")
SMPLH_NAMES = (*JOINT_NAMES[:22], *JOINT_NAMES[25:])
NAMES_BY_COUNT = {22: JOINT_NAMES[:22], 24: SMPL_NAMES, 52: SMPLH_NAMES, 55: JOINT_NAMES}
MAX_BYTES = 2 << 30


def read_amass(path: Path) -> SkeletonClip:
    """The clip of an AMASS-layout npz. Raises `InputError` naming the file and the fault."""
    arrays = _read_npz(path)
    poses = _poses(arrays, path)
    rate_key = next((key for key in RATE_KEYS if key in arrays), None)
    missing = (["poses"] if poses is None else []) + (["trans"] if "trans" not in arrays else [])
    missing += [RATE_KEYS[0]] if rate_key is None else []
    if poses is None or rate_key is None or missing:
        raise InputError(f"{path}: has no key {', '.join(missing)}; an AMASS-layout npz is needed")
    trans, rate = _numbers(arrays["trans"], "trans", path), _numbers(arrays[rate_key], rate_key, path)
    if rate.size != 1:
        raise InputError(f"{path}: {rate_key} must be one number, it has shape {rate.shape}")
    if poses.ndim != 2 or poses.shape[1] % 3 or poses.shape[1] // 3 not in NAMES_BY_COUNT:
        counts = ", ".join(str(3 * count) for count in NAMES_BY_COUNT)
        raise InputError(f"{path}: poses has shape {poses.shape}; SMPL, SMPL-H and SMPL-X have one of {counts} "
                         "numbers a frame (axis-angle)")
    if trans.shape != (len(poses), 3):
        raise InputError(f"{path}: trans has shape {trans.shape}, poses has {len(poses)} frames; it must be "
                         f"[{len(poses)}, 3]")
    for name, value in (("poses", poses), ("trans", trans)):
        sound = np.abs(value) < 1e6
        if not sound.all():
            frame = int(np.argwhere(~sound)[0][0])
            raise InputError(f"{path}: {name} of frame {frame} is NaN or infinite, or beyond reason; repair or cut the "
                             "file")
    names = NAMES_BY_COUNT[poses.shape[1] // 3]
    check_size(len(names), len(poses), str(path))
    return smplx_clip(poses.reshape(len(poses), len(names), 3), trans, names, fps=float(rate.reshape(())),
                      kind="amass", source=str(path))


def smplx_clip(poses: np.ndarray, trans: np.ndarray, names: tuple[str, ...], *, fps: float, kind: str,
               source: str, up: str = "") -> SkeletonClip:
    """A clip of SMPL-X joints from axis-angle poses [T J 3] and translations [T 3], at the built-in body's joints.

    The built-in pelvis is the origin, so pelvis positions are the translations.
    """
    joints = make_body({}).joints.astype(np.float64)
    index = {name: i for i, name in enumerate(JOINT_NAMES)}
    rest = np.array([joints[index[name]] if name in index else joints[index[f"{name[:-5]}_middle1"]]
                     for name in names])
    parents = np.array([-1 if name == "pelvis" else names.index(
        JOINT_NAMES[PARENTS[index[name]]] if name in index else f"{name[:-5]}_wrist") for name in names])
    local = np.repeat(rest[None], len(poses), axis=0)
    has_parent = parents >= 0
    local[:, has_parent] -= rest[parents[has_parent]]
    local[:, 0] = trans
    positions, turns = forward(parents, local, rotations.from_rotvec(poses))
    return check_clip(SkeletonClip(kind=kind, fps=fps, joint_names=names, parents=parents, rest_positions=rest,
                                   turns_wxyz=turns, positions=positions, smplx=True, metres=True, up=up), source)


def _poses(arrays: Mapping[str, np.ndarray], path: Path) -> np.ndarray | None:
    """`poses`, or SMPL-X's parts side by side; None if neither is there."""
    if "poses" in arrays:
        return _numbers(arrays["poses"], "poses", path)
    if "root_orient" not in arrays or "pose_body" not in arrays:
        return None
    parts = [_numbers(arrays[name], name, path) for name in PARTS if name in arrays]
    if any(part.ndim != 2 or len(part) != len(parts[0]) for part in parts):
        raise InputError(f"{path}: {', '.join(n for n in PARTS if n in arrays)} must be rows of the same frames")
    if len(parts) < len(PARTS):
        parts = parts[:2]
    return np.concatenate(parts, axis=1)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz that motions have; anything unreadable is refused, nothing is unpickled."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of an AMASS-layout npz")
    wanted = (*RATE_KEYS, "poses", "trans", *PARTS)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise InputError(f"{path}: unpacks to more than {MAX_BYTES >> 30} GiB; cut it")
            broken = archive.testzip()
            if broken is None:
                check_headers(archive)
        if broken is not None:
            raise InputError(f"{path}: {broken[:80]!r} is damaged; copy the file again")
        with np.load(path, allow_pickle=False) as file:
            # Files carry extra keys (gender, betas); an object array among those is skipped, not unpickled.
            arrays = {name: file[name] for name in file.files if name in wanted}
            return {name: value for name, value in arrays.items() if isinstance(value, np.ndarray)}
    except zipfile.BadZipFile:
        raise InputError(f"{path}: is not an npz file, or is truncated; copy the file again") from None
    except InputError:
        raise
    except Exception as error:  # numpy's header parser raises nearly anything (tokenize, SyntaxError, MemoryError …)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason}); copy the file again") from None


def _numbers(value: np.ndarray, name: str, path: Path) -> np.ndarray:
    """The array as float64, or an error if it does not hold numbers."""
    if value.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name} holds {value.dtype.name!r}, not numbers; an AMASS-layout npz is needed")
    return value.astype(np.float64)


def write_amass(path: Path, poses: np.ndarray, trans: np.ndarray, *, fps: float) -> None:
    """Write axis-angle poses [T 55 3] and translations [T 3] in AMASS's SMPL-X layout (y-up), atomically.

    `path` ends with .npz."""
    with new_file(path) as part:
        np.savez_compressed(part, poses=poses.reshape(len(poses), -1), trans=trans, mocap_frame_rate=fps,
                            gender=np.array("neutral"), surface_model_type=np.array("smplx"), betas=np.zeros(16))
