"""What an importer hands to the baker: Gaussians with a rig, and the surfaces they came from.

The surfaces serve binding, cloth simulation (truth, training data) and evaluation; the bundle keeps none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from runtime.types import GaussianSet, Rig


@dataclass(frozen=True)
class SkinnedMesh:
    """A triangle mesh bound to the avatar's joints, in the rest pose."""

    vertices: Float[np.ndarray, "V 3"]
    """Positions [m]."""
    faces: Int[np.ndarray, "F 3"]
    """Vertex indices, counter-clockwise from outside."""
    skin_joints: Int[np.ndarray, "V W"]
    """Joints that influence each vertex."""
    skin_weights: Float[np.ndarray, "V W"]
    """Their weights, rows sum to 1."""


@dataclass(frozen=True)
class Garment:
    """Loose cloth that a simulation may move, with the Gaussians that ride on it."""

    name: str
    mesh: SkinnedMesh
    """Rest pose; its weights give the rigid layer and carry the pins."""
    pinned: np.ndarray
    """Boolean [V]: vertices that follow the body (waistband, collar)."""
    gaussian_indices: Int[np.ndarray, " G"]
    """Rows of the avatar's Gaussians that ride on the mesh."""
    gaussian_faces: Int[np.ndarray, " G"]
    """The face each rides on."""
    gaussian_barycentrics: Float[np.ndarray, "G 3"]
    """Where on that face; the offset along its normal follows from the rest pose."""
    meets_arms: bool = False
    """Whether arms and hands push it (capes, hair); they pass through skirts, which hands would drag. What is bound
    to an arm, such as a sleeve, meets arms in any case."""


@dataclass(frozen=True)
class Avatar:
    """A rigged Gaussian person ready to bake."""

    name: str
    gaussians: GaussianSet
    """Rest pose."""
    rig: Rig
    """Binding of all Gaussians."""
    body: SkinnedMesh
    """The unclothed, closed body surface: what cloth collides with and Gaussians bind to."""
    garments: tuple[Garment, ...]
    """Simulatable garments; may be empty (a scan has none)."""
    licence: str
    """Licence of the source, for the bundle's manifest."""
