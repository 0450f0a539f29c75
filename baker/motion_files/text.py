"""Reading small text files from users, with limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime.errors import InputError

MAX_TEXT_BYTES = 512 << 20


def read_text(path: Path, *, what: str, limit: int = MAX_TEXT_BYTES) -> str:
    """A text file's content: UTF-8, or Latin-1 where it is not (joint names of old tools)."""
    data = read_bytes(path, what=what, limit=limit)
    if b"\0" in data[:4096]:
        raise InputError(f"{path}: is a binary file, not {what} text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_bytes(path: Path, *, what: str, limit: int = MAX_TEXT_BYTES) -> bytes:
    """A file's bytes, if it is a file of at most `limit` bytes."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        size = path.stat().st_size
        if size > limit:
            raise InputError(f"{path}: has {size >> 20} MiB, the limit for {what} is {limit >> 20} MiB")
        return path.read_bytes()
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:  # a NUL in the name
        raise InputError(f"{str(path)!r}: is not a path") from None


def read_json(path: Path, *, what: str, limit: int = 64 << 20) -> Any:
    """A JSON file's value."""
    return parse_json(read_bytes(path, what=what, limit=limit), str(path))


def parse_json(data: bytes, source: str) -> Any:
    """A JSON value; NaN and Infinity, which JSON has not, are refused where numbers are checked."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{source}: is not JSON ({reason}); copy or export it again") from None
