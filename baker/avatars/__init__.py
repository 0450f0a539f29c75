"""Avatars from their sources: the built-in person, a character in parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from baker.avatar import Avatar
from baker.binding import Method
from runtime.errors import InputError

PARTS_COUNT = 40_000
"""Gaussians of a character in parts: 7 mm apart, 2.5 pixels at 480x832 from 3.2 m."""


def load_avatar(source: str, *, parts: tuple[str, ...] = (), binding: Method = "diffused", count: int | None = None,
                seed: int = 0, texture_dir: Path | None = None) -> Avatar:
    """The avatar named by `source`: `builtin`, `builtin:SEED`, or the path of a SMPL-X-layout character in parts
    (`*.npz`).

    `parts` are the parts to wear (empty: an outfit that fits together), `count` how many Gaussians to make,
    `texture_dir` where textures lie. Raises `InputError` for anything else and for files that are not sound.
    """
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
    if source.lower().endswith(".npz"):
        from baker.avatars.parts import load_parts

        return load_parts(Path(source), parts=parts, texture_dir=texture_dir, count=count or PARTS_COUNT,
                          binding=binding, seed=seed)
    raise InputError(f"{source}: is not an avatar this version reads; give 'builtin' or a character in parts (*.npz)")
