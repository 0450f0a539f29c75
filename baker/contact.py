"""What keeps learnt cloth out of the body: depth of Gaussians below the skinned surface, with its gradient.

No part of the paper, whose prior has seen people: a restored video shows no thigh through the skirt, but where cloth
hangs in front of a leg in one colour, no pixel says on which side of the skin a Gaussian is.
Letters: M moving Gaussians, B body samples.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from baker.avatar import SkinnedMesh
from baker.collider import BodySamples, arm_joints
from runtime.skinning import skinning_matrices
from runtime.types import Motion, Rig

REACH = 0.06
"""How far from the surface a Gaussian looks for it [m]: about half a thigh; deeper has no nearer side."""
UNIT = 0.01
"""Depth that counts as one [m]."""


class BodyContact:
    """The body under the moving Gaussians `rows` of an avatar, at every frame of a motion; posed at first use."""

    def __init__(self, body: SkinnedMesh, rig: Rig, motion: Motion, *, rest_means: Float[np.ndarray, "M 3"],
                 rows: np.ndarray, clearance: float) -> None:
        """`clearance` [m] is kept from the skin, or what the rest pose has, where that is less (hair, waistbands)."""
        self.samples, self.rig, self.motion = BodySamples.of(body, rig), rig, motion
        on_arm = (arm_joints(rig)[rig.skin_joints[rows]] * rig.skin_weights[rows]).sum(1)
        self.is_arm = on_arm > 0.3
        points, normals = self.samples.at(np.repeat(np.eye(4)[None], rig.joint_count, 0))
        nearest = self._nearest(rest_means.astype(np.float64), points)
        height = np.einsum("mi,mi->m", rest_means - points[nearest], normals[nearest])
        self.clearances = torch.from_numpy(np.where(nearest >= 0, np.minimum(height, clearance), clearance)).float()
        self.posed: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def penalty(self, means: Float[Tensor, "M 3"], frame: int) -> Float[Tensor, ""]:
        """Mean square of the depths [cm] below the clearance, of world centres at a frame.

        The surface is its tangent plane at the nearest sample; samples are held while the gradient is taken.
        """
        if frame not in self.posed:
            self.posed[frame] = self.samples.at(skinning_matrices(self.rig, self.motion, frame))
        points, normals = self.posed[frame]
        nearest = self._nearest(means.detach().cpu().numpy().astype(np.float64), points)
        near = np.flatnonzero(nearest >= 0)
        if len(near) == 0:
            return means.sum() * 0.0
        rows = torch.from_numpy(near).to(means.device)
        foot, normal = (torch.from_numpy(value[nearest[near]]).to(means) for value in (points, normals))
        height = ((means.index_select(0, rows) - foot) * normal).sum(1)
        depth = torch.relu(self.clearances.to(means).index_select(0, rows) - height) / UNIT
        return depth.square().sum() / len(means)

    def _nearest(self, points: np.ndarray, samples: np.ndarray) -> np.ndarray:
        return self.samples.nearest(points, samples=samples, is_arm=self.is_arm, radius=REACH)
