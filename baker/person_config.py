"""What makes one built-in person differ from another, and random people for training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from baker.binding import Method
from baker.person_colors import Pattern, Rgb
from baker.person_hair import HairStyle


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
    hair_style: HairStyle = "long"
    hair_color: Rgb = (0.29, 0.16, 0.09)
    eye_color: Rgb = (0.23, 0.14, 0.09)
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
    """0 knee .. 1 ankle; -0.5 mid-thigh, 1.1 the floor."""
    skirt_flare: float = 0.32
    """Growth of the skirt's radius per metre of drop."""
    skirt_waist: float = 0.0
    """Height of the waistband above the natural waist [m]."""
    skirt_pleats: int = 16
    skirt_pleat_depth: float = 0.045
    """Radial depth of the folds at the hem [m]."""
    dress: bool = False
    """The top continues the skirt's cloth, without a waistband: one dress."""
    sleeve_flare: float = 0.0
    """0 fitted sleeves; else how much wide ones widen [m of radius per m]."""
    sleeve_start: float = 0.3
    """Where wide sleeves begin: 0 shoulder, 1 wrist."""
    sleeve_end: float = 0.95
    """Where they end."""
    cape_length: float = 0.0
    """0 none, 1 to the ankles."""
    cape_flare: float = 0.15
    """Growth of the cape's half width per metre of drop."""
    cape_color: Rgb = (0.45, 0.10, 0.12)
    cape_second: Rgb = (0.85, 0.75, 0.45)
    cape_pattern: Pattern = "plain"
    cape_period: float = 0.10
    """Repeat of the cape's pattern [m]."""
    hair_length: float = 0.0
    """By how much long hair is longer than to the chest [m]."""
    swinging_hair: bool = False
    """Hair below the ears, or tied, is a garment that simulations move."""
    shoe_color: Rgb = (0.20, 0.13, 0.11)
    gaussians: int = 28000
    """How many, in all; hair strands round it by a few hundred."""
    binding: Method = "diffused"
    """How loose cloth is bound to the rig (DESIGN §4)."""


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
    person = PersonConfig(
        seed=seed, male=float(rng.random() * 0.35), weight=float(np.clip(rng.normal(0, 0.4), -0.9, 0.9)),
        muscular=float(rng.random() * 0.5), height=float(rng.uniform(-0.5, 0.4)), old=float(rng.random() ** 2 * 0.6),
        african=float(face == 1), asian=float(face == 2), skin=skin,
        hair_style=("short", "bob", "long", "ponytail")[rng.integers(4)],
        hair_color=hair_colors[rng.integers(7 if light_hair else 3)],
        eye_color=((0.23, 0.14, 0.09), (0.17, 0.29, 0.38), (0.22, 0.28, 0.16))[rng.integers(3 if light_hair else 1)],
        top_color=top_first, top_second=top_second, top_pattern=patterns[rng.integers(6)],
        top_period=float(rng.uniform(0.035, 0.09)), sleeves=float(rng.uniform(0.15, 1.0)),
        skirt_color=first, skirt_second=second, skirt_pattern=patterns[rng.integers(len(patterns))],
        skirt_period=float(rng.uniform(0.07, 0.17)), skirt_length=float(rng.uniform(0.0, 1.0)),
        skirt_flare=float(rng.uniform(0.16, 0.50)), skirt_waist=float(rng.uniform(-0.03, 0.04)),
        skirt_pleats=int((8, 12, 16)[rng.integers(3)]), skirt_pleat_depth=float(rng.uniform(0.015, 0.055)),
        shoe_color=tuple(float(c) for c in rng.uniform(0.08, 0.5) * rng.uniform(0.6, 1.0, 3)))
    return _random_outfit(person, np.random.Generator(np.random.Philox([seed, 2])))


def _random_outfit(person: PersonConfig, rng: np.random.Generator) -> PersonConfig:
    """The same person in a skirt (half) or a dress of any length, a third with wide sleeves, a sixth with a cape, and
    with hair that swings where it is long or tied."""
    length = float(rng.uniform(-0.5, 1.1))
    # A short skirt may flare as a full circle nearly does; at the ankles that would be a crinoline.
    flare = float(rng.uniform(0.16, 0.65 if length < 0.3 else 0.45))
    outfit: dict[str, Any] = {"skirt_length": length, "skirt_flare": flare}
    if rng.random() < 0.5:
        high = float(rng.choice([rng.uniform(0.02, 0.07), rng.uniform(0.10, 0.15)]))
        outfit |= {"dress": True, "skirt_waist": high, "top_color": person.skirt_color,
                   "top_second": person.skirt_second, "top_pattern": "plain" if person.skirt_pattern in (
                       "gradient", "border") else person.skirt_pattern, "top_period": person.skirt_period}
    if rng.random() < 0.33:
        start = float(rng.uniform(0.10, 0.55))
        outfit |= {"sleeve_flare": float(rng.uniform(0.12, 0.45)), "sleeve_start": start,
                   "sleeve_end": float(rng.uniform(max(start + 0.3, 0.7), 1.0))}
    if rng.random() < 0.17:
        color, second = _two_colors(rng)
        outfit |= {"cape_length": float(rng.uniform(0.35, 1.0)), "cape_flare": float(rng.uniform(0.06, 0.25)),
                   "cape_color": color, "cape_second": second, "cape_period": float(rng.uniform(0.07, 0.17)),
                   "cape_pattern": ("plain", "stripes", "checks", "dots", "gradient", "border")[rng.integers(6)]}
    if "cape_length" in outfit and person.hair_style in ("long", "ponytail"):
        outfit["hair_style"] = "bob"  # long hair would lie under the cape
    elif person.hair_style in ("long", "ponytail"):
        style = "pigtails" if person.hair_style == "ponytail" and rng.random() < 0.4 else person.hair_style
        outfit |= {"hair_style": style, "hair_length": float(rng.uniform(0.0, 0.25)), "swinging_hair": True}
    return replace(person, **outfit)


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
