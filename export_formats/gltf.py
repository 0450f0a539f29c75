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

from export_formats import ExportOptions, Report
from export_formats.axes import OURS
from export_formats.glb import ARRAY_BUFFER, GlbBuffer
from export_formats.sampling import sample_times, sampled_residual, selected, still
from runtime import rotations
from runtime.archive import write_atomically
from runtime.errors import InputError
from runtime.offsets import bracket
from runtime.player import Player
from runtime.skinning import apply_residual, local_rest_transforms
from runtime.types import Bundle, GaussianSet, OffsetTexture, Residual, Rig

EXTENSION = "KHR_gaussian_splatting"
LOST_STILL = ("the rig, the motion and the labels: one frame is written",)
OPENS_WITH_STILL = "PlayCanvas, three.js (r187, WebGPURenderer), Babylon.js 9, Cesium, UnitySplats; others show points"
OPENS_WITH = ("any glTF player that skins and morphs points, as coloured points that move (checked: Babylon.js, its "
              "splat extension off); PlayCanvas, three.js, Babylon.js as splats at rest: none skins splats yet")
_INFLUENCES = 4
"""Joints of one JOINTS_n attribute."""
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
    """A clip: splats, skin, morph targets, animation. The still rest pose with `options.rest`."""
    if options.rest:
        return write_still(bundle, path, options)
    options = _in_our_axes(options, path)
    bundle = selected(bundle, options)
    times = sample_times(bundle, options)
    residual, frames = sampled_residual(bundle, options)
    buffer, targets = GlbBuffer(), _Targets(residual, frames, wanted=options.residual)
    gaussians = _with_means(bundle.gaussians, residual) if options.residual else bundle.gaussians
    primitive = _primitive(buffer, gaussians)
    primitive["attributes"] |= _skin_attributes(buffer, bundle.rig)
    mesh: dict[str, Any] = {"primitives": [primitive]}
    if targets.count:
        targets.write(buffer, primitive, count=gaussians.count)
        mesh["weights"] = [0.0] * targets.count
    nodes, animation = _skeleton(buffer, bundle, options, times, weights=targets.weights)
    matrices = np.linalg.inv(bundle.rig.T_world_joint_rest)
    matrices[:, 3] = (0, 0, 0, 1)
    # glTF stores matrices by columns.
    inverse_bind = buffer.accessor(matrices.transpose(0, 2, 1).reshape(-1, 16).astype("<f4"))
    document = _document(bundle, nodes, roots=[0, 1]) | {
        "meshes": [mesh], "animations": [animation],
        "skins": [{"joints": list(range(1, len(nodes))), "inverseBindMatrices": inverse_bind, "skeleton": 1}]}
    content = buffer.glb(document)
    write_atomically(path, content)
    return Report(path=path, size_bytes=len(content), frames=len(times), lost=_lost(bundle, targets),
                  opens_with=OPENS_WITH)


def _lost(bundle: Bundle, targets: _Targets) -> tuple[str, ...]:
    lost = ["the labels"]
    if len(bundle.clips) > 1:
        lost.append(f"the other {len(bundle.clips) - 1} of {len(bundle.clips)} clips: write one file each (--clip)")
    if targets.turns_or_scales:
        lost.append("the residual of orientation and size, for programs that ignore the attributes _ROTATION and "
                    "_LOG_SCALE: it is in no standard attribute")
    lost.append("the nearest rotation of blended joints: programs that skin orientations may blend them otherwise")
    return tuple(lost)


class _Targets:
    """Morph targets of a residual, and their weights [T, targets] at the sampled frames.

    Groups have bases of their own, so a target moves, turns or scales. Those that do not move have a POSITION of zeros,
    without bytes, because loaders expect one.
    """

    def __init__(self, residual: Residual, frames: list[float], *, wanted: bool) -> None:
        self._moving = residual.moving
        groups = {"POSITION": residual.d_means, "_ROTATION": residual.d_rotations,
                  "_LOG_SCALE": residual.d_log_scales}
        self._deltas: list[tuple[str, np.ndarray]] = []
        columns: list[np.ndarray] = []
        for semantic, texture in groups.items():
            if wanted and len(self._moving):
                deltas, weights = _basis(texture, frames)
                # A target of zeros does nothing, and is not written.
                alive = [k for k in range(len(deltas)) if np.any(deltas[k])]
                self._deltas += [(semantic, deltas[k].astype("<f4")) for k in alive]
                columns += [weights[:, k] for k in alive]
        self.weights = np.stack(columns, axis=1).astype("<f4") if columns else np.zeros((len(frames), 0), "<f4")
        self._rotation_mean = residual.d_rotations.mean

    @property
    def count(self) -> int:
        """Number of targets."""
        return len(self._deltas)

    @property
    def turns_or_scales(self) -> bool:
        """Whether any target does what core glTF has no attribute for."""
        return any(semantic != "POSITION" for semantic, _ in self._deltas)

    def write(self, buffer: GlbBuffer, primitive: dict[str, Any], *, count: int) -> None:
        """Add the targets, as sparse accessors, and the attributes they change, to a primitive of `count` points."""
        kind = np.dtype("<u2") if count <= 65535 else np.dtype("<u4")
        rows = buffer.view(self._moving.astype(kind))
        changed = {semantic for semantic, _ in self._deltas}
        if "_ROTATION" in changed:
            mean = np.zeros((count, 3), "<f4")
            mean[self._moving] = self._rotation_mean
            primitive["attributes"]["_ROTATION"] = buffer.accessor(mean, target=ARRAY_BUFFER)
        if "_LOG_SCALE" in changed:
            primitive["attributes"]["_LOG_SCALE"] = buffer.zeros(count=count)
        nothing = buffer.zeros(count=count) if self.turns_or_scales else -1
        primitive["targets"] = [
            ({} if semantic == "POSITION" else {"POSITION": nothing})
            | {semantic: buffer.sparse(delta, count=count, rows_view=rows, rows_type=kind)}
            for semantic, delta in self._deltas]


def _basis(texture: OffsetTexture, frames: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Basis vectors [K M 3] in the group's unit, and their weights [T K] at fractional frames.

    Dense frames are a basis too: each frame's weight is 1 at that frame, and 0 at the others.
    """
    vectors = texture.texel_scales[:, None] * texture.texels.astype(np.float64)
    tracks = np.eye(len(texture.texels)) if texture.coefficients is None else texture.coefficients.astype(np.float64)
    weights = np.empty((len(frames), len(vectors)))
    for row, frame in enumerate(frames):
        before, after, weight = bracket(frame, texture.frames)
        weights[row] = (1 - weight) * tracks[before] + weight * tracks[after]
    # Weights near 1 suit players that show or limit them; the product is the same.
    reach = np.maximum(np.abs(tracks).max(axis=0, initial=0.0), 1e-30)
    return vectors * reach[:, None, None], weights / reach


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


def _skeleton(buffer: GlbBuffer, bundle: Bundle, options: ExportOptions, times: list[float],
              *, weights: np.ndarray) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The mesh's node and one node a joint in the rest pose, and the animation of all of them."""
    rig, player = bundle.rig, Player(bundle, options.clip)
    motions = [player.motion_at(time, loop=False) for time in times]
    rest = local_rest_transforms(rig)
    rest_quats = rotations.from_matrix(rest[:, :3, :3])
    turns = rotations.multiply(rest_quats[None], np.stack([motion.quats_wxyz[0] for motion in motions]))
    turns = _continuous(rotations.normalize(turns))
    roots = rest[0, :3, 3] + np.stack([motion.root_translations[0] for motion in motions])
    nodes: list[dict[str, Any]] = [{"name": bundle.manifest.name, "mesh": 0, "skin": 0}]
    for joint, name in enumerate(rig.joint_names):
        node = {"name": name, "translation": rest[joint, :3, 3].tolist(),
                "rotation": np.roll(rest_quats[joint], -1).tolist(),
                "children": [child + 1 for child in np.flatnonzero(rig.parents == joint).tolist()]}
        nodes.append({key: value for key, value in node.items() if key != "children" or value})
    clock = buffer.accessor(np.array(times, "<f4") - np.float32(times[0]), bounds=True)
    animation: dict[str, Any] = {"name": bundle.clips[options.clip].name, "channels": [], "samplers": []}

    def animate(node: int, path: str, values: np.ndarray) -> None:
        animation["channels"].append({"sampler": len(animation["samplers"]), "target": {"node": node, "path": path}})
        animation["samplers"].append({"input": clock, "interpolation": "LINEAR",
                                      "output": buffer.accessor(values.astype("<f4"))})

    animate(1, "translation", roots)
    for joint in range(rig.joint_count):
        signs = np.sign(turns[:, joint] @ rest_quats[joint])[:, None]
        if np.abs(signs * turns[:, joint] - rest_quats[joint]).max() > _STILL:
            animate(joint + 1, "rotation", np.roll(turns[:, joint], -1, axis=1))
    if weights.shape[1]:
        animate(0, "weights", weights.reshape(-1))
    return nodes, animation


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
