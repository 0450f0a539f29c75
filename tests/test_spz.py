"""SPZ 2, 3 and 4: bounds from the bits, the axes record, old versions, poison."""

import functools
import gzip
import math
import struct

import numpy as np
import pytest
from asymmetric_figure import assert_right_way_round, make_figure
from export_checks import OPACITY_8_BITS, Bounds, assert_within, refuse_poison, refused

import export_formats
from export_formats import ExportOptions, axes, quaternion_packing, spz
from runtime.player import Player
from runtime.types import SH_C0

pytest.importorskip("zstandard", reason="install zstandard: pip install 'ani3d[formats]'")
FIGURE = make_figure()
TIME = 0.1
SQUARED_BYTE = 0.5 / 127.5
"""Largest error of a component in version 2."""
ANGLES = {
    # The left-out w follows from 1 - |xyz|^2, which is off by 2 |xyz| sqrt(3) e and the square: its root by more.
    2: 4 * math.asin(math.hypot(math.sqrt(3) * SQUARED_BYTE,
                                math.sqrt(2 * math.sqrt(3) * SQUARED_BYTE + 3 * SQUARED_BYTE ** 2)) / 2),
    3: quaternion_packing.angle_bound(quaternion_packing.REACH / 511 / 2),
    4: quaternion_packing.angle_bound(quaternion_packing.REACH / 511 / 2)}


def bounds(version: int) -> Bounds:
    return Bounds(position=0.5 / 4096 + 1e-7, log_scale=0.5 / 16 + 1e-6, angle=ANGLES[version],
                  opacity=OPACITY_8_BITS, color=0.5 / 255 / spz.COLOR_SCALE * SH_C0)


@functools.cache
def posed():
    return Player(FIGURE).gaussians_at(TIME, loop=False)


def good(version: int) -> bytes:
    return spz.encode(posed(), ExportOptions(spz_version=version))


@pytest.mark.parametrize("version", [2, 3, 4])
def test_spz_is_within_its_bits_and_keeps_the_order(tmp_path, version):
    path = tmp_path / "a.spz"
    report = export_formats.write(FIGURE, path, to="spz", options=ExportOptions(time=TIME, spz_version=version))
    back = export_formats.read(path)
    assert_within(back, posed(), bounds(version))
    assert_right_way_round(back)
    assert report.size_bytes < 20 * FIGURE.gaussians.count
    assert path.read_bytes() == good(version), "equal Gaussians, equal bytes"


def test_spz_versions_have_their_containers():
    for version, rotation in ((2, 3), (3, 4)):
        plain = gzip.decompress(good(version))
        assert struct.unpack_from("<4sIIBBBB", plain) == (b"NGSP", version, FIGURE.gaussians.count, 0, 12, 0, 0)
        assert len(plain) == 16 + FIGURE.gaussians.count * (9 + 1 + 3 + 3 + rotation)
    start = struct.unpack_from("<4sIIBBBBI12s", good(4))
    assert start == (b"NGSP", 4, FIGURE.gaussians.count, 0, 12, 0, 5, 32, bytes(12))


def test_spz_in_other_axes_needs_to_be_told(tmp_path):
    path = tmp_path / "a.spz"
    export_formats.write(FIGURE, path, to="spz", options=ExportOptions(time=TIME, axes="RDF"))
    assert_right_way_round(export_formats.read(path, axes="RDF"))
    with pytest.raises(AssertionError):
        assert_right_way_round(export_formats.read(path))


@pytest.mark.parametrize("value, letters", [(1, "LDB"), (6, "RDF"), (8, "RUF"), (12, "RFU")])
def test_axes_record_is_obeyed(tmp_path, value, letters):
    """In version 3 records follow the data and a flag says so; in version 4 they stand before the table."""
    turned = axes.from_ours(posed(), letters)
    record = struct.pack("<IIQ", 0xADBE0002, 8, 0) + struct.pack("<III", 0xADBE0003, 4, value)
    three = bytearray(gzip.decompress(spz.encode(turned, ExportOptions(spz_version=3))))
    three[14] |= 2
    (tmp_path / "3.spz").write_bytes(gzip.compress(bytes(three) + record))
    four = bytearray(spz.encode(turned, ExportOptions(spz_version=4)))
    four[14] |= 2
    four[16:20] = struct.pack("<I", 32 + len(record))
    (tmp_path / "4.spz").write_bytes(bytes(four[:32]) + record + bytes(four[32:]))
    for name in ("3.spz", "4.spz"):
        assert_within(export_formats.read(tmp_path / name), posed(), bounds(3))


def test_version_1_and_plain_streams_are_read(tmp_path):
    truth = posed()
    two = gzip.decompress(good(2))
    count = truth.count
    one = bytearray(two[:16]) + truth.means.astype("<f2").tobytes() + two[16 + 9 * count:]
    one[4] = 1
    (tmp_path / "1.spz").write_bytes(gzip.compress(bytes(one)))
    (tmp_path / "2.spz").write_bytes(two)
    # Half floats have 11 bits: 2^-11 of a coordinate under 2.
    np.testing.assert_allclose(export_formats.read(tmp_path / "1.spz").means, truth.means, atol=2 * 2 ** -11)
    assert_within(export_formats.read(tmp_path / "2.spz"), truth, bounds(2))


def test_harmonics_are_skipped(tmp_path):
    plain = bytearray(gzip.decompress(good(3)))
    plain[12] = 2
    (tmp_path / "a.spz").write_bytes(gzip.compress(bytes(plain) + bytes(24 * FIGURE.gaussians.count)))
    assert_within(export_formats.read(tmp_path / "a.spz"), posed(), bounds(3))


def patched(base: int, **fields) -> bytes:
    """A good file with header fields changed; versions below 4 are deflated again."""
    places = {"version": (4, "<I"), "count": (8, "<I"), "degree": (12, "<B"), "bits": (13, "<B"),
              "streams": (15, "<B"), "table": (16, "<I"), "stream_size": (40, "<Q"), "packed_size": (32, "<Q")}
    content = bytearray(good(base) if base == 4 else gzip.decompress(good(base)))
    for name, value in fields.items():
        struct.pack_into(places[name][1], content, places[name][0], value)
    return bytes(content) if base == 4 else gzip.compress(bytes(content))


@pytest.mark.parametrize("content, word", [
    (patched(3, count=581), "holds"), (patched(3, count=579), "holds more"), (patched(3, count=0), "no Gaussians"),
    (patched(3, count=4_000_000), "holds"), (patched(3, count=2 ** 32 - 1), "at most"),
    (patched(3, version=9), "version 9"), (patched(3, degree=7), "degree"), (patched(3, bits=200), "bits"),
    (patched(3, degree=3), "holds"), (good(3)[:200], "damaged|holds"), (gzip.compress(b"hello"), "SPZ"),
    (gzip.compress(bytes(1 << 24)), "SPZ"), (good(3)[:4], "SPZ"),
    (patched(4, count=581), "stream 0"), (patched(4, count=4_000_000), "stream 0"),
    (patched(4, streams=200), "streams"), (patched(4, table=2 ** 31), "table"), (patched(4, table=3), "table"),
    (patched(4, stream_size=2 ** 60), "stream 0"),
    (patched(4, packed_size=2 ** 60), "stream 0"), (patched(4, degree=3), "streams"), (good(4)[:100], "table|stream"),
    (good(4) + b"x", "after"), (good(4)[:20], "cut off"),
])
def test_lying_spz_is_refused(tmp_path, content, word):
    refused(tmp_path / "bad.spz", content, export_formats.read, word)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_mutated_spz_never_fails_otherwise(tmp_path, version):
    refuse_poison(good(version), tmp_path / "bad.spz", export_formats.read, mutations=240)
    if version < 4:
        plain = gzip.decompress(good(version))
        refuse_poison(plain, tmp_path / "bad.spz", export_formats.read, mutations=200, head=16)


def test_bomb_inflates_no_further_than_its_header(tmp_path):
    """64 MB of zeros in 64 KB, behind a header of few Gaussians."""
    content = gzip.compress(gzip.decompress(good(3))[:16] + bytes(64 << 20))
    refuse_poison(content, tmp_path / "bad.spz", export_formats.read, mutations=20, head=40, memory=8 << 20)
