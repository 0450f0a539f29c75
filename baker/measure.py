"""How near an animated avatar is to the truth of its cloth: pictures from novel views, and the cloth in space.

Letters: T frames, H X the image, G garment Gaussians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial import cKDTree

from baker.binding import closest_points
from baker.cloth import Truth
from baker.meshes import SkinnedMesh
from baker.prior_metrics import flicker, psnr, squared_error, ssim
from baker.videos import PoseAt, to_uint8
from runtime.raster import render
from runtime.types import Camera, GaussianSet, Label

SOLID = 250
"""Coverage (of 255) from which a pixel belongs to the preserved region alone."""
FLOATER_DISTANCE = 0.15
"""A garment Gaussian farther than this from the true cloth is a floater [m]."""
SPACE_EVERY = 5
"""Distances in space are taken in every so many frames."""


@dataclass(frozen=True)
class Layers:
    """T frames of one view, over a flat background."""

    rgb: UInt8[np.ndarray, "T H X 3"]
    garment: UInt8[np.ndarray, "T H X"]
    """Coverage by what may move."""
    preserved: UInt8[np.ndarray, "T H X"]
    """Coverage by what may not."""


@dataclass(frozen=True)
class Scores:
    """Means over all views and frames."""

    psnr_db: float
    """Whole picture."""
    garment_psnr_db: float
    """Where garment or hair covers half a pixel in the truth or in rigid skinning."""
    preserved_psnr_db: float
    """Where only preserved parts are seen in the truth."""
    ssim: float
    garment_ssim: float
    mask_iou: float
    """Of the garment's pixels, intersection over union with the truth's."""
    flicker: float
    """Mean absolute difference of frame-to-frame changes to the truth's, in the garment region, of 255."""
    distance_cm_mean: float
    """From garment Gaussians to the true cloth's surface."""
    distance_cm_p95: float
    stretch_percent_p99: float
    """Relative change of distance between neighbours on the cloth, against the rest pose."""
    floaters: int
    """Garment Gaussians farther than `FLOATER_DISTANCE` from the true cloth, in the worst frame."""


def layers(pose_at: PoseAt, cameras: Sequence[Camera], *, background: tuple[float, float, float]) -> Layers:
    """Render a view, frame t from `pose_at(t)`."""
    rgb, garment, preserved = [], [], []
    for frame, camera in enumerate(cameras):
        gaussians = pose_at(frame)
        moves = gaussians.may_move.astype(np.float32)
        image = render(gaussians, camera, features=np.stack([moves, 1 - moves], 1))
        rgb.append(to_uint8(image.rgba[..., :3] + (1 - image.rgba[..., 3:]) * np.asarray(background, np.float32)))
        garment.append(to_uint8(image.features[..., 0]))
        preserved.append(to_uint8(image.features[..., 1]))
    return Layers(rgb=np.stack(rgb), garment=np.stack(garment), preserved=np.stack(preserved))


def measure(pose_at: PoseAt, truth: Truth, *, views: Sequence[Sequence[Camera]], true_layers: Sequence[Layers],
            rigid_layers: Sequence[Layers], background: tuple[float, float, float]) -> Scores:
    """Scores of `pose_at` over `views`; the layers are those of the truth and of rigid skinning in the same views."""
    per_view = [picture_scores(layers(pose_at, cameras, background=background), true, rigid)
                for cameras, true, rigid in zip(views, true_layers, rigid_layers, strict=True)]
    means = {key: float(np.mean([scores[key] for scores in per_view])) for key in per_view[0]}
    return Scores(**means, **space_scores(pose_at, truth))


def picture_scores(made: Layers, true: Layers, rigid: Layers) -> dict[str, float]:
    """The part of `Scores` that pictures show, of one view."""
    everywhere = np.ones(true.garment.shape, bool)
    region = (true.garment >= 128) | (rigid.garment >= 128)
    ours, theirs = made.garment >= 128, true.garment >= 128

    def fidelity(where: np.ndarray) -> float:
        return psnr([squared_error(made.rgb, true.rgb, where)])

    return {
        "psnr_db": fidelity(everywhere), "garment_psnr_db": fidelity(region),
        "preserved_psnr_db": fidelity(true.preserved >= SOLID),
        "ssim": ssim(made.rgb, true.rgb, everywhere), "garment_ssim": ssim(made.rgb, true.rgb, region),
        "mask_iou": float((ours & theirs).sum() / max((ours | theirs).sum(), 1)),
        "flicker": flicker(made.rgb, true.rgb, region),
    }


def space_scores(pose_at: PoseAt, truth: Truth) -> dict[str, float]:
    """The part of `Scores` that is measured in space. The first Gaussians are the truth's; more may follow."""
    rest = truth.avatar.gaussians
    first, second, apart = _neighbours(rest, np.flatnonzero(rest.labels == Label.GARMENT))
    distances, stretches, floaters = [], [], 0
    for frame in range(0, truth.motion.frames, SPACE_EVERY):
        gaussians = pose_at(frame)
        means = gaussians.means.astype(np.float64)
        away = distance_to_cloth(means[gaussians.labels == Label.GARMENT], truth, frame)
        distances.append(away)
        floaters = max(floaters, int((away > FLOATER_DISTANCE).sum()))
        stretches.append(np.abs(np.linalg.norm(means[first] - means[second], axis=1) / apart - 1))
    away, stretch = np.concatenate(distances), np.concatenate(stretches)
    return {"distance_cm_mean": 100 * float(away.mean()), "distance_cm_p95": 100 * float(np.percentile(away, 95)),
            "stretch_percent_p99": 100 * float(np.percentile(stretch, 99)), "floaters": floaters}


def distance_to_cloth(points: Float[np.ndarray, "G 3"], truth: Truth, frame: int) -> Float[np.ndarray, " G"]:
    """Distance [m] of points from the nearest true garment surface at a frame."""
    nearest = np.full(len(points), np.inf)
    for garment, vertices in zip(truth.avatar.garments, truth.garment_vertices, strict=True):
        mesh = SkinnedMesh(vertices=vertices[frame], faces=garment.mesh.faces, skin_joints=garment.mesh.skin_joints,
                           skin_weights=garment.mesh.skin_weights)
        nearest = np.minimum(nearest, closest_points(points, mesh)[3])
    return nearest


def _neighbours(gaussians: GaussianSet, garment: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs some 2 to 4 cm apart on the cloth at rest: (rows, rows, distances)."""
    points = gaussians.means[garment].astype(np.float64)
    count = min(33, len(points))
    apart, near = cKDTree(points).query(points, k=count)
    return garment, garment[near[:, -1]], np.maximum(apart[:, -1], 1e-6)
