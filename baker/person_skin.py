"""Skin of the built-in person: tone, blotches, flush, lips, brows, lashes, nails; and the colour of the eyes.

Colour is sRGB in [0, 1] before shading; positions are in the rest pose, metres. Letters: P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from baker.body import Body, joint
from baker.person_colors import Rgb, mix, skin_tone, smoothstep, value_noise


@dataclass(frozen=True)
class SkinPaint:
    """What skin colour depends on besides the body."""

    tone: float
    """0 light .. 1 dark."""
    hair: Rgb
    """Colour of the brows and lashes."""
    seed: int


def skin_color(points: np.ndarray, at: dict[str, np.ndarray], paint: SkinPaint, body: Body) -> np.ndarray:
    """Skin with blotches, flushed cheeks, nose, knuckles and knees, lips, brows, lids and nails."""
    tone = skin_tone(paint.tone)
    rgb = np.broadcast_to(tone, points.shape)
    rgb = rgb * (1 + 0.030 * value_noise(points, wavelength=0.035, seed=paint.seed)
                 + 0.012 * value_noise(points, wavelength=0.009, seed=paint.seed + 1))[:, None]
    flush = tone * [1.04, 0.80, 0.78]
    eyes = 0.5 * (joint(body, "left_eye_smplhf") + joint(body, "right_eye_smplhf"))
    x, y, z = (points - eyes).T
    half = abs(float(joint(body, "left_eye_smplhf")[0]))
    # Cheeks and nose, as multiples of half the distance between the eyes.
    cheek = np.exp(-(((np.abs(x) / half - 1.35) / 0.55) ** 2 + ((y / half + 1.30) / 0.55) ** 2)) * (z > -0.03)
    nose = np.exp(-((x / half / 0.35) ** 2 + ((y / half + 1.25) / 0.45) ** 2)) * (z > 0.0)
    rgb = mix(rgb, flush, np.clip(0.50 * cheek + 0.35 * nose + 0.35 * at["ears"], 0, 1))
    rgb = mix(rgb, flush, 0.25 * at["hands"])
    lips = mix(tone * [0.90, 0.60, 0.59], tone * [0.62, 0.32, 0.33], np.exp(-((points[:, 1] - _lip_line(body)) / 0.0018)
                                                                       ** 2))
    rgb = mix(rgb, lips, smoothstep(0.35, 0.7, at["lips"]))
    rgb = mix(rgb, tone * [0.90, 0.78, 0.76], 0.30 * at["eyelids"])
    rgb = mix(rgb, tone * [1.03, 0.88, 0.86], 0.7 * at["fingernails"])
    near, upper = _lid_distance(points, body)
    rgb = mix(rgb, 0.15 * tone + 0.10 * np.array(paint.hair), smoothstep(0.0032, 0.0013, near) * np.where(
        upper, 1.0, 0.12))
    across = np.abs(x) / half
    arch = 0.66 + 0.17 * np.sin(np.clip((across - 0.4) / 1.4, 0, 1) * np.pi * 0.68)
    thick = 0.105 - 0.055 * np.clip((across - 0.5) / 1.2, 0, 1)
    brow = smoothstep(1.35, 0.65, np.abs(y / half - arch) / thick) * smoothstep(0.36, 0.55, across)
    brow *= smoothstep(1.85, 1.45, across) * (z > -0.05)
    return mix(rgb, 0.12 * tone + 0.55 * np.array(paint.hair), 0.95 * brow)


def _lid_distance(points: np.ndarray, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Distance [m] to the rim of the eyelids, and whether its nearest point is on the upper lid."""
    faces = body.faces_of["body"]
    inner = body.masks["inside"] > 0.5
    mixed = faces[inner[faces].any(1) & ~inner[faces].all(1)]
    rim = np.unique(mixed[~inner[mixed]])
    left = joint(body, "left_eye_smplhf")
    mirrored = body.vertices[rim].astype(np.float64)
    mirrored[:, 0] = np.abs(mirrored[:, 0])
    rim = rim[np.linalg.norm(mirrored - left, axis=1) < 0.028]
    distance, near = cKDTree(body.vertices[rim]).query(points)
    return distance, body.vertices[rim][near, 1] > left[1] - 0.001


def _lip_line(body: Body) -> float:
    """Height where the lips meet [m]: the middle of the lip region near the plane of symmetry."""
    lips = body.vertices[(body.masks["lips"] > 0.5) & (np.abs(body.vertices[:, 0]) < 0.006)]
    front = lips[lips[:, 2] > lips[:, 2].max() - 0.012]
    return float(0.5 * (front[:, 1].min() + front[:, 1].max()))


def eye_color(away: np.ndarray, iris: Rgb) -> np.ndarray:
    """Sclera, iris with a dark rim, pupil and a glint, at offsets [P 3] from the eyeball's centre [m]."""
    off_axis = np.hypot(away[:, 0], away[:, 1])
    rgb = mix(np.array([0.88, 0.85, 0.83]), np.array(iris), smoothstep(0.0066, 0.0058, off_axis))
    rgb = mix(rgb, 0.35 * np.array(iris), smoothstep(0.0052, 0.0060, off_axis) * smoothstep(0.0070, 0.0064, off_axis))
    rgb = mix(rgb, np.array([0.03, 0.03, 0.03]), smoothstep(0.0030, 0.0024, off_axis))
    glint = np.hypot(away[:, 0] - 0.0025, away[:, 1] - 0.0028) < 0.0014
    return mix(rgb, np.array([1.0, 1.0, 1.0]), glint.astype(float))
