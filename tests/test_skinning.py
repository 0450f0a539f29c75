"""Skinning: kinematics against hand-made chains, laws of blending, and the fast path against the reference."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sample_bundle import make_bundle

from runtime import fast_skinning, rotations, skinning
from runtime.types import GaussianSet, Motion, Rig


def chain(joints: int = 3) -> Rig:
    """Joints 1 m apart along +Y, each turned a quarter about X relative to the world's axes."""
    rest = np.tile(np.eye(4), (joints, 1, 1))
    rest[:, :3, :3] = rotations.to_matrix(rotations.from_rotvec(np.array([math.pi / 2, 0, 0])))
    rest[:, 1, 3] = np.arange(joints)
    return Rig(joint_names=tuple("abc"[:joints]), parents=np.arange(-1, joints - 1), T_world_joint_rest=rest,
               skin_joints=np.arange(joints)[:, None], skin_weights=np.ones((joints, 1)))


def still(joints: int, **changes: np.ndarray) -> Motion:
    quats = np.tile([1.0, 0, 0, 0], (1, joints, 1))
    return Motion(fps=30.0, root_translations=np.zeros((1, 3)), quats_wxyz=changes.get("quats", quats))


def same_turn(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of quaternions up to sign."""
    return float(np.minimum(np.abs(a - b).max(-1), np.abs(a + b).max(-1)).max())


def test_the_identity_pose_is_the_rest_pose() -> None:
    rig = chain()
    np.testing.assert_allclose(skinning.joint_transforms(rig, still(3), 0), rig.T_world_joint_rest, atol=1e-12)
    np.testing.assert_allclose(skinning.skinning_matrices(rig, still(3), 0), np.tile(np.eye(4), (3, 1, 1)), atol=1e-12)
    bundle = make_bundle(count=100)
    motion = still(4)
    posed = skinning.pose_gaussians(bundle.gaussians, bundle.rig, motion, 0)
    np.testing.assert_allclose(posed.means, bundle.gaussians.means, atol=1e-6)
    assert same_turn(posed.quats_wxyz, bundle.gaussians.quats_wxyz) < 1e-6


def test_a_joint_turns_in_its_own_rest_axes_and_carries_its_children() -> None:
    # The middle joint turns a quarter about its own Y, which is the world's Z: its child swings from +Y to -X.
    quats = np.tile([1.0, 0, 0, 0], (1, 3, 1))
    quats[0, 1] = rotations.from_rotvec(np.array([0, math.pi / 2, 0]))
    posed = skinning.joint_transforms(chain(), still(3, quats=quats), 0)
    np.testing.assert_allclose(posed[:, :3, 3], [(0, 0, 0), (0, 1, 0), (-1, 1, 0)], atol=1e-12)


def test_the_root_is_displaced_in_the_world() -> None:
    rig, shift = chain(), np.array([0.3, -0.2, 2.0])
    moved = replace(still(3), root_translations=shift[None])
    np.testing.assert_allclose(skinning.joint_transforms(rig, moved, 0)[:, :3, 3],
                               rig.T_world_joint_rest[:, :3, 3] + shift, atol=1e-12)


def test_one_influence_moves_a_point_rigidly() -> None:
    rig = chain()
    quats = rotations.normalize(np.random.default_rng(0).normal(size=(1, 3, 4)))
    matrices = skinning.skinning_matrices(rig, still(3, quats=quats), 0)
    points = np.random.default_rng(1).normal(size=(3, 3))
    moved = skinning.skin_points(points, skinning.blend(matrices, rig.skin_joints, rig.skin_weights))
    for j in range(3):
        np.testing.assert_allclose(moved[j], (matrices[j] @ np.append(points[j], 1))[:3], atol=1e-12)


def test_a_rigid_motion_of_all_joints_moves_everything_with_it() -> None:
    bundle = make_bundle(count=300)
    quats = bundle.clips[0].motion.quats_wxyz[:1].astype(np.float64)
    turn = rotations.from_rotvec(np.array([0.4, 1.0, -0.3]))
    turned = quats.copy()
    # The rest axes of these joints are the world's, so the root turns in the world.
    turned[0, 0] = rotations.multiply(turn, quats[0, 0])
    before = skinning.pose_gaussians(bundle.gaussians, bundle.rig, still(4, quats=quats), 0)
    after = skinning.pose_gaussians(bundle.gaussians, bundle.rig, still(4, quats=turned), 0)
    np.testing.assert_allclose(after.means, before.means @ rotations.to_matrix(turn).T, atol=2e-6)
    assert same_turn(after.quats_wxyz, rotations.multiply(turn, before.quats_wxyz)) < 2e-6


def test_the_residual_is_applied_from_the_left_in_the_rest_pose() -> None:
    gaussians = make_bundle(count=10).gaussians
    moving = np.array([2, 7])
    offsets = [np.random.default_rng(s).normal(size=(2, 3)).astype(np.float32) for s in range(3)]
    moved = skinning.apply_residual(gaussians, moving, *offsets)
    turn = rotations.to_matrix(rotations.from_rotvec(offsets[1].astype(np.float64)))
    np.testing.assert_allclose(rotations.to_matrix(moved.quats_wxyz[moving].astype(np.float64)),
                               turn @ rotations.to_matrix(gaussians.quats_wxyz[moving].astype(np.float64)), atol=1e-6)
    np.testing.assert_allclose(moved.means[moving] - gaussians.means[moving], offsets[0], atol=1e-6)
    np.testing.assert_allclose(moved.log_scales[moving] - gaussians.log_scales[moving], offsets[2], atol=1e-6)
    rest = np.delete(np.arange(10), moving)
    for name in ("means", "quats_wxyz", "log_scales"):
        assert np.array_equal(getattr(moved, name)[rest], getattr(gaussians, name)[rest])


@pytest.mark.parametrize("seed", range(3))
def test_the_fast_path_equals_the_reference(seed: int) -> None:
    bundle = make_bundle(seed, count=2000, joints=12, frames=2)
    wild = np.random.default_rng(seed).normal(size=(2, 12, 4))
    motion = replace(bundle.clips[0].motion, quats_wxyz=rotations.normalize(wild))
    expected = skinning.pose_gaussians(bundle.gaussians, bundle.rig, motion, 1)
    got = fast_skinning.pose_gaussians(bundle.gaussians, bundle.rig, skinning.skinning_matrices(bundle.rig, motion, 1))
    # Both compute in double precision and round once.
    np.testing.assert_allclose(got.means, expected.means, atol=1e-6)
    assert same_turn(got.quats_wxyz, expected.quats_wxyz) < 1e-6
    assert got.means.dtype == got.quats_wxyz.dtype == np.float32
    for name in ("log_scales", "sh0", "labels", "opacity_logits"):
        assert getattr(got, name) is getattr(bundle.gaussians, name)


def two_joints(matrices: np.ndarray, weights: tuple[float, float]) -> np.ndarray:
    """Orientation that the fast path gives a Gaussian bound to two joints."""
    one = GaussianSet(means=np.zeros((1, 3), np.float32), quats_wxyz=np.array([[1, 0, 0, 0]], np.float32),
                      log_scales=np.zeros((1, 3), np.float32), opacity_logits=np.zeros(1, np.float32),
                      sh0=np.zeros((1, 3), np.float32), labels=np.zeros(1, np.uint8))
    rig = Rig(joint_names=("a", "b"), parents=np.array([-1, 0]), T_world_joint_rest=np.tile(np.eye(4), (2, 1, 1)),
              skin_joints=np.array([[0, 1]]), skin_weights=np.array([weights]))
    return fast_skinning.pose_gaussians(one, rig, matrices).quats_wxyz[0]


@pytest.mark.parametrize("degrees", [0.0, 1e-4, 90.0, 170.0, 179.0, 179.9])
def test_the_fast_path_halves_any_turn(degrees: float) -> None:
    matrices = np.tile(np.eye(4), (2, 1, 1))
    matrices[1, :3, :3] = rotations.to_matrix(rotations.from_rotvec(np.array([0, math.radians(degrees), 0])))
    half = rotations.from_rotvec(np.array([0, math.radians(degrees) / 2, 0]))
    assert same_turn(two_joints(matrices, (0.5, 0.5)), half) < 1e-6


def test_the_fast_path_survives_matrices_that_have_no_nearest_rotation() -> None:
    for first, second in ((np.zeros((3, 3)), np.zeros((3, 3))), (np.diag([1.0, -1, -1]), np.eye(3)),
                          (np.diag([-1.0, -1, 1]), np.diag([-1.0, 1, -1])), (-np.eye(3), -np.eye(3))):
        matrices = np.tile(np.eye(4), (2, 1, 1))
        matrices[0, :3, :3], matrices[1, :3, :3] = first, second
        quat = two_joints(matrices, (0.5, 0.5))
        assert np.isfinite(quat).all() and abs(np.linalg.norm(quat) - 1) < 1e-6
