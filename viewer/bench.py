"""Measurements of the OpenGL renderers, without a display: each phase of a picture, waited for. Unit last in a key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runtime.actor import Actor
from runtime.bench import YARDSTICK_SIZE, time_ms, yardstick_bundle
from runtime.bundle import read_bundle
from runtime.cameras import orbit_camera
from runtime.framing import DISTANCE, FOV_Y, root_targets
from runtime.stage import STANDING
from runtime.types import Bundle
from viewer.compute_renderer import ComputeRenderer
from viewer.gl_objects import GlError
from viewer.headless import hidden_context
from viewer.instance_renderer import InstanceRenderer
from viewer.instances import gather
from viewer.renderer import View


def bench_gl(path: Path | str | None = None, *, size: tuple[int, int] = YARDSTICK_SIZE,
             runs: int = 10) -> dict[str, float | int | str]:
    """Both OpenGL paths on a bundle (the yardstick without one), between two stored frames, at `size` [px]."""
    context = hidden_context()
    try:
        bundle = yardstick_bundle() if path is None else read_bundle(path)
        info = context.context.get_info()  # type: ignore[attr-defined]
        figures: dict[str, float | int | str] = {
            "opengl": ".".join(map(str, info.get_version()[:2])), "driver": str(info.get_renderer()),
            "gaussians_count": bundle.gaussians.count, "width_px": size[0], "height_px": size[1]}
        view = _view(bundle, size)
        for name, measure in (("instances", _instances), ("compute", _compute)):
            try:
                figures |= {f"{name}_{key}_ms_min": round(value, 3) for key, value in
                            measure(bundle, view, size, runs).items()}
            except GlError as error:
                figures[f"{name}_refused"] = str(error)
        return figures
    finally:
        context.close()  # type: ignore[attr-defined]


def _view(bundle: Bundle, size: tuple[int, int]) -> View:
    actor = Actor(bundle, time=1.37 / bundle.clips[0].motion.fps)
    camera = orbit_camera(root_targets(bundle.rig, bundle.clips[0].motion)[0], azimuth=0.3, elevation=0.1,
                          distance=DISTANCE, fov_y=FOV_Y, size=size)
    return View(moments=(actor.moment(),), camera=camera)


def _instances(bundle: Bundle, view: View, size: tuple[int, int], runs: int) -> dict[str, float]:
    """Phases of the OpenGL 3.3 path."""
    renderer = InstanceRenderer()
    renderer.set_scene([bundle], [STANDING])
    renderer.draw([view], size)
    stage, words, camera = renderer._stage, renderer._words, view.camera
    assert stage is not None
    phases: dict[str, Callable[[], object]] = {
        "pose_decode_skin": lambda: stage.show(list(view.moments)),
        "sort": lambda: stage.sort(camera.T_camera_world),
        "gather": lambda: gather(stage.arrays, renderer._colors, stage.order, words),
        "upload": lambda: renderer._instances.set(words),
        "draw": lambda: renderer._pass.draw(stage.count, camera, left=0, style=view.style),
        "picture": lambda: renderer.draw([view], size),
    }
    times = {name: time_ms(_finished(work), runs=runs)[0] for name, work in phases.items()}
    renderer.delete()
    return times


def _compute(bundle: Bundle, view: View, size: tuple[int, int], runs: int) -> dict[str, float]:
    """Phases of the OpenGL 4.3 path."""
    renderer = ComputeRenderer()
    renderer.set_scene([bundle], [STANDING])
    renderer.draw([view], size)
    avatar, moment, camera = renderer._avatars[0], view.moments[0], view.camera
    phases: dict[str, Callable[[], object]] = {
        "pose": lambda: avatar.figure.pose(moment), "decode": lambda: renderer._decode(avatar, moment),
        "skin": lambda: renderer._skin(camera.T_camera_world[2]), "sort": renderer._sort, "gather": renderer._gather,
        "draw": lambda: renderer._pass.draw(renderer._count, camera, left=0, style=view.style),
        "picture": lambda: renderer.draw([view], size),
    }
    times = {name: time_ms(_finished(work), runs=runs)[0] for name, work in phases.items()}
    renderer.delete()
    return times


def _finished(work: Callable[[], object]) -> Callable[[], object]:
    """The work, waited for."""
    from pyglet import gl

    def run() -> None:
        work()
        gl.glFinish()

    return run
