"""`ani3d render`: pictures of one moment and videos, and mistakes of one line that leave nothing."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sample_bundle import make_bundle

import ani3d
from runtime.bundle import read_bundle, write_bundle
from runtime.player import Player, picture


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Five frames at 30 a second: 0.133 s."""
    path = tmp_path_factory.mktemp("bundle") / "figure.ani3d"
    write_bundle(make_bundle(), path)
    return path


@pytest.mark.parametrize("name", ["still.png", "still.jpg", "still.JPEG"])
def test_picture_is_the_players_at_that_moment(bundle, tmp_path, capsys, name):
    view = ["--time", "0.11", "--azimuth", "90", "--size", "64x97", "--background", "1,0.5,0", "--rigid"]
    assert ani3d.main(["render", str(bundle), "-o", str(tmp_path / name), *view]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / name)
    seen = {"size": (64, 97), "azimuth": np.pi / 2, "background": (1.0, 0.5, 0.0)}
    truth = picture(Player(read_bundle(bundle)), 0.11, **seen, residual=False)
    with Image.open(tmp_path / name) as image:
        assert image.format == ("PNG" if name.endswith("png") else "JPEG")
        pixels = np.asarray(image)
    error = np.abs(pixels.astype(int) - truth)
    # JPEG: measured 0.81 on the average, of splats as sharp as these.
    assert error.max() == 0 if name.endswith("png") else error.mean() < 1.5
    assert [file.name for file in tmp_path.iterdir()] == [name]
    other = picture(Player(read_bundle(bundle)), 0.0, **seen, residual=False)
    assert np.abs(other.astype(int) - truth).mean() > 2 * error.mean(), "the moment makes no difference"


def test_video_has_the_asked_length(bundle, tmp_path):
    av = pytest.importorskip("av")
    argv = ["render", str(bundle), "-o", str(tmp_path / "a.mp4"), "--seconds", "0.2", "--size", "32x48", "--turns", "1"]
    assert ani3d.main(argv) == 0
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6


def test_a_bakes_folder_stands_for_its_bundle(bundle, tmp_path, capsys):
    bake = tmp_path / "x.bake"
    (bake / "000_sources").mkdir(parents=True)
    for argv in (["render", str(bake), "-o", str(tmp_path / "a.png"), "--size", "32x48"], ["inspect", str(bake)]):
        with pytest.raises(SystemExit) as stop:
            ani3d.main(argv)
        assert stop.value.code == 2 and "not finished" in capsys.readouterr().err
    (bake / "060_bundle").mkdir()
    shutil.copyfile(bundle, bake / "060_bundle" / "x.ani3d")
    assert ani3d.main(["render", str(bake), "-o", str(tmp_path / "a.png"), "--size", "32x48"]) == 0
    assert ani3d.main(["export", str(bake), "--to", "splat", "-o", str(tmp_path / "a.splat")]) == 0
    assert (tmp_path / "a.png").is_file() and (tmp_path / "a.splat").is_file()
    capsys.readouterr()
    assert ani3d.main(["inspect", str(bake), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "x.ani3d"


@pytest.mark.parametrize("argv, word", [
    (["a.gif"], ".mp4"), (["a"], ".png"), (["a.png", "--time", "0.14"], "0 to 0.133"),
    (["a.png", "--time", "-1"], "0 to"), (["a.png", "--orbit"], "--orbit"), (["a.jpg", "--seconds", "2"], "--seconds"),
    (["a.mp4", "--time", "0"], "--time"), (["a.mp4", "--azimuth", "3"], "--azimuth"),
    (["none/a.png"], "cannot be written"), (["a.png", "--clip", "9"], "clips"),
])
def test_mistakes_are_one_line_and_leave_nothing(bundle, tmp_path, capsys, argv, word):
    assert ani3d.main(["render", str(bundle), "--size", "32x48", "-o", str(tmp_path / argv[0]), *argv[1:]]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("ani3d: ") and "\n" not in message and word in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [["--time", "nan"], ["--azimuth", "inf"], ["--seconds", "0"], ["--seconds", "1e9"],
                                    ["--turns", "many"]])
def test_numbers_that_are_none_are_bad_use(bundle, tmp_path, capsys, option):
    with pytest.raises(SystemExit) as stop:
        ani3d.main(["render", str(bundle), "-o", str(tmp_path / "a.png"), *option])
    assert stop.value.code == 2 and "write" in capsys.readouterr().err
