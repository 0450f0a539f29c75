"""Reading BVH (Biovision hierarchy): any channel order, positions on any joint, tabs, CRLF, several roots refused.

A frame is a row of channel values, degrees for rotations, in the order of the hierarchy. A joint's local rotation is
the product of its channels' turns in their order. The rest pose has no rotations and lies at the offsets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from baker.motion_files.skeleton import SkeletonClip, check_clip, check_rate, check_size, conjugate, forward
from baker.motion_files.text import read_text
from export_formats.output import new_file
from runtime import rotations
from runtime.errors import InputError

CHANNELS = {f"{axis}{kind}": (kind, i) for i, axis in enumerate("xyz") for kind in ("position", "rotation")}
MAX_DEPTH = 200


@dataclass
class _Joint:
    name: str
    parent: int
    offset: np.ndarray
    channels: list[tuple[str, int, int]] = field(default_factory=list)
    """(position or rotation, axis, column of a frame's row)."""


def read_bvh(path: Path) -> SkeletonClip:
    """The clip of a BVH file. Raises `InputError` naming the file and, where it helps, the line."""
    lines = read_text(path, what="BVH").splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip().upper() == "MOTION"), None)
    if not lines or lines[0].strip("\ufeff \t").upper() != "HIERARCHY" or start is None:
        raise InputError(f"{path}: is not a BVH file (no HIERARCHY and MOTION sections); export it as BVH again")
    joints = _hierarchy(_tokens(lines[1:start]), path)
    columns = sum(len(joint.channels) for joint in joints)
    if columns == 0:
        raise InputError(f"{path}: no joint has CHANNELS, so nothing moves; export it as BVH again")
    frames, seconds, first = _motion_header(lines, start, path)
    check_size(len(joints), frames, str(path))
    values, warnings = _rows(lines[first:], first, frames, columns, path)
    return _clip(joints, values, check_rate(1.0 / seconds, str(path)), warnings, path)


def _tokens(lines: list[str]) -> Iterator[tuple[str, int]]:
    """Words with their line numbers; braces stand alone even when glued to a name."""
    for number, line in enumerate(lines, start=2):
        for word in line.replace("{", " { ").replace("}", " } ").split():
            yield word, number


def _hierarchy(tokens: Iterator[tuple[str, int]], path: Path) -> list[_Joint]:
    """The joints, parents first. End sites have no joint: nothing turns there."""
    joints: list[_Joint] = []
    stack: list[int] = []  # joint of each open brace, -1 for an end site
    column, opening = 0, -2
    for word, line in tokens:
        key = word.upper()
        if key in ("ROOT", "JOINT", "END"):
            if key == "ROOT" and joints:
                raise InputError(f"{path}: line {line}: has a second ROOT; give a file of one figure")
            name = _word(tokens, path, line)
            if key == "END":
                opening = -1
            else:
                if key == "JOINT" and (not stack or stack[-1] < 0):
                    raise InputError(f"{path}: line {line}: JOINT {name} has no parent")
                joints.append(_Joint(name, stack[-1] if stack else -1, np.zeros(3)))
                opening = len(joints) - 1
                check_size(len(joints), 1, str(path))
        elif key == "{":
            if opening == -2 or len(stack) > MAX_DEPTH:
                raise InputError(f"{path}: line {line}: a brace opens nothing")
            stack.append(opening)
            opening = -2
        elif key == "}":
            if not stack:
                raise InputError(f"{path}: line {line}: a brace closes nothing")
            stack.pop()
        elif key == "OFFSET" and stack:
            offset = np.array([_number(_word(tokens, path, line), path, line) for _ in range(3)])
            if stack[-1] >= 0:
                joints[stack[-1]].offset = offset
        elif key == "CHANNELS" and stack and stack[-1] >= 0:
            for _ in range(int(_number(_word(tokens, path, line), path, line, low=0.0, high=6.0))):
                channel = CHANNELS.get(_word(tokens, path, line).lower())
                if channel is None:
                    raise InputError(f"{path}: line {line}: a channel of {joints[stack[-1]].name} is not one of "
                                     "Xposition … Zrotation")
                joints[stack[-1]].channels.append((*channel, column))
                column += 1
        else:
            raise InputError(f"{path}: line {line}: {word[:40]!r} is not BVH")
    if stack or not joints:
        raise InputError(f"{path}: the hierarchy is not complete; copy the file again")
    return joints


def _word(tokens: Iterator[tuple[str, int]], path: Path, line: int) -> str:
    word, _ = next(tokens, ("", 0))
    if not word:
        raise InputError(f"{path}: line {line}: the hierarchy ends here; copy the file again")
    return word


def _number(word: str, path: Path, line: int, *, low: float = -1e9, high: float = 1e9) -> float:
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise InputError(f"{path}: line {line}: {word[:40]!r} is not a number that fits here")
    return value


def _motion_header(lines: list[str], start: int, path: Path) -> tuple[int, float, int]:
    """Frame count, frame time [s], and the line after them."""
    found: dict[str, float] = {}
    place = start + 1
    while place < len(lines) and len(found) < 2:
        line = lines[place].strip()
        name, colon, value = line.partition(":")
        if line:
            if not colon or name.strip().lower() not in ("frames", "frame time"):
                raise InputError(f"{path}: line {place + 1}: expected 'Frames:' and 'Frame Time:'")
            found[name.strip().lower()] = _number(value.strip() or "?", path, place + 1, low=0.0)
        place += 1
    if len(found) < 2 or found["frame time"] <= 0:
        raise InputError(f"{path}: has no 'Frames:' and positive 'Frame Time:'; export it as BVH again")
    return int(found["frames"]), found["frame time"], place


def _rows(lines: list[str], first: int, frames: int, columns: int, path: Path) -> tuple[np.ndarray, list[str]]:
    """Channel values [T C]. Frames missing at the end, and a cut last one, are left out with a warning."""
    words = [(number, line.split()) for number, line in enumerate(lines, start=first + 1) if line.strip()]
    warnings: list[str] = []
    if words and len(words[-1][1]) < columns and len(words) > 1:
        words.pop()
        warnings.append("the last frame is cut off and was left out")
    for number, row in words:
        if len(row) != columns:
            raise InputError(f"{path}: line {number}: has {len(row)} values, the hierarchy has {columns} channels")
    if not words:
        raise InputError(f"{path}: holds no frames")
    if len(words) < frames:
        warnings.append(f"says {frames} frames, has {len(words)}")
    elif frames and len(words) > frames:
        warnings.append(f"says {frames} frames, has {len(words)}; the first {frames} are used")
        words = words[:frames]
    try:
        return np.array([row for _, row in words], np.float64), warnings
    except ValueError:
        for number, row in words:
            for word in row:
                _number(word, path, number)
        raise InputError(f"{path}: a frame holds something that is not a number") from None


def _clip(joints: list[_Joint], values: np.ndarray, fps: float, warnings: list[str], path: Path) -> SkeletonClip:
    """Positions and rotations of all frames from the channel values."""
    frames, count = len(values), len(joints)
    bad = ~(np.abs(values) < 1e9).all(1)
    if bad.any():
        raise InputError(f"{path}: frame {int(np.argmax(bad))} holds NaN, infinity or a number beyond reason; repair "
                         "or cut the file")
    local_positions = np.empty((frames, count, 3))
    local_quats = np.zeros((frames, count, 4))
    local_quats[..., 0] = 1
    for i, joint in enumerate(joints):
        local_positions[:, i] = joint.offset
        placed = [axis for kind, axis, _ in joint.channels if kind == "position"]
        # Position channels replace the offset (the root's is where the file was made, not where the figure is).
        local_positions[:, i, placed] = 0
        for kind, axis, column in joint.channels:
            if kind == "position":
                local_positions[:, i, axis] += values[:, column]
                continue
            turn = np.zeros((frames, 3))
            turn[:, axis] = np.deg2rad(values[:, column])
            local_quats[:, i] = rotations.multiply(local_quats[:, i], rotations.from_rotvec(turn))
    parents = np.array([joint.parent for joint in joints], np.int64)
    rest = np.array([joint.offset for joint in joints])
    for i, parent in enumerate(parents):
        if parent >= 0:
            rest[i] += rest[parent]
    positions, quats = forward(parents, local_positions, local_quats)
    return check_clip(SkeletonClip(
        kind="bvh", fps=fps, joint_names=tuple(joint.name for joint in joints), parents=parents,
        rest_positions=rest, turns_wxyz=quats, positions=positions, warnings=tuple(warnings)), str(path))


def write_bvh(path: Path, clip: SkeletonClip) -> None:
    """Write a clip as BVH, atomically: root position, then ZXY rotations of every joint, in the clip's own units and
    axes. Raises `InputError` for a clip with several roots and for a path that cannot be written."""
    if (clip.parents < 0).sum() != 1:
        raise InputError(f"{path}: BVH holds one figure with one root; this has {(clip.parents < 0).sum()}")
    lines, order = _hierarchy_lines(clip)
    angles = np.empty((clip.frames, len(order), 3))
    for column, i in enumerate(order):
        parent = clip.parents[i]
        local = clip.turns_wxyz[:, i] if parent < 0 else rotations.multiply(
            conjugate(clip.turns_wxyz[:, parent]), clip.turns_wxyz[:, i])
        angles[:, column] = np.rad2deg(_zxy(rotations.to_matrix(rotations.normalize(local))))
    rows = np.concatenate([clip.positions[:, order[0]], angles.reshape(clip.frames, -1)], axis=1)
    lines += ["MOTION", f"Frames: {clip.frames}", f"Frame Time: {1 / clip.fps:.8f}",
              *(" ".join(f"{value:.6f}" for value in row) for row in rows)]
    with new_file(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _hierarchy_lines(clip: SkeletonClip) -> tuple[list[str], list[int]]:
    """The hierarchy's lines, and the joints in its order: depth first."""
    children: dict[int, list[int]] = {i: [] for i in range(-1, len(clip.parents))}
    for i, parent in enumerate(clip.parents):
        children[int(parent)].append(i)
    lines, order = ["HIERARCHY"], []
    # Joints still to be opened (a joint, its depth) or closed (None, its depth); a chain may be a thousand long.
    stack: list[tuple[int | None, int]] = [(children[-1][0], 0)]
    while stack:
        i, depth = stack.pop()
        pad = "\t" * depth
        if i is None:
            lines.append(f"{pad}}}")
            continue
        order.append(i)
        start = clip.rest_positions[clip.parents[i]] if depth else np.zeros(3)
        x, y, z = clip.rest_positions[i] - start
        name = "_".join(re.split(r"[\s{}]+", clip.joint_names[i].strip())) or f"joint{i}"
        channels = "3" if depth else "6 Xposition Yposition Zposition"
        lines.append(f"{pad}{'JOINT' if depth else 'ROOT'} {name}\n{pad}{{\n{pad}\tOFFSET {x:.6f} {y:.6f} {z:.6f}\n"
                     f"{pad}\tCHANNELS {channels} Zrotation Xrotation Yrotation")
        if not children[i]:
            lines.append(f"{pad}\tEnd Site\n{pad}\t{{\n{pad}\t\tOFFSET 0 0 0\n{pad}\t}}")
        stack.append((None, depth))
        stack += [(child, depth + 1) for child in reversed(children[i])]
    return lines, order


def _zxy(m: np.ndarray) -> np.ndarray:
    """Angles [... 3] (z, x, y) [rad] with m = Rz Rx Ry."""
    x = np.arcsin(np.clip(m[..., 2, 1], -1, 1))
    locked = np.abs(m[..., 2, 1]) > 1 - 1e-10
    z = np.where(locked, np.arctan2(m[..., 1, 0], m[..., 0, 0]), np.arctan2(-m[..., 0, 1], m[..., 1, 1]))
    y = np.where(locked, 0.0, np.arctan2(-m[..., 2, 0], m[..., 2, 2]))
    return np.stack([z, x, y], axis=-1)
