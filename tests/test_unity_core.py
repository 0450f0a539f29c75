"""The Unity package without Unity: its C# core under mono, its shaders on software OpenGL, both against the player."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_checks import KINDS, TIMES, CoreContract, Dumped, Gpu, Session, check_page, shown, write_bundles
from gl_context import software_gl
from outside.shaders import hlsl
from outside.unity.compile import check
from sample_bundle import make_bundle

from export_formats import ExportOptions, unity_export
from runtime import _raster_blend, _raster_project, bundle_blocks, framing, stage_reference
from runtime.actor import Actor
from runtime.bundle import read_bundle
from runtime.cameras import orbit_camera
from runtime.compositing import composite
from runtime.player import Player
from runtime.raster import render
from runtime.rotations import to_matrix
from runtime.skinning import joint_transforms

PACKAGE = Path(__file__).resolve().parent.parent / "export_formats" / "unity"
CORE, SHADERS = PACKAGE / "Runtime" / "Core", PACKAGE / "Runtime" / "Resources"
SIZE = (240, 416)
DECLARED = r"^(?:RW)?(?:StructuredBuffer<\w+>|Texture2D<\w+>|float[24]?|uint4?) (\w+)(?:\[\d\])?;"

mono = pytest.mark.skipif(shutil.which("mcs") is None or shutil.which("mono") is None,
                          reason="install mono-mcs and mono-runtime (apt-get), or run `make test` as root on Debian")
shader = pytest.mark.skipif(hlsl.MISSING is not None, reason=str(hlsl.MISSING))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The core and Dump.cs, compiled as C# 7.2 with every warning an error."""
    target = tmp_path_factory.mktemp("mono") / "dump.exe"
    sources = [str(file) for file in (*sorted(CORE.glob("*.cs")), Path(__file__).parent / "outside/unity/Dump.cs")]
    done = subprocess.run(["mcs", "-langversion:7.2", "-warn:4", "-warnaserror", f"-out:{target}", *sources],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ["mono", str(target)]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return write_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def context():
    with software_gl() as made:
        yield made


@mono
class TestCore(CoreContract):
    """The C# core under mono."""


@mono
def test_playing_leaves_no_garbage(program, bundles):
    done = subprocess.run([*program, "garbage", str(bundles["two"])], capture_output=True, text=True, check=True)
    reading, playing = map(int, done.stdout.split("|"))
    assert reading > bundles["two"].stat().st_size, "the count of allocated bytes counts nothing"
    # Measured 24: once, not in each of the 1000 frames.
    assert playing < 1000


@mono
def test_axes_face_unitys_forward_with_the_left_hand_on_the_left(program, tmp_path):
    # A figure turned by 90 degrees about +Y in Unity (forward becomes +X), 2 m along +X; a camera 3 m in front of it,
    # looking back, level with 1 m. Unity's camera space is right, up, backward.
    local_to_world, world_to_camera = np.eye(4), np.eye(4)
    local_to_world[:3, :3] = np.stack([[0, 0, -1], [0, 1, 0], [1, 0, 0]], axis=1)
    local_to_world[:3, 3] = (2, 0, 0)
    forward, up = np.array([-1.0, 0, 0]), np.array([0, 1.0, 0])
    # In Unity's left-handed space right is up x forward by the numbers of the cross product.
    right = np.cross(up, forward)
    world_to_camera[:3, :3] = np.stack([right, up, -forward])
    world_to_camera[:3, 3] = -world_to_camera[:3, :3] @ (5, 1, 0)
    ours = orbit_camera(np.array([0, 1.0, 0]), azimuth=0.0, elevation=0.0, distance=3.0, fov_y=0.9, size=SIZE)
    near, far = 0.1, 100.0
    projection = np.diag([2 * ours.fx / SIZE[0], 2 * ours.fy / SIZE[1], -(far + near) / (far - near), 0])
    projection[2, 3], projection[3, 2] = -2 * far * near / (far - near), -1
    (tmp_path / "in.f8").write_bytes(np.concatenate(
        [local_to_world.ravel(), world_to_camera.ravel(), projection.ravel(), SIZE, [0]]).astype("<f8").tobytes())
    subprocess.run([*program, "axes", str(tmp_path)], check=True)
    rows = np.frombuffer((tmp_path / "rows.f4").read_bytes(), "<f4").reshape(3, 4)
    pinhole = np.frombuffer((tmp_path / "pinhole.f4").read_bytes(), "<f4")
    np.testing.assert_allclose(rows, ours.T_camera_world[:3], atol=1e-6)
    np.testing.assert_allclose(pinhole, (ours.fx, ours.fy, ours.cx, ours.cy), rtol=1e-6)


@pytest.fixture(scope="module")
def session(bundles, tmp_path_factory):
    """What Play.cs says of a session of the component in an invented Unity, by name."""
    outside = Path(__file__).parent / "outside/unity"
    target = tmp_path_factory.mktemp("play") / "play.exe"
    sources = [*sorted(CORE.glob("*.cs")), *sorted((PACKAGE / "Runtime/Player").glob("*.cs")),
               outside / "UnityEngine.cs", outside / "Play.cs"]
    done = subprocess.run(["mcs", "-langversion:7.2", "-warn:4", "-nowarn:0649,0414", f"-out:{target}",
                           *map(str, sources)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["mono", str(target), str(bundles["two"])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {}
    for line in done.stdout.splitlines():
        name, *numbers = line.split()
        lines.setdefault(name, []).append(np.array(numbers, float))
    return lines


@mono
def test_the_component_plays_as_the_runtimes_actor(session, bundles):
    """The session of Play.cs, step by step."""
    bundle = read_bundle(bundles["two"])
    played = Session(bundle)
    actor = played.actor
    actor.start(0, fade_seconds=0.3)
    played.steps(2, 0.1)
    actor.speed, actor.loop = 1.0, False
    actor.start(1)
    played.steps(3, 0.9)
    played.mixed()
    moments = [*played.moments, Actor(bundle, time=0.3, root_motion=False).moment()]
    assert len(session["joints"]) == len(moments)
    for said, moment in zip(session["joints"], moments, strict=True):
        joints = joint_transforms(bundle.rig, stage_reference.pose(bundle, moment), 0)[:, :3, 3]
        np.testing.assert_allclose(said.reshape(-1, 3) * (-1, 1, 1), joints, atol=2e-6)
    assert session["loaded"][0].tolist() == [1, 0], "its clock ran before it was loaded"
    assert session["time"][0] == pytest.approx([1, 40 / 30, 32 / 30], abs=1e-6)
    assert session["edit"][0] == 0


@mono
def test_the_component_draws_what_is_seen_and_frees_what_it_made(session):
    # Given to the engine, dispatches (one a layer and the skinning; five to sort), pictures, the newest shows.
    linear, gamma, hidden = session["drawn"][:4], session["drawn"][4:8], session["drawn"][8:]
    assert [line.tolist() for line in linear] == [[1, 7, 1, 1], [1, 5, 1, 1], [1, 5, 1, 1], [1, 7, 1, 1]]
    assert all(line[0] == line[3] == 1 and line[2] == 0 for line in gamma)
    # Out of view, another layer's camera, a preview: what was given before is stale. Then the scene view's.
    assert [line.tolist() for line in hidden[:3]] == [[0, 0, 0, 0]] * 3 and hidden[3][[0, 3]].tolist() == [1, 1]
    # Measured 40 bytes in 200 frames, of updating, posing two clips and drawing.
    assert session["garbage"][0] < 1000
    assert session["left"][0].tolist() == [0, 0, 0]


@mono
@shader
@pytest.mark.parametrize("kind", (*KINDS, "two"))
def test_compute_shader_poses_as_the_runtime_does(kind, program, bundles, context, tmp_path):
    bundle = read_bundle(bundles[kind])
    moments = [shown(bundle, 0, time) for time in TIMES]
    if kind == "two":
        # Two layers of one clip, one over them, then two over two.
        moments = [shown(bundle, 1, 1.2), shown(bundle, 1, 1.1, over=(0, 0.07, 0.25)),
                   shown(bundle, 1, 1.05, over=(1, 1.15, 1.5))]
    dump = Dumped(program, bundles[kind], tmp_path / "out", times=[text for text, _ in moments])
    gpu = Gpu(context, dump, SHADERS / "Ani3D.compute")
    for i, (_, moment) in enumerate(moments):
        gpu.pose(f"time{i}_", bundle)
        gpu.check_posed(stage_reference.gaussians_at(bundle, moment))


@pytest.fixture(scope="module")
def drawn(program, bundles, context, tmp_path_factory):
    """The figure's buffers and what it looks like: of a moment, from the front."""
    bundle = read_bundle(bundles["basis"])
    dump = Dumped(program, bundles["basis"], tmp_path_factory.mktemp("drawn") / "out")
    player = Player(bundle)
    camera = orbit_camera(player.target_at(TIMES[1]), azimuth=0.0, elevation=framing.ELEVATION,
                          distance=framing.DISTANCE, fov_y=framing.FOV_Y, size=SIZE)
    gpu = Gpu(context, dump, SHADERS / "Ani3D.compute")
    gpu.pose("time1_", bundle, camera)
    expected = render(player.gaussians_at(TIMES[1]), camera).rgba
    assert expected[..., 3].mean() > 0.02
    return gpu, camera, expected


def decibels(picture, expected, background=(0.5,) * 3):
    """Of two premultiplied pictures over a background."""
    mse = np.mean((composite(picture, background).astype(float) - composite(expected, background)) ** 2)
    return 10 * np.log10(255 ** 2 / max(mse, 1e-9))


def camera_numbers(camera):
    """What Ani3DRenderer.cs puts into Ani3DCamera.hlsl's buffer."""
    return np.array([(camera.fx, camera.fy, camera.cx, camera.cy), (0, 3, 7, 0), (0, 0, *SIZE),
                     (*SIZE, 1 / SIZE[0], 1 / SIZE[1])], np.float32).tobytes()


def clip_scale(camera):
    return 2 * camera.fx / SIZE[0], 2 * camera.fy / SIZE[1], 0, 0


def stages(folder, text, vertex, fragment):
    """GLSL of an .hlsl that includes one of the package's."""
    (folder / "draw.hlsl").write_text(text)
    return [hlsl.to_glsl(folder / "draw.hlsl", entry, stage, include=SHADERS)
            for entry, stage in ((vertex, "vert"), (fragment, "frag"))]


@mono
@shader
def test_compute_shader_sorts_and_draws_as_the_cpu_renderer_does(drawn, context, tmp_path):
    gpu, camera, expected = drawn
    gpu.check_order()
    # What Ani3DSplat.shader does with Unity's projection matrix.
    made = stages(tmp_path, """
        float4 ClipScale;
        #define VIEW_TO_CLIP(p) float4(p.x * ClipScale.x, p.y * ClipScale.y, 0.0, -p.z)
        #define TO_TARGET_COLOR(color) (color)
        #define IS_HIDDEN(vertex) false
        #include "Ani3DCamera.hlsl"
        #include "Ani3DSplat.hlsl"
    """, "SplatVert", "SplatFrag")
    gpu.buffers["CameraNumbers"] = context.buffer(camera_numbers(camera))
    picture = gpu.draw(made, {"ClipScale": clip_scale(camera), "Serial": 7.0}, SIZE)[0]
    assert decibels(picture, expected) > 55
    assert (gpu.draw(made, {"ClipScale": clip_scale(camera), "Serial": 6.0}, SIZE)[0] == 0).all(), "stale, and drawn"


@mono
@shader
def test_linear_projects_show_the_colours_that_were_learned(drawn, context, tmp_path):
    """Ani3DOffscreen, then Ani3DCompose over a linear scene: what a display that encodes sRGB shows."""
    gpu, camera, expected = drawn
    gpu.buffers["CameraNumbers"] = context.buffer(camera_numbers(camera))
    offscreen = stages(tmp_path, '#define ANI3D_ROWS_FROM_BELOW\n#include "Ani3DOffscreen.hlsl"',
                       "SplatVert", "OffscreenFrag")
    color, depth = gpu.draw(offscreen, {"Serial": 0.0}, SIZE, targets=2, flip=False)
    # OpenGL's first row is the lowest: the row sign has put the picture's top there.
    assert decibels(color, expected) > 55
    inside = color[..., 3] > 0.98
    distance = depth[inside][:, 0] / depth[inside][:, 3]
    middle = np.linalg.norm(camera.T_camera_world[:3, 3])
    assert (np.abs(distance - middle) < 1.5).all() and distance.std() > 0.01
    near, far = 0.1, 100.0
    compose = stages(tmp_path, f"""
        float4 ClipScale;
        #define VIEW_TO_CLIP(p) float4(p.x * ClipScale.x, p.y * ClipScale.y, \\
                                       {-(far + near) / (far - near)} * p.z + {-2 * far * near / (far - near)}, -p.z)
        #define DEVICE_DEPTH(clip) (0.5 * (clip).z / (clip).w + 0.5)
        #include "Ani3DCompose.hlsl"
    """, "ComposeVert", "ComposeFrag")
    uniforms = {"ClipScale": clip_scale(camera), "Serial": 7.0}
    pictures = {"Picture": color, "PictureDepth": depth}
    background = 0.5
    linear = gpu.compose(compose, uniforms, SIZE, pictures, scene_depth=1.0)
    light = linear[..., :3] + (1 - linear[..., 3:]) * ((background + 0.055) / 1.055) ** 2.4
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055)
    wanted = expected[..., :3] + (1 - expected[..., 3:]) * background
    error = (np.clip(encoded, 0, 1) - np.clip(wanted, 0, 1))[inside]
    # Half-transparent edges are mixed in linear light; blending every splat there gives 28 to 30 dB on a baked person.
    assert 10 * np.log10(1 / np.mean(error ** 2)) > 45
    # A wall between the nearest and the farthest splats hides those behind it, and no others.
    at = float(np.median(distance))
    wall = 0.5 * ((far + near) / (far - near) - 2 * far * near / (far - near) / at) + 0.5
    hidden = gpu.compose(compose, uniforms, SIZE, pictures, scene_depth=wall)[..., 3] == 0
    stale = gpu.compose(compose, uniforms | {"Serial": 6.0}, SIZE, pictures, scene_depth=1.0)
    assert (stale == 0).all()
    assert 0.2 < hidden[inside].mean() < 0.8 and (hidden[inside] == (distance > at)).mean() > 0.995


@mono
@shader
def test_orthographic_cameras_see_what_a_distant_one_does(program, bundles, context, tmp_path):
    bundle = read_bundle(bundles["basis"])
    dump = Dumped(program, bundles["basis"], tmp_path / "out")
    gpu = Gpu(context, dump, SHADERS / "Ani3D.compute")
    far = orbit_camera(np.array([0, 0.9, 0]), azimuth=0.6, elevation=0.1, distance=2000.0, fov_y=0.0011, size=SIZE)
    gpu.pose("time1_", bundle, far)
    distant = gpu.read("Splats", columns=8).copy()
    per_metre = replace(far, fx=far.fx / 2000, fy=far.fy / 2000)
    gpu.pose("time1_", bundle, per_metre, orthographic=True)
    ortho = gpu.read("Splats", columns=8)
    # A metre nearer is 1 / 2000 larger, of at most 500 px and 1000 px^2.
    np.testing.assert_allclose(ortho[:, :2], distant[:, :2], atol=0.5)
    np.testing.assert_allclose(ortho[:, 4:7], distant[:, 4:7], rtol=2e-3, atol=0.05)


@mono
@pytest.mark.parametrize("installed", [("Unity.Timeline", "Gsplat"), ()], ids=["with packages", "alone"])
def test_every_assembly_compiles_with_what_it_names(installed, tmp_path):
    said = check(PACKAGE, tmp_path, installed=installed)
    assert ("Ani3D.Timeline" in said) == ("Ani3D.Gsplat" in said) == bool(installed)
    assert {"Ani3D.Core", "Ani3D.Player", "Ani3D.Editor"} <= set(said)
    assert not any(said.values()), said


def test_every_shader_parameter_has_an_identifier():
    """A misspelt name in C# would be silent in Unity: the shader would read zeros."""
    declared = set()
    for file in SHADERS.glob("*.hlsl"):
        declared |= set(re.findall(DECLARED, file.read_text(), re.MULTILINE))
    # In Unity these are in the buffer CameraNumbers.
    declared -= {"SplatPinhole", "SplatOrthographic"}
    ids = (PACKAGE / "Runtime/Player/Ani3DShaders.cs").read_text()
    named = dict(re.findall(r'(\w+) = Shader\.PropertyToID\("(\w+)"\)', ids))
    assert all(field == name for field, name in named.items())
    assert set(named) == declared
    used = "".join(path.read_text() for path in (PACKAGE / "Runtime/Player").glob("*.cs"))
    assert all(re.search(rf"\bId\.{name}\b", used) for name in named)
    loaded = re.findall(r'Load<(?:Shader|ComputeShader)>\("(\w+)"\)|NewMaterial\("(\w+)"\)', used)
    names = {"".join(pair) for pair in loaded}
    assert names == {"Ani3D", "Ani3DSplat", "Ani3DOffscreen", "Ani3DCompose"}
    assert all((SHADERS / f"{name}.shader").exists() or (SHADERS / f"{name}.compute").exists() for name in names)


@shader
def test_copy_to_gsplat_is_the_same_figure_mirrored(context):
    rng = np.random.default_rng(2)
    values = {name: rng.normal(size=(70, 4)).astype(np.float32) for name in ("PosedMeans", "PosedQuats",
                                                                           "PosedLogScales", "Colors")}
    values["PosedQuats"] /= np.linalg.norm(values["PosedQuats"], axis=1, keepdims=True)
    buffers = {name: context.buffer(value.tobytes()) for name, value in values.items()}
    # glslang lays rows of float3 16 bytes apart, Unity 12: here the fourth float of a row is padding.
    targets = ("Positions", "Rotations", "Scales", "Coefficients")
    buffers |= {name: context.buffer(b"\xff" * 16 * 70) for name in targets}
    glsl = hlsl.to_glsl(SHADERS / "Ani3DToGsplat.compute", "Copy", "comp")
    made = context.compute_shader(glsl)
    hlsl.bind(context, glsl, buffers=buffers, uniforms={"Count": 65, "Total": 70})
    made.run(2)
    context.memory_barrier()
    out = {name: np.frombuffer(buffer.read(), np.float32) for name, buffer in buffers.items()}
    mirror = np.diag([-1.0, 1.0, 1.0])
    position = out["Positions"].reshape(-1, 4)[:65, :3]
    np.testing.assert_allclose(position, values["PosedMeans"][:65, :3] @ mirror, atol=1e-6)
    before = to_matrix(values["PosedQuats"][:65].astype(np.float64))
    after = to_matrix(out["Rotations"].reshape(-1, 4)[:65].astype(np.float64))
    np.testing.assert_allclose(after, mirror @ before @ mirror, atol=1e-6)
    scales = out["Scales"].reshape(-1, 4)[:65, :3]
    np.testing.assert_allclose(scales, np.exp(values["PosedLogScales"][:65, :3]), rtol=1e-5)
    assert (out["Coefficients"].reshape(-1, 4)[65:] == 0).all()


def test_export_gives_every_file_a_lasting_identifier(tmp_path):
    def metas_of(name):
        unity_export.write(make_bundle(), tmp_path / name, ExportOptions())
        return {path.relative_to(tmp_path / name): path.read_text() for path in (tmp_path / name).rglob("*.meta")}

    metas = metas_of("one")
    assert metas == metas_of("two")
    guids = [text.split("guid: ")[1].split("\n")[0] for text in metas.values()]
    assert len(set(guids)) == len(guids) and all(len(guid) == 32 for guid in guids)
    package = tmp_path / "one" / "com.ani3d.player"
    for path in package.rglob("*"):
        if not any(part.endswith("~") for part in path.parts) and path.suffix != ".meta":
            assert path.with_name(f"{path.name}.meta").exists(), path
    names = {json.loads(path.read_text())["name"] for path in package.rglob("*.asmdef")}
    for path in package.rglob("*.asmdef"):
        assert set(json.loads(path.read_text())["references"]) <= names | {"Gsplat", "Unity.Timeline"}
    about = json.loads((package / "package.json").read_text())
    assert about["name"] == package.name
    assert all(any((package / sample["path"]).rglob("*.cs")) for sample in about["samples"])
    assert read_bundle(tmp_path / "one" / "avatar.ani3d").gaussians.count == 40
    check_page(tmp_path / "one")


def test_shader_constants_are_the_runtimes():
    text = (SHADERS / "Ani3DDecode.hlsl").read_text()
    wanted = {"NEAREST": _raster_project.NEAR, "EPS_2D": _raster_project.EPS_2D, "ALPHA_MIN": _raster_project.ALPHA_MIN,
              "ALPHA_MAX": float(_raster_blend.ALPHA_MAX), "GUARD": _raster_project.GUARD,
              "WEIGHT_ONE": bundle_blocks.WEIGHT_ONE}
    for name, number in wanted.items():
        line = next(line for line in text.splitlines() if line.startswith(f"static const float {name} ="))
        assert eval(line.split("=")[1].split(";")[0]) == pytest.approx(number, rel=1e-7), name
