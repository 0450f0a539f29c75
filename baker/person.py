"""The built-in procedural person: body, clothes and hair as Gaussians, a rig, and a skirt that can be simulated.

Every value follows from `PersonConfig`; the same config gives the same bits. Lengths in metres, colours sRGB.
Letters: G Gaussians of one piece, N of the whole person, V vertices, F faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from baker import person_hair as hair
from baker.avatar import Avatar, Garment, SkinnedMesh
from baker.binding import Method, bind, mesh_edges
from baker.body import DIRECTION_NAMES, JOINT_NAMES, PARENTS, Body, licence, make_body
from baker.meshes import SurfaceGaussians, interpolate, interpolate_weights, sample_mesh, vertex_normals
from baker.person_colors import Pattern, Rgb, fabric, mix, occlusion, shade, skin_tone, smoothstep, value_noise
from baker.person_skirt import SkirtShape, SkirtSurface, make_skirt, pinned, sample_rows
from runtime import rotations
from runtime.types import SH_C0, GaussianSet, Label, Rig

INFLUENCES = 6
"""Skinning influences a Gaussian: a skirt follows pelvis, two hips, two knees and the spine."""
CLOSE = 1.2
"""Enlargement of the Gaussians of closed surfaces over `sample_mesh`'s."""
SHARES = {"skirt": 0.31, "skin": 0.27, "top": 0.17, "hair": 0.14, "slip": 0.05, "shoes": 0.045, "eyes": 0.015}
"""Part of the Gaussians each piece gets."""


@dataclass(frozen=True)
class PersonConfig:
    """Everything that makes one built-in person differ from another."""

    seed: int = 0
    """Seeds noise and the placement of Gaussians and strands."""
    male: float = 0.0
    """0 woman, 1 man."""
    weight: float = -0.3
    """-1 thin, 0 average, 1 heavy."""
    muscular: float = 0.0
    """0 average, 1 athletic."""
    height: float = 0.15
    """-1 short, 0 average, 1 tall."""
    old: float = 0.0
    """0 young, 1 old."""
    african: float = 0.0
    """Blend of facial shape, 0..1."""
    asian: float = 0.0
    """Blend of facial shape, 0..1."""
    skin: float = 0.18
    """0 light .. 1 dark."""
    hair_style: hair.HairStyle = "long"
    hair_color: Rgb = (0.29, 0.16, 0.09)
    eye_color: Rgb = (0.25, 0.42, 0.55)
    top_color: Rgb = (0.93, 0.91, 0.86)
    top_second: Rgb = (0.05, 0.20, 0.27)
    top_pattern: Pattern = "plain"
    top_period: float = 0.055
    """Repeat of the top's pattern [m]."""
    sleeves: float = 0.45
    """0 none, 1 to the wrist."""
    skirt_color: Rgb = (0.05, 0.24, 0.32)
    skirt_second: Rgb = (0.88, 0.62, 0.20)
    skirt_pattern: Pattern = "plaid"
    skirt_period: float = 0.11
    """Repeat of the skirt's pattern [m]."""
    skirt_length: float = 0.25
    """0 knee .. 1 ankle."""
    skirt_flare: float = 0.32
    """Growth of the skirt's radius per metre of drop."""
    skirt_waist: float = 0.0
    """Height of the waistband above the natural waist [m]."""
    skirt_pleats: int = 16
    skirt_pleat_depth: float = 0.045
    """Radial depth of the folds at the hem [m]."""
    shoe_color: Rgb = (0.20, 0.13, 0.11)
    gaussians: int = 28000
    """How many, in all; hair strands round it by a few hundred."""
    binding: Method = "diffused"
    """How loose cloth is bound to the rig (DESIGN §4)."""


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


def make_person(config: PersonConfig) -> Avatar:
    """The dressed person of a config: at least 20 000 Gaussians at the default count."""
    body = make_body(_sliders(config))
    body_mesh = body.part("body")
    skirt = make_skirt(body, SkirtShape(length=config.skirt_length, flare=config.skirt_flare, waist=config.skirt_waist,
                                        pleats=config.skirt_pleats, pleat_depth=config.skirt_pleat_depth))
    skirt_piece, skirt_mesh, skirt_surface = _skirt(config, body_mesh, skirt)
    pieces = [skirt_piece, _skin(config, body, skirt), _top(config, body, skirt), _slip(config, body, skirt),
              _shoes(config, body), _eyes(config, body), *_hair(config, body)]
    gaussians = _assemble(pieces)
    rest = np.tile(np.eye(4, dtype=np.float32), (len(JOINT_NAMES), 1, 1))
    rest[:, :3, 3] = body.joints
    rig = Rig(joint_names=JOINT_NAMES, parents=np.array(PARENTS, np.int32), T_world_joint_rest=rest,
              skin_joints=np.concatenate([p.skin_joints for p in pieces]).astype(np.int32),
              skin_weights=np.concatenate([p.skin_weights for p in pieces]).astype(np.float32))
    garment = Garment(name="skirt", mesh=skirt_mesh, pinned=pinned(skirt),
                      gaussian_indices=np.arange(len(skirt_piece.means)), gaussian_faces=skirt_surface.faces,
                      gaussian_barycentrics=skirt_surface.barycentrics)
    return Avatar(name="builtin", gaussians=gaussians, rig=rig, body=body_mesh, garments=(garment,),
                  licence=licence())


def random_person(seed: int) -> PersonConfig:
    """A varied person for training: shape, skin, hair, cloth and cut drawn from `seed`."""
    rng = np.random.Generator(np.random.Philox([seed, 1]))
    first, second = _two_colors(rng)
    top_first, top_second = _two_colors(rng)
    patterns = ("plain", "stripes", "hoops", "checks", "plaid", "dots", "gradient", "border")
    face = rng.integers(3)
    skin = float(np.clip(rng.normal((0.2, 0.8, 0.3)[face], 0.15), 0, 1))
    hair_colors = ((0.09, 0.07, 0.06), (0.17, 0.11, 0.08), (0.29, 0.16, 0.09), (0.46, 0.29, 0.16), (0.72, 0.56, 0.34),
                   (0.48, 0.17, 0.08), (0.55, 0.54, 0.53))
    light_hair = skin < 0.4
    return PersonConfig(
        seed=seed, male=float(rng.random() * 0.35), weight=float(np.clip(rng.normal(0, 0.4), -0.9, 0.9)),
        muscular=float(rng.random() * 0.5), height=float(rng.uniform(-0.5, 0.4)), old=float(rng.random() ** 2 * 0.6),
        african=float(face == 1), asian=float(face == 2), skin=skin,
        hair_style=("short", "bob", "long", "ponytail")[rng.integers(4)],
        hair_color=hair_colors[rng.integers(7 if light_hair else 3)],
        eye_color=((0.30, 0.20, 0.12), (0.25, 0.42, 0.55), (0.30, 0.42, 0.25))[rng.integers(3 if light_hair else 1)],
        top_color=top_first, top_second=top_second, top_pattern=patterns[rng.integers(6)],
        top_period=float(rng.uniform(0.035, 0.09)), sleeves=float(rng.uniform(0.15, 1.0)),
        skirt_color=first, skirt_second=second, skirt_pattern=patterns[rng.integers(len(patterns))],
        skirt_period=float(rng.uniform(0.07, 0.17)), skirt_length=float(rng.uniform(0.0, 1.0)),
        skirt_flare=float(rng.uniform(0.16, 0.50)), skirt_waist=float(rng.uniform(-0.03, 0.04)),
        skirt_pleats=int((8, 12, 16)[rng.integers(3)]), skirt_pleat_depth=float(rng.uniform(0.015, 0.055)),
        shoe_color=tuple(float(c) for c in rng.uniform(0.08, 0.5) * rng.uniform(0.6, 1.0, 3)))


def _two_colors(rng: np.random.Generator) -> tuple[Rgb, Rgb]:
    """A cloth colour and one that stands out from it."""
    def hsv(hue: float, saturation: float, value: float) -> Rgb:
        k = (np.array([5.0, 3.0, 1.0]) + 6 * hue) % 6
        rgb = value * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1))
        return tuple(float(c) for c in rgb)

    hue = rng.random()
    value = rng.uniform(0.25, 0.95)
    first = hsv(hue, rng.uniform(0.15, 0.85), value)
    other = value + 0.45 if value < 0.6 else value - 0.45
    return first, hsv((hue + rng.uniform(0.08, 0.6)) % 1, rng.uniform(0.1, 0.7), other)


def _sliders(config: PersonConfig) -> dict[str, float]:
    """Blend weights of the body's directions."""
    sliders = {"male": config.male, "heavy": max(config.weight, 0.0), "thin": max(-config.weight, 0.0),
               "muscular": config.muscular, "tall": max(config.height, 0.0), "short": max(-config.height, 0.0),
               "ideal": 0.5, "old": config.old, "african": config.african, "asian": config.asian}
    assert set(sliders) <= set(DIRECTION_NAMES)
    return sliders


def _count(config: PersonConfig, piece: str) -> int:
    return round(SHARES[piece] * config.gaussians)


def _surface(config: PersonConfig, mesh: SkinnedMesh, *, piece: str, label: Label | np.ndarray,
             color: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], contrast: float = 0.30,
             density: np.ndarray | None = None) -> Piece:
    """Gaussians on a mesh; `color` takes positions, faces, barycentrics and gives sRGB or RGBA.

    `label` is one for all or one per face.
    """
    def color_at(faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        return color(interpolate(mesh.vertices[mesh.faces], faces, barycentrics), faces, barycentrics)

    surface = sample_mesh(mesh, count=_count(config, piece), seed=1000 * config.seed + list(SHARES).index(piece),
                          color_at=color_at, density=density)
    # Behind skin and fitted cloth there is nothing of their colour: their Gaussians overlap more, to close every gap.
    surface = replace(surface, log_scales=surface.log_scales + np.log([CLOSE, CLOSE, 1.0]).astype(np.float32))
    labels = label if isinstance(label, Label) else label[surface.faces]
    return _piece(surface, 0.5 + SH_C0 * surface.sh0, mesh, label=labels, contrast=contrast)


def _piece(surface: SurfaceGaussians, rgb: np.ndarray, mesh: SkinnedMesh, *, label: Label | np.ndarray,
           contrast: float) -> Piece:
    """Surface Gaussians of a colour each, bound as the mesh they lie on."""
    joints, weights = interpolate_weights(mesh, surface.faces, surface.barycentrics, joints=len(JOINT_NAMES),
                                          influences=INFLUENCES)
    return Piece(means=surface.means, quats_wxyz=surface.quats_wxyz, log_scales=surface.log_scales,
                 opacity_logits=surface.opacity_logits, rgb=rgb,
                 normals=rotations.to_matrix(surface.quats_wxyz)[:, :, 2],
                 labels=np.broadcast_to(np.asarray(label, np.uint8), (len(rgb),)), skin_joints=joints,
                 skin_weights=weights, contrast=contrast)


def _with_alpha(rgb: np.ndarray, visible: np.ndarray) -> np.ndarray:
    return np.concatenate([rgb, visible[:, None].astype(np.float64)], 1)


def _joint(body: Body, name: str) -> np.ndarray:
    return body.joints[JOINT_NAMES.index(name)]


# -- clothes ------------------------------------------------------------------------------------------------------


def _skirt(config: PersonConfig, body: SkinnedMesh, skirt: SkirtSurface) -> tuple[Piece, SkinnedMesh,
                                                                               SurfaceGaussians]:
    """The skirt's Gaussians and its simulation mesh, bound to the body."""
    band = pinned(skirt)
    joints, weights = bind(skirt.vertices, body, method=config.binding, loose=np.ones(len(band), bool),
                           edges=mesh_edges(skirt.faces), influences=INFLUENCES)
    mesh = SkinnedMesh(vertices=skirt.vertices, faces=skirt.faces, skin_joints=joints, skin_weights=weights)
    length = skirt.waist_height - skirt.hem_height

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        uv = interpolate(skirt.face_uv, faces, barycentrics)
        # A whole number of repeats around, so that the pattern meets itself at the seam.
        period = skirt.girth / max(1, round(skirt.girth / config.skirt_period))
        rgb = fabric(uv, pattern=config.skirt_pattern, first=config.skirt_color, second=config.skirt_second,
                     period=period, length=length, seed=config.seed)
        waistband = smoothstep(0.035, 0.030, uv[:, 1])
        hem = smoothstep(length - 0.016, length - 0.008, uv[:, 1])
        rgb = mix(rgb, 0.55 * np.array(config.skirt_color), np.clip(waistband + 0.6 * hem, 0, 1))
        valley = interpolate(skirt.valley[skirt.faces][..., None], faces, barycentrics)
        return rgb * (1.06 - 0.34 * valley)

    surface = sample_rows(skirt, count=_count(config, "skirt"), seed=config.seed)
    return _piece(surface, color(surface.means, surface.faces, surface.barycentrics), mesh, label=Label.GARMENT,
                  contrast=0.42), mesh, surface


def _top(config: PersonConfig, body: Body, skirt: SkirtSurface) -> Piece:
    """A fitted top on the outer skin, from under the waistband to a round neckline, with sleeves."""
    mesh = _lifted(body.part("tights"), 0.002)
    waist = skirt.waist_height
    center = np.array([0.0, _joint(body, "neck")[1] + 0.01, _joint(body, "neck")[2] + 0.05])

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        uv = np.stack([points[:, 0] + 0.6 * points[:, 2], waist + 0.5 - points[:, 1]], 1)
        arm = np.abs(points[:, 0]) > _joint(body, "left_shoulder")[0] + 0.03
        uv = np.where(arm[:, None], uv[:, ::-1], uv)
        rgb = fabric(uv, pattern=config.top_pattern, first=config.top_color, second=config.top_second,
                     period=config.top_period, length=0.55, seed=config.seed + 7)
        collar = np.abs(_neck_distance(points, center) - 0.012) < 0.012
        cuff = np.abs(np.abs(points[:, 0]) - _sleeve_end(config, body)) < 0.014
        rgb = mix(rgb, np.array(config.top_second), (collar | cuff).astype(float))
        return _with_alpha(rgb, _under_top(points, config, body, waist, margin=0.0))

    return _surface(config, mesh, piece="top", label=Label.TIGHT, color=color)


def _neck_distance(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Signed distance [m] outside of the round neckline, an upright ellipsoid around the neck's front."""
    return (np.linalg.norm((points - center) / [1.0, 0.75, 1.0], axis=1) - 0.105) * (np.abs(points[:, 0]) < 0.2) + (
        np.abs(points[:, 0]) >= 0.2)


def _sleeve_end(config: PersonConfig, body: Body) -> float:
    """|x| of the cuffs [m]."""
    shoulder, wrist = _joint(body, "left_shoulder")[0], _joint(body, "left_wrist")[0]
    return float(shoulder + 0.03 + config.sleeves * (wrist - 0.03 - shoulder))


def _under_top(points: np.ndarray, config: PersonConfig, body: Body, waist: float, *, margin: float) -> np.ndarray:
    """Boolean: covered by the top, at least `margin` metres inside its edges."""
    center = np.array([0.0, _joint(body, "neck")[1] + 0.01, _joint(body, "neck")[2] + 0.05])
    return ((points[:, 1] > waist - 0.03 - margin) & (np.abs(points[:, 0]) < _sleeve_end(config, body) - margin)
            & (_neck_distance(points, center) > margin) & (points[:, 1] < center[1] + 0.03 - margin))


def _slip(config: PersonConfig, body: Body, skirt: SkirtSurface) -> Piece:
    """Shorts in a dark shade of the skirt: what is seen under a lifted hem, and hides skin at a rigid knee."""
    mesh = body.part("tights")
    low, high = _slip_end(body, skirt), skirt.waist_height - 0.005

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        rgb = np.broadcast_to(0.42 * np.array(config.skirt_color), points.shape)
        rgb = rgb * (1 + 0.06 * value_noise(points, wavelength=0.02, seed=config.seed)[:, None])
        inside = (points[:, 1] > low) & (points[:, 1] < high) & (np.abs(points[:, 0]) < 0.30)
        return _with_alpha(rgb, inside)

    return _surface(config, mesh, piece="slip", label=Label.TIGHT, color=color)


def _slip_end(body: Body, skirt: SkirtSurface) -> float:
    """Height of the shorts' lower edge [m]: well above the hem and the knee."""
    hip, knee = _joint(body, "left_hip")[1], _joint(body, "left_knee")[1]
    return float(max(knee + 0.35 * (hip - knee), skirt.hem_height + 0.10))


def _shoes(config: PersonConfig, body: Body) -> Piece:
    """Low shoes on the outer skin's feet, with a sole."""
    floor, ankle = body.floor, float(_joint(body, "left_ankle")[1])
    mesh = _lifted(body.part("tights"), 0.004)
    vertices = mesh.vertices.copy()
    vertices[:, 1] = np.maximum(vertices[:, 1], floor - 0.003)
    mesh = SkinnedMesh(vertices, mesh.faces, mesh.skin_joints, mesh.skin_weights)
    edge = ankle - 0.005

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        leather = np.array(config.shoe_color) * (
            1 + 0.08 * value_noise(points, wavelength=0.03, seed=config.seed)[:, None])
        sole = smoothstep(floor + 0.016, floor + 0.011, points[:, 1])
        rim = smoothstep(edge - 0.010, edge - 0.004, points[:, 1])
        rgb = mix(mix(leather, 0.6 * np.array(config.shoe_color), rim), 0.45 * np.array(config.shoe_color), sole)
        return _with_alpha(np.clip(rgb, 0, 1), points[:, 1] < edge)

    return _surface(config, mesh, piece="shoes", label=Label.SHOE, color=color)


def _lifted(mesh: SkinnedMesh, height: float) -> SkinnedMesh:
    """A mesh moved out along its normals by `height` metres."""
    raised = mesh.vertices + height * vertex_normals(mesh.vertices, mesh.faces)
    return SkinnedMesh(raised.astype(np.float32), mesh.faces, mesh.skin_joints, mesh.skin_weights)


# -- skin, eyes, hair ---------------------------------------------------------------------------------------------


def _skin(config: PersonConfig, body: Body, skirt: SkirtSurface) -> Piece:
    """Bare skin: face, neck, arms, hands, legs; nothing under cloth and nothing inside mouth or eye sockets."""
    mesh = body.part("body")
    used = np.unique(body.faces_of["body"])
    masks = {name: mask[used] for name, mask in body.masks.items()}
    corner = {name: mask[mesh.faces].mean(1) for name, mask in masks.items()}
    head = hair.head_frame(body)
    labels = np.full(len(mesh.faces), int(Label.SKIN))
    labels[corner["head"] > 0.5] = Label.FACE
    labels[corner["hands"] > 0.5] = Label.HAND
    density = (1.0 + 1.5 * (corner["head"] > 0.5) + 9.0 * (corner["face"] > 0.3) + 16.0 * corner["eyelids"]
               + 2.5 * (corner["hands"] > 0.5))
    hidden = corner["inside"] > 0.34
    ankle = float(_joint(body, "left_ankle")[1])
    low, high = _slip_end(body, skirt), skirt.waist_height

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        at = {name: interpolate(mask[mesh.faces][..., None], faces, barycentrics)[:, 0] for name, mask in masks.items()}
        rgb = _skin_color(points, at, config, head, body)
        covered = _under_top(points, config, body, high, margin=0.02)
        covered |= (points[:, 1] > low + 0.02) & (points[:, 1] < high + 0.02) & (np.abs(points[:, 0]) < 0.3)
        covered |= points[:, 1] < ankle - 0.03
        under_hair = (labels[faces] == Label.FACE) & (hair.scalp(points, head) > 12) & (at["ears"] < 0.3)
        return _with_alpha(rgb, ~(covered | hidden[faces] | under_hair))

    return _surface(config, mesh, piece="skin", label=labels, color=color, density=density, contrast=0.26)


def _skin_color(points: np.ndarray, at: dict[str, np.ndarray], config: PersonConfig, head: hair.HeadFrame,
                body: Body) -> np.ndarray:
    """Skin with blotches, flushed cheeks, nose, knuckles and knees, lips, brows, lids and nails."""
    tone = skin_tone(config.skin)
    rgb = np.broadcast_to(tone, points.shape)
    rgb = rgb * (1 + 0.030 * value_noise(points, wavelength=0.035, seed=config.seed)
                 + 0.012 * value_noise(points, wavelength=0.009, seed=config.seed + 1))[:, None]
    flush = tone * [1.04, 0.80, 0.78]
    x, y, z = (points - head.eyes).T
    half = abs(float(_joint(body, "left_eye_smplhf")[0]))
    # Cheeks and nose, as multiples of half the distance between the eyes.
    cheek = np.exp(-(((np.abs(x) / half - 1.35) / 0.55) ** 2 + ((y / half + 1.30) / 0.55) ** 2)) * (z > -0.03)
    nose = np.exp(-((x / half / 0.35) ** 2 + ((y / half + 1.25) / 0.45) ** 2)) * (z > 0.0)
    rgb = mix(rgb, flush, np.clip(0.50 * cheek + 0.35 * nose + 0.35 * at["ears"], 0, 1))
    rgb = mix(rgb, flush, 0.25 * at["hands"])
    lips = mix(tone * [0.90, 0.60, 0.59], tone * [0.62, 0.32, 0.33], np.exp(-((points[:, 1] - _lip_line(body)) / 0.0018)
                                                                       ** 2))
    rgb = mix(rgb, lips, smoothstep(0.35, 0.7, at["lips"]))
    rgb = mix(rgb, tone * [0.90, 0.78, 0.76], 0.55 * at["eyelids"])
    rgb = mix(rgb, tone * [1.03, 0.88, 0.86], 0.7 * at["fingernails"])
    near, upper = _lid_distance(points, body)
    rgb = mix(rgb, 0.15 * tone + 0.10 * np.array(config.hair_color), smoothstep(0.0028, 0.0012, near) * np.where(
        upper, 0.9, 0.25))
    across = np.abs(x) / half
    arch = 0.66 + 0.17 * np.sin(np.clip((across - 0.4) / 1.4, 0, 1) * np.pi * 0.68)
    thick = 0.105 - 0.055 * np.clip((across - 0.5) / 1.2, 0, 1)
    brow = smoothstep(1.35, 0.65, np.abs(y / half - arch) / thick) * smoothstep(0.36, 0.55, across)
    brow *= smoothstep(1.85, 1.45, across) * (z > -0.05)
    return mix(rgb, 0.12 * tone + 0.55 * np.array(config.hair_color), 0.95 * brow)


def _lid_distance(points: np.ndarray, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Distance [m] to the rim of the eyelids, and whether its nearest point is on the upper lid."""
    faces = body.faces_of["body"]
    inner = body.masks["inside"] > 0.5
    mixed = faces[inner[faces].any(1) & ~inner[faces].all(1)]
    rim = np.unique(mixed[~inner[mixed]])
    left = _joint(body, "left_eye_smplhf")
    mirrored = body.vertices[rim] * [1, 1, 1]
    mirrored[:, 0] = np.abs(mirrored[:, 0])
    rim = rim[np.linalg.norm(mirrored - left, axis=1) < 0.028]
    distance, near = cKDTree(body.vertices[rim]).query(points)
    return distance, body.vertices[rim][near, 1] > left[1] - 0.001


def _lip_line(body: Body) -> float:
    """Height where the lips meet [m]: the middle of the lip region near the plane of symmetry."""
    lips = body.vertices[(body.masks["lips"] > 0.5) & (np.abs(body.vertices[:, 0]) < 0.006)]
    front = lips[lips[:, 2] > lips[:, 2].max() - 0.012]
    return float(0.5 * (front[:, 1].min() + front[:, 1].max()))


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
        off_axis = np.hypot(away[:, 0], away[:, 1])
        rgb = mix(np.array([0.93, 0.91, 0.90]), np.array(config.eye_color), smoothstep(0.0066, 0.0058, off_axis))
        rgb = mix(rgb, 0.35 * np.array(config.eye_color), smoothstep(0.0052, 0.0060, off_axis)
                  * smoothstep(0.0070, 0.0064, off_axis))
        rgb = mix(rgb, np.array([0.03, 0.03, 0.03]), smoothstep(0.0030, 0.0024, off_axis))
        glint = np.hypot(away[:, 0] - 0.0025, away[:, 1] - 0.0028) < 0.0014
        rgb = mix(rgb, np.array([1.0, 1.0, 1.0]), glint.astype(float))
        return _with_alpha(rgb, away[:, 2] > 0)

    off = mesh.vertices[mesh.faces].mean(1) - centres[(mesh.vertices[mesh.faces].mean(1)[:, 0] < 0).astype(int)]
    density = 1.0 + 4.0 * ((np.hypot(off[:, 0], off[:, 1]) < 0.009) & (off[:, 2] > 0))
    return _surface(config, mesh, piece="eyes", label=Label.EYE, color=color, density=density, contrast=0.1)


def _hair(config: PersonConfig, body: Body) -> list[Piece]:
    """An opaque cap and the strands over it."""
    head = hair.head_frame(body)
    cap = hair.cap_mesh(body, head, lift=0.008)
    total = _count(config, "hair")
    base = np.array(config.hair_color)

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        noise = value_noise(points * [1, 0.25, 1], wavelength=0.006, seed=config.seed)
        rgb = np.broadcast_to(0.72 * base, points.shape) * (1 + 0.18 * noise[:, None])
        edge = smoothstep(-2.0, 3.0, hair.scalp(points, head) + 3 * noise)
        return _with_alpha(np.clip(rgb, 0, 1), edge > 0.5)

    shared = dict(seed=1000 * config.seed + 50, color_at=lambda f, b: color(
        interpolate(cap.vertices[cap.faces], f, b), f, b))
    surface = sample_mesh(cap, count=total // 6, **shared)
    cap_piece = _piece(surface, 0.5 + SH_C0 * surface.sh0, cap, label=Label.HAIR, contrast=0.35)
    return [cap_piece, _strand_piece(config, body, head, cap, total - total // 6)]


def _strand_piece(config: PersonConfig, body: Body, head: hair.HeadFrame, cap: SkinnedMesh, budget: int) -> Piece:
    """Strands from the cap, thinned so that their Gaussians number `budget`."""
    roots = sample_mesh(cap, count=max(64, budget // 4), seed=1000 * config.seed + 51,
                        color_at=lambda f, b: _with_alpha(np.zeros((len(f), 3)), hair.scalp(
                            interpolate(cap.vertices[cap.faces], f, b), head) > -1)).means
    strands = hair.comb(body, head, roots, style=config.hair_style, seed=config.seed)
    # Every strand needs as many Gaussians as it has segments: keep an even subset that fits.
    per_strand = strands.alive[:, 1:].sum(1)
    order = np.random.Generator(np.random.Philox([config.seed, 13])).permutation(len(roots))
    chosen = np.sort(order[np.cumsum(per_strand[order]) <= budget])
    strands = hair.Strands(strands.points[chosen], strands.alive[chosen])
    made = hair.strand_gaussians(strands, centre=head.centre, color=config.hair_color, seed=config.seed)
    away = made["means"] - head.centre
    normals = away / np.linalg.norm(away, axis=1, keepdims=True)
    joints, weights = _hair_weights(made["means"], body)
    count = len(normals)
    return Piece(means=made["means"].astype(np.float32), quats_wxyz=rotations.from_matrix(made["frames"]),
                 log_scales=made["log_scales"], opacity_logits=np.full(count, 2.2), rgb=made["rgb"], normals=normals,
                 labels=np.full(count, int(Label.HAIR)), skin_joints=joints, skin_weights=weights, contrast=0.25)


def _hair_weights(points: np.ndarray, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Hair follows the head; below the chin it goes over to the neck and the chest it lies on."""
    neck, chest = float(_joint(body, "neck")[1]), float(_joint(body, "spine3")[1])
    head_share = smoothstep(neck - 0.06, neck + 0.07, points[:, 1])
    chest_share = smoothstep(neck - 0.01, chest + 0.04, points[:, 1]) * (1 - head_share)
    weights = np.zeros((len(points), INFLUENCES))
    weights[:, 0], weights[:, 1], weights[:, 2] = head_share, 1 - head_share - chest_share, chest_share
    joints = np.zeros((len(points), INFLUENCES), np.int32)
    joints[:] = JOINT_NAMES.index("head")
    joints[:, 1], joints[:, 2] = JOINT_NAMES.index("neck"), JOINT_NAMES.index("spine3")
    return joints, weights


# -- together -----------------------------------------------------------------------------------------------------


def _assemble(pieces: list[Piece]) -> GaussianSet:
    """All pieces in one set, with light and occlusion baked into the colour."""
    everything = np.concatenate([p.means for p in pieces])
    colors = [shade(p.rgb, p.normals, occlusion(p.means, p.normals, everything), contrast=p.contrast) for p in pieces]

    def joined(name: str, dtype: type) -> np.ndarray:
        return np.ascontiguousarray(np.concatenate([getattr(p, name) for p in pieces]).astype(dtype))

    return GaussianSet(means=joined("means", np.float32), quats_wxyz=joined("quats_wxyz", np.float32),
                       log_scales=joined("log_scales", np.float32), opacity_logits=joined("opacity_logits", np.float32),
                       sh0=((np.concatenate(colors) - 0.5) / SH_C0).astype(np.float32),
                       labels=joined("labels", np.uint8))
