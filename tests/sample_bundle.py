"""Random but sound bundles for tests."""

from __future__ import annotations

import numpy as np

from runtime.types import Bundle, Clip, GaussianSet, Label, Manifest, Motion, OffsetTexture, Residual, Rig


def make_bundle(seed: int = 0, *, count: int = 40, joints: int = 4, frames: int = 5, basis: int = 3,
                dense: bool = False, texel_type: type = np.int8) -> Bundle:
    """A random but sound bundle: a figure of `count` Gaussians in a 1 x 2 x 0.4 m box, a third of it garment."""
    rng = np.random.default_rng(seed)
    quats = rng.normal(size=(count, 4)).astype(np.float32)
    gaussians = GaussianSet(
        means=(rng.uniform(-0.5, 0.5, (count, 3)) * (1, 2, 0.4)).astype(np.float32),
        quats_wxyz=quats / np.linalg.norm(quats, axis=1, keepdims=True),
        log_scales=rng.normal(-4.5, 0.5, (count, 3)).astype(np.float32),
        opacity_logits=rng.normal(2, 2, count).astype(np.float32),
        sh0=rng.uniform(-1.7, 1.7, (count, 3)).astype(np.float32),
        labels=np.where(np.arange(count) % 3 == 1, int(Label.GARMENT), int(Label.SKIN)).astype(np.uint8))
    rest = np.tile(np.eye(4), (joints, 1, 1))
    rest[:, 1, 3] = np.linspace(0.0, 0.6, joints)
    weights = rng.dirichlet(np.ones(3), count).astype(np.float32)
    rig = Rig(joint_names=tuple(f"joint {j}" for j in range(joints)),
              parents=np.arange(-1, joints - 1, dtype=np.int32), T_world_joint_rest=rest,
              skin_joints=np.stack([rng.permutation(joints)[:3] for _ in range(count)]).astype(np.int32),
              skin_weights=weights)
    poses = rng.normal(size=(frames, joints, 4)) * 0.15 + (1, 0, 0, 0)
    motion = Motion(fps=30.0, joint_names=rig.joint_names,
                    root_translations=rng.normal(0, 0.3, (frames, 3)).astype(np.float32),
                    quats_wxyz=(poses / np.linalg.norm(poses, axis=2, keepdims=True)).astype(np.float32))
    moving = np.flatnonzero(gaussians.may_move)

    def texture(size: float) -> OffsetTexture:
        stack, step = frames if dense else basis, np.iinfo(texel_type).max
        return OffsetTexture(
            mean=rng.normal(0, size, (len(moving), 3)).astype(np.float32),
            texels=rng.integers(-step, step, (stack, len(moving), 3), dtype=texel_type, endpoint=True),
            texel_scales=np.full((stack, 3), size / step, np.float32),
            coefficients=None if dense else rng.normal(size=(frames, basis)).astype(np.float32))

    residual = Residual(moving=moving, d_means=texture(0.02), d_rotations=texture(0.2), d_log_scales=texture(0.1))
    manifest = Manifest(name="random person", generator="ani3d test", source_licence="CC0",
                        distillation={"position_error_mm_p99": 0.25, "rotation_error_deg_p99": 0.1,
                                      "psnr_db": float("inf")})
    return Bundle(gaussians=gaussians, rig=rig, clips=(Clip(name="wave", motion=motion, residual=residual),),
                  manifest=manifest)
