"""Splats of a person become an `Avatar`: LHM's on the body they were made on, or any scan on a body fitted to it.

LHM and LHM++ write the zero pose with the subject's betas, y-up metres, row i at sample point i of the template
(facts: upstream.md §2.1-2.2). Letters: N Gaussians, J joints, W influences.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from baker.avatar import Avatar, SkinnedMesh
from baker.avatars.body_model import read_betas, read_body_model
from baker.avatars.options import AvatarOptions
from baker.avatars.regions import label_regions
from baker.binding import Method, bind
from baker.body import JOINT_NAMES, PARENTS
from baker.fit import BodyFit, fit_body
from baker.meshes import dense_weights, strongest
from export_formats import dropped
from export_formats import read as read_file
from runtime import rotations, skinning
from runtime.errors import InputError
from runtime.types import GaussianSet, Label, Motion, Rig

FARTHEST = 0.6
"""LHM moves a point by at most 0.5 m from the body; splats farther away [m] are of another body or pose."""
INFLUENCES = 8
PERSON_HEIGHTS = (1.2, 2.2)
"""A scan that is as tall [m] in its own units is in metres."""


def load_on_body(path: Path, *, options: AvatarOptions, binding: Method = "diffused") -> Avatar:
    """Splats in the zero pose of the body model in `options`, shaped by its betas.

    With sample points, each Gaussian takes the weights of its own point's nearest template vertex, as LHM does; else it
    is bound to the surface by `binding`. Raises `InputError` naming the file at fault.
    """
    assert options.body_model is not None
    model = read_body_model(options.body_model)
    vertices, joints = model.shaped(read_betas(options.betas))
    gaussians = mirrored(read_splats(path)) if options.mirror else read_splats(path)
    mesh = model.mesh(vertices)
    distance, _ = cKDTree(vertices).query(gaussians.means)
    far = float(np.median(distance))
    if far > 0.1 or float(np.quantile(distance, 0.98)) > FARTHEST:
        raise InputError(f"{path}: does not lie on {options.body_model.name} in its zero pose (half of it is over "
                         f"{far:.2f} m away); give the subject's --betas, or leave --body-model out to have a body "
                         "fitted")
    labels = label_regions(gaussians, mesh, model.joint_names, joints)
    gaussians = replace(gaussians, labels=labels)
    if options.sample_points is not None:
        rows = _sample_points(options.sample_points, gaussians.count, path)
        _, nearest = cKDTree(model.vertices).query(rows)
        influences = mesh.skin_joints.shape[1]
        dense = dense_weights(mesh.skin_joints, mesh.skin_weights, joints=len(joints))
        skin_joints, skin_weights = strongest(dense[nearest], influences=influences)
    else:
        skin_joints, skin_weights = bind(gaussians.means, mesh, method=binding, loose=labels == Label.GARMENT,
                                         influences=INFLUENCES)
    rig = replace(model.rig(joints), skin_joints=skin_joints, skin_weights=skin_weights)
    return Avatar(name=path.stem, gaussians=gaussians, rig=rig, body=mesh, garments=(), licence="")


@dataclass(frozen=True)
class Scan:
    """A scan with the body fitted to it."""

    avatar: Avatar
    """In the zero pose."""
    fit: BodyFit
    posed: GaussianSet
    """The scan as it stands, upright, facing +Z, in metres, labelled."""
    posed_joints: Float[np.ndarray, "J 3"]
    """The fitted body's joints in it."""


def load_scan(path: Path, *, options: AvatarOptions, binding: Method = "diffused", seed: int = 0) -> Scan:
    """Any splat of a standing person, on the built-in body fitted to it, brought to the zero pose.

    Raises `InputError` naming the file.
    """
    raw = mirrored(read_splats(path)) if options.mirror else read_splats(path)
    fit = fit_body(raw, options=options, source=str(path), seed=seed)
    # 1. Metres: the file's own where they make a person, else the fitted body's.
    height = float(np.ptp(fit.body.vertices[fit.body.faces_of["body"].ravel(), 1]))
    in_file = height / fit.scale
    factor = (options.height / height if options.height is not None
              else in_file / height if PERSON_HEIGHTS[0] <= in_file <= PERSON_HEIGHTS[1] else 1.0)
    posed = _moved(raw, fit, factor)
    joints = factor * fit.body.joints.astype(np.float64)
    joints = joints - joints[0]
    used = fit.body.part("body")
    mesh = replace(used, vertices=(factor * (used.vertices - fit.body.joints[0])).astype(np.float32))
    rest = np.tile(np.eye(4), (len(joints), 1, 1))
    rest[:, :3, 3] = joints
    rig = Rig(joint_names=JOINT_NAMES, parents=np.array(PARENTS, np.int32), T_world_joint_rest=rest,
              skin_joints=mesh.skin_joints, skin_weights=mesh.skin_weights)
    motion = Motion(fps=30.0, root_translations=np.zeros((1, 3)), quats_wxyz=rotations.from_rotvec(fit.rotvecs[None]))
    matrices = skinning.skinning_matrices(rig, motion, 0)
    posed_mesh = replace(mesh, vertices=skinning.skin_points(
        mesh.vertices.astype(np.float64), skinning.blend(matrices, mesh.skin_joints, mesh.skin_weights)).astype(
            np.float32))
    # 2. Weights at the surface as it stands; labels in the zero pose; then weights again, loose cloth diffused.
    weights = bind(posed.means, posed_mesh, influences=INFLUENCES)
    labels = label_regions(_unposed(posed, matrices, *weights), mesh, JOINT_NAMES, joints)
    weights = bind(posed.means, posed_mesh, method=binding, loose=labels == Label.GARMENT, influences=INFLUENCES)
    posed = replace(posed, labels=labels)
    avatar = Avatar(name=path.stem, gaussians=_unposed(posed, matrices, *weights), body=mesh, garments=(), licence="",
                    rig=replace(rig, skin_joints=weights[0], skin_weights=weights[1]))
    posed_joints = skinning.joint_transforms(rig, motion, 0)[:, :3, 3]
    return Scan(avatar=avatar, fit=fit, posed=posed, posed_joints=posed_joints)


def mirrored(gaussians: GaussianSet) -> GaussianSet:
    """x turned round, which undoes a wrong change of handedness; M R M turns about x as R does, about y and z back."""
    return replace(gaussians, means=gaussians.means * np.array([-1, 1, 1], np.float32),
                   quats_wxyz=gaussians.quats_wxyz * np.array([1, 1, -1, -1], np.float32))


def _moved(gaussians: GaussianSet, fit: BodyFit, factor: float) -> GaussianSet:
    """The scan in our axes and metres."""
    scale = fit.scale * factor
    quat = rotations.from_matrix(fit.turn)
    return replace(
        gaussians, means=(scale * gaussians.means @ fit.turn.T + factor * fit.shift).astype(np.float32),
        log_scales=(gaussians.log_scales + np.log(scale)).astype(np.float32),
        quats_wxyz=rotations.multiply(np.broadcast_to(quat, gaussians.quats_wxyz.shape),
                                      gaussians.quats_wxyz.astype(np.float64)).astype(np.float32))


def _unposed(posed: GaussianSet, matrices: np.ndarray, skin_joints: np.ndarray,
             skin_weights: np.ndarray) -> GaussianSet:
    """The Gaussians before their skinning: posing them with the same weights gives them back."""
    blended = skinning.blend(matrices, skin_joints, skin_weights)
    back = np.linalg.inv(blended)
    turn = rotations.from_matrix(rotations.nearest_rotation(blended[:, :3, :3])) * [1, -1, -1, -1]
    return replace(posed, means=skinning.skin_points(posed.means.astype(np.float64), back).astype(np.float32),
                   quats_wxyz=rotations.multiply(turn, posed.quats_wxyz.astype(np.float64)).astype(np.float32))


def _sample_points(path: Path, count: int, splats: Path) -> np.ndarray:
    """Positions [N 3] of a point PLY with as many rows as there are Gaussians."""
    from export_formats.ply import parse
    from export_formats.splats import content_of

    table = parse(content_of(path), str(path))
    vertex = table.elements.get("vertex")
    if vertex is None or not {"x", "y", "z"} <= set(vertex.dtype.names or ()):
        raise InputError(f"{path}: has no points (element vertex with x, y, z)")
    if len(vertex) != count:
        raise InputError(f"{path}: has {len(vertex)} points, {splats.name} has {count} Gaussians; give the points of "
                         "the same model (LHM 1_40000.ply or 1_20000.ply)")
    points = np.stack([vertex[axis].astype(np.float64) for axis in "xyz"], axis=1)
    if not np.isfinite(points).all():
        raise InputError(f"{path}: holds NaN or infinity; copy the file again")
    return points


def plain_body(path: Path, *, options: AvatarOptions, count: int, seed: int) -> Avatar:
    """The body model itself as an avatar, in plain skin."""
    from baker.avatars.textured import TexturedPart, textured_avatar

    model = read_body_model(path)
    vertices, joints = model.shaped(read_betas(options.betas))
    faces = model.faces[_largest_piece(model.faces, len(vertices))]
    used, corner = np.unique(faces, return_inverse=True)
    whole = model.mesh(vertices)
    mesh = SkinnedMesh(vertices=whole.vertices[used], faces=corner.reshape(-1, 3).astype(np.int32),
                       skin_joints=whole.skin_joints[used], skin_weights=whole.skin_weights[used])
    dense = dense_weights(mesh.skin_joints, mesh.skin_weights, joints=len(joints))
    labels = np.full(len(mesh.faces), int(Label.SKIN), np.uint8)
    for words, label in ((("head", "jaw", "eye"), Label.FACE), (("wrist", "hand", "index", "middle", "pinky", "ring",
                                                               "thumb"), Label.HAND)):
        columns = [i for i, name in enumerate(model.joint_names) if any(w in name for w in words)]
        labels[dense[:, columns].sum(1)[mesh.faces].mean(1) > 0.5] = label
    part = TexturedPart(name="body", mesh=mesh, labels=labels,
                        color_at=lambda f, _: np.broadcast_to(np.array([0.8, 0.62, 0.52]), (len(f), 3)))
    return textured_avatar(path.stem, [part], model.rig(joints), count=count, seed=seed, licence=model.licence,
                           source=str(path))


def _largest_piece(faces: np.ndarray, vertices: int) -> np.ndarray:
    """Boolean [F]: the connected piece with the most faces (files hold joint cubes and helpers beside the body)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(vertices, vertices))
    _, piece = connected_components(graph, directed=False)
    of_face = piece[faces[:, 0]]
    return of_face == np.bincount(of_face).argmax()


def read_splats(path: Path) -> GaussianSet:
    """The Gaussians of a file in our axes; what reading drops is said on stderr."""
    for line in dropped(path):
        print(f"{path}: dropped {line}", file=sys.stderr)
    return read_file(path, axes="RUB")
