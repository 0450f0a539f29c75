"""The types that cross a package boundary: frozen dataclasses of numpy arrays, checked when made.

Letters and units as in `runtime/__init__.py`. Arrays are contiguous; shapes are checked under pytest
(jaxtyping), values by `check()` methods where a file's content enters the program.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from runtime.errors import InputError

SH_C0 = 0.28209479177387814
"""Zeroth real spherical harmonic, 1 / (2 sqrt(pi)): colour = 0.5 + SH_C0 * sh0."""


class Label(IntEnum):
    """What part of a person a Gaussian belongs to."""

    SKIN = 0
    FACE = 1
    HAND = 2
    HAIR = 3
    GARMENT = 4
    """Loose cloth: skirts, dresses, capes. May move."""
    TIGHT = 5
    """Fitted cloth that stays with the body: tops, trousers."""
    SHOE = 6
    EYE = 7


ROOT_FEATURES = 9
"""Inputs of a pose residual for each lag: which way is up, how the root moves, how it turns, in the root's axes."""
MOVING_LABELS: tuple[Label, ...] = (Label.GARMENT, Label.HAIR)
"""Labels whose Gaussians may have a residual; every other residual is zero by construction."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, OpenCV axes."""

    width: int
    """Image width [px]."""
    height: int
    """Image height [px]."""
    fx: float
    """Focal length [px]."""
    fy: float
    """Focal length [px]."""
    cx: float
    """Principal point [px]; width / 2 for a centred camera (pixel centres at +0.5)."""
    cy: float
    """Principal point [px]."""
    T_camera_world: Float[np.ndarray, "4 4"]
    """World to camera, rigid."""


@dataclass(frozen=True)
class GaussianSet:
    """N anisotropic Gaussians in the rest pose (or, after skinning, in the world)."""

    means: Float[np.ndarray, "N 3"]
    """Centres [m]."""
    quats_wxyz: Float[np.ndarray, "N 4"]
    """Orientations, unit."""
    log_scales: Float[np.ndarray, "N 3"]
    """Natural log of the standard deviations [m]."""
    opacity_logits: Float[np.ndarray, " N"]
    """Logit of the opacity."""
    sh0: Float[np.ndarray, "N 3"]
    """Degree-0 spherical harmonic coefficients; colour = 0.5 + SH_C0 * sh0."""
    labels: UInt8[np.ndarray, " N"]
    """A `Label` each."""

    @property
    def count(self) -> int:
        """N."""
        return len(self.means)

    @property
    def colors(self) -> Float[np.ndarray, "N 3"]:
        """sRGB colours, usually in [0, 1]."""
        return (0.5 + SH_C0 * self.sh0).astype(np.float32)

    @property
    def opacities(self) -> Float[np.ndarray, " N"]:
        """Opacities in (0, 1)."""
        return (1.0 / (1.0 + np.exp(-self.opacity_logits.astype(np.float64)))).astype(np.float32)

    @property
    def may_move(self) -> np.ndarray:
        """Boolean [N]: labels in `MOVING_LABELS`."""
        return np.isin(self.labels, [int(label) for label in MOVING_LABELS])

    def take(self, index: np.ndarray) -> GaussianSet:
        """The Gaussians of an index or boolean array, in its order."""
        return GaussianSet(**{f.name: np.ascontiguousarray(getattr(self, f.name)[index]) for f in fields(self)})

    def check(self, source: str) -> GaussianSet:
        """Raise `InputError` naming `source` unless every value can be rendered; returns self."""
        if self.count == 0:
            raise InputError(f"{source}: holds no Gaussians")
        for f in fields(self):
            value = getattr(self, f.name)
            if len(value) != self.count:
                raise InputError(f"{source}: {f.name} has {len(value)} rows, means has {self.count}")
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                row = int(np.argwhere(~np.isfinite(value))[0][0])
                raise InputError(f"{source}: {f.name} row {row} is NaN or infinite; repair the file")
        norms = np.linalg.norm(self.quats_wxyz, axis=1)
        if (norms < 1e-6).any():
            raise InputError(f"{source}: quats_wxyz row {int(np.argmax(norms < 1e-6))} is zero")
        return self


@dataclass(frozen=True)
class Rig:
    """A skeleton and the binding of N Gaussians to it. Rest rotations are part of the bind matrices."""

    joint_names: tuple[str, ...]
    """J names, parents before children."""
    parents: Int[np.ndarray, " J"]
    """Parent joint, -1 for the root; the root is joint 0."""
    T_world_joint_rest: Float[np.ndarray, "J 4 4"]
    """Rest (bind) pose of each joint."""
    skin_joints: Int[np.ndarray, "N W"]
    """Joints that influence each Gaussian."""
    skin_weights: Float[np.ndarray, "N W"]
    """Their weights, each row sums to 1."""

    @property
    def joint_count(self) -> int:
        """J."""
        return len(self.joint_names)

    def check(self, source: str, *, gaussians: int) -> Rig:
        """Raise `InputError` naming `source` unless the rig is sound for N = `gaussians`; returns self."""
        joints = self.joint_count
        if self.parents.shape != (joints,) or self.T_world_joint_rest.shape != (joints, 4, 4):
            raise InputError(f"{source}: {joints} joint names, but parents {self.parents.shape}, "
                             f"rest pose {self.T_world_joint_rest.shape}")
        if joints == 0 or self.parents[0] != -1 or any(not 0 <= p < i for i, p in enumerate(self.parents) if i):
            raise InputError(f"{source}: joints must have one root, first, and parents before children")
        if not np.isfinite(self.T_world_joint_rest).all():
            raise InputError(f"{source}: the rest pose holds NaN or infinity")
        if self.skin_joints.shape != self.skin_weights.shape or len(self.skin_joints) != gaussians:
            raise InputError(f"{source}: skin_joints {self.skin_joints.shape} and skin_weights "
                             f"{self.skin_weights.shape} must both have {gaussians} rows")
        check_weights(self.skin_joints, self.skin_weights, joints=joints, source=source)
        return self


def check_weights(skin_joints: np.ndarray, skin_weights: np.ndarray, *, joints: int, source: str) -> None:
    """Raise `InputError` unless weights [R W] are finite, in [0, 1], sum to 1 a row, over joints in range."""
    if not np.isfinite(skin_weights).all() or (skin_weights < -1e-6).any():
        raise InputError(f"{source}: skinning weights must be finite and not negative")
    if skin_joints.size and (skin_joints.min() < 0 or skin_joints.max() >= joints):
        raise InputError(f"{source}: a skinning joint index is outside 0..{joints - 1}")
    sums = skin_weights.sum(axis=1)
    wrong = np.abs(sums - 1.0) > 1e-3
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"{source}: skinning weights of row {row} sum to {sums[row]:.4f}, not 1; normalise them")


@dataclass(frozen=True)
class Motion:
    """T frames of a skeleton's pose."""

    fps: float
    """Frames per second."""
    root_translations: Float[np.ndarray, "T 3"]
    """Displacement of the root joint from its rest position, in the world [m] (SMPL's `trans`)."""
    quats_wxyz: Float[np.ndarray, "T J 4"]
    """Rotation of each joint relative to its parent *and to its rest rotation*: identity is the rest pose."""
    joint_names: tuple[str, ...] = field(default=())
    """J names; empty when the source has none (then joints are matched by order)."""

    @property
    def frames(self) -> int:
        """T."""
        return len(self.quats_wxyz)

    @property
    def duration(self) -> float:
        """Seconds from the first to the last frame."""
        return max(self.frames - 1, 0) / self.fps

    def check(self, source: str, *, rig: Rig | None = None) -> Motion:
        """Raise `InputError` naming `source` unless the motion is sound (and fits `rig`); returns self."""
        if self.frames == 0:
            raise InputError(f"{source}: holds no frames")
        if not np.isfinite(self.fps) or not 0.1 <= self.fps <= 1000:
            raise InputError(f"{source}: frame rate {self.fps} is not between 0.1 and 1000")
        if len(self.root_translations) != self.frames:
            raise InputError(f"{source}: {len(self.root_translations)} root translations, {self.frames} poses")
        for name in ("root_translations", "quats_wxyz"):
            value = getattr(self, name)
            if not np.isfinite(value).all():
                frame = int(np.argwhere(~np.isfinite(value))[0][0])
                raise InputError(f"{source}: {name} of frame {frame} is NaN or infinite")
        if rig is not None and self.quats_wxyz.shape[1] != rig.joint_count:
            raise InputError(f"{source}: the motion has {self.quats_wxyz.shape[1]} joints, the avatar "
                             f"{rig.joint_count}; use a motion of the same skeleton")
        return self

    def slice(self, start: int, stop: int) -> Motion:
        """Frames start..stop-1."""
        return Motion(fps=self.fps, root_translations=self.root_translations[start:stop],
                      quats_wxyz=self.quats_wxyz[start:stop], joint_names=self.joint_names)


@dataclass(frozen=True)
class OffsetTexture:
    """One channel group of a residual over M moving Gaussians and T frames (DESIGN §7).

    value[t] = mean + sum_k coefficients[t, k] * texel_scales[k] * texels[k]      (basis)
    value[t] = mean + texel_scales[t] * texels[t]                                 (dense: coefficients is None)
    """

    mean: Float[np.ndarray, "M C"]
    """Temporal mean, in the group's unit."""
    texels: Int[np.ndarray, "K M C"]
    """int8 or int16 basis (K of them), or frames (K = T) when dense."""
    texel_scales: Float[np.ndarray, "K C"]
    """Unit per texel step, per channel."""
    coefficients: Float[np.ndarray, "T K"] | None
    """Basis coefficients per frame; None when dense."""

    @property
    def frames(self) -> int:
        """T."""
        return len(self.texels) if self.coefficients is None else len(self.coefficients)


@dataclass(frozen=True)
class Residual:
    """What a clip adds to rigid skinning: offsets of the moving Gaussians in the rest pose, per frame."""

    moving: Int[np.ndarray, " M"]
    """Indices of the moving Gaussians, ascending."""
    d_means: OffsetTexture
    """Added to `means` [m]."""
    d_rotations: OffsetTexture
    """Rotation vectors [rad], applied from the left: R' = exp(d) R."""
    d_log_scales: OffsetTexture
    """Added to `log_scales`."""

    @property
    def frames(self) -> int:
        """T."""
        return self.d_means.frames


GROUPS = ("d_means", "d_rotations", "d_log_scales")
"""Channel groups of a residual, three channels each, in the order in which everything lists them."""


@dataclass(frozen=True)
class Clip:
    """A motion with its residual."""

    name: str
    motion: Motion
    residual: Residual


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself, beyond its arrays. Free of times and paths, so bakes are reproducible."""

    name: str
    """The avatar's name."""
    generator: str
    """The program and version that wrote it."""
    source_licence: str
    """Licence of the avatar and motion, where known."""
    distillation: dict[str, float]
    """Measured error of the stored residual: position_error_mm_p99, rotation_error_deg_p99, psnr_db."""


@dataclass(frozen=True)
class PoseResidual:
    """A pose-driven residual over the textures of one clip."""

    clip: int
    """The clip whose textures are driven."""
    counts: tuple[int, int, int]
    """Leading textures driven of d_means, d_rotations, d_log_scales; K is their sum."""
    lags: Float32[np.ndarray, " L"]
    """How long ago the poses are that it looks at [s], ascending from 0."""
    joints: Int[np.ndarray, " F"]
    """Joints whose rotations it looks at, ascending, none the root."""
    input_range: Float32[np.ndarray, "P 2"]
    """Mean, and one over the standard deviation, of each input."""
    output_range: Float32[np.ndarray, "K 2"]
    """Least and largest value of each coefficient."""
    weights: tuple[np.ndarray, ...]
    """Float32 [outputs, inputs] of each layer; tanh between layers."""
    biases: tuple[np.ndarray, ...]
    """Float32 [outputs] of each layer."""

    @property
    def input_count(self) -> int:
        """P."""
        return len(self.lags) * (3 * len(self.joints) + ROOT_FEATURES)

    @property
    def output_count(self) -> int:
        """K."""
        return sum(self.counts)

    def split(self, coefficients: Float32[np.ndarray, " K"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients by group."""
        first, second = self.counts[0], self.counts[0] + self.counts[1]
        return coefficients[:first], coefficients[first:second], coefficients[second:]


@dataclass(frozen=True)
class Bundle:
    """A playable avatar: canonical Gaussians, their rig, and clips."""

    gaussians: GaussianSet
    rig: Rig
    clips: tuple[Clip, ...]
    manifest: Manifest
    pose_residual: PoseResidual | None = None
    """What moves the clips that have no residual of their own."""


@dataclass(frozen=True)
class Frames:
    """A video in memory."""

    rgba: Float[np.ndarray, "T H X 4"]
    """sRGB, premultiplied alpha, [0, 1]."""
    fps: float
    """Frames per second."""

    def over(self, background: tuple[float, float, float]) -> Float[np.ndarray, "T H X 3"]:
        """Composited over an sRGB colour."""
        return self.rgba[..., :3] + (1.0 - self.rgba[..., 3:]) * np.asarray(background, np.float32)
