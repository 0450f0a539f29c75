"""Cloth simulation on a moving avatar: the truth that evaluation compares with, and training data for the prior.

Extended position-based dynamics with small substeps (Macklin et al. 2016, 2019), solved in sequence so that
results are bit-equal on one machine. Cloth collides with the skinned body surface itself; capsules inside the
limbs only keep fast limbs from tunnelling through. Each garment also lies over those before it in the avatar's order
(but not over hair), which do not feel it. A garment does not collide with itself.
Letters: V garment vertices, B body samples, S pose samples (several a frame). Metres, seconds, kilograms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from baker import cloth_kernels as kernels
from baker import surface_kernels
from baker.avatar import Avatar, Garment, SkinnedMesh
from baker.collider import MIN_CLEARANCE, BodySamples, Cores, arm_share, lengths, skin
from baker.meshes import face_areas, ride, vertex_normals
from runtime import rotations
from runtime.errors import InputError
from runtime.skinning import blend, pose_gaussians, skinning_matrices
from runtime.types import GaussianSet, Label, Motion

SEARCH_RADIUS = 0.05
"""How far from the body a cloth vertex looks for contact [m]; limbs move less in one pose interval."""
@dataclass(frozen=True)
class ClothConfig:
    """Material and solver. Defaults: a light woven skirt; measured values in tests/test_cloth.py."""

    substeps: int = 40
    """Solver steps per 1/30 s. At 20 (facts/data.md §5) a hanging skirt of 2,800 vertices stretches by 4 % (p99),
    at 40 by 2 %."""
    pose_samples: int = 2
    """Body poses, interpolated on the rotations, and contact searches per 1/30 s; linear in between."""
    gravity: float = 9.81
    """[m/s2], along -y."""
    density: float = 0.2
    """Mass per area [kg/m2]; light cotton weighs 0.1 to 0.25."""
    stretch_compliance: float = 2e-4
    """Of edges along the weave [m/N]; its inverse over a square is the membrane stiffness, 5 kN/m."""
    shear_compliance: float = 5e-3
    """Of the diagonals of quads [m/N]; woven cloth shears some ten times more easily than it stretches."""
    bend_compliance: float = 0.2
    """Of the distance across an edge [m/N]; chosen by eye for folds of some 10 cm."""
    tether_slack: float = 1.005
    """A vertex stays within this times its distance along the cloth from the nearest pin."""
    friction: float = 0.3
    """Coulomb coefficient, cloth on skin (facts/data.md §5)."""
    thickness: float = 0.005
    """Distance kept from the skin [m], less where the rest pose has less; covers the sag of the body's curve
    between cloth vertices 3 cm apart, 0.03^2 / (8 * 0.06) = 2 mm."""
    damping: float = 0.5
    """Rate at which velocities decay [1/s]."""
    drag: float = 1.2
    """Drag coefficient of cloth moving along its normal in still air (flat plate: 1.2)."""
    lead_in_seconds: float = 1.0
    """From the rest pose to the first frame, before frame 0 [s]; facts/data.md §5 asks for 20 frames or more."""
    max_speed: float = 15.0
    """Cap on cloth velocities [m/s]; a sprinter's foot reaches 20, a skirt's hem on a twirl 6."""
    max_pull: float = 0.3
    """An edge stretched beyond this share of its length pulls no harder: where a stride is wider than the hem, cloth
    gives way instead of being torn through the leg (a tight dress on a lunge was, without a limit)."""
    seed: int = 0
    """Of the order in which constraints are solved. A random order matters: sorted from or to the waist, the sweep
    carries errors round the sheet and the skirt boils (strain p99 50 % and more on a walk)."""

    def draft(self) -> ClothConfig:
        """A preset in half the time; strain p99 is 8 to 10 % on a walk or jump, 23 % on a twirl."""
        return replace(self, substeps=15, pose_samples=1)

    def hair(self) -> ClothConfig:
        """The material of locks of hair, chosen by eye: heavier than cloth, little air caught, quickly at rest."""
        return replace(self, density=0.6, shear_compliance=1e-3, bend_compliance=0.05, drag=0.6, damping=2.0,
                       friction=0.15)


@dataclass(frozen=True)
class Truth:
    """A simulated motion."""

    avatar: Avatar
    motion: Motion
    garment_vertices: tuple[np.ndarray, ...]
    """Per garment of the avatar, its vertices in the world at every frame, float32 [T V 3]."""

    def posed(self, frame: int) -> GaussianSet:
        """The avatar's Gaussians in the world: garments ride on the simulated mesh, all else is rigid skinning."""
        rigid = pose_gaussians(self.avatar.gaussians, self.avatar.rig, self.motion, frame)
        means, quats, log_scales = rigid.means.copy(), rigid.quats_wxyz.copy(), rigid.log_scales.copy()
        for garment, vertices in zip(self.avatar.garments, self.garment_vertices, strict=True):
            rows = garment.gaussian_indices
            means[rows], quats[rows], log_scales[rows] = ride(self.avatar.gaussians, garment, vertices[frame])
        return replace(rigid, means=means, quats_wxyz=quats, log_scales=log_scales)


@dataclass(frozen=True)
class TruthResidual:
    """What rigid skinning misses of a truth."""

    moving: Int[np.ndarray, " M"]
    """Gaussians that may move, ascending."""
    d_means: Float[np.ndarray, "T M 3"]
    """Rest-pose offsets [m] that reproduce the truth's centres through skinning."""
    distances: Float[np.ndarray, "T M"]
    """Distance in the world between the rigid and the true centres [m]."""


def simulate(avatar: Avatar, motion: Motion, config: ClothConfig, *,
             progress: Callable[[int, int], None] | None = None) -> Truth:
    """Simulate every garment of `avatar` over `motion`. `progress` is called with (frames done, frames).

    Raises `InputError` if the avatar has no garments, or a garment has no pinned vertex.
    """
    if not avatar.garments:
        raise InputError(f"{avatar.name}: has no garments to simulate; use an avatar with loose cloth")
    motion.check(avatar.name, rig=avatar.rig)
    track = _pose_track(motion, config)
    samples, cores = BodySamples.of(avatar.body, avatar.rig), Cores.of(avatar)
    total, done = motion.frames * len(avatar.garments), 0
    cloths: list[_Cloth] = []
    for garment in avatar.garments:
        # Locks of hair are too narrow to carry cloth: vertices slip off their edges to the wrong side.
        under = tuple(cloth for cloth in cloths if not _is_hair(cloth.garment, avatar))
        cloths.append(_Cloth(garment, avatar, samples, cores, config=config, track=track, under=under))
    simulated = [np.empty((motion.frames, len(garment.mesh.vertices), 3), np.float32) for garment in avatar.garments]
    for sample in range(1, track.poses.frames):
        frame, part = divmod(sample - track.first, track.per_frame)
        matrices = skinning_matrices(avatar.rig, track.poses, sample)
        for cloth, frames in zip(cloths, simulated, strict=True):
            cloth.advance(matrices)
            if frame >= 0 and part == 0:
                frames[frame] = cloth.visible_positions()
                done += 1
                if progress is not None:
                    progress(done, total)
    return Truth(avatar=avatar, motion=motion, garment_vertices=tuple(simulated))


def rigid_vertices(avatar: Avatar, garment: Garment, motion: Motion, frame: int) -> Float[np.ndarray, "V 3"]:
    """A garment's vertices in the world by linear blend skinning alone."""
    return skin(garment.mesh, skinning_matrices(avatar.rig, motion, frame))


def truth_residual(avatar: Avatar, motion: Motion, truth: Truth) -> TruthResidual:
    """Rest-pose offsets that take rigid skinning to the truth: the inverse of each Gaussian's blended matrix."""
    moving = np.flatnonzero(avatar.gaussians.may_move)
    rest = avatar.gaussians.means[moving].astype(np.float64)
    d_means = np.zeros((motion.frames, len(moving), 3), np.float32)
    distances = np.zeros((motion.frames, len(moving)), np.float32)
    joints, weights = avatar.rig.skin_joints[moving], avatar.rig.skin_weights[moving].astype(np.float64)
    for frame in range(motion.frames):
        blended = blend(skinning_matrices(avatar.rig, motion, frame).astype(np.float64), joints, weights)
        true = truth.posed(frame).means[moving].astype(np.float64)
        off = true - blended[:, :3, 3]
        d_means[frame] = np.linalg.solve(blended[:, :3, :3], off[..., None])[..., 0] - rest
        rigid = np.einsum("mij,mj->mi", blended[:, :3, :3], rest)
        distances[frame] = np.linalg.norm(off - rigid, axis=1)
    return TruthResidual(moving=moving, d_means=d_means, distances=distances)


def edge_strains(garment: Garment, vertices: Float[np.ndarray, "T V 3"]) -> Float[np.ndarray, "T E"]:
    """Relative change of length of every edge of a garment between its rest pose and simulated frames."""
    edges = _edges_and_diagonals(garment.mesh)[0]
    rest = np.linalg.norm(np.diff(garment.mesh.vertices[edges].astype(np.float64), axis=1)[:, 0], axis=1)
    lengths = np.linalg.norm(np.diff(vertices[:, edges].astype(np.float64), axis=2)[:, :, 0], axis=2)
    return lengths / rest - 1.0


def penetrations(avatar: Avatar, garment: Garment, motion: Motion, *, frame: int,
                 vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, " V"]:
    """Exact depth [m] of each free vertex inside the skinned body surface; 0 outside or pinned. Arms are left out for a
    garment that does not meet them."""
    body = skin(avatar.body, skinning_matrices(avatar.rig, motion, frame))
    arm = (arm_share(avatar.body, avatar.rig) > 0.5) & (not _meets_arms(garment, avatar).any())
    faces = np.ascontiguousarray(avatar.body.faces[~arm[avatar.body.faces].any(1)], np.int64)
    depths = np.empty(len(vertices))
    surface_kernels.penetration_depths(vertices.astype(np.float64), body, faces, depths)
    return np.where(garment.pinned, 0.0, depths)


@dataclass(frozen=True)
class _Track:
    """The motion resampled, with its lead-in."""

    poses: Motion
    first: int
    """Sample of the motion's frame 0."""
    per_frame: int
    """Samples a frame."""
    substeps: int
    """Solver steps a sample."""


def _pose_track(motion: Motion, config: ClothConfig) -> _Track:
    """Resample to several poses a frame by slerp, and prepend the lead-in."""
    per_frame = max(1, round(config.pose_samples * 30 / motion.fps))
    rate = motion.fps * per_frame
    substeps = max(1, round(config.substeps * 30 / rate))
    quats = rotations.normalize(motion.quats_wxyz.astype(np.float64))
    roots = motion.root_translations.astype(np.float64)
    between_quats = [rotations.slerp(quats[:-1], quats[1:], j / per_frame) for j in range(per_frame)]
    between_roots = [roots[:-1] + j / per_frame * (roots[1:] - roots[:-1]) for j in range(per_frame)]
    lead_quats, lead_roots = _lead_in(quats, roots, motion.fps, rate, config.lead_in_seconds)
    poses = Motion(
        fps=rate, joint_names=motion.joint_names,
        quats_wxyz=np.concatenate([lead_quats, np.stack(between_quats, 1).reshape(-1, *quats.shape[1:]), quats[-1:]]),
        root_translations=np.concatenate([lead_roots, np.stack(between_roots, 1).reshape(-1, 3), roots[-1:]]))
    return _Track(poses=poses, first=len(lead_roots), per_frame=per_frame, substeps=substeps)


def _lead_in(quats: np.ndarray, roots: np.ndarray, fps: float, rate: float,
             seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Poses before frame 0: from the rest pose (turned as the first frame is) to the first frame.

    In its last 0.3 s the body gathers the speed of the first frame, so that cloth is not jerked at frame 0.
    """
    count = max(1, round(seconds * rate))
    run_up = min(0.3, seconds)
    following = min(1, len(quats) - 1)
    rest = np.zeros_like(quats[0])
    rest[:, 0] = 1.0
    rest[0] = quats[0, 0]
    out_quats, out_roots = [], []
    for sample in range(count):
        time = (sample - count) / rate
        ramp = np.clip(1.0 + time / run_up, 0.0, 1.0)
        # Time at which the first two frames are extrapolated: its rate goes from 0 to 1.
        past = -run_up * (1.0 - ramp ** 2) / 2.0
        pose = rotations.slerp(quats[0], quats[following], float(past * fps))
        blend_in = np.clip((time + seconds) / (0.6 * seconds), 0.0, 1.0)
        weight = float(blend_in * blend_in * (3 - 2 * blend_in))
        pose[1:] = rotations.slerp(rest, pose, weight)[1:]
        out_quats.append(pose)
        out_roots.append(roots[0] + past * fps * (roots[following] - roots[0]))
    return np.stack(out_quats), np.stack(out_roots)


class _Cloth:
    """One garment while it is simulated."""

    def __init__(self, garment: Garment, avatar: Avatar, samples: BodySamples, cores: Cores, *,
                 config: ClothConfig, track: _Track, under: tuple[_Cloth, ...]) -> None:
        if not garment.pinned.any():
            raise InputError(f"{avatar.name}: garment {garment.name} has no pinned vertices; pin its waistband")
        mesh, step = garment.mesh, 1.0 / (track.poses.fps * track.substeps)
        if _is_hair(garment, avatar):
            config = config.hair()
        self.garment, self.samples, self.cores, self.track, self.under = garment, samples, cores, track, under
        self.constraints = _constraints(garment, config)
        self.free = ~garment.pinned
        self.meets_arms = _meets_arms(garment, avatar)
        self.is_arm = np.concatenate([samples.is_arm, *(cloth.meets_arms for cloth in under)])
        self.contacts = np.full(len(mesh.vertices), -1, np.int32)
        # Air of 1.2 kg/m3: deceleration = 1/2 rho Cd v^2 / density.
        self.physics = kernels.Physics(
            step=step, gravity=config.gravity, drag=0.5 * 1.2 * config.drag / config.density,
            keep=float(np.exp(-config.damping * step)), friction=config.friction, max_speed=config.max_speed,
            max_pull=config.max_pull, max_push=0.01)
        rest_points, rest_normals = samples.at(np.repeat(np.eye(4)[None], avatar.rig.joint_count, 0))
        for cloth in under:
            below = cloth.garment.mesh
            rest_points = np.concatenate([rest_points, below.vertices.astype(np.float64)])
            rest_normals = np.concatenate([rest_normals, vertex_normals(below.vertices, below.faces)])
        rest = mesh.vertices.astype(np.float64)
        self._find_contacts(rest, rest_points)
        distance = np.einsum("vi,vi->v", rest - rest_points[self.contacts], rest_normals[self.contacts])
        near = (self.contacts >= 0) & (distance < config.thickness)
        self.clearances = np.where(near, np.maximum(distance, MIN_CLEARANCE), config.thickness)
        matrices = skinning_matrices(avatar.rig, track.poses, 0)
        self.body = self._body(matrices)
        self.pins = skin(mesh, matrices)
        self.sheet = kernels.Sheet(
            positions=self.pins.copy(), velocities=np.zeros_like(self.pins), previous=self.pins.copy(),
            normals=np.zeros_like(self.pins),
            inverse_masses=np.where(garment.pinned, 0.0, 1.0 / _masses(mesh, config.density)))

    def advance(self, matrices: Float[np.ndarray, "J 4 4"]) -> None:
        """From the previous pose sample to the one of these skinning matrices, after the garments under this one."""
        before, after = self.body, self._body(matrices)
        pins = skin(self.garment.mesh, matrices)
        half = 0.5 / self.track.poses.fps
        expected = self.sheet.positions + half * self.sheet.velocities
        self._find_contacts(expected, 0.5 * (before[0] + after[0]))
        surface_kernels.vertex_normals(self.sheet.positions, self.garment.mesh.faces, self.sheet.normals)
        body = kernels.Body(
            points0=before[0], points1=after[0], normals0=before[1], normals1=after[1], cores0=before[2],
            cores1=after[2], radii=self.cores.radii, core_is_arm=self.cores.is_arm, meets_arms=self.meets_arms,
            contacts=self.contacts, clearances=self.clearances, pins0=self.pins, pins1=pins)
        kernels.advance(self.sheet, self.constraints, body, self.physics, self.track.substeps)
        self.body, self.pins = after, pins

    def visible_positions(self) -> np.ndarray:
        """The positions, pushed out of the body's surface as it is now."""
        shown = self.sheet.positions.copy()
        for _ in range(2):
            self._find_contacts(shown, self.body[0])
            surface_kernels.push_out(shown, self.free, self.body[0], self.body[1], self.contacts, self.clearances)
        return shown.astype(np.float32)

    def _body(self, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions [B 3] and normals [B 3] of body samples and the garments under this one, and capsule ends [K 2 3]
        under skinning matrices."""
        points, normals = self.samples.at(matrices)
        for cloth in self.under:
            below = np.empty_like(cloth.sheet.positions)
            surface_kernels.vertex_normals(cloth.sheet.positions, cloth.garment.mesh.faces, below)
            points, normals = np.concatenate([points, cloth.sheet.positions]), np.concatenate([normals, below])
        return points, normals, self.cores.at(matrices)

    def _find_contacts(self, positions: np.ndarray, samples: np.ndarray) -> None:
        surface_kernels.nearest_samples(positions, self.meets_arms, samples, self.is_arm, SEARCH_RADIUS, self.contacts)


def _is_hair(garment: Garment, avatar: Avatar) -> bool:
    return bool((avatar.gaussians.labels[garment.gaussian_indices] == Label.HAIR).any())


def _meets_arms(garment: Garment, avatar: Avatar) -> np.ndarray:
    """Boolean [V]: vertices that arms push."""
    return (arm_share(garment.mesh, avatar.rig) > 0.3) | garment.meets_arms


def _constraints(garment: Garment, config: ClothConfig) -> kernels.Constraints:
    """Edges, shear and bending in a random order, and tethers along the cloth to the nearest pin."""
    mesh = garment.mesh
    rest = mesh.vertices.astype(np.float64)
    edges, is_diagonal, across, across_is_diagonal = _edges_and_diagonals(mesh)
    pairs = np.concatenate([edges, across])
    compliance = np.concatenate([
        np.where(is_diagonal, config.shear_compliance, config.stretch_compliance),
        np.where(across_is_diagonal, config.shear_compliance, config.bend_compliance)])
    order = np.random.Generator(np.random.Philox(config.seed)).permutation(len(pairs))
    pairs, compliance = pairs[order], compliance[order]
    spans = lengths(rest, edges)
    count = len(rest)
    graph = coo_matrix((spans, (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    reach, _, source = dijkstra(graph, directed=False, indices=np.flatnonzero(garment.pinned),
                                return_predecessors=True, min_only=True)
    tethered = np.isfinite(reach) & ~garment.pinned
    return kernels.Constraints(
        first=pairs[:, 0].astype(np.int32), second=pairs[:, 1].astype(np.int32), rest=lengths(rest, pairs),
        compliance=compliance, anchors=np.where(tethered, source, -1).astype(np.int32),
        reaches=np.where(tethered, reach * config.tether_slack, 0.0))


def _edges_and_diagonals(mesh: SkinnedMesh) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Edges [E 2], whether each is the diagonal of a quad [E]; vertex pairs across the inner edges [I 2], and
    whether they cross a diagonal [I]. A diagonal is the longest edge of both its triangles."""
    faces = mesh.faces.astype(np.int64)
    halves = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    opposite = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    length = lengths(mesh.vertices, halves)
    longest = np.tile(length.reshape(3, -1).max(0), 3)
    edges, edge_of = np.unique(np.sort(halves, 1), axis=0, return_inverse=True)
    edge_of = edge_of.ravel()
    uses = np.bincount(edge_of, minlength=len(edges))
    longest_in = np.bincount(edge_of, length >= longest - 1e-9, len(edges))
    is_diagonal = (uses == 2) & (longest_in == 2)
    order = np.argsort(edge_of, kind="stable")
    start = np.concatenate([[0], np.cumsum(uses)[:-1]])
    inner = np.flatnonzero(uses == 2)
    across = np.stack([opposite[order[start[inner]]], opposite[order[start[inner] + 1]]], 1)
    distinct = across[:, 0] != across[:, 1]
    return edges, is_diagonal, across[distinct], is_diagonal[inner][distinct]


def _masses(mesh: SkinnedMesh, density: float) -> np.ndarray:
    """Vertex masses [V] [kg]: a third of the faces around each, not under a fifth of the median (slivers)."""
    area = np.repeat(face_areas(mesh.vertices, mesh.faces) / 3.0, 3)
    mass = density * np.bincount(mesh.faces.ravel(), area, len(mesh.vertices))
    return np.maximum(mass, 0.2 * np.median(mass))
