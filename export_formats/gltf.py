"""glTF 2.0 binary with KHR_gaussian_splatting: one still frame, or a whole clip on a skeleton.

The clip is standard glTF throughout: joints are nodes, the binding is a skin, the residual's basis vectors are morph
targets and its coefficient track is the animation of their weights. A morph target comes before the skin, as the
residual does, so that any program that plays skinned and morphed points puts every centre where our player has it.

Morph targets of core glTF move positions. What the residual does to orientations and sizes goes into the attributes
`_ROTATION` (rotation vectors [rad]) and `_LOG_SCALE` of the same targets, which programs may ignore:

    rotation = exp(_ROTATION + sum of weighted targets) * exp(_ROTATION)^-1 * KHR_gaussian_splatting:ROTATION
    scale    = exp(_LOG_SCALE + sum of weighted targets) * KHR_gaussian_splatting:SCALE
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from export_formats import ExportOptions, Report
from export_formats.axes import OURS
from export_formats.glb import ARRAY_BUFFER, GlbBuffer
from export_formats.gltf_targets import Target, targets_of, turns_or_scales, weights_of, write_targets
from export_formats.sampling import sample_times, sampled_residual, selected, still
from runtime import rotations
from runtime.archive import write_atomically
from runtime.errors import InputError
from runtime.player import Player
from runtime.skinning import apply_residual, local_rest_transforms
from runtime.types import Bundle, GaussianSet, Residual, Rig

EXTENSION = "KHR_gaussian_splatting"
LOST_STILL = ("the rig, the motion and the labels: one frame is written",)
OPENS_WITH_STILL = "PlayCanvas, three.js (r187, WebGPURenderer), Babylon.js 9, Cesium, UnitySplats; others show points"
OPENS_WITH = ("glTF players that skin and morph points, as moving coloured points (checked: Blender; Babylon.js, its "
              "splat extension off); PlayCanvas, three.js, Babylon.js as splats at rest: none skins splats yet")
_INFLUENCES = 4
"""Joints of one JOINTS_n attribute."""
_EVEN = 1e-6
"""Scales within this of 1, and axes within this of even, are rounding."""
_STILL = 1e-6
"""A joint that turns less than this, in every component of its quaternion, is not animated."""


def write_still(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """One frame as a static GLB."""
    buffer = GlbBuffer()
    primitive = _primitive(buffer, still(bundle, _in_our_axes(options, path), axes=OURS))
    content = buffer.glb(_document(bundle, [{"name": bundle.manifest.name, "mesh": 0}], roots=[0]) | {
        "meshes": [{"primitives": [primitive]}]})
    write_atomically(path, content)
    return Report(path=path, size_bytes=len(content), frames=1, lost=LOST_STILL, opens_with=OPENS_WITH_STILL)


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """A clip, or all with `options.all_clips`: splats, skin, morph targets, animations. A still one with `rest`."""
    if options.rest:
        return write_still(bundle, path, options)
    bundle = selected(bundle, _in_our_axes(options, path))
    chosen = [replace(options, clip=clip) for clip in _clips(bundle, options)]
    sampled = [sampled_residual(bundle, each) for each in chosen]
    # The base may hold one clip's mean. More clips have a target each for theirs.
    single = sampled[0][0] if len(chosen) == 1 and options.residual else None
    targets = [target for index, (residual, frames) in enumerate(sampled) if options.residual
               for target in targets_of(residual, frames, clip=index, with_mean=single is None)]
    buffer = GlbBuffer()
    primitive = _primitive(buffer, bundle.gaussians if single is None else _with_means(bundle.gaussians, single))
    primitive["attributes"] |= _skin_attributes(buffer, bundle.rig)
    mesh: dict[str, Any] = {"primitives": [primitive]}
    if targets:
        write_targets(targets, buffer, primitive, count=bundle.gaussians.count,
                      turned=None if single is None else (single.moving, single.d_rotations.mean))
        mesh["weights"] = [0.0] * len(targets)
    weights = [weights_of(targets, clip=index, frames=len(frames)) for index, (_, frames) in enumerate(sampled)]
    animations = [_animation(buffer, bundle, each, weights=own) for each, own in zip(chosen, weights, strict=True)]
    matrices = np.linalg.inv(bundle.rig.T_world_joint_rest)
    matrices[:, 3] = (0, 0, 0, 1)
    # glTF stores matrices by columns.
    inverse_bind = buffer.accessor(matrices.transpose(0, 2, 1).reshape(-1, 16).astype("<f4"))
    nodes = _nodes(bundle)
    content = buffer.glb(_document(bundle, nodes, roots=[0, 1]) | {
        "meshes": [mesh], "animations": animations,
        "skins": [{"joints": list(range(1, len(nodes))), "inverseBindMatrices": inverse_bind, "skeleton": 1}]})
    write_atomically(path, content)
    return Report(path=path, size_bytes=len(content), frames=sum(len(frames) for _, frames in sampled),
                  lost=_lost(bundle, chosen, targets), opens_with=OPENS_WITH)


def _clips(bundle: Bundle, options: ExportOptions) -> list[int]:
    """The clips to write."""
    if options.all_clips and options.frames is not None:
        raise InputError(f"{bundle.manifest.name}: frames are of one clip; leave out --frames, or --all-clips")
    return list(range(len(bundle.clips))) if options.all_clips else [options.clip]


def _lost(bundle: Bundle, chosen: list[ExportOptions], targets: list[Target]) -> tuple[str, ...]:
    lost, left = ["the labels"], len(bundle.clips) - len(chosen)
    if left:
        lost.append(f"the other {left} of {len(bundle.clips)} clips (--all-clips writes all)")
    if turns_or_scales(targets):
        lost.append("the residual of orientation and size, for programs that ignore the attributes _ROTATION and "
                    "_LOG_SCALE: it is in no standard attribute")
    if _is_stretched(bundle.rig):
        lost.append("uneven scales and shears of the rest pose's joints: glTF's cannot turn")
    lost.append("the nearest rotation of blended joints: programs that skin orientations may blend them otherwise")
    return tuple(lost)


def _with_means(gaussians: GaussianSet, residual: Residual) -> GaussianSet:
    """The rest pose with the residual's temporal mean, which needs no morph target."""
    return apply_residual(gaussians, residual.moving, residual.d_means.mean, residual.d_rotations.mean,
                          residual.d_log_scales.mean)


def _primitive(buffer: GlbBuffer, gaussians: GaussianSet) -> dict[str, Any]:
    """A points primitive of Gaussians. COLOR_0 (linear, as glTF has it) is for programs without the extension."""
    encoded = np.clip(gaussians.colors.astype(np.float64), 0.0, 1.0)
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    color = np.rint(np.column_stack([linear, gaussians.opacities]) * 65535).astype("<u2")

    def add(values: np.ndarray, **changes: Any) -> int:
        return buffer.accessor(values.astype("<f4"), target=ARRAY_BUFFER, **changes)

    return {
        "mode": 0,
        "attributes": {
            "POSITION": add(gaussians.means, bounds=True),
            "COLOR_0": buffer.accessor(color, target=ARRAY_BUFFER, normalized=True),
            f"{EXTENSION}:ROTATION": add(np.roll(rotations.normalize(gaussians.quats_wxyz), -1, axis=1)),
            f"{EXTENSION}:SCALE": add(np.exp(gaussians.log_scales)),
            f"{EXTENSION}:OPACITY": add(gaussians.opacities),
            f"{EXTENSION}:SH_DEGREE_0_COEF_0": add(gaussians.sh0)},
        "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display",
                                   "projection": "perspective", "sortingMethod": "cameraDistance"}}}


def _skin_attributes(buffer: GlbBuffer, rig: Rig) -> dict[str, int]:
    """JOINTS_n and WEIGHTS_n, four influences each. As glTF asks, a joint occurs once, and is 0 without weight."""
    count, width = rig.skin_joints.shape
    sets = -(-width // _INFLUENCES)
    weights = np.zeros((count, sets * _INFLUENCES), "<f4")
    weights[:, :width] = rig.skin_weights
    for later in range(1, width):
        for earlier in range(later):
            same = rig.skin_joints[:, earlier] == rig.skin_joints[:, later]
            weights[same, earlier] += weights[same, later]
            weights[same, later] = 0
    joints = np.zeros(weights.shape, "u1")
    joints[:, :width] = np.where(weights[:, :width] > 0, rig.skin_joints, 0)
    attributes = {}
    for index in range(sets):
        part = slice(index * _INFLUENCES, (index + 1) * _INFLUENCES)
        attributes[f"JOINTS_{index}"] = buffer.accessor(joints[:, part], target=ARRAY_BUFFER)
        attributes[f"WEIGHTS_{index}"] = buffer.accessor(weights[:, part], target=ARRAY_BUFFER)
    return attributes


def _nodes(bundle: Bundle) -> list[dict[str, Any]]:
    """The mesh's node and, from 1, one node a joint in the rest pose."""
    rig, rest = bundle.rig, local_rest_transforms(bundle.rig)
    quats, sizes = _turns_and_sizes(rest)
    nodes: list[dict[str, Any]] = [{"name": bundle.manifest.name, "mesh": 0, "skin": 0}]
    for joint, name in enumerate(rig.joint_names):
        node = {"name": name, "translation": rest[joint, :3, 3].tolist(),
                "rotation": np.roll(quats[joint], -1).tolist(),
                "children": [child + 1 for child in np.flatnonzero(rig.parents == joint).tolist()]}
        if abs(sizes[joint] - 1) > _EVEN:
            node["scale"] = [float(sizes[joint])] * 3
        nodes.append({key: value for key, value in node.items() if key != "children" or value})
    return nodes


def _turns_and_sizes(rest: Float[np.ndarray, "J 4 4"]) -> tuple[Float[np.ndarray, "J 4"], Float[np.ndarray, " J"]]:
    """Local rest transforms as quaternions wxyz and even scales.

    A bundle's joints may also be stretched or sheared at rest. A node's scale comes before its rotation, so that a
    stretched joint that turns is no glTF node: of that the nearest rotation and the volume are kept.
    """
    linear = rest[:, :3, :3]
    sizes = np.cbrt(np.linalg.det(linear))
    return rotations.from_matrix(rotations.nearest_rotation(linear / sizes[:, None, None])), sizes


def _is_stretched(rig: Rig) -> bool:
    """Whether a joint's rest pose is more than a rotation and an even scale."""
    rest = local_rest_transforms(rig)
    quats, sizes = _turns_and_sizes(rest)
    return bool((np.abs(sizes[:, None, None] * rotations.to_matrix(quats) - rest[:, :3, :3]) > _EVEN).any())


def _animation(buffer: GlbBuffer, bundle: Bundle, options: ExportOptions, *, weights: np.ndarray) -> dict[str, Any]:
    """A clip's joints and weights at its sampled times."""
    rest, player = local_rest_transforms(bundle.rig), Player(bundle, options.clip)
    times = sample_times(bundle, options)
    motions = [player.motion_at(time, loop=False) for time in times]
    rest_quats, _ = _turns_and_sizes(rest)
    turns = rotations.multiply(rest_quats[None], np.stack([motion.quats_wxyz[0] for motion in motions]))
    turns = _continuous(rotations.normalize(turns))
    clock = buffer.accessor(np.array(times, "<f4") - np.float32(times[0]), bounds=True)
    animation: dict[str, Any] = {"name": bundle.clips[options.clip].name, "channels": [], "samplers": []}

    def animate(node: int, path: str, values: np.ndarray) -> None:
        animation["channels"].append({"sampler": len(animation["samplers"]), "target": {"node": node, "path": path}})
        animation["samplers"].append({"input": clock, "interpolation": "LINEAR",
                                      "output": buffer.accessor(values.astype("<f4"))})

    animate(1, "translation", rest[0, :3, 3] + np.stack([motion.root_translations[0] for motion in motions]))
    for joint in range(bundle.rig.joint_count):
        signs = np.sign(turns[:, joint] @ rest_quats[joint])[:, None]
        # A joint that another clip turns must be set by this one too, or it would keep that turn.
        if options.all_clips or np.abs(signs * turns[:, joint] - rest_quats[joint]).max() > _STILL:
            animate(joint + 1, "rotation", np.roll(turns[:, joint], -1, axis=1))
    if weights.shape[1]:
        animate(0, "weights", weights.reshape(-1))
    return animation


def _continuous(quats: np.ndarray) -> np.ndarray:
    """Quaternions [T J 4] with signs such that neighbours in time are near: for players that do not choose."""
    flips = np.sign((quats[1:] * quats[:-1]).sum(axis=-1))
    signs = np.cumprod(np.where(flips < 0, -1.0, 1.0), axis=0)
    return np.concatenate([quats[:1], signs[..., None] * quats[1:]])


def _document(bundle: Bundle, nodes: list[dict[str, Any]], *, roots: list[int]) -> dict[str, Any]:
    asset = {"version": "2.0", "generator": bundle.manifest.generator, "copyright": bundle.manifest.source_licence}
    return {"asset": asset, "extensionsUsed": [EXTENSION], "scene": 0, "scenes": [{"nodes": roots}], "nodes": nodes}


def _in_our_axes(options: ExportOptions, path: Path) -> ExportOptions:
    """glTF fixes its axes: +Y up, facing +Z."""
    if options.axes not in (None, OURS):
        raise InputError(f"{path}: glTF is always {OURS} (+Y up, facing +Z), not {options.axes}; turn it in the scene")
    return replace(options, axes=None)
