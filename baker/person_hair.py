"""The built-in person's hair: strands combed over the scalp, as elongated Gaussians over an opaque cap.

Letters: S strands, K points a strand. Lengths in metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from baker.avatar import SkinnedMesh
from baker.body import JOINT_NAMES, Body, take_faces
from baker.meshes import vertex_normals
from baker.person_colors import Rgb, smoothstep, value_noise

HairStyle = Literal["short", "bob", "long", "ponytail"]
STEP = 0.012
"""Distance between the points of a strand [m]."""
THICKNESS = 0.0030
"""Standard deviation across a strand's Gaussian, which stands for a lock [m]."""
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
    raised = cap.vertices + (lift * smoothstep(-4, 22, height[old]) + 0.001)[:, None] * normals
    return SkinnedMesh(raised.astype(np.float32), cap.faces, cap.skin_joints, cap.skin_weights)


def comb(body: Body, head: HeadFrame, roots: Float[np.ndarray, "S 3"], *, style: HairStyle, seed: int) -> Strands:
    """Strands from `roots` on the scalp, led away from the face, then falling, outside of head and shoulders."""
    rng = np.random.Generator(np.random.Philox([seed, 11]))
    skin = body.part("body")
    normals = vertex_normals(skin.vertices, skin.faces)
    upper = np.flatnonzero((skin.vertices[:, 1] > body.joints[JOINT_NAMES.index("spine2")][1])
                           & (np.abs(skin.vertices[:, 0]) < 0.30))
    tree = cKDTree(skin.vertices[upper])
    count = len(roots)
    reach = _reach(style, head, body, rng.random(count))
    clearance = 0.008 + 0.012 * rng.random(count)
    knot = head.centre + [0.0, 0.005, -0.125]
    part = np.where(roots[:, 0] + 0.012 > 0, 1.0, -1.0)
    points, alive = [roots], [np.ones(count, bool)]
    position, heading = roots.copy(), np.zeros((count, 3))
    steps = {"short": 6, "bob": 24, "long": 46, "ponytail": 40}[style]
    tied = np.zeros(count, bool)
    for step in range(steps):
        wish = _wish(position, head, part, style=style, knot=knot, tied=tied, rng_phase=reach)
        heading = wish if step == 0 else 0.6 * heading + 0.4 * wish
        heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-9)
        moved = position + STEP * heading
        _, near = tree.query(moved)
        normal = normals[upper][near]
        above = ((moved - skin.vertices[upper][near]) * normal).sum(1)
        moved = moved + np.maximum(clearance - above, 0)[:, None] * normal
        heading = (moved - position) / STEP
        tied |= np.linalg.norm(moved - knot, axis=1) < 0.03
        position = moved
        end = moved[:, 1] < reach if style in ("bob", "long") else np.full(count, False)
        if style == "ponytail":
            end = tied & (moved[:, 1] < reach)
        if style == "short":
            end = step * STEP > reach
        points.append(moved)
        alive.append(alive[-1] & ~end)
    return Strands(np.stack(points, 1), np.stack(alive, 1))


def _reach(style: HairStyle, head: HeadFrame, body: Body, draw: np.ndarray) -> np.ndarray:
    """Where each strand ends: a height [m], or for short hair a length."""
    chest = float(body.joints[JOINT_NAMES.index("spine3")][1])
    match style:
        case "short":
            return 0.035 + 0.025 * draw
        case "bob":
            return head.chin - 0.005 - 0.025 * draw
        case "long":
            return chest + 0.02 - 0.10 * draw
        case "ponytail":
            return chest + 0.06 - 0.10 * draw


def _wish(position: np.ndarray, head: HeadFrame, part: np.ndarray, *, style: HairStyle, knot: np.ndarray,
          tied: np.ndarray, rng_phase: np.ndarray) -> np.ndarray:
    """The direction each strand's tip wants to grow in."""
    away = position - head.centre
    front = smoothstep(-0.02, 0.07, away[:, 2])
    above = smoothstep(-0.03, 0.06, away[:, 1])
    wave = 0.10 * np.sin(90 * position[:, 1] + 40 * rng_phase)
    fall = np.stack([0.12 * part * front + wave * (1 - above), -np.ones(len(part)), -0.25 * front], 1)
    over = np.stack([part * (0.45 + 0.6 * front), -0.25 - 0 * part, -0.75 * np.ones(len(part))], 1)
    match style:
        case "ponytail":
            to_knot = knot - position
            to_knot /= np.maximum(np.linalg.norm(to_knot, axis=1, keepdims=True), 1e-6)
            tail = np.stack([0.5 * wave, -np.ones(len(part)), -0.35 * above], 1)
            return np.where(tied[:, None], tail, to_knot)
        case "short":
            forward = np.stack([0.35 * part, -0.55 - 0 * part, 0.25 - 0.9 * (1 - front)], 1)
            return above[:, None] * (0.6 * over + 0.4 * forward) + (1 - above)[:, None] * fall
        case _:
            return above[:, None] * over + (1 - above)[:, None] * fall


def strand_gaussians(strands: Strands, *, color: Rgb, seed: int) -> dict[str, np.ndarray]:
    """One elongated Gaussian a segment: means, frames [G 3 3], log_scales, rgb [G 3]."""
    rng = np.random.Generator(np.random.Philox([seed, 12]))
    start, end = strands.points[:, :-1], strands.points[:, 1:]
    keep = strands.alive[:, 1:]
    count, segments = keep.shape
    tone = 1.0 + 0.16 * rng.standard_normal(count)
    along = (end - start)[keep]
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    tangent = along / length
    middle = 0.5 * (start + end)[keep]
    side = np.cross(tangent, np.array([0.3, 0.1, 1.0]))
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-6)
    frames = np.stack([tangent, side, np.cross(tangent, side)], axis=2)
    sizes = np.concatenate([0.62 * length, np.full_like(length, THICKNESS), np.full_like(length, 0.6 * THICKNESS)], 1)
    # A sheen where the lock runs across the light, as on anisotropic fibres (Kajiya and Kay 1989).
    sheen = np.clip(1 - (tangent @ np.array([0.15, 0.75, 0.64])) ** 2, 0, 1) ** 8
    shade = np.broadcast_to(tone[:, None], (count, segments))[keep]
    shade = shade * (1 + 0.10 * value_noise(middle, wavelength=0.03, seed=seed))
    base = np.array(color)
    rgb = base * np.clip(shade, 0.55, 1.5)[:, None] + (0.10 + 0.18 * base) * sheen[:, None]
    return {"means": middle, "frames": frames, "log_scales": np.log(sizes), "rgb": np.clip(rgb, 0.01, 0.98)}
