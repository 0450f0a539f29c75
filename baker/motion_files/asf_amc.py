"""Reading Acclaim motion: a skeleton (.asf) and its frames (.amc), as the CMU library has them.

A bone starts where its parent ends; its channels turn it in its own axes, C R C^-1 with C from `axis`. The joint named
after a bone is at the bone's start. Lengths are in units of `length` inches; up is +y.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from baker.motion_files.skeleton import SkeletonClip, check_clip, check_size, conjugate, forward
from baker.motion_files.text import read_text
from runtime import rotations
from runtime.errors import InputError

AMC_FPS = 120.0
"""AMC has no frame rate; the CMU library is recorded at 120."""


@dataclass
class _Bone:
    name: str
    direction: np.ndarray = field(default_factory=lambda: np.zeros(3))
    length: float = 0.0
    axis: np.ndarray = field(default_factory=lambda: np.zeros(3))
    axis_order: str = "xyz"
    dof: list[str] = field(default_factory=list)


@dataclass
class _Skeleton:
    bones: dict[str, _Bone]
    parents: dict[str, str]
    degrees: bool


def find_asf(path: Path) -> Path:
    """The skeleton of a motion: the one that begins its name, the longest where several do (02.asf of 02_01.amc, not
    0.asf), or the only one beside it."""
    # Not by two globs: where names know no case, both find every file.
    skeletons = sorted(other for other in path.parent.iterdir() if other.suffix.lower() == ".asf")
    named = sorted((s for s in skeletons if path.stem.lower().startswith(s.stem.lower())), key=lambda s: len(s.stem))
    if named or len(skeletons) == 1:
        return (named or skeletons)[-1]
    raise InputError(f"{path}: needs its skeleton, an .asf file beside it "
                     f"({'there is none' if not skeletons else f'there are {len(skeletons)}, none fits its name'})")


def read_amc(path: Path, asf: Path | None = None) -> SkeletonClip:
    """The clip of an .amc with its .asf. Raises `InputError` naming file and line."""
    asf = asf or find_asf(path)
    skeleton = _read_asf(asf)
    names = ["root", *_order(skeleton, asf)]
    parents = np.array([-1, *(names.index(skeleton.parents[name]) for name in names[1:])])
    unit = np.pi / 180 if skeleton.degrees else 1.0
    starts = np.zeros((len(names), 3))
    for i, name in enumerate(names[1:], start=1):
        parent = skeleton.bones.get(skeleton.parents[name])
        starts[i] = parent.direction * parent.length if parent else 0.0
    frames = _read_frames(path, skeleton, names)
    check_size(len(names), len(frames), str(path))
    local = np.repeat(starts[None], len(frames), axis=0)
    quats = np.zeros((len(frames), len(names), 4))
    quats[..., 0] = 1
    for i, name in enumerate(names):
        bone = skeleton.bones[name]
        turn = quats[:, i]
        for k, channel in enumerate(bone.dof):
            values = np.array([frame[name][k] if name in frame else 0.0 for frame in frames])
            kind, axis = channel[0], "xyz".find(channel[-1])
            if kind == "t" and axis >= 0 and name == "root":
                local[:, i, axis] += values
            elif kind == "r" and axis >= 0:
                rotvec = np.zeros((len(frames), 3))
                rotvec[:, axis] = values * unit
                # Channels are in the order they are applied: the first innermost.
                turn = rotations.multiply(rotations.from_rotvec(rotvec), turn)
        frame_of = _euler(bone.axis * unit, bone.axis_order)
        wide = np.broadcast_to(frame_of, turn.shape)
        quats[:, i] = rotations.multiply(rotations.multiply(wide, turn), conjugate(wide))
    rest = starts.copy()
    for i, parent in enumerate(parents):
        if parent >= 0:
            rest[i] += rest[parent]
    positions, turns = forward(parents, local, quats)
    return check_clip(SkeletonClip(kind="asf/amc", fps=AMC_FPS, joint_names=tuple(names), parents=parents,
                                   rest_positions=rest, turns_wxyz=turns, positions=positions), str(path))


def _euler(angles: np.ndarray, order: str) -> np.ndarray:
    """The rotation of angles applied in `order`, the first innermost."""
    quat = np.array([1.0, 0, 0, 0])
    for angle, axis in zip(angles, order, strict=True):
        rotvec = np.zeros(3)
        rotvec["xyz".index(axis)] = angle
        quat = rotations.multiply(rotations.from_rotvec(rotvec), quat)
    return quat


def _read_asf(path: Path) -> _Skeleton:
    section, bone = "", None
    root = _Bone("root", dof=[])
    bones, parents, degrees = {"root": root}, {}, True
    for number, line in enumerate(read_text(path, what="ASF", limit=16 << 20).splitlines(), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0].startswith(":"):
            section = words[0][1:].lower()
            continue
        key, rest = words[0].lower(), words[1:]
        if section == "units" and key == "angle" and rest:
            degrees = rest[0].lower() != "rad"
        elif section == "root":
            _root_line(root, key, rest, path, number)
        elif section == "bonedata":
            if key == "begin":
                bone = _Bone("")
            elif bone is not None and key == "name" and rest:
                bone.name = rest[0]
            elif bone is not None and key == "direction":
                bone.direction = _three(rest, path, number)
            elif bone is not None and key == "length" and rest:
                bone.length = _value(rest[0], path, number)
            elif bone is not None and key == "axis":
                bone.axis, bone.axis_order = _three(rest, path, number), _axis_order(rest, path, number)
            elif bone is not None and key == "dof":
                bone.dof = [word.lower() for word in rest]
            elif bone is not None and key == "end":
                if not bone.name or bone.name in bones:
                    raise InputError(f"{path}: line {number}: a bone has no name of its own")
                bones[bone.name] = bone
                check_size(len(bones), 1, str(path))
        elif section == "hierarchy" and key not in ("begin", "end"):
            for child in rest:
                if words[0] not in bones or child not in bones or child in parents or child == "root":
                    raise InputError(f"{path}: line {number}: the hierarchy names a bone that is not there or twice")
                parents[child] = words[0]
    if len(bones) < 2 or not parents:
        raise InputError(f"{path}: has no bones (:bonedata, :hierarchy); it is not a whole ASF file")
    return _Skeleton(bones, parents, degrees)


def _root_line(root: _Bone, key: str, rest: list[str], path: Path, number: int) -> None:
    if key == "order":
        root.dof = [word.lower() for word in rest]
    elif key == "axis" and rest:
        order = rest[0].lower()
        if sorted(order) != ["x", "y", "z"]:
            raise InputError(f"{path}: line {number}: axis {rest[0][:20]!r} is no order of xyz")
        root.axis_order = order
    elif key == "orientation":
        root.axis = _three(rest, path, number)


def _axis_order(rest: list[str], path: Path, number: int) -> str:
    order = rest[3].lower() if len(rest) > 3 else "xyz"
    if sorted(order) != ["x", "y", "z"]:
        raise InputError(f"{path}: line {number}: axis order {order[:20]!r} is no order of xyz")
    return order


def _order(skeleton: _Skeleton, path: Path) -> list[str]:
    """Bones below the root, parents first."""
    children: dict[str, list[str]] = {}
    for child, parent in skeleton.parents.items():
        children.setdefault(parent, []).append(child)
    order, level = [], ["root"]
    while level:
        level = [child for name in level for child in children.get(name, ())]
        order += level
        if len(order) > len(skeleton.parents):
            raise InputError(f"{path}: its hierarchy has a loop")
    return order


def _read_frames(path: Path, skeleton: _Skeleton, names: list[str]) -> list[dict[str, list[float]]]:
    frames: list[dict[str, list[float]]] = []
    known = set(names)
    for number, line in enumerate(read_text(path, what="AMC").splitlines(), start=1):
        words = line.split("#")[0].split()
        if not words or words[0].startswith(":"):
            continue
        if len(words) == 1 and words[0].isdecimal():
            frames.append({})
            check_size(len(names), len(frames), str(path))
            continue
        if not frames or words[0] not in known:
            raise InputError(f"{path}: line {number}: {words[0][:40]!r} is no frame number and no bone of its skeleton")
        values = [_value(word, path, number) for word in words[1:]]
        if len(values) != len(skeleton.bones[words[0]].dof):
            raise InputError(f"{path}: line {number}: {words[0]} has {len(values)} values, the skeleton says "
                             f"{len(skeleton.bones[words[0]].dof)}")
        frames[-1][words[0]] = values
    if not frames:
        raise InputError(f"{path}: holds no frames")
    return frames


def _three(words: list[str], path: Path, number: int) -> np.ndarray:
    if len(words) < 3:
        raise InputError(f"{path}: line {number}: expected three numbers")
    return np.array([_value(word, path, number) for word in words[:3]])


def _value(word: str, path: Path, number: int) -> float:
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e9:
        raise InputError(f"{path}: line {number}: {word[:40]!r} is not a number that fits here")
    return value
