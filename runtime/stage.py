"""Playing: several actors posed, decoded, skinned and sorted, each frame into the same arrays.

Per frame: pose (J joints) -> decode (M moving Gaussians) -> skin (N Gaussians, with their covariances) -> sort.
Nothing of size N or M is allocated after construction. `runtime/stage_reference.py` says the same in plain numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt32

from runtime import _raster_threads, fast_offsets, fast_pose, fast_sort
from runtime.actor import Layer, Moment
from runtime.actor_loop import loop_of
from runtime.decoders import DecoderName, load_decoder
from runtime.fast_offsets import ROTATIONS, PackedResidual
from runtime.fast_skinning import covariances, skin
from runtime.pose_residual import pose_features
from runtime.skinning import local_rest_transforms
from runtime.types import Bundle, GaussianSet

STANDING = np.eye(4)[:3]
"""The placement [3 4] that leaves an avatar where it is."""


@dataclass(frozen=True)
class PosedArrays:
    """N Gaussians in the world: rows of one stage, or all of it."""

    means: Float32[np.ndarray, "N 3"]
    """Centres [m]."""
    quats: Float32[np.ndarray, "N 4"]
    """Orientations wxyz, unit."""
    covariances: Float32[np.ndarray, "N 6"]
    """xx, xy, xz, yy, yz, zz [m²]."""
    log_scales: Float32[np.ndarray, "N 3"]
    """Natural log of the standard deviations [m]."""

    @classmethod
    def empty(cls, count: int) -> PosedArrays:
        """Uninitialised."""
        return cls(*(np.empty((count, width), np.float32) for width in (3, 4, 6, 3)))

    def rows(self, start: int, stop: int) -> PosedArrays:
        """A view of rows start..stop-1."""
        return PosedArrays(self.means[start:stop], self.quats[start:stop], self.covariances[start:stop],
                           self.log_scales[start:stop])


class Figure:
    """One avatar's Gaussians, posed into given arrays."""

    def __init__(self, bundle: Bundle, arrays: PosedArrays | None = None, *,
                 placement: Float[np.ndarray, "3 4"] = STANDING, decoder: DecoderName = "numpy") -> None:
        """`arrays` has the bundle's count of rows; `placement` stands the avatar in the world; `decoder` runs the
        bundle's pose residual, if it has one."""
        gaussians, rig = bundle.gaussians, bundle.rig
        self.bundle = bundle
        self.arrays = PosedArrays.empty(gaussians.count) if arrays is None else arrays
        self.placement = np.ascontiguousarray(placement, np.float64)
        joints = rig.joint_count
        self.joints = np.zeros((joints, 3, 4))
        """`T_world_joint` of the latest pose, its first three rows."""
        self.matrices = np.zeros((joints, 3, 4))
        """What skins rest-pose points with the latest pose, [J 3 4]."""
        self._parents = np.ascontiguousarray(rig.parents, np.int64)
        rest = rig.T_world_joint_rest.astype(np.float64)
        self._local_rest = local_rest_transforms(rig).astype(np.float64)
        self._inverse_rest = np.linalg.inv(rest)
        self._skin = (np.ascontiguousarray(rig.skin_joints, np.int32),
                      np.ascontiguousarray(rig.skin_weights, np.float32))
        self._clips = [(np.ascontiguousarray(clip.motion.root_translations, np.float64),
                        np.ascontiguousarray(clip.motion.quats_wxyz, np.float64)) for clip in bundle.clips]
        self._loops = [loop_of(clip.motion) for clip in bundle.clips]
        self._root, self._other_root = np.zeros(3), np.zeros(3)
        self._quats, self._other_quats = np.zeros((joints, 4)), np.zeros((joints, 4))
        self.decoder = None if bundle.pose_residual is None else load_decoder(decoder, bundle.pose_residual)
        """Runs the network that moves clips without a residual of their own."""
        self._prepare_residuals()

    def _prepare_residuals(self) -> None:
        """Texels laid out for decoding, and the working arrays of all moving Gaussians of all clips."""
        gaussians, clips = self.bundle.gaussians, self.bundle.clips
        moving = [clip.residual.moving for clip in clips]
        self.rows = np.unique(np.concatenate(moving)) if moving else np.zeros(0, np.int64)
        self.packed = [PackedResidual.pack(clip.residual) for clip in clips]
        self._texel_of_row = [np.where(np.isin(self.rows, own), np.searchsorted(own, self.rows), -1) if len(own)
                              else np.full(len(self.rows), -1) for own in moving]
        most = max((len(own) for own in moving), default=0)
        self._values = [np.zeros((3, most), np.float32) for _ in range(4)]
        self._offsets = np.zeros((len(self.rows), 10), np.float32)
        self._rest_means = np.array(gaussians.means, np.float32, order="C")
        self._rest_quats = np.array(gaussians.quats_wxyz, np.float32, order="C")
        self._scales = np.exp(gaussians.log_scales.astype(np.float32))
        self._base = tuple(np.ascontiguousarray(values[self.rows], np.float32)
                           for values in (gaussians.means, gaussians.quats_wxyz, gaussians.log_scales))
        self.arrays.log_scales[:] = gaussians.log_scales
        self._decoded = False

    def pose(self, moment: Moment) -> None:
        """Joints and skinning matrices of a moment."""
        for index, layer in enumerate(moment.layers):
            roots, quats = self._clips[layer.clip]
            root, turned = (self._root, self._quats) if index == 0 else (self._other_root, self._other_quats)
            fast_pose.sample(roots, quats, layer.before, layer.after, layer.weight, root, turned)
            for axis, before, after in ((0, layer.before_offset[0], layer.after_offset[0]),
                                        (2, layer.before_offset[1], layer.after_offset[1])):
                root[axis] += (1 - layer.weight) * before + layer.weight * after
            if index:
                fast_pose.mix(self._root, self._quats, root, turned, layer.share)
        if not moment.root_motion:
            self._root[0] = self._root[2] = 0.0
        fast_pose.skinning_matrices(self._root, self._quats, self._parents, self._local_rest, self._inverse_rest,
                                    self.placement, self.joints, self.matrices)

    def decode(self, moment: Moment) -> None:
        """The rest-pose Gaussians of a moment: canonical ones with the residual applied."""
        if not moment.residual:
            if self._decoded:
                self._offsets[:] = 0
                self._offsets[:, 3] = 1
                self._apply()
            self._decoded = False
            return
        for index, layer in enumerate(moment.layers):
            self._decode_layer(layer, 1.0 if index == 0 else layer.share)
        self._apply()
        self._decoded = True

    def _decode_layer(self, layer: Layer, share: float) -> None:
        """Mix one clip's offsets over what the layers below left."""
        clip, steps, weight = self.layer_steps(layer)
        self.decode_steps(clip, steps, weight, share)

    def layer_steps(self, layer: Layer) -> tuple[int, list[tuple[np.ndarray, np.ndarray]], float]:
        """Whose textures a layer sums, which rows with which factors (three groups, then the later frame's
        rotations), and the weight of the later frame."""
        if self.decoder is not None and len(self.bundle.clips[layer.clip].residual.moving) == 0:
            return self._driven_steps(layer)
        groups = self.packed[layer.clip].groups
        steps = [group.steps(layer.before, layer.after, 0.0 if index == ROTATIONS else layer.weight)
                 for index, group in enumerate(groups)]
        steps.append(groups[ROTATIONS].steps(layer.after, layer.after, 0.0) if layer.weight else steps[ROTATIONS])
        return layer.clip, steps, layer.weight

    def _driven_steps(self, layer: Layer) -> tuple[int, list[tuple[np.ndarray, np.ndarray]], float]:
        """The same for a clip that the pose residual moves."""
        own, motion = self.bundle.pose_residual, self.bundle.clips[layer.clip].motion
        assert own is not None and self.decoder is not None
        features = pose_features(self.bundle.rig, motion, layer.before + layer.weight, lags=own.lags,
                                 joints=own.joints, loop=self._loops[layer.clip])
        steps = [group.of_weights(np.arange(len(part)), part)
                 for group, part in zip(self.packed[own.clip].groups, own.split(self.decoder(features)), strict=True)]
        return own.clip, [*steps, steps[ROTATIONS]], 0.0

    def decode_steps(self, clip: int, steps: list[tuple[np.ndarray, np.ndarray]], weight: float, share: float) -> None:
        """Mix a clip's offsets of given texture rows and factors: the three groups', then the later rotations'."""
        groups = self.packed[clip].groups
        order = (groups[0], groups[1], groups[2], groups[ROTATIONS])
        count = groups[0].moving
        values = [value[:, :count] for value in self._values]
        for group, step, value in zip(order[:4 if weight else 3], steps, values, strict=False):
            _raster_threads.run(fast_offsets.accumulate, fast_offsets.blocks(count), group.mean, group.texels, *step,
                                value)
        _raster_threads.run(fast_offsets.mix_offsets, len(self.rows), self._texel_of_row[clip], *values,
                            np.float32(weight), np.float32(share), self._offsets)

    def _apply(self) -> None:
        _raster_threads.run(fast_offsets.apply_offsets, len(self.rows), self.rows, self._offsets, *self._base,
                            self._rest_means, self._rest_quats, self.arrays.log_scales, self._scales)

    def skin(self) -> None:
        """World-space Gaussians and covariances of the latest pose and decoding."""
        arrays = self.arrays
        _raster_threads.run(skin, len(arrays.means), self._rest_means, self._rest_quats, *self._skin, self.matrices,
                            arrays.means, arrays.quats)
        _raster_threads.run(covariances, len(arrays.means), arrays.quats, self._scales, arrays.covariances)

    def gaussians(self) -> GaussianSet:
        """A copy of the Gaussians as they stand now."""
        arrays, own = self.arrays, self.bundle.gaussians
        return GaussianSet(means=arrays.means.copy(), quats_wxyz=arrays.quats.copy(),
                           log_scales=arrays.log_scales.copy(), opacity_logits=own.opacity_logits, sh0=own.sh0,
                           labels=own.labels)


class Stage:
    """Several figures in one set of arrays, sorted together."""

    def __init__(self, bundles: list[Bundle], placements: list[np.ndarray] | None = None) -> None:
        """`placements` [3 4] stand the avatars in the world; by default each where its clips put it."""
        counts = [bundle.gaussians.count for bundle in bundles]
        ends = np.cumsum([0, *counts])
        total = int(ends[-1])
        self.arrays = PosedArrays.empty(total)
        placed = placements or [STANDING] * len(bundles)
        self.figures = [Figure(bundle, self.arrays.rows(int(start), int(stop)), placement=placement)
                        for bundle, start, stop, placement in zip(bundles, ends[:-1], ends[1:], placed, strict=True)]
        self.order: UInt32[np.ndarray, " N"] = np.arange(total, dtype=np.uint32)
        """Rows from the farthest to the nearest."""
        self._depths = np.zeros(total, np.float32)
        self._sort_memory = (np.zeros(total, np.uint32), np.zeros(total, np.uint32),
                             np.zeros((1 << fast_sort.DIGIT_BITS) + 1, np.uint32), np.zeros(total, np.uint32))

    @property
    def count(self) -> int:
        """N of all figures together."""
        return len(self.order)

    def show(self, moments: list[Moment]) -> None:
        """Pose, decode and skin every figure."""
        for figure, moment in zip(self.figures, moments, strict=True):
            figure.pose(moment)
            figure.decode(moment)
            figure.skin()

    def sort(self, T_camera_world: Float[np.ndarray, "4 4"]) -> UInt32[np.ndarray, " N"]:
        """Rows from the farthest to the nearest of a camera."""
        row = T_camera_world[2].astype(np.float32)
        _raster_threads.run(fast_sort.depth_keys, self.count, self.arrays.means, row, self._depths)
        fast_sort.sort_far_to_near(self._depths.view(np.uint32), *self._sort_memory, self.order)
        return self.order
