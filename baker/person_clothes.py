"""The built-in person's clothes as Gaussians: skirt, top, slip, shoes, and where they cover the skin. Metres, sRGB."""

from __future__ import annotations

import numpy as np

from baker.avatar import SkinnedMesh
from baker.binding import bind, mesh_edges
from baker.body import Body, joint
from baker.meshes import SurfaceGaussians, interpolate, vertex_normals
from baker.person_colors import fabric, mix, smoothstep, value_noise
from baker.person_config import PersonConfig
from baker.person_pieces import INFLUENCES, Piece, mesh_piece, share, surface_piece, with_alpha
from baker.person_skirt import COLUMNS, SkirtSurface, pinned, sample_rows
from runtime.types import Label

SLIP_DEPTH = 0.005
"""Depth of the slip under the skin [m]."""


def skirt_piece(config: PersonConfig, body: SkinnedMesh, skirt: SkirtSurface) -> tuple[Piece, SkinnedMesh,
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
        waistband = smoothstep(0.035, 0.030, uv[:, 1]) * (not config.dress)
        hem = smoothstep(length - 0.016, length - 0.008, uv[:, 1])
        rgb = mix(rgb, 0.55 * np.array(config.skirt_color), np.clip(waistband + 0.6 * hem, 0, 1))
        valley = interpolate(skirt.valley[skirt.faces][..., None], faces, barycentrics)
        return rgb * (1.06 - 0.34 * valley)

    surface = sample_rows(skirt, count=share(config, "skirt"), seed=config.seed)
    return mesh_piece(surface, color(surface.means, surface.faces, surface.barycentrics), mesh, label=Label.GARMENT,
                  contrast=0.42), mesh, surface


def top_piece(config: PersonConfig, body: Body, skirt: SkirtSurface) -> Piece:
    """A fitted top on the outer skin, from under the waistband to a round neckline, with sleeves."""
    mesh = _lifted(body.part("tights"), 0.002)
    waist = skirt.waist_height
    center = np.array([0.0, joint(body, "neck")[1] + 0.01, joint(body, "neck")[2] + 0.05])

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        uv = np.stack([points[:, 0] + 0.6 * points[:, 2], waist + 0.5 - points[:, 1]], 1)
        arm = np.abs(points[:, 0]) > joint(body, "left_shoulder")[0] + 0.03
        uv = np.where(arm[:, None], uv[:, ::-1], uv)
        period = config.top_period
        if config.dress:
            # The skirt's own stripes go on over the seam.
            period = skirt.girth / max(1, round(skirt.girth / config.skirt_period))
            uv = np.where(arm[:, None], uv, np.stack([_around(points, skirt), waist - points[:, 1]], 1))
        rgb = fabric(uv, pattern=config.top_pattern, first=config.top_color, second=config.top_second,
                     period=period, length=0.55, seed=config.seed + 7)
        collar = np.abs(_neck_distance(points, center) - 0.012) < 0.012
        cuff = np.abs(np.abs(points[:, 0]) - _sleeve_end(config, body)) < 0.014
        rgb = mix(rgb, np.array(config.top_second), (collar | (cuff & (config.sleeve_flare <= 0))).astype(float))
        return with_alpha(rgb, under_top(points, config, body, waist, margin=0.0))

    # The collar and cuffs are the top's finest pattern.
    middles = mesh.vertices[mesh.faces].mean(1)
    edge = np.minimum(np.abs(_neck_distance(middles, center) - 0.01),
                      np.abs(np.abs(middles[:, 0]) - _sleeve_end(config, body)))
    return surface_piece(config, mesh, piece="top", label=Label.TIGHT, color=color, density=1.0 + 3.0 * (edge < 0.03))


def _around(points: np.ndarray, skirt: SkirtSurface) -> np.ndarray:
    """The skirt's distance around [m] at the azimuths of `points`, from its upper edge."""
    edge, u = skirt.vertices[:COLUMNS].astype(np.float64), skirt.uv[:COLUMNS, 0]
    axis_z = 0.5 * (edge[:, 2].min() + edge[:, 2].max())
    turn = np.unwrap(np.arctan2(edge[:, 0], edge[:, 2] - axis_z))
    return np.interp(np.arctan2(points[:, 0], points[:, 2] - axis_z) % (2 * np.pi), np.append(turn, 2 * np.pi),
                     np.append(u, skirt.girth))


def _neck_distance(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Signed distance [m] outside of the round neckline, an upright ellipsoid around the neck's front."""
    return (np.linalg.norm((points - center) / [1.0, 0.75, 1.0], axis=1) - 0.105) * (np.abs(points[:, 0]) < 0.2) + (
        np.abs(points[:, 0]) >= 0.2)


def _sleeve_end(config: PersonConfig, body: Body) -> float:
    """|x| of the cuffs [m]."""
    shoulder, wrist = joint(body, "left_shoulder")[0], joint(body, "left_wrist")[0]
    if config.sleeve_flare > 0:
        # Under a wide sleeve the fitted one ends where that is held.
        return float(shoulder + config.sleeve_start * (wrist - shoulder) + 0.04)
    return float(shoulder + 0.03 + config.sleeves * (wrist - 0.03 - shoulder))


def under_top(points: np.ndarray, config: PersonConfig, body: Body, waist: float, *, margin: float) -> np.ndarray:
    """Boolean: covered by the top, at least `margin` metres inside its edges."""
    center = np.array([0.0, joint(body, "neck")[1] + 0.01, joint(body, "neck")[2] + 0.05])
    return ((points[:, 1] > waist - 0.03 - margin) & (np.abs(points[:, 0]) < _sleeve_end(config, body) - margin)
            & (_neck_distance(points, center) > margin) & (points[:, 1] < center[1] + 0.03 - margin))


def slip_piece(config: PersonConfig, body: Body, skirt: SkirtSurface) -> Piece:
    """Shorts in a dark shade of the skirt: what is seen under a lifted hem, and hides skin at a rigid knee.

    They lie `SLIP_DEPTH` under the skin: simulated cloth comes within 5 mm of it, and a flat Gaussian of some
    13 mm leaves a thigh's curve by as much at its ends.
    """
    mesh = _lifted(body.part("body"), -SLIP_DEPTH)
    low, high = slip_end(body, skirt), skirt.waist_height - 0.005
    cloth = 0.5 * (0.7 * np.array(config.skirt_color) + 0.3 * np.array(config.skirt_second))

    def color(points: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        rgb = cloth * (1 + 0.06 * value_noise(points, wavelength=0.02, seed=config.seed)[:, None])
        inside = (points[:, 1] > low) & (points[:, 1] < high) & (np.abs(points[:, 0]) < 0.30)
        return with_alpha(rgb, inside)

    return surface_piece(config, mesh, piece="slip", label=Label.TIGHT, color=color)


def slip_end(body: Body, skirt: SkirtSurface) -> float:
    """Height of the shorts' lower edge [m]: well above the hem and the knee."""
    hip, knee = joint(body, "left_hip")[1], joint(body, "left_knee")[1]
    return float(max(knee + 0.35 * (hip - knee), skirt.hem_height + 0.10))


def shoe_piece(config: PersonConfig, body: Body) -> Piece:
    """Low shoes on the outer skin's feet, with a sole."""
    floor, ankle = body.floor, float(joint(body, "left_ankle")[1])
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
        return with_alpha(np.clip(rgb, 0, 1), points[:, 1] < edge)

    return surface_piece(config, mesh, piece="shoes", label=Label.SHOE, color=color)


def _lifted(mesh: SkinnedMesh, height: float) -> SkinnedMesh:
    """A mesh moved out along its normals by `height` metres."""
    raised = mesh.vertices + height * vertex_normals(mesh.vertices, mesh.faces)
    return SkinnedMesh(raised.astype(np.float32), mesh.faces, mesh.skin_joints, mesh.skin_weights)
