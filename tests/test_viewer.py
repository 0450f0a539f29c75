"""The window: what each control does to the real picture, on a virtual display; and the state behind it."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_bundle import make_bundle

from runtime.bundle import write_bundle
from runtime.errors import InputError
from runtime.player import Player
from runtime.types import Bundle
from viewer import show as show_module
from viewer.app import play
from viewer.orbit import DISTANCE_LIMITS, ELEVATION_LIMIT, Orbit
from viewer.show import Show

ROOT = Path(__file__).resolve().parent.parent
HINT = "apt-get install xvfb libgl1 libgl1-mesa-dri libfontconfig1 libfreetype6 fonts-dejavu-core"


def visible_bundle() -> Bundle:
    """A bundle whose picture shows every change: large opaque Gaussians, a residual of several centimetres."""
    bundle = make_bundle(count=300, frames=6)
    gaussians = replace(bundle.gaussians, log_scales=np.full((300, 3), -3.2, np.float32),
                        opacity_logits=np.full(300, 4, np.float32))
    clip = bundle.clips[0]
    d_means = replace(clip.residual.d_means, mean=clip.residual.d_means.mean + np.float32(0.15))
    root = np.linspace(0, 0.3, 6, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    motion = replace(clip.motion, root_translations=root, fps=6.0)
    return replace(bundle, gaussians=gaussians,
                   clips=(replace(clip, motion=motion, residual=replace(clip.residual, d_means=d_means)),))


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual X display with software OpenGL."""
    if shutil.which("Xvfb") is None:
        pytest.skip(f"no Xvfb: {HINT}")
    read, write = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "800x800x24"], pass_fds=[write],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as number:
        name = number.readline().strip()
    if not name:
        pytest.skip(f"Xvfb does not start: {HINT}")
    yield f":{name}"
    server.terminate()
    server.wait(10)


@pytest.fixture(scope="module")
def seen(display: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `viewer_driver.py` saw."""
    folder = tmp_path_factory.mktemp("viewer")
    write_bundle(visible_bundle(), folder / "a.ani3d")
    environment = os.environ | {"DISPLAY": display, "PYTHONPATH": str(ROOT), "LIBGL_ALWAYS_SOFTWARE": "1"}
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "viewer_driver.py"), str(folder / "a.ani3d"),
                           str(folder)], env=environment, capture_output=True, text=True, timeout=120)
    if "NoSuchConfigException" in done.stderr or "Library \"" in done.stderr:
        pytest.skip(f"no OpenGL or fonts: {HINT}\n{done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_the_window_shows_a_figure_that_plays_and_pauses(seen: dict[str, Any]) -> None:
    assert 0.05 < seen["figure"] < 0.9
    assert seen["time_passed"] and seen["playing"] > 0.02
    assert seen["paused"] == 0


@pytest.mark.parametrize("control", ["residual", "compare", "step", "turn", "pan", "zoom"])
def test_each_control_changes_the_picture_and_can_be_undone(seen: dict[str, Any], control: str) -> None:
    there, back = seen[control]
    assert there > 0.02 and back == 0


def test_keys_change_speed_orbit_help_and_save(seen: dict[str, Any]) -> None:
    assert seen["speed"] == 1.5
    assert seen["auto_orbit"] > 0.05
    assert seen["help"] > 0.3
    assert seen["screenshots"] == ["random_person-001.png"]


def test_the_window_resizes_closes_and_leaves_no_gl_error(seen: dict[str, Any]) -> None:
    assert seen["resized"] == [240, 320, 3] and seen["gl_error"] == 0
    assert seen["asked_to_close"] and seen["closed"]


def test_the_window_runs_without_torch(seen: dict[str, Any]) -> None:
    assert not seen["torch"]


def test_without_a_display_the_error_names_the_other_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    write_bundle(make_bundle(), tmp_path / "a.ani3d")
    with pytest.raises(InputError, match="no display to open a window on; make a video with `ani3d render"):
        play([tmp_path / "a.ani3d"])
    with pytest.raises(InputError, match=r"absent\.ani3d: no such file"):
        play([tmp_path / "absent.ani3d"])


def test_a_display_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    write_bundle(make_bundle(), tmp_path / "a.ani3d")
    code = ("import sys\nfrom runtime.errors import InputError\nfrom viewer.app import play\n"
            "try:\n    play([sys.argv[1]])\nexcept InputError as error:\n    print(error)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.ani3d")], text=True, timeout=60,
                          env=os.environ | {"DISPLAY": ":987", "PYTHONPATH": str(ROOT)}, capture_output=True)
    if "needs pyglet" in done.stdout:
        pytest.skip(f"no OpenGL or fonts: {HINT}")
    assert "no window can be opened" in done.stdout and "ani3d render" in done.stdout, done.stderr[-2000:]


def test_importing_the_viewer_needs_no_display_pyglet_or_torch() -> None:
    code = "import sys, viewer.app, viewer.show, viewer.orbit; print({'pyglet', 'torch'} & set(sys.modules))"
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    done = subprocess.run([sys.executable, "-c", code], env=environment | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


def pixel(orbit: Orbit, point: np.ndarray, size: tuple[int, int] = (480, 800)) -> np.ndarray:
    """Where a world point is in the picture, y up."""
    camera = orbit.camera(np.array([0.2, 1.0, 0.5]), size)
    x, y, z, _ = camera.T_camera_world @ np.append(point, 1)
    return np.array([camera.fx * x / z, -camera.fy * y / z])


def test_panning_keeps_the_followed_point_under_the_hand() -> None:
    for orbit in (Orbit(), Orbit(azimuth=2.0, elevation=0.7, distance=5.0)):
        moved = orbit.panned(30, -50, height=800)
        # A pixel of rounding nowhere: the point stays in the plane through it that faces the camera.
        np.testing.assert_allclose(pixel(moved, np.array([0.2, 1.0, 0.5])), (30, -50), atol=1e-6)


def test_turning_moves_the_front_with_the_hand_and_stops_before_the_poles() -> None:
    nose = np.array([0.2, 1.0, 0.7])
    assert pixel(Orbit().turned(20, 0), nose)[0] > pixel(Orbit(), nose)[0]
    assert pixel(Orbit().turned(0, 20), nose)[1] > pixel(Orbit(), nose)[1]
    assert Orbit().turned(0, -9999).elevation == ELEVATION_LIMIT
    assert Orbit().turned(900, 0).azimuth == pytest.approx(0, abs=1e-9) or Orbit().turned(900, 0).azimuth > 6.28


def test_zooming_in_and_out_returns_and_has_limits() -> None:
    assert Orbit().zoomed(3).zoomed(-3).distance == pytest.approx(Orbit().distance)
    assert Orbit().zoomed(1).distance < Orbit().distance
    assert (Orbit().zoomed(999).distance, Orbit().zoomed(-999).distance) == DISTANCE_LIMITS


def test_a_narrow_picture_keeps_the_figure_in_view() -> None:
    arm = np.array([1.0, 1.0, 0.5])
    assert abs(pixel(Orbit(), arm, (240, 800))[0]) / 240 <= abs(pixel(Orbit(), arm, (450, 800))[0]) / 450 + 1e-9


def test_steps_wrap_around_and_stop_playing() -> None:
    show = Show([Player(visible_bundle())])
    show.advance(0.5)
    assert show.time == 0.5
    show.step(1)
    assert not show.playing and show.player.frame_at(show.time) == 4
    show.step(3)
    assert show.player.frame_at(show.time) == 1
    show.advance(1.0)
    assert show.player.frame_at(show.time) == 1
    for _ in range(20):
        show.change_speed(1)
    assert show.speed == max(show_module.SPEEDS)


def test_tab_goes_through_all_clips() -> None:
    show = Show([Player(visible_bundle()), Player(make_bundle())], time=1.0)
    show.next_clip(1)
    assert show.shown == 1 and show.time == 0 and "(2/2)" in show.status()
    show.next_clip(1)
    assert show.shown == 0


def test_slow_pictures_get_smaller_and_fast_ones_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    show, clock = Show([Player(visible_bundle())]), iter(np.cumsum([0.0, 0.2] * 3 + [0.0, 0.001] * 9))
    monkeypatch.setattr(show_module.time, "perf_counter", lambda: float(next(clock)))
    scales = [show.picture((80, 120), full=False).shape[0] / 120 for _ in range(6)]
    assert scales == pytest.approx([1, 0.75, 0.5, 0.35, 0.5, 0.75], abs=0.01)
    assert show.picture((81, 121), full=True).shape == (121, 81, 3)


def test_auto_orbit_turns_once_in_eight_seconds() -> None:
    show = Show([Player(make_bundle())], auto_orbit=True)
    show.advance(2.0)
    assert show.orbit.azimuth == pytest.approx(math.pi / 2)
