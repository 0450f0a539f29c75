"""Reading a character in parts: an npz with `NAME_{v,w,f,vt,ft}` for each part, over one skeleton.

`NAME_v [V 3]` metres, `NAME_w [V J]` weights, `NAME_f [F 3]` triangles, `NAME_vt [U 2]`, `NAME_ft [F 3]` texture
coordinates; `parts [P 2]` maps a part to its texture's file name ('' for none); `joints [J 3]`, `parents [J]`,
`joint_names [J]`. Every defect is one `InputError`.
"""

from __future__ import annotations

import itertools
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from baker.avatar import SkinnedMesh
from baker.meshes import strongest
from baker.motion_files.npz import check_headers
from runtime.errors import InputError
from runtime.types import check_weights

INFLUENCES = 8
COLLIDER = "collider"
"""The unclothed torso and legs, without arms (hands would drag a skirt); not worn."""
MAX_BYTES = 1 << 30
"""A character file claims at most this much unpacked."""
MAX_ENTRIES = 20_000
"""A search for a texture looks at no more files than this."""


@dataclass(frozen=True)
class Part:
    """One part: a textured, skinned mesh."""

    name: str
    mesh: SkinnedMesh
    uvs: Float[np.ndarray, "U 2"]
    """Texture coordinates, v up."""
    uv_faces: Int[np.ndarray, "F 3"]
    """Rows of `uvs` for each face's corners."""
    texture: str
    """File name of its texture; empty if it has none."""


@dataclass(frozen=True)
class PartFile:
    """A character's skeleton, collider and parts."""

    path: Path
    joints: Float[np.ndarray, "J 3"]
    """Rest positions [m]; rest rotations are the identity (SMPL-X)."""
    parents: Int[np.ndarray, " J"]
    joint_names: tuple[str, ...]
    collider: SkinnedMesh
    parts: Mapping[str, Part]
    """Every part that can be worn, by name."""
    available: tuple[str, ...]
    """Their names, in the file's order."""
    licence: str


def read_part_file(path: Path, *, parts: tuple[str, ...]) -> PartFile:
    """Read and check the skeleton, the collider and all parts; `parts` must be among them.

    Raises `InputError` for a missing, truncated or foreign file, an unknown part, and arrays that are not sound.
    """
    arrays = _read_arrays(path)
    for key in ("parts", "joints", "parents", "joint_names"):
        if key not in arrays:
            raise InputError(f"{path}: has no array '{key}', so it is not a character in parts; see `ani3d bake "
                             "--help` for the layout")
    listed = arrays["parts"]
    if listed.ndim != 2 or listed.shape[1] != 2 or listed.dtype.kind != "U":
        raise InputError(f"{path}: 'parts' must be a [P 2] array of strings, part and texture file")
    textures = {str(name): str(texture) for name, texture in listed}
    available = tuple(name for name in textures if name != COLLIDER)
    unknown = [name for name in parts if name not in available]
    if unknown:
        raise InputError(f"{path}: has no part '{unknown[0]}'; it has {', '.join(available)}")
    if COLLIDER not in textures:
        raise InputError(f"{path}: has no part '{COLLIDER}' (the unclothed torso and legs); add it")
    joints, parents, names = _skeleton(arrays, path)
    return PartFile(
        path=path, joints=joints, parents=parents, joint_names=names, available=available,
        collider=_part(arrays, COLLIDER, "", joints=len(names), path=path).mesh,
        parts={name: _part(arrays, name, textures[name], joints=len(names), path=path)
               for name in available},
        licence=str(arrays["license"]) if "license" in arrays else "")


def find_texture(name: str, *, part_file: Path, texture_dir: Path | None) -> Path:
    """The texture called `name` under `texture_dir`, or else beside the character file or its parent folder.

    Looks at `MAX_ENTRIES` files at most, nearest folders first. Raises `InputError` if it is not there.
    """
    if texture_dir is not None and not texture_dir.is_dir():
        raise InputError(f"{texture_dir}: is not a folder; --textures takes the folder that holds '{name}'")
    resolved = part_file.resolve()
    roots = [texture_dir] if texture_dir is not None else [resolved.parent, resolved.parent.parent]
    for root in roots:
        for path in itertools.islice(_files_below(root), MAX_ENTRIES):
            if path.name == name:
                return path
    where = texture_dir if texture_dir is not None else f"{resolved.parent} and beside it"
    raise InputError(f"{part_file}: its texture '{name}' was not found in {where}; name its folder by --textures DIR")


def texture_files(path: Path, *, texture_dir: Path | None) -> list[Path]:
    """The textures that a character file names, as far as they are there, for fingerprints."""
    listed = _read_arrays(path, only="parts").get("parts", np.zeros((0, 2), "U1"))
    names = sorted({str(row[1]) for row in listed if row[1]}) if listed.ndim == 2 and listed.shape[1] == 2 else []
    found = []
    for name in names:
        try:
            found.append(find_texture(name, part_file=path, texture_dir=texture_dir))
        except InputError:
            continue  # the reader says so, if it is worn
    return found


def _files_below(root: Path) -> Iterator[Path]:
    """Files of a folder tree, breadth first, in name order; links to folders are not followed."""
    level = [root]
    while level:
        below: list[Path] = []
        for folder in level:
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                continue
            yield from (Path(entry.path) for entry in entries if entry.is_file())
            below += [Path(entry.path) for entry in entries
                      if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")]
        level = below


def _read_arrays(path: Path, only: str | None = None) -> dict[str, np.ndarray]:
    """All arrays of the file, or one."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
            check_headers(archive)
        if claimed > MAX_BYTES:
            raise InputError(f"{path}: unpacks to {claimed >> 20} MiB, the limit is {MAX_BYTES >> 20} MiB")
        with np.load(path, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files if only in (None, key)}
        return {key: value for key, value in arrays.items() if isinstance(value, np.ndarray)}
    except InputError:
        raise
    except Exception as error:  # numpy's header parser raises nearly anything (tokenize, SyntaxError, MemoryError …)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: is not a complete npz file ({reason}); copy or download it again") from None


def _skeleton(arrays: Mapping[str, np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Joints [J 3] float64, parents [J], names."""
    joints, parents, names = (arrays[key] for key in ("joints", "parents", "joint_names"))
    count = len(names) if names.ndim == 1 else 0
    if (count == 0 or names.dtype.kind != "U" or joints.shape != (count, 3) or parents.shape != (count,)
            or joints.dtype.kind != "f" or parents.dtype.kind not in "iu"):
        raise InputError(f"{path}: joints {joints.shape}, parents {parents.shape}, joint_names {names.shape} do "
                         "not make a skeleton; expected [J 3], [J], [J]")
    if not np.isfinite(joints).all():
        raise InputError(f"{path}: 'joints' holds NaN or infinity")
    parents = parents.astype(np.int64)
    if parents[0] != -1 or any(not 0 <= parent < i for i, parent in enumerate(parents) if i):
        raise InputError(f"{path}: 'parents' must have one root, first, and parents before children")
    return joints.astype(np.float64), parents, tuple(str(name) for name in names)


def _part(arrays: Mapping[str, np.ndarray], name: str, texture: str, *, joints: int, path: Path) -> Part:
    for suffix in ("v", "w", "f", "vt", "ft"):
        if f"{name}_{suffix}" not in arrays:
            raise InputError(f"{path}: part '{name}' has no array '{name}_{suffix}'")
    v, w, f, vt, ft = (arrays[f"{name}_{suffix}"] for suffix in ("v", "w", "f", "vt", "ft"))
    rows = {"v": (v, 3, "f"), "w": (w, joints, "f"), "f": (f, 3, "iu"), "vt": (vt, 2, "f"), "ft": (ft, 3, "iu")}
    for suffix, (array, columns, kinds) in rows.items():
        if array.ndim != 2 or array.shape[1] != columns or array.dtype.kind not in kinds or not len(array):
            kind = "numbers" if kinds == "f" else "integers"
            raise InputError(f"{path}: {name}_{suffix} is {array.dtype} {array.shape}; expected rows of "
                             f"{columns} {kind}")
        if kinds == "f" and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise InputError(f"{path}: {name}_{suffix} row {row} is NaN or infinite; repair the file")
    if len(w) != len(v) or len(ft) != len(f):
        raise InputError(f"{path}: part '{name}' has {len(v)} vertices but {len(w)} rows of weights, {len(f)} faces "
                         f"but {len(ft)} of texture coordinates")
    for suffix, array, count in (("f", f, len(v)), ("ft", ft, len(vt))):
        if array.min() < 0 or array.max() >= count:
            row = int(np.argwhere((array < 0) | (array >= count))[0][0])
            raise InputError(f"{path}: {name}_{suffix} row {row} names a vertex outside 0..{count - 1}")
    every = np.broadcast_to(np.arange(joints), w.shape)
    check_weights(every, w, joints=joints, source=f"{path}: {name}_w")
    skin_joints, skin_weights = strongest(np.maximum(w.astype(np.float64), 0.0), influences=INFLUENCES)
    mesh = SkinnedMesh(vertices=v.astype(np.float32), faces=f.astype(np.int32), skin_joints=skin_joints,
                       skin_weights=skin_weights)
    return Part(name=name, mesh=mesh, uvs=vt.astype(np.float32), uv_faces=ft.astype(np.int32), texture=texture)
