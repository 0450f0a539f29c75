"""`ani3d export`: every format from the command line, sequences, and mistakes of one line that leave nothing."""

import json
import os
import re

import numpy as np
import pytest
from asymmetric_figure import assert_right_way_round, make_figure

import ani3d
import export_formats
from export_formats import ExportOptions, output, sequence
from runtime.bundle import write_bundle
from runtime.errors import InputError
from runtime.player import Player
from runtime.raster import render

FIGURE = make_figure()
OURS = ("ply", "compressed-ply", "spz", "sog", "splat", "glb", "glb-still", "usd", "vat", "ply-sequence",
        "compressed-ply-sequence", "spz-sequence", "sog-sequence")
SUFFIXES = {"ply": ".ply", "compressed-ply": ".compressed.ply", "spz": ".spz", "sog": ".sog", "splat": ".splat",
            "glb": ".glb", "glb-still": ".glb", "usd": ".usdc"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "figure.ani3d"
    write_bundle(FIGURE, path)
    return path


@pytest.mark.parametrize("to", OURS)
def test_every_format_is_written_and_reported(bundle, tmp_path, capsys, to):
    target = tmp_path / f"out{SUFFIXES.get(to, '')}"
    argv = ["export", str(bundle), "--to", to, "-o", str(target), "--time", "0.1"]
    assert ani3d.main(argv) == 0
    text = capsys.readouterr().out
    assert str(target) in text and "not in it" in text and "opens with" in text
    # The second time it replaces what it wrote, byte by byte the same.
    before = {f.name: f.read_bytes() for f in ([target] if target.is_file() else target.iterdir())}
    assert ani3d.main([*argv, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    after = {f.name: f.read_bytes() for f in ([target] if target.is_file() else target.iterdir())}
    assert report["size_bytes"] == sum(map(len, after.values())) and report["lost"]
    assert before == after
    assert [f.name for f in tmp_path.iterdir()] == [target.name]


def test_manual_names_every_format(capsys):
    with pytest.raises(SystemExit):
        ani3d.main(["export", "--help"])
    manual = capsys.readouterr().out
    for name in export_formats.WRITERS:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", manual), name


def test_bench_compares_every_animated_format_with_the_bundle(bundle, capsys):
    assert ani3d.main(["bench", "export", str(bundle), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["frames"] == 7 and figures["gaussians"] == FIGURE.gaussians.count
    assert figures["bundle_bytes_per_frame"] == round(bundle.stat().st_size / 7, 1)
    ratios = {key: value for key, value in figures.items() if key.endswith("_ratio_to_bundle")}
    assert len(ratios) == 10 and max(ratios, key=ratios.get) == "ply_sequence_ratio_to_bundle"


@pytest.mark.parametrize("kind", ["ply", "compressed-ply", "spz", "sog"])
def test_sequences_are_the_players_frames(tmp_path, kind):
    folder = tmp_path / "frames"
    report = export_formats.write(FIGURE, folder, to=f"{kind}-sequence",
                                  options=ExportOptions(frames=(2, 9), fps=60, spz_version=2))
    suffix = SUFFIXES[kind]
    assert sorted(os.listdir(folder)) == [f"frame_{i:04}{suffix}" for i in range(7)] and report.frames == 7
    # The name pattern by which SuperSplat groups frames.
    assert all(re.fullmatch(r"(.*?)(\d+)(\.compressed)?\.(ply|spz|sog)", name) for name in os.listdir(folder))
    player = Player(FIGURE)
    for index in (0, 3, 6):
        back = export_formats.read(folder / f"frame_{index:04}{suffix}")
        truth = player.gaussians_at((2 + index) / 60, loop=False)
        assert np.abs(back.means.mean(axis=0) - truth.means.mean(axis=0)).max() < 3e-4
        assert_right_way_round(back)
    assert "60" in report.lost[0]


@pytest.mark.parametrize("to", ["ply", "compressed-ply", "spz", "sog", "splat"])
def test_what_is_read_back_looks_the_same(tmp_path, to):
    """The picture from the front, through our rasteriser: one camera sees left, right, up and front at once."""
    from runtime.cameras import orbit_camera

    path = tmp_path / f"a{SUFFIXES[to]}"
    export_formats.write(FIGURE, path, to=to, options=ExportOptions(time=0.1))
    truth = Player(FIGURE).gaussians_at(0.1, loop=False)
    camera = orbit_camera(np.array([0, 1.0, 0.1]), azimuth=0.4, elevation=0.1, distance=3.0, fov_y=0.8, size=(96, 128))
    error = render(export_formats.read(path), camera).rgba - render(truth, camera).rgba
    # Measured: 58 dB for SPZ, the worst (8-bit sizes); wrong axes give 13 to 17 dB.
    assert -10 * np.log10(np.mean(error ** 2) + 1e-12) > 52


@pytest.mark.parametrize("argv, word", [
    (["--to", "gif"], "choose"), (["--to", "ply", "--time", "99"], "not in the clip"),
    (["--to", "ply", "--axes", "XYZ"], "axes"), (["--to", "ply", "--clip", "4"], "clips"),
    (["--to", "ply", "--lod", "0"], "level of detail"), (["--to", "glb", "--axes", "RUF"], "RUB"),
    (["--to", "ply-sequence", "--frames", "5:99"], "not in 0:7"), (["--to", "ply-sequence", "--fps", "0"], "second"),
    (["--to", "ply-sequence", "--fps", "nan"], "second"), (["--to", "usd"], ".usdc"),
    (["--to", "vat", "--fps", "100000"], "second")])
def test_mistakes_are_one_line_and_leave_nothing(bundle, tmp_path, capsys, argv, word):
    assert ani3d.main(["export", str(bundle), "-o", str(tmp_path / "out"), *argv]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("ani3d: ") and "\n" not in message and word in message
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_written(bundle, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for to, target, word in (("ply-sequence", "mine", "notes.txt"), ("ply", "mine", "cannot be written"),
                             ("vat", "file", "is a file"), ("ply", "none/a.ply", "no folder")):
        assert ani3d.main(["export", str(bundle), "--to", to, "-o", str(tmp_path / target)]) == 2
        assert word in capsys.readouterr().err
    for to in ("ply", "gsd", "web"):
        with pytest.raises(InputError, match="cannot be written: Not a directory"):
            export_formats.write(FIGURE, tmp_path / "file" / "a", to=to)
    assert ani3d.main(["export", str(bundle), "--to", "ply", "-o", str(bundle)]) == 2
    assert (tmp_path / "mine" / "notes.txt").read_text() == (tmp_path / "file").read_text() == "kept"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["file", "mine"]


@pytest.mark.parametrize("to", [name for name in export_formats.WRITERS if name != "usd"])
def test_folder_that_has_no_name_of_its_own_is_refused(tmp_path, monkeypatch, to):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="give the name"):
        export_formats.write(FIGURE, ".", to=to)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_sequence_leaves_the_old_one(tmp_path, monkeypatch):
    folder = tmp_path / "frames"
    export_formats.write(FIGURE, folder, to="ply-sequence", options=ExportOptions(frames=(0, 2)))
    before = sorted(os.listdir(folder))

    def stop(*_, **__):
        yield from [Player(FIGURE).gaussians_at(0)]
        raise KeyboardInterrupt

    monkeypatch.setattr(sequence, "sequence", stop)
    with pytest.raises(KeyboardInterrupt):
        export_formats.write(FIGURE, folder, to="ply-sequence")
    assert sorted(os.listdir(folder)) == before and sorted(os.listdir(tmp_path)) == ["frames"]


def test_folder_swap_that_fails_puts_the_old_one_back(tmp_path, monkeypatch):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "x1").write_text("old")
    real = os.rename

    def rename(source, target):
        if str(source).endswith(".part"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(InputError, match="No space"), output.new_folder(folder, owned=r"x\d") as part:
        (part / "x1").write_text("new")
    assert (folder / "x1").read_text() == "old" and os.listdir(tmp_path) == ["a"]
