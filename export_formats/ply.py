"""3D Gaussian splatting PLY, in the order of the first implementation (Kerbl et al., 2023), binary little-endian.

Values are stored before activation: log scales, opacity logits, un-normalised wxyz quaternions; colour is
0.5 + SH_C0 * f_dc. Readers that insist on a degree of spherical harmonics get zeros in f_rest.

The format states no axes. Scans from COLMAP are RDF, so that is what is written and assumed; a comment in our header
says so, and a reader of ours believes the comment. PlayCanvas takes PLY as LDB (`axes="LDB"`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export_formats import ExportOptions, Report
from export_formats.axes import check as check_axes
from export_formats.sampling import still
from export_formats.splats import check_count, content_of, to_gaussians
from runtime.archive import write_atomically
from runtime.errors import InputError
from runtime.types import Bundle, GaussianSet

AXES = "RDF"
"""Axes of most PLY files."""
LOST = ("the rig, the motion and the labels: one frame is written",)
OPENS_WITH = ("SuperSplat and PlayCanvas (--axes LDB; turn 180 degrees about z), Spark (turn about x), gsplat-unity, "
              "UnrealSplat, MLSLabs, Blender add-ons")
COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2")
TAIL = ("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")
"""f_rest_* stands between `COLUMNS` and `TAIL`."""
MAX_HEADER_BYTES = 1 << 16
_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
          "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
          "float32": "f4", "float64": "f8"}
_AXES_COMMENT = re.compile(r"axes ([A-Za-z]{3})")


@dataclass(frozen=True)
class PlyTable:
    """A PLY file's elements as structured arrays, and its comments."""

    elements: dict[str, np.ndarray]
    """Element name -> its rows, one field per property."""
    comments: tuple[str, ...]
    """Comment lines, without the word."""

    @property
    def axes(self) -> str | None:
        """Axes a comment of ours states."""
        for comment in self.comments:
            if (match := _AXES_COMMENT.fullmatch(comment)) is not None:
                return match.group(1)
        return None


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """One frame; see `encode`."""
    content = encode(still(bundle, options, axes=AXES), options)
    write_atomically(path, content)
    return Report(path=path, size_bytes=len(content), frames=1, lost=LOST, opens_with=OPENS_WITH)


def encode(gaussians: GaussianSet, options: ExportOptions) -> bytes:
    """The file of Gaussians that are in the written axes already. Exact, except that float64 becomes float32."""
    if not 0 <= options.sh_degree <= 3:
        raise InputError(f"a PLY has spherical harmonics of degree 0 to 3, not {options.sh_degree}")
    rest = 3 * ((options.sh_degree + 1) ** 2 - 1)
    names = (*COLUMNS, *(f"f_rest_{i}" for i in range(rest)), *TAIL)
    rows = np.zeros((gaussians.count, len(names)), "<f4")
    rows[:, 0:3], rows[:, 6:9] = gaussians.means, gaussians.sh0
    tail = len(COLUMNS) + rest
    rows[:, tail], rows[:, tail + 1:tail + 4] = gaussians.opacity_logits, gaussians.log_scales
    rows[:, tail + 4:] = gaussians.quats_wxyz
    header = ["ply", "format binary_little_endian 1.0", f"comment axes {check_axes(options.axes or AXES)}",
              f"element vertex {gaussians.count}", *(f"property float {name}" for name in names), "end_header\n"]
    return "\n".join(header).encode("ascii") + rows.tobytes()


def read(path: Path, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a PLY; spherical harmonics above degree 0 are dropped. Raises `InputError` naming the file."""
    return decode(content_of(path), str(path), axes=axes)


def decode(content: bytes, source: str, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a PLY's bytes."""
    table = parse(content, source)
    if "vertex" not in table.elements:
        raise InputError(f"{source}: has no element vertex")
    vertex = table.elements["vertex"]
    wanted = ("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", *TAIL)
    missing = [name for name in wanted if name not in (vertex.dtype.names or ())]
    if missing:
        raise InputError(f"{source}: has no property {missing[0]}; give a Gaussian splatting PLY")

    def columns(*names: str) -> np.ndarray:
        return np.stack([vertex[name].astype(np.float32) for name in names], axis=1)

    return to_gaussians(
        source, means=columns("x", "y", "z"), quats_wxyz=columns("rot_0", "rot_1", "rot_2", "rot_3"),
        log_scales=columns("scale_0", "scale_1", "scale_2"), opacity_logits=columns("opacity")[:, 0],
        sh0=columns("f_dc_0", "f_dc_1", "f_dc_2"), axes=axes or table.axes or AXES)


def harmonics(path: Path) -> int:
    """Degree of the spherical harmonics that `decode` drops: 0 where there are none, or nothing but zeros."""
    vertex = parse(content_of(path), str(path)).elements.get("vertex")
    if vertex is None:
        return 0
    names = [name for name in vertex.dtype.names or () if name.startswith("f_rest_")]
    return round(math.sqrt(len(names) / 3 + 1)) - 1 if any(vertex[name].any() for name in names) else 0


def parse(content: bytes, source: str) -> PlyTable:
    """The elements of a binary PLY, checked against the file's size before anything is allocated."""
    end = re.search(rb"\nend_header\r?\n", content[:MAX_HEADER_BYTES])
    if not content.startswith(b"ply") or end is None:
        raise InputError(f"{source}: is not a PLY file, or its header is cut off")
    lines = content[:end.start()].decode("ascii", "replace").splitlines()
    order, declared, comments = _header(lines, source)
    offset, elements = end.end(), {}
    for name, (count, properties) in declared.items():
        if not properties:
            raise InputError(f"{source}: element {name} has no properties")
        try:
            row = np.dtype([(field, order + code) for field, code in properties])
        except ValueError:
            raise InputError(f"{source}: element {name} repeats a property") from None
        if count * row.itemsize > len(content) - offset:
            raise InputError(f"{source}: is cut off: its header says {count} of {name}, {row.itemsize} bytes each, "
                             f"and {len(content) - offset} bytes are left")
        elements[name] = np.frombuffer(content, row, count=count, offset=offset)
        offset += count * row.itemsize
    if offset != len(content):
        raise InputError(f"{source}: has {len(content) - offset} bytes more than its header says")
    return PlyTable(elements=elements, comments=comments)


def _header(lines: list[str], source: str) -> tuple[str, dict[str, tuple[int, list[tuple[str, str]]]], tuple[str, ...]]:
    """Byte order, element -> (count, [(property, type)]), and comments."""
    order, comments = "", []
    declared: dict[str, tuple[int, list[tuple[str, str]]]] = {}
    for line in lines[1:]:
        words = line.split()
        match words:
            case ["format", "binary_little_endian", "1.0"]:
                order = "<"
            case ["format", "binary_big_endian", "1.0"]:
                order = ">"
            case ["comment" | "obj_info", *_]:
                comments.append(line.partition(" ")[2].strip())
            case ["element", name, number] if number.isdecimal() and len(number) <= 10 and name not in declared:
                # An element beside the Gaussians may be empty, and of any size that the file holds.
                declared[name] = (check_count(int(number), source) if name == "vertex" else int(number), [])
            case ["property", kind, name] if kind in _TYPES and declared:
                declared[list(declared)[-1]][1].append((name, _TYPES[kind]))
            case []:
                pass
            case _:
                raise InputError(f"{source}: this header line cannot be read: {line[:80]!r}; convert the file to "
                                 "binary PLY without lists")
    if not order:
        raise InputError(f"{source}: is not a binary PLY; convert it to binary_little_endian")
    return order, declared, tuple(comments)
