"""The bundle file `NAME.ani3d`: writing and reading. BUNDLE.md is the specification. Needs numpy only."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from runtime import bundle_blocks as blocks
from runtime.archive import Archive, write_archive
from runtime.errors import InputError
from runtime.lod import lod_order, reorder
from runtime.types import GROUPS, Bundle, Clip, Manifest, Motion, OffsetTexture, Residual, Rig

__all__ = ["MANIFEST", "VERSION", "lod_order", "open_bundle", "read_bundle", "reorder", "write_bundle"]

VERSION = 1
"""The version this module writes, and the only one it reads."""
MAX_MANIFEST_BYTES = 1 << 20
MAX_NAME = 200
"""Characters of a name or licence."""
MAX_CLIPS = 64
MANIFEST = "manifest.json"

_KEYS = {"format", "version", "name", "generator", "source_licence", "distillation", "joint_names", "clips",
         "blocks"}


def write_bundle(bundle: Bundle, path: Path | str) -> dict[str, int]:
    """Write `bundle` to `path`, atomically; returns the bytes each block takes in the file.

    Equal bundles give equal bytes. Rows are written in the order given: `lod.reorder` comes before. Values are
    rounded as BUNDLE.md states. Raises `InputError` for a bundle that `read_bundle` would refuse.
    """
    path = Path(path)
    arrays = blocks.encode_figure(bundle.gaussians.check(str(path)), bundle.rig)
    for index, clip in enumerate(bundle.clips):
        arrays |= blocks.encode_clip(clip, prefix=f"clip{index}")
    if bundle.pose_residual is not None:
        arrays |= blocks.encode_pose_residual(bundle.pose_residual)
    entries = {f"{name}.{blocks.code_of(array)}": array.tobytes() for name, array in arrays.items()}
    manifest = {
        "format": "ani3d", "version": VERSION,
        "name": bundle.manifest.name, "generator": bundle.manifest.generator,
        "source_licence": bundle.manifest.source_licence,
        # JSON has no infinity: null stands for it (the PSNR of a residual that lost nothing).
        "distillation": {key: value if math.isfinite(value) else None
                         for key, value in sorted(bundle.manifest.distillation.items())},
        "joint_names": list(bundle.rig.joint_names),
        "clips": [{"name": clip.name, "fps": float(clip.motion.fps)} for clip in bundle.clips],
        "blocks": {name: {"dtype": blocks.code_of(array), "shape": list(array.shape),
                          "file": f"{name}.{blocks.code_of(array)}"} for name, array in arrays.items()},
    }
    # The reader's own checks, before anything is written: what is written can be read.
    _assemble(str(path), _Manifest(manifest, source=str(path)), arrays)
    text = json.dumps(manifest, indent=1, ensure_ascii=True, allow_nan=False).encode("ascii")
    stored = write_archive(path, {MANIFEST: text, **entries})
    file_of = {f"{name}.{blocks.code_of(array)}": name for name, array in arrays.items()} | {MANIFEST: MANIFEST}
    return {file_of[file]: size for file, size in stored.items()}


def read_bundle(path: Path | str) -> Bundle:
    """Read a bundle; raises `InputError` naming the file and what is wrong with it, and nothing else."""
    path = Path(path)
    manifest, archive = open_bundle(path)
    arrays = {}
    for name, entry in manifest.blocks.items():
        content = np.frombuffer(archive.read(entry.file), blocks.DTYPES[entry.dtype])
        arrays[name] = content.reshape(entry.shape)
    return _assemble(str(path), manifest, arrays)


def open_bundle(path: Path | str) -> tuple[_Manifest, Archive]:
    """The checked manifest and the archive, no blocks read: what `inspect` needs."""
    path = Path(path)
    archive = Archive(path)
    if MANIFEST not in archive.names:
        raise InputError(f"{path}: holds no {MANIFEST}; give a file made by `ani3d bake`")
    if archive.size(MANIFEST) > MAX_MANIFEST_BYTES:
        raise InputError(f"{path}/{MANIFEST}: larger than {MAX_MANIFEST_BYTES} bytes")
    manifest = _Manifest(_parse(archive.read(MANIFEST), f"{path}/{MANIFEST}"), source=f"{path}/{MANIFEST}")
    listed = {entry.file: entry for entry in manifest.blocks.values()}
    if len(listed) != len(manifest.blocks) or set(listed) | {MANIFEST} != set(archive.names):
        raise InputError(f"{path}: the blocks its manifest names are not the entries it has")
    for file, entry in listed.items():
        if archive.size(file) != entry.size_bytes:
            raise InputError(f"{path}/{file}: {archive.size(file)} bytes, the manifest says {entry.size_bytes}")
    return manifest, archive


def _parse(content: bytes, source: str) -> dict[str, Any]:
    """A JSON object, strictly: no repeated keys, no NaN."""
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key is repeated")
        return dict(pairs)

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is not a number")

    try:
        value = json.loads(content, object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: is not JSON: {str(error)[:120]}") from None
    if not isinstance(value, dict):
        raise InputError(f"{source}: is not a JSON object")
    return value


class _Block:
    """One block's line in the manifest, checked."""

    def __init__(self, value: Any, *, name: str, source: str) -> None:
        if not isinstance(value, dict) or set(value) != {"dtype", "shape", "file"}:
            raise InputError(f"{source}: block {name!r} must have dtype, shape and file")
        self.dtype, self.shape, self.file = value["dtype"], value["shape"], value["file"]
        if not isinstance(self.dtype, str) or self.dtype not in blocks.DTYPES:
            raise InputError(f"{source}: block {name!r} has unknown dtype {str(self.dtype)[:20]!r}")
        if (not isinstance(self.shape, list) or not 1 <= len(self.shape) <= 3
                or not all(type(n) is int and 0 <= n <= 2 ** 31 for n in self.shape)):
            raise InputError(f"{source}: block {name!r} has an unusable shape")
        if self.file != f"{name}.{self.dtype}":
            raise InputError(f"{source}: block {name!r} must be in {name}.{self.dtype}")
        self.size_bytes = math.prod(self.shape) * blocks.DTYPES[self.dtype].itemsize


class _Manifest:
    """manifest.json, checked."""

    def __init__(self, value: dict[str, Any], *, source: str) -> None:
        self.source = source
        if value.get("format") != "ani3d":
            raise InputError(f"{source}: is not an ani3d manifest; give a file made by `ani3d bake`")
        if value.get("version") != VERSION or type(value.get("version")) is not int:
            raise InputError(f"{source}: version {str(value.get('version'))[:20]}, this reader knows {VERSION}; "
                             "update ani3d")
        if set(value) != _KEYS:
            raise InputError(f"{source}: must have exactly the keys {', '.join(sorted(_KEYS))}")
        self.manifest = Manifest(
            name=self._text(value["name"], "name"), generator=self._text(value["generator"], "generator"),
            source_licence=self._text(value["source_licence"], "source_licence"),
            distillation=self._numbers(value["distillation"]))
        joints = value["joint_names"]
        if not isinstance(joints, list) or not 1 <= len(joints) <= blocks.LIMITS["J"]:
            raise InputError(f"{source}: joint_names must be 1 to {blocks.LIMITS['J']} names")
        self.joint_names = tuple(self._text(name, "joint_names") for name in joints)
        clips = value["clips"]
        if not isinstance(clips, list) or not 1 <= len(clips) <= MAX_CLIPS:
            raise InputError(f"{source}: clips must be a list of 1 to {MAX_CLIPS}")
        self.clips = tuple(self._clip(clip) for clip in clips)
        if not isinstance(value["blocks"], dict):
            raise InputError(f"{source}: blocks must be an object")
        self.blocks = {name: _Block(entry, name=name, source=source) for name, entry in value["blocks"].items()}

    def _text(self, value: Any, key: str) -> str:
        """A printable string of at most `MAX_NAME` characters."""
        if not isinstance(value, str) or len(value) > MAX_NAME or not value.isprintable():
            raise InputError(f"{self.source}: {key} must be printable text of at most {MAX_NAME} characters")
        return value

    def _numbers(self, value: Any) -> dict[str, float]:
        """The distillation's measurements; null is infinity."""
        if not isinstance(value, dict) or len(value) > 64:
            raise InputError(f"{self.source}: distillation must be an object of numbers")
        for key, number in value.items():
            if not re.fullmatch(r"[a-z0-9_]{1,80}", key) or not (number is None or _is_number(number)):
                raise InputError(f"{self.source}: distillation must hold names in snake_case and numbers")
        return {key: math.inf if number is None else float(number) for key, number in value.items()}

    def _clip(self, value: Any) -> tuple[str, float]:
        """A clip's name and frame rate."""
        if not isinstance(value, dict) or set(value) != {"name", "fps"} or not _is_number(value["fps"]):
            raise InputError(f"{self.source}: a clip must have a name and a number fps")
        return self._text(value["name"], "clip name"), float(value["fps"])


def _is_number(value: Any) -> bool:
    """An int or float that fits a finite float."""
    return type(value) in (int, float) and abs(value) <= 1.7e308


def _assemble(source: str, manifest: _Manifest, arrays: dict[str, np.ndarray]) -> Bundle:
    """The bundle of checked, decoded blocks."""
    dims = blocks.check_shapes(arrays, joints=len(manifest.joint_names), clips=len(manifest.clips), source=source)
    gaussians = blocks.decode_gaussians(arrays, source=source)
    skin_joints, skin_weights = blocks.decode_skin(arrays, source=source)
    rig = Rig(joint_names=manifest.joint_names, parents=arrays["rig/parents"].astype(np.int32),
              T_world_joint_rest=arrays["rig/rest"].astype(np.float64),
              skin_joints=skin_joints, skin_weights=skin_weights).check(source, gaussians=dims["N"])
    blocks.check_rest(rig.T_world_joint_rest, source=source)
    clips = []
    for index, (name, fps) in enumerate(manifest.clips):
        prefix = f"clip{index}"
        motion = Motion(fps=fps, joint_names=manifest.joint_names,
                        root_translations=arrays[f"{prefix}/root_translations"].astype(np.float32),
                        quats_wxyz=arrays[f"{prefix}/quats"].astype(np.float32))
        blocks.check_motion(motion.check(f"{source}: clip {name!r}", rig=rig), source=f"{source}: clip {name!r}")
        clips.append(Clip(name=name, motion=motion, residual=_residual(arrays, prefix, dims["N"], source)))
    driven = blocks.decode_pose_residual(arrays, tuple(clips), joints=rig.joint_count, source=source)
    return Bundle(gaussians=gaussians, rig=rig, clips=tuple(clips), manifest=manifest.manifest, pose_residual=driven)


def _residual(arrays: dict[str, np.ndarray], prefix: str, count: int, source: str) -> Residual:
    """One clip's residual over `count` Gaussians."""
    moving = arrays[f"{prefix}/moving"].astype(np.int64)
    if len(moving) and (moving[-1] >= count or (np.diff(moving) <= 0).any()):
        raise InputError(f"{source}: {prefix}/moving must be ascending rows below {count}")
    groups: dict[str, OffsetTexture] = {}
    for group in GROUPS:
        groups[group] = blocks.decode_texture(arrays, f"{prefix}/{group}", source=source)
    return Residual(moving=moving, **groups)
