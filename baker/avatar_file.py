"""An avatar and its motion as npz files: what stage 010 keeps for the later stages."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from baker.avatar import Avatar, Garment, SkinnedMesh
from runtime.types import GaussianSet, Motion, Rig


def save_avatar(path: Path, avatar: Avatar) -> None:
    """Write all of an avatar, losslessly."""
    arrays = {f"gaussians.{f.name}": getattr(avatar.gaussians, f.name) for f in fields(GaussianSet)}
    arrays |= {f"rig.{f.name}": np.asarray(getattr(avatar.rig, f.name)) for f in fields(Rig)}
    arrays |= _mesh_arrays("body", avatar.body)
    for i, garment in enumerate(avatar.garments):
        arrays |= _mesh_arrays(f"garment{i}.mesh", garment.mesh)
        arrays |= {f"garment{i}.{f.name}": np.asarray(getattr(garment, f.name))
                   for f in fields(Garment) if f.name != "mesh"}
    np.savez(path, **arrays, name=np.array(avatar.name), licence=np.array(avatar.licence))


def load_saved_avatar(path: Path) -> Avatar:
    """Read what `save_avatar` wrote."""
    with np.load(path, allow_pickle=False) as data:
        arrays = dict(data)
    rig = {f.name: arrays[f"rig.{f.name}"] for f in fields(Rig)}
    rig["joint_names"] = tuple(str(name) for name in rig["joint_names"])
    garments = []
    while f"garment{len(garments)}.name" in arrays:
        prefix = f"garment{len(garments)}"
        rest = {f.name: arrays[f"{prefix}.{f.name}"] for f in fields(Garment)
                if f.name not in ("mesh", "name", "meets_arms")}
        garments.append(Garment(name=str(arrays[f"{prefix}.name"]), mesh=_mesh(arrays, f"{prefix}.mesh"), **rest,
                                meets_arms=bool(arrays.get(f"{prefix}.meets_arms", False))))
    return Avatar(
        name=str(arrays["name"]), licence=str(arrays["licence"]), rig=Rig(**rig), body=_mesh(arrays, "body"),
        gaussians=GaussianSet(**{f.name: arrays[f"gaussians.{f.name}"] for f in fields(GaussianSet)}),
        garments=tuple(garments))


def save_gaussians(path: Path, gaussians: GaussianSet, rig: Rig) -> None:
    """Write Gaussians with their binding."""
    np.savez(path, **{f.name: getattr(gaussians, f.name) for f in fields(GaussianSet)},
             skin_joints=rig.skin_joints, skin_weights=rig.skin_weights)


def load_gaussians(path: Path, rig: Rig) -> tuple[GaussianSet, Rig]:
    """Read what `save_gaussians` wrote; the skeleton is that of `rig`."""
    with np.load(path, allow_pickle=False) as data:
        arrays = dict(data)
    binding = {name: arrays.pop(name) for name in ("skin_joints", "skin_weights")}
    return GaussianSet(**arrays), replace(rig, **binding)


def save_motion(path: Path, motion: Motion) -> None:
    """Write a motion."""
    np.savez(path, **{f.name: np.asarray(getattr(motion, f.name)) for f in fields(Motion)})


def load_saved_motion(path: Path) -> Motion:
    """Read what `save_motion` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return Motion(fps=float(data["fps"]), root_translations=data["root_translations"],
                      quats_wxyz=data["quats_wxyz"], joint_names=tuple(str(n) for n in data["joint_names"]))


def _mesh_arrays(prefix: str, mesh: SkinnedMesh) -> dict[str, np.ndarray]:
    return {f"{prefix}.{f.name}": getattr(mesh, f.name) for f in fields(SkinnedMesh)}


def _mesh(arrays: dict[str, np.ndarray], prefix: str) -> SkinnedMesh:
    return SkinnedMesh(**{f.name: arrays[f"{prefix}.{f.name}"] for f in fields(SkinnedMesh)})
