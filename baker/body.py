"""The built-in body: a T-posed CC0 figure in SMPL-X's joint layout, with blend directions (read from body.npz).

Made by `baker/make_body.py`. Metres, +Y up, faces +Z, left at +X, pelvis joint at the origin; rest rotations identity.
Letters: V vertices, F triangles, J = 55 joints, W = 4 influences, R region masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from baker.avatar import SkinnedMesh

ASSET = Path(__file__).parent / "assets" / "body.npz"
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
JOINT_NAMES: tuple[str, ...] = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "jaw", "left_eye_smplhf",
    "right_eye_smplhf", *(f"{side}_{finger}{i}" for side in ("left", "right") for finger in FINGERS for i in (1, 2, 3)))
"""SMPL-X's 55 joints in its order."""
PARENTS: tuple[int, ...] = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15,
    *(wrist if i == 0 else 25 + 15 * hand + 3 * finger + i - 1
      for hand, wrist in enumerate((20, 21)) for finger in range(5) for i in range(3)))
"""Their parents; -1 for the root."""
DIRECTION_NAMES = ("male", "heavy", "thin", "muscular", "tall", "short", "old", "african", "asian", "ideal")
"""Blend directions: 0 is the template (a young woman of average build), 1 the slider's end."""
MASK_NAMES = ("lips", "ears", "eyelids", "face", "fingernails", "head", "hands", "feet", "inside")
"""Regions with a coverage per vertex; `inside` is the mouth and the eye sockets, never seen."""
PARTS = ("body", "tights", "left_eye", "right_eye")
"""Sub-meshes: the closed body; a smooth second skin a few millimetres above it that bridges toes; two eyeballs."""


@dataclass(frozen=True)
class Body:
    """One person's body in the rest pose."""

    vertices: Float[np.ndarray, "V 3"]
    """Positions of all parts [m]."""
    joints: Float[np.ndarray, "J 3"]
    """Rest positions [m]."""
    skin_joints: Int[np.ndarray, "V W"]
    skin_weights: Float[np.ndarray, "V W"]
    masks: Mapping[str, np.ndarray]
    """Region name to coverage [V] in [0, 1]."""
    faces_of: Mapping[str, np.ndarray]
    """Part name to triangles [F 3], counter-clockwise from outside."""

    def part(self, name: str) -> SkinnedMesh:
        """A part as a mesh of its own, with only its vertices."""
        return take_faces(SkinnedMesh(self.vertices, self.faces_of[name], self.skin_joints, self.skin_weights),
                          np.arange(len(self.faces_of[name])))[0]

    @property
    def floor(self) -> float:
        """Height of the lowest vertex of the body [m] (negative: the pelvis is at 0)."""
        return float(self.vertices[self.faces_of["body"].ravel(), 1].min())


@cache
def _asset() -> dict[str, np.ndarray]:
    with np.load(ASSET, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def licence() -> str:
    """Licence and origin of the asset, for manifests."""
    return str(_asset()["licence"])


def make_body(sliders: Mapping[str, float]) -> Body:
    """The template plus `sliders` times the blend directions (names in `DIRECTION_NAMES`, sensible in [0, 1]).

    Raises `ValueError` for a name that is no direction.
    """
    unknown = sorted(set(sliders) - set(DIRECTION_NAMES))
    if unknown:
        raise ValueError(f"no blend direction {', '.join(unknown)}; there are {', '.join(DIRECTION_NAMES)}")
    asset = _asset()
    amounts = np.array([sliders.get(name, 0.0) for name in DIRECTION_NAMES], np.float32)
    steps = asset["direction_step_m"] * amounts
    vertices = asset["template_steps"].astype(np.float32) * asset["template_step_m"]
    for step, direction in zip(steps, asset["direction_steps"], strict=True):
        if step:
            vertices += step * direction
    joints = asset["joints"] + np.einsum("d,djc->jc", amounts, asset["direction_joints"])
    part = asset["part_of_face"]
    return Body(
        vertices=vertices, joints=joints.astype(np.float32), skin_joints=asset["skin_joints"].astype(np.int32),
        skin_weights=asset["skin_weights"].astype(np.float32) / 255,
        masks={name: asset["masks"][:, i].astype(np.float32) / 255 for i, name in enumerate(MASK_NAMES)},
        faces_of={name: asset["faces"][part == i].astype(np.int32) for i, name in enumerate(PARTS)})


def joint(body: Body, name: str) -> np.ndarray:
    """Rest position [3] of a joint [m]."""
    return body.joints[JOINT_NAMES.index(name)]


def take_faces(mesh: SkinnedMesh, faces: np.ndarray) -> tuple[SkinnedMesh, np.ndarray]:
    """The sub-mesh of a face index or boolean array, and the old index of each of its vertices."""
    kept = mesh.faces[faces]
    old, renumbered = np.unique(kept, return_inverse=True)
    return SkinnedMesh(vertices=np.ascontiguousarray(mesh.vertices[old]),
                       faces=renumbered.reshape(-1, 3).astype(np.int32),
                       skin_joints=np.ascontiguousarray(mesh.skin_joints[old]),
                       skin_weights=np.ascontiguousarray(mesh.skin_weights[old])), old
