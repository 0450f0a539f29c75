"""Measurements of playing: each phase of a frame, decoding, and a soak. Keys are snake_case with the unit last.

Ratios compare with the plain numpy reference (`runtime/stage_reference.py`, `runtime/offsets.py`) in the same run.
"""

from __future__ import annotations

import mmap
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from runtime import offsets, raster, stage_reference
from runtime.actor import Actor
from runtime.bench import YARDSTICK_SIZE, time_ms, yardstick_bundle
from runtime.bundle import read_bundle
from runtime.cameras import orbit_camera
from runtime.fast_offsets import PackedResidual
from runtime.framing import DISTANCE, FOV_Y, root_targets
from runtime.stage import Stage
from runtime.types import GROUPS, Bundle, Camera, OffsetTexture

FRAME_S = 1 / 60
"""Time between two frames of a soak [s]."""


def bench_play(path: Path | str | None = None, *, runs: int = 40) -> dict[str, float | int | str]:
    """A frame of a bundle (the yardstick without one), phase by phase, between two stored frames."""
    bundle = yardstick_bundle() if path is None else read_bundle(path)
    actor, stage, camera = Actor(bundle), Stage([bundle]), _camera(bundle)
    figure, step = stage.figures[0], 0.37 / actor.motion.fps

    def after_step(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            actor.advance(step)
            work()
        return run

    phases = {
        "pose": lambda: figure.pose(actor.moment()), "decode": lambda: figure.decode(actor.moment()),
        "skin_and_covariance": figure.skin, "sort": lambda: stage.sort(camera.T_camera_world),
    }
    best = {name: time_ms(after_step(work), runs=runs)[0] for name, work in phases.items()}

    def whole() -> None:
        stage.show([actor.moment()])
        stage.sort(camera.T_camera_world)

    frame, middle = time_ms(after_step(whole), runs=runs)
    actor.time = 0.0
    whole()
    draw, _ = time_ms(lambda: raster.render(figure.gaussians(), camera), runs=max(runs // 4, 3))
    reference, _ = time_ms(lambda: stage_reference.frame(bundle, actor.moment(), camera.T_camera_world), runs=3,
                           warm_up=1)
    return {
        "gaussians_count": stage.count, "moving_gaussians_count": len(figure.rows),
        "joints_count": bundle.rig.joint_count, "influences_count": bundle.rig.skin_joints.shape[1],
        **{f"{name}_ms_min": round(value, 3) for name, value in best.items()},
        "frame_without_drawing_ms_min": round(frame, 2), "frame_without_drawing_ms_median": round(middle, 2),
        "frames_per_second_without_drawing": round(1000 / frame, 1),
        "numpy_reference_ms_min": round(reference, 1), "ratio_to_numpy_reference": round(reference / frame, 1),
        "draw_on_cpu_ms_min": round(draw, 2), "width_px": camera.width, "height_px": camera.height,
        "frames_per_second_drawn_on_cpu": round(1000 / (frame + draw), 1),
        **_bytes(bundle), "memory_peak_mib": round(memory_peak_mib(), 1),
    }


def bench_decode(path: Path | str | None = None, *, runs: int = 40) -> dict[str, float | int | str]:
    """Decoding alone: whole frames and between frames, by channel group, against numpy."""
    bundle = yardstick_bundle() if path is None else read_bundle(path)
    actor, figure = Actor(bundle), Stage([bundle]).figures[0]
    clip, fps = bundle.clips[0], bundle.clips[0].motion.fps
    figures: dict[str, float | int | str] = {"gaussians_count": bundle.gaussians.count,
                                             "moving_gaussians_count": len(clip.residual.moving)}
    for name in GROUPS:
        texture: OffsetTexture = getattr(clip.residual, name)
        figures[f"{name}_layout"] = "dense" if texture.coefficients is None else "basis"
        figures[f"{name}_textures_count"] = len(texture.texels)
        figures[f"{name}_bits"] = 8 * texture.texels.itemsize
    for name, at in (("whole_frame", 1.0), ("between_frames", 1.5)):
        held = min(at, clip.motion.frames - 1.0)
        actor.time = held / fps
        fast, _ = time_ms(lambda: figure.decode(actor.moment()), runs=runs)
        slow, _ = time_ms(lambda held=held: offsets.residual_at(clip.residual, held), runs=3, warm_up=1)
        figures |= {f"{name}_ms_min": round(fast, 3), f"{name}_numpy_ms_min": round(slow, 2),
                    f"{name}_ratio_to_numpy": round(slow / fast, 1)}
    pack, _ = time_ms(lambda: PackedResidual.pack(clip.residual), runs=3, warm_up=1)
    return figures | {"pack_once_ms_min": round(pack, 2)} | _bytes(bundle)


def soak(path: Path | str | None = None, *, frames: int = 100_000) -> dict[str, float | int | str]:
    """Play `frames` frames headless, all clips with fades between them, turning around the figure.

    Reports the memory growth after the first tenth, and by how much the clock left the frames it should show.
    """
    bundle = yardstick_bundle() if path is None else read_bundle(path)
    actor, stage, camera = Actor(bundle), Stage([bundle]), _camera(bundle)
    worst, began, settled = 0.0, time.perf_counter(), 0.0
    played, not_finite = 0.0, 0
    for index in range(frames):
        actor.advance(FRAME_S)
        played += 1
        if index % 997 == 996 and len(bundle.clips) > 1:
            actor.start((actor.clip + 1) % len(bundle.clips), fade_seconds=0.3)
            played = 0.0
        stage.show([actor.moment()])
        order = stage.sort(camera.T_camera_world)
        worst = max(worst, abs(actor.time - played * FRAME_S))
        not_finite += not np.isfinite(stage.arrays.means[order[0]]).all()
        if index == frames // 10:
            settled = memory_now_mib()
    seconds = time.perf_counter() - began
    return {
        "frames_count": frames, "gaussians_count": stage.count, "clips_count": len(bundle.clips),
        "seconds": round(seconds, 1), "frame_ms_mean": round(1000 * seconds / frames, 3),
        "memory_growth_mib": round(memory_now_mib() - settled, 2), "clock_drift_s": worst,
        "not_finite_frames_count": not_finite,
    }


def memory_peak_mib() -> float:
    """Most memory this process has held [MiB]; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def memory_now_mib() -> float:
    """Memory this process holds [MiB]; its peak where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return memory_peak_mib()
    return pages * mmap.PAGESIZE / (1 << 20)


def _camera(bundle: Bundle) -> Camera:
    """The yardstick's camera, but on the figure wherever its first clip has it."""
    target = root_targets(bundle.rig, bundle.clips[0].motion)[0]
    return orbit_camera(target, azimuth=0.3, elevation=0.1, distance=DISTANCE, fov_y=FOV_Y, size=YARDSTICK_SIZE)


def _bytes(bundle: Bundle) -> dict[str, float | int | str]:
    """Bytes of the first clip in memory, over its frames. In the file they are deflated: `ani3d inspect`."""
    residual, frames = bundle.clips[0].residual, bundle.clips[0].motion.frames
    arrays = [value for name in GROUPS for value in vars(getattr(residual, name)).values() if value is not None]
    total = sum(array.nbytes for array in arrays)
    return {"frames_count": frames, "residual_bytes_per_frame_inflated": round(total / frames)}
