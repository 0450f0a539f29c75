"""Actors on a stage: loops that close, fades, root motion, and every array equal to plain numpy's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sample_bundle import make_bundle

from runtime import bench_play, rotations, stage_reference
from runtime.actor import Actor, Layer, Moment, loop_of
from runtime.bench import yardstick_bundle, yardstick_camera
from runtime.bundle import write_bundle
from runtime.errors import InputError
from runtime.fast_offsets import quaternion, slerp
from runtime.fast_sort import depth_order
from runtime.stage import Stage
from runtime.types import Bundle, Clip, Motion


def two_clips(*, frames: int = 12) -> Bundle:
    """Two clips that move different Gaussians, one of them dense int16."""
    first = make_bundle(0, count=300, joints=6, frames=frames)
    second = make_bundle(0, count=300, joints=6, frames=frames + 3, dense=True, texel_type=np.int16).clips[0]
    other = np.sort(np.random.default_rng(3).permutation(300)[:len(second.residual.moving)])
    second = replace(second, name="other", residual=replace(second.residual, moving=other))
    return replace(first, clips=tuple(replace(clip, motion=one_way(clip.motion)) for clip in (*first.clips, second)))


def one_way(motion: Motion) -> Motion:
    """The motion with joints that turn steadily by 1.2 rad from first to last frame: it does not close."""
    axes = np.random.default_rng(0).normal(size=(*motion.quats_wxyz.shape[1:2], 3))
    vectors = np.linspace(0, 1.2, motion.frames)[:, None, None] * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return replace(motion, quats_wxyz=rotations.from_rotvec(vectors).astype(np.float32))


def circling(frames: int = 20, *, stride: float = 0.1) -> Motion:
    """A clip that closes: joints go around once, the root walks on along x."""
    phase = np.arange(frames) / frames * 2 * math.pi
    vectors = np.stack([np.sin(phase), np.cos(phase), 0 * phase], axis=1)[:, None].repeat(3, axis=1) * 0.15
    roots = np.zeros((frames, 3), np.float32)
    roots[:, 0], roots[:, 1] = stride * np.arange(frames), 0.02 * np.sin(phase)
    return Motion(fps=10.0, root_translations=roots, quats_wxyz=rotations.from_rotvec(vectors).astype(np.float32))


def moments() -> list[Moment]:
    """Single, interpolated, fading and rigid."""
    seam = Layer(clip=0, before=11, after=0, weight=0.25, before_offset=(0.3, 0.0), after_offset=(0.6, -0.2))
    between = Layer(clip=1, before=4, after=5, weight=0.6)
    return [Moment(layers=(Layer(clip=0, before=3, after=4, weight=0.0),)), Moment(layers=(seam,)),
            Moment(layers=(between,), root_motion=False), Moment(layers=(seam, replace(between, share=0.35))),
            Moment(layers=(between, replace(seam, share=0.8), Layer(clip=1, before=0, after=1, weight=0.5, share=0.1))),
            Moment(layers=(seam,), residual=False)]


@pytest.mark.parametrize("index", range(6))
def test_every_array_of_a_frame_equals_plain_numpy(index: int) -> None:
    bundle, moment, camera = two_clips(), moments()[index], yardstick_camera().T_camera_world
    stage = Stage([bundle])
    for before in moments():  # what an earlier moment left behind must not show
        stage.show([before])
    stage.show([moment])
    order = stage.sort(camera)
    gaussians, covariances, _ = stage_reference.frame(bundle, moment, camera)
    # Float32 rounding of metres, quaternions; turns of up to 0.6 rad through their chord below 3.6 degrees: 1.1e-6.
    np.testing.assert_allclose(stage.arrays.means, gaussians.means, atol=3e-6)
    same = np.abs((stage.arrays.quats * gaussians.quats_wxyz).sum(axis=1))
    np.testing.assert_allclose(same, 1, atol=1e-6)
    np.testing.assert_allclose(stage.arrays.log_scales, gaussians.log_scales, atol=3e-6)
    np.testing.assert_allclose(stage.arrays.covariances, covariances, rtol=1e-4, atol=2e-6 * covariances.max())
    # The order is of our own means: a rounding error may swap neighbours, so it is compared on equal input.
    np.testing.assert_array_equal(order, depth_order(stage.arrays.means, camera[2]))


def test_sorting_is_stable_and_takes_points_behind_and_at_infinity() -> None:
    bundle = make_bundle(count=500)
    stage = Stage([bundle])
    means = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    means[::7] = means[0]
    means[3], means[11], means[12] = (0, 0, 1e30), (0, 0, -1e30), (0, 0, np.nan)
    stage.arrays.means[:] = means
    order = stage.sort(np.eye(4)).copy()
    assert np.array_equal(np.sort(order), np.arange(500)) and order[0] == 3
    same = [row for row in order if row % 7 == 0]
    assert same == sorted(same)
    known = np.delete(np.arange(500), 12)
    depths = np.maximum(means[order, 2][order != 12], 0.01)
    # Neighbours may be out of order only within the key's precision.
    assert len(depths) == len(known) and (np.diff(depths) <= 2.0 ** -19 * np.abs(depths[1:]) + 1e-9).all()


def test_turns_between_frames_follow_the_arc() -> None:
    rng = np.random.default_rng(0)
    for size in (0.0, 1e-5, 1e-3, 0.03, 0.062, 0.07, 1.0, 3.0):
        a = rotations.from_rotvec(rng.normal(size=3))
        turn = rng.normal(size=3)
        b = rotations.multiply(rotations.from_rotvec(turn / np.linalg.norm(turn) * size), a)
        weight = rng.uniform()
        got = np.array(slerp(*np.float32(a), *np.float32(b), np.float32(weight)))
        left = rotations.multiply(got, rotations.slerp(a, b, weight) * [1, -1, -1, -1])
        assert np.linalg.norm(rotations.to_rotvec(left)) < 3e-6
        np.testing.assert_allclose(quaternion(*np.float32(turn)), rotations.from_rotvec(turn), atol=2e-7)


def test_a_clip_that_closes_runs_across_its_seam_and_walks_on() -> None:
    bundle = make_bundle(count=30, joints=3, frames=20)
    bundle = replace(bundle, clips=(replace(bundle.clips[0], motion=circling()),))
    loop = loop_of(bundle.clips[0].motion)
    assert loop.closed and loop.fade == 0 and loop.travel == pytest.approx((2.0, 0.0))
    actor = Actor(bundle)
    roots = []
    for _ in range(90):
        roots.append(stage_reference.pose(bundle, actor.moment()).root_translations[0])
        actor.advance(0.05)
    steps = np.diff(np.array(roots)[:, 0])
    np.testing.assert_allclose(steps, 0.05, atol=1e-6)
    assert np.abs(np.diff(np.array(roots)[:, 1])).max() < 0.02 * math.pi * 2 / 20 * 1.1
    actor.root_motion = False
    assert (stage_reference.pose(bundle, actor.moment()).root_translations[0, [0, 2]] == 0).all()


@pytest.mark.parametrize("speed", [1.0, -0.7])
def test_a_looping_clip_that_does_not_close_has_no_jump(speed: float) -> None:
    frames = 40
    motion = circling(80)
    motion = replace(motion, root_translations=motion.root_translations[:frames], quats_wxyz=motion.quats_wxyz[:frames])
    bundle = make_bundle(count=30, joints=3, frames=frames, basis=2)
    smooth = np.sin(np.linspace(0, 4, frames))[:, None].astype(np.float32) * np.float32([1, 0.5])
    residual = bundle.clips[0].residual
    residual = replace(residual, **{name: replace(getattr(residual, name), coefficients=smooth)
                                    for name in ("d_means", "d_rotations", "d_log_scales")})
    bundle = replace(bundle, clips=(Clip(name="half", motion=replace(motion, fps=30.0), residual=residual),))
    assert not loop_of(bundle.clips[0].motion).closed and loop_of(bundle.clips[0].motion).fade == 8
    actor, stage, means = Actor(bundle, speed=speed, time=1.0), Stage([bundle]), []
    for _ in range(1500):
        stage.show([actor.moment()])
        means.append(stage.arrays.means.copy())
        actor.advance(1 / 500)
    steps = np.linalg.norm(np.diff(means, axis=0), axis=2).max(axis=1)
    # The fade brings 1.5 times the fade's distance over its time; without it the seam is a step 40 times the median.
    assert steps.max() < 12 * np.median(steps)


def test_the_first_pass_shows_every_stored_frame_then_repeats() -> None:
    actor = Actor(two_clips(frames=12))
    loop = actor.looping
    assert not loop.closed and (loop.period, loop.fade) == (8, 4)
    shown = []
    for _ in range(24):
        layer = actor.moment().layers[0]
        assert layer.weight == 0
        shown.append(layer.before)
        actor.advance(1 / 30)
    assert shown == [*range(12), *range(4, 12), *range(4, 8)]


def test_fading_between_clips_begins_with_one_and_ends_with_the_other() -> None:
    bundle, stage = two_clips(), Stage([two_clips()])
    actor = Actor(bundle, time=0.2, loop=False)
    stage.show([actor.moment()])
    before = stage.arrays.means.copy()
    actor.start(1, fade_seconds=0.5)
    stage.show([actor.moment()])
    np.testing.assert_allclose(stage.arrays.means, before, atol=1e-6)
    shares = []
    for _ in range(60):
        actor.advance(0.01)
        shares.append(actor.moment().layers[-1].share if len(actor.moment().layers) > 1 else 1.0)
    assert shares[0] < 0.01 and shares[24] == pytest.approx(0.5, abs=0.03) and shares[-1] == 1
    assert (np.diff(shares) >= 0).all() and {layer.clip for layer in actor.moment().layers} == {1}
    alone = Actor(bundle, clip=1, time=actor.time, loop=False)
    assert actor.moment() == alone.moment()


def test_nested_layers_weigh_what_was_asked() -> None:
    actor = Actor(two_clips(frames=12))
    actor.clip, actor.time = 1, 14.6 / 30  # inside the loop fade of the second clip
    inner = actor.moment().layers
    assert len(inner) == 2
    actor.clip = 0
    actor.start(1, fade_seconds=1.0)
    actor.time = 14.6 / 30
    actor._fade.left = 0.5  # half way: equal shares
    layers = actor.moment().layers
    weights = [1.0]
    for layer in layers[1:]:
        weights = [w * (1 - layer.share) for w in weights] + [layer.share]
    assert sum(weights[:-2]) == pytest.approx(0.5)
    assert weights[-2:] == pytest.approx([0.5 * (1 - inner[1].share), 0.5 * inner[1].share])


def test_speed_reverse_hold_and_seek() -> None:
    actor = Actor(two_clips(), loop=False, speed=2.0)
    actor.advance(0.05)
    assert actor.frame() == pytest.approx(3.0)
    actor.advance(9.0)
    assert actor.frame() == 11
    actor.speed = -1.0
    actor.advance(0.1)
    assert actor.frame() == pytest.approx(8), "the time that it was held counts for nothing"
    actor.seek(4.5)
    assert actor.frame() == pytest.approx(4.5)
    actor.speed = -1.0
    actor.advance(0.1)
    assert actor.frame() == pytest.approx(1.5)
    actor.start(1)
    assert actor.frame() == 14, "backwards begins at the end"
    actor.advance(99.0)
    assert actor.frame() == 0
    with pytest.raises(InputError, match="has clips 0 to 1, not 2"):
        actor.start(2)


def test_several_avatars_stand_apart_and_are_sorted_together() -> None:
    aside = np.eye(4)[:3].copy()
    aside[0, 3] = 2.0
    bundle, other = two_clips(), make_bundle(5, count=120)
    stage = Stage([bundle, other], [np.eye(4)[:3], aside])
    moment = Moment(layers=(Layer(clip=0, before=1, after=2, weight=0.5),))
    stage.show([moment, moment])
    order = stage.sort(yardstick_camera().T_camera_world)
    assert stage.count == 420 and np.array_equal(np.sort(order), np.arange(420))
    alone = stage_reference.gaussians_at(other, moment)
    np.testing.assert_allclose(stage.arrays.means[300:], alone.means + np.float32([2, 0, 0]), atol=2e-6)
    np.testing.assert_array_equal(order, depth_order(stage.arrays.means, yardstick_camera().T_camera_world[2]))


def test_a_frame_at_the_yardstick_is_fifteen_times_faster_than_numpy() -> None:
    bundle = yardstick_bundle()
    actor, stage, camera = Actor(bundle, time=0.512), Stage([bundle]), yardstick_camera().T_camera_world

    def fast() -> None:
        stage.show([actor.moment()])
        stage.sort(camera)

    best, _ = bench_play.time_ms(fast, runs=10)
    slow, _ = bench_play.time_ms(lambda: stage_reference.frame(bundle, actor.moment(), camera), runs=2, warm_up=0)
    # Measured 74; the target of 15 leaves a busy machine room.
    assert slow / best > 15


def test_a_soak_keeps_time_and_memory(tmp_path) -> None:
    path = tmp_path / "a.ani3d"
    write_bundle(two_clips(), path)
    figures = bench_play.soak(path, frames=3000)
    assert figures["not_finite_frames_count"] == 0 and figures["clock_drift_s"] < 1e-9
    # Three thousand frames of 300 Gaussians would leave 30 MiB behind if each kept its arrays.
    assert figures["memory_growth_mib"] < 4


def test_bench_reports_every_phase() -> None:
    figures = bench_play.bench_play(runs=2)
    assert {"pose_ms_min", "decode_ms_min", "skin_and_covariance_ms_min", "sort_ms_min", "ratio_to_numpy_reference",
            "residual_bytes_per_frame_inflated", "memory_peak_mib"} <= set(figures)
    assert all(value >= 0 for value in figures.values() if not isinstance(value, str))
    decoding = bench_play.bench_decode(runs=2)
    assert decoding["d_means_bits"] == 8 and decoding["between_frames_ms_min"] > 0
