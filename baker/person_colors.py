"""Colours of the built-in person: noise, fabric patterns, skin tones, baked soft shading.

Colour is display-referred sRGB in [0, 1]. Letters: P points.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

Rgb = tuple[float, float, float]
"""sRGB in [0, 1]."""
Pattern = Literal["plain", "stripes", "hoops", "checks", "plaid", "dots", "gradient", "border"]
"""`stripes` run along the body, `hoops` around it, `border` bands the hem."""
SKIN_TONES = np.array([(0.965, 0.815, 0.735), (0.915, 0.735, 0.625), (0.800, 0.600, 0.470), (0.610, 0.425, 0.315),
                       (0.400, 0.270, 0.205)])
"""From light to dark, evenly spaced over the slider's [0, 1]."""
LIGHT_DIRECTION = np.array([0.35, 0.80, 0.50]) / np.linalg.norm([0.35, 0.80, 0.50])
"""Towards the key light: above, in front, a little to the figure's left."""


def skin_tone(slider: float) -> np.ndarray:
    """sRGB [3] of a tone in [0, 1]."""
    place = np.linspace(0, 1, len(SKIN_TONES))
    return np.array([np.interp(slider, place, SKIN_TONES[:, c]) for c in range(3)])


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`a` where `weight` [P] is 0, `b` where it is 1."""
    return a + (np.asarray(b) - a) * np.asarray(weight)[..., None]


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between; `low` > `high` runs the other way."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def value_noise(points: Float[np.ndarray, "P 3"], *, wavelength: float, seed: int) -> Float[np.ndarray, " P"]:
    """Smooth noise in [-1, 1]: random values on a lattice of `wavelength` metres, interpolated.

    A function of position and seed alone, so it does not depend on which points are asked.
    """
    scaled = points.astype(np.float64) / wavelength
    cell = np.floor(scaled).astype(np.int64)
    t = scaled - cell
    t = t * t * (3 - 2 * t)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, t, 1 - t), axis=1)
        total += weight * _hash(cell + corner, seed)
    return total


def _hash(cells: np.ndarray, seed: int) -> np.ndarray:
    """A value in [-1, 1] for each integer cell [P 3] (multiply-xorshift mixing, as in splitmix64)."""
    x = cells.astype(np.uint64)
    mixed = (x[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ x[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
             ^ x[:, 2] * np.uint64(0x165667B19E3779F9) ^ np.uint64(seed * 0x27D4EB2F165667C5 & (1 << 64) - 1))
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed.astype(np.float64) / 2**63 - 1


def fabric(uv: Float[np.ndarray, "P 2"], *, pattern: Pattern, first: Rgb, second: Rgb, period: float,
           length: float, seed: int) -> Float[np.ndarray, "P 3"]:
    """Colour of cloth at `uv` metres (around, down from the top edge), `length` metres long at most.

    `period` [m] is the repeat of the pattern. Yarn noise is on top of every pattern.
    """
    u, v = uv.T
    a, b = np.array(first), np.array(second)
    duty = smoothstep(-0.25, 0.25, np.sin(2 * np.pi * u / period))
    hoop = smoothstep(-0.25, 0.25, np.sin(2 * np.pi * v / period))
    match pattern:
        case "plain":
            weight = np.zeros(len(u))
        case "stripes":
            weight = duty
        case "hoops":
            weight = hoop
        case "checks":
            weight = np.abs(duty - hoop)
        case "plaid":
            # Two woven bands at half strength and a thin bright line inside each.
            thin = np.maximum(smoothstep(0.93, 0.99, np.sin(2 * np.pi * u / period)),
                              smoothstep(0.93, 0.99, np.sin(2 * np.pi * v / period)))
            weight = np.clip(0.5 * (duty + hoop) + 0.5 * thin, 0, 1)
        case "dots":
            row = np.floor(v / period)
            du = (u / period + 0.5 * (row % 2)) % 1.0 - 0.5
            dv = (v / period) % 1.0 - 0.5
            weight = smoothstep(0.30, 0.20, np.hypot(du, dv))
        case "gradient":
            weight = smoothstep(0.1, 0.95, v / length)
        case "border":
            weight = np.maximum(smoothstep(0.86, 0.88, v / length),
                                smoothstep(0.77, 0.785, v / length) * smoothstep(0.82, 0.805, v / length))
    color = mix(np.broadcast_to(a, (len(u), 3)), b, weight)
    flat = np.stack([u, v, np.zeros_like(u)], 1)
    yarn = 0.025 * value_noise(flat, wavelength=0.012, seed=seed) + 0.03 * value_noise(flat, wavelength=0.09,
                                                                                     seed=seed + 1)
    return np.clip(color * (1 + yarn[:, None]), 0, 1)


def occlusion(points: Float[np.ndarray, "P 3"], normals: Float[np.ndarray, "P 3"],
              occluders: Float[np.ndarray, "O 3"], *, radius: float = 0.14) -> Float[np.ndarray, " P"]:
    """Soft ambient visibility in [0, 1]: how open the hemisphere above each point is within `radius` metres.

    Each point looks at its 48 nearest of an even subset of `occluders`; those above its tangent plane darken it.
    """
    step = max(1, len(occluders) // 6000)
    tree = cKDTree(occluders[::step])
    distance, near = tree.query(points, k=48, distance_upper_bound=radius)
    missing = ~np.isfinite(distance)
    towards = occluders[::step][np.where(missing, 0, near)] - points[:, None]
    height = np.einsum("pkc,pc->pk", towards, normals) / np.maximum(distance, 1e-6)
    blocked = np.maximum(height - 0.15, 0) * np.maximum(1 - distance / radius, 0)
    blocked = np.where(missing | (distance < 0.012), 0.0, blocked).sum(1)
    return 1.0 / (1.0 + 0.22 * blocked)


def shade(color: Float[np.ndarray, "P 3"], normals: Float[np.ndarray, "P 3"], visibility: Float[np.ndarray, " P"], *,
          contrast: float = 0.30) -> Float[np.ndarray, "P 3"]:
    """Colour under a soft key light with ambient occlusion, in [0, 1]; shadows lean to a warm, saturated dark."""
    facing = 0.5 + 0.5 * normals @ LIGHT_DIRECTION
    light = (1 - contrast) + contrast * 1.25 * facing
    light = light * (0.55 + 0.45 * visibility)
    power = np.array([0.92, 1.0, 1.04])
    return np.clip(color * light[:, None] ** power, 0.01, 0.99)
