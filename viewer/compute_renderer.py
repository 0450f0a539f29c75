"""OpenGL 4.3: decoding, skinning, sorting and drawing on the GPU. The CPU poses the joints and does no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from pyglet import gl

from runtime.actor import Moment
from runtime.bundle_blocks import WEIGHT_ONE, encode_weights
from runtime.fast_offsets import ROTATIONS, PackedResidual
from runtime.fast_sort import KEY_BITS
from runtime.stage import Figure
from runtime.types import Bundle
from viewer.gl_objects import DIGIT_BITS, GROUP, Buffer, GlError, Program, check_errors, integer
from viewer.instances import WORDS, packed_colors
from viewer.renderer import RendererName, View, merged
from viewer.splat_pass import SplatPass

_MOST_BYTES = 1 << 27
"""A storage block of this size every OpenGL 4.3 has."""


class ComputeRenderer:
    """See `viewer.renderer.Renderer`."""

    name: RendererName = "compute"

    def __init__(self) -> None:
        """Raises `GlError` below OpenGL 4.3, or where a shader is refused."""
        version = (integer(gl.GL_MAJOR_VERSION), integer(gl.GL_MINOR_VERSION))
        if version < (4, 3):
            raise GlError(f"OpenGL {version[0]}.{version[1]}, needs 4.3")
        self._programs = {name: Program(430, f"{name}.comp.glsl")
                          for name in ("decode", "skin", "sort_count", "sort_scan", "sort_scatter", "gather")}
        self._instances = Buffer(0, usage=gl.GL_DYNAMIC_COPY)
        self._pass = SplatPass(self._instances)
        self._steps = Buffer(0, usage=gl.GL_STREAM_DRAW)
        self._matrices = Buffer(0, usage=gl.GL_STREAM_DRAW)
        self._buffers: list[Buffer] = []
        self._avatars: list[_Avatar] = []
        check_errors("while setting up")

    def set_scene(self, bundles: Sequence[Bundle], placements: Sequence[np.ndarray]) -> None:
        """See `Renderer`."""
        self._free_scene()
        self._avatars, first_row, first_joint = [], 0, 0
        for bundle, placement in zip(bundles, placements, strict=True):
            avatar = _Avatar(bundle, placement, first_row=first_row, first_joint=first_joint)
            self._avatars.append(avatar)
            self._buffers += [buffer for clip in avatar.clips for buffer in clip.buffers]
            first_row += avatar.row_count
            first_joint += bundle.rig.joint_count
        everyone = merged([bundle.gaussians for bundle in bundles])
        self._count = everyone.count
        self._influence_count = max(bundle.rig.skin_joints.shape[1] for bundle in bundles)
        self._blocks = -(-self._count // GROUP)
        if max(4 * WORDS, 4 * self._influence_count, 48) * self._count > _MOST_BYTES:
            raise GlError(f"{self._count} Gaussians are more than one storage block holds")
        rests = np.concatenate([avatar.rests() for avatar in self._avatars])
        influences = np.concatenate([avatar.influences(self._influence_count) for avatar in self._avatars])
        words, dynamic = 4 * self._count, gl.GL_DYNAMIC_COPY
        self._rests, self._influences = Buffer(rests), Buffer(influences)
        self._colors = Buffer(packed_colors(everyone))
        self._offsets = Buffer(48 * first_row, usage=dynamic)
        self._posed = Buffer(9 * words, usage=dynamic)
        self._keys = [Buffer(words, usage=dynamic) for _ in range(2)]
        self._order = [Buffer(words, usage=dynamic) for _ in range(2)]
        self._counts = Buffer(4 * self._blocks << DIGIT_BITS, usage=dynamic)
        self._instances.set(WORDS * words)
        self._buffers += [self._rests, self._influences, self._colors, self._offsets, self._posed, *self._keys,
                          *self._order, self._counts]
        check_errors("while uploading")

    def draw(self, views: Sequence[View], size: tuple[int, int]) -> None:
        """See `Renderer`."""
        assert self._avatars, "set_scene comes first"
        self._pass.begin(size)
        for view in views:
            for avatar, moment in zip(self._avatars, view.moments, strict=True):
                avatar.figure.pose(moment)
                self._decode(avatar, moment)
            self._matrices.set(np.concatenate([avatar.figure.matrices for avatar in self._avatars]).astype(np.float32))
            self._skin(view.camera.T_camera_world[2])
            self._sort()
            self._gather()
            self._pass.draw(self._count, view.camera, left=view.left, style=view.style)
        check_errors("while drawing")

    def show(self, size: tuple[int, int], background: tuple[float, float, float]) -> None:
        """See `Renderer`."""
        self._pass.show(size, background)

    def read(self, background: tuple[float, float, float]) -> UInt8[np.ndarray, "H X 3"]:
        """See `Renderer`."""
        return self._pass.read(background)

    def delete(self) -> None:
        """See `Renderer`."""
        self._free_scene()
        self._pass.delete()
        for program in self._programs.values():
            program.delete()
        for buffer in (self._instances, self._steps, self._matrices):
            buffer.delete()

    def order(self) -> np.ndarray:
        """Rows from far to near of the latest view: for tests."""
        return self._order[0].read(np.uint32, self._count)

    def posed(self) -> np.ndarray:
        """Means and covariances [N 9] of the latest view: for tests."""
        return self._posed.read(np.float32, 9 * self._count).reshape(-1, 9)

    def _decode(self, avatar: _Avatar, moment: Moment) -> None:
        """Offsets of one avatar's moving Gaussians."""
        for index, layer in enumerate(moment.layers if moment.residual else moment.layers[:1]):
            number, steps, weight = avatar.figure.layer_steps(layer)
            clip = avatar.clips[number]
            groups = clip.packed.groups
            counts = [len(rows) for rows, _ in steps]
            table = np.concatenate([np.concatenate([rows[:, None], factors], axis=1) for rows, factors in steps])
            self._steps.set(table.astype(np.float32))
            self._bind(clip.texels, clip.means, clip.texel_of_row, self._steps, self._offsets)
            self._programs["decode"].use(
                first_row=avatar.first_row, row_count=avatar.row_count, moving=groups[0].moving,
                texel_words=clip.texel_words, mean_start=clip.mean_start,
                textures=[groups[g].texels.shape[1] for g in (0, 1, 2, ROTATIONS)],
                short_texels=[int(groups[g].texels.itemsize == 2) for g in (0, 1, 2, ROTATIONS)],
                step_start=np.cumsum([0, *counts[:3]]), step_count=counts, weight=float(weight),
                share=1.0 if index == 0 else float(layer.share), rigid=int(not moment.residual))
            self._dispatch(avatar.row_count)

    def _skin(self, depth_row: np.ndarray) -> None:
        self._bind(self._rests, self._influences, self._matrices, self._offsets, self._posed, self._keys[0],
                   self._order[0])
        self._programs["skin"].use(count=self._count, influence_count=self._influence_count,
                                   depth_row=depth_row.astype(np.float32))
        self._dispatch(self._count)

    def _sort(self) -> None:
        """Least digit first; after an even number of passes the result is where it began."""
        assert KEY_BITS // DIGIT_BITS % 2 == 0
        for number, shift in enumerate(range(0, KEY_BITS, DIGIT_BITS)):
            source, target = number % 2, 1 - number % 2
            self._bind(self._keys[source], self._order[source], self._counts, self._keys[target], self._order[target])
            self._programs["sort_count"].use(count=self._count, blocks=self._blocks, shift=shift)
            self._dispatch(self._count)
            self._programs["sort_scan"].use(blocks=self._blocks)
            self._dispatch(1)
            self._programs["sort_scatter"].use(count=self._count, blocks=self._blocks, shift=shift)
            self._dispatch(self._count)

    def _gather(self) -> None:
        self._bind(self._posed, self._order[0], self._colors, self._instances)
        self._programs["gather"].use(count=self._count)
        self._dispatch(self._count)
        gl.glMemoryBarrier(gl.GL_VERTEX_ATTRIB_ARRAY_BARRIER_BIT)

    @staticmethod
    def _bind(*buffers: Buffer) -> None:
        """Storage buffers to the binding points 0, 1, ..."""
        for point, buffer in enumerate(buffers):
            gl.glBindBufferBase(gl.GL_SHADER_STORAGE_BUFFER, point, buffer.id)

    @staticmethod
    def _dispatch(invocations: int) -> None:
        """Run the current program, and let what follows see what it wrote."""
        if invocations:
            gl.glDispatchCompute(-(-invocations // GROUP), 1, 1)
            gl.glMemoryBarrier(gl.GL_SHADER_STORAGE_BARRIER_BIT)

    def _free_scene(self) -> None:
        for buffer in self._buffers:
            buffer.delete()
        self._buffers = []


class _Avatar:
    """One bundle on the GPU."""

    def __init__(self, bundle: Bundle, placement: np.ndarray, *, first_row: int, first_joint: int) -> None:
        """`first_row` and `first_joint`: where its moving Gaussians and joints begin among all avatars'."""
        self.bundle = bundle
        self.figure = Figure(bundle, placement=placement)
        self.first_row, self.first_joint = first_row, first_joint
        self.rows = self.figure.rows
        self.row_count = len(self.rows)
        self.clips = [_Clip(packed, clip.residual.moving, self.rows)
                      for packed, clip in zip(self.figure.packed, bundle.clips, strict=True)]

    def rests(self) -> np.ndarray:
        """[N 12]: mean and row of its offset, orientation xyzw, log scale."""
        gaussians = self.bundle.gaussians
        rests = np.zeros((gaussians.count, 12), np.float32)
        rests[:, :3], rests[:, 3] = gaussians.means, -1
        rests[self.rows, 3] = self.first_row + np.arange(self.row_count)
        rests[:, 4:8] = gaussians.quats_wxyz[:, [1, 2, 3, 0]]
        rests[:, 8:11] = gaussians.log_scales
        return rests

    def influences(self, count: int) -> np.ndarray:
        """[N count]: joint << 16 | weight, as the file stores it."""
        rig = self.bundle.rig
        words = np.zeros((len(rig.skin_joints), count), np.uint32)
        stored = encode_weights(rig.skin_weights).astype(np.uint32)
        assert WEIGHT_ONE <= 0xFFFF
        words[:, :stored.shape[1]] = (rig.skin_joints.astype(np.uint32) + self.first_joint) << 16 | stored
        return words


class _Clip:
    """One clip's textures on the GPU."""

    def __init__(self, packed: PackedResidual, moving: np.ndarray, rows: np.ndarray) -> None:
        self.packed = packed
        words, starts = [], []
        for group in packed.groups:
            content = group.texels.tobytes()
            starts.append(sum(map(len, words)) // 4)
            words.append(content + bytes(-len(content) % 4))
        self.texel_words = [*starts, starts[ROTATIONS]]
        size = 3 * packed.groups[0].moving
        self.mean_start = [0, size, 2 * size, size]
        if sum(map(len, words)) > _MOST_BYTES:
            raise GlError("a clip's textures are more than one storage block holds")
        self.texels = Buffer(np.frombuffer(b"".join(words), np.uint8))
        self.means = Buffer(np.concatenate([group.mean.reshape(-1) for group in packed.groups]))
        found = np.full(len(rows), -1, np.int32)
        if len(moving):
            found = np.where(np.isin(rows, moving), np.searchsorted(moving, rows), -1).astype(np.int32)
        self.texel_of_row = Buffer(found)
        self.buffers = [self.texels, self.means, self.texel_of_row]
