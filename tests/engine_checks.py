"""What the tests of both engines' cores check: decoding against Python, refusals, shaders against the player."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from asymmetric_figure import make_figure, with_driven_clip
from outside.shaders import hlsl
from sample_bundle import make_bundle

from export_formats import engine_pictures
from runtime import archive, bundle_blocks, stage_reference
from runtime.actor import Actor, Moment
from runtime.actor_loop import loop_of
from runtime.bundle import read_bundle, write_bundle
from runtime.lod import prefix
from runtime.player import Player
from runtime.rotations import from_rotvec, to_matrix
from runtime.skinning import joint_transforms

TIMES = (0.0, 0.11, 0.3371)
"""Seconds: a whole frame, and two between frames."""
KINDS = {"basis": {}, "dense": {"dense": True, "texel_type": np.int16}, "rigid": {"basis": 0}}
COUNT = 900


def write_bundles(folder):
    """Paths of bundles by kind; "two" has a clip that closes and one that does not."""
    for kind, options in KINDS.items():
        bundle = make_bundle(3, count=COUNT, joints=6, frames=12, **{"basis": 5} | options)
        write_bundle(bundle, folder / f"{kind}.ani3d")
    write_bundle(two_clips(), folder / "two.ani3d")
    return {kind: folder / f"{kind}.ani3d" for kind in (*KINDS, "two")}


def two_clips():
    """Clip 0 closes and repeats across its seam; clip 1 strides on, turns on, and fades into its beginning."""
    bundle = make_bundle(3, count=COUNT, joints=6, frames=12, basis=5)
    other = make_bundle(4, count=COUNT, joints=6, frames=40, basis=4, texel_type=np.int16).clips[0]
    time = np.linspace(0, 1, 40)
    turns = np.zeros((40, 6, 3))
    turns[..., 1] = time[:, None]
    turns[:, 2, 0] = np.sin(3 * time)
    roots = np.stack([0.5 * time, 0.1 * time, 2 * time], axis=1).astype(np.float32)
    motion = replace(other.motion, root_translations=roots, quats_wxyz=from_rotvec(turns).astype(np.float32))
    clips = (bundle.clips[0], replace(other, name="stride", motion=motion))
    assert [loop_of(clip.motion).closed for clip in clips] == [True, False]
    return replace(bundle, clips=clips)


def shown(bundle, clip, seconds, *, loop=True, over=None):
    """A moment as the dump programs are told of it, and as the runtime has it.

    `over` is (clip, seconds it fades in, of how many): the state after a fade to it began.
    """
    actor = Actor(bundle, clip=clip, time=seconds, loop=loop)
    if over is None:
        return f"{clip}:{seconds!r}", actor.moment()
    upper, since, fade = over
    actor.start(upper, fade_seconds=fade)
    actor.advance(since)
    share = since / fade
    return f"{clip}:{seconds + since!r},{upper}:{since!r},{share * share * (3 - 2 * share)!r}", actor.moment()


class Session:
    """What a session of either engine's component plays, by the runtime's actor: the moments it shows, one a step."""

    def __init__(self, bundle):
        """Clip 0, a fade to clip 1 in mid-step, twice the speed."""
        self.bundle, self.actor, self.moments = bundle, Actor(bundle, time=0.05), []
        self.steps(3, 0.1)
        self.actor.start(1, fade_seconds=0.4)
        self.steps(3, 0.11)
        self.actor.speed = 2.0
        self.steps(4, 0.17)

    def steps(self, count, seconds):
        for _ in range(count):
            self.actor.advance(seconds)
            self.moments.append(self.actor.moment())

    def mixed(self):
        """Clip 1 mixed over clip 0 by hand; then clip 1 without root motion."""
        upper = Actor(self.bundle, clip=1, time=0.5).moment().layers[0]
        lower = Actor(self.bundle, time=0.1).moment().layers
        self.moments.append(Moment(layers=(*lower, replace(upper, share=0.25))))
        self.moments.append(Actor(self.bundle, clip=1, time=2.0, root_motion=False).moment())


class Dumped:
    """The files of one run of a core's dump program."""

    def __init__(self, command, bundle, folder, *, count=COUNT, residual=True, loop=True, times=TIMES):
        folder.mkdir()
        self.folder, self.count = folder, count
        moments = [time if isinstance(time, str) else f"0:{time!r}" for time in times]
        self.done = subprocess.run(
            [*command, str(bundle), str(folder), str(count), str(int(residual)), str(int(loop)), *moments],
            capture_output=True, text=True)

    def __getitem__(self, name):
        file = next(self.folder.glob(f"{name}.*"))
        return np.frombuffer(file.read_bytes(), "<" + file.suffix[1:])


def check_read(dump, bundle):
    """Stored values to the bit, computed ones to 1e-6."""
    gaussians = bundle.gaussians
    assert dump.done.returncode == 0, dump.done.stdout + dump.done.stderr
    means = dump["rest_means"].reshape(-1, 4)
    assert np.array_equal(means[:, :3], gaussians.means)
    assert np.array_equal(dump["rest_quats"].reshape(-1, 4), gaussians.quats_wxyz)
    assert np.array_equal(dump["rest_log_scales"].reshape(-1, 4)[:, :3], gaussians.log_scales)
    assert np.array_equal(dump["labels"], gaussians.labels)
    np.testing.assert_allclose(means[:, 3], gaussians.opacities, atol=1e-6)
    np.testing.assert_allclose(dump["colors"].reshape(-1, 4)[:, :3], np.maximum(gaussians.colors, 0), atol=1e-6)
    skin = dump["skin"].reshape(gaussians.count, -1)
    assert np.array_equal(skin >> 16, bundle.rig.skin_joints)
    assert np.array_equal((skin & 0xffff) / np.float32(bundle_blocks.WEIGHT_ONE), bundle.rig.skin_weights)
    for index, clip in enumerate(bundle.clips):
        check_clip(dump, f"clip{index}_", clip, gaussians.count)


def check_clip(dump, prefix, clip, count):
    """A clip's residual to the bit, its loop to 1e-6."""
    residual = clip.residual
    rows = np.full(count, -1)
    rows[residual.moving] = np.arange(len(residual.moving))
    assert np.array_equal(dump[f"{prefix}rows"], rows)
    for name, group in (("mean", residual.d_means), ("rotation", residual.d_rotations),
                        ("log_scale", residual.d_log_scales)):
        words = dump[f"{prefix}{name}_texels"].view(group.texels.dtype).reshape(-1, 4)[:, :3]
        assert np.array_equal(words[:group.texels.size // 3], group.texels.reshape(-1, 3)), name
    loop = loop_of(clip.motion)
    np.testing.assert_allclose(dump[f"{prefix}loop"], [loop.period, loop.fade, loop.closed, *loop.travel], atol=1e-6)


def check_posed(dump, prefix, expected, tolerance=1e-6):
    """Posed Gaussians within float rounding; quaternions up to sign."""
    np.testing.assert_allclose(dump[f"{prefix}means"].reshape(-1, 3), expected.means, atol=tolerance)
    log_scales = dump[f"{prefix}log_scales"].reshape(-1, 3)
    np.testing.assert_allclose(log_scales, expected.log_scales, atol=tolerance, rtol=1e-6)
    quats = dump[f"{prefix}quats"].reshape(-1, 4)
    sign = np.sign((quats * expected.quats_wxyz).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(quats * sign, expected.quats_wxyz, atol=tolerance)


def check_joints(dump, prefix, bundle, moment):
    """Joint matrices."""
    pose = stage_reference.pose(bundle, moment)
    joints = joint_transforms(bundle.rig, pose, 0)
    np.testing.assert_allclose(dump[f"{prefix}joints"].reshape(-1, 3, 4), joints[:, :3], atol=1e-6)


class CoreContract:
    """What the core of either engine must do; a test module's class has a fixture `program`, its dump command."""

    @pytest.fixture(scope="class")
    def bundles(self, tmp_path_factory):
        return write_bundles(tmp_path_factory.mktemp("bundles"))

    @pytest.fixture(scope="class")
    def dumped(self, program, bundles, tmp_path_factory):
        """Dumps of all Gaussians of every kind."""
        folder = tmp_path_factory.mktemp("dumped")
        return {kind: Dumped(program, path, folder / kind) for kind, path in bundles.items()}

    @pytest.mark.parametrize("kind", (*KINDS, "two"))
    def test_core_reads_a_bundle_as_python_does(self, kind, bundles, dumped):
        bundle = read_bundle(bundles[kind])
        check_read(dumped[kind], bundle)
        name, joint, clip, duration, reach = dumped[kind].done.stdout.split("|")
        assert (name, joint, clip, float(duration)) == ("random person", "joint 1", "wave", 12 / 30.0)
        farthest = np.linalg.norm(bundle.gaussians.means - bundle.rig.T_world_joint_rest[0, :3, 3], axis=1).max()
        assert float(reach) == pytest.approx(2 * farthest + 0.1, rel=1e-5)

    @pytest.mark.parametrize("kind", KINDS)
    def test_core_poses_as_the_player_does(self, kind, bundles, dumped):
        player = Player(read_bundle(bundles[kind]))
        for i, time in enumerate(TIMES):
            check_posed(dumped[kind], f"time{i}_", player.gaussians_at(time))

    def test_core_levels_of_detail_rigid_skinning_and_held_ends(self, program, bundles, tmp_path):
        bundle = read_bundle(bundles["basis"])
        part = Dumped(program, bundles["basis"], tmp_path / "part", count=101)
        for i, time in enumerate(TIMES):
            check_posed(part, f"time{i}_", Player(prefix(bundle, 101)).gaussians_at(time))
        times = (-0.2, 0.11, 7.0)
        rigid = Dumped(program, bundles["basis"], tmp_path / "rigid", residual=False, loop=False, times=times)
        for i, time in enumerate(times):
            check_posed(rigid, f"time{i}_", Player(bundle).gaussians_at(time, residual=False, loop=False))

    def test_core_loops_and_fades_as_the_runtime_does(self, program, bundles, tmp_path):
        bundle = read_bundle(bundles["two"])
        # Clip 0 is 0.4 s, across its seam from 0.367; clip 1 repeats after 1.067 s, in its fade for 0.267 s from there.
        moments = [shown(bundle, 0, 0.39), shown(bundle, 0, 7.07), shown(bundle, 0, -0.3), shown(bundle, 1, 0.05),
                   shown(bundle, 1, 1.2), shown(bundle, 1, 3.4), shown(bundle, 0, 0.1, over=(1, 0.13, 0.4)),
                   shown(bundle, 1, 1.1, over=(0, 0.07, 0.25)), shown(bundle, 1, 1.05, over=(1, 1.15, 1.5))]
        assert max(len(moment.layers) for _, moment in moments) == 4
        dump = Dumped(program, bundles["two"], tmp_path / "out", times=[text for text, _ in moments])
        for i, (_, moment) in enumerate(moments):
            check_joints(dump, f"time{i}_", bundle, moment)
            check_posed(dump, f"time{i}_", stage_reference.gaussians_at(bundle, moment))

    def test_core_reads_past_a_pose_residual(self, program, tmp_path):
        write_bundle(with_driven_clip(make_figure()), tmp_path / "driven.ani3d")
        bundle = read_bundle(tmp_path / "driven.ani3d")
        dump = Dumped(program, tmp_path / "driven.ani3d", tmp_path / "out", count=bundle.gaussians.count)
        check_read(dump, bundle)
        check_posed(dump, "time1_", Player(bundle).gaussians_at(TIMES[1]))

    def test_core_refuses_damaged_files_in_one_line(self, program, bundles, tmp_path):
        check_refusals(program, bundles["basis"], tmp_path)


def damaged(path, folder):
    """Damaged copies of a bundle, as (words of the message, bytes)."""
    whole = path.read_bytes()
    entries = archive.Archive(path)
    content = {name: entries.read(name) for name in entries.names}

    def rewritten(name, old, new):
        archive.write_archive(folder / "made", content | {name: content[name].replace(old, new, 1)})
        return (folder / "made").read_bytes()

    second = whole.index(b"PK\x03\x04", 4)
    at = second + 30 + whole[second + 26] + 20
    joints, means = content["rig/skin_joints.u8"], content["gaussians/means.f32"]
    cases = {
        "is not an ani3d bundle": b"GIF89a" + whole, "is cut off": whole[:-30], "bytes after its end": whole + b"\0",
        "is damaged": whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1:],
        "version 7, this player knows 1": rewritten("manifest.json", b'"version": 1', b'"version": 7'),
        "is not JSON": rewritten("manifest.json", b"{", b"[{"),
        "names no joint": rewritten("rig/skin_joints.u8", joints[:1], b"\xff"),
        "not as large as the manifest says": rewritten("manifest.json", b'"shape": [\n    900', b'"shape": [\n    901'),
        "rig/rest holds a matrix": rewritten("rig/rest.f64", np.ones(1).tobytes(), np.zeros(1).tobytes()),
        "not a unit quaternion": rewritten("clip0/quats.f32", content["clip0/quats.f32"][:16], bytes(16)),
        "export the p": rewritten("manifest.json", b'"version": 1', b'"version": "' + b"a" * 5000 + b'"'),
        "gaussians/means holds NaN": rewritten("gaussians/means.f32", means[:4], np.float32(np.nan).tobytes()),
    }
    assert len(set(cases.values())) == len(cases)
    return cases


def check_refusals(command, path, folder):
    """Every damaged copy is refused in one line that names the file."""
    for index, (words, data) in enumerate(damaged(path, folder).items()):
        (folder / "bad.ani3d").write_bytes(data)
        done = Dumped(command, folder / "bad.ani3d", folder / str(index)).done
        assert done.returncode == 2, (words, done.stdout + done.stderr)
        assert words in done.stdout and done.stdout.startswith("bad.ani3d"), done.stdout
        assert done.stdout.count("\n") == 1 and len(done.stdout) < 300, done.stdout


def check_page(folder):
    """The README of an export: every picture it shows is there, and as the script draws it now."""
    shown_pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (folder / "README.md").read_text())
    assert len(shown_pictures) == 3
    drawn = {Path(name).name + name.split("/")[0]: draw for name, draw in engine_pictures.PICTURES.items()}
    engine = "unity" if "com.ani3d" in shown_pictures[0] else "unreal"
    for picture in shown_pictures:
        text = (folder / picture).read_text(encoding="utf-8")
        assert text == drawn[Path(picture).name + engine]().svg(), "run python -m export_formats.engine_pictures"
        ElementTree.fromstring(text)


NOT_USED = {"FirstStep": 0, "ListEnds": np.zeros(4), "TexelWords": np.zeros(4), "Count": 0, "MovingCount": 0,
            "Influences": 0, "Turn": 0, "Share": 1, "Growth": 0, "ViewRows": np.zeros((3, 4)), "Pinhole": np.ones(4),
            "ImageSize": np.ones(2), "DepthRange": np.ones(2), "Orthographic": 0.0}
"""Of the shader's numbers, those that a kernel declares with the others but does not read."""


class Gpu:
    """The compute passes of a shader file over the buffers of one dump, on software OpenGL."""

    def __init__(self, context, dump, shader, *, count=COUNT):
        self.context, self.dump, self.shader, self.count = context, dump, shader, count
        files = {"RestMeans": "rest_means", "RestQuats": "rest_quats", "RestLogScales": "rest_log_scales",
                 "SkinWords": "skin", "Colors": "colors"}
        sizes = {"PosedMeans": 16 * count, "PosedQuats": 16 * count, "PosedLogScales": 16 * count,
                 "Splats": 32 * count, "DepthBins": 4 * count, "BinStarts": 4 * 65536, "Order": 4 * count}
        self.buffers = {name: context.buffer(dump[file].tobytes()) for name, file in files.items()}
        self.buffers |= {name: context.buffer(b"\xff" * size) for name, size in sizes.items()}
        self._programs = {}

    def run(self, kernel, groups, uniforms):
        """One pass."""
        if kernel not in self._programs:
            glsl = hlsl.to_glsl(self.shader, kernel, "comp")
            self._programs[kernel] = glsl, self.context.compute_shader(glsl)
        glsl, made = self._programs[kernel]
        hlsl.bind(self.context, glsl, buffers=self.buffers, uniforms=NOT_USED | uniforms)
        made.run(groups)
        self.context.memory_barrier()

    def pose(self, prefix, bundle, camera=None, *, orthographic=False):
        """Pose a dumped moment; with a camera also project and sort."""
        self.buffers |= {"Joints": self.context.buffer(self.dump[f"{prefix}skinning"].tobytes()),
                         "Steps": self.context.buffer(self.dump[f"{prefix}steps"].tobytes() or bytes(16))}
        groups = -(-self.count // 64)
        common = {"Count": self.count, "Influences": bundle.rig.skin_joints.shape[1], "Growth": self.dump["growth"]}
        ends = self.dump[f"{prefix}ends"].reshape(-1, 4)
        for index, (clip, weight, share) in enumerate(self.dump[f"{prefix}layers"].reshape(-1, 3)):
            of_clip = f"clip{int(clip)}_"
            self.buffers |= {name: self.context.buffer(self.dump[of_clip + file].tobytes()) for name, file in (
                ("Rows", "rows"), ("GroupMeans", "group_means"), ("MeanTexels", "mean_texels"),
                ("RotationTexels", "rotation_texels"), ("LogScaleTexels", "log_scale_texels"))}
            self.run("Decode", groups, common | {
                "FirstStep": ends[index - 1, 3] if index else 0, "ListEnds": ends[index],
                "TexelWords": self.dump[f"{of_clip}texel_words"], "Turn": weight, "Share": share,
                "MovingCount": len(bundle.clips[int(clip)].residual.moving)})
        self.run("Skin", groups, common)
        if camera is not None:
            self._sort(groups, common | {
                "ViewRows": camera.T_camera_world[:3], "ImageSize": (camera.width, camera.height),
                "Pinhole": (camera.fx, camera.fy, camera.cx, camera.cy), "DepthRange": (1.0, 6.0),
                "Orthographic": float(orthographic)})

    def _sort(self, groups, uniforms):
        for kernel, size in (("Project", groups), ("ClearBins", 256), ("CountBins", groups), ("ScanBins", 1),
                             ("Scatter", groups)):
            self.run(kernel, size, uniforms)
        self.buffers |= {"SplatRows": self.buffers["Splats"], "OrderRows": self.buffers["Order"]}

    def check_posed(self, expected):
        """float32 throughout; worst measured 3e-7 m, 5e-7 and 1.5e-6 (also on a baked person of 28 000)."""
        np.testing.assert_allclose(self.read("PosedMeans")[:, :3], expected.means, atol=2e-6)
        np.testing.assert_allclose(self.read("PosedLogScales")[:, :3], expected.log_scales, atol=2e-6)
        turned = to_matrix(self.read("PosedQuats").astype(np.float64))
        np.testing.assert_allclose(turned, to_matrix(expected.quats_wxyz.astype(np.float64)), atol=5e-6)

    def check_order(self):
        """A permutation, far to near: bins are 5 m / 65534 deep."""
        order, depth = self.read("Order", np.uint32, 1), self.read("Splats", np.float32, 8)[:, 2]
        assert np.array_equal(np.sort(order), np.arange(self.count))
        assert (np.diff(depth[order]) <= 8e-5).all()

    def draw(self, stages, uniforms, size, *, targets=1, flip=True):
        """Pictures [H X 4] of the sorted splats, by the GLSL of a vertex and a fragment stage.

        `flip` turns OpenGL's rows, the lowest first, over.
        """
        import moderngl

        drawing = self.context.program(vertex_shader=stages[0], fragment_shader=stages[1])
        target = self.context.framebuffer([self.context.texture(size, 4, dtype="f4") for _ in range(targets)])
        target.use()
        target.clear()
        self.context.enable_only(moderngl.BLEND)
        self.context.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        for glsl in stages:
            hlsl.bind(self.context, glsl, buffers=self.buffers, uniforms=uniforms)
        self.context.vertex_array(drawing, []).render(moderngl.TRIANGLES, 6 * self.count)
        return [_rows(target, index, size, flip=flip) for index in range(targets)]

    def compose(self, stages, uniforms, size, pictures, *, scene_depth):
        """The picture [H X 4] of a quad that samples `pictures`, over a scene that is all at one device depth."""
        import moderngl

        drawing = self.context.program(vertex_shader=stages[0], fragment_shader=stages[1])
        target = self.context.framebuffer([self.context.texture(size, 4, dtype="f4")],
                                          self.context.depth_texture(size))
        target.use()
        target.clear(depth=scene_depth)
        self.context.enable_only(moderngl.DEPTH_TEST)
        self.context.depth_func = "<="
        for unit, name in enumerate(re.findall(r"uniform sampler2D (\w+);", stages[1])):
            texture = self.context.texture(size, 4, pictures[next(key for key in sorted(pictures, key=len, reverse=True)
                                                                  if key in name)].tobytes(), dtype="f4")
            texture.use(unit)
            drawing[name].value = unit
        for glsl in stages:
            hlsl.bind(self.context, glsl, buffers=self.buffers, uniforms=uniforms)
        self.context.vertex_array(drawing, []).render(moderngl.TRIANGLES, 6)
        self.context.enable_only(moderngl.NOTHING)
        return _rows(target, 0, size, flip=True)

    def read(self, name, dtype=np.float32, columns=4):
        """A buffer's contents in rows."""
        values = np.frombuffer(self.buffers[name].read(), dtype)
        return values.reshape(-1, columns) if columns > 1 else values


def _rows(target, index, size, *, flip):
    picture = np.frombuffer(target.read(components=4, dtype="f4", attachment=index), np.float32)
    picture = picture.reshape(size[1], size[0], 4)
    return (picture[::-1] if flip else picture).copy()
