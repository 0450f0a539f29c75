"""A strict zip: the container of a bundle (BUNDLE.md). Named byte strings, nothing else.

The reader takes the subset of zip that the writer makes: no comments, extra fields, encryption, gaps, overlaps,
prefixes or trailing bytes. So a file has one reading, and what it may cost in memory is known before inflating.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from runtime.errors import InputError

MAX_ENTRIES = 1024
"""Entries of one archive."""
MAX_ENTRY_BYTES = 1 << 30
"""Inflated size of one entry."""
MAX_TOTAL_BYTES = 2 << 30
"""Size of the file, and inflated size of all entries."""
FREE_BYTES = 64 << 20
"""Inflated bytes any archive may have, however small the file is."""
MAX_RATIO = 100
"""Inflated bytes per byte of the file, beyond `FREE_BYTES`. Deflate itself can reach 1032."""
NAME = re.compile(r"[a-z0-9_]{1,40}(/[a-z0-9_]{1,40}){0,3}\.[a-z0-9]{1,8}")
"""Entry names: relative, lower case, `/` between folders."""

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
"""Signature, version, flags, method, time, date, crc, stored and inflated bytes, bytes of the name and of the extra."""
_ZIP_VERSION, _UNIX, _FIRST_OF_1980, _MEM_LEVEL = 20, 3, 33, 6
_END_RECORD = struct.Struct("<4s4H2LH")
_DEFECTS = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, NotImplementedError,
            RuntimeError, OverflowError, KeyError, IndexError)
"""What Python's zipfile raises on damaged input."""


def write_archive(path: Path, entries: dict[str, bytes]) -> dict[str, int]:
    """Write `entries` in their order, atomically; returns the stored bytes of each.

    Raises `InputError` for what `Archive` would refuse to read, and where `path` cannot be written.
    """
    content, stored = pack_archive(entries)
    _check_sizes(path, {name: len(entry) for name, entry in entries.items()}, file_bytes=len(content))
    write_atomically(path, content)
    return stored


def pack_archive(entries: dict[str, bytes]) -> tuple[bytes, dict[str, int]]:
    """The archive's bytes, whatever its size, and the stored bytes of each entry.

    Equal entries give equal bytes (with one version of zlib): timestamps and attributes are fixed, and an entry
    is deflated where that makes it smaller.
    """
    stored: dict[str, int] = {}
    body, directory = bytearray(), bytearray()
    for name, content in entries.items():
        assert NAME.fullmatch(name), name
        deflated = deflate(content)
        method, data = (8, deflated) if len(deflated) < len(content) else (0, content)
        common = struct.pack("<5H3L2H", _ZIP_VERSION, 0, method, 0, _FIRST_OF_1980, zlib.crc32(content), len(data),
                             len(content), len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", _ZIP_VERSION | _UNIX << 8) + common + struct.pack(
            "<3H2L", 0, 0, 0, 0o644 << 16, len(body)) + name.encode("ascii")
        body += b"PK\x03\x04" + common + name.encode("ascii") + data
        stored[name] = len(data)
    end = _END_RECORD.pack(b"PK\x05\x06", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    return bytes(body + directory) + end, stored


def deflate(content: bytes, level: int = 9) -> bytes:
    """Raw deflate, as small as zlib gets.

    A third of zlib's usual buffer (`memLevel` 6) starts a new Huffman table every 4 096 symbols, which follows what
    texels are, and without short matches (`Z_FILTERED`) they code better: f01's simulated skirt takes 5 % less than
    at the same level by default.
    """
    best = b""
    for strategy in (zlib.Z_FILTERED, zlib.Z_DEFAULT_STRATEGY):
        packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, _MEM_LEVEL, strategy)
        packed = packer.compress(content) + packer.flush()
        best = packed if not best or len(packed) < len(best) else best
    return best


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, or leave it as it was; raises `InputError` where it cannot be written."""
    check_name(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):  # moved, or its folder is none: the error above says it
            part.unlink()


def check_name(path: Path) -> None:
    """Raise `InputError` for a path that ends without a name, as `.` does: nothing can appear beside it."""
    if not path.name:
        raise InputError(f"{path}: is a folder; give the name of what to write, in it or elsewhere")


class Archive:
    """An opened archive whose structure has been checked; contents are checked (crc) as they are read.

    Every method raises `InputError` naming the file.
    """

    def __init__(self, path: Path) -> None:
        """Read the file and its directory."""
        self.path = path
        content = file_content(path)
        if not content.startswith(b"PK\x03\x04"):
            raise InputError(f"{path}: is not an ani3d bundle (a zip); give a file made by `ani3d bake`")
        try:
            infos = zipfile.ZipFile(io.BytesIO(content)).infolist()
            _check_structure(path, content, infos)
        except InputError:
            raise
        except _DEFECTS as error:
            raise InputError(f"{path}: is damaged ({_reason(error)}); copy it again") from None
        self._content = content
        self._entries = {info.filename: info for info in infos}

    @property
    def names(self) -> tuple[str, ...]:
        """Entry names in file order."""
        return tuple(self._entries)

    def size(self, name: str) -> int:
        """Inflated bytes of an entry."""
        return self._entries[name].file_size

    def stored_size(self, name: str) -> int:
        """Bytes of an entry in the file."""
        return self._entries[name].compress_size

    def read(self, name: str) -> bytes:
        """The content of an entry; at most one byte more than `size(name)` is inflated."""
        info = self._entries[name]
        start = info.header_offset + _LOCAL_HEADER.size + len(name)
        content = self._content[start:start + info.compress_size]
        if info.compress_type == zipfile.ZIP_DEFLATED:
            content = self._inflated(content, name)
        if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
            raise InputError(f"{self.path}/{name}: is damaged (its checksum is another); copy the file again")
        return content

    def _inflated(self, stored: bytes, name: str) -> bytes:
        """One whole deflate stream: what goes on after its end, or breaks off before, is damage that others see."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflater.decompress(stored, self.size(name) + 1)
        except zlib.error as error:
            raise InputError(f"{self.path}/{name}: is damaged ({_reason(error)}); copy the file again") from None
        if not inflater.eof or inflater.unused_data:
            raise InputError(f"{self.path}/{name}: is damaged (not as large as its header says); copy the file again")
        return content


def file_content(path: Path, *, most: int = MAX_TOTAL_BYTES) -> bytes:
    """All bytes of a file of at most `most`; raises `InputError` where it is none, or larger."""
    try:
        about = path.stat()
        # A device or a pipe has no size, and may have no end.
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{path}: cannot be read: it is a {'folder' if path.is_dir() else 'device'}, not a file")
        if about.st_size > most:
            raise InputError(f"{path}: {about.st_size} bytes, at most {most} are read")
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _check_structure(path: Path, content: bytes, infos: list[zipfile.ZipInfo]) -> None:
    """Raise unless entries fill the file from its first byte to its last, within the limits."""
    signature, *counts, directory_bytes, directory_start, comment = _END_RECORD.unpack(content[-_END_RECORD.size:])
    if signature != b"PK\x05\x06" or comment:
        raise InputError(f"{path}: is cut off, or has bytes after its end; copy it again")
    if counts != [0, 0, len(infos), len(infos)]:
        raise InputError(f"{path}: its end counts {counts[3]} entries, there are {len(infos)}")
    names = [info.filename for info in infos]
    if len(set(names)) != len(names):
        raise InputError(f"{path}: two entries have the same name")
    position = 0
    for info in infos:
        if not NAME.fullmatch(info.orig_filename):
            raise InputError(f"{path}: an entry's name is not allowed: {info.orig_filename[:80]!r}")
        if info.flag_bits or info.extra or info.comment or info.compress_type not in (0, 8):
            raise InputError(f"{path}/{info.filename}: uses a zip feature that bundles do not")
        if info.header_offset != position or not _same_local_header(content, position, info):
            raise InputError(f"{path}/{info.filename}: is not where the file's directory should have it")
        position += _LOCAL_HEADER.size + len(info.filename) + info.compress_size
    if position != directory_start or directory_start + directory_bytes + _END_RECORD.size != len(content):
        raise InputError(f"{path}: has bytes that belong to no entry")
    _check_sizes(path, {info.filename: info.file_size for info in infos}, file_bytes=len(content))


def _same_local_header(content: bytes, start: int, info: zipfile.ZipInfo) -> bool:
    """Whether the header before an entry's bytes says what the directory does, so that no reader finds other bytes."""
    signature, _, flags, method, _, _, *sizes = _LOCAL_HEADER.unpack_from(content, start)
    name = content[start + _LOCAL_HEADER.size:start + _LOCAL_HEADER.size + len(info.filename)]
    return (signature, flags, method, name) == (
        b"PK\x03\x04", 0, info.compress_type, info.filename.encode("ascii")) and sizes == [
        info.CRC, info.compress_size, info.file_size, len(info.filename), 0]


def _check_sizes(path: Path, sizes: dict[str, int], *, file_bytes: int) -> None:
    """Raise unless entries of these inflated sizes, in a file of `file_bytes`, are within the limits."""
    if len(sizes) > MAX_ENTRIES:
        raise InputError(f"{path}: {len(sizes)} entries, at most {MAX_ENTRIES} are read")
    for name, size in sizes.items():
        if size > MAX_ENTRY_BYTES:
            raise InputError(f"{path}/{name}: {size} bytes, at most {MAX_ENTRY_BYTES} are read")
    total = sum(sizes.values())
    if file_bytes > MAX_TOTAL_BYTES or total > min(MAX_TOTAL_BYTES, FREE_BYTES + MAX_RATIO * file_bytes):
        raise InputError(f"{path}: would inflate from {file_bytes} to {total} bytes; refused")


def _reason(error: Exception) -> str:
    """One line of another library's error."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
