"""Drawing without torch: what a picture must show, and what bad Gaussians must not do to it.

Agreement with the specification is in `test_rasterisers.py`, which needs torch.
"""

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from runtime import _raster_bin, _raster_blend, _raster_template, bench, raster
from runtime.cameras import look_at
from runtime.errors import InputError
from runtime.types import SH_C0, Camera, GaussianSet

ROOT = Path(__file__).resolve().parent.parent
ALPHA_MAX = np.float32(0.999)


def camera(width: int = 33, height: int = 21, focal: float = 40.0) -> Camera:
    """At the origin's front, one metre away, looking at it: z = 0 in the world is depth 1 m."""
    return Camera(width=width, height=height, fx=focal, fy=focal, cx=width / 2, cy=height / 2,
                  T_camera_world=look_at(np.array([0.0, 0.0, 1.0]), np.zeros(3)))


def gaussians(means, *, scale=0.02, opacity=0.8, color=(0.9, 0.5, 0.1)) -> GaussianSet:
    means = np.asarray(means, np.float32).reshape(-1, 3)
    count = len(means)
    return GaussianSet(
        means=means, quats_wxyz=np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
        log_scales=np.full((count, 3), math.log(scale), np.float32),
        opacity_logits=np.full(count, math.log(opacity / (1 - opacity)), np.float32),
        sh0=np.tile(((np.array(color) - 0.5) / SH_C0).astype(np.float32), (count, 1)),
        labels=np.zeros(count, np.uint8))


def joined(*sets: GaussianSet) -> GaussianSet:
    names = ("means", "quats_wxyz", "log_scales", "opacity_logits", "sh0", "labels")
    return GaussianSet(**{name: np.concatenate([getattr(s, name) for s in sets]) for name in names})


def test_one_round_gaussian_has_the_closed_form_alpha_everywhere():
    focal, scale, opacity = 40.0, 0.05, 0.8
    image = raster.render(gaussians([0, 0, 0], scale=scale, opacity=opacity), camera(focal=focal))
    variance = (focal * scale) ** 2 + 0.3
    y, x = np.mgrid[:21, :33] + 0.5
    alpha = opacity * np.exp(-0.5 * ((x - 16.5) ** 2 + (y - 10.5) ** 2) / variance)
    expected = np.where(alpha >= 1 / 255, alpha, 0)
    # The kernel's exponential is good to 4e-6 relative.
    np.testing.assert_allclose(image.rgba[..., 3], expected, atol=5e-6)
    np.testing.assert_allclose(image.rgba[..., :3], expected[..., None] * [0.9, 0.5, 0.1], atol=5e-6)
    np.testing.assert_allclose(image.depth, expected, atol=5e-6)  # depth 1 m
    assert image.features.shape == (21, 33, 0)


def test_world_up_is_image_up_and_the_figures_left_is_image_right_from_the_front():
    up = raster.render(gaussians([0.0, 0.15, 0.0]), camera()).rgba[..., 3]
    left = raster.render(gaussians([0.15, 0.0, 0.0]), camera()).rgba[..., 3]
    assert np.unravel_index(up.argmax(), up.shape)[0] < 10
    assert np.unravel_index(left.argmax(), left.shape)[1] > 16


def test_nearer_gaussian_covers_the_farther_one_whatever_their_order():
    near, far = gaussians([0, 0, 0.1], color=(1, 0, 0)), gaussians([0, 0, -0.1], color=(0, 0, 1))
    one, other = (raster.render(joined(*pair), camera()).rgba for pair in ((near, far), (far, near)))
    np.testing.assert_array_equal(one, other)
    centre = one[10, 16]
    assert centre[0] > 4 * centre[2] > 0


def test_features_blend_exactly_as_colours_do():
    scene, view = bench.yardstick_scene(500), bench.yardstick_camera((60, 104))
    plain = raster.render(scene, view)
    image = raster.render(scene, view, features=np.maximum(scene.colors[:, 1:2], 0))
    np.testing.assert_array_equal(image.features[..., 0], image.rgba[..., 1])
    ones = raster.render(scene, view, features=np.ones((500, 1), np.float32))
    np.testing.assert_allclose(ones.features[..., 0], ones.rgba[..., 3], atol=2e-6)  # sums of <= 100 float32
    np.testing.assert_allclose(image.rgba, plain.rgba, atol=1e-6)
    np.testing.assert_allclose(image.depth, plain.depth, atol=1e-5)


def test_colours_below_zero_are_drawn_as_black():
    image = raster.render(gaussians([0, 0, 0], color=(-0.5, 0.5, -2.0)), camera()).rgba
    assert image[..., [0, 2]].max() == 0 and image[..., 1].max() > 0.3


def test_expected_depth_is_depth_over_alpha():
    image = raster.render(gaussians([0, 0, -0.25]), camera())
    seen = image.rgba[..., 3] > 0.1
    np.testing.assert_allclose(image.depth[seen] / image.rgba[..., 3][seen], 1.25, rtol=1e-6)


def test_no_gaussians_draw_an_empty_image():
    image = raster.render(gaussians(np.zeros((0, 3))), camera())
    assert image.rgba.shape == (21, 33, 4) and not image.rgba.any() and not image.depth.any()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (16, 16), (17, 15)])
def test_images_of_any_size_are_drawn_to_their_edges(size):
    image = raster.render(gaussians([0, 0, 0], scale=10.0, opacity=0.99), camera(*size)).rgba
    assert image.shape == (size[1], size[0], 4)
    assert (image[..., 3] > 0.98).all()


def test_gaussian_on_the_border_draws_the_part_that_is_inside():
    whole = raster.render(gaussians([0, 0, 0], scale=0.05), camera(33, 33)).rgba
    cut = Camera(width=16, height=33, fx=40.0, fy=40.0, cx=16.5, cy=16.5, T_camera_world=camera().T_camera_world)
    part = raster.render(gaussians([0, 0, 0], scale=0.05), cut).rgba
    np.testing.assert_allclose(part, whole[:, :16], atol=2e-6)


def test_gaussian_behind_or_too_near_the_camera_is_not_drawn():
    for z in (1.5, 1.0, 0.995):
        assert not raster.render(gaussians([0, 0, z], scale=0.5), camera()).rgba.any()
    assert raster.render(gaussians([0, 0, 0.98], scale=0.5), camera()).rgba.any()


POISON = {
    "nan_mean": ("means", (0, np.nan, 0)), "infinite_mean": ("means", (np.inf, 0, 0)),
    "nan_quat": ("quats_wxyz", (1, np.nan, 0, 0)), "zero_quat": ("quats_wxyz", (0, 0, 0, 0)),
    "infinite_quat": ("quats_wxyz", (np.inf, 0, 0, 0)), "nan_scale": ("log_scales", (0, np.nan, 0)),
    "infinite_scale": ("log_scales", (np.inf, 0, 0)), "overflowing_scale": ("log_scales", (200.0, 0, 0)),
    "nan_opacity": ("opacity_logits", np.nan), "nan_color": ("sh0", (np.nan, 0, 0)),
    "infinite_color": ("sh0", (np.inf, 0, 0)),
}


@pytest.mark.parametrize("name", POISON)
def test_poisoned_gaussian_is_not_drawn_and_changes_no_other_pixel(name):
    scene, view = bench.yardstick_scene(300, seed=3), bench.yardstick_camera((40, 64))
    clean = scene.take(np.arange(300) != 150)
    field, value = POISON[name]
    getattr(scene, field)[150] = value
    np.testing.assert_array_equal(raster.render(scene, view).rgba, raster.render(clean, view).rgba)


def test_scales_of_zero_and_of_kilometres_are_drawn_finite():
    flat = gaussians([0, 0, 0])
    flat.log_scales[:] = -np.inf  # exp gives exactly zero
    dot = raster.render(flat, camera()).rgba
    assert dot[10, 16, 3] > 0.7 and dot[10, 19, 3] == 0  # only the 0.3 px2 of the pixel filter remains
    huge = raster.render(gaussians([0, 0, 0], scale=1e4), camera()).rgba
    np.testing.assert_allclose(huge[..., 3], 0.8, atol=1e-5)


def test_more_tiles_than_memory_are_refused_before_any_is_drawn():
    many = gaussians(np.zeros((25_000, 3)), scale=1e4)
    with pytest.raises(InputError, match="2\\^27 tiles"):
        raster.render(many, camera(1664, 960))


def test_ten_thousand_gaussians_on_one_pixel_stop_at_full_cover():
    means = np.zeros((10_000, 3))
    means[:, 2] = np.linspace(0.1, -0.1, 10_000)
    image = raster.render(gaussians(means, scale=1e-4, opacity=0.3), camera())
    # Stops before transmittance 1e-4: 0.7^25 = 1.34e-4 is the last above it.
    np.testing.assert_allclose(image.rgba[10, 16, 3], 1 - (1 - 0.3) ** 25, rtol=1e-4)
    assert image.rgba.max() < 1


def test_opacity_one_is_limited_to_the_largest_alpha():
    scene = gaussians([0, 0, 0], scale=10.0)
    scene.opacity_logits[:] = 50
    assert raster.render(scene, camera()).rgba[10, 16, 3] == pytest.approx(ALPHA_MAX, abs=1e-6)


def test_two_renders_are_bit_equal():
    scene, view = bench.yardstick_scene(2000), bench.yardstick_camera((120, 208))
    one, other = raster.render(scene, view), raster.render(scene, view)
    np.testing.assert_array_equal(one.rgba, other.rgba)
    np.testing.assert_array_equal(one.depth, other.depth)


def test_order_of_gaussians_does_not_matter():
    scene, view = bench.yardstick_scene(2000), bench.yardstick_camera((120, 208))
    shuffled = scene.take(np.random.default_rng(1).permutation(2000))
    # Equal depths would swap; this scene has none.
    np.testing.assert_array_equal(raster.render(scene, view).rgba, raster.render(shuffled, view).rgba)


def test_threads_may_render_at_the_same_time():
    scene, view = bench.yardstick_scene(500), bench.yardstick_camera((60, 104))
    expected = raster.render(scene, view).rgba
    results = [None] * 4

    def work(index: int) -> None:
        for _ in range(10):
            results[index] = raster.render(scene, view).rgba

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, expected)


IN_A_FRESH_PROCESS = """
import time, hashlib
from runtime import bench, raster
scene, view = bench.yardstick_scene(2000), bench.yardstick_camera((120, 208))
start = time.perf_counter()
image = raster.render(scene, view)
from runtime._raster_blend import blend_forward
hits = sum(blend_forward(4).stats.cache_hits.values())
print(hashlib.sha256(image.rgba.tobytes()).hexdigest(), hits, time.process_time())
"""


def in_a_fresh_process(**env: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", IN_A_FRESH_PROCESS], cwd=ROOT, env={**os.environ, **env},
                          capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_second_process_takes_kernels_from_the_cache_and_one_thread_draws_the_same():
    raster.render(gaussians([0, 0, 0]), camera())  # compiled and stored by now
    two = in_a_fresh_process()
    one = in_a_fresh_process(NUMBA_NUM_THREADS="1")
    assert two[1] == one[1] == "1"
    assert two[0] == one[0]
    # From the start of Python to the first picture: 0.65 s of processor time measured; compiling takes ten.
    assert float(one[2]) < 2


def test_cached_kernels_follow_a_constant_in_another_module(tmp_path):
    """numba looks at a kernel's own file only; the names of ours hold a digest of all of them."""
    for path in (ROOT / "runtime").glob("_*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert _raster_template.digest(tmp_path) == _raster_template.SOURCES
    project = tmp_path / "_raster_project.py"
    project.write_text(project.read_text().replace("ALPHA_MIN = 1.0 / 255.0", "ALPHA_MIN = 0.2"))
    assert _raster_template.digest(tmp_path) != _raster_template.SOURCES
    assert _raster_template.SOURCES in _raster_blend.blend_forward(4).py_func.__qualname__
    assert _raster_template.SOURCES in _raster_bin.bin_tiles.py_func.__qualname__


def test_modules_with_kernels_import_where_no_folder_can_be_written():
    """An installation that belongs to another user, and no home: numba then finds no place for its cache and raises."""
    script = """
import numba.core.caching
for locator in numba.core.caching.CacheImpl._locator_classes:
    locator.from_function = classmethod(lambda *_: None)
import runtime.compositing, runtime.fast_skinning, runtime.raster, runtime.stage, viewer.instances
import numpy as np
print(runtime.compositing.composite(np.ones((1, 1, 4), np.float32), (0.0, 0.0, 0.0)).tolist())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[[[255, 255, 255]]]", done.stderr
