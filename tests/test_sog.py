"""SOG: bounds from the bits, order kept, unpacked folders, poison."""

import functools
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from asymmetric_figure import assert_right_way_round, make_figure
from export_checks import OPACITY_8_BITS, Bounds, assert_within, refuse_poison, refused

import export_formats
from export_formats import ExportOptions, quaternion_packing, sog
from runtime.player import Player
from runtime.types import SH_C0

pytest.importorskip("PIL", reason="install Pillow: pip install 'ani3d[export]'")
FIGURE = make_figure()
TIME = 0.1


@functools.cache
def posed():
    return Player(FIGURE).gaussians_at(TIME, loop=False)


def codebook_bound(values: np.ndarray) -> float:
    """A spacing of the 128 codes that are spread evenly at first. Measured: a third of this."""
    return float(np.ptp(values)) / 129


def bounds(truth) -> Bounds:
    """16 bits of sign(x) ln(1 + |x|), whose slope is at least 1 / (1 + |x|); bytes for the rest."""
    logs = np.sign(truth.means) * np.log1p(np.abs(truth.means))
    step = np.ptp(logs, axis=0) / 65535
    return Bounds(position=step / 2 * (1 + np.abs(truth.means).max()) + 1e-6,
                  log_scale=codebook_bound(truth.log_scales),
                  angle=quaternion_packing.angle_bound(quaternion_packing.REACH / 255), opacity=OPACITY_8_BITS,
                  color=codebook_bound(truth.sh0) * SH_C0)


GOOD = sog.encode(posed(), ExportOptions(axes="RUB"))


def entries(content: bytes) -> dict[str, bytes]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    return {name: archive.read(name) for name in archive.namelist()}


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_meta(**changes) -> bytes:
    files = entries(GOOD)
    meta = json.loads(files["meta.json"])
    for path, value in changes.items():
        *groups, key = path.split("__")
        place = meta
        for group in groups:
            place = place[group]
        place[key] = value
    return packed(files | {"meta.json": json.dumps(meta).encode()})


@pytest.mark.parametrize("letters", [None, "RUB", "RDF"])
def test_sog_is_within_its_bits_and_keeps_the_order(tmp_path, letters):
    path = tmp_path / "a.sog"
    export_formats.write(FIGURE, path, to="sog", options=ExportOptions(time=TIME, axes=letters))
    back = export_formats.read(path)
    assert_within(back, posed(), bounds(posed()))
    assert_right_way_round(back)


def test_sog_has_the_published_layout():
    files = entries(GOOD)
    assert list(files) == ["meta.json", "means_l.webp", "means_u.webp", "scales.webp", "quats.webp", "sh0.webp"]
    meta = json.loads(files["meta.json"])
    assert meta["version"] == 2 and meta["count"] == FIGURE.gaussians.count
    assert len(meta["scales"]["codebook"]) == len(meta["sh0"]["codebook"]) == 256
    assert sog.encode(posed(), ExportOptions(axes="RUB")) == GOOD, "equal Gaussians, equal bytes"


def test_unpacked_folder_and_its_meta_are_read(tmp_path):
    for name, content in entries(GOOD).items():
        (tmp_path / name).write_bytes(content)
    for path in (tmp_path, tmp_path / "meta.json"):
        assert_within(export_formats.read(path), posed(), bounds(posed()))


def test_transparent_gaussians_keep_their_color():
    """WebP encoders like to clear what cannot be seen."""
    faint = replace(posed(), opacity_logits=np.full(posed().count, -20, np.float32))
    back = sog.decode(sog.encode(faint, ExportOptions()), "a")
    assert np.abs(back.colors - faint.colors).max() <= bounds(faint).color


@pytest.mark.parametrize("count", [1, 2, 16, 17])
def test_few_gaussians(count):
    few = posed().take(np.arange(count))
    back = sog.decode(sog.encode(few, ExportOptions(axes="RUB")), "a")
    # Up to 85 Gaussians have no more values than the codebooks have entries.
    assert_within(back, few, Bounds(position=1e-4, angle=bounds(posed()).angle, opacity=OPACITY_8_BITS))


@pytest.mark.parametrize("content, word", [
    (GOOD[:len(GOOD) // 2], "zip"), (b"PK\x03\x04", "zip"), (packed({"a": b""}), "meta.json"),
    (packed({"meta.json": b"{"}), "meta.json"), (packed({"meta.json": b"[1]"}), "meta.json"),
    (packed({"meta.json": b"[" * 100000}), "meta.json"), (packed({"meta.json": b" " * (2 << 20)}), "meta.json"),
    (packed({"meta.json": bytes(8 << 20)}, zipfile.ZIP_DEFLATED), "inflate"),
    (with_meta(version=3), "version 3"), (with_meta(version=None), "version"), (with_meta(count=0), "no Gaussians"),
    (with_meta(count=-4), "at most"), (with_meta(count=10 ** 12), "at most"), (with_meta(count=4_000_000), "pixels"),
    (with_meta(count=2.5), "count"), (with_meta(count="many"), "count"), (with_meta(count=True), "count"),
    (with_meta(means__mins=[0, 0]), "mins"), (with_meta(means__maxs=[1e999, 0, 0]), "finite"),
    (with_meta(means__maxs=[5000, 0, 0]), "position|infinite"), (with_meta(scales__codebook=[0.0] * 255), "codebook"),
    (with_meta(scales__codebook=["a"] * 256), "meta.json"), (with_meta(sh0__codebook=[float("nan")] * 256), "finite"),
    (with_meta(means__files={"a": 0, "b": 1}), "file names"), (with_meta(quats__files=[]), "file names"),
    (with_meta(quats__files=["../../etc/passwd"]), "file names"),
    (with_meta(quats__files=["none.webp"]), "none.webp"), (with_meta(quats__files=7), "meta.json"),
    (with_meta(quats__files=["sh0.webp"]), "largest"), (with_meta(asset={"axes": "Z" * 9999}), "axes"),
    (packed(entries(GOOD) | {"quats.webp": b"RIFF"}), "quats.webp"),
    (packed(entries(GOOD) | {"quats.webp": entries(GOOD)["quats.webp"][:300]}), "quats.webp"),
])
def test_lying_sog_is_refused(tmp_path, content, word):
    refused(tmp_path / "bad.sog", content, export_formats.read, word)


def test_numbers_written_as_texts_are_read_as_numbers():
    codebook = json.loads(entries(GOOD)["meta.json"])["scales"]["codebook"]
    back = sog.decode(with_meta(scales__codebook=[str(number) for number in codebook]), "a")
    assert np.array_equal(back.log_scales, sog.decode(GOOD, "a").log_scales)


def test_picture_larger_than_its_gaussians_is_refused_before_it_is_decoded(tmp_path):
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGBA", (6000, 6000)).save(buffer, "WEBP", lossless=True)
    content = packed(entries(GOOD) | {"means_l.webp": buffer.getvalue()})
    refused(tmp_path / "bad.sog", content, export_formats.read, "6000 x 6000")
    refuse_poison(content, tmp_path / "bad.sog", export_formats.read, mutations=8, memory=16 << 20)


def test_mutated_sog_never_fails_otherwise(tmp_path):
    refuse_poison(GOOD, tmp_path / "bad.sog", export_formats.read, mutations=160, head=6000)
