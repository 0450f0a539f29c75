"""The built-in procedural person: body, clothes and hair as Gaussians, a rig, and a skirt that can be simulated.

Every value follows from `PersonConfig`; the same config gives the same bits. Lengths in metres, colours sRGB.
Letters: G Gaussians of one piece, N of the whole person, V vertices, F faces.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from baker import person_hair as hair
from baker.avatar import Avatar, Garment, SkinnedMesh
from baker.body import JOINT_NAMES, PARENTS, Body, joint, licence, make_body
from baker.meshes import interpolate, sample_mesh
from baker.person_clothes import shoe_piece, skirt_piece, slip_end, slip_piece, top_piece, under_top
from baker.person_colors import smoothstep, value_noise
from baker.person_config import PersonConfig, random_person
from baker.person_loose import cape_pieces, hair_garment, sleeve_pieces
from baker.person_pieces import INFLUENCES, Piece, assemble, mesh_piece, share, surface_piece, with_alpha
from baker.person_skin import SkinPaint, eye_color, skin_color
from baker.person_skirt import SkirtShape, SkirtSurface, make_skirt, pinned
from runtime import rotations
from runtime.types import SH_C0, Label, Rig

__all__ = ["PersonConfig", "make_person", "random_person"]


def make_person(config: PersonConfig) -> Avatar:
    """The dressed person of a config: at least 20 000 Gaussians at the default count."""
    body = make_body(_sliders(config))
    body_mesh = body.part("body")
    skirt = make_skirt(body, SkirtShape(length=config.skirt_length, flare=config.skirt_flare, joined=config.dress,
                                        waist=config.skirt_waist, pleats=config.skirt_pleats,
                                        pleat_depth=config.skirt_pleat_depth))
    swinging, skirt_mesh, on_skirt = skirt_piece(config, body_mesh, skirt)
    hair_pieces, hair_parts = _hair(config, body)
    sleeves = sleeve_pieces(config, body, body_mesh)
    worn = np.concatenate([skirt.vertices, *(hair_pieces[-1].means[g.gaussian_indices] for g in hair_parts)])
    capes = cape_pieces(config, body, body_mesh, worn)
    draped = [*sleeves, *capes]
    pieces = [swinging, _skin(config, body, skirt), top_piece(config, body, skirt), slip_piece(config, body, skirt),
              shoe_piece(config, body), _eyes(config, body), *hair_pieces, *(drape.piece for drape in draped)]
    starts = np.cumsum([0] + [len(p.means) for p in pieces])
    gaussians = assemble(pieces)
    rest = np.tile(np.eye(4, dtype=np.float32), (len(JOINT_NAMES), 1, 1))
    rest[:, :3, 3] = body.joints
    rig = Rig(joint_names=JOINT_NAMES, parents=np.array(PARENTS, np.int32), T_world_joint_rest=rest,
              skin_joints=np.concatenate([p.skin_joints for p in pieces]).astype(np.int32),
              skin_weights=np.concatenate([p.skin_weights for p in pieces]).astype(np.float32))
    garment = Garment(name="dress" if config.dress else "skirt", mesh=skirt_mesh, pinned=pinned(skirt),
                      gaussian_indices=np.arange(len(swinging.means)), gaussian_faces=on_skirt.faces,
                      gaussian_barycentrics=on_skirt.barycentrics)
    # From the inside out: each lies over those before it.
    placed = [(drape.garment, starts[len(pieces) - len(draped) + i]) for i, drape in enumerate(draped)]
    placed[len(sleeves):len(sleeves)] = [(part, starts[len(pieces) - len(draped) - 1]) for part in hair_parts]
    garments = (garment, *(replace(g, gaussian_indices=g.gaussian_indices + first) for g, first in placed))
    return Avatar(name="builtin", gaussians=gaussians, rig=rig, body=body_mesh, garments=garments, licence=licence())


def _sliders(config: PersonConfig) -> dict[str, float]:
    """Blend weights of the body's directions."""
    return {"male": config.male, "heavy": max(config.weight, 0.0), "thin": max(-config.weight, 0.0),
            "muscular": config.muscular, "tall": max(config.height, 0.0), "short": max(-config.height, 0.0),
            "ideal": 0.5, "old": config.old, "african": config.african, "asian": config.asian}


def _skin(config: PersonConfig, body: Body, skirt: SkirtSurface) -> Piece:
    """Bare skin: face, neck, arms, hands, legs; nothing under cloth and nothing inside mouth or eye sockets."""
    mesh = body.part("body")
    used = np.unique(body.faces_of["body"])
    masks = {name: mask[used] for name, mask in body.masks.items()}
    corner = {name: mask[mesh.faces].mean(1) for name, mask in masks.items()}
    head = hair.head_frame(body)
    paint = SkinPaint(tone=config.skin, hair=config.hair_color, seed=config.seed)
    labels = np.full(len(mesh.faces), int(Label.SKIN))
    labels[corner["head"] > 0.5] = Label.FACE
    labels[corner["hands"] > 0.5] = Label.HAND
    density = (1.0 + 1.5 * (corner["head"] > 0.5) + 9.0 * (corner["face"] > 0.3) + 16.0 * corner["eyelids"]
               + 2.5 * (corner["hands"] > 0.5))
    hidden = corner["inside"] > 0.34
    ankle = float(joint(body, "left_ankle")[1])
    low, high = slip_end(body, skirt), skirt.waist_height
    # Finer legs, so that flat Gaussians keep to the curve of a knee under cloth.
    density += 0.8 * (mesh.vertices[mesh.faces].mean(1)[:, 1] < low)

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        at = {name: interpolate(mask[mesh.faces][..., None], faces, barycentrics)[:, 0] for name, mask in masks.items()}
        rgb = skin_color(points, at, paint, body)
        covered = under_top(points, config, body, high, margin=0.02)
        covered |= (points[:, 1] > low + 0.02) & (points[:, 1] < high + 0.02) & (np.abs(points[:, 0]) < 0.3)
        covered |= points[:, 1] < ankle - 0.03
        under_hair = (labels[faces] == Label.FACE) & (hair.scalp(points, head) > 12) & (at["ears"] < 0.3)
        return with_alpha(rgb, ~(covered | hidden[faces] | under_hair))

    return surface_piece(config, mesh, piece="skin", label=labels, color=color, density=density, contrast=0.26,
                         depth=0.6)


def _eyes(config: PersonConfig, body: Body) -> Piece:
    """Eyeballs with sclera, iris, pupil and a glint."""
    left, right = body.part("left_eye"), body.part("right_eye")
    mesh = SkinnedMesh(np.concatenate([left.vertices, right.vertices]),
                       np.concatenate([left.faces, right.faces + len(left.vertices)]),
                       np.concatenate([left.skin_joints, right.skin_joints]),
                       np.concatenate([left.skin_weights, right.skin_weights]))
    centres = np.stack([left.vertices.mean(0), right.vertices.mean(0)])

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        away = points - centres[(points[:, 0] < 0).astype(int)]
        return with_alpha(eye_color(away, config.eye_color), away[:, 2] > 0)

    off = mesh.vertices[mesh.faces].mean(1) - centres[(mesh.vertices[mesh.faces].mean(1)[:, 0] < 0).astype(int)]
    density = 1.0 + 4.0 * ((np.hypot(off[:, 0], off[:, 1]) < 0.009) & (off[:, 2] > 0))
    return surface_piece(config, mesh, piece="eyes", label=Label.EYE, color=color, density=density, contrast=0.1)


def _hair(config: PersonConfig, body: Body) -> tuple[list[Piece], list[Garment]]:
    """An opaque cap and the strands over it, the last piece; and what of that piece swings, if anything."""
    head = hair.head_frame(body)
    cap = hair.cap_mesh(body, head, lift=0.008)
    total = share(config, "hair")
    base = np.array(config.hair_color)

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        noise = value_noise(points * [1, 0.25, 1], wavelength=0.006, seed=config.seed)
        rgb = np.broadcast_to(0.72 * base, points.shape) * (1 + 0.18 * noise[:, None])
        edge = smoothstep(-2.0, 3.0, hair.scalp(points, head) + 3 * noise)
        return with_alpha(np.clip(rgb, 0, 1), edge > 0.5)

    shared = dict(seed=1000 * config.seed + 50, color_at=lambda f, b: color(
        interpolate(cap.vertices[cap.faces], f, b), f, b))
    surface = sample_mesh(cap, count=total // 6, **shared)
    cap_piece = mesh_piece(surface, 0.5 + SH_C0 * surface.sh0, cap, label=Label.HAIR, contrast=0.35)
    strands, swings = _strand_piece(config, body, head, cap, total - total // 6)
    return [cap_piece, strands], swings


def _strand_piece(config: PersonConfig, body: Body, head: hair.HeadFrame, cap: SkinnedMesh,
                  budget: int) -> tuple[Piece, list[Garment]]:
    """Strands from the cap, thinned so that their Gaussians number `budget`, and the garment that swings them."""
    roots = sample_mesh(cap, count=max(64, budget // 4), seed=1000 * config.seed + 51,
                        color_at=lambda f, b: with_alpha(np.zeros((len(f), 3)), hair.scalp(
                            interpolate(cap.vertices[cap.faces], f, b), head) > -1)).means
    strands = hair.comb(body, head, roots, style=config.hair_style, seed=config.seed, extra=config.hair_length)
    # Every strand needs as many Gaussians as it has segments: keep an even subset that fits.
    per_strand = strands.alive[:, 1:].sum(1)
    order = np.random.Generator(np.random.Philox([config.seed, 13])).permutation(len(roots))
    chosen = np.sort(order[np.cumsum(per_strand[order]) <= budget])
    strands = hair.Strands(strands.points[chosen], strands.alive[chosen], strands.falling[chosen])
    made = hair.strand_gaussians(strands, centre=head.centre, color=config.hair_color, seed=config.seed)
    away = made["means"] - head.centre
    normals = away / np.linalg.norm(away, axis=1, keepdims=True)
    joints, weights = _hair_weights(made["means"], body)
    count = len(normals)
    swings = None
    if config.swinging_hair:
        swings = hair_garment(made["means"].astype(np.float32), falling=strands.falling[:, :-1][strands.alive[:, 1:]],
                              tied=config.hair_style in hair.TIED, centre=head.centre,
                              weights_of=lambda points: _hair_weights(points, body))
    piece = Piece(means=made["means"].astype(np.float32), quats_wxyz=rotations.from_matrix(made["frames"]),
                  log_scales=made["log_scales"], opacity_logits=np.full(count, 2.2), rgb=made["rgb"], normals=normals,
                  labels=np.full(count, int(Label.HAIR)), skin_joints=joints, skin_weights=weights, contrast=0.25)
    return piece, [swings] if swings is not None else []


def _hair_weights(points: np.ndarray, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Hair follows the head; below the chin it goes over to the neck and the chest it lies on."""
    neck, chest = float(joint(body, "neck")[1]), float(joint(body, "spine3")[1])
    head_share = smoothstep(neck - 0.06, neck + 0.07, points[:, 1])
    chest_share = smoothstep(neck - 0.01, chest + 0.04, points[:, 1]) * (1 - head_share)
    weights = np.zeros((len(points), INFLUENCES))
    weights[:, 0], weights[:, 1], weights[:, 2] = head_share, 1 - head_share - chest_share, chest_share
    joints = np.zeros((len(points), INFLUENCES), np.int32)
    joints[:] = JOINT_NAMES.index("head")
    joints[:, 1], joints[:, 2] = JOINT_NAMES.index("neck"), JOINT_NAMES.index("spine3")
    return joints, weights
