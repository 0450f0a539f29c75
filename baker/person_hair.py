"""The built-in person's hair: strands combed over the scalp, as elongated Gaussians over an opaque cap.

Letters: S strands, K points a strand. Lengths in metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from baker.avatar import SkinnedMesh
from baker.body import JOINT_NAMES, Body, take_faces
from baker.meshes import vertex_normals
from baker.person_colors import Rgb, smoothstep, value_noise

HairStyle = Literal["short", "bob", "long", "ponytail", "pigtails"]
STEP = 0.016
"""Distance between the points of a strand [m]."""
STEPS: dict[HairStyle, int] = {"short": 5, "bob": 20, "long": 34, "ponytail": 34, "pigtails": 34}
"""Points a strand has at most, before `extra` length."""
TIED = ("ponytail", "pigtails")
WIDTH = 0.0045
"""Standard deviation across a strand's Gaussian, which stands for a lock [m]; a third of it is the thickness."""
SKULL = (0.075, 0.105, 0.095)
"""Half axes of the ellipsoid whose normals lead hair over the head [m]."""
HAIRLINE = ((0.0, 42.0), (25.0, 40.0), (48.0, 30.0), (66.0, 6.0), (86.0, -6.0), (100.0, -4.0), (118.0, -24.0),
            (150.0, -40.0), (180.0, -44.0))
"""Azimuth from the face [degrees] and the elevation above which hair grows, seen from the head's centre."""


@dataclass(frozen=True)
class Strands:
    """S strands of up to K points."""

    points: Float[np.ndarray, "S K 3"]
    """Rest positions [m]."""
    alive: np.ndarray
    """Boolean [S K]: the point is before the strand's end."""
    falling: np.ndarray
    """Boolean [S K]: it hangs: behind the knot where hair is tied, else below the ears."""


@dataclass(frozen=True)
class HeadFrame:
    """Landmarks that size the head."""

    centre: np.ndarray
    """Middle of the skull [m]."""
    eyes: np.ndarray
    """Between the eyes [m]."""
    chin: float
    """Height of the chin [m]."""


def head_frame(body: Body) -> HeadFrame:
    """Landmarks of a body in the rest pose."""
    joint = dict(zip(JOINT_NAMES, body.joints, strict=True))
    eyes = 0.5 * (joint["left_eye_smplhf"] + joint["right_eye_smplhf"])
    skull = body.vertices[(body.masks["head"] > 0.5) & (body.vertices[:, 1] > eyes[1])]
    low, high = skull.min(0), skull.max(0)
    face = body.vertices[(body.masks["face"] > 0.5)]
    return HeadFrame(centre=np.array([0.0, eyes[1] + 0.02, 0.5 * (low[2] + high[2])]), eyes=eyes,
                     chin=float(face[:, 1].min()))


def scalp(points: Float[np.ndarray, "P 3"], head: HeadFrame) -> Float[np.ndarray, " P"]:
    """How far above the hairline each point of the head is [degrees]; positive grows hair."""
    away = points - head.centre
    azimuth = np.degrees(np.arctan2(np.abs(away[:, 0]), away[:, 2]))
    elevation = np.degrees(np.arctan2(away[:, 1], np.hypot(away[:, 0], away[:, 2])))
    line = np.array(HAIRLINE)
    return elevation - np.interp(azimuth, line[:, 0], line[:, 1])


def cap_mesh(body: Body, head: HeadFrame, *, lift: float) -> SkinnedMesh:
    """The scalp, raised by `lift` metres where hair grows thickest and to nothing at the hairline."""
    mesh = body.part("body")
    keep_faces = take_faces(SkinnedMesh(body.vertices, body.faces_of["body"], body.skin_joints, body.skin_weights),
                            np.arange(len(body.faces_of["body"])))[1]
    height = scalp(mesh.vertices, head)
    inside = (body.masks["head"][keep_faces] > 0.5) & (body.masks["ears"][keep_faces] < 0.3) & (height > -4)
    skull = np.linalg.norm(mesh.vertices - head.centre, axis=1) > 0.06
    cap, old = take_faces(mesh, (inside & skull)[mesh.faces].all(1))
    normals = vertex_normals(mesh.vertices, mesh.faces)[old]
    raised = cap.vertices + (lift * smoothstep(-4.0, 22.0, height[old]) + 0.001)[:, None] * normals
    return SkinnedMesh(raised.astype(np.float32), cap.faces, cap.skin_joints, cap.skin_weights)


def comb(body: Body, head: HeadFrame, roots: Float[np.ndarray, "S 3"], *, style: HairStyle, seed: int,
         extra: float = 0.0) -> Strands:
    """Strands from `roots` on the scalp: over the skull away from part and face, then falling behind the shoulders.
    `extra` [m] lengthens what falls to the chest."""
    rng = np.random.Generator(np.random.Philox([seed, 11]))
    skin = body.part("body")
    ears = body.masks["ears"][np.unique(body.faces_of["body"])] > 0.3
    upper = np.flatnonzero((skin.vertices[:, 1] > body.joints[JOINT_NAMES.index("spine2")][1]) & ~ears
                           & (np.abs(skin.vertices[:, 0]) < 0.30))
    surface, normals = skin.vertices[upper], vertex_normals(skin.vertices, skin.faces)[upper]
    tree = cKDTree(surface)
    count = len(roots)
    reach = _reach(style, head, body, rng.random(count)) - extra
    clearance = 0.007 + (0.010 if style in TIED else 0.015) * rng.random(count)
    knot = head.centre + np.array([0.0, 0.01, -0.118])
    if style == "pigtails":
        knot = np.where(roots[:, :1] > 0, 1.0, -1.0) * [0.085, 0.0, 0.0] + head.centre + [0.0, -0.035, -0.065]
    part = np.where(roots[:, 0] > -0.012 + 0.01 * rng.standard_normal(count), 1.0, -1.0)
    points, alive, falling = [roots], [np.ones(count, bool)], [np.zeros(count, bool)]
    position, heading, tied = roots.copy(), np.zeros((count, 3)), np.zeros(count, bool)
    for step in range(STEPS[style] + math.ceil(extra / STEP)):
        wish, on_skull = _wish(position, head, part, style=style, knot=knot, tied=tied)
        heading = wish if step == 0 else 0.45 * heading + 0.55 * wish
        heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-9)
        moved = position + STEP * heading
        _, near = tree.query(moved)
        above = ((moved - surface[near]) * normals[near]).sum(1)
        # Hair lies on the skull: it is pulled down to it as well as pushed out; elsewhere it is only pushed out.
        lift = np.minimum(clearance, 0.004 + 0.005 * step)
        shift = np.where(above < lift, lift - above, 0.8 * on_skull * (lift - above))
        moved = moved + shift[:, None] * normals[near]
        heading = (moved - position) / STEP
        tied |= np.linalg.norm(moved - knot, axis=1) < 0.022
        position = moved
        if style == "short":
            end = np.full(count, (step + 1) * STEP) > reach
        else:
            end = (moved[:, 1] < reach) & (tied | (style not in TIED))
        points.append(moved)
        alive.append(alive[-1] & ~end)
        falling.append(tied & (moved[:, 1] < np.broadcast_to(knot, moved.shape)[:, 1] - 0.005) if style in TIED
                       else moved[:, 1] < head.eyes[1] - 0.03)
    return Strands(np.stack(points, 1), np.stack(alive, 1), np.stack(falling, 1))


def _reach(style: HairStyle, head: HeadFrame, body: Body, draw: np.ndarray) -> np.ndarray:
    """Where each strand ends: a height [m], or for short hair a length."""
    chest = float(body.joints[JOINT_NAMES.index("spine3")][1])
    match style:
        case "short":
            return 0.045 + 0.030 * draw
        case "bob":
            return head.chin - 0.010 - 0.020 * draw
        case "long":
            return chest + 0.03 - 0.08 * draw
        case "ponytail" | "pigtails":
            return chest + 0.06 - 0.10 * draw


def _wish(position: np.ndarray, head: HeadFrame, part: np.ndarray, *, style: HairStyle, knot: np.ndarray,
          tied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The direction [S 3] each strand's tip wants to grow in, and how much [S] it lies on the skull."""
    away = position - head.centre
    normal = away / np.array(SKULL) ** 2
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    on_skull = smoothstep(-0.075, -0.03, away[:, 1])
    front = smoothstep(-0.03, 0.05, away[:, 2])
    top = np.clip(normal[:, 1], 0, 1)
    fall = np.stack([-0.25 * (np.abs(away[:, 0]) > 0.085) * np.sign(away[:, 0]), -np.ones(len(part)),
                     -0.9 * smoothstep(-0.06, -0.01, away[:, 2])], 1)
    over = np.stack([part * 0.9 * top, -0.9 + 0.4 * front, -0.25 - 0.75 * front], 1)
    if style == "short":
        over = np.stack([part * 0.6 * top, -0.7 - 0.3 * front, 0.25 * front - 0.5 * (1 - front)], 1)
    if style in TIED:
        over = knot - position
        fall = np.where(tied[:, None], np.array([0.0, -1.0, 0.0]) + np.array([0, 0, -0.9]) * on_skull[:, None], over)
        on_skull = np.where(tied, 0.0, 1.0)
    over = over - 0.9 * (over * normal).sum(1, keepdims=True) * normal
    over /= np.maximum(np.linalg.norm(over, axis=1, keepdims=True), 1e-6)
    return on_skull[:, None] * over + (1 - on_skull[:, None]) * fall, on_skull


def strand_gaussians(strands: Strands, *, centre: np.ndarray, color: Rgb, seed: int) -> dict[str, np.ndarray]:
    """One elongated Gaussian a segment: means, frames [G 3 3], log_scales, rgb [G 3]."""
    rng = np.random.Generator(np.random.Philox([seed, 12]))
    start, end = strands.points[:, :-1], strands.points[:, 1:]
    keep = strands.alive[:, 1:]
    count, segments = keep.shape
    tone = 1.0 + 0.17 * rng.standard_normal(count)
    along = (end - start)[keep]
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    tangent = along / length
    middle = 0.5 * (start + end)[keep]
    outward = middle - centre
    side = np.cross(outward, tangent)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-6)
    frames = np.stack([tangent, side, np.cross(tangent, side)], axis=2)
    # Locks thin out towards their ends.
    place = np.cumsum(keep, 1) / np.maximum(keep.sum(1, keepdims=True), 1)
    width = WIDTH * (1.15 - 0.5 * place[keep][:, None] ** 2)
    sizes = np.concatenate([0.60 * length, width, width / 3], 1)
    # A sheen where the lock runs across the light, as on anisotropic fibres (Kajiya and Kay 1989).
    sheen = np.clip(1 - (tangent @ np.array([0.15, 0.75, 0.64])) ** 2, 0, 1) ** 8
    sheen = sheen * smoothstep(-0.06, 0.04, middle[:, 1] - centre[1])
    shade = np.broadcast_to(tone[:, None], (count, segments))[keep]
    shade = shade * (1 + 0.10 * value_noise(middle, wavelength=0.03, seed=seed)) * (0.85 + 0.25 * place[keep])
    base = np.array(color)
    rgb = base * np.clip(shade, 0.5, 1.6)[:, None] + (0.05 + 0.22 * base) * sheen[:, None]
    return {"means": middle, "frames": frames, "log_scales": np.log(sizes), "rgb": np.clip(rgb, 0.01, 0.98)}
