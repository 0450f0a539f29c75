"""Avatars from their sources: the built-in person, characters in parts, skinned glTF, splats, body models.

Adding a kind: one file with a loader that returns an `Avatar`, one branch in `load_avatar`, one test file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from baker.avatar import Avatar
from baker.avatars.options import AvatarOptions
from baker.binding import Method
from runtime.errors import InputError

PARTS_COUNT = 40_000
"""Gaussians made of a mesh: 7 mm apart, 2.5 pixels at 480x832 from 3.2 m."""
SPLATS = (".ply", ".spz", ".sog", ".splat", ".ksplat")
MESHES = (".glb", ".gltf", ".vrm", ".fbx")


def load_avatar(source: str, *, parts: tuple[str, ...] = (), binding: Method = "diffused", count: int | None = None,
                seed: int = 0, texture_dir: Path | None = None, options: AvatarOptions | None = None) -> Avatar:
    """The avatar named by `source`: `builtin`, `builtin:SEED`, or a file: a SMPL-X-layout character in parts or a body
    model (`*.npz`), a skinned mesh (`*.glb`, `*.gltf`, `*.vrm`, `*.fbx`), or a person's splats.

    `parts` are the parts to wear (empty: an outfit that fits together, or all), `count` how many Gaussians to make of
    a mesh, `texture_dir` where a character's textures lie. Splats lie on `options.body_model` if it is given (LHM's),
    else on the built-in body, fitted to them. Raises `InputError` for anything else and for files that are not sound.
    """
    options = (options or AvatarOptions()).check()
    if count is not None and not 100 <= count <= 2_000_000:
        raise InputError(f"--gaussians {count}: must be between 100 and 2000000")
    name, _, person = source.partition(":")
    if name == "builtin":
        from baker.person import PersonConfig, make_person, random_person

        if parts:
            raise InputError("--parts chooses among a character file's parts; the built-in person has none")
        if person and not person.isdecimal():
            raise InputError(f"{source}: write builtin:SEED with a whole number, as builtin:7")
        config = random_person(int(person)) if person else PersonConfig(seed=seed)
        chosen = {} if count is None else {"gaussians": count}
        return make_person(replace(config, binding=binding, **chosen))
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        from baker.avatars.body_model import is_body_model

        if is_body_model(path):
            from baker.avatars.splats import plain_body

            return plain_body(path, options=options, count=count or PARTS_COUNT, seed=seed)
        from baker.avatars.parts import load_parts

        return load_parts(path, parts=parts, texture_dir=texture_dir, count=count or PARTS_COUNT,
                          binding=binding, seed=seed)
    if suffix in MESHES:
        from baker.avatars.gltf import load_gltf

        return load_gltf(path, options=options, parts=parts, count=count or PARTS_COUNT, seed=seed)
    if suffix in SPLATS or path.name == "meta.json" or (path / "meta.json").is_file():
        from baker.avatars.splats import load_on_body, load_scan

        if count is not None:
            raise InputError(f"--gaussians {count}: {path.name} holds its Gaussians already; leave it out")
        if options.body_model is not None:
            return load_on_body(path, options=options, binding=binding)
        return load_scan(path, options=options, binding=binding, seed=seed).avatar
    raise InputError(f"{source}: is not an avatar this version reads; give 'builtin', a character in parts or a body "
                     f"model (*.npz), a skinned mesh ({', '.join(MESHES)}) or splats ({', '.join(SPLATS)})")


def avatar_files(source: str, *, texture_dir: Path | None = None) -> list[Path]:
    """The files that an avatar is read from besides the one that `source` names (textures, buffers, a SOG's pictures),
    for fingerprints; a companion given by an option is not among them. Raises `InputError` for a damaged file."""
    path = Path(source)
    suffix = path.suffix.lower()
    if source.partition(":")[0] == "builtin":
        return []
    if suffix in MESHES and path.is_file():
        from baker.gltf_file import linked_files

        return linked_files(path)
    if suffix == ".npz" and path.is_file():
        from baker.avatars.body_model import is_body_model
        from baker.avatars.part_file import texture_files

        return [] if is_body_model(path) else texture_files(path, texture_dir=texture_dir)
    folder = path if (path / "meta.json").is_file() else path.parent
    if path.name == "meta.json" or folder is path:
        return sorted(other for other in folder.glob("*.webp") if other.is_file()) + (
            [folder / "meta.json"] if folder is path else [])
    return []
