"""One file per format: `write(bundle, path, options) -> Report`, and `read(path, …)` where the format allows. No torch.

`WRITERS` and `READERS` name the formats; each entry imports its module when it is called, so that a missing package
matters only to the format that needs it. Adding a format: one file, one loader here, one test file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from runtime.errors import InputError
from runtime.types import Bundle, GaussianSet


@dataclass(frozen=True)
class Report:
    """What a writer wrote, and what the format could not hold."""

    path: Path
    """The file or folder."""
    size_bytes: int
    """All of it."""
    frames: int
    """Frames or pictures written."""
    lost: tuple[str, ...] = ()
    """One line for each kind of thing dropped or rounded beyond sight."""
    opens_with: str = ""
    """Programs known to read it, and what they must be told."""


@dataclass(frozen=True)
class ExportOptions:
    """What of a bundle is exported, and how. A writer ignores what its format has no use for."""

    clip: int = 0
    """Which clip."""
    all_clips: bool = False
    """glTF: every clip, as an animation each."""
    time: int | float = 0.0
    """Single frames: seconds from the clip's first frame."""
    rest: bool = False
    """Single frames: the rest pose, without motion or residual."""
    frames: tuple[int, int] | None = None
    """Sequences and animations: frames a..b-1 of the clip at `fps`; None is all."""
    fps: int | float | None = None
    """Sequences and animations: sampling rate; None is the clip's own."""
    lod: int | None = None
    """Keep this many Gaussians, enlarged to cover the same area; None is all."""
    residual: bool = True
    """False: rigid skinning alone."""
    axes: str | None = None
    """Where x, y, z point (`export_formats.axes`), e.g. RUB; None is what the format's readers expect."""
    sh_degree: int = 0
    """PLY: degree of spherical harmonics written, 0 to 3. Bundles have degree 0: more is zeros for strict readers."""
    spz_version: int = 3
    """SPZ: 2, 3 or 4."""
    texture: str = "exr-half"
    """VAT: exr-half, exr-float or png."""


Writer = Callable[[Bundle, Path, ExportOptions], Report]
"""`write(bundle, path, options)` of a format: atomic; raises `InputError` and leaves nothing where it cannot.

`path` is the file, or the folder of a format that is several files."""


Reader = Callable[..., GaussianSet]
"""`read(path, *, axes=None)` of a format."""


def _module(module: str) -> Callable[[], Writer]:
    """Loader of the `write` of a format's module."""
    return lambda: import_module(f"export_formats.{module}").write


def _sequence(module: str) -> Callable[[], Writer]:
    """Loader of the writer of numbered files of a still format."""
    return lambda: import_module("export_formats.sequence").writer(module)


def _reader(module: str) -> Callable[[], Reader]:
    """Loader of the `read` of a format's module."""
    return lambda: import_module(f"export_formats.{module}").read


WRITERS: dict[str, Callable[[], Writer]] = {
    "ply": _module("ply"), "ply-sequence": _sequence("ply"),
    "compressed-ply": _module("compressed_ply"), "compressed-ply-sequence": _sequence("compressed_ply"),
    "spz": _module("spz"), "spz-sequence": _sequence("spz"),
    "sog": _module("sog"), "sog-sequence": _sequence("sog"),
    "splat": _module("splat"),
    "glb": _module("gltf"), "glb-still": lambda: import_module("export_formats.gltf").write_still,
    "usd": _module("usd"), "vat": _module("vat"), "gsd": _module("gsd"),
    "web": _module("web_export"), "unity": _module("unity_export"),
    "unreal": _module("unreal_export"),
}
"""Format name of `ani3d export --to` -> loader of its writer."""

READERS: dict[str, Callable[[], Reader]] = {
    "ply": _reader("ply"), "compressed-ply": _reader("compressed_ply"), "spz": _reader("spz"), "sog": _reader("sog"),
    "splat": _reader("splat"), "ksplat": _reader("ksplat"),
}
"""Format name -> loader of `read(path, *, axes=None) -> GaussianSet`."""


def write(bundle: Bundle, path: Path | str, *, to: str, options: ExportOptions | None = None) -> Report:
    """Write `bundle` in the format called `to`. Raises `InputError`, also for an unknown name."""
    if to not in WRITERS:
        raise InputError(f"export format {to!r}: choose {', '.join(WRITERS)}")
    return WRITERS[to]()(bundle, Path(path), ExportOptions() if options is None else options)


def read(path: Path | str, *, axes: str | None = None) -> GaussianSet:
    """Gaussians of a splat file in this project's convention (+Y up, facing +Z, metres); labels are all SKIN.

    The format is told by content, then by name. `axes` says where the file's x, y, z point when the file does not
    and its format's habit is wrong for it. Raises `InputError` naming the file.
    """
    path = Path(path)
    return READERS[format_of(path)]()(path, axes=axes)


def dropped(path: Path | str) -> tuple[str, ...]:
    """One line for each kind of thing in a readable splat file that `read` drops."""
    path = Path(path)
    degree = import_module(f"export_formats.{format_of(path).replace('-', '_')}").harmonics(path)
    return (f"spherical harmonics of degree {degree}: colour is the average over directions",) if degree else ()


def format_of(path: Path) -> str:
    """The name in `READERS` of a file's format, by its first bytes, else by its suffix."""
    if path.is_dir() and (path / "meta.json").is_file():
        return "sog"
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if start.startswith((b"ply\n", b"ply\r\n")):
        return "compressed-ply" if b"packed_position" in start else "ply"
    if start.startswith((b"NGSP", b"\x1f\x8b")):
        return "spz"
    if start.startswith(b"PK") or path.name == "meta.json":
        return "sog"
    if path.suffix.lower() in (".splat", ".ksplat"):
        return path.suffix.lower().removeprefix(".")
    raise InputError(f"{path}: is not a splat file this program knows ({', '.join(READERS)})")
