"""`.splat` both ways, `.ksplat` in, and telling formats apart."""

import functools
import struct

import numpy as np
import pytest
from asymmetric_figure import assert_right_way_round, make_figure
from export_checks import OPACITY_8_BITS, Bounds, assert_within, refuse_poison, refused

import export_formats
from export_formats import ExportOptions, axes, ksplat, splat
from runtime.errors import InputError
from runtime.player import Player
from runtime.types import GaussianSet

FIGURE = make_figure()
TIME = 0.1
# Four components off by 1/256 each, so a chord of at most 1/128, and an angle of twice the chord.
SPLAT_BOUNDS = Bounds(log_scale=1e-6, angle=2.1 / 128, opacity=OPACITY_8_BITS, color=0.5 / 255 + 1e-6)


@functools.cache
def posed() -> GaussianSet:
    return Player(FIGURE).gaussians_at(TIME, loop=False)


def test_splat_is_within_its_bits(tmp_path):
    path = tmp_path / "a.splat"
    report = export_formats.write(FIGURE, path, to="splat", options=ExportOptions(time=TIME))
    back = export_formats.read(path)
    assert_within(back, posed(), SPLAT_BOUNDS, ordered=False)
    assert_right_way_round(back)
    assert report.size_bytes == 32 * FIGURE.gaussians.count
    visible = back.log_scales.sum(axis=1) + np.log(back.opacities)
    assert (np.diff(visible) < 0.01).all(), "most visible first"


def test_splat_layout():
    one = posed().take(np.array([7]))
    position, scale, rgba, quat = (np.frombuffer(splat.encode(one, ExportOptions())[a:b], kind) for a, b, kind in (
        (0, 12, "<f4"), (12, 24, "<f4"), (24, 28, "u1"), (28, 32, "u1")))
    np.testing.assert_array_equal(position, one.means[0])
    np.testing.assert_allclose(scale, np.exp(one.log_scales[0]), rtol=1e-6)
    np.testing.assert_array_equal(rgba, np.rint(255 * np.append(one.colors, one.opacities)))
    assert abs(abs((quat / 128 - 1) @ one.quats_wxyz[0]) - 1) < 0.01


def ksplat_of(gaussians: GaussianSet, *, mode: int, degree: int = 0, capacity: int = 64, spare: int = 3) -> bytes:
    """A `.ksplat` of two sections: full buckets and a partial one, written from the format's description."""
    halves = np.array_split(np.arange(gaussians.count), 2)
    harmonics = (0, 9, 24)[degree] * (4, 2, 1)[mode]
    sections, bodies = [], []
    for rows in halves:
        part, block, steps = gaussians.take(rows), np.float32(2.5), 32767
        full, rest = divmod(part.count, capacity)
        partial = 1 if rest else 0
        bucket = np.arange(part.count) // capacity
        centres = np.stack([part.means[bucket == b].mean(axis=0) for b in range(full + partial)]).astype("<f4")
        rgba = np.rint(255 * np.column_stack([part.colors, part.opacities])).clip(0, 255).astype("u1")
        if mode:
            position = np.rint((part.means - centres[bucket]) / (block / 2 / steps) + steps).astype("<u2")
        else:
            position = part.means.astype("<f4")
        real = "<f2" if mode else "<f4"
        columns = [position, np.exp(part.log_scales).astype(real), part.quats_wxyz.astype(real), rgba]
        table = np.hstack([np.ascontiguousarray(c).view("u1").reshape(part.count, -1) for c in columns]
                          + [np.zeros((part.count, harmonics), "u1")])
        room = np.zeros((spare, table.shape[1]), "u1")
        sizes = struct.pack("<I", rest) if partial else b""
        bodies.append(sizes + centres.tobytes() + table.tobytes() + room.tobytes())
        head = struct.pack("<IIIIfH2xI4xIIH", part.count, part.count + spare, capacity, full + partial, block, 12,
                           steps, full, partial, degree)
        sections.append(head.ljust(1024, b"\0"))
    main = struct.pack("<BB2xII4xIH14xff", 0, 1, 2, 2, gaussians.count, mode, -1.5, 1.5)
    return main.ljust(4096, b"\0") + b"".join(sections) + b"".join(bodies)


@pytest.mark.parametrize("mode, degree", [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0), (2, 1)])
def test_ksplat_is_read(tmp_path, mode, degree):
    path = tmp_path / "a.ksplat"
    path.write_bytes(ksplat_of(axes.from_ours(posed(), "RDF"), mode=mode, degree=degree))
    # 65535 steps over 2.5 m; half floats of 11 bits, of a quaternion's components and of a size's value.
    packed = Bounds(position=2.5 / 65534 / 2 + 1e-6, log_scale=2 ** -11, angle=4 * 2 ** -11, opacity=OPACITY_8_BITS,
                    color=0.5 / 255 + 1e-6)
    exact = Bounds(log_scale=1e-6, opacity=OPACITY_8_BITS, color=0.5 / 255 + 1e-6)
    assert_within(export_formats.read(path), posed(), packed if mode else exact)
    assert len(export_formats.dropped(path)) == (degree > 0)


def patched(offset: int, code: str, value: float, mode: int = 1) -> bytes:
    content = bytearray(ksplat_of(posed(), mode=mode))
    struct.pack_into(code, content, offset, value)
    return bytes(content)


@pytest.mark.parametrize("content, word", [
    (patched(0, "<B", 9), "version"), (patched(1, "<B", 0), "version"), (patched(20, "<H", 3), "compression"),
    (patched(4, "<I", 0), "sections"), (patched(4, "<I", 2 ** 32 - 1), "sections"), (patched(4, "<I", 4000), "cut off"),
    (patched(16, "<I", 0), "no Gaussians"), (patched(16, "<I", 2 ** 32 - 1), "at most"),
    (patched(16, "<I", 579), "hold"), (patched(4096, "<I", 2 ** 31), "contradicts"),
    (patched(4100, "<I", 2 ** 31), "cut off"), (patched(4104, "<I", 1), "fewer"),
    (patched(4108, "<I", 2 ** 31), "cut off"),
    (patched(4112, "<f", float("nan")), "contradicts"), (patched(4116, "<H", 0), "contradicts"),
    (patched(4128, "<I", 2 ** 31), "contradicts"), (patched(4132, "<I", 2 ** 31), "contradicts"),
    (patched(4136, "<H", 9), "contradicts"), (patched(0, "<B", 0)[:5000], "cut off"), (b"abc", "cut off"),
    (patched(0, "<B", 0)[:-100], "cut off"),
])
def test_lying_ksplat_is_refused(tmp_path, content, word):
    refused(tmp_path / "bad.ksplat", content, export_formats.read, word)


@pytest.mark.parametrize("mode", [0, 1])
def test_mutated_ksplat_never_fails_otherwise(tmp_path, mode):
    content = ksplat_of(posed(), mode=mode)
    refuse_poison(content, tmp_path / "bad.ksplat", ksplat.read, mutations=120, head=48)
    # Headers of sections, where the counts are.
    refuse_poison(content[:4096 + 2 * 1024], tmp_path / "bad.ksplat", ksplat.read, mutations=80, head=6000)


def test_lying_splat_is_refused(tmp_path):
    good = splat.encode(posed(), ExportOptions())
    refused(tmp_path / "bad.splat", good[:-1], export_formats.read, "cut off")
    refused(tmp_path / "bad.splat", b"", export_formats.read, "no Gaussians")
    rows = np.frombuffer(good, splat.ROW).copy()
    rows["quats"][3] = 128
    refused(tmp_path / "bad.splat", rows.tobytes(), export_formats.read, "rotation of Gaussian 3 is zero")
    rows = np.frombuffer(good, splat.ROW).copy()
    rows["scales"][3] = -1
    refused(tmp_path / "bad.splat", rows.tobytes(), export_formats.read, "negative")


def test_mutated_splat_never_fails_otherwise(tmp_path):
    refuse_poison(splat.encode(posed(), ExportOptions()), tmp_path / "bad.splat", export_formats.read, mutations=200)


def test_formats_are_told_by_content_not_by_name(tmp_path):
    for to in ("ply", "compressed-ply", "spz", "sog"):
        path = tmp_path / f"{to}.bin"
        export_formats.write(FIGURE, path, to=to)
        assert export_formats.format_of(path) == to and export_formats.dropped(path) == ()
        assert_right_way_round(export_formats.read(path))


def test_what_is_no_splat_file_is_refused(tmp_path):
    refused(tmp_path / "a.bin", b"\x89PNG\r\n", export_formats.read, "not a splat file")
    for path in (tmp_path / "none.ply", tmp_path):
        with pytest.raises(InputError, match=path.name):
            export_formats.read(path)
