"""baker/fbx_*.py: binary FBX read without another program; Blender agrees where it is installed."""

from __future__ import annotations

import io
import shutil
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sample_fbx
from PIL import Image
from sample_gltf import COUNT, box_person
from scipy.spatial.transform import Rotation

from baker.avatars import load_avatar
from baker.body import JOINT_NAMES, make_body
from baker.fbx_animation import _Curve
from baker.fbx_nodes import FbxNode, PackedArray, array
from baker.fbx_scene import FbxObject, local_transforms
from baker.inspect_file import inspect_file
from baker.motion_files import read_motion
from baker.motions import load_motion_with_report
from runtime import rotations, skinning
from runtime.errors import InputError

TIMES = np.arange(sample_fbx.FRAMES) / 30


@pytest.fixture(scope="module")
def figure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_fbx.write(tmp_path_factory.mktemp("fbx") / "figure.fbx", sample_fbx.person())


@pytest.mark.parametrize(("version", "packed", "mesh"), [(7400, True, True), (7500, False, True), (7700, True, False)])
def test_a_motion_is_where_its_angles_say(tmp_path: Path, version: int, packed: bool, mesh: bool) -> None:
    """Pre-rotations, Euler curves, centimetres: against positions worked out apart, in metres."""
    path = sample_fbx.write(tmp_path / "a.fbx", sample_fbx.person(mesh=mesh), version=version, packed=packed)
    clip = read_motion(str(path))
    assert clip.kind == "fbx" and clip.fps == 30.0 and clip.frames == sample_fbx.FRAMES
    rows = [clip.joint_names.index(f"mixamorig:{name}") for name in JOINT_NAMES[:COUNT]]
    np.testing.assert_allclose(clip.positions[:, rows], sample_fbx.world(TIMES), atol=2e-6)
    np.testing.assert_allclose(clip.rest_positions[rows], make_body({}).joints[:COUNT], atol=1e-6)


def test_a_figure_arrives_whole_and_plays_its_own_clip(figure: Path) -> None:
    avatar = load_avatar(str(figure), count=2000)
    avatar.rig.check("figure", gaussians=2000)
    vertices, _, _ = box_person()
    root = make_body({}).joints[0]
    assert (avatar.gaussians.means >= (vertices.min(0) - root) - 1e-4).all()
    assert (avatar.gaussians.means <= (vertices.max(0) - root) + 1e-4).all()
    linear = np.array([0.2, 0.5, 0.8])
    srgb = 1.055 * linear ** (1 / 2.4) - 0.055
    assert np.abs(np.median(avatar.gaussians.colors, axis=0) - srgb).max() < 0.15
    motion, report = load_motion_with_report(str(figure), avatar)
    assert report is None and motion.frames == sample_fbx.FRAMES
    expected = sample_fbx.world(TIMES)
    knee = JOINT_NAMES.index("left_knee")
    ours = np.stack([skinning.joint_transforms(avatar.rig, motion, t)[avatar.rig.joint_names.index(
        "mixamorig:left_knee"), :3, 3] for t in range(motion.frames)])
    away = ours - expected[:, knee]
    assert np.ptp(away, axis=0).max() < 1e-4  # only the floor and the start are ours
    facts = inspect_file(str(figure))
    assert facts["clips"] == ["mixamo.com"] and facts["parts"] == ["figure"] and facts["person"]


def test_a_mixamo_motion_goes_onto_the_built_in_person(figure: Path) -> None:
    avatar = load_avatar("builtin", count=1500)
    motion, report = load_motion_with_report(str(figure), avatar)
    assert report is not None and report.limb_error_deg < 2 and motion.frames == sample_fbx.FRAMES


def test_textures_lie_inside_or_beside_or_are_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 30, 30)).save(buffer, "PNG")
    inside = sample_fbx.write(tmp_path / "in.fbx", sample_fbx.person(texture=buffer.getvalue()))
    colors = load_avatar(str(inside), count=500).gaussians.colors
    assert (colors[:, 0] > colors[:, 1] + 0.2).mean() > 0.9
    beside = sample_fbx.write(tmp_path / "out.fbx", sample_fbx.person(texture=b""))
    with pytest.raises(InputError, match=r"out\.fbx: its texture 'skin\.png' is missing"):
        load_avatar(str(beside), count=500)
    (tmp_path / "out.fbm").mkdir()
    (tmp_path / "out.fbm" / "skin.png").write_bytes(buffer.getvalue())
    assert (load_avatar(str(beside), count=500).gaussians.colors[:, 0] > 0.3).mean() > 0.9
    # A name that looks like part of an address is a name all the same.
    odd = sample_fbx.write(tmp_path / "odd.fbx", sample_fbx.person(texture=b"", texture_name="a%20b#1.png"))
    (tmp_path / "a%20b#1.png").write_bytes(buffer.getvalue())
    assert (load_avatar(str(odd), count=500).gaussians.colors[:, 0] > 0.3).mean() > 0.9


def test_z_up_inches_and_metres_arrive_the_same(tmp_path: Path) -> None:
    plain = read_motion(str(sample_fbx.write(tmp_path / "a.fbx", sample_fbx.person(mesh=False))))
    trees = sample_fbx.person(mesh=False)
    # As 3ds Max says it: its z is up, its -y comes towards us; 2.54 cm a unit.
    trees[0] = ("GlobalSettings", [], [sample_fbx.properties(UpAxis=2, CoordAxis=0, FrontAxis=1, FrontAxisSign=-1,
                                                             UnitScaleFactor=2.54)])
    other = read_motion(str(sample_fbx.write(tmp_path / "b.fbx", trees)))
    turned = np.stack([plain.positions[..., 0], plain.positions[..., 2], -plain.positions[..., 1]], -1)
    np.testing.assert_allclose(other.positions, 2.54 * turned, atol=1e-5)


@pytest.mark.parametrize(("number", "order"), enumerate(("xyz", "xzy", "yzx", "yxz", "zxy", "zyx")))
def test_rotation_orders_and_what_turns_before_and_after(number: int, order: str) -> None:
    """FBX SDK's EFbxRotationOrder: the axis named first turns first. Without `RotationActive` neither order nor
    pre- and post-rotation count."""
    angles, before, after = np.array([[20.0, -50.0, 70.0]]), (10.0, 30.0, -20.0), (-40.0, 5.0, 15.0)
    properties: dict[str, tuple[object, ...]] = {"RotationOrder": (number,), "PreRotation": before,
                                                 "PostRotation": after}
    for active in (0, 1):
        model = FbxObject(1, "Model", "", "", FbxNode("", (), ()), properties | {"RotationActive": (active,)})
        turn = local_transforms(model, np.zeros((1, 3)), angles, np.ones((1, 3)))[1]
        own = Rotation.from_euler(order if active else "xyz", angles[0, ["xyz".index(a) for a in (
            order if active else "xyz")]], degrees=True)
        if active:
            first, last = (Rotation.from_euler("xyz", v, degrees=True) for v in (before, after))
            own = first * own * last.inv()
        np.testing.assert_allclose(rotations.to_matrix(turn[0]), own.as_matrix(), atol=1e-12)


def test_cubic_linear_and_held_keys() -> None:
    curve = _Curve(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 1.0, 5.0]),
                   np.array([[0.0, 3.0], [0.0, 0.0], [0.0, 0.0]]), np.array([8, 4, 2, 4]))
    t = np.array([-1.0, 0.25, 0.5, 1.5, 2.9, 3.0, 9.0])
    # The cubic is t^3: value 1, slope 3 at its end.
    np.testing.assert_allclose(curve.at(t), [0, 0.25**3, 0.125, 1, 1, 5, 5], atol=1e-12)


def test_an_array_that_claims_to_be_empty_unpacks_to_nothing(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(64 << 20))
    tracemalloc.start()
    values = array(FbxNode("Vertices", (PackedArray("<f8", 0, True, bomb),), ()), tmp_path / "a.fbx")
    assert not len(values) and tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def _damaged(change: Any) -> Any:
    return lambda data: bytes(change(bytearray(data)))


@pytest.mark.parametrize(("data", "message"), [
    (lambda d: d[: len(d) // 2], "truncated or damaged"), (lambda d: d[:25], "truncated"),
    (lambda d: d[:23] + struct.pack("<I", 6100) + d[27:], r"version 6\.1"),
    (lambda d: b"; FBX 7.4.0 project file\n", "written as text"), (lambda d: b"hello", "is not FBX"),
    (lambda d: d[:27] + struct.pack("<III", 1 << 31, 0, 0) + d[39:], "do not fit together")])
def test_bad_files_are_one_line(figure: Path, tmp_path: Path, data: Any, message: str) -> None:
    (tmp_path / "bad.fbx").write_bytes(data(figure.read_bytes()))
    with pytest.raises(InputError, match=message) as error:
        read_motion(str(tmp_path / "bad.fbx"))
    assert "\n" not in str(error.value)


if shutil.which("blender"):
    def test_blender_sees_the_same_joints(figure: Path, tmp_path: Path) -> None:
        """Blender's own importer, frame by frame, to 10 micrometres."""
        import json
        import subprocess

        script = Path(__file__).parent / "outside" / "formats" / "blender_fbx.py"
        done = subprocess.run(["blender", "-b", "--factory-startup", "--python-exit-code", "1", "-P", str(script), "--",
                               str(figure), str(tmp_path / "joints.json")], capture_output=True, timeout=120,
                              check=False)
        assert done.returncode == 0, done.stderr[-800:]
        frames = json.loads((tmp_path / "joints.json").read_text())
        clip = read_motion(str(figure))
        assert len(frames) == clip.frames
        for name in frames[0]:
            seen = np.array([frame[name] for frame in frames])[:, [0, 2, 1]] * [1, 1, -1]
            np.testing.assert_allclose(seen, clip.positions[:, clip.joint_names.index(name)], atol=1e-5)
