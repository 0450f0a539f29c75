"""baker/motion_files, baker/convert.py, baker/inspect_file.py: what readers make of files, good and bad."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_gltf import write_glb
from scipy.spatial.transform import Rotation

import ani3d
from baker.avatars.options import AvatarOptions
from baker.body import JOINT_NAMES
from baker.convert import convert, smplx_rig
from baker.inspect_file import inspect_file
from baker.motion_files import read_motion
from baker.motion_files.asf_amc import find_asf
from baker.motion_files.bvh import write_bvh
from baker.motion_files.lhm import write_lhm
from baker.motion_files.skeleton import SkeletonClip, conjugate
from baker.motion_gaits import procedural
from baker.motions import MotionOptions, clip_of
from runtime import rotations
from runtime.errors import InputError

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs {DATA}")
SMALL = """HIERARCHY
ROOT Hips
{
  OFFSET 1 2 3
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Arm
  {
    OFFSET 0 10 0
    CHANNELS 3 Yrotation Zrotation Xrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
}
MOTION
Frames: 3
Frame Time: 0.0333333
5 6 7 30 40 50 10 20 30
5 6 8 30 40 50 10 20 30
5 6 9 30 40 50 10 20 30
"""


@pytest.fixture(scope="module")
def walk() -> SkeletonClip:
    rig = smplx_rig()
    return clip_of(procedural("walk", rig, seconds=1.0), rig)


def put(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


# -- BVH ----------------------------------------------------------------------------------------------------------


def test_bvh_is_read_by_the_formats_rule(tmp_path: Path) -> None:
    """Rotation channels multiply in their order, root positions are absolute; against scipy's intrinsic angles."""
    clip = read_motion(str(put(tmp_path / "a.bvh", SMALL)))
    assert clip.fps == 30.0 and clip.joint_names == ("Hips", "Arm")
    root = Rotation.from_euler("ZXY", [30, 40, 50], degrees=True)
    arm = root * Rotation.from_euler("YZX", [10, 20, 30], degrees=True)
    np.testing.assert_allclose(rotations.to_matrix(clip.turns_wxyz[0, 0]), root.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(rotations.to_matrix(clip.turns_wxyz[0, 1]), arm.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(clip.positions[2, 0], [5, 6, 9])
    np.testing.assert_allclose(clip.positions[2, 1], root.apply([0, 10, 0]) + np.array([5, 6, 9]))


@pytest.mark.parametrize("change", [
    lambda t: t.replace("\n", "\r\n"), lambda t: t.replace("  ", "\t"), lambda t: t.replace("{", "{ ").lower(),
    lambda t: "\ufeff" + t, lambda t: t.replace("ROOT Hips\n{", "ROOT Hips {"), lambda t: t + "\n\n"])
def test_bvh_of_every_tools_spelling_is_the_same(tmp_path: Path, change: object) -> None:
    plain = read_motion(str(put(tmp_path / "a.bvh", SMALL)))
    other = read_motion(str(put(tmp_path / "b.bvh", change(SMALL))))  # type: ignore[operator]
    np.testing.assert_array_equal(other.positions, plain.positions)


def test_missing_frames_are_left_out_with_a_warning(tmp_path: Path) -> None:
    cut = read_motion(str(put(tmp_path / "a.bvh", SMALL[: SMALL.rindex("50 10")])))
    assert cut.frames == 2 and any("cut off" in w for w in cut.warnings)
    fewer = read_motion(str(put(tmp_path / "b.bvh", SMALL.replace("Frames: 3", "Frames: 9"))))
    assert fewer.frames == 3 and fewer.warnings == ("says 9 frames, has 3",)


BAD_BVH = {
    "empty": ("", "is not a BVH file"), "no motion": (SMALL[: SMALL.index("MOTION")], "is not a BVH file"),
    "nan": (SMALL.replace("5 6 8", "5 nan 8"), "frame 1 holds NaN"),
    "word": (SMALL.replace("5 6 8", "5 six 8"), "line 20.*'six'"),
    "columns": (SMALL.replace("5 6 8", "5 8"), "line 20.*has 8 values"),
    "no channels": (SMALL.replace("CHANNELS 6", "CHANNELS 0").replace("CHANNELS 3", "CHANNELS 0").replace(
        " Xposition Yposition Zposition Zrotation Xrotation Yrotation", "").replace(
            " Yrotation Zrotation Xrotation", ""), "nothing moves"),
    "channel": (SMALL.replace("Zrotation", "Wrotation"), "line 5.*channel of Hips"),
    "time": (SMALL.replace("0.0333333", "0"), "Frame Time"), "rate": (SMALL.replace("0.0333333", "1e-9"), "frame rate"),
    "two roots": (SMALL.replace("  JOINT", "  ROOT"), "second ROOT"),
    "open": (SMALL.replace("}\n}\nMOTION", "MOTION"), "not complete"),
    "offset": (SMALL.replace("OFFSET 0 10 0", "OFFSET 0 ten 0"), "line 8.*'ten'"),
    "huge": (SMALL.replace("Frames: 3", "Frames: 999999999"), "too many"),
    "no frames": (SMALL[: SMALL.index("5 6 7")], "holds no frames"),
}


@pytest.mark.parametrize("defect", BAD_BVH)
def test_a_bad_bvh_is_one_line_with_its_place(tmp_path: Path, defect: str) -> None:
    text, message = BAD_BVH[defect]
    with pytest.raises(InputError, match=message) as error:
        read_motion(str(put(tmp_path / "bad.bvh", text)))
    assert str(error.value).startswith(str(tmp_path / "bad.bvh")) and "\n" not in str(error.value)


def test_four_hundred_joints_are_read_and_a_thousand_more_are_not(tmp_path: Path) -> None:
    for joints, good in ((400, True), (1100, False)):
        chain = "".join(f"JOINT j{i}\n{{\nOFFSET 0 1 0\nCHANNELS 3 Zrotation Xrotation Yrotation\nJOINT k{i}\n{{\n"
                        "OFFSET 0 1 0\nCHANNELS 0\n}\n}\n" for i in range(joints // 2))
        text = f"HIERARCHY\nROOT r\n{{\nOFFSET 0 0 0\nCHANNELS 3 Zrotation Xrotation Yrotation\n{chain}}}\nMOTION\n" \
               f"Frames: 1\nFrame Time: 0.04\n{' 0' * (3 + 3 * (joints // 2))}\n"
        path = put(tmp_path / "many.bvh", text)
        if good:
            assert len(read_motion(str(path)).joint_names) == joints + 1
        else:
            with pytest.raises(InputError, match="limit is 1024"):
                read_motion(str(path))


def test_bvh_written_is_bvh_read(walk: SkeletonClip, tmp_path: Path) -> None:
    write_bvh(tmp_path / "walk.bvh", walk)
    again = read_motion(str(tmp_path / "walk.bvh"))
    assert again.joint_names[0] == "pelvis" and again.fps == walk.fps
    order = [walk.joint_names.index(name) for name in again.joint_names]
    np.testing.assert_allclose(again.positions, walk.positions[:, order], atol=1e-5)


def test_a_chain_of_joints_of_any_length_and_odd_names_are_written(tmp_path: Path) -> None:
    count = 1024
    names = ("a {b} c", *(f"j{i}" for i in range(1, count)))
    chain = SkeletonClip(kind="test", fps=30.0, joint_names=names, parents=np.arange(-1, count - 1),
                         rest_positions=np.ones((count, 3)), positions=np.ones((1, count, 3)),
                         turns_wxyz=np.tile([1.0, 0.0, 0.0, 0.0], (1, count, 1)))
    write_bvh(tmp_path / "chain.bvh", chain)
    lines = (tmp_path / "chain.bvh").read_text().splitlines()
    assert lines[1] == "ROOT a_b_c" and sum(line.strip().startswith("JOINT") for line in lines) == count - 1
    assert len(lines[-1].split()) == 3 + 3 * count


# -- ASF/AMC ------------------------------------------------------------------------------------------------------


def write_amc(folder: Path, clip: SkeletonClip) -> Path:
    """The clip as Acclaim: a bone without length for each joint, in axes of its own, and a fixed one to each child.
    Angles by scipy."""
    rng = np.random.default_rng(0)
    bones, hierarchy, frames = [], [], [["1"] for _ in range(clip.frames)]
    frames = [[str(t + 1)] for t in range(clip.frames)]
    for i, name in enumerate(clip.joint_names):
        parent = int(clip.parents[i])
        world = clip.turns_wxyz[:, i]
        local = world if parent < 0 else rotations.multiply(conjugate(clip.turns_wxyz[:, parent]), world)
        axis = rng.uniform(-60, 60, 3) if parent >= 0 else np.zeros(3)
        frame = Rotation.from_euler("xyz", axis, degrees=True)
        turn = frame.inv() * Rotation.from_quat(local[:, [1, 2, 3, 0]]) * frame
        angles = turn.as_euler("xyz", degrees=True)
        if parent < 0:
            for t in range(clip.frames):
                frames[t].append("root " + " ".join(f"{v:.9f}" for v in (*clip.positions[t, 0], *angles[t])))
            continue
        offset = clip.rest_positions[i] - clip.rest_positions[parent]
        length = float(np.linalg.norm(offset))
        direction = offset / max(length, 1e-9)
        holder = "root" if parent == 0 else clip.joint_names[parent]
        bones.append(f"begin\n id {2 * i}\n name to_{name}\n direction {' '.join(f'{v:.12f}' for v in direction)}\n "
                     f"length {length:.12f}\n axis 0 0 0 XYZ\nend")
        bones.append(f"begin\n id {2 * i + 1}\n name {name}\n direction 0 1 0\n length 0\n axis "
                     f"{' '.join(f'{v:.12f}' for v in axis)} XYZ\n dof rx ry rz\n limits (-180 180)\nend")
        hierarchy += [f" {holder} to_{name}", f" to_{name} {name}"]
        for t in range(clip.frames):
            frames[t].append(f"{name} " + " ".join(f"{v:.9f}" for v in angles[t]))
    put(folder / "01.asf", "\n".join([
        ":version 1.10", ":name test", ":units", " mass 1.0", " length 0.45", " angle deg", ":root",
        " order TX TY TZ RX RY RZ", " axis XYZ", " position 0 0 0", " orientation 0 0 0", ":bonedata", *bones,
        ":hierarchy", "begin", *hierarchy, "end"]))
    return put(folder / "01_01.amc", "\n".join([":FULLY-SPECIFIED", ":DEGREES", *("\n".join(f) for f in frames)]))


def test_asf_amc_is_read_by_the_formats_rule(walk: SkeletonClip, tmp_path: Path) -> None:
    clip = read_motion(str(write_amc(tmp_path, walk)))
    assert clip.fps == 120.0 and clip.frames == walk.frames
    index = [clip.joint_names.index("root" if i == 0 else name) for i, name in enumerate(walk.joint_names)]
    np.testing.assert_allclose(clip.positions[:, index], walk.positions, atol=1e-6)


def test_bad_amc_and_missing_asf_are_one_line(walk: SkeletonClip, tmp_path: Path) -> None:
    path = write_amc(tmp_path, walk)
    text = path.read_text()
    for bad, message in ((text.replace("left_knee ", "left_knie ", 1), "line .*'left_knie'"),
                         (text.replace("left_knee ", "left_knee 1 ", 1), "left_knee has 4 values"),
                         (":DEGREES\n", "holds no frames"), (text.replace("root ", "root x", 1), "not a number")):
        with pytest.raises(InputError, match=message):
            read_motion(str(put(path, bad)))
    put(path, text)
    (tmp_path / "01.asf").rename(tmp_path / "hidden.txt")
    with pytest.raises(InputError, match="needs its skeleton"):
        read_motion(str(path))
    skeleton = (tmp_path / "hidden.txt").read_text()
    put(tmp_path / "01.asf", skeleton.replace(" to_left_hip left_hip", " left_hip to_left_hip"))
    with pytest.raises(InputError):
        read_motion(str(path))


def test_a_motion_finds_its_skeleton_whatever_the_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = Path.glob
    # As on Windows: a pattern finds names of any case.
    monkeypatch.setattr(Path, "glob", lambda self, pattern: (
        p for p in every(self, "*") if fnmatch.fnmatch(p.name.lower(), pattern.lower())))
    put(tmp_path / "02.ASF", "")
    assert find_asf(tmp_path / "02_01.amc") == tmp_path / "02.ASF" == find_asf(tmp_path / "walk.amc")
    put(tmp_path / "0.asf", "")
    assert find_asf(tmp_path / "02_01.amc") == tmp_path / "02.ASF"
    with pytest.raises(InputError, match="there are 2, none fits its name"):
        find_asf(tmp_path / "walk.amc")


# -- LHM ----------------------------------------------------------------------------------------------------------


def test_lhm_frames_come_back_as_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    poses, trans = 0.3 * rng.standard_normal((4, 55, 3)), rng.standard_normal((4, 3))
    write_lhm(tmp_path / "m", poses, trans)
    clip = read_motion(str(tmp_path / "m"))
    local = rotations.multiply(conjugate(clip.turns_wxyz[:, 0]), clip.turns_wxyz[:, 1])
    np.testing.assert_allclose(rotations.to_rotvec(local), poses[:, 1], atol=1e-9)
    assert clip.up == "-y" and clip.frames == 4
    # OpenCV axes: turned half about x.
    np.testing.assert_allclose(clip.positions[:, 0], trans * [1, -1, -1], atol=1e-12)
    frame = json.loads((tmp_path / "m" / "smplx_params" / "00002.json").read_text())
    for key, value, message in (("body_pose", [[0, 0, 0]], "body_pose is not 21 x 3"), ("trans", ["a", 0, 0], "trans"),
                                ("root_pose", [float("nan"), 0, 0], "root_pose holds NaN"),
                                ("trans", [10**400, 0, 0], "trans is not 1 x 3")):
        (tmp_path / "m" / "smplx_params" / "00002.json").write_text(json.dumps(frame | {key: value}))
        with pytest.raises(InputError, match=rf"00002\.json: {message}"):
            read_motion(str(tmp_path / "m"))


# -- dispatch -----------------------------------------------------------------------------------------------------


def test_other_files_say_what_would_work(tmp_path: Path) -> None:
    for name, message in (("a.fbx", "is not FBX"), ("a.json", "folder of frames"), ("a.asf", r"\.amc"),
                          ("a.txt", "not a motion this program reads")):
        with pytest.raises(InputError, match=message):
            read_motion(str(put(tmp_path / name, "x")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no frames"):
        read_motion(str(tmp_path / "empty"))
    for name in ("none.bvh", "none.glb#a", "none.npz", "none.amc"):
        with pytest.raises(InputError, match=r"no such file|needs its skeleton"):
            read_motion(str(tmp_path / name))


# -- convert ------------------------------------------------------------------------------------------------------


def test_motions_convert_between_all_kinds(walk: SkeletonClip, tmp_path: Path) -> None:
    write_bvh(tmp_path / "walk.bvh", walk)
    plain = {"avatar_options": AvatarOptions(), "motion_options": MotionOptions()}
    convert(str(tmp_path / "walk.bvh"), tmp_path / "walk.npz", **plain)
    convert(str(tmp_path / "walk.npz"), tmp_path / "frames", **plain)
    convert(str(tmp_path / "frames"), tmp_path / "back.bvh", **plain)
    back = read_motion(str(tmp_path / "back.bvh"))
    assert back.frames == walk.frames
    knee = back.joint_names.index("left_knee")
    moved = back.positions[:, knee] - back.positions[:, 0]
    was = walk.positions[:, JOINT_NAMES.index("left_knee")] - walk.positions[:, 0]
    up = -moved if np.abs(moved[:, 1] + was[:, 1]).max() < 0.1 else moved
    # LHM's axes are the camera's; heights agree to 3 cm after planting.
    assert np.abs(np.abs(up[:, 1]) - np.abs(was[:, 1])).max() < 0.03
    with pytest.raises(InputError, match="is there already"):
        convert(str(tmp_path / "walk.npz"), tmp_path / "frames", **plain)
    with pytest.raises(InputError, match="motions are written as"):
        convert(str(tmp_path / "walk.npz"), tmp_path / "a.xyz", **plain)
    convert(str(tmp_path / "walk.npz"), tmp_path / "new" / "folder" / "walk.bvh", **plain)
    convert("walk", tmp_path / "other" / "walk.npz", **plain)
    assert (tmp_path / "new" / "folder" / "walk.bvh").is_file() and (tmp_path / "other" / "walk.npz").is_file()
    with pytest.raises(InputError, match="cannot be written"):
        convert("walk", tmp_path / "walk.npz" / "inner" / "walk.bvh", **plain)
    with pytest.raises(InputError, match=r"--speed 0: must be"):
        convert("walk", tmp_path / "slow.bvh", avatar_options=AvatarOptions(), motion_options=MotionOptions(speed=0.0))
    faster = {"avatar_options": AvatarOptions(), "motion_options": MotionOptions(fps=60.0, frames=(0, 10))}
    convert("twirl", tmp_path / "twirl.bvh", **faster)
    assert read_motion(str(tmp_path / "twirl.bvh")).frames == 10


def test_avatars_convert_to_splats(tmp_path: Path) -> None:
    path = write_glb(tmp_path / "boxes.glb")
    line = convert(str(path), tmp_path / "boxes.ply", avatar_options=AvatarOptions(), motion_options=MotionOptions(),
                   count=2000)
    assert "2000 Gaussians" in line
    from export_formats import read

    assert read(tmp_path / "boxes.ply").count == 2000
    with pytest.raises(InputError, match="avatars are written as splats"):
        convert(str(path), tmp_path / "boxes.bvh", avatar_options=AvatarOptions(), motion_options=MotionOptions())


# -- inspect ------------------------------------------------------------------------------------------------------


def test_inspect_says_what_a_file_is_and_draws_it(walk: SkeletonClip, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    write_bvh(tmp_path / "walk.bvh", walk)
    assert ani3d.main(["inspect", str(tmp_path / "walk.bvh"), "--json", "--picture", str(tmp_path / "walk.png")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["is"] == "motion" and facts["frames"] == walk.frames and facts["up_axis"] == "y"
    assert facts["unit"] == "m" and facts["roles"]["left_knee"] == "left_knee" and facts["skeleton"][0] == "pelvis"
    with Image.open(tmp_path / "walk.png") as picture:
        assert picture.width > 1000 and np.asarray(picture).std() > 5
    glb = write_glb(tmp_path / "boxes.glb")
    assert ani3d.main(["inspect", str(glb), "--picture", str(tmp_path / "boxes.png")]) == 0
    text = capsys.readouterr().out
    assert "skinned mesh" in text and "    left_hip" in text and "wave" in text
    put(tmp_path / "a.obj", "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1/1 2/2 3/3 4/4\nf -1 -2 -3\n")
    assert ani3d.main(["inspect", str(tmp_path / "a.obj"), "--json", "--picture", str(tmp_path / "obj.png")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["vertices"] == 4 and facts["faces"] == 2 and "no skeleton" in facts["warnings"][0]
    with Image.open(tmp_path / "obj.png") as picture:
        assert np.asarray(picture).std() > 5
    for bad in ("v 0 0\n", "v 0 0 nan\n", "v 0 0 0\nf 1 2 3\n", "f a b c\n",
                f"v 0 0 0\nf 1 1 {10**30}\n"):
        assert ani3d.main(["inspect", str(put(tmp_path / "bad.obj", bad))]) == 2
    assert ani3d.main(["inspect", str(tmp_path / "none.bvh")]) == 2
    assert ani3d.main(["inspect", str(put(tmp_path / "a.txt", "x"))]) == 2
    assert ani3d.main(["inspect", str(glb), "--picture", str(tmp_path / "a.jpg")]) == 2
    assert "Traceback" not in capsys.readouterr().err and not (tmp_path / "a.jpg").exists()


@needs_data
@pytest.mark.parametrize("path", sorted(
    p for pattern in ("motion/*/*.bvh", "motion/*/*.npz", "splats/*/*.s*", "splats/*/*.ks*")
    for p in DATA.glob(pattern)), ids=lambda p: p.name)
def test_shared_files_are_inspected(path: Path) -> None:
    facts = inspect_file(str(path))
    assert facts["is"] in ("motion", "avatar")
    if facts["is"] == "motion":
        assert facts["person"] and facts["up_axis"] in ("y", "z")
    else:
        assert facts["gaussians"] > 0 and "warnings" in facts  # the samples are no people
