"""What `runtime/stage.py` does, in plain numpy: the specification that the fast path is tested and timed against."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from runtime import offsets, rotations, skinning
from runtime.actor import Layer, Moment
from runtime.actor_loop import loop_of
from runtime.decoders import load_decoder
from runtime.fast_sort import depth_order
from runtime.pose_residual import pose_features
from runtime.types import Bundle, GaussianSet, Motion, Residual


def gaussians_at(bundle: Bundle, moment: Moment) -> GaussianSet:
    """One avatar's Gaussians in the world at a moment."""
    gaussians = rest_gaussians(bundle, moment) if moment.residual else bundle.gaussians
    return skinning.pose_gaussians(gaussians, bundle.rig, pose(bundle, moment), 0)


def pose(bundle: Bundle, moment: Moment) -> Motion:
    """The pose of a moment, as a motion of one frame: roots linear, rotations along their shortest arcs."""
    root, quats = _layer_pose(bundle, moment.layers[0])
    for layer in moment.layers[1:]:
        upper_root, upper_quats = _layer_pose(bundle, layer)
        root = (1 - layer.share) * root + layer.share * upper_root
        quats = rotations.slerp(quats, upper_quats, layer.share)
    if not moment.root_motion:
        root = root * (0, 1, 0)
    return Motion(fps=bundle.clips[0].motion.fps, root_translations=root[None], quats_wxyz=quats[None])


def rest_gaussians(bundle: Bundle, moment: Moment) -> GaussianSet:
    """Canonical Gaussians with the residual of a moment."""
    everyone = np.arange(bundle.gaussians.count)
    total = _layer_offsets(bundle, moment.layers[0])
    for layer in moment.layers[1:]:
        upper = _layer_offsets(bundle, layer)
        total = ((1 - layer.share) * total[0] + layer.share * upper[0],
                 rotations.slerp(total[1], upper[1], layer.share),
                 (1 - layer.share) * total[2] + layer.share * upper[2])
    return skinning.apply_residual(bundle.gaussians, everyone, total[0], rotations.to_rotvec(total[1]), total[2])


def covariances(gaussians: GaussianSet) -> Float[np.ndarray, "N 6"]:
    """xx, xy, xz, yy, yz, zz [m²]."""
    spread = rotations.to_matrix(gaussians.quats_wxyz) * np.exp(gaussians.log_scales)[:, None, :]
    full = spread @ np.swapaxes(spread, 1, 2)
    return full[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]


def frame(bundle: Bundle, moment: Moment, T_camera_world: Float[np.ndarray, "4 4"]) -> tuple[
        GaussianSet, Float[np.ndarray, "N 6"], Int[np.ndarray, " N"]]:
    """All that a frame needs before drawing: Gaussians, covariances, rows from far to near."""
    gaussians = gaussians_at(bundle, moment)
    return gaussians, covariances(gaussians), depth_order(gaussians.means, T_camera_world[2])


def _layer_pose(bundle: Bundle, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    motion = bundle.clips[layer.clip].motion
    before, after = (motion.root_translations[frame] + np.array([offset[0], 0.0, offset[1]])
                     for frame, offset in ((layer.before, layer.before_offset), (layer.after, layer.after_offset)))
    quats = motion.quats_wxyz[layer.before].astype(np.float64)
    if layer.weight:
        quats = rotations.slerp(quats, motion.quats_wxyz[layer.after].astype(np.float64), layer.weight)
    return (1 - layer.weight) * before + layer.weight * after, quats


def _layer_offsets(bundle: Bundle, layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets of all N Gaussians: metres, quaternions, log scales; none where the clip moves nothing."""
    residual = bundle.clips[layer.clip].residual
    if bundle.pose_residual is not None and len(residual.moving) == 0:
        residual, layer = _driven(bundle, layer), replace(layer, before=0, after=0, weight=0.0)
    before, after = (offsets.residual_at(residual, frame) for frame in (layer.before, layer.after))
    d_means, d_log_scales = np.zeros((2, bundle.gaussians.count, 3), np.float32)
    quats = np.tile(np.array([1, 0, 0, 0], np.float32), (bundle.gaussians.count, 1))
    turned = rotations.from_rotvec(before[1])
    if layer.weight:
        turned = rotations.slerp(turned, rotations.from_rotvec(after[1]), layer.weight)
    quats[residual.moving] = turned
    d_means[residual.moving] = (1 - layer.weight) * before[0] + layer.weight * after[0]
    d_log_scales[residual.moving] = (1 - layer.weight) * before[2] + layer.weight * after[2]
    return d_means, quats, d_log_scales


def _driven(bundle: Bundle, layer: Layer) -> Residual:
    """What the pose residual makes of a layer, as a residual of one frame."""
    own, motion = bundle.pose_residual, bundle.clips[layer.clip].motion
    assert own is not None
    features = pose_features(bundle.rig, motion, layer.before + layer.weight, lags=own.lags, joints=own.joints,
                             loop=loop_of(motion))
    source = bundle.clips[own.clip].residual
    groups = [replace(group, texels=group.texels[:len(part)], texel_scales=group.texel_scales[:len(part)],
                      coefficients=part[None])
              for group, part in zip((source.d_means, source.d_rotations, source.d_log_scales),
                                     own.split(load_decoder("numpy", own)(features)), strict=True)]
    return Residual(moving=source.moving, d_means=groups[0], d_rotations=groups[1], d_log_scales=groups[2])
