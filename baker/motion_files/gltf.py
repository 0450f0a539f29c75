"""Reading glTF animations: translation, rotation and scale channels, linear, step and cubic.

Every node of the trees that move, or that a skin names, is a joint. Frames are sampled evenly at the file's own rate,
found from its key times, 60 a second at most.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from baker.gltf_file import (
    Gltf,
    Nodes,
    gltf_numbers,
    local_matrices,
    open_gltf,
    read_nodes,
    world_matrices,
)
from baker.motion_files.skeleton import (
    MAX_FRAMES,
    SkeletonClip,
    check_clip,
    check_rate,
    check_size,
    conjugate,
    continuous,
)
from runtime import rotations
from runtime.errors import InputError

MAX_FPS = 60.0
DEFAULT_FPS = 30.0
MAX_KEYS = 40_000_000
"""Times and values of all channels together: half an hour of 60 joints at 60 a second, three channels each."""


def clip_names(gltf: Gltf) -> tuple[str, ...]:
    """Names of a file's animations; unnamed ones are numbered."""
    return tuple(str(item.get("name") or f"animation{i}")[:200] for i, item in enumerate(gltf.items("animations")))


def read_gltf_clip(path: Path, name: str | None) -> SkeletonClip:
    """One animation by name or number; the only one where there is but one. Raises `InputError` that lists them."""
    gltf = open_gltf(path)
    names = clip_names(gltf)
    if not names:
        raise InputError(f"{path}: has no animations; as a motion, give a file that has")
    if name is None and len(names) > 1:
        raise InputError(f"{path}: has {len(names)} animations; choose one as {path.name}#{names[0]} "
                         f"({', '.join(names[:12])}{', …' if len(names) > 12 else ''})")
    if name is not None and name not in names and not (name.isdecimal() and int(name) < len(names)):
        close = [n for n in names if name.lower() in n.lower()] or list(names)
        raise InputError(f"{path}: has no animation {name!r}; it has {', '.join(close[:12])}"
                         f"{', …' if len(close) > 12 else ''}")
    number = 0 if name is None else names.index(name) if name in names else int(name)
    return _clip(gltf, gltf.items("animations")[number], names[number])


def _clip(gltf: Gltf, animation: Any, name: str) -> SkeletonClip:
    nodes = read_nodes(gltf)
    channels = _channels(gltf, animation, nodes, name)
    start = min((float(times[0]) for times, *_ in channels.values()), default=0.0)
    stop = max((float(times[-1]) for times, *_ in channels.values()), default=0.0)
    fps = _rate([times for times, *_ in channels.values()])
    frames = min(int(np.floor((stop - start) * fps + 1e-3)) + 1, MAX_FRAMES + 1)
    joints = _joints(gltf, nodes, {row for row, _ in channels})
    check_size(len(joints), frames, f"{gltf.path}#{name}")
    times = start + np.arange(frames) / fps
    # Few nodes matter, and each 4 x 4 matrix counts: only the joints and what is above them are worked out.
    local = local_matrices(*(np.repeat(value[None, joints], frames, axis=0) for value in
                             (nodes.translations, nodes.quats_wxyz, nodes.scales)))
    parts = {row: [np.repeat(v[None, row], frames, axis=0) for v in
                   (nodes.translations, nodes.quats_wxyz, nodes.scales)] for row, _ in channels}
    for (row, part), (keys, values, mode) in channels.items():
        parts[row][part] = _sample(keys, values, mode, times, rotation=part == 1)
    place = {row: k for k, row in enumerate(joints)}
    for row, values in parts.items():
        local[:, place[row]] = local_matrices(*values)
    parents = np.array([place.get(int(nodes.parents[row]), -1) for row in joints])
    world = world_matrices(parents, local)
    rest = bind_pose(gltf, nodes)[joints]
    turns = rotations.multiply(_quats(world), np.broadcast_to(conjugate(_quats(rest)), (frames, len(joints), 4)))
    return check_clip(SkeletonClip(
        kind="fbx" if gltf.path.suffix.lower() == ".fbx" else "gltf", fps=fps,
        joint_names=tuple(nodes.names[row] for row in joints), parents=parents,
        rest_positions=rest[:, :3, 3], turns_wxyz=continuous(turns), positions=world[..., :3, 3], up="y",
        roles=humanoid_roles(gltf, nodes)), f"{gltf.path}#{name}")


def bind_pose(gltf: Gltf, nodes: Nodes) -> np.ndarray:
    """World matrices [K 4 4] of all nodes in the pose the skin was bound in, placed as the file's own pose places the
    first joint; the file's own pose for nodes of no skin, hung on their parents."""
    world = nodes.world()
    bound: dict[int, np.ndarray] = {}
    for skin in gltf.items("skins"):
        rows, inverse = skin_joints(gltf, skin, nodes)
        first = rows[0]
        to_world = bound.get(first, world[first]) @ inverse[0]
        for row, matrix in zip(rows, inverse, strict=True):
            bound.setdefault(row, to_world @ _inverse(gltf, matrix))
    result = np.empty_like(world)
    local = local_matrices(nodes.translations, nodes.quats_wxyz, nodes.scales)
    for k, parent in enumerate(nodes.parents):
        result[k] = bound[k] if k in bound else local[k] if parent < 0 else result[parent] @ local[k]
    # What lies above the joints was placed without them; the pose of joints decides only theirs and below.
    return result


def skin_joints(gltf: Gltf, skin: Any, nodes: Nodes) -> tuple[list[int], np.ndarray]:
    """Rows of a skin's joints in `nodes`, and their inverse bind matrices [J 4 4]."""
    listed = skin.get("joints")
    if not isinstance(listed, list) or not listed:
        raise gltf.fail("a skin has no joints; export it again")
    for joint in listed:
        gltf.item("nodes", joint)
    if len(listed) > 1024:
        raise gltf.fail(f"a skin has {len(listed)} joints, the limit is 1024")
    rows = [nodes.row[joint] for joint in listed]
    if "inverseBindMatrices" not in skin:
        return rows, np.tile(np.eye(4), (len(rows), 1, 1))
    inverse = gltf.accessor(skin["inverseBindMatrices"], columns=(16,)).astype(np.float64)
    if len(inverse) < len(rows):
        raise gltf.fail(f"a skin has {len(rows)} joints but {len(inverse)} inverse bind matrices; export it again")
    return rows, inverse[: len(rows)].reshape(-1, 4, 4).transpose(0, 2, 1)


def _inverse(gltf: Gltf, matrix: np.ndarray) -> np.ndarray:
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-18:
        raise gltf.fail("an inverse bind matrix is singular (a joint scaled to nothing); repair the rig")
    return np.linalg.inv(matrix)


def _quats(matrices: np.ndarray) -> np.ndarray:
    """The rotations [... 4] nearest to matrices [... 4 4] that may have scale, even a zero one; of the point reflection
    of a mirrored one, which has no nearest rotation of its own (three ways are equally near): the turn from a mirrored
    rest to a mirrored pose is then the mirror image's."""
    linear = matrices[..., :3, :3]
    side = np.where(np.linalg.det(linear) < 0, -1.0, 1.0)[..., None, None]
    return rotations.from_matrix(rotations.nearest_rotation(side * linear))


def _joints(gltf: Gltf, nodes: Nodes, moved: set[int]) -> list[int]:
    """Rows of skins' joints (of moved nodes where there is no skin), with all nodes above them, parents first."""
    rows = {row for skin in gltf.items("skins") for row in skin_joints(gltf, skin, nodes)[0]} | moved
    for row in list(rows):
        while (row := int(nodes.parents[row])) >= 0:
            rows.add(row)
    return sorted(rows)


def _channels(gltf: Gltf, animation: Any, nodes: Nodes,
              name: str) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray, str]]:
    """(node row, 0 translation, 1 rotation or 2 scale) to key times, values and mode."""
    samplers, listed = animation.get("samplers", []), animation.get("channels", [])
    if not isinstance(samplers, list) or not isinstance(listed, list) or len(listed) > 100_000:
        raise gltf.fail(f"animation {name!r} has no channels; export it again")
    found: dict[tuple[int, int], tuple[np.ndarray, np.ndarray, str]] = {}
    values_count = 0
    for channel in listed:
        target = channel.get("target") if isinstance(channel, dict) else None
        part = {"translation": 0, "rotation": 1, "scale": 2}.get(
            str(target.get("path")) if isinstance(target, dict) else "", -1)
        if part < 0 or not isinstance(target, dict) or "node" not in target:
            continue  # morph weights, and targets of extensions
        gltf.item("nodes", target["node"])
        number = channel.get("sampler")
        if not isinstance(number, int) or not 0 <= number < len(samplers) or not isinstance(samplers[number], dict):
            raise gltf.fail(f"animation {name!r} names a sampler that is not there; export it again")
        sampler = samplers[number]
        mode = str(sampler.get("interpolation", "LINEAR"))
        for accessor in (sampler.get("input"), sampler.get("output")):
            values_count += gltf.whole(gltf.item("accessors", accessor), "count")
        if values_count > MAX_KEYS:
            raise gltf.fail(f"animation {name!r} has over {MAX_KEYS} keys; cut it")
        times = gltf.accessor(sampler.get("input"), columns=(1,))[:, 0].astype(np.float64)
        values = gltf.accessor(sampler.get("output"), columns=(4,) if part == 1 else (3,)).astype(np.float64)
        keys = 3 * len(times) if mode == "CUBICSPLINE" else len(times)
        if not len(times) or len(values) != keys or (np.diff(times) < 0).any():
            raise gltf.fail(f"animation {name!r} has {len(values)} values for {len(times)} times; export it again")
        if part == 1:
            values = values[:, [3, 0, 1, 2]]
        found[nodes.row[target["node"]], part] = (times, values, mode)
    if not found:
        raise gltf.fail(f"animation {name!r} moves no node; choose another")
    return found


def _rate(times: list[np.ndarray]) -> float:
    """Keys a second: the median step of the channel with the most keys."""
    most = max(times, key=len)
    steps = np.diff(most)
    steps = steps[steps > 1e-5]
    if not len(steps):
        return DEFAULT_FPS
    rate = 1.0 / float(np.median(steps))
    # A file keyed sparsely is smooth between its keys.
    rate = float(np.clip(rate, DEFAULT_FPS if rate < 20 else rate, MAX_FPS))
    return check_rate(rate, "an animation")


def _sample(keys: np.ndarray, values: np.ndarray, mode: str, times: np.ndarray, *, rotation: bool) -> np.ndarray:
    """Channel values at `times`; rotations are normalised and go the short way."""
    at = np.clip(times, keys[0], keys[-1])
    k = np.clip(np.searchsorted(keys, at, side="right") - 1, 0, max(len(keys) - 2, 0))
    n = np.minimum(k + 1, len(keys) - 1)
    width = np.maximum(keys[n] - keys[k], 1e-9)
    t = np.clip((at - keys[k]) / width, 0, 1)[:, None]
    if mode == "CUBICSPLINE":
        tangent_in, point, tangent_out = values[0::3], values[1::3], values[2::3]
        w = width[:, None]
        result = ((2 * t**3 - 3 * t**2 + 1) * point[k] + w * (t**3 - 2 * t**2 + t) * tangent_out[k]
                  + (-2 * t**3 + 3 * t**2) * point[n] + w * (t**3 - t**2) * tangent_in[n])
    elif mode == "STEP":
        result = np.where(t >= 1, values[n], values[k])
    elif rotation:
        a = _unit_quats(values)
        first, second = a[k], a[n]
        second = np.where((first * second).sum(1, keepdims=True) < 0, -second, second)
        angle = np.arccos(np.clip((first * second).sum(1, keepdims=True), -1, 1))
        sine = np.sin(angle)
        small = sine < 1e-5
        result = np.where(small, (1 - t) * first + t * second,
                          (np.sin((1 - t) * angle) * first + np.sin(t * angle) * second) / np.where(small, 1, sine))
    else:
        result = (1 - t) * values[k] + t * values[n]
    return _unit_quats(result) if rotation else result


def _unit_quats(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(length > 1e-9, values / np.maximum(length, 1e-9), [1.0, 0, 0, 0])


VRM_ROLES = {"hips": "pelvis", "neck": "neck", "head": "head", "jaw": "jaw", **{
    f"{side}{bone}": f"{side}_{role}" for side in ("left", "right") for bone, role in (
        ("UpperLeg", "hip"), ("LowerLeg", "knee"), ("Foot", "ankle"), ("Toes", "foot"), ("Shoulder", "collar"),
        ("UpperArm", "shoulder"), ("LowerArm", "elbow"), ("Hand", "wrist"))}}
"""VRM's humanoid bones to roles."""


def humanoid_roles(gltf: Gltf, nodes: Nodes) -> tuple[tuple[str, str], ...]:
    """(role, node name) pairs a VRM states, version 0 (a list) or 1 (an object)."""
    extensions = gltf.json.get("extensions", {})
    extensions = extensions if isinstance(extensions, dict) else {}
    found: list[tuple[str, str]] = []
    for key in ("VRM", "VRMC_vrm"):
        humanoid = extensions[key].get("humanoid") if isinstance(extensions.get(key), dict) else None
        bones = humanoid.get("humanBones") if isinstance(humanoid, dict) else None
        pairs = ([(b.get("bone"), b.get("node")) for b in bones if isinstance(b, dict)] if isinstance(bones, list) else
                 [(bone, v.get("node")) for bone, v in bones.items() if isinstance(v, dict)]
                 if isinstance(bones, dict) else [])
        for bone, node in pairs:
            if str(bone) in VRM_ROLES and isinstance(node, int) and node in nodes.row:
                found.append((VRM_ROLES[str(bone)], nodes.names[nodes.row[node]]))
    return tuple(found)


__all__ = ["bind_pose", "clip_names", "gltf_numbers", "humanoid_roles", "read_gltf_clip", "skin_joints"]
