"""The Unity package without Unity: its C# core under mono, its shaders on software OpenGL, both against the player."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from asymmetric_figure import make_figure, with_driven_clip
from engine_checks import (
    KINDS,
    TIMES,
    Dumped,
    Gpu,
    check_joints,
    check_posed,
    check_read,
    check_refusals,
    write_bundles,
)
from gl_context import software_gl
from outside.shaders import hlsl
from sample_bundle import make_bundle

from export_formats import ExportOptions, unity_export
from runtime import _raster_blend, _raster_project, bundle_blocks, framing
from runtime.bundle import read_bundle, write_bundle
from runtime.cameras import orbit_camera
from runtime.compositing import composite
from runtime.lod import level_of_detail
from runtime.player import Player
from runtime.raster import render
from runtime.rotations import to_matrix

PACKAGE = Path(__file__).resolve().parent.parent / "export_formats" / "unity"
CORE, SHADERS = PACKAGE / "Runtime" / "Core", PACKAGE / "Runtime" / "Resources"
SIZE = (240, 416)

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
def dumped(program, bundles, tmp_path_factory):
    """Dumps of all Gaussians of every kind."""
    folder = tmp_path_factory.mktemp("dumped")
    return {kind: Dumped(program, path, folder / kind) for kind, path in bundles.items()}


@pytest.fixture(scope="module")
def context():
    with software_gl() as made:
        yield made


@mono
@pytest.mark.parametrize("kind", KINDS)
def test_core_reads_a_bundle_as_python_does(kind, bundles, dumped):
    check_read(dumped[kind], read_bundle(bundles[kind]))
    assert dumped[kind].done.stdout == f"random person|joint 1|wave|{12 / 30.0!r}\n"


@mono
@pytest.mark.parametrize("kind", KINDS)
def test_core_poses_as_the_player_does(kind, bundles, dumped):
    player = Player(read_bundle(bundles[kind]))
    for i, time in enumerate(TIMES):
        check_posed(dumped[kind], f"time{i}_", player.gaussians_at(time))
        check_joints(dumped[kind], f"time{i}_", player, time)


@mono
def test_core_levels_of_detail_rigid_skinning_and_held_ends(program, bundles, tmp_path):
    bundle = read_bundle(bundles["basis"])
    part = Dumped(program, bundles["basis"], tmp_path / "part", count=101)
    for i, time in enumerate(TIMES):
        check_posed(part, f"time{i}_", Player(level_of_detail(bundle, 101)).gaussians_at(time))
    times = (-0.2, 0.11, 7.0)
    rigid = Dumped(program, bundles["basis"], tmp_path / "rigid", residual=False, loop=False, times=times)
    looped = Dumped(program, bundles["basis"], tmp_path / "loop", times=times)
    for i, time in enumerate(times):
        check_posed(rigid, f"time{i}_", Player(bundle).gaussians_at(time, residual=False, loop=False))
        check_posed(looped, f"time{i}_", Player(bundle).gaussians_at(time))


@mono
def test_core_reads_past_a_pose_residual(program, tmp_path):
    write_bundle(with_driven_clip(make_figure()), tmp_path / "driven.ani3d")
    bundle = read_bundle(tmp_path / "driven.ani3d")
    dump = Dumped(program, tmp_path / "driven.ani3d", tmp_path / "out", count=bundle.gaussians.count)
    check_read(dump, bundle)
    check_posed(dump, "time1_", Player(bundle).gaussians_at(TIMES[1]))


@mono
def test_core_refuses_damaged_files_in_one_line(program, bundles, tmp_path):
    check_refusals(program, bundles["basis"], tmp_path)


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
        [local_to_world.ravel(), world_to_camera.ravel(), projection.ravel(), SIZE]).astype("<f8").tobytes())
    subprocess.run([*program, "axes", str(tmp_path)], check=True)
    rows = np.frombuffer((tmp_path / "rows.f4").read_bytes(), "<f4").reshape(3, 4)
    pinhole = np.frombuffer((tmp_path / "pinhole.f4").read_bytes(), "<f4")
    np.testing.assert_allclose(rows, ours.T_camera_world[:3], atol=1e-6)
    np.testing.assert_allclose(pinhole, (ours.fx, ours.fy, ours.cx, ours.cy), rtol=1e-6)


@mono
@shader
@pytest.mark.parametrize("kind", KINDS)
def test_compute_shader_poses_as_the_player_does(kind, bundles, dumped, context):
    bundle = read_bundle(bundles[kind])
    player = Player(bundle)
    gpu = Gpu(context, dumped[kind], SHADERS / "Ani3D.compute")
    for i, time in enumerate(TIMES):
        gpu.pose(f"time{i}_", bundle)
        gpu.check_posed(player.gaussians_at(time))


@mono
@shader
def test_compute_shader_sorts_and_draws_as_the_cpu_renderer_does(bundles, dumped, context, tmp_path):
    bundle = read_bundle(bundles["basis"])
    player = Player(bundle)
    gpu = Gpu(context, dumped["basis"], SHADERS / "Ani3D.compute")
    # What Ani3DSplat.shader does with Unity's projection matrix.
    (tmp_path / "draw.hlsl").write_text("""
        float4 ClipScale;
        #define VIEW_TO_CLIP(p) float4(p.x * ClipScale.x, p.y * ClipScale.y, 0.0, -p.z)
        #define TO_TARGET_COLOR(color) (color)
        #define IS_HIDDEN(vertex) false
        #include "Ani3DSplat.hlsl"
    """)
    stages = [hlsl.to_glsl(tmp_path / "draw.hlsl", entry, stage, include=SHADERS)
              for entry, stage in (("SplatVert", "vert"), ("SplatFrag", "frag"))]
    for azimuth in (0.0, 2.0):
        camera = orbit_camera(player.target_at(TIMES[1]), azimuth=azimuth, elevation=framing.ELEVATION,
                              distance=framing.DISTANCE, fov_y=framing.FOV_Y, size=SIZE)
        gpu.pose("time1_", bundle, camera)
        gpu.check_order()
        picture = gpu.draw(stages, {"SplatPinhole": (camera.fx, camera.fy, camera.cx, camera.cy),
                                    "ClipScale": (2 * camera.fx / SIZE[0], 2 * camera.fy / SIZE[1], 0, 0)}, SIZE)
        expected = render(player.gaussians_at(TIMES[1]), camera).rgba
        mse = np.mean((composite(picture, (0.5,) * 3).astype(float) - composite(expected, (0.5,) * 3)) ** 2)
        assert expected[..., 3].mean() > 0.02
        assert mse < 255 ** 2 / 10 ** 5.5, f"{10 * np.log10(255 ** 2 / mse):.1f} dB"


@mono
def test_unity_facing_sources_compile_against_the_signatures_they_use(tmp_path):
    stubs = Path(__file__).parent / "outside/unity/UnityStubs.cs"
    done = subprocess.run(["mcs", "-langversion:7.2", "-warn:4", "-target:library", f"-out:{tmp_path / 'package.dll'}",
                           *map(str, sorted(PACKAGE.rglob("*.cs"))), str(stubs)], capture_output=True, text=True)
    # CS0649, CS0414: fields that Unity's serialiser fills or reads.
    warnings = [line for line in done.stdout.splitlines() + done.stderr.splitlines()
                if "warning" in line and not any(code in line for code in ("CS0649", "CS0414")) and "Stubs" not in line]
    assert done.returncode == 0 and not warnings, done.stdout + done.stderr


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
        if "Samples~" not in path.parts and path.suffix != ".meta":
            assert path.with_name(f"{path.name}.meta").exists(), path
    names = {json.loads(path.read_text())["name"] for path in package.rglob("*.asmdef")}
    for path in package.rglob("*.asmdef"):
        assert set(json.loads(path.read_text())["references"]) <= names | {"Gsplat", "Unity.Timeline"}
    assert json.loads((package / "package.json").read_text())["name"] == package.name
    assert read_bundle(tmp_path / "one" / "avatar.ani3d").gaussians.count == 40


def test_shader_constants_are_the_runtimes():
    text = (SHADERS / "Ani3DDecode.hlsl").read_text()
    wanted = {"NEAR": _raster_project.NEAR, "EPS_2D": _raster_project.EPS_2D, "ALPHA_MIN": _raster_project.ALPHA_MIN,
              "ALPHA_MAX": float(_raster_blend.ALPHA_MAX), "GUARD": _raster_project.GUARD,
              "WEIGHT_ONE": bundle_blocks.WEIGHT_ONE}
    for name, number in wanted.items():
        line = next(line for line in text.splitlines() if line.startswith(f"static const float {name} ="))
        assert eval(line.split("=")[1].split(";")[0]) == pytest.approx(number, rel=1e-7), name
