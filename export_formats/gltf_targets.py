"""A residual as glTF morph targets: its basis vectors, and the weights that animate them.

Groups have bases of their own, so a target moves, turns or scales. Those that do not move have a POSITION of zeros,
without bytes, because loaders expect one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from export_formats.glb import ARRAY_BUFFER, GlbBuffer
from runtime.offsets import bracket
from runtime.types import OffsetTexture, Residual

MOVE, TURN, SCALE = "POSITION", "_ROTATION", "_LOG_SCALE"
"""Attributes of targets: metres, rotation vectors [rad], natural logarithms."""


@dataclass(frozen=True)
class Target:
    """One morph target of M Gaussians, and its weight over the frames of one clip."""

    rows: Int[np.ndarray, " M"]
    """The Gaussians."""
    deltas: dict[str, np.ndarray]
    """Attribute -> what is added at weight 1, float32 [M 3]."""
    clip: int
    """Which clip's animation uses it."""
    track: Float32[np.ndarray, " T"]
    """Weight at each key of that clip, 0 to 1."""


def targets_of(residual: Residual, frames: list[float], *, clip: int, with_mean: bool) -> list[Target]:
    """The targets of a clip's residual at fractional frames of it.

    `with_mean`: one more target holds the residual's temporal mean, for files whose base is not this clip's alone.
    """
    groups = {MOVE: residual.d_means, TURN: residual.d_rotations, SCALE: residual.d_log_scales}
    targets = []
    if len(residual.moving) == 0:
        return targets
    if with_mean:
        means = {semantic: group.mean.astype("<f4") for semantic, group in groups.items()}
        targets.append(Target(rows=residual.moving, deltas=means, clip=clip, track=np.ones(len(frames), np.float32)))
    for semantic, group in groups.items():
        deltas, weights = _basis(group, frames)
        # Blender and Unity keep weights between 0 and 1: what also goes the other way is two targets. Their
        # difference interpolates as the signed weight does. What does nothing is not written.
        both = zip(np.concatenate([deltas, -deltas]), np.hstack([weights, -weights]).T, strict=True)
        targets += [Target(rows=residual.moving, deltas={semantic: delta.astype("<f4")}, clip=clip,
                           track=np.maximum(track, 0).astype(np.float32))
                    for delta, track in both if np.any(delta) and np.any(track > 0)]
    return targets


def weights_of(targets: list[Target], *, clip: int, frames: int) -> np.ndarray:
    """Weights of all targets [frames, targets] in one clip: those of other clips are 0."""
    columns = [target.track if target.clip == clip else np.zeros(frames, np.float32) for target in targets]
    return np.stack(columns, axis=1) if columns else np.zeros((frames, 0), np.float32)


def turns_or_scales(targets: list[Target]) -> bool:
    """Whether any target does what core glTF has no attribute for."""
    return any(set(target.deltas) != {MOVE} for target in targets)


def write_targets(targets: list[Target], buffer: GlbBuffer, primitive: dict[str, Any], *, count: int,
                  turned: tuple[np.ndarray, np.ndarray] | None) -> None:
    """Add the targets, as sparse accessors, and the attributes they change, to a primitive of `count` points.

    `turned`: rows and rotation vectors that the primitive's rotations hold already.
    """
    kind = np.dtype("<u2") if count <= 65535 else np.dtype("<u4")
    views: dict[int, int] = {}
    changed = {semantic for target in targets for semantic in target.deltas}
    if TURN in changed:
        base = np.zeros((count, 3), "<f4")
        if turned is not None:
            base[turned[0]] = turned[1]
        primitive["attributes"][TURN] = buffer.accessor(base, target=ARRAY_BUFFER)
    if SCALE in changed:
        primitive["attributes"][SCALE] = buffer.zeros(count=count)
    nothing = buffer.zeros(count=count) if turns_or_scales(targets) else -1
    primitive["targets"] = []
    for target in targets:
        # Targets of one clip share their rows.
        if target.clip not in views:
            views[target.clip] = buffer.view(target.rows.astype(kind))
        written = {semantic: buffer.sparse(delta, count=count, rows_view=views[target.clip], rows_type=kind)
                   for semantic, delta in target.deltas.items()}
        primitive["targets"].append(written if MOVE in written else {MOVE: nothing, **written})


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
    # Weights of at most 1; the product is the same.
    reach = np.maximum(np.abs(tracks).max(axis=0, initial=0.0), 1e-30)
    return vectors * reach[:, None, None], weights / reach
