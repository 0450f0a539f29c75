"""PLY, plain and compressed: INRIA's order, exact values, bounds from the bits, poison."""

import functools

import numpy as np
import pytest
from asymmetric_figure import assert_right_way_round, make_figure
from export_checks import OPACITY_8_BITS, Bounds, assert_within, refuse_poison, refused

import export_formats
from export_formats import ExportOptions, axes, compressed_ply, ply, quaternion_packing
from runtime.errors import InputError
from runtime.lod import level_of_detail
from runtime.player import Player

FIGURE = make_figure()
TIME = 0.1


@functools.cache
def posed():
    return Player(FIGURE).gaussians_at(TIME, loop=False)


def compressed_bounds(truth) -> Bounds:
    """From 11, 10, 11 bits over at most the whole figure's extent."""
    reach = np.ptp(truth.means, axis=0) / 2 / (2047, 1023, 2047)
    return Bounds(position=reach + 1e-6, log_scale=float(np.ptp(truth.log_scales, axis=0).max()) / 2 / 1023 + 1e-5,
                  angle=quaternion_packing.angle_bound(quaternion_packing.REACH / 1023), opacity=OPACITY_8_BITS,
                  color=float(np.ptp(truth.colors, axis=0).max()) / 2 / 255 + 1e-5)


@pytest.mark.parametrize("degree, properties", [(0, 17), (1, 26), (2, 41), (3, 62)])
def test_ply_has_the_first_implementations_layout(tmp_path, degree, properties):
    path = tmp_path / "a.ply"
    report = export_formats.write(FIGURE, path, to="ply", options=ExportOptions(time=TIME, sh_degree=degree))
    content = path.read_bytes()
    header = content[:content.index(b"end_header\n")].decode().splitlines()
    assert header[:2] == ["ply", "format binary_little_endian 1.0"]
    assert f"element vertex {FIGURE.gaussians.count}" in header
    names = [line.split()[2] for line in header if line.startswith("property float ")]
    rest = [f"f_rest_{i}" for i in range(properties - 17)]
    assert names == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest, "opacity",
                     "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    rows = np.frombuffer(content[content.index(b"end_header\n") + 11:], "<f4").reshape(-1, properties)
    # Values before activation, in RDF: y and z change sign.
    truth = posed()
    np.testing.assert_array_equal(rows[:, :3], truth.means * (1, -1, -1))
    np.testing.assert_array_equal(rows[:, 6:9], truth.sh0)
    np.testing.assert_array_equal(rows[:, properties - 7:properties - 4], truth.log_scales)
    np.testing.assert_array_equal(rows[:, properties - 8], truth.opacity_logits)
    assert not rows[:, 9:properties - 8].any() and not rows[:, 3:6].any()
    assert report.size_bytes == path.stat().st_size and "motion" in report.lost[0]


@pytest.mark.parametrize("letters", [None, "RUB", "LDB", "RUF", "BRU"])
def test_ply_reads_back_exactly_in_any_axes(tmp_path, letters):
    path = tmp_path / "a.ply"
    export_formats.write(FIGURE, path, to="ply", options=ExportOptions(time=TIME, axes=letters))
    back = export_formats.read(path)
    assert_within(back, posed(), Bounds())
    assert_right_way_round(back)


def test_ply_without_our_comment_is_rdf_unless_told(tmp_path):
    path = tmp_path / "a.ply"
    options = ExportOptions(time=TIME, axes="LDB")
    path.write_bytes(ply.encode(axes.from_ours(posed(), "LDB"), options).replace(b"comment axes LDB\n", b""))
    assert_right_way_round(export_formats.read(path, axes="LDB"))
    with pytest.raises(AssertionError):
        assert_right_way_round(export_formats.read(path))


def test_ply_of_other_types_and_elements_is_read(tmp_path):
    """Doubles, big-endian, unknown properties and elements beside the Gaussians, infinite opacity, flat scale."""
    rows = np.zeros(2, [(n, ">f8") for n in (*ply.COLUMNS, "extra", *ply.TAIL)])
    rows["rot_0"], rows["opacity"], rows["scale_2"] = 2.0, (np.inf, -np.inf), -np.inf
    header = ["ply", "format binary_big_endian 1.0", "obj_info x", "element camera 1", "property uchar id",
              "element vertex 2", *(f"property double {n}" for n in rows.dtype.names), "end_header\r\n"]
    path = tmp_path / "a.ply"
    path.write_bytes("\n".join(header).encode() + b"\x07" + rows.tobytes())
    back = export_formats.read(path)
    np.testing.assert_allclose(back.quats_wxyz @ back.quats_wxyz.T, 1, atol=1e-6)
    assert back.opacities[0] > 0.999999 and back.opacities[1] < 1e-6 and (back.log_scales[:, 2] == -30).all()


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_dropped_harmonics_are_reported_unless_zero(tmp_path, degree):
    path = tmp_path / "a.ply"
    content = ply.encode(posed(), ExportOptions(sh_degree=degree))
    path.write_bytes(content)
    assert export_formats.dropped(path) == ()
    rows = ply.parse(content, "a").elements["vertex"].copy()
    rows["f_rest_4"][9] = 0.5
    path.write_bytes(content[:content.index(b"end_header\n") + 11] + rows.tobytes())
    assert f"degree {degree}" in export_formats.dropped(path)[0]
    assert_within(export_formats.read(path, axes="RUB"), posed(), Bounds())


def test_rest_pose_and_level_of_detail(tmp_path):
    path = tmp_path / "a.ply"
    export_formats.write(FIGURE, path, to="ply", options=ExportOptions(rest=True, lod=100))
    back = export_formats.read(path)
    np.testing.assert_array_equal(back.means, level_of_detail(FIGURE, 100).gaussians.means)


def test_compressed_ply_is_within_its_bits(tmp_path):
    path = tmp_path / "a.compressed.ply"
    report = export_formats.write(FIGURE, path, to="compressed-ply", options=ExportOptions(time=TIME))
    assert_within(export_formats.read(path), posed(), compressed_bounds(posed()), ordered=False)
    assert_right_way_round(export_formats.read(path))
    assert report.size_bytes < 17 * FIGURE.gaussians.count + 2000


def test_compressed_ply_of_equal_values_and_without_color_bounds(tmp_path):
    """A chunk without extent, and the older layout of 12 bounds."""
    one = posed().take(np.zeros(300, int))
    content = compressed_ply.encode(one, ExportOptions(axes="RUB"))
    assert_within(compressed_ply.decode(content, "a"), one, Bounds(
        angle=quaternion_packing.angle_bound(quaternion_packing.REACH / 1023), opacity=OPACITY_8_BITS))
    header, body = content.split(b"end_header\n", 1)
    for name in ("min_r", "min_g", "min_b", "max_r", "max_g", "max_b"):
        header = header.replace(f"property float {name}\n".encode(), b"")
    chunks = np.frombuffer(body[:2 * 72], "<f4").reshape(2, 18)[:, :12]
    words = np.frombuffer(body[2 * 72:], "<u4").reshape(-1, 4).copy()
    words[:, 3] = 0x80402010
    old = compressed_ply.decode(header + b"end_header\n" + chunks.tobytes() + words.tobytes(), "a")
    np.testing.assert_allclose(old.colors, np.tile([128 / 255, 64 / 255, 32 / 255], (300, 1)), atol=1e-6)


GOOD = ply.encode(posed(), ExportOptions())


@pytest.mark.parametrize("change, word", [
    (lambda c: c[:len(c) // 2], "cut off"), (lambda c: c + b"x", "more than"), (lambda c: b"ply\n", "header"),
    (lambda c: c.replace(b"vertex 580", b"vertex 581"), "cut off"),
    (lambda c: c.replace(b"vertex 580", b"vertex 4000000"), "cut off"),
    (lambda c: c.replace(b"vertex 580", b"vertex 9999999999"), "at most"),
    (lambda c: c.replace(b"vertex 580", b"vertex 99999999999"), "header line"),
    (lambda c: c.replace(b"vertex 580", b"vertex 0"), "no Gaussians"),
    (lambda c: c.replace(b"vertex 580", b"vertex -5"), "header line"),
    (lambda c: c.replace(b"vertex 580", b"nothing 580"), "vertex"),
    (lambda c: c.replace(b"float rot_3", b"float rot_9"), "rot_3"),
    (lambda c: c.replace(b"float rot_3", b"float rot_2"), "repeats"),
    (lambda c: c.replace(b"property float x", b"property list uchar int x"), "header line"),
    (lambda c: c.replace(b"element vertex", b"element camera 99\nelement vertex"), "no properties"),
    (lambda c: b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nend_header\n", "no properties"),
    (lambda c: b"ply\nelement vertex 9\nproperty float x\nend_header\n" + bytes(36), "not a binary PLY"),
    (lambda c: c.replace(b"binary_little_endian", b"ascii"), "header line"),
    (lambda c: c.replace(b"comment axes RDF", b"comment axes ZZZ"), "axes"),
])
def test_lying_ply_is_refused(tmp_path, change, word):
    refused(tmp_path / "bad.ply", change(GOOD), export_formats.read, word)


@pytest.mark.parametrize("column, value, word", [
    ("x", np.nan, "position"), ("y", np.inf, "position"), ("z", 1e30, "position"), ("rot_0", np.nan, "rotation"),
    ("scale_1", np.nan, "scale"), ("scale_1", np.inf, "scale"), ("opacity", np.nan, "opacity"),
    ("f_dc_2", np.nan, "colour")])
def test_poisoned_rows_are_refused_by_name(tmp_path, column, value, word):
    rows = ply.parse(GOOD, "a").elements["vertex"].copy()
    rows[column][17] = value
    header = GOOD[:GOOD.index(b"end_header\n") + 11]
    refused(tmp_path / "bad.ply", header + rows.tobytes(), export_formats.read, rf"{word}.*17|17.*{word}")


def test_zero_quaternion_is_refused(tmp_path):
    rows = ply.parse(GOOD, "a").elements["vertex"].copy()
    for name in ("rot_0", "rot_1", "rot_2", "rot_3"):
        rows[name][5] = 0
    refused(tmp_path / "bad.ply", GOOD[:GOOD.index(b"end_header\n") + 11] + rows.tobytes(), export_formats.read,
            "rotation of Gaussian 5 is zero")


@pytest.mark.parametrize("module", [ply, compressed_ply])
def test_mutated_ply_never_fails_otherwise(tmp_path, module):
    content = module.encode(posed(), ExportOptions())
    refuse_poison(content, tmp_path / "bad.ply", export_formats.read, mutations=300, head=content.index(b"end_header"))


def test_bad_options_leave_nothing(tmp_path):
    for options in (ExportOptions(time=99.0), ExportOptions(time=-1.0), ExportOptions(clip=3), ExportOptions(lod=0),
                    ExportOptions(lod=10 ** 6), ExportOptions(axes="XYZ"), ExportOptions(sh_degree=4)):
        with pytest.raises(InputError):
            export_formats.write(FIGURE, tmp_path / "a.ply", to="ply", options=options)
    with pytest.raises(InputError, match="choose"):
        export_formats.write(FIGURE, tmp_path / "a.ply", to="gif")
    assert list(tmp_path.iterdir()) == []
