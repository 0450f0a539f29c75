"""The body as cloth meets it: samples on its skinned surface, and capsules inside its limbs.

Letters: V vertices of a mesh, B samples, K capsules, J joints. Metres.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from baker import surface_kernels as kernels
from baker.avatar import Avatar, SkinnedMesh
from runtime.types import Rig

ARM_NAMES = re.compile(r"upper_?arm|lower_?arm|fore_?arm|(left|right|[lr][_.])_?arm|arm[_.]?[lr]\b|shoulder|elbow|"
                       r"wrist|hand|clavicle", re.IGNORECASE)
"""Joints whose flesh skirts do not collide with: hands would drag them (facts/data.md §5)."""
SAMPLE_SPACING = 0.02
"""Body edges longer than this also get a contact sample at their middle [m]; samples nearer than about half of it
are thinned."""
MIN_CLEARANCE = 0.001
"""Kept from the skin even where the rest pose has cloth inside it [m]."""


@dataclass(frozen=True)
class BodySamples:
    """B points on a body's surface that follow its skinning."""

    mesh: SkinnedMesh
    corners: Int[np.ndarray, "B 3"]
    """Vertices each sample lies between."""
    shares: Float[np.ndarray, "B 3"]
    """Their weights."""
    is_arm: Bool[np.ndarray, " B"]
    """Whether it is on an arm or hand."""

    @staticmethod
    def of(mesh: SkinnedMesh, rig: Rig) -> BodySamples:
        """Vertices, and the middles of long edges and of the faces that have one."""
        faces = mesh.faces.astype(np.int64)
        edges = np.unique(np.sort(np.concatenate([faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]), 1), axis=0)
        long = edges[lengths(mesh.vertices, edges) > SAMPLE_SPACING]
        sides = np.stack([lengths(mesh.vertices, faces[:, pair]) for pair in ([0, 1], [1, 2], [2, 0])])
        wide = faces[sides.max(0) > SAMPLE_SPACING]
        used = np.unique(faces)
        corners = np.concatenate([np.repeat(used[:, None], 3, 1), long[:, [0, 1, 1]], wide])
        shares = np.repeat(np.array([[1.0, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]),
                           [len(used), len(long), len(wide)], axis=0)
        # Feet are meshed far more densely than contact needs.
        rest = np.einsum("bc,bci->bi", shares, mesh.vertices[corners].astype(np.float64))
        _, kept = np.unique(np.floor(rest / (SAMPLE_SPACING / 2)).astype(np.int64), axis=0, return_index=True)
        kept.sort()
        corners, shares = corners[kept], shares[kept]
        on_arm = np.einsum("bc,bc->b", shares, arm_share(mesh, rig)[corners]) > 0.5
        return BodySamples(mesh=mesh, corners=corners, shares=shares, is_arm=on_arm)

    def at(self, matrices: Float[np.ndarray, "J 4 4"]) -> tuple[Float[np.ndarray, "B 3"], Float[np.ndarray, "B 3"]]:
        """Positions and unit normals under skinning matrices."""
        vertices = skin(self.mesh, matrices)
        normals = np.empty_like(vertices)
        kernels.vertex_normals(vertices, self.mesh.faces, normals)
        points = np.einsum("bc,bci->bi", self.shares, vertices[self.corners])
        blended = np.einsum("bc,bci->bi", self.shares, normals[self.corners])
        blended /= np.maximum(np.linalg.norm(blended, axis=1, keepdims=True), 1e-12)
        return points, blended

    def nearest(self, points: Float[np.ndarray, "V 3"], *, samples: Float[np.ndarray, "B 3"],
                is_arm: Bool[np.ndarray, " V"], radius: float) -> Int[np.ndarray, " V"]:
        """The nearest of the posed `samples` within `radius` of each point, or -1. Only points of arms see arms."""
        found = np.empty(len(points), np.int32)
        kernels.nearest_samples(points, is_arm, samples, self.is_arm, radius, found)
        return found


@dataclass(frozen=True)
class Cores:
    """K tapered capsules inside limbs and torso: what keeps fast limbs from tunnelling through cloth."""

    joints: Int[np.ndarray, " K"]
    """Joint that carries each."""
    ends: Float[np.ndarray, "K 2 3"]
    """Rest pose [m]."""
    radii: Float[np.ndarray, "K 2"]
    """[m]."""
    is_arm: Bool[np.ndarray, " K"]
    """Whether it is in an arm."""

    @staticmethod
    def of(avatar: Avatar) -> Cores:
        """Fitted inside the flesh around each bone, and free of every garment at rest."""
        rig, body = avatar.rig, avatar.body
        arm = arm_joints(rig)
        origins = rig.T_world_joint_rest[:, :3, 3].astype(np.float64)
        owner = body.skin_joints[np.arange(len(body.skin_joints)), body.skin_weights.argmax(1)]
        free = np.concatenate([g.mesh.vertices[~g.pinned] for g in avatar.garments]).astype(np.float64)
        joints, ends, radii = [], [], []
        for joint in range(rig.joint_count):
            children = [c for c in np.flatnonzero(np.asarray(rig.parents) == joint) if arm[c] == arm[joint]]
            flesh = body.vertices[owner == joint].astype(np.float64)
            # Of the arms the long bones alone: a hand's fan of children is no capsule.
            if not children or len(flesh) < 12 or (arm[joint] and len(children) > 1):
                continue
            # Between the two children of a hub (hips), else along the bone.
            segment = origins[children[:2]] if len(children) >= 2 else np.stack([origins[joint], origins[children[0]]])
            radius = _core_radii(segment, flesh, free)
            if radius is not None:
                joints.append(joint), ends.append(segment), radii.append(radius)
        return Cores(joints=np.array(joints, np.int64), ends=np.array(ends, np.float64).reshape(-1, 2, 3),
                     radii=np.array(radii, np.float64).reshape(-1, 2), is_arm=arm[np.array(joints, np.int64)])

    def at(self, matrices: Float[np.ndarray, "J 4 4"]) -> Float[np.ndarray, "K 2 3"]:
        """Their ends under skinning matrices."""
        carry = matrices[self.joints].astype(np.float64)
        return np.einsum("kij,kej->kei", carry[:, :3, :3], self.ends) + carry[:, None, :3, 3]


def _core_radii(segment: np.ndarray, flesh: np.ndarray, free: np.ndarray) -> np.ndarray | None:
    """Radii at both ends [2] of a capsule within `flesh` [R 3] that touches no `free` point; None for none."""
    if np.linalg.norm(segment[1] - segment[0]) < 0.05:
        return None
    along, distance = _to_segment(flesh, segment)
    halves = [(along > 0) & (along <= 0.5), (along >= 0.5) & (along < 1)]
    if min(half.sum() for half in halves) < 4:
        return None
    radius = np.array([0.85 * np.percentile(distance[half], 10) for half in halves])
    along, distance = _to_segment(free, segment)
    depth = ((1 - along) * radius[0] + along * radius[1] - distance).max(initial=0.0)
    radius -= max(0.0, depth + MIN_CLEARANCE if depth > 0 else 0.0)
    return radius if radius.min() > 0.01 else None


def _to_segment(points: np.ndarray, segment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place along a segment, clipped to [0, 1], and distance from it, of points [R 3]."""
    axis = segment[1] - segment[0]
    along = np.clip((points - segment[0]) @ axis / (axis @ axis), 0.0, 1.0)
    return along, np.linalg.norm(points - segment[0] - along[:, None] * axis, axis=1)


def arm_joints(rig: Rig) -> Bool[np.ndarray, " J"]:
    """Arms and hands, by name, with everything below them."""
    arm = np.zeros(rig.joint_count, bool)
    for joint, (name, parent) in enumerate(zip(rig.joint_names, rig.parents, strict=True)):
        arm[joint] = joint > 0 and (ARM_NAMES.search(name) is not None or arm[parent])
    return arm


def arm_share(mesh: SkinnedMesh, rig: Rig) -> Float[np.ndarray, " V"]:
    """Skinning weight of each vertex on arms and hands."""
    return (arm_joints(rig)[mesh.skin_joints] * mesh.skin_weights).sum(1).astype(np.float64)


def skin(mesh: SkinnedMesh, matrices: Float[np.ndarray, "J 4 4"]) -> Float[np.ndarray, "V 3"]:
    """Vertices under skinning matrices, float64."""
    out = np.empty((len(mesh.vertices), 3))
    kernels.skin(mesh.vertices, mesh.skin_joints, mesh.skin_weights, matrices, out)
    return out


def lengths(points: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Distances between the points of each pair [R 2]."""
    return np.linalg.norm(points[pairs[:, 0]].astype(np.float64) - points[pairs[:, 1]], axis=1)
