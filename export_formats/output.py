"""Files and folders that appear when they are complete, or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.archive import check_name
from runtime.errors import InputError


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A name beside `path`, with its suffix, to write to; it becomes `path` when the block ends without an error."""
    check_name(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        try:
            yield part
            os.replace(part, path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):  # moved, or its folder is none: the error above says it
            part.unlink()


@contextmanager
def new_folder(path: Path, *, owned: str) -> Iterator[Path]:
    """A folder beside `path` to write into; it becomes `path` when the block ends without an error.

    An existing folder is replaced only if every name in it fully matches the pattern `owned` (an earlier export);
    otherwise `InputError`, so that nobody's other files are lost.
    """
    check_name(path)
    _refuse_foreign(path, owned)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        try:
            part.mkdir()
            yield part
            _refuse_foreign(path, owned)
            if path.exists():
                os.rename(path, old)
            os.rename(part, path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if old.exists() and not path.exists():
            os.rename(old, path)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _refuse_foreign(path: Path, owned: str) -> None:
    """Raise unless `path` is free, an empty folder, or a folder of nothing but earlier exports."""
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"{path}: is a file; this format is a folder, give a folder's name")
    foreign = [name for name in sorted(os.listdir(path)) if not re.fullmatch(owned, name)]
    if foreign:
        raise InputError(f"{path}: holds {foreign[0]}, which is not of this export; choose a new folder")
