"""The built-in body fitted to a splat of a standing person: place, size, axes, shape and pose (registration).

Candidates for up and facing come from the scan's principal axes; each is refined with a robust closest-point distance
both ways (annealed Geman-McClure, as in Zhou et al., 2016) over a rigid placement, then limbs, then shape.
Letters: S scan points, V body points, J body joints (fingers, jaw and eyes go with hands and head), D directions.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from baker.avatars.options import AvatarOptions
from baker.body import DIRECTION_NAMES, JOINT_NAMES, PARENTS, Body, make_body
from baker.meshes import face_areas, vertex_normals
from runtime import rotations
from runtime.errors import InputError
from runtime.types import GaussianSet

JOINTS = 22
"""Body joints without fingers and face."""
SCAN_POINTS = 2500
BODY_POINTS = 1800
SLIDERS = ("male", "heavy", "thin", "muscular", "tall", "short")
ARM_ANGLES = {"t": 0.0, "a": 45.0, "relaxed": 72.0}
"""How far the upper arms are down from the T-pose [degrees] in each named pose."""
STAGES = ((40, 0.12, 0.04, False), (110, 0.06, 0.02, True))
"""(steps, Geman-McClure scale [m], learning rate, all joints and shape) of the refinement of the best candidates."""
WORST_RESIDUAL = 0.05
"""A scan whose median distance to the fitted body is larger [m] is no person."""
WORST_COVERAGE = 0.7
"""Or if less than this share of the body has scan within 5 cm."""


@dataclass(frozen=True)
class BodyFit:
    """Where the body is in a scan."""

    turn: Float[np.ndarray, "3 3"]
    """Scan axes to ours."""
    scale: float
    """Metres per scan unit, for a person of the fitted body's height."""
    shift: Float[np.ndarray, " 3"]
    """Metres: ours = scale * turn @ scan + shift; there the body's root joint is at the origin."""
    body: Body
    """The person's shape, in the rest pose."""
    sliders: Mapping[str, float]
    """What made it of the template."""
    rotvecs: Float[np.ndarray, "55 3"]
    """Local rotation of each joint [rad]; the root's is the body's lean."""
    pose: str
    """The named pose it began from."""
    residual: float
    """Median distance of the scan to the body [m]."""
    coverage: float
    """Share of the body with scan within 5 cm."""
    facing_margin: float
    """How much worse the best fit facing the other way is, as a share of the best."""

    @property
    def confidence(self) -> float:
        """0 (a guess) to 1: near the body, all of it, and plainly not the other way round."""
        near = np.clip((WORST_RESIDUAL - self.residual) / (WORST_RESIDUAL - 0.012), 0, 1)
        whole = np.clip((self.coverage - WORST_COVERAGE) / (0.97 - WORST_COVERAGE), 0, 1)
        sure = np.clip(self.facing_margin / 0.08, 0, 1)
        return float(np.round((near * whole * (0.4 + 0.6 * sure)) ** 0.5, 3))


def fit_body(gaussians: GaussianSet, *, options: AvatarOptions, source: str, seed: int = 0) -> BodyFit:
    """Fit the body to a person's splat in a T, A or relaxed pose, at any place, size and rotation.

    Raises `InputError` naming `source` where there is no person to be found.
    """
    scan = _scan_points(gaussians, source, seed)
    template = _Template(seed)
    candidates = sorted((_coarse(scan, template, frame, pose) for frame, pose in _candidates(scan, options)),
                        key=lambda state: state.loss)
    # The best pose of each orientation, the best few of those.
    best: dict[tuple[float, ...], _State] = {}
    for state in candidates:
        best.setdefault(tuple(state.frame.ravel().round(6)), state)
    refined = [_refine(scan, template, state, STAGES[:1]) for state in list(best.values())[:4]]
    refined.sort(key=lambda state: state.loss)
    finals = [_refine(scan, template, state, STAGES[1:]) for state in _both_ways(refined)]
    finals.sort(key=lambda state: state.loss)
    state = finals[0]
    others = [other.loss for other in finals[1:]]
    margin = (min(others) - state.loss) / state.loss if others else 1.0
    fit = _result(scan, template, state, margin)
    if fit.residual > WORST_RESIDUAL or fit.coverage < WORST_COVERAGE:
        raise InputError(
            f"{source}: does not look like one standing person (half of it is {100 * fit.residual:.0f} cm or more from "
            f"the best body, {100 * fit.coverage:.0f} % of the body has splats); cut the person out, or help with "
            "--up, --facing and --pose")
    return fit


# -- the scan and the body as points ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scan:
    points: np.ndarray
    """[S 3] about the origin, of unit size."""
    centre: np.ndarray
    size: float
    """Scan units of 1."""
    tree: cKDTree


def _scan_points(gaussians: GaussianSet, source: str, seed: int) -> _Scan:
    """Opaque Gaussians without strays: those whose neighbours are farther than five times the usual are left out."""
    means = gaussians.means.astype(np.float64)
    solid = np.flatnonzero(gaussians.opacities > 0.25)
    if len(solid) < 500:
        raise InputError(f"{source}: has {len(solid)} opaque Gaussians, too few to find a person in (500 are needed)")
    rng = np.random.Generator(np.random.Philox(seed))
    some = means[rng.choice(solid, min(len(solid), 30_000), replace=False)]
    # Where several are in one place, one speaks for all: no distance below is then zero.
    some = some[np.sort(np.unique(some, axis=0, return_index=True)[1])]
    if len(some) < 100:
        raise InputError(f"{source}: its opaque Gaussians are in {len(some)} places; 100 are needed to find a person")
    middle = np.median(some, axis=0)
    spread = np.median(np.linalg.norm(some - middle, axis=1))
    some = some[np.linalg.norm(some - middle, axis=1) <= 6 * spread]
    distance = cKDTree(some).query(some, k=9)[0][:, -1]
    some = some[distance <= 5 * np.median(distance)]
    # Evenly over space: faces and hands are dense, arms are not.
    cell = np.ptp(some, axis=0).max() / 90
    _, first = np.unique(np.floor(some / cell).astype(np.int64), axis=0, return_index=True)
    even = some[np.sort(first)]
    even = even[rng.permutation(len(even))[:SCAN_POINTS]]
    centre = 0.5 * (even.min(0) + even.max(0))
    size = float(np.ptp(even, axis=0).max())
    if not np.isfinite(size) or size < 1e-9:
        raise InputError(f"{source}: all its Gaussians are in one place")
    points = (even - centre) / size
    return _Scan(points, centre, size, cKDTree(points))


class _Template:
    """The built-in body's points with what posing them needs, as tensors."""

    def __init__(self, seed: int):
        self.body = make_body({})
        used = np.unique(self.body.faces_of["body"])
        mesh = self.body.part("body")
        visible = 1 - self.body.masks["inside"][used]
        area = np.bincount(mesh.faces.ravel(), np.repeat(face_areas(mesh.vertices, mesh.faces), 3), len(used)) * visible
        rng = np.random.Generator(np.random.Philox([seed, 1]))
        rows = np.sort(rng.choice(len(used), BODY_POINTS, replace=False, p=area / area.sum()))
        dense = np.zeros((len(rows), 55))
        np.add.at(dense, (np.arange(len(rows))[:, None], mesh.skin_joints[rows]), mesh.skin_weights[rows])
        for joint in range(JOINTS, 55):
            holder = joint
            while holder >= JOINTS:
                holder = PARENTS[holder]
            dense[:, holder] += dense[:, joint]
        shaped = [make_body({name: 1.0}) for name in SLIDERS]
        self.points = torch.tensor(mesh.vertices[rows], dtype=torch.float32)
        self.weights = torch.tensor(dense[:, :JOINTS], dtype=torch.float32)
        self.joints = torch.tensor(self.body.joints[:JOINTS], dtype=torch.float32)
        self.point_steps = torch.tensor(np.stack([b.part("body").vertices[rows] for b in shaped])
                                        - mesh.vertices[rows], dtype=torch.float32)
        self.joint_steps = torch.tensor(np.stack([b.joints[:JOINTS] for b in shaped]) - self.body.joints[:JOINTS],
                                        dtype=torch.float32)
        self.normals = torch.tensor(vertex_normals(mesh.vertices, mesh.faces)[rows], dtype=torch.float32)

    def posed(self, rotvecs: Tensor, sliders: Tensor) -> tuple[Tensor, Tensor]:
        """Points [V 3] and joints [J 3], root joint at the origin, of local rotations [J 3] and sliders [D]."""
        joints = self.joints + torch.einsum("d,djc->jc", sliders, self.joint_steps)
        points = self.points + torch.einsum("d,dvc->vc", sliders, self.point_steps)
        local = _matrices(rotvecs)
        world, place = [local[0]], [torch.zeros(3)]
        for j in range(1, JOINTS):
            parent = PARENTS[j]
            world.append(world[parent] @ local[j])
            place.append(place[parent] + world[parent] @ (joints[j] - joints[parent]))
        turn, at = torch.stack(world), torch.stack(place)
        # x' = sum_j w_j (R_j (x - rest_j) + place_j)
        offset = at - torch.einsum("jab,jb->ja", turn, joints)
        blended = torch.einsum("vj,jab->vab", self.weights, turn)
        return torch.einsum("vab,vb->va", blended, points) + self.weights @ offset, at


def _matrices(rotvecs: Tensor) -> Tensor:
    """Rotation matrices [J 3 3] of rotation vectors (Rodrigues), smooth at zero."""
    angle = torch.sqrt((rotvecs**2).sum(1) + 1e-12)[:, None, None]
    zero = torch.zeros_like(rotvecs[:, 0])
    x, y, z = rotvecs.unbind(1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3) / angle
    return torch.eye(3) + torch.sin(angle) * cross + (1 - torch.cos(angle)) * cross @ cross


def start_pose(name: str) -> Float[np.ndarray, "J 3"]:
    """Local rotation vectors of a named pose."""
    angle = np.deg2rad(ARM_ANGLES[name])
    rotvecs = np.zeros((JOINTS, 3))
    for side, sign in (("left", -1.0), ("right", 1.0)):
        rotvecs[JOINT_NAMES.index(f"{side}_collar"), 2] = sign * 0.1 * angle
        rotvecs[JOINT_NAMES.index(f"{side}_shoulder"), 2] = sign * 0.9 * angle
        rotvecs[JOINT_NAMES.index(f"{side}_elbow"), 1] = sign * (0.0 if name == "t" else 0.15)
    return rotvecs


# -- candidates ---------------------------------------------------------------------------------------------------


def _candidates(scan: _Scan, options: AvatarOptions) -> list[tuple[np.ndarray, str]]:
    """(rotation [3 3] of scan axes to left, up and forward; pose) to try.

    People are thinnest from front to back; taller than wide, or as wide in a T-pose.
    """
    poses = (options.pose,) if options.pose else tuple(ARM_ANGLES)
    axis = {name: np.eye(3)["xyz".index(name[-1])] * (-1 if name[0] == "-" else 1)
            for name in ("x", "y", "z", "-x", "-y", "-z")}
    _, vectors = np.linalg.eigh(np.cov(scan.points.T))
    if options.up:
        flat = scan.points - np.outer(scan.points @ axis[options.up], axis[options.up])
        _, level = np.linalg.eigh(np.cov(flat.T))
        ups = [axis[options.up]]
        fronts = [axis[options.facing]] if options.facing else [s * v for v in (level[:, 1], level[:, 2])
                                                                for s in (1, -1)]
    else:
        ups = [s * vectors[:, k] for k in (2, 1) for s in (1, -1)]
        fronts = [axis[options.facing]] if options.facing else [s * vectors[:, 0] for s in (1, -1)]
    frames = []
    for up, front in itertools.product(ups, fronts):
        level = front - (front @ up) * up
        if np.linalg.norm(level) < 0.3:
            continue
        forward = level / np.linalg.norm(level)
        frames.append(np.stack([np.cross(up, forward), up, forward]))
    return list(itertools.product(frames, poses))


@dataclass(frozen=True)
class _State:
    """A candidate under refinement: ours = exp(lean) (scale frame scan) + shift, body at the origin."""

    loss: float
    frame: np.ndarray
    pose: str
    log_scale: Tensor
    """Of metres per unit scan."""
    shift: Tensor
    """Root joint in the turned, scaled scan [m]."""
    rotvecs: Tensor
    """[J 3]; the root's is the body's rotation in the frame."""
    sliders: Tensor


def _coarse(scan: _Scan, template: _Template, frame: np.ndarray, pose: str) -> _State:
    """The state of one candidate, placed by its extent, and its mean trimmed distance both ways."""
    rotvecs = torch.tensor(start_pose(pose), dtype=torch.float32)
    sliders = torch.zeros(len(SLIDERS))
    body = template.posed(rotvecs, sliders)[0].numpy().astype(np.float64)
    points = scan.points @ frame.T
    low, high = np.quantile(points[:, 1], [0.002, 0.998])
    scale = float(np.ptp(np.quantile(body[:, 1], [0.002, 0.998])) / max(high - low, 1e-6))
    points = points * scale
    shift = 0.5 * (points.min(0) + points.max(0)) - 0.5 * (body.min(0) + body.max(0))
    shift[1] = np.quantile(points[:, 1], 0.002) - np.quantile(body[:, 1], 0.002)
    tree = cKDTree(points)
    for _ in range(4):
        # A few steps of translation only: limbs are wrong, the trunk is not.
        distance, near = tree.query(body + shift)
        keep = distance < np.quantile(distance, 0.7)
        shift = shift + (points[near] - body - shift)[keep].mean(0)
    there = tree.query(body + shift)[0]
    back = cKDTree(body + shift).query(points)[0]
    loss = float(np.minimum(there, 0.15).mean() + np.minimum(back, 0.15).mean())
    return _State(loss, frame, pose, torch.tensor(np.log(scale), dtype=torch.float32),
                  torch.tensor(shift, dtype=torch.float32), rotvecs, sliders)


def _both_ways(states: list[_State]) -> list[_State]:
    """The best state, and the best that faces otherwise: the way round is decided last, between refined fits."""
    best = states[0]
    others = [s for s in states[1:] if float(s.frame[2] @ best.frame[2]) < 0.5 or float(
        s.frame[1] @ best.frame[1]) < 0.5]
    return [best, *others[:1]]


def _refine(scan: _Scan, template: _Template, state: _State, stages: tuple) -> _State:
    """Gradient steps (Adam) on placement, pose and, in the later stages, shape."""
    points = torch.tensor(scan.points @ state.frame.T, dtype=torch.float32)
    start = torch.tensor(start_pose(state.pose), dtype=torch.float32)
    log_scale, shift, rotvecs, sliders = (
        value.clone().requires_grad_(True) for value in (state.log_scale, state.shift, state.rotvecs, state.sliders))
    stiffness = _stiffness()
    value = torch.zeros(())
    for steps, width, rate, everything in stages:
        groups = [{"params": [rotvecs], "lr": rate}, {"params": [shift, log_scale], "lr": 0.4 * rate}]
        if everything:
            groups.append({"params": [sliders], "lr": rate})
        optimiser = torch.optim.Adam(groups, betas=(0.8, 0.95))
        for step in range(steps):
            for group, base in zip(optimiser.param_groups, (rate, 0.4 * rate, rate), strict=False):
                group["lr"] = base * (1 - 0.85 * step / steps)
            optimiser.zero_grad()
            body, _ = template.posed(rotvecs, sliders)
            seen = points * torch.exp(log_scale) - shift
            if step % 3 == 0:
                near_scan = torch.from_numpy(cKDTree(seen.detach().numpy()).query(body.detach().numpy())[1])
                near_body = torch.from_numpy(cKDTree(body.detach().numpy()).query(seen.detach().numpy())[1])
            value = _robust(body - seen[near_scan], width) + _robust(seen - body[near_body], width)
            prior = (stiffness * ((rotvecs - start) ** 2).sum(1)).sum()
            if everything:
                # Directions are meant from 0 to 1: below 0 they cost more.
                prior = prior + 2e-3 * (sliders**2).sum() + 5e-3 * torch.relu(-sliders).sum()
            (value + prior).backward()
            if not everything:
                # Placement and big joints first.
                with torch.no_grad():
                    assert rotvecs.grad is not None
                    rotvecs.grad *= _coarse_joints()[:, None]
            optimiser.step()
    width = stages[-1][1]
    return _State(float(value.detach()), state.frame, state.pose, log_scale.detach(), shift.detach(),
                  rotvecs.detach(), sliders.detach())


def _robust(delta: Tensor, width: float) -> Tensor:
    """Mean Geman-McClure penalty d^2 / (d^2 + width^2) of vectors [N 3]."""
    squared = (delta**2).sum(1)
    return (squared / (squared + width**2)).mean()


def _stiffness() -> Tensor:
    """Weight of each joint's departure from the named pose: shoulders are free, spine and feet are not."""
    weight = torch.full((JOINTS,), 0.02)
    for i, name in enumerate(JOINT_NAMES[:JOINTS]):
        for word, value in (("shoulder", 0.002), ("elbow", 0.006), ("hip", 0.006), ("knee", 0.03), ("spine", 0.06),
                            ("collar", 0.06), ("ankle", 0.05), ("foot", 1.0), ("wrist", 0.05), ("neck", 0.04),
                            ("head", 0.04), ("pelvis", 0.0)):
            if word in name:
                weight[i] = value
    return weight


def _coarse_joints() -> Tensor:
    """1 for the joints that the first stage may turn."""
    return torch.tensor([float(name.endswith(("pelvis", "shoulder", "hip"))) for name in JOINT_NAMES[:JOINTS]])


# -- result -------------------------------------------------------------------------------------------------------


def _result(scan: _Scan, template: _Template, state: _State, margin: float) -> BodyFit:
    scale = float(torch.exp(state.log_scale))
    sliders = {name: float(value) for name, value in zip(SLIDERS, state.sliders, strict=True)}
    with torch.no_grad():
        body = template.posed(state.rotvecs, state.sliders)[0].numpy().astype(np.float64)
    seen = scan.points @ state.frame.T * scale - state.shift.numpy()
    residual = float(np.median(cKDTree(body).query(seen)[0]))
    coverage = float((cKDTree(seen).query(body)[0] < 0.05).mean())
    rotvecs = np.zeros((55, 3))
    rotvecs[:JOINTS] = state.rotvecs.numpy()
    turn = rotations.to_matrix(rotations.from_rotvec(rotvecs[0]))
    level = _level(turn)
    rotvecs[0] = rotations.to_rotvec(rotations.from_matrix(level @ turn))
    metres = scale / scan.size
    whole = level @ state.frame
    # ours = level (scale frame (scan - centre) / size - shift): the root joint is at the origin.
    shift = -metres * whole @ scan.centre - level @ state.shift.numpy().astype(np.float64)
    return BodyFit(turn=whole, scale=metres, shift=shift, sliders=sliders, rotvecs=rotvecs,
                   body=make_body({name: value for name, value in sliders.items() if name in DIRECTION_NAMES}),
                   pose=state.pose, residual=residual, coverage=coverage, facing_margin=float(margin))


def _level(turn: np.ndarray) -> np.ndarray:
    """The rotation that stands the body upright: its trunk's up is +Y and it faces +Z."""
    up = turn[:, 1]
    forward = turn[:, 2] - (turn[:, 2] @ up) * up
    forward /= np.linalg.norm(forward)
    return np.stack([np.cross(up, forward), up, forward])
