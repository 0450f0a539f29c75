"""Measurements of the playing side: drawing, and playing a bundle. Keys are snake_case with the unit last.

The yardstick scene is the same everywhere: 40 000 flat Gaussians on the surface of a jointless figure, seen by a
480 x 832 camera. About 30 % of the pixels are covered, some 30 contributions each.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from runtime import raster, rotations
from runtime.cameras import orbit_camera
from runtime.types import (
    SH_C0,
    Bundle,
    Camera,
    Clip,
    GaussianSet,
    Label,
    Manifest,
    Motion,
    OffsetTexture,
    Residual,
    Rig,
)

YARDSTICK_COUNT = 40_000
"""Gaussians of the yardstick scene."""
YARDSTICK_SIZE = (480, 832)
"""Its image, width and height [px]."""

_LIMBS = np.array([
    # start x y z, end x y z, radius across, radius front to back [m]
    [0.00, 0.98, 0.00, 0.00, 1.38, 0.00, 0.155, 0.105],
    [0.00, 0.88, 0.00, 0.00, 0.98, 0.00, 0.165, 0.115],
    [0.00, 1.48, 0.01, 0.00, 1.62, 0.02, 0.090, 0.105],
    [0.10, 0.86, 0.00, 0.12, 0.48, 0.01, 0.085, 0.085],
    [0.12, 0.44, 0.01, 0.13, 0.08, -0.02, 0.058, 0.060],
    [0.13, 0.04, 0.00, 0.15, 0.03, 0.15, 0.045, 0.040],
    [0.19, 1.34, 0.00, 0.35, 1.08, 0.02, 0.052, 0.052],
    [0.35, 1.08, 0.02, 0.49, 0.85, 0.08, 0.042, 0.040],
    [0.49, 0.85, 0.08, 0.54, 0.76, 0.11, 0.036, 0.028],
])
_PAIRED_FROM = 3
"""Limbs from this row on exist on both sides."""


def yardstick_scene(count: int = YARDSTICK_COUNT, *, seed: int = 0) -> GaussianSet:
    """`count` Gaussians on a figure 1.7 m tall, standing at the origin. The same for the same seed."""
    rng = np.random.default_rng(seed)
    mirrored = _LIMBS[_PAIRED_FROM:] * np.array([-1, 1, 1, -1, 1, 1, 1, 1])
    limbs = np.concatenate([_LIMBS, mirrored])
    starts, axes, radii = limbs[:, :3], limbs[:, 3:6] - limbs[:, :3], limbs[:, 6:8]
    lengths = np.linalg.norm(axes, axis=1)
    axes = axes / lengths[:, None]
    areas = (lengths + 2 * radii[:, 0]) * math.pi * radii.sum(axis=1)
    # 1. Points of a capsule: uniform along the axis, caps narrowing to a point; a limb by its share of the area.
    limb = rng.choice(len(limbs), size=count, p=areas / areas.sum())
    across = radii[limb]
    along = rng.uniform(-across[:, 0], lengths[limb] + across[:, 0])
    beyond = np.maximum(np.maximum(-along, along - lengths[limb]), 0.0) / across[:, 0]
    angle = rng.uniform(0, 2 * math.pi, count)
    side = np.cross(axes[limb], [0.0, 0.0, 1.0]) + 1e-6
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    front = np.cross(side, axes[limb])
    outward = np.cos(angle)[:, None] * across[:, :1] * side + np.sin(angle)[:, None] * across[:, 1:] * front
    means = starts[limb] + along[:, None] * axes[limb] + np.sqrt(np.maximum(1 - beyond**2, 0.02))[:, None] * outward
    # 2. Flat along the surface, turned at random within it.
    normal = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    tangent = rng.normal(size=(count, 3))
    tangent -= (tangent * normal).sum(axis=1, keepdims=True) * normal
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    frames = np.stack([tangent, np.cross(normal, tangent), normal], axis=2)
    spacing = math.sqrt(areas.sum() / count)
    log_scales = math.log(0.62 * spacing) + rng.normal(0.0, 0.35, (count, 3)) + np.log([1.0, 1.0, 0.25])
    # 3. A colour per limb, bands along it, some grain.
    colors = rng.uniform(0.2, 0.8, (len(limbs), 3))[limb] + 0.1 * np.sin(40 * along)[:, None]
    colors = np.clip(colors + rng.normal(0.0, 0.08, (count, 3)), 0.0, 1.0)
    arrays = {"means": means, "quats_wxyz": rotations.from_matrix(frames), "log_scales": log_scales,
              "opacity_logits": rng.normal(2.0, 1.2, count), "sh0": (colors - 0.5) / SH_C0}
    return GaussianSet(**{name: np.ascontiguousarray(values, np.float32) for name, values in arrays.items()},
                       labels=np.full(count, int(Label.SKIN), np.uint8))


def yardstick_camera(size: tuple[int, int] = YARDSTICK_SIZE) -> Camera:
    """The camera that sees the whole figure from a little to its left."""
    return orbit_camera(np.array([0.0, 0.85, 0.0]), azimuth=0.3, elevation=0.1, distance=3.0,
                        fov_y=2 * math.atan(1 / 3), size=size)


def time_ms(work: Callable[[], object], *, runs: int, warm_up: int = 2) -> tuple[float, float]:
    """Minimum and median time of `work` [ms] over `runs`, after `warm_up` untimed ones."""
    for _ in range(warm_up):
        work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times), median(times)


def bench_forward(*, runs: int = 30) -> dict[str, float | int]:
    """`raster.render` on the yardstick scene: the whole, its steps, and how much there was to draw."""
    gaussians, camera = yardstick_scene(), yardstick_camera()
    image = raster.render(gaussians, camera)
    inputs = (gaussians.means, gaussians.quats_wxyz, np.exp(gaussians.log_scales), gaussians.opacities,
              gaussians.colors, camera)
    splats = raster.project(*inputs)
    flat = [np.empty(camera.width * camera.height * size, np.float32) for size in (3, 1, 1)]
    best, middle = time_ms(lambda: raster.render(gaussians, camera), runs=runs)
    project, _ = time_ms(lambda: raster.project(*inputs), runs=runs)
    blend, _ = time_ms(lambda: raster.blend(splats, flat[0], 3, flat[1], 1, flat[2]), runs=runs)
    return {
        "gaussians_count": gaussians.count, "width_px": camera.width, "height_px": camera.height,
        "cores_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "covered_percent": round(100 * float((image.rgba[..., 3] > 0.5).mean()), 1),
        "tile_intersections_count": len(splats.ids),
        "forward_ms_min": round(best, 2), "forward_ms_median": round(middle, 2),
        "project_and_sort_ms_min": round(project, 2), "blend_ms_min": round(blend, 2),
    }


def yardstick_bundle(*, joints: int = 55, frames: int = 60, basis: int = 16, seed: int = 0) -> Bundle:
    """The yardstick scene on a chain of joints, a quarter of it moved by a random residual of millimetres."""
    gaussians, rng = yardstick_scene(seed=seed), np.random.default_rng(seed + 1)
    count = gaussians.count
    rest = np.tile(np.eye(4), (joints, 1, 1))
    rest[:, 1, 3] = np.linspace(0.0, 1.6, joints)
    nearest = np.clip(np.rint(gaussians.means[:, 1] / 1.6 * (joints - 1)).astype(np.int32), 0, joints - 4)
    weights = rng.dirichlet(np.ones(4), count).astype(np.float32)
    rig = Rig(joint_names=tuple(f"joint_{j}" for j in range(joints)), parents=np.arange(joints, dtype=np.int32) - 1,
              T_world_joint_rest=rest, skin_joints=nearest[:, None] + np.arange(4, dtype=np.int32),
              skin_weights=weights / weights.sum(axis=1, keepdims=True))
    swing = 0.02 * np.sin(np.linspace(0, 2 * math.pi, frames))[:, None, None] * rng.normal(size=(1, joints, 3))
    motion = Motion(fps=30.0, root_translations=np.zeros((frames, 3)), quats_wxyz=rotations.from_rotvec(swing))
    moving = np.arange(0, count, 4)

    def texture() -> OffsetTexture:
        return OffsetTexture(mean=np.zeros((len(moving), 3), np.float32),
                             texels=rng.integers(-127, 128, (basis, len(moving), 3)).astype(np.int8),
                             texel_scales=np.full((basis, 3), 1e-5, np.float32),
                             coefficients=rng.normal(size=(frames, basis)).astype(np.float32))

    residual = Residual(moving=moving, d_means=texture(), d_rotations=texture(), d_log_scales=texture())
    manifest = Manifest(name="yardstick", generator="ani3d bench", source_licence="CC0-1.0", distillation={})
    return Bundle(gaussians=gaussians, rig=rig, clips=(Clip(name="swing", motion=motion, residual=residual),),
                  manifest=manifest)
