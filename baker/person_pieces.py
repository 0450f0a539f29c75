"""Parts of a person as Gaussians: sampled on a mesh, bound as it is, then joined and shaded together.

Lengths in metres, colours sRGB. Letters: G Gaussians of one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from baker.avatar import SkinnedMesh
from baker.body import JOINT_NAMES
from baker.meshes import SurfaceGaussians, interpolate, interpolate_weights, sample_mesh
from baker.person_colors import occlusion, shade
from baker.person_config import PersonConfig
from runtime import rotations
from runtime.types import SH_C0, GaussianSet, Label

INFLUENCES = 6
"""Skinning influences a Gaussian: a skirt follows pelvis, two hips, two knees and the spine."""
CLOSE = 1.2
"""Enlargement of the Gaussians of closed surfaces over `sample_mesh`'s."""
SHARES = {"skirt": 0.31, "skin": 0.27, "top": 0.17, "hair": 0.14, "slip": 0.05, "shoes": 0.045, "eyes": 0.015}
"""Part of the Gaussians each piece gets."""


@dataclass(frozen=True)
class Piece:
    """Gaussians of one part of the person, with what is needed to shade and bind them."""

    means: np.ndarray
    quats_wxyz: np.ndarray
    log_scales: np.ndarray
    opacity_logits: np.ndarray
    rgb: np.ndarray
    """[G 3], before shading."""
    normals: np.ndarray
    labels: np.ndarray
    skin_joints: np.ndarray
    skin_weights: np.ndarray
    contrast: float
    """Strength of the baked light."""
    depth: float = 1.0
    """Strength of the baked occlusion, 0..1."""


def share(config: PersonConfig, piece: str) -> int:
    return round(SHARES[piece] * config.gaussians)


def surface_piece(config: PersonConfig, mesh: SkinnedMesh, *, piece: str, label: Label | np.ndarray,
             color: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], contrast: float = 0.30,
             depth: float = 1.0, density: np.ndarray | None = None) -> Piece:
    """Gaussians on a mesh; `color` takes positions, faces, barycentrics and gives sRGB or RGBA.

    `label` is one for all or one per face.
    """
    def color_at(faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        return color(interpolate(mesh.vertices[mesh.faces], faces, barycentrics), faces, barycentrics)

    surface = sample_mesh(mesh, count=share(config, piece), seed=1000 * config.seed + list(SHARES).index(piece),
                          color_at=color_at, density=density)
    # Behind skin and fitted cloth there is nothing of their colour: their Gaussians overlap more, to close every gap.
    surface = replace(surface, log_scales=surface.log_scales + np.log([CLOSE, CLOSE, 1.0]).astype(np.float32))
    labels = label if isinstance(label, Label) else label[surface.faces]
    return replace(mesh_piece(surface, 0.5 + SH_C0 * surface.sh0, mesh, label=labels, contrast=contrast), depth=depth)


def mesh_piece(surface: SurfaceGaussians, rgb: np.ndarray, mesh: SkinnedMesh, *, label: Label | np.ndarray,
           contrast: float) -> Piece:
    """Surface Gaussians of a colour each, bound as the mesh they lie on."""
    joints, weights = interpolate_weights(mesh, surface.faces, surface.barycentrics, joints=len(JOINT_NAMES),
                                          influences=INFLUENCES)
    return Piece(means=surface.means, quats_wxyz=surface.quats_wxyz, log_scales=surface.log_scales,
                 opacity_logits=surface.opacity_logits, rgb=rgb,
                 normals=rotations.to_matrix(surface.quats_wxyz)[:, :, 2],
                 labels=np.broadcast_to(np.asarray(label, np.uint8), (len(rgb),)), skin_joints=joints,
                 skin_weights=weights, contrast=contrast)


def with_alpha(rgb: np.ndarray, visible: np.ndarray) -> np.ndarray:
    return np.concatenate([rgb, visible[:, None].astype(np.float64)], 1)


def assemble(pieces: list[Piece]) -> GaussianSet:
    """All pieces in one set, with light and occlusion baked into the colour."""
    everything = np.concatenate([p.means for p in pieces])
    colors = [shade(p.rgb, p.normals, 1 - p.depth * (1 - occlusion(p.means, p.normals, everything)),
                    contrast=p.contrast) for p in pieces]

    def joined(name: str, dtype: type) -> np.ndarray:
        return np.ascontiguousarray(np.concatenate([getattr(p, name) for p in pieces]).astype(dtype))

    return GaussianSet(means=joined("means", np.float32), quats_wxyz=joined("quats_wxyz", np.float32),
                       log_scales=joined("log_scales", np.float32), opacity_logits=joined("opacity_logits", np.float32),
                       sh0=((np.concatenate(colors) - 0.5) / SH_C0).astype(np.float32),
                       labels=joined("labels", np.uint8))
