"""The command at the door: every bad input is one clear line, exit code 2, and nothing left behind."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ani3d
from baker.config import PRESETS, preset, show
from baker.priors import LOADERS

ROOT = Path(__file__).resolve().parent.parent
JOINTS = 55


def write_motion(path: Path, *, frames: int = 12, joints: int = JOINTS, **changes) -> Path:
    """An AMASS-layout npz; `changes` replace or (with None) drop keys."""
    arrays = {"poses": np.zeros((frames, 3 * joints), np.float32), "trans": np.zeros((frames, 3), np.float32),
              "mocap_frame_rate": np.float32(30), "betas": np.zeros(10, np.float32), "gender": np.array("neutral")}
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def write_parts(path: Path, *, nan: bool = False, weight: float = 1.0, drop: str = "") -> Path:
    """A one-part character: a box of cloth around the pelvis, as a parts npz."""
    corners = np.array([(x, y, z) for x in (-.2, .2) for y in (-.5, 0) for z in (-.2, .2)], np.float32)
    faces = np.array([(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6)], np.int32)
    weights = np.zeros((8, JOINTS), np.float32)
    weights[:, 0] = weight
    if nan:
        corners[3, 1] = np.nan
    arrays: dict[str, np.ndarray] = {}
    for part in ("body", "dress", "collider"):
        arrays |= {f"{part}_v": corners, f"{part}_w": weights, f"{part}_f": faces,
                   f"{part}_vt": np.zeros((8, 2), np.float32), f"{part}_ft": faces}
    joints = np.zeros((JOINTS, 3), np.float32)
    parents = np.arange(JOINTS) - 1
    arrays |= {"joints": joints, "parents": parents, "joint_names": np.array([f"j{i}" for i in range(JOINTS)]),
               "parts": np.array([(p, "") for p in ("body", "dress", "collider")]), "license": np.array("CC0-1.0")}
    arrays.pop(drop, None)
    np.savez(path, **arrays)
    return path


def truncated(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2])
    return path


BAD_MOTIONS = {
    "missing file": (lambda d: d / "none.npz", "none.npz"),
    "truncated npz": (lambda d: truncated(write_motion(d / "m.npz")), "m.npz"),
    "not an npz": (lambda d: (d / "m.npz").write_text("hello") and d / "m.npz", "m.npz"),
    "wrong keys": (lambda d: write_motion(d / "m.npz", poses=None), "poses"),
    "another joint count": (lambda d: write_motion(d / "m.npz", joints=23), "SMPL"),
    "zero frames": (lambda d: write_motion(d / "m.npz", frames=0), "frames"),
    "nan pose": (lambda d: write_motion(d / "m.npz", trans=np.full((12, 3), np.nan, np.float32)), "NaN"),
    "frame rate zero": (lambda d: write_motion(d / "m.npz", mocap_frame_rate=np.float32(0)), "rate"),
    "pickled keys": (lambda d: write_motion(d / "m.npz", poses=np.array([{}], dtype=object)), "m.npz"),
    "unknown name": (lambda d: Path("moonwalk"), "moonwalk"),
}

BAD_AVATARS = {
    "missing file": (lambda d: d / "none.npz", "none.npz"),
    "truncated npz": (lambda d: truncated(write_parts(d / "a.npz")), "a.npz"),
    "wrong keys": (lambda d: write_parts(d / "a.npz", drop="dress_w"), "dress_w"),
    "no skeleton": (lambda d: write_parts(d / "a.npz", drop="joints"), "joints"),
    "nan vertices": (lambda d: write_parts(d / "a.npz", nan=True), "NaN"),
    "weights that do not sum to one": (lambda d: write_parts(d / "a.npz", weight=0.7), "sum"),
    "unknown kind": (lambda d: (d / "a.txt").write_text("x") and d / "a.txt", "a.txt"),
}


def expect_one_line(capsys, argv: list[str], word: str) -> str:
    assert ani3d.main(argv) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("ani3d: ") and "\n" not in message and "Traceback" not in message
    assert word.lower() in message.lower(), message
    return message


@pytest.mark.parametrize("case", BAD_MOTIONS)
def test_bad_motion_is_one_line_and_leaves_nothing(case, tmp_path, capsys):
    make, word = BAD_MOTIONS[case]
    motion = make(tmp_path)
    output = tmp_path / "out" / "x.bake"
    expect_one_line(capsys, ["bake", "builtin", str(motion), "-o", str(output), "--gaussians", "500"], word)
    assert not output.parent.exists()


@pytest.mark.parametrize("case", BAD_AVATARS)
def test_bad_avatar_is_one_line_and_leaves_nothing(case, tmp_path, capsys):
    make, word = BAD_AVATARS[case]
    avatar = make(tmp_path)
    output = tmp_path / "out" / "x.bake"
    expect_one_line(capsys, ["bake", str(avatar), "walk", "--parts", "body,dress", "-o", str(output)], word)
    assert not output.parent.exists()


def test_textures_elsewhere_are_found_where_the_error_says_to_name_them(tmp_path, capsys):
    (tmp_path / "here" / "below").mkdir(parents=True)
    character = write_parts(tmp_path / "here" / "below" / "a.npz")
    with np.load(character) as file:
        arrays = dict(file)
    arrays["parts"] = np.array([("body", "skin.png"), ("dress", ""), ("collider", "")])
    np.savez(character, **arrays)
    (tmp_path / "else" / "where").mkdir(parents=True)
    Image.new("RGB", (8, 8), (200, 30, 30)).save(tmp_path / "else" / "where" / "skin.png")
    convert = ["convert", str(character), str(tmp_path / "a.ply"), "--gaussians", "300"]
    for argv in (["inspect", str(character)], convert):
        expect_one_line(capsys, argv, "--textures")
        assert ani3d.main([*argv, "--textures", str(tmp_path / "else")]) == 0
    assert (tmp_path / "a.ply").is_file()
    capsys.readouterr()
    assert ani3d.main(["inspect", str(character), "--textures", str(tmp_path / "else"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"] == ["body", "dress"]


def test_output_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    bake = ["bake", "builtin", "walk", "--gaussians", "500", "-o"]
    expect_one_line(capsys, [*bake, str(tmp_path / "file" / "x.bake")], "cannot be written")
    expect_one_line(capsys, [*bake, str(tmp_path / "file")], "is a file")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(torch.cuda.is_available(), reason="gsplat may draw here")
@pytest.mark.parametrize("option", [["--rasteriser", "gsplat"], ["--device", "cuda"]])
def test_what_needs_a_gpu_is_refused_before_anything_is_made(option, tmp_path, capsys):
    argv = ["bake", "builtin", "walk", "-o", str(tmp_path / "x.bake"), "--gaussians", "500", *option]
    expect_one_line(capsys, argv, "cpu")
    assert not (tmp_path / "x.bake").exists()


@pytest.mark.parametrize("settings, word", [
    (["--set", "optimise.speed=3"], "no setting 'speed'"), (["--set", "optimise=3"], "section"),
    (["--set", "coarse.width"], "FIELD=VALUE"), (["--set", "coarse.width=wide"], "must be a int"),
    (["--set", "coarse.width=8"], "16"), (["--set", "coarse.trajectories=0"], "trajectories"),
    (["--set", "optimise.checkpoint_every=0"], "checkpoint_every"), (["--set", "restore.sampling.steps=0"], "steps"),
])
def test_bad_setting_is_one_line(settings, word, tmp_path, capsys):
    argv = ["bake", "builtin", "walk", "-o", str(tmp_path / "x.bake"), "--gaussians", "500", *settings]
    expect_one_line(capsys, argv, word)
    assert not (tmp_path / "x.bake").exists()


def test_frames_outside_the_motion_are_one_line(tmp_path, capsys):
    motion = write_motion(tmp_path / "m.npz")
    argv = ["bake", "builtin", str(motion), "-o", str(tmp_path / "x.bake"), "--gaussians", "500",
            "--frames", "50:60"]
    expect_one_line(capsys, argv, "12 frames")
    assert not (tmp_path / "x.bake").exists()


@pytest.mark.parametrize("argv", [
    ["render", "none.ani3d", "-o", "x.mp4"], ["inspect", "none.ani3d"], ["status", "none.bake"],
    ["prior", "info", "none"],
])
def test_missing_file_is_one_line_for_every_command(argv, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expect_one_line(capsys, argv, "none")
    assert list(tmp_path.iterdir()) == []


def test_bad_use_exits_with_two():
    for argv in ([], ["bake"], ["render", "x", "-o", "y", "--size", "big"], ["nonsense"]):
        with pytest.raises(SystemExit) as stop:
            ani3d.main(argv)
        assert stop.value.code == 2


def test_every_command_has_a_manual(capsys):
    for command in ("demo", "bake", "status", "drive", "play", "render", "inspect", "convert", "export", "prior",
                    "truth", "evaluate", "bench"):
        with pytest.raises(SystemExit) as stop:
            ani3d.main([command, "--help"])
        assert stop.value.code == 0 and command in capsys.readouterr().out


def test_settings_are_shown_and_changed_by_set(tmp_path, capsys):
    argv = ["bake", "builtin", "walk", "-o", str(tmp_path / "x.bake"), "--show-settings",
            "--set", "coarse.trajectories=2"]
    assert ani3d.main(argv) == 0
    assert "coarse.trajectories = 2" in capsys.readouterr().out
    assert not (tmp_path / "x.bake").exists()


def test_manual_of_bake_names_every_prior(capsys):
    with pytest.raises(SystemExit):
        ani3d.main(["bake", "--help"])
    manual = "".join(capsys.readouterr().out.split())  # lines may break at hyphens
    assert all(name in manual for name in LOADERS)


def test_manual_of_bake_tells_the_presets_apart(capsys):
    with pytest.raises(SystemExit):
        ani3d.main(["bake", "--help"])
    lines = capsys.readouterr().out.splitlines()
    columns = {line.split()[0]: line.split()[1:] for line in lines[lines.index(next(
        line for line in lines if line.startswith("PRESET"))):] if len(line.split()) == 4}
    assert columns.pop("PRESET") == list(PRESETS)
    presets = [dict(line.split(" = ") for line in show(preset(name)).splitlines()) for name in PRESETS]
    assert columns == {name: [p[name] for p in presets] for name in columns}
    differ = {name for name in presets[0] if len({p[name] for p in presets}) > 1}
    assert differ <= set(columns) and {"optimise.iterations", "coarse.width"} <= differ


def test_a_foreign_prior_is_sampled_as_in_the_paper(tmp_path, capsys):
    argv = ["bake", "builtin", "walk", "-o", str(tmp_path / "x.bake"), "--show-settings", "--preset", "paper"]
    assert ani3d.main([*argv, "--prior", "wan-fun-control"]) == 0
    shown = capsys.readouterr().out
    assert "restore.sampling.steps = 18\n" in shown and "restore.sampling.gamma = 'sigma'\n" in shown
    assert ani3d.main(argv) == 0
    assert "restore.sampling.steps = 1\n" in capsys.readouterr().out


def test_installed_command_runs():
    done = subprocess.run([sys.executable, "-m", "ani3d", "--version"], cwd=ROOT, capture_output=True, text=True,
                          check=True)
    assert done.stdout.strip() == f"ani3d {ani3d.__version__}"


def test_inspect_says_that_one_frame_is_no_motion(tmp_path, capsys):
    still = BVH.replace("Frames: 2", "Frames: 1").replace("0 0 0 0 0 0 0 0 0\n", "", 1)
    for text, expected in ((BVH, False), (still, True)):
        (tmp_path / "x.bvh").write_text(text)
        assert ani3d.main(["inspect", str(tmp_path / "x.bvh"), "--json"]) == 0
        assert any("one frame" in line for line in json.loads(capsys.readouterr().out)["warnings"]) is expected


def test_a_reader_that_stops_reading_ends_a_command_quietly(tmp_path):
    """As `ani3d inspect X | head -0`."""
    (tmp_path / "x.bvh").write_text(BVH)
    process = subprocess.Popen([sys.executable, "-m", "ani3d", "inspect", str(tmp_path / "x.bvh")], cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1


BVH = """HIERARCHY
ROOT Hips
{
OFFSET 0 0 0
CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
JOINT Spine
{
OFFSET 0 10 0
CHANNELS 3 Zrotation Xrotation Yrotation
End Site
{
OFFSET 0 10 0
}
}
}
MOTION
Frames: 2
Frame Time: 0.0333333
0 0 0 0 0 0 0 0 0
0 0 0 0 0 0 0 0 0
"""


@pytest.mark.parametrize("command", ["bake NAME walk -o x.bake", "bake builtin NAME -o x.bake", "inspect NAME",
                                     "render NAME -o x.png", "play NAME", "bake builtin walk -o NAME"])
def test_a_name_longer_than_file_systems_take_is_one_line(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ani3d.main([word.replace("NAME", 5000 * "a") for word in command.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "give a shorter one" in error and len(error) < 400
    assert not list(tmp_path.iterdir())


def test_a_full_disk_says_that_the_bake_continues(tmp_path, capsys, monkeypatch):
    def full(path, *arrays, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    monkeypatch.setattr(np, "savez", full)
    assert ani3d.main(["bake", "builtin", "walk", "--gaussians", "2000", "--frames", "0:5", "-o",
                       str(tmp_path / "tiny.bake")]) == 2
    assert "the same command continues" in capsys.readouterr().err.splitlines()[-1]
