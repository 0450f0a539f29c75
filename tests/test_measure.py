"""Scores against a truth: perfect for the truth itself, worse for what is known to be off by how much."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from baker import cloth
from baker.avatars import load_avatar
from baker.evaluate_bake import BakeEvaluationConfig, means, table
from baker.measure import FLOATER_DISTANCE, distance_to_cloth, layers, measure
from baker.motions import load_motion
from baker.trajectories import diagonal, root_targets
from runtime.errors import InputError
from runtime.types import GaussianSet, Label

GRAY = (0.5, 0.5, 0.5)


@cache
def truth() -> cloth.Truth:
    avatar = load_avatar("builtin", count=3000)
    motion = load_motion("walk", avatar).slice(20, 24)
    return cloth.simulate(avatar, motion, cloth.ClothConfig().draft())


def moved(metres: float, *, share: float = 1.0):
    """The truth with the first `share` of its garment moved up."""
    garment = np.flatnonzero(truth().avatar.gaussians.labels == Label.GARMENT)
    rows = garment[: round(share * len(garment))]

    def pose_at(frame: int) -> GaussianSet:
        gaussians = truth().posed(frame)
        means = gaussians.means.copy()
        means[rows, 1] += np.float32(metres)
        return replace(gaussians, means=means)
    return pose_at


def scores(pose_at):
    cameras = diagonal(root_targets(truth().avatar.rig, truth().motion), start_azimuth=0.5, turn=1.0, size=(64, 112))
    true = layers(truth().posed, cameras, background=GRAY)
    return measure(pose_at, truth(), views=[cameras], true_layers=[true], rigid_layers=[true], background=GRAY)


def test_the_truth_scores_perfectly() -> None:
    perfect = scores(truth().posed)
    assert perfect.psnr_db == perfect.garment_psnr_db == 99.0
    assert perfect.mask_iou == 1.0 and perfect.flicker == 0.0 and perfect.floaters == 0
    # Gaussians ride within half a millimetre's height of the mesh, more where it is curved.
    assert perfect.distance_cm_p95 < 0.6


def test_moved_cloth_scores_worse_and_the_preserved_parts_no_better() -> None:
    perfect, off = scores(truth().posed), scores(moved(0.05))
    assert off.garment_psnr_db < 30 and off.mask_iou < 0.97 and off.garment_ssim < perfect.garment_ssim
    assert off.distance_cm_mean > perfect.distance_cm_mean + 0.3
    assert off.stretch_percent_p99 == pytest.approx(perfect.stretch_percent_p99, rel=1e-3)


def test_floaters_are_counted() -> None:
    off = scores(moved(3.0, share=0.1))
    garment = (truth().avatar.gaussians.labels == Label.GARMENT).sum()
    assert off.floaters == round(0.1 * garment)
    assert off.stretch_percent_p99 > 100


def test_distance_is_to_the_surface_and_not_to_its_vertices() -> None:
    vertices = truth().garment_vertices[0][0]
    faces = truth().avatar.garments[0].mesh.faces
    corners = vertices[faces[:50]].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    assert distance_to_cloth(corners.mean(1), truth(), 0).max() < 1e-6
    near = distance_to_cloth(corners.mean(1) + 0.002 * normal, truth(), 0)
    assert near.max() <= 0.002 + 1e-9 and np.median(near) > 0.0019
    assert distance_to_cloth(np.array([[0.0, 9.0, 0.0]]), truth(), 0)[0] > FLOATER_DISTANCE


def test_means_compare_with_rigid_skinning_case_by_case() -> None:
    rows = [{"case": case, "method": method, "garment_psnr_db": value}
            for case, method, value in (("a", "rigid", 10.0), ("a", "prior", 12.0), ("b", "rigid", 20.0),
                                        ("b", "prior", 19.5))]
    rigid, prior = means(rows)
    assert prior["garment_psnr_db"] == 15.75 and prior["worst_gain_db"] == -0.5 and rigid["worst_gain_db"] == 0.0
    assert "prior" in table([rigid, prior])


def test_an_unknown_ablation_is_refused() -> None:
    with pytest.raises(InputError, match="ablations: no 'truth_no_gravity'; there are truth_single_layer"):
        _ = BakeEvaluationConfig(ablations="truth_no_gravity").methods
