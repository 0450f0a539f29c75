"""The Unity package without Unity: its C# core under mono, its shaders on software OpenGL, both against the player."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from outside.shaders import hlsl
from sample_bundle import make_bundle

from export_formats import ExportOptions, unity_export
from runtime import _raster_blend, _raster_project, archive, bundle_blocks, framing
from runtime.bundle import read_bundle, write_bundle
from runtime.cameras import orbit_camera
from runtime.compositing import composite
from runtime.lod import level_of_detail
from runtime.player import Player
from runtime.raster import render
from runtime.rotations import to_matrix
from runtime.skinning import joint_transforms

PACKAGE = Path(__file__).resolve().parent.parent / "export_formats" / "unity"
CORE, SHADERS = PACKAGE / "Runtime" / "Core", PACKAGE / "Runtime" / "Resources"
TIMES = (0.0, 0.11, 0.3371)
"""Seconds: a whole frame, and two between frames."""
KINDS = {"basis": {}, "dense": {"dense": True, "texel_type": np.int16}, "rigid": {"basis": 0}}
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
    return target


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Paths of bundles by kind."""
    folder = tmp_path_factory.mktemp("bundles")
    for kind, options in KINDS.items():
        write_bundle(make_bundle(3, count=900, joints=6, frames=12, **{"basis": 5} | options), folder / f"{kind}.ani3d")
    return {kind: folder / f"{kind}.ani3d" for kind in KINDS}


class Dumped:
    """The files of one run of Dump.cs."""

    def __init__(self, program, bundle, folder, *, count, residual=True, loop=True, times=TIMES):
        folder.mkdir()
        self.folder, self.count = folder, count
        self.done = subprocess.run(
            ["mono", str(program), str(bundle), str(folder), str(count), str(int(residual)), str(int(loop)),
             *map(str, times)], capture_output=True, text=True)

    def __getitem__(self, name):
        file = next(self.folder.glob(f"{name}.*"))
        return np.frombuffer(file.read_bytes(), "<" + file.suffix[1:])


@pytest.fixture(scope="module")
def dumped(program, bundles, tmp_path_factory):
    """Dumps of all Gaussians of every kind."""
    folder = tmp_path_factory.mktemp("dumped")
    return {kind: Dumped(program, path, folder / kind, count=900) for kind, path in bundles.items()}


@mono
@pytest.mark.parametrize("kind", KINDS)
def test_core_reads_a_bundle_as_python_does(kind, bundles, dumped):
    dump, bundle = dumped[kind], read_bundle(bundles[kind])
    gaussians, residual = bundle.gaussians, bundle.clips[0].residual
    assert dump.done.returncode == 0, dump.done.stdout + dump.done.stderr
    assert dump.done.stdout == f"random person|joint 1|wave|{12 / 30.0!r}\n"
    means = dump["rest_means"].reshape(-1, 4)
    assert np.array_equal(means[:, :3], gaussians.means)
    assert np.array_equal(dump["rest_quats"].reshape(-1, 4), gaussians.quats_wxyz)
    assert np.array_equal(dump["rest_log_scales"].reshape(-1, 4)[:, :3], gaussians.log_scales)
    assert np.array_equal(dump["labels"], gaussians.labels)
    np.testing.assert_allclose(means[:, 3], gaussians.opacities, atol=1e-6)
    np.testing.assert_allclose(dump["colors"].reshape(-1, 4)[:, :3], np.maximum(gaussians.colors, 0), atol=1e-6)
    rows = np.full(gaussians.count, -1.0)
    rows[residual.moving] = np.arange(len(residual.moving))
    assert np.array_equal(dump["rest_log_scales"].reshape(-1, 4)[:, 3], rows)
    skin = dump["skin"].reshape(gaussians.count, -1)
    assert np.array_equal(skin >> 16, bundle.rig.skin_joints)
    assert np.array_equal((skin & 0xffff) / np.float32(bundle_blocks.WEIGHT_ONE), bundle.rig.skin_weights)
    texels = residual.d_means.texels
    words = dump["mean_texels"]
    if texels.dtype == np.int8:
        unpacked = words.view(np.int8).reshape(-1, 4)[:, :3]
    else:
        unpacked = words.view(np.int16).reshape(-1, 4)[:, :3]
    assert np.array_equal(unpacked[:texels.size // 3], texels.reshape(-1, 3))


@mono
@pytest.mark.parametrize("kind", KINDS)
def test_core_poses_as_the_player_does(kind, bundles, dumped):
    bundle = read_bundle(bundles[kind])
    player = Player(bundle)
    for i, time in enumerate(TIMES):
        compare(dumped[kind], f"time{i}_", player.gaussians_at(time))
        joints = joint_transforms(bundle.rig, player.motion_at(time), 0)
        np.testing.assert_allclose(dumped[kind][f"time{i}_joints"].reshape(-1, 3, 4), joints[:, :3], atol=1e-6)


def compare(dump, prefix, expected, tolerance=1e-6):
    """Posed Gaussians within float rounding; quaternions up to sign."""
    np.testing.assert_allclose(dump[f"{prefix}means"].reshape(-1, 3), expected.means, atol=tolerance)
    log_scales = dump[f"{prefix}log_scales"].reshape(-1, 3)
    np.testing.assert_allclose(log_scales, expected.log_scales, atol=tolerance, rtol=1e-6)
    quats = dump[f"{prefix}quats"].reshape(-1, 4)
    sign = np.sign((quats * expected.quats_wxyz).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(quats * sign, expected.quats_wxyz, atol=tolerance)


@mono
def test_core_levels_of_detail_rigid_skinning_and_held_ends(program, bundles, tmp_path):
    bundle = read_bundle(bundles["basis"])
    part = Dumped(program, bundles["basis"], tmp_path / "part", count=101)
    for i, time in enumerate(TIMES):
        compare(part, f"time{i}_", Player(level_of_detail(bundle, 101)).gaussians_at(time))
    times = (-0.2, 0.11, 7.0)
    rigid = Dumped(program, bundles["basis"], tmp_path / "rigid", count=900, residual=False, loop=False, times=times)
    looped = Dumped(program, bundles["basis"], tmp_path / "loop", count=900, times=times)
    for i, time in enumerate(times):
        compare(rigid, f"time{i}_", Player(bundle).gaussians_at(time, residual=False, loop=False))
        compare(looped, f"time{i}_", Player(bundle).gaussians_at(time))


@mono
def test_core_refuses_damaged_files_in_one_line(program, bundles, tmp_path):
    whole = bundles["basis"].read_bytes()
    entries = archive.Archive(bundles["basis"])
    content = {name: entries.read(name) for name in entries.names}

    def rewritten(name, old, new):
        archive.write_archive(tmp_path / "made", content | {name: content[name].replace(old, new, 1)})
        return (tmp_path / "made").read_bytes()

    second = whole.index(b"PK\x03\x04", 4)
    at = second + 30 + whole[second + 26] + 20
    cases = {
        "is not an ani3d bundle": b"GIF89a" + whole, "is cut off": whole[:-30], "bytes after its end": whole + b"\0",
        "is damaged": whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1:],
        "version 7, this player knows 1": rewritten("manifest.json", b'"version": 1', b'"version": 7'),
        "is not JSON": rewritten("manifest.json", b"{", b"[{"),
        "names no joint": rewritten("rig/skin_joints.u8", content["rig/skin_joints.u8"][:1], b"\xff"),
        "not as large as the manifest says": rewritten("manifest.json", b'"shape": [\n    900', b'"shape": [\n    901'),
        "gaussians/means holds NaN": rewritten("gaussians/means.f32", content["gaussians/means.f32"][:4],
                                               np.float32(np.nan).tobytes()),
    }
    assert len({*map(bytes, cases.values())}) == len(cases)
    for index, (words, data) in enumerate(cases.items()):
        (tmp_path / "bad.ani3d").write_bytes(data)
        done = Dumped(program, tmp_path / "bad.ani3d", tmp_path / str(index), count=900).done
        assert done.returncode == 2, (words, done.stdout + done.stderr)
        assert words in done.stdout and done.stdout.startswith("bad.ani3d"), done.stdout
        assert done.stdout.count("\n") == 1, done.stdout


@pytest.fixture(scope="module")
def context():
    moderngl = pytest.importorskip("moderngl")
    try:
        made = moderngl.create_context(standalone=True, backend="egl", require=430)
    except Exception as error:
        pytest.skip(f"no OpenGL 4.3 ({error}); install libegl1 and libgl1-mesa-dri (apt-get)")
    with made:
        yield made


def uniforms_of(dump, prefix, bundle, *, camera=None, count=900):
    """Ani3D.compute's uniforms."""
    residual = bundle.clips[0].residual
    words = [1 if group.texels.dtype == np.int8 else 2
             for group in (residual.d_means, residual.d_rotations, residual.d_log_scales)]
    values = {"ListEnds": dump[f"{prefix}ends"], "TexelWords": [*words, 0], "Count": count,
              "MovingCount": len(residual.moving), "Influences": bundle.rig.skin_joints.shape[1],
              "Turn": dump[f"{prefix}turn"], "Growth": dump["growth"], "ViewRows": np.zeros((3, 4)),
              "Pinhole": np.ones(4), "ImageSize": np.ones(2), "DepthRange": (0, 1)}
    if camera is not None:
        values |= {"ViewRows": camera.T_camera_world[:3], "Pinhole": (camera.fx, camera.fy, camera.cx, camera.cy),
                   "ImageSize": (camera.width, camera.height), "DepthRange": (1.0, 6.0)}
    return values


class Gpu:
    """Ani3D.compute over one dump."""

    def __init__(self, context, dump, count=900):
        self.context, self.dump, self.count = context, dump, count
        files = {"RestMeans": "rest_means", "RestQuats": "rest_quats", "RestLogScales": "rest_log_scales",
                 "Skin": "skin", "GroupMeans": "group_means", "MeanTexels": "mean_texels",
                 "RotationTexels": "rotation_texels", "LogScaleTexels": "log_scale_texels", "Colors": "colors"}
        sizes = {"PosedMeans": 16 * count, "PosedQuats": 16 * count, "PosedLogScales": 16 * count,
                 "Splats": 32 * count, "DepthBins": 4 * count, "BinStarts": 4 * 65536, "Order": 4 * count}
        self.buffers = {name: context.buffer(dump[file].tobytes()) for name, file in files.items()}
        self.buffers |= {name: context.buffer(b"\xff" * size) for name, size in sizes.items()}

    def run(self, kernel, groups, uniforms):
        glsl = hlsl.to_glsl(SHADERS / "Ani3D.compute", kernel, "comp")
        made = self.context.compute_shader(glsl)
        hlsl.bind(self.context, glsl, buffers=self.buffers, uniforms=uniforms)
        made.run(groups)
        self.context.memory_barrier()

    def pose(self, prefix, bundle, camera=None):
        self.buffers |= {"Joints": self.context.buffer(self.dump[f"{prefix}skinning"].tobytes()),
                         "Steps": self.context.buffer(self.dump[f"{prefix}steps"].tobytes() or bytes(16))}
        uniforms = uniforms_of(self.dump, prefix, bundle, camera=camera, count=self.count)
        groups = -(-self.count // 64)
        self.run("Pose", groups, uniforms)
        if camera is not None:
            for kernel, size in (("Project", groups), ("ClearBins", 256), ("CountBins", groups), ("ScanBins", 1),
                                 ("Scatter", groups)):
                self.run(kernel, size, uniforms)

    def read(self, name, dtype=np.float32, columns=4):
        values = np.frombuffer(self.buffers[name].read(), dtype)
        return values.reshape(-1, columns) if columns > 1 else values


@mono
@shader
@pytest.mark.parametrize("kind", KINDS)
def test_compute_shader_poses_as_the_player_does(kind, bundles, dumped, context):
    bundle = read_bundle(bundles[kind])
    player = Player(bundle)
    gpu = Gpu(context, dumped[kind])
    for i, time in enumerate(TIMES):
        gpu.pose(f"time{i}_", bundle)
        expected = player.gaussians_at(time)
        # float32 throughout; worst measured 3e-7 m, 5e-7 and 1.5e-6 (also on a baked person of 28 000).
        np.testing.assert_allclose(gpu.read("PosedMeans")[:, :3], expected.means, atol=2e-6)
        np.testing.assert_allclose(gpu.read("PosedLogScales")[:, :3], expected.log_scales, atol=2e-6)
        turned = to_matrix(gpu.read("PosedQuats").astype(np.float64))
        np.testing.assert_allclose(turned, to_matrix(expected.quats_wxyz.astype(np.float64)), atol=5e-6)


@mono
@shader
def test_compute_shader_sorts_and_draws_as_the_cpu_renderer_does(bundles, dumped, context, tmp_path):
    import moderngl

    bundle = read_bundle(bundles["basis"])
    player = Player(bundle)
    gpu = Gpu(context, dumped["basis"])
    (tmp_path / "draw.hlsl").write_text("""
        float4 ClipScale;
        #define VIEW_TO_CLIP(p) float4(p.x * ClipScale.x, p.y * ClipScale.y, 0.0, -p.z)
        #define TO_TARGET_COLOR(color) (color)
        #define IS_HIDDEN(vertex) false
        #include "Ani3DSplat.hlsl"
    """)
    stages = [hlsl.to_glsl(tmp_path / "draw.hlsl", entry, stage, include=SHADERS)
              for entry, stage in (("SplatVert", "vert"), ("SplatFrag", "frag"))]
    drawing = context.program(vertex_shader=stages[0], fragment_shader=stages[1])
    target = context.framebuffer([context.texture(SIZE, 4, dtype="f4")])
    for azimuth in (0.0, 2.0):
        camera = orbit_camera(player.target_at(TIMES[1]), azimuth=azimuth, elevation=framing.ELEVATION,
                              distance=framing.DISTANCE, fov_y=framing.FOV_Y, size=SIZE)
        gpu.pose("time1_", bundle, camera)
        order, depth = gpu.read("Order", np.uint32, 1), gpu.read("Splats", np.float32, 8)[:, 2]
        assert np.array_equal(np.sort(order), np.arange(900))
        # Bins are 5 m / 65534 deep.
        assert (np.diff(depth[order]) <= 8e-5).all()
        target.use()
        target.clear()
        context.enable_only(moderngl.BLEND)
        context.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        gpu.buffers |= {"SplatRows": gpu.buffers["Splats"], "OrderRows": gpu.buffers["Order"]}
        for glsl in stages:
            hlsl.bind(context, glsl, buffers=gpu.buffers, uniforms={
                "SplatPinhole": (camera.fx, camera.fy, camera.cx, camera.cy),
                "ClipScale": (2 * camera.fx / SIZE[0], 2 * camera.fy / SIZE[1], 0, 0)})
        context.vertex_array(drawing, []).render(moderngl.TRIANGLES, 6 * 900)
        picture = np.frombuffer(target.read(components=4, dtype="f4"), np.float32).reshape(SIZE[1], SIZE[0], 4)[::-1]
        expected = render(player.gaussians_at(TIMES[1]), camera).rgba
        mse = np.mean((composite(picture.copy(), (0.5,) * 3).astype(float) - composite(expected, (0.5,) * 3)) ** 2)
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
