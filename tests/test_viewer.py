"""The window: what each control does to the real picture, on a virtual display; and the state behind it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_bundle import make_bundle
from virtual_screen import HINT, ROOT, Screen, playing, virtual_screen

from runtime import stage_reference
from runtime.bundle import write_bundle
from runtime.errors import InputError
from runtime.types import Bundle
from viewer import show as show_module
from viewer.app import play
from viewer.controls import CLIP_ROW, Layout
from viewer.orbit import DISTANCE_LIMITS, ELEVATION_LIMIT, Orbit
from viewer.show import DETAIL_STEPS, Show

SIZE = (240, 400)
INNER = (slice(12, 270), slice(0, 240))
"""The picture on the screen without status, timeline and messages."""


def visible_bundle(seed: int = 0) -> Bundle:
    """A bundle whose picture shows every change: large opaque Gaussians, a residual of several centimetres."""
    bundle = make_bundle(seed, count=300, frames=6)
    gaussians = replace(bundle.gaussians, log_scales=np.full((300, 3), -3.2, np.float32),
                        opacity_logits=np.full(300, 4, np.float32))
    clip = bundle.clips[0]
    d_means = replace(clip.residual.d_means, mean=clip.residual.d_means.mean + np.float32(0.15))
    root = np.linspace(0, 0.3, 6, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    motion = replace(clip.motion, root_translations=root, fps=6.0)
    clip = replace(clip, motion=motion, residual=replace(clip.residual, d_means=d_means))
    return replace(bundle, gaussians=gaussians, clips=(clip, replace(clip, name="again", motion=motion.slice(0, 4),
                                                                     residual=_first(clip.residual, 4))))


def _first(residual, frames: int):
    """A residual's first frames."""
    return replace(residual, **{name: replace(group, coefficients=group.coefficients[:frames]) for name in
                                ("d_means", "d_rotations", "d_log_scales") for group in [getattr(residual, name)]})


def changed(before: np.ndarray, after: np.ndarray) -> float:
    """Share of pixels of the picture that differ by more than 8 steps."""
    return float((np.abs(before[INNER] - after[INNER]).max(-1) > 8).mean())


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with virtual_screen(tmp_path_factory.mktemp("screen")) as own:
        yield own


@pytest.fixture(scope="module")
def seen(screen: Screen, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the screen showed while real keys and a real mouse drove `ani3d play`."""
    folder = tmp_path_factory.mktemp("played")
    write_bundle(visible_bundle(), folder / "a.ani3d")
    with playing(screen, "a.ani3d", "--size", "240x400", "--backend", "compute", folder=folder) as process:
        return drive(screen, process, folder)


def drive(screen: Screen, process: subprocess.Popen[str], folder: Path) -> dict[str, Any]:
    """Every control once there and once back."""
    seen: dict[str, Any] = {}
    layout = Layout(*SIZE).boxes

    def on(name: str, share: float) -> tuple[int, int]:
        box = layout[name]
        return round(box.x + share * box.width), round(SIZE[1] - box.y - box.height / 2)

    def differs(picture: np.ndarray) -> Callable[[np.ndarray], bool]:
        return lambda now: changed(picture, now) > 0

    def equals(picture: np.ndarray) -> Callable[[np.ndarray], bool]:
        return lambda now: changed(picture, now) == 0

    first = screen.grab()
    seen["playing"] = changed(first, screen.until(lambda now: changed(first, now) > 0.02))
    screen.xdotool("key", "space")
    paused = screen.settled()
    time.sleep(0.6)
    seen["paused"] = changed(paused, screen.grab())

    # 1. Scrub there and back: the same time is the same picture.
    screen.xdotool("mousemove", *on("timeline", 0.95), "click", 1)
    screen.settled()
    screen.xdotool("mousemove", *on("timeline", 0.3), "click", 1)
    still = screen.settled()
    screen.drag(on("timeline", 0.3), on("timeline", 0.9))
    screen.until(differs(still))
    seen["scrub"] = [changed(still, screen.settled())]
    screen.xdotool("mousemove", *on("timeline", 0.3), "click", 1)
    seen["scrub"].append(changed(still, screen.until(equals(still))))
    screen.xdotool("mousemove", *on("timeline", 0.4), "click", 1)
    screen.xdotool("key", "Right", "key", "Left", "mousemove", 120, 200)
    time.sleep(0.5)
    still = screen.settled()
    seen["figure"] = float((np.abs(still[INNER] - still[75, 2]).max(-1) > 20).mean())

    # 2. Each control, and back.
    def both_ways(name: str, there: Callable[[], None], back: Callable[[], None]) -> None:
        there()
        screen.until(differs(still))
        one = screen.settled()
        back()
        seen[name] = [changed(still, one), changed(still, screen.until(equals(still)))]

    def keys(*names: str) -> Callable[[], None]:
        return lambda: screen.xdotool("key", *" key ".join(names).split())

    for name, there, back in (("residual", "r", "r"), ("compare", "c", "c"), ("step", "Right", "Left"),
                              ("points", "p", "p"), ("skeleton", "k", "k"), ("statistics", "i", "i"),
                              ("less detail", "bracketleft bracketleft bracketleft bracketleft bracketleft bracketleft",
                               "bracketright bracketright bracketright bracketright bracketright bracketright"),
                              ("background", "g", "g g g g"), ("help", "h", "h"), ("clips", "l", "l")):
        both_ways(name, keys(*there.split()), keys(*back.split()))
    middle = (120, 200)
    both_ways("turn", lambda: screen.drag(middle, (180, 180)), keys("Home"))
    both_ways("pan", lambda: screen.drag(middle, (150, 160), 3), keys("Home"))
    both_ways("zoom", lambda: screen.xdotool("mousemove", *middle, "click", 4, "click", 4, "click", 4), keys("Home"))
    both_ways("detail", lambda: screen.drag(on("detail", 1.0), on("detail", 0.1)),
              lambda: screen.drag(on("detail", 0.1), on("detail", 1.0)))
    both_ways("button", lambda: screen.xdotool("mousemove", *on("on", 0.5), "click", 1),
              lambda: screen.xdotool("mousemove", *on("back", 0.5), "click", 1))

    # 3. Turning by itself, the screenshot, another clip, the end.
    screen.xdotool("mousemove", *middle, "key", "o")
    seen["auto orbit"] = changed(still, screen.until(lambda now: changed(still, now) > 0.02))
    screen.xdotool("key", "o", "key", "Home")
    screen.until(equals(still))
    screen.xdotool("key", "s")
    screen.until(lambda now: bool(list(folder.glob("*.png"))))
    seen["screenshots"] = sorted(path.name for path in folder.glob("*.png"))
    screen.xdotool("mousemove", 40, 10 + CLIP_ROW + CLIP_ROW // 2, "click", 1)
    seen["clip"] = changed(still, screen.until(lambda now: changed(still, now) > 0.01))

    # 4. Files dragged from another program: a broken one while it plays, good ones (with few and with many types).
    (folder / "broken.ani3d").write_bytes(b"PK\x03\x04 no")
    write_bundle(visible_bundle(3), folder / "another one ü.ani3d")
    screen.xdotool("mousemove", *middle, "key", "space")
    seen["drops"] = [drop(screen, 5, folder / "broken.ani3d")]
    plain = screen.grab()
    seen["after a broken file"] = changed(plain, screen.until(lambda now: changed(plain, now) > 0.02))
    screen.xdotool("key", "space")
    for types in (1, 5):
        before = screen.settled(20)
        seen["drops"].append(drop(screen, types, folder / "another one ü.ani3d"))
        seen[f"dropped with {types}"] = changed(before, screen.until(lambda now, b=before: changed(b, now) > 0.01))
    screen.xdotool("mousemove", *middle, "key", "Escape")
    seen["exit"] = process.wait(20)
    seen["errors"] = process.stderr.read()
    return seen


def drop(screen: Screen, types: int, path: Path) -> dict[str, bool]:
    """Drag a file onto the window from another program that offers so many types; what the window answered it."""
    done = subprocess.run([sys.executable, ROOT / "tests" / "drag_source.py", str(types), str(path)], text=True,
                          env=screen.environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr[-1000:]
    return json.loads(done.stdout)


def test_the_window_plays_and_pauses(seen: dict[str, Any]) -> None:
    assert 0.05 < seen["figure"] < 0.9
    assert seen["playing"] > 0.02 and seen["paused"] == 0


@pytest.mark.parametrize("control", ["scrub", "residual", "compare", "step", "points", "skeleton", "statistics",
                                     "less detail", "background", "help", "clips", "turn", "pan", "zoom", "detail",
                                     "button"])
def test_each_control_changes_the_picture_and_can_be_undone(seen: dict[str, Any], control: str) -> None:
    there, back = seen[control]
    # The skeleton here is a chain of four thin bones: 0.4 % of the picture.
    assert there > (0.002 if control == "skeleton" else 0.01) and back == 0


def test_auto_orbit_screenshot_clip_list_and_escape(seen: dict[str, Any]) -> None:
    assert seen["auto orbit"] > 0.02 and seen["clip"] > 0.01
    assert seen["screenshots"] == ["random_person-001.png"]
    assert seen["exit"] == 0 and seen["errors"] == ""


def test_files_dragged_from_another_program_are_opened_or_refused_and_nothing_stops(seen: dict[str, Any]) -> None:
    assert seen["drops"] == 3 * [{"accepted": True, "finished": True}]
    assert seen["after a broken file"] > 0.02 and seen["dropped with 1"] > 0.01 and seen["dropped with 5"] > 0.01


@pytest.fixture(scope="module")
def driven(screen: Screen, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `viewer_driver.py` saw."""
    folder = tmp_path_factory.mktemp("driven")
    write_bundle(visible_bundle(), folder / "a.ani3d")
    write_bundle(visible_bundle(3), folder / "b.ani3d")
    arguments = [ROOT / "tests" / "viewer_driver.py", folder / "a.ani3d", folder / "b.ani3d", folder]
    done = subprocess.run([sys.executable, *map(str, arguments)], env=screen.environment, capture_output=True,
                          text=True, timeout=120)
    if "NoSuchConfigException" in done.stderr or "Library \"" in done.stderr:
        pytest.skip(f"no OpenGL or fonts: {HINT}\n{done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_every_renderer_shows_the_same_window(driven: dict[str, Any]) -> None:
    assert [driven[f"{name}_renderer"] for name in ("compute", "instances", "cpu")] == ["compute", "instances", "cpu"]
    assert max(driven["differences"]) < 1


def test_dropped_files_add_avatars_and_broken_ones_say_why(driven: dict[str, Any]) -> None:
    count, note = driven["after_broken"]
    assert count == 1 and "broken.ani3d" in note
    assert driven["after_good"] == [2, 1, 4]
    assert driven["dropped"] > 1 and driven["together"] > 1


def test_a_failing_renderer_is_replaced_by_the_next(driven: dict[str, Any]) -> None:
    assert driven["replaced"] == ["cpu", "instances: out of memory"]


def test_the_window_resizes_closes_and_leaves_no_gl_error_and_no_torch(driven: dict[str, Any]) -> None:
    assert driven["resized"] == [240, 320, 3] and driven["gl_error"] == 0
    assert driven["closed"] and not driven["torch"]


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
        for size in ((480, 800), (200, 800), (900, 300)):
            moved = orbit.panned(30, -50, size=size)
            # A pixel of rounding nowhere: the point stays in the plane through it that faces the camera.
            np.testing.assert_allclose(pixel(moved, np.array([0.2, 1.0, 0.5]), size), (30, -50), atol=1e-6)


def test_panning_follows_the_hand_when_several_are_shown_and_when_two_are_compared() -> None:
    several = Show([visible_bundle(seed) for seed in range(3)], together=True)
    for show in (several, Show([visible_bundle()], compare=True)):
        target, size = show.target(), (480, 800)
        show.pan(30, -50, size)
        camera = show.views(size)[0].camera
        x, y, z, _ = camera.T_camera_world @ np.append(target, 1)
        np.testing.assert_allclose((camera.fx * x / z, -camera.fy * y / z), (30, -50), atol=1e-6)


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
    show = Show([visible_bundle()])
    show.advance(0.5)
    assert show.actor.frame() == pytest.approx(3)
    show.step(1)
    assert not show.playing and show.actor.frame() == 4
    show.step(3)
    assert show.actor.frame() == 1
    show.advance(1.0)
    assert show.actor.frame() == 1
    for _ in range(20):
        show.change_speed(1)
    assert show.speed == max(show_module.SPEEDS)


def test_backwards_plays_the_other_way() -> None:
    show = Show([visible_bundle()], backwards=True)
    show.seek(0.8)
    show.advance(1 / 6)
    assert show.actor.frame() == pytest.approx(3) and "-1x" in show.status()


def test_clips_of_one_avatar_fade_and_those_of_another_are_cut_to() -> None:
    show = Show([visible_bundle(), make_bundle()])
    assert show.clips == [(0, 0), (0, 1), (1, 0)] and show.shown == 0
    show.advance(0.1)
    show.choose_clip(1)
    assert show.clip_index == 1 and len(show.actor.moment().layers) == 2
    show.advance(0.4)
    assert {layer.clip for layer in show.actor.moment().layers} == {1}
    show.choose_clip(2)
    assert show.shown == 1 and len(show.actor.moment().layers) == 1
    show.choose_clip(3)
    assert show.clip_index == 0


def test_the_scene_follows_detail_and_togetherness() -> None:
    show = Show([visible_bundle(), make_bundle(count=160)])
    key = show.scene_key
    show.detail = DETAIL_STEPS // 4
    assert show.scene_key != key and show.scene()[0][0].gaussians.count == 75
    show.together = True
    bundles, placements = show.scene()
    assert [bundle.gaussians.count for bundle in bundles] == [75, 40] == show.counts()
    assert placements[1][0, 3] - placements[0][0, 3] == pytest.approx(show_module.APART_M)
    views = show.views((100, 160))
    assert len(views) == 1 and len(views[0].moments) == 2
    assert len(show.bones(views[0])) == 6
    show.root_motion = False
    middle = show.target()
    show.together = False
    assert middle[0] == pytest.approx(show.target()[0], abs=1e-6), "the two stand left and right of where one stands"


def test_all_who_are_shown_together_are_in_view() -> None:
    show = Show([visible_bundle(seed) for seed in range(4)], together=True)
    for size in ((200, 400), (600, 400)):
        for seconds in (0.0, 0.4):
            show.advance(seconds)
            view = show.views(size)[0]
            segments = show.bones(view)
            assert (segments >= 0).all() and (segments[..., 0] <= size[0]).all() and (segments[..., 1] <= size[1]).all()
    show.seek(0.5)
    assert {actor.frame() for actor in show.actors} == {2.5}


def test_the_camera_follows_a_figure_that_stays_or_walks_on() -> None:
    show = Show([visible_bundle()])
    for _ in range(40):
        show.advance(0.1)
        pose = stage_reference.pose(show.bundles[0], show.actor.moment())
        away = pose.root_translations[0] + show.bundles[0].rig.T_world_joint_rest[0, :3, 3] - show.target()
        # The path is 0.3 m long and smoothed over a quarter of a second.
        assert np.abs(away[[0, 2]]).max() < 0.15
    show.root_motion = False
    assert (show.target()[[0, 2]] == show.bundles[0].rig.T_world_joint_rest[0, [0, 2], 3]).all()


def test_comparing_splits_the_picture_into_rigid_and_baked() -> None:
    show = Show([visible_bundle()], compare=True)
    left, right = show.views((241, 100))
    assert (left.left, left.camera.width, right.left, right.camera.width) == (0, 120, 120, 121)
    assert not left.moments[0].residual and right.moments[0].residual


def test_controls_are_found_where_they_are_drawn() -> None:
    for size in ((240, 400), (1920, 1080), (160, 160)):
        layout = Layout(*size)
        for name, box in layout.boxes.items():
            assert box.x >= 0 and box.x + box.width <= size[0]
            if name not in ("back", "play", "on") or size[0] > 200:
                assert layout.control_at(box.x + box.width / 2, box.y + box.height / 2) == name
        assert layout.control_at(size[0] / 2, size[1] - 30) is None
        box = layout.clip_row(1)
        assert layout.clip_at(box.x + 5, box.y + 3, 3) == 1 and layout.clip_at(box.x + 5, box.y + 3, 1) is None
    assert Layout(240, 400).boxes["timeline"].share(-5) == 0 and Layout(240, 400).boxes["timeline"].share(999) == 1


def test_clip_list_longer_than_the_window_has_the_chosen_clip_in_view() -> None:
    for size in ((240, 400), (1920, 1080), (160, 160)):
        layout, first = Layout(*size), 0
        for chosen in (0, 59, 58, 30, 31, 0, 40, 59):
            earlier, first = first, layout.scrolled_to(chosen, 60, first)
            shown = layout.clips_shown(60, first)
            assert chosen in shown and shown.start == first
            # No farther than it must.
            assert first == earlier or chosen in (shown[0], shown[-1])
            assert layout.clip_row(len(shown) - 1).y >= layout.boxes["timeline"].y + 20
            box = layout.clip_row(chosen - first)
            assert layout.clip_at(box.x + 5, box.y + 3, 60, first) == chosen
    assert list(Layout(240, 400).clips_shown(3, 2)) == [0, 1, 2]


def test_sixty_clips_are_scrolled_through_in_the_window(driven: dict) -> None:
    assert driven["list_begins"] == ["▸ clip 0", "   clip 1", "   clip 2"]
    # 400 pixels have room for 15; the bar beside them shows a quarter of it, at the end.
    assert driven["list_ends"] == [f"{'▸' if clip == 59 else '  '} clip {clip}" for clip in range(45, 60)]
    assert driven["list_bar"] == [75, 300 - 1]
    assert driven["list_wheeled"] == [0, 45, 0]
    assert driven["list_zoomed"]


def test_auto_orbit_turns_once_in_eight_seconds() -> None:
    show = Show([make_bundle()], auto_orbit=True)
    show.advance(2.0)
    assert show.orbit.azimuth == pytest.approx(math.pi / 2)
