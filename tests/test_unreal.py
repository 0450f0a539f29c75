"""The Unreal plugin without Unreal: its C++ core, its shaders on software OpenGL, its sources type-checked."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from engine_checks import CoreContract, Dumped, Gpu, Session, check_page, shown, write_bundles
from gl_context import software_gl
from hypothesis import given, settings
from hypothesis import strategies as st
from outside.shaders import hlsl
from outside.unreal.typecheck import build, check
from sample_bundle import make_bundle

from export_formats import ExportOptions, unreal_export
from runtime import archive, bundle_blocks, framing, stage_reference
from runtime import bundle as bundle_file
from runtime.bundle import read_bundle
from runtime.cameras import orbit_camera
from runtime.compositing import composite
from runtime.raster import render
from runtime.skinning import joint_transforms

PLUGIN = unreal_export.SOURCES / "Ani3D"
CORE = PLUGIN / "Source" / "Ani3D" / "Core"
SIZE = (240, 416)

compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="install g++ (apt-get)")
shader = pytest.mark.skipif(hlsl.MISSING is not None, reason=str(hlsl.MISSING))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The core and dump.cpp under the address and undefined-behaviour sanitisers."""
    target = tmp_path_factory.mktemp("core") / "dump"
    done = subprocess.run(
        ["g++", "-std=c++17", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra",
         "-Wshadow", "-Werror", "-fno-exceptions", "-fno-rtti", f"-I{CORE}", *map(str, sorted(CORE.glob("*.cpp"))),
         str(Path(__file__).parent / "outside/unreal/dump.cpp"), "-o", str(target)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [str(target)]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return write_bundles(tmp_path_factory.mktemp("bundles"))


@compiler
class TestCore(CoreContract):
    """The C++ core under the sanitisers."""


@compiler
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_core_reads_or_refuses_any_bytes_without_touching_others(program, bundles, tmp_path_factory, data):
    content = bytearray(bundles["basis"].read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[:data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "any.ani3d").write_bytes(content)
    done = Dumped(program, folder / "any.ani3d", folder / "out", times=()).done
    # The sanitisers exit with 1 or a signal.
    assert done.returncode in (0, 2), done.stderr[:3000]


@compiler
def test_axes_face_unreals_forward_with_the_left_hand_on_the_left(program, tmp_path):
    # A component at the world's origin; a camera 3 m in front of it (+X), 1 m up, looking back at it, level.
    forward, right, up = np.array([-1.0, 0, 0]), np.array([0, -1.0, 0]), np.array([0, 0, 1.0])
    position = np.array([300.0, 0, 100.0])
    view = np.eye(4)
    view[:3, :3] = np.stack([right, up, forward], axis=1)
    view[3, :3] = -position @ view[:3, :3]
    rows = view_rows(program, tmp_path, np.eye(4), view)
    ours = orbit_camera(np.array([0, 1.0, 0]), azimuth=0.0, elevation=0.0, distance=3.0, fov_y=1.0, size=SIZE)
    np.testing.assert_allclose(rows, ours.T_camera_world[:3], atol=1e-6)


@compiler
def test_axes_follow_a_moved_turned_and_scaled_component(program, tmp_path):
    rng = np.random.default_rng(5)
    local_to_world, view = rng.normal(size=(2, 4, 4))
    local_to_world[:, 3] = view[:, 3] = (0, 0, 0, 1)
    rows = view_rows(program, tmp_path, local_to_world, view)
    for point in rng.normal(size=(5, 3)):
        x, y, z = point
        seen = np.array([100 * z, -100 * x, 100 * y, 1]) @ local_to_world @ view
        np.testing.assert_allclose(rows[:, :3] @ point + rows[:, 3], seen[:3] * (0.01, -0.01, 0.01), atol=1e-5)


def view_rows(program, folder, local_to_world, view):
    """Ani3DAxes.h's rows of Unreal's matrices."""
    (folder / "in").write_bytes(np.stack([local_to_world, view]).astype("<f8").tobytes())
    subprocess.run([*program, "axes", str(folder / "in"), str(folder / "out")], check=True)
    return np.frombuffer((folder / "out").read_bytes(), "<f4").reshape(3, 4)


@pytest.fixture(scope="module")
def shaders(tmp_path_factory):
    """The exported plugin's shaders, with Unreal's own includes replaced by what they are used for."""
    folder = tmp_path_factory.mktemp("plugin")
    unreal_export.copy_plugin(folder / "Ani3D")
    private = folder / "Ani3D" / "Shaders" / "Private"
    for file in private.iterdir():
        text = file.read_text().replace('"/Plugin/Ani3D/Private/', '"')
        file.write_text(re.sub(r'"/Engine/(?:Public|Private)/', '"', text))
    (private / "Platform.ush").write_text("")
    (private / "Common.ush").write_text("struct Views { float4 BufferSizeAndInvSize; };\n"
                                        "static const Views View = { float4(1.0, 1.0, 1.0, 1.0) };\n")
    # The scene: nothing in the picture's upper half, a wall right before the camera in the lower.
    (private / "SceneTexturesCommon.ush").write_text(
        "float CalcSceneDepth(float2 uv) { return uv.y < 0.5 ? 1e8 : 1.0; }\n")
    return private


@compiler
@shader
def test_shaders_pose_sort_and_draw_as_the_cpu_renderer_does(shaders, program, bundles, tmp_path):
    bundle = read_bundle(bundles["two"])
    # The second clip, in the fade of its loop, gives way to the first.
    text, moment = shown(bundle, 1, 1.1, over=(0, 0.07, 0.25))
    dump = Dumped(program, bundles["two"], tmp_path / "out", times=[text])
    stages = [hlsl.to_glsl(shaders / "Ani3DDraw.usf", entry, stage)
              for entry, stage in (("SplatVert", "vert"), ("SplatFrag", "frag"))]
    target = stage_reference.pose(bundle, moment).root_translations[0] + bundle.rig.T_world_joint_rest[0, :3, 3]
    camera = orbit_camera(target.astype(np.float64), azimuth=0.5, elevation=framing.ELEVATION,
                          distance=framing.DISTANCE, fov_y=framing.FOV_Y, size=SIZE)
    posed = stage_reference.gaussians_at(bundle, moment)
    with software_gl() as context:
        gpu = Gpu(context, dump, shaders / "Ani3D.usf")
        gpu.pose("time0_", bundle, camera)
        gpu.check_posed(posed)
        gpu.check_order()
        # OpenGL counts a target's rows from below, Unreal from above: the rectangle of the depth is turned over.
        picture = gpu.draw(stages, {"SplatPinhole": (camera.fx, camera.fy, camera.cx, camera.cy),
                                    "SplatOrthographic": 0.0, "TargetRect": (0, 0, *SIZE),
                                    "DepthRect": (0, 1, 1, -1)}, SIZE)[0]
    half = SIZE[1] // 2
    expected = composite(render(posed, camera).rgba, (0.5,) * 3).astype(float)
    drawn = composite(picture, (0.5,) * 3).astype(float)
    assert expected[:half].std() > 10 and expected[half:].std() > 10
    assert np.mean((drawn[:half] - expected[:half]) ** 2) < 255 ** 2 / 10 ** 5.5
    assert (picture[half:] == 0).all(), "the wall hides nothing"


@compiler
@pytest.mark.parametrize("orthographic", [False, True])
def test_the_lens_puts_points_where_unreals_projection_does(program, tmp_path, orthographic):
    # An off-centre projection as Unreal's are: row vectors, z forward, reversed depth.
    projection = np.zeros((4, 4))
    projection[0, 0], projection[1, 1] = (0.004, 0.003) if orthographic else (1.7, 1.2)
    if orthographic:
        projection[3] = (0.1, -0.2, 1.0, 1.0)
        projection[2, 2] = -1e-4
    else:
        projection[2] = (0.1, -0.2, 0.0, 1.0)
        projection[3, 2] = 10.0
    (tmp_path / "in").write_bytes(np.array([*projection.ravel(), *SIZE, orthographic]).astype("<f8").tobytes())
    subprocess.run([*program, "lens", str(tmp_path / "in"), str(tmp_path / "out")], check=True)
    fx, fy, cx, cy = np.frombuffer((tmp_path / "out").read_bytes(), "<f4")
    for right, down, ahead in ((0.3, -0.2, 2.0), (-0.7, 0.5, 3.1)):
        clip = np.array([100 * right, -100 * down, 100 * ahead, 1]) @ projection
        pixel = ((clip[0] / clip[3] + 1) / 2 * SIZE[0], (1 - clip[1] / clip[3]) / 2 * SIZE[1])
        along = 1.0 if orthographic else ahead
        np.testing.assert_allclose((fx * right / along + cx, fy * down / along + cy), pixel, rtol=1e-5)


@compiler
def test_unreal_facing_sources_compile_against_the_signatures_they_use(tmp_path):
    assert check(PLUGIN, tmp_path, minor=4) == ""


@pytest.fixture(scope="module")
def session(bundles, tmp_path_factory):
    """What session.cpp says of a session of the plugin in an invented Unreal 5.6, by name."""
    program = build(PLUGIN, tmp_path_factory.mktemp("session"), minor=6)
    done = subprocess.run([str(program), str(bundles["two"])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = {}
    for line in done.stdout.splitlines():
        name, *numbers = line.split()
        lines.setdefault(name, []).append([float(number) for number in numbers])
    return lines


@compiler
def test_the_component_plays_as_the_runtimes_actor(session, bundles):
    """The session of session.cpp, step by step; joints in Unreal's axes and centimetres."""
    bundle = read_bundle(bundles["two"])
    played = Session(bundle)
    played.actor.speed, played.actor.loop = 1.0, False
    played.steps(2, 0.9)
    played.mixed()
    for said, moment in zip(session["joints"], played.moments, strict=True):
        x, y, z = joint_transforms(bundle.rig, stage_reference.pose(bundle, moment), 0)[:, :3, 3].T
        np.testing.assert_allclose(np.reshape(said, (-1, 3)), 100 * np.stack([z, -x, y], axis=1), atol=2e-4)
    assert session["imported"] == [[1, 2]] and session["played"] == [[1, 0]]
    assert session["waits"] == [[0]], "its clock ran before it was decoded"


@compiler
def test_the_plugin_draws_its_own_world_and_uploads_once(session):
    # Passes after tone mapping; dispatches (one a layer, the skinning, five to sort), draws, uploads: 5 buffers of the
    # figure, 5 of the clip, then joints and steps alone. Nothing in another world, or once the component is gone.
    assert session["drawn"] == [[1, 7, 1, 12], [1, 7, 1, 2], [1, 0, 0, 0], [1, 0, 0, 0]]


def test_core_has_the_runtimes_limits():
    text = (CORE / "Ani3DBundle.h").read_text()
    wanted = {"WeightOne": bundle_blocks.WEIGHT_ONE, "QuatOne": bundle_blocks.QUAT_ONE,
              "BundleVersion": bundle_file.VERSION, "MaxMetres": bundle_blocks.MAX_METRES,
              "MaxEntries": archive.MAX_ENTRIES, "MaxEntryBytes": archive.MAX_ENTRY_BYTES,
              "MaxTotalBytes": archive.MAX_TOTAL_BYTES, "FreeBytes": archive.FREE_BYTES, "MaxRatio": archive.MAX_RATIO}
    for name, number in wanted.items():
        assert eval(re.search(rf"{name} = ([^;]+);", text)[1].replace("ull", "")) == number, name


def test_export_is_a_complete_plugin(tmp_path):
    unreal_export.write(make_bundle(), tmp_path / "out", ExportOptions(lod=20))
    plugin = tmp_path / "out" / "Ani3D"
    about = json.loads((plugin / "Ani3D.uplugin").read_text())
    for module in about["Modules"]:
        assert (plugin / "Source" / module["Name"] / f"{module['Name']}.Build.cs").exists()
    for file in (plugin / "Shaders" / "Private").iterdir():
        for include in re.findall(r'#include "/Plugin/Ani3D/Private/([^"]+)"', file.read_text()):
            assert (file.parent / include).exists(), include
    # Every entry point that a class names is in the file it names.
    renderer = (plugin / "Source/Ani3D/Private/Ani3DRenderer.cpp").read_text()
    entries = re.findall(r'"/Plugin/Ani3D/Private/(\w+\.usf)", "(\w+)"', renderer)
    texts = "".join(file.read_text() for file in (plugin / "Shaders" / "Private").iterdir())
    assert len(entries) == 9
    assert all((plugin / "Shaders" / "Private" / file).exists() and f" {entry}(" in texts for file, entry in entries)
    assert read_bundle(tmp_path / "out" / "avatar.ani3d").gaussians.count == 20
    check_page(tmp_path / "out")


def test_shader_parameters_are_those_the_shaders_declare():
    """A name in the parameter structs that no shader declares, or the other way round, fails only inside Unreal."""
    renderer = (PLUGIN / "Source/Ani3D/Private/Ani3DRenderer.cpp").read_text()
    shared = unreal_export.SOURCES.parent / "unity" / "Runtime" / "Resources"
    structs = dict(re.findall(r"BEGIN_SHADER_PARAMETER_STRUCT\((\w+), \)(.*?)END_SHADER", renderer, re.DOTALL))
    declared = r"^(?:RW)?(?:StructuredBuffer<\w+>|float[24]?|uint4?) (\w+)(?:\[\d\])?;"
    drawing = [shared / "Ani3DSplat.hlsl", PLUGIN / "Shaders/Private/Ani3DDraw.usf"]
    for struct, files in (("FAni3DParameters", [shared / "Ani3DKernels.hlsl"]), ("FAni3DDrawParameters", drawing)):
        names = set(re.findall(r"SHADER_PARAMETER\w*\([^,]+, (\w+)", structs[struct]))
        wanted = {name for file in files for name in re.findall(declared, file.read_text(), re.MULTILINE)}
        assert names - {"View", "SceneTextures"} == wanted, struct
