"""Splitting keeps the mixture's mean and covariance; dropping keeps the rest; floaters are told from cloth."""

import numpy as np

from baker.density import drop, most, share_outside, split
from baker.trajectories import diagonal
from runtime import rotations
from runtime.types import GaussianSet, Label, Rig


def avatar(count: int = 20) -> tuple[GaussianSet, Rig]:
    rng = np.random.default_rng(3)
    gaussians = GaussianSet(
        means=rng.normal(size=(count, 3)).astype(np.float32),
        quats_wxyz=rotations.normalize(rng.normal(size=(count, 4))).astype(np.float32),
        log_scales=rng.uniform(-5, -3, (count, 3)).astype(np.float32),
        opacity_logits=rng.normal(size=count).astype(np.float32), sh0=rng.normal(size=(count, 3)).astype(np.float32),
        labels=np.where(np.arange(count) % 2, Label.GARMENT, Label.SKIN).astype(np.uint8))
    weights = rng.uniform(0.1, 1, (count, 2))
    rig = Rig(joint_names=("root", "leg"), parents=np.array([-1, 0]),
              T_world_joint_rest=np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)),
              skin_joints=np.tile([0, 1], (count, 1)),
              skin_weights=(weights / weights.sum(1, keepdims=True)).astype(np.float32))
    return gaussians, rig


def covariances(gaussians: GaussianSet) -> np.ndarray:
    half = rotations.to_matrix(gaussians.quats_wxyz.astype(np.float64)) * np.exp(
        gaussians.log_scales.astype(np.float64))[:, None]
    return half @ half.transpose(0, 2, 1)


def test_children_have_the_parents_mean_and_covariance_and_inherit_the_rest() -> None:
    gaussians, rig = avatar()
    rows = np.array([1, 4, 9])
    children, bound = split(gaussians, rig, rows)
    pair = np.stack([rows, 20 + np.arange(3)])
    assert children.count == 23 and len(bound.skin_weights) == 23
    means = children.means[pair].astype(np.float64)
    np.testing.assert_allclose(means.mean(0), gaussians.means[rows], atol=1e-6)
    assert (np.linalg.norm(means[0] - means[1], axis=1) > 1e-3).all()
    # Mixture's covariance: mean of the children's plus the covariance of their centres. float32 centres near 1 m
    # have steps of 1e-7.
    centres = means - means.mean(0)
    mixture = (covariances(children)[pair].mean(0)
               + np.einsum("kri,krj->rij", centres, centres) / 2)
    np.testing.assert_allclose(mixture, covariances(gaussians)[rows], rtol=1e-3, atol=1e-8)
    for name in ("labels", "opacity_logits", "sh0", "quats_wxyz"):
        np.testing.assert_array_equal(getattr(children, name)[pair], np.stack([getattr(gaussians, name)[rows]] * 2))
    np.testing.assert_array_equal(bound.skin_weights[20:], rig.skin_weights[rows])
    others = np.delete(np.arange(20), rows)
    np.testing.assert_array_equal(children.means[others], gaussians.means[others])


def test_dropping_keeps_the_others_in_order() -> None:
    gaussians, rig = avatar()
    fewer, bound = drop(gaussians, rig, np.array([0, 7, 19]))
    kept = np.delete(np.arange(20), [0, 7, 19])
    np.testing.assert_array_equal(fewer.means, gaussians.means[kept])
    np.testing.assert_array_equal(bound.skin_weights, rig.skin_weights[kept])


def test_most_takes_positive_values_only() -> None:
    np.testing.assert_array_equal(most(np.array([0.0, 3, 1, 0, 2]), 2), [1, 4])
    np.testing.assert_array_equal(most(np.array([0.0, 3, 1, 0, 2]), 5), [1, 2, 4])
    assert len(most(np.zeros(4), 2)) == 0


def test_the_share_counts_pictures_in_which_a_point_is_off_the_figure() -> None:
    cameras = diagonal(np.zeros((4, 3)), start_azimuth=0.0, turn=0.0, size=(40, 60), elevation=0.0)
    figure = np.zeros((60, 40), bool)
    figure[20:40, 15:25] = True
    empty = np.zeros((60, 40), bool)
    points = np.array([[0.0, 0, 0], [0.9, 0, 0], [0.0, 50, 0]])

    def means_at(frame: int) -> np.ndarray:
        return points if frame else np.zeros((3, 3))
    share = share_outside(means_at, {frame: [(cameras[frame], figure), (cameras[frame], empty)] for frame in range(4)})
    # The second is off the figure in three of four pictures, the third out of them.
    np.testing.assert_allclose(share, [0, 0.75, 0.75])
