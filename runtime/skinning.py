"""Forward kinematics and linear blend skinning of Gaussians in numpy: the reference (DESIGN §4)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from runtime import rotations
from runtime.types import GaussianSet, Motion, Rig


def joint_transforms(rig: Rig, motion: Motion, frame: int) -> Float[np.ndarray, "J 4 4"]:
    """`T_world_joint` of one frame.

    A joint's local transform is its rest transform relative to the parent, followed by the motion's rotation;
    the root is displaced by `root_translations`.
    """
    T_parent_joint = local_rest_transforms(rig)
    T_parent_joint[:, :3, :3] = T_parent_joint[:, :3, :3] @ rotations.to_matrix(motion.quats_wxyz[frame])
    T_parent_joint[0, :3, 3] += motion.root_translations[frame]
    T_world_joint = np.empty_like(T_parent_joint)
    for joint, parent in enumerate(rig.parents):
        local = T_parent_joint[joint]
        T_world_joint[joint] = local if parent < 0 else T_world_joint[parent] @ local
    return T_world_joint


def local_rest_transforms(rig: Rig) -> Float[np.ndarray, "J 4 4"]:
    """`T_parent_joint` of the rest pose (the root's relative to the world)."""
    T_joint_world_rest = np.linalg.inv(rig.T_world_joint_rest)
    local = [rest if parent < 0 else T_joint_world_rest[parent] @ rest
             for rest, parent in zip(rig.T_world_joint_rest, rig.parents, strict=True)]
    return np.stack(local).astype(rig.T_world_joint_rest.dtype)


def skinning_matrices(rig: Rig, motion: Motion, frame: int) -> Float[np.ndarray, "J 4 4"]:
    """Per joint, rest-pose points to posed points in the world: `T_world_joint @ T_joint_world_rest`."""
    return joint_transforms(rig, motion, frame) @ np.linalg.inv(rig.T_world_joint_rest)


def blend(matrices: Float[np.ndarray, "J 4 4"], skin_joints: np.ndarray,
          skin_weights: np.ndarray) -> Float[np.ndarray, "N 4 4"]:
    """Blended skinning matrix of each row of weights [N W]."""
    blended = np.zeros((len(skin_joints), 4, 4), matrices.dtype)
    for w in range(skin_joints.shape[1]):
        blended += skin_weights[:, w, None, None].astype(matrices.dtype) * matrices[skin_joints[:, w]]
    return blended


def skin_points(points: Float[np.ndarray, "N 3"], blended: Float[np.ndarray, "N 4 4"]) -> Float[np.ndarray, "N 3"]:
    """Points moved by their blended matrices."""
    return np.einsum("nij,nj->ni", blended[:, :3, :3], points) + blended[:, :3, 3]


def apply_residual(gaussians: GaussianSet, moving: np.ndarray, d_means: np.ndarray, d_rotations: np.ndarray,
                   d_log_scales: np.ndarray) -> GaussianSet:
    """Rest-pose Gaussians with the offsets [M 3] each (metres, rotation vectors, log) of `moving` applied."""
    means, quats = gaussians.means.copy(), gaussians.quats_wxyz.copy()
    log_scales = gaussians.log_scales.copy()
    means[moving] += d_means
    quats[moving] = rotations.multiply(rotations.from_rotvec(d_rotations), quats[moving])
    log_scales[moving] += d_log_scales
    return GaussianSet(means=means, quats_wxyz=quats, log_scales=log_scales, labels=gaussians.labels,
                       opacity_logits=gaussians.opacity_logits, sh0=gaussians.sh0)


def pose_gaussians(gaussians: GaussianSet, rig: Rig, motion: Motion, frame: int) -> GaussianSet:
    """Rest-pose Gaussians in the world at one frame: centre by the blended matrix, orientation by its nearest
    rotation (DESIGN §4), scales unchanged."""
    blended = blend(skinning_matrices(rig, motion, frame), rig.skin_joints, rig.skin_weights)
    turn = rotations.from_matrix(rotations.nearest_rotation(blended[:, :3, :3]))
    dtype = gaussians.means.dtype
    return GaussianSet(
        means=skin_points(gaussians.means, blended).astype(dtype),
        quats_wxyz=rotations.multiply(turn, gaussians.quats_wxyz).astype(dtype),
        log_scales=gaussians.log_scales, opacity_logits=gaussians.opacity_logits, sh0=gaussians.sh0,
        labels=gaussians.labels)
