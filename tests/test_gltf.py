"""glTF: an independent reader plays the GLB as our player does, and Khronos's validator accepts it."""

import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from asymmetric_figure import assert_right_way_round, make_figure, with_driven_clip
from export_checks import angles

import export_formats
from export_formats import ExportOptions, glb
from runtime import rotations
from runtime.errors import InputError
from runtime.player import Player
from runtime.types import GaussianSet

OUTSIDE = Path(__file__).parent / "outside" / "formats"
KHR = "KHR_gaussian_splatting:"
TYPES = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def load(path: Path) -> tuple[dict, bytes]:
    """The JSON and the binary chunk."""
    content = path.read_bytes()
    magic, version, total, size, kind = struct.unpack_from("<4sIII4s", content)
    assert (magic, version, total, kind) == (b"glTF", 2, len(content), b"JSON")
    assert struct.unpack_from("<4s", content, 24 + size)[0] == b"BIN\0"
    return json.loads(content[20:20 + size]), content[28 + size:]


def accessor(gltf: dict, binary: bytes, index: int) -> np.ndarray:
    """An accessor's rows [N C], as glTF 2.0 section 3.6.2 says: zeros, a buffer view, sparse values over them."""
    about = gltf["accessors"][index]
    width = WIDTHS[about["type"]]

    def view(view_index: int, kind: str, count: int) -> np.ndarray:
        offset = gltf["bufferViews"][view_index]["byteOffset"]
        return np.frombuffer(binary, kind, count=count, offset=offset)

    kind = TYPES[about["componentType"]]
    rows = np.zeros((about["count"], width), kind)
    if "bufferView" in about:
        rows = view(about["bufferView"], kind, about["count"] * width).reshape(-1, width)
    if "sparse" in about:
        sparse = about["sparse"]
        where = view(sparse["indices"]["bufferView"], TYPES[sparse["indices"]["componentType"]], sparse["count"])
        rows = rows.copy()
        rows[where] = view(sparse["values"]["bufferView"], kind, sparse["count"] * width).reshape(-1, width)
    return rows / np.iinfo(kind).max if about.get("normalized") else rows


def play(path: Path, time: float, clip: int = 0) -> dict[str, np.ndarray]:
    """Splats at a time, by glTF's rules alone: animate nodes and weights, add morph targets, then skin."""
    gltf, binary = load(path)
    nodes = [dict(node) for node in gltf["nodes"]]
    weights = np.array(gltf["meshes"][0].get("weights", []))
    for channel in gltf["animations"][clip]["channels"]:
        sampler = gltf["animations"][clip]["samplers"][channel["sampler"]]
        clock = accessor(gltf, binary, sampler["input"])[:, 0]
        values = accessor(gltf, binary, sampler["output"]).astype(np.float64).reshape(len(clock), -1)
        before = int(np.clip(np.searchsorted(clock, time, side="right") - 1, 0, max(len(clock) - 2, 0)))
        after = min(before + 1, len(clock) - 1)
        part = 0.0 if after == before else float(np.clip((time - clock[before]) / (clock[after] - clock[before]), 0, 1))
        path_name = channel["target"]["path"]
        if path_name == "rotation":
            a, b = np.roll(values[before], 1), np.roll(values[after], 1)
            value = np.roll(rotations.slerp(a, b if a @ b >= 0 else -b, part), -1)
        else:
            value = (1 - part) * values[before] + part * values[after]
        if path_name == "weights":
            weights = value
        else:
            nodes[channel["target"]["node"]][path_name] = value
    primitive = gltf["meshes"][0]["primitives"][0]
    splats = {name: accessor(gltf, binary, index).astype(np.float64) for name, index in primitive["attributes"].items()}
    for weight, target in zip(weights, primitive.get("targets", []), strict=True):
        for name, index in target.items():
            splats[name] = splats[name] + weight * accessor(gltf, binary, index)
    world = {}

    def visit(index: int, parent: np.ndarray) -> None:
        local = np.eye(4)
        local[:3, :3] = rotations.to_matrix(np.roll(np.array(nodes[index].get("rotation", (0, 0, 0, 1))), 1))
        local[:3, :3] *= nodes[index].get("scale", (1, 1, 1))
        local[:3, 3] = nodes[index].get("translation", (0, 0, 0))
        world[index] = parent @ local
        for child in nodes[index].get("children", []):
            visit(child, world[index])

    for root in gltf["scenes"][0]["nodes"]:
        visit(root, np.eye(4))
    skin = gltf["skins"][0]
    bind = accessor(gltf, binary, skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)
    matrices = np.stack([world[joint] for joint in skin["joints"]]) @ bind
    blended = sum(splats[f"WEIGHTS_{s}"][:, k, None, None] * matrices[splats[f"JOINTS_{s}"][:, k].astype(int)]
                  for s in range(4) if f"JOINTS_{s}" in splats for k in range(4))
    splats["POSITION"] = np.einsum("nij,nj->ni", blended[:, :3, :3], splats["POSITION"]) + blended[:, :3, 3]
    splats["turn"] = rotations.from_matrix(rotations.nearest_rotation(blended[:, :3, :3]))
    return splats


def rigged(tmp_path: Path, *, dense: bool = False, options: ExportOptions | None = None):
    figure = make_figure(dense=dense)
    path = tmp_path / "a.glb"
    report = export_formats.write(figure, path, to="glb", options=options)
    return figure, path, report


@pytest.mark.parametrize("dense", [False, True])
def test_independent_reader_plays_the_glb_as_the_player_does(tmp_path, dense):
    """At 20 random times. Everything is stored in float32: a metre is off by 2^-24, a few of them add up."""
    figure, path, _ = rigged(tmp_path, dense=dense)
    player = Player(figure)
    for time in np.random.default_rng(5).uniform(0, player.duration, 20):
        splats, truth = play(path, float(time)), player.gaussians_at(float(time), loop=False)
        assert np.abs(splats["POSITION"] - truth.means).max() < 2e-6
        # Sizes interpolate linearly in the logarithm on both sides.
        scale = np.log(splats[f"{KHR}SCALE"]) + splats["_LOG_SCALE"]
        assert np.abs(scale - truth.log_scales).max() < 2e-6
    assert_right_way_round(player.gaussians_at(0.1))


def test_joints_that_are_scaled_at_rest_stay_where_the_player_has_them(tmp_path):
    """As in files whose armature is in centimetres. A stretched joint is no glTF node that turns: that is told."""
    figure, path = make_figure(), tmp_path / "a.glb"
    rest = figure.rig.T_world_joint_rest.copy()
    rest[:, :3, :3] *= np.linspace(0.01, 2, len(rest))[:, None, None]
    scaled = replace(figure, rig=replace(figure.rig, T_world_joint_rest=rest))
    report = export_formats.write(scaled, path, to="glb")
    assert not any("uneven" in line for line in report.lost)
    player = Player(scaled)
    for time in (0.0, 0.07, 0.15):
        # 1 / 0.01 in float32.
        assert np.abs(play(path, time)["POSITION"] - player.gaussians_at(time, loop=False).means).max() < 3e-5
    rest[1, :3, 0] *= 1.5
    report = export_formats.write(scaled, path, to="glb")
    assert any("uneven" in line for line in report.lost)


def test_weights_are_between_0_and_1(tmp_path):
    """Blender and Unity clamp others: Blender 5.0 was 2 cm off with signed weights."""
    _, path, _ = rigged(tmp_path)
    gltf, binary = load(path)
    animation = gltf["animations"][0]
    sampler, = (animation["samplers"][channel["sampler"]] for channel in animation["channels"]
                if channel["target"]["path"] == "weights")
    weights = accessor(gltf, binary, sampler["output"])
    assert weights.min() == 0 and weights.max() <= 1 and len(np.unique(weights)) > 20


def test_extra_attributes_give_orientations_at_frames(tmp_path):
    """The recipe of the module's documentation; between frames rotation vectors interpolate a little differently."""
    figure, path, _ = rigged(tmp_path)
    mean = accessor(*load(path), load(path)[0]["meshes"][0]["primitives"][0]["attributes"]["_ROTATION"]).astype(float)
    for frame in range(7):
        splats, truth = play(path, frame / 30), Player(figure).gaussians_at(frame / 30, loop=False)
        rest = np.roll(splats[f"{KHR}ROTATION"], 1, axis=1)
        undone = rotations.multiply(rotations.from_rotvec(-mean), rest)
        canonical = rotations.multiply(rotations.from_rotvec(splats["_ROTATION"]), undone)
        assert angles(rotations.multiply(splats["turn"], canonical), truth.quats_wxyz).max() < 1e-5


def test_rigid_export_equals_rigid_playing(tmp_path):
    figure, path, _ = rigged(tmp_path, options=ExportOptions(residual=False))
    assert "targets" not in load(path)[0]["meshes"][0]["primitives"][0]
    truth = Player(figure).gaussians_at(0.11, residual=False, loop=False)
    assert np.abs(play(path, 0.11)["POSITION"] - truth.means).max() < 2e-6


def test_frames_and_rate_choose_keys(tmp_path):
    figure, path, report = rigged(tmp_path, options=ExportOptions(frames=(2, 11), fps=60))
    assert report.frames == 9
    truth = Player(figure).gaussians_at(5 / 60, loop=False)
    assert np.abs(play(path, 3 / 60)["POSITION"] - truth.means).max() < 2e-6


def test_clip_moved_by_the_pose_residual(tmp_path):
    """At the keys, where the network was run: positions by the standard, sizes by the extra attribute."""
    figure, path = with_driven_clip(make_figure()), tmp_path / "a.glb"
    report = export_formats.write(figure, path, to="glb", options=ExportOptions(clip=1))
    player = Player(figure, 1)
    moved = np.abs(player.gaussians_at(0.1).means - player.gaussians_at(0.1, residual=False).means).max()
    assert moved > 0.005, "the network moves nothing"
    for frame in range(7):
        splats, truth = play(path, frame / 30), player.gaussians_at(frame / 30, loop=False)
        assert np.abs(splats["POSITION"] - truth.means).max() < 2e-6
        assert np.abs(np.log(splats[f"{KHR}SCALE"]) + splats["_LOG_SCALE"] - truth.log_scales).max() < 2e-6
    assert any("other 1 of 2 clips" in line for line in report.lost)


def test_all_clips_in_one_file(tmp_path):
    """Each animation plays its clip: its own basis, its own mean, all joints."""
    figure, path = with_driven_clip(make_figure()), tmp_path / "a.glb"
    report = export_formats.write(figure, path, to="glb", options=ExportOptions(all_clips=True))
    gltf = load(path)[0]
    assert [animation["name"] for animation in gltf["animations"]] == ["wave", "other"] and report.frames == 14
    assert not any("clips" in line for line in report.lost)
    for clip in (0, 1):
        player = Player(figure, clip)
        for frame in (0, 2, 6):
            splats, truth = play(path, frame / 30, clip), player.gaussians_at(frame / 30, loop=False)
            assert np.abs(splats["POSITION"] - truth.means).max() < 2e-6
            assert np.abs(np.log(splats[f"{KHR}SCALE"]) + splats["_LOG_SCALE"] - truth.log_scales).max() < 2e-6
            canonical = rotations.multiply(rotations.from_rotvec(splats["_ROTATION"]),
                                           np.roll(splats[f"{KHR}ROTATION"], 1, axis=1))
            assert angles(rotations.multiply(splats["turn"], canonical), truth.quats_wxyz).max() < 1e-5
    with pytest.raises(InputError, match="--all-clips"):
        export_formats.write(figure, path, to="glb", options=ExportOptions(all_clips=True, frames=(0, 2)))


def test_still_frame_holds_the_splats_exactly(tmp_path):
    figure, path = make_figure(), tmp_path / "a.glb"
    export_formats.write(figure, path, to="glb-still", options=ExportOptions(time=0.1))
    gltf, binary = load(path)
    splats = {name: accessor(gltf, binary, index) for name, index
              in gltf["meshes"][0]["primitives"][0]["attributes"].items()}
    truth = Player(figure).gaussians_at(0.1, loop=False)
    back = GaussianSet(means=splats["POSITION"], quats_wxyz=np.roll(splats[f"{KHR}ROTATION"], 1, axis=1),
                       log_scales=np.log(splats[f"{KHR}SCALE"]), sh0=splats[f"{KHR}SH_DEGREE_0_COEF_0"],
                       opacity_logits=truth.opacity_logits, labels=truth.labels)
    assert_right_way_round(back)
    np.testing.assert_array_equal(back.means, truth.means)
    np.testing.assert_allclose(splats[f"{KHR}OPACITY"][:, 0], truth.opacities)
    np.testing.assert_allclose(back.log_scales, truth.log_scales, atol=1e-6)
    # COLOR_0 is linear light: back through the sRGB curve it is the display colour, to 16 bits.
    linear = splats["COLOR_0"][:, :3]
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(encoded - np.clip(truth.colors, 0, 1)).max() < 1e-3


@pytest.mark.parametrize("dense", [False, True])
def test_babylon_plays_the_glb_as_the_player_does(tmp_path, dense):
    """An engine without any code of ours: its own skin, morph targets and animation, in float32."""
    node = shutil.which("node")
    if node is None or not (OUTSIDE / "node_modules" / "@babylonjs" / "loaders").is_dir():
        pytest.skip("install node and npm, then `make outside`")
    figure, path, _ = rigged(tmp_path, dense=dense)
    times = [round(float(time), 4) for time in np.random.default_rng(6).uniform(0, Player(figure).duration, 8)]
    done = subprocess.run([node, "play.mjs", str(path), *map(str, times)], cwd=OUTSIDE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    played = json.loads(done.stdout.splitlines()[-1])
    for time in times:
        truth = Player(figure).gaussians_at(time, loop=False)
        assert np.abs(np.array(played[str(time)]).reshape(-1, 3) - truth.means).max() < 2e-6


# 207 MB to fetch and half a gigabyte on the disk, which no installation here brings: asked where somebody has it.
if shutil.which("blender"):
    def test_blender_plays_the_glb_as_the_player_does(tmp_path):
        """Armature and shape keys, which keep weights between 0 and 1."""
        figure, path, _ = rigged(tmp_path)
        times = [round(float(time), 4) for time in np.random.default_rng(7).uniform(0, Player(figure).duration, 5)]
        done = subprocess.run(["blender", "-b", "--factory-startup", "-P", str(OUTSIDE / "blender.py"), "--", str(path),
                               str(tmp_path / "out.json"), *map(str, times)], capture_output=True, text=True)
        if "No module named 'numpy'" in done.stdout + done.stderr:
            pytest.skip("Blender's glTF importer wants numpy in Blender's Python: install python3-numpy")
        assert (tmp_path / "out.json").exists(), done.stdout + done.stderr
        played = json.loads((tmp_path / "out.json").read_text())
        for time in times:
            truth = Player(figure).gaussians_at(time, loop=False)
            # Between keys Blender turns joints by its own quaternion curves: not quite the arc.
            assert np.abs(np.array(played[str(time)]) - truth.means).max() < 1e-4


@pytest.mark.parametrize("to, dense, options", [
    ("glb", False, ExportOptions()), ("glb", True, ExportOptions()), ("glb", False, ExportOptions(residual=False)),
    ("glb", False, ExportOptions(rest=True)), ("glb", False, ExportOptions(all_clips=True)),
    ("glb-still", False, ExportOptions(time=0.1))])
def test_khronos_validator_finds_only_the_names_it_does_not_know_yet(tmp_path, to, dense, options):
    node = shutil.which("node")
    if node is None or not (OUTSIDE / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("install node and npm, then `make outside`")
    path = tmp_path / "a.glb"
    export_formats.write(with_driven_clip(make_figure(dense=dense)), path, to=to, options=options)
    done = subprocess.run([node, "validate.cjs", str(path)], cwd=OUTSIDE, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    issues = [issue for issue in report["issues"]["messages"] if issue["severity"] <= 1]
    assert issues and not report["issues"]["truncated"]
    for issue in issues:
        assert issue["code"] == "MESH_PRIMITIVE_INVALID_ATTRIBUTE", issue
        assert f"/attributes/{KHR}" in issue["pointer"], issue


def test_validator_test_can_fail(tmp_path):
    node = shutil.which("node")
    if node is None or not (OUTSIDE / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("install node and npm, then `make outside`")
    _, path, _ = rigged(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"JOINTS_0"', b'"JOINTS_5"'))
    done = subprocess.run([node, "validate.cjs", str(path)], cwd=OUTSIDE, capture_output=True, text=True, check=True)
    codes = {issue["code"] for issue in json.loads(done.stdout)["issues"]["messages"] if issue["severity"] <= 1}
    assert codes - {"MESH_PRIMITIVE_INVALID_ATTRIBUTE"}


def test_other_axes_are_refused(tmp_path):
    with pytest.raises(InputError, match="RUB"):
        export_formats.write(make_figure(), tmp_path / "a.glb", to="glb", options=ExportOptions(axes="RDF"))
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_format_counts_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(glb, "_MOST_BYTES", 100_000)
    with pytest.raises(InputError, match="--lod"):
        export_formats.write(make_figure(), tmp_path / "a.glb", to="glb")
    assert list(tmp_path.iterdir()) == []
