"""Motions from files of any kind: `read_motion(source)`.

Adding a kind: one file with a reader that returns a `SkeletonClip`, one entry in `KINDS`, one test file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from baker.motion_files.skeleton import SkeletonClip
from runtime.errors import InputError


def _bvh(path: Path, clip: str | None) -> SkeletonClip:
    from baker.motion_files.bvh import read_bvh

    return read_bvh(path)


def _amass(path: Path, clip: str | None) -> SkeletonClip:
    from baker.motion_files.amass import read_amass

    return read_amass(path)


def _amc(path: Path, clip: str | None) -> SkeletonClip:
    from baker.motion_files.asf_amc import read_amc

    return read_amc(path)


def _gltf(path: Path, clip: str | None) -> SkeletonClip:
    from baker.motion_files.gltf import read_gltf_clip

    return read_gltf_clip(path, clip)


def _lhm(path: Path, clip: str | None) -> SkeletonClip:
    from baker.motion_files.lhm import read_lhm

    return read_lhm(path)


KINDS: dict[str, Callable[[Path, str | None], SkeletonClip]] = {
    ".bvh": _bvh, ".npz": _amass, ".amc": _amc, ".glb": _gltf, ".gltf": _gltf, ".vrm": _gltf, ".fbx": _gltf}
"""Suffix to reader (path, clip name or None). A folder is LHM's."""


def split_source(source: str) -> tuple[Path, str | None]:
    """`FILE#CLIP` to its file and clip name; a file whose very name has a '#' is that file."""
    path = Path(source)
    if "#" in source and not _exists(path):
        file, _, clip = source.rpartition("#")
        return Path(file), clip
    return path, None


def is_motion_file(source: str) -> bool:
    """Whether `source` is meant as a file or folder rather than a procedural motion's name."""
    path, _ = split_source(source)
    return path.suffix.lower() in (*KINDS, ".asf", ".json") or _exists(path)


def read_motion(source: str) -> SkeletonClip:
    """The clip of a motion file, `FILE#CLIP` of a file with several, or a folder of LHM's frames.

    Raises `InputError` naming the file and what would work.
    """
    path, clip = split_source(source)
    if path.is_dir():
        return _lhm(path, clip)
    suffix = path.suffix.lower()
    if suffix == ".json":
        raise InputError(f"{path}: is one frame; give the folder of frames (00001.json, …)")
    if suffix == ".asf":
        raise InputError(f"{path}: is a skeleton; give the motion, an .amc file beside it")
    if suffix not in KINDS:
        raise InputError(f"{path}: is not a motion this program reads ({', '.join(KINDS)}, or a folder of LHM's JSON "
                         "frames)")
    if not _exists(path):
        raise InputError(f"{path}: no such file")
    return KINDS[suffix](path, clip)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
