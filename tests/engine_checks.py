"""What the tests of both engines' cores check: decoding against Python, refusals, shaders against the player."""

import subprocess

import numpy as np
from outside.shaders import hlsl
from sample_bundle import make_bundle

from runtime import archive, bundle_blocks
from runtime.bundle import write_bundle
from runtime.rotations import to_matrix
from runtime.skinning import joint_transforms

TIMES = (0.0, 0.11, 0.3371)
"""Seconds: a whole frame, and two between frames."""
KINDS = {"basis": {}, "dense": {"dense": True, "texel_type": np.int16}, "rigid": {"basis": 0}}
COUNT = 900


def write_bundles(folder):
    """Paths of bundles by kind."""
    for kind, options in KINDS.items():
        bundle = make_bundle(3, count=COUNT, joints=6, frames=12, **{"basis": 5} | options)
        write_bundle(bundle, folder / f"{kind}.ani3d")
    return {kind: folder / f"{kind}.ani3d" for kind in KINDS}


class Dumped:
    """The files of one run of a core's dump program."""

    def __init__(self, command, bundle, folder, *, count=COUNT, residual=True, loop=True, times=TIMES):
        folder.mkdir()
        self.folder, self.count = folder, count
        self.done = subprocess.run(
            [*command, str(bundle), str(folder), str(count), str(int(residual)), str(int(loop)), *map(str, times)],
            capture_output=True, text=True)

    def __getitem__(self, name):
        file = next(self.folder.glob(f"{name}.*"))
        return np.frombuffer(file.read_bytes(), "<" + file.suffix[1:])


def check_read(dump, bundle):
    """Stored values to the bit, computed ones to 1e-6."""
    gaussians, residual = bundle.gaussians, bundle.clips[0].residual
    assert dump.done.returncode == 0, dump.done.stdout + dump.done.stderr
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
    for name, group in (("mean", residual.d_means), ("rotation", residual.d_rotations),
                        ("log_scale", residual.d_log_scales)):
        words = dump[f"{name}_texels"].view(group.texels.dtype).reshape(-1, 4)[:, :3]
        assert np.array_equal(words[:group.texels.size // 3], group.texels.reshape(-1, 3)), name


def check_posed(dump, prefix, expected, tolerance=1e-6):
    """Posed Gaussians within float rounding; quaternions up to sign."""
    np.testing.assert_allclose(dump[f"{prefix}means"].reshape(-1, 3), expected.means, atol=tolerance)
    log_scales = dump[f"{prefix}log_scales"].reshape(-1, 3)
    np.testing.assert_allclose(log_scales, expected.log_scales, atol=tolerance, rtol=1e-6)
    quats = dump[f"{prefix}quats"].reshape(-1, 4)
    sign = np.sign((quats * expected.quats_wxyz).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(quats * sign, expected.quats_wxyz, atol=tolerance)


def check_joints(dump, prefix, player, time):
    """Joint matrices."""
    joints = joint_transforms(player.bundle.rig, player.motion_at(time), 0)
    np.testing.assert_allclose(dump[f"{prefix}joints"].reshape(-1, 3, 4), joints[:, :3], atol=1e-6)


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
        assert done.stdout.count("\n") == 1, done.stdout


class Gpu:
    """The compute passes of a shader file over the buffers of one dump, on software OpenGL."""

    def __init__(self, context, dump, shader, *, count=COUNT):
        self.context, self.dump, self.shader, self.count = context, dump, shader, count
        files = {"RestMeans": "rest_means", "RestQuats": "rest_quats", "RestLogScales": "rest_log_scales",
                 "Skin": "skin", "GroupMeans": "group_means", "MeanTexels": "mean_texels",
                 "RotationTexels": "rotation_texels", "LogScaleTexels": "log_scale_texels", "Colors": "colors"}
        sizes = {"PosedMeans": 16 * count, "PosedQuats": 16 * count, "PosedLogScales": 16 * count,
                 "Splats": 32 * count, "DepthBins": 4 * count, "BinStarts": 4 * 65536, "Order": 4 * count}
        self.buffers = {name: context.buffer(dump[file].tobytes()) for name, file in files.items()}
        self.buffers |= {name: context.buffer(b"\xff" * size) for name, size in sizes.items()}

    def run(self, kernel, groups, uniforms):
        """One pass."""
        glsl = hlsl.to_glsl(self.shader, kernel, "comp")
        made = self.context.compute_shader(glsl)
        hlsl.bind(self.context, glsl, buffers=self.buffers, uniforms=uniforms)
        made.run(groups)
        self.context.memory_barrier()

    def pose(self, prefix, bundle, camera=None):
        """Pose a dumped moment; with a camera also project and sort."""
        self.buffers |= {"Joints": self.context.buffer(self.dump[f"{prefix}skinning"].tobytes()),
                         "Steps": self.context.buffer(self.dump[f"{prefix}steps"].tobytes() or bytes(16))}
        uniforms = self._uniforms(prefix, bundle, camera)
        groups = -(-self.count // 64)
        self.run("Pose", groups, uniforms)
        if camera is not None:
            for kernel, size in (("Project", groups), ("ClearBins", 256), ("CountBins", groups), ("ScanBins", 1),
                                 ("Scatter", groups)):
                self.run(kernel, size, uniforms)
            self.buffers |= {"SplatRows": self.buffers["Splats"], "OrderRows": self.buffers["Order"]}

    def _uniforms(self, prefix, bundle, camera):
        residual = bundle.clips[0].residual
        words = [1 if group.texels.dtype == np.int8 else 2
                 for group in (residual.d_means, residual.d_rotations, residual.d_log_scales)]
        values = {"ListEnds": self.dump[f"{prefix}ends"], "TexelWords": [*words, 0], "Count": self.count,
                  "MovingCount": len(residual.moving), "Influences": bundle.rig.skin_joints.shape[1],
                  "Turn": self.dump[f"{prefix}turn"], "Growth": self.dump["growth"], "ViewRows": np.zeros((3, 4)),
                  "Pinhole": np.ones(4), "ImageSize": np.ones(2), "DepthRange": (0, 1)}
        if camera is None:
            return values
        return values | {"ViewRows": camera.T_camera_world[:3], "ImageSize": (camera.width, camera.height),
                         "Pinhole": (camera.fx, camera.fy, camera.cx, camera.cy), "DepthRange": (1.0, 6.0)}

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

    def draw(self, stages, uniforms, size):
        """The picture [H X 4] of the sorted splats, by the GLSL of a vertex and a fragment stage."""
        import moderngl

        drawing = self.context.program(vertex_shader=stages[0], fragment_shader=stages[1])
        target = self.context.framebuffer([self.context.texture(size, 4, dtype="f4")])
        target.use()
        target.clear()
        self.context.enable_only(moderngl.BLEND)
        self.context.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        for glsl in stages:
            hlsl.bind(self.context, glsl, buffers=self.buffers, uniforms=uniforms)
        self.context.vertex_array(drawing, []).render(moderngl.TRIANGLES, 6 * self.count)
        picture = np.frombuffer(target.read(components=4, dtype="f4"), np.float32)
        return picture.reshape(size[1], size[0], 4)[::-1].copy()

    def read(self, name, dtype=np.float32, columns=4):
        """A buffer's contents in rows."""
        values = np.frombuffer(self.buffers[name].read(), dtype)
        return values.reshape(-1, columns) if columns > 1 else values
