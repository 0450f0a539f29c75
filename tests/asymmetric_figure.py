"""A small figure whose picture tells left from right, up from down and front from back: for the export tests.

Grey body, yellow nose towards +Z, red left hand raised at +X, blue right hand low at -X, a green skirt that moves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from runtime import rotations
from runtime.types import (
    SH_C0,
    Bundle,
    Clip,
    GaussianSet,
    Label,
    Manifest,
    Motion,
    OffsetTexture,
    PoseResidual,
    Residual,
    Rig,
)

JOINTS = ("pelvis", "chest", "head", "left arm", "right arm")
PARENTS = (-1, 0, 1, 1, 1)
REST = np.array([(0, 0.9, 0), (0, 1.2, 0), (0, 1.5, 0), (0.2, 1.4, 0), (-0.2, 1.4, 0)])
# name: (joint, label, colour, centre, half extents [m], Gaussians)
PARTS = {
    "legs": (0, Label.SKIN, (0.5, 0.5, 0.5), (0, 0.4, 0), (0.1, 0.4, 0.08), 120),
    "skirt": (0, Label.GARMENT, (0.2, 0.7, 0.2), (0, 0.75, 0), (0.25, 0.15, 0.2), 160),
    "chest": (1, Label.TIGHT, (0.3, 0.35, 0.5), (0, 1.2, 0), (0.2, 0.25, 0.1), 120),
    "head": (2, Label.FACE, (0.85, 0.6, 0.5), (0, 1.6, 0), (0.1, 0.12, 0.1), 80),
    "nose": (2, Label.FACE, (0.95, 0.85, 0.1), (0, 1.6, 0.13), (0.03, 0.03, 0.03), 20),
    "left hand": (3, Label.HAND, (0.9, 0.1, 0.1), (0.45, 1.75, 0.02), (0.06, 0.06, 0.04), 40),
    "right hand": (4, Label.HAND, (0.1, 0.15, 0.9), (-0.4, 0.95, 0.02), (0.06, 0.06, 0.04), 40),
}


def make_figure(*, frames: int = 7, dense: bool = False, seed: int = 3) -> Bundle:
    """The figure, waving: 580 Gaussians, five joints, a skirt with a residual of three bases (or dense frames)."""
    rng = np.random.default_rng(seed)
    means, colors, labels, joints = [], [], [], []
    for joint, label, color, centre, extent, count in PARTS.values():
        means.append(np.array(centre) + rng.uniform(-1, 1, (count, 3)) * extent)
        colors.append(np.clip(np.array(color) + rng.normal(0, 0.03, (count, 3)), 0.02, 0.98))
        labels += [int(label)] * count
        joints += [joint] * count
    count = len(labels)
    gaussians = GaussianSet(
        means=np.concatenate(means).astype(np.float32),
        quats_wxyz=rotations.normalize(rng.normal(size=(count, 4))).astype(np.float32),
        log_scales=(np.log([0.03, 0.02, 0.006]) + rng.normal(0, 0.2, (count, 3))).astype(np.float32),
        opacity_logits=rng.uniform(1, 5, count).astype(np.float32),
        sh0=((np.concatenate(colors) - 0.5) / SH_C0).astype(np.float32), labels=np.array(labels, np.uint8))
    rest = np.tile(np.eye(4), (len(JOINTS), 1, 1))
    rest[:, :3, 3] = REST
    # A turned rest pose, so that bind matrices matter.
    rest[3, :3, :3] = rotations.to_matrix(rotations.from_rotvec(np.array([0.2, -0.4, 0.9])))
    influences = np.stack([joints, np.array(PARENTS).clip(0)[joints], np.zeros(count, int)], axis=1)
    rig = Rig(joint_names=JOINTS, parents=np.array(PARENTS, np.int32), T_world_joint_rest=rest,
              skin_joints=influences.astype(np.int32),
              skin_weights=np.tile(np.array([0.75, 0.25, 0.0], np.float32), (count, 1)))
    return Bundle(gaussians=gaussians, rig=rig, clips=(_wave(gaussians, rng, frames=frames, dense=dense),),
                  manifest=Manifest(name="asymmetric figure", generator="ani3d test", source_licence="CC0",
                                    distillation={}))


def with_driven_clip(figure: Bundle, *, seed: int = 4) -> Bundle:
    """The figure with a second clip, of other poses and without a residual, which a small random network moves."""
    rng = np.random.default_rng(seed)
    own, motion = figure.clips[0].residual, figure.clips[0].motion
    counts = tuple(len(group.texels) for group in (own.d_means, own.d_rotations, own.d_log_scales))
    lags, joints = np.array([0.0, 0.1], np.float32), np.array([1, 3])
    inputs, outputs = len(lags) * (9 + 3 * len(joints)), sum(counts)
    layers = [rng.normal(0, 0.3, shape).astype(np.float32) for shape in ((8, inputs), (outputs, 8))]
    driven = PoseResidual(
        clip=0, counts=counts, lags=lags, joints=joints,
        input_range=np.tile(np.float32([0, 1]), (inputs, 1)), output_range=np.tile(np.float32([-1, 1]), (outputs, 1)),
        weights=tuple(layers), biases=(np.zeros(8, np.float32), np.full(outputs, 0.2, np.float32)))

    def none(group: OffsetTexture) -> OffsetTexture:
        return OffsetTexture(mean=group.mean[:0], texels=group.texels[:0, :0], texel_scales=group.texel_scales[:0],
                             coefficients=np.zeros((motion.frames, 0), np.float32))

    still = Residual(moving=own.moving[:0], d_means=none(own.d_means), d_rotations=none(own.d_rotations),
                     d_log_scales=none(own.d_log_scales))
    other = Motion(fps=motion.fps, root_translations=motion.root_translations[::-1].copy(),
                   quats_wxyz=motion.quats_wxyz[::-1].copy(), joint_names=motion.joint_names)
    clip = Clip(name="other", motion=other, residual=still)
    return replace(figure, clips=(*figure.clips, clip), pose_residual=driven)


def _wave(gaussians: GaussianSet, rng: np.random.Generator, *, frames: int, dense: bool) -> Clip:
    turns = np.zeros((frames, len(JOINTS), 3))
    phase = np.linspace(0, 2, frames)
    turns[:, 3, 2], turns[:, 1, 1], turns[:, 0, 1] = 0.3 * np.sin(3 * phase), 0.2 * phase, 0.1 * phase
    turns[:, 2, 0] = 0.15 * np.cos(2 * phase)
    root = np.stack([0.05 * phase, 0.02 * np.sin(4 * phase), 0.1 * phase], axis=1)
    motion = Motion(fps=30.0, root_translations=root.astype(np.float32),
                    quats_wxyz=rotations.from_rotvec(turns).astype(np.float32), joint_names=JOINTS)
    moving = np.flatnonzero(gaussians.may_move)

    def texture(size: float) -> OffsetTexture:
        stack = frames if dense else 3
        return OffsetTexture(
            mean=rng.normal(0, size / 3, (len(moving), 3)).astype(np.float32),
            texels=rng.integers(-127, 128, (stack, len(moving), 3)).astype(np.int8),
            texel_scales=rng.uniform(0.3, 1, (stack, 3)).astype(np.float32) * np.float32(size / 127),
            coefficients=None if dense else rng.normal(0, 0.5, (frames, 3)).astype(np.float32))

    return Clip(name="wave", motion=motion, residual=Residual(
        moving=moving, d_means=texture(0.03), d_rotations=texture(0.3), d_log_scales=texture(0.2)))


def part_center(gaussians: GaussianSet, name: str) -> np.ndarray:
    """Mean of the Gaussians that have a part's colour: no use is made of labels or of the order of rows."""
    near = np.linalg.norm(gaussians.colors - np.array(PARTS[name][2]), axis=1) < 0.15
    assert near.any(), name
    return gaussians.means[near].mean(axis=0)


def assert_right_way_round(gaussians: GaussianSet) -> None:
    """The figure stands in our axes: nose towards +Z, red left hand up at +X, blue right hand down at -X."""
    head, nose = part_center(gaussians, "head"), part_center(gaussians, "nose")
    left, right = part_center(gaussians, "left hand"), part_center(gaussians, "right hand")
    assert nose[2] > head[2] + 0.05
    assert left[0] > 0.2 and right[0] < -0.2
    assert left[1] > right[1] + 0.5
    assert head[1] > part_center(gaussians, "legs")[1] + 0.5
