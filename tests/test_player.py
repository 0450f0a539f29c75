"""The player: whole frames equal the reference, time between frames, looping, orbits, inspection."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_bundle import make_bundle

from runtime import fast_offsets, rotations, skinning
from runtime.bundle import write_bundle
from runtime.compositing import composite
from runtime.errors import InputError
from runtime.inspect import inspect_bundle
from runtime.offsets import residual_at
from runtime.player import Player, orbit_frames
from runtime.types import Bundle


@pytest.fixture
def bundle() -> Bundle:
    return make_bundle(count=200, frames=5)


def same_turn(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of quaternions up to sign."""
    return float(np.minimum(np.abs(a - b).max(-1), np.abs(a + b).max(-1)).max())


def reference(bundle: Bundle, frame: int, *, residual: bool = True):
    """Frame by the numpy reference alone."""
    clip, gaussians = bundle.clips[0], bundle.gaussians
    if residual:
        gaussians = skinning.apply_residual(gaussians, clip.residual.moving, *residual_at(clip.residual, frame))
    return skinning.pose_gaussians(gaussians, bundle.rig, clip.motion, frame)


@pytest.mark.parametrize("residual", [False, True])
def test_whole_frames_equal_the_numpy_reference(bundle: Bundle, residual: bool) -> None:
    player = Player(bundle)
    assert (player.frame_count, player.fps, player.duration) == (5, 30.0, pytest.approx(4 / 30))
    for frame in range(5):
        got = player.gaussians_at(frame / player.fps, residual=residual)
        expected = reference(bundle, frame, residual=residual)
        np.testing.assert_allclose(got.means, expected.means, atol=1e-6)
        assert same_turn(got.quats_wxyz, expected.quats_wxyz) < 1e-6
        np.testing.assert_allclose(got.log_scales, expected.log_scales, atol=1e-5)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("texel_type", [np.int8, np.int16])
def test_fast_offsets_equal_the_numpy_reference(dense: bool, texel_type: type) -> None:
    residual = make_bundle(count=300, basis=20, dense=dense, texel_type=texel_type).clips[0].residual
    for frame in (-1.0, 0.0, 2.0, 2.3, 3.75, 4.0, 9.0):
        for fast, slow in zip(fast_offsets.residual_at(residual, frame), residual_at(residual, frame), strict=True):
            assert fast.dtype == np.float32
            # Sums of 20 terms below 1 in another order; worst measured 2e-7.
            np.testing.assert_allclose(fast, slow, atol=3e-6)


def test_the_residual_moves_only_moving_gaussians(bundle: Bundle) -> None:
    player = Player(bundle)
    rigid, baked = player.gaussians_at(0.05, residual=False), player.gaussians_at(0.05)
    still = np.delete(np.arange(200), bundle.clips[0].residual.moving)
    assert np.array_equal(rigid.means[still], baked.means[still])
    assert np.abs(rigid.means - baked.means)[bundle.clips[0].residual.moving].max() > 1e-3


def test_between_frames_the_pose_is_halfway(bundle: Bundle) -> None:
    motion, player = bundle.clips[0].motion, Player(bundle)
    between = player.motion_at(1.5 / 30)
    np.testing.assert_allclose(between.root_translations[0], motion.root_translations[1:3].mean(axis=0), atol=1e-6)
    half = rotations.normalize(motion.quats_wxyz[1] + motion.quats_wxyz[2])
    assert same_turn(between.quats_wxyz[0], half) < 1e-6


def test_time_is_continuous_within_a_clip(bundle: Bundle) -> None:
    player, step = Player(bundle), 1e-5
    for time in np.linspace(0, 0.132, 23):
        a, b = player.gaussians_at(float(time)), player.gaussians_at(float(time) + step)
        # Poses and offsets are random from frame to frame here; the fastest measured is 94 m/s.
        assert np.abs(a.means - b.means).max() < 120 * step


def test_a_looping_clip_shows_every_frame_once_and_holds_before_the_seam(bundle: Bundle) -> None:
    player = Player(bundle)
    assert [player.frame_at(t / 30) for t in range(11)] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0]
    assert player.frame_at(4.5 / 30) == 4 and player.frame_at(-1 / 30) == 4
    assert player.frame_at(5.25 / 30) == pytest.approx(0.25)
    assert [player.frame_at(t, loop=False) for t in (-1.0, 0.0, 9.0)] == [0, 0, 4]


def test_a_clip_of_one_frame_plays() -> None:
    player = Player(make_bundle(count=20, frames=1))
    assert player.duration == 0 and player.frame_at(3.7) == 0 == player.frame_at(3.7, loop=False)
    assert np.array_equal(player.gaussians_at(0.3).means, player.gaussians_at(0).means)


def test_an_absent_clip_is_refused(bundle: Bundle) -> None:
    for clip in (1, -1):
        with pytest.raises(InputError, match="has clips 0 to 0"):
            Player(bundle, clip)


def test_an_orbit_circles_the_figure_and_ends_where_it_began(bundle: Bundle) -> None:
    still = replace(bundle.clips[0].motion, root_translations=np.zeros((5, 3), np.float32))
    big = replace(bundle.gaussians, log_scales=np.full((200, 3), -3.0, np.float32),
                  opacity_logits=np.full(200, 4, np.float32))
    bundle = replace(bundle, gaussians=big, clips=(replace(bundle.clips[0], motion=still),))
    frames = list(orbit_frames(Player(bundle), size=(48, 64), turns=2, seconds=20 / 30, background=(1.0, 0.0, 0.0)))
    assert len(frames) == 20 and all(f.shape == (64, 48, 3) and f.dtype == np.uint8 for f in frames)
    assert (frames[0][0, 0] == (255, 0, 0)).all(), "the corner shows the background"
    # Two turns and four loops in 20 frames: the second half repeats the first.
    assert all(np.array_equal(a, b) for a, b in zip(frames[:10], frames[10:], strict=True))
    assert not np.array_equal(frames[0], frames[5])
    fixed = list(orbit_frames(Player(bundle), size=(48, 64), turns=0, residual=False))
    assert len(fixed) == 4


def test_compositing_equals_its_formula_and_clips() -> None:
    rng = np.random.default_rng(0)
    alpha = rng.uniform(0, 1, (31, 17, 1)).astype(np.float32)
    rgba = np.concatenate([alpha * rng.uniform(-0.2, 1.4, (31, 17, 3)).astype(np.float32), alpha], axis=2)
    color = rgba[..., :3] + (1 - rgba[..., 3:]) * np.array([0.2, 0.5, 1.0], np.float32)
    expected = (np.clip(color, 0, 1) * 255 + 0.5).astype(np.uint8)
    got = composite(rgba, (0.2, 0.5, 1.0))
    # A fused multiply-add may round a value on the border of two steps the other way.
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1 and (got == expected).mean() > 0.99
    assert got.min() == 0 and got.max() == 255


def test_inspect_counts_what_is_in_the_file(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "a.ani3d"
    sizes = write_bundle(bundle, path)
    facts = json.loads(json.dumps(inspect_bundle(path)))
    moving = len(bundle.clips[0].residual.moving)
    assert (facts["gaussians"], facts["moving_gaussians"], facts["joints"], facts["frames"]) == (200, moving, 4, 5)
    assert facts["fps"] == 30 and facts["duration_s"] == pytest.approx(4 / 30, abs=1e-4)
    assert facts["position_error_mm_p99"] == 0.25 and facts["psnr_db"] is None
    assert facts["block_bytes"] | {"manifest.json": sizes["manifest.json"]} == sizes
    assert facts["canonical_bytes"] + facts["clip_bytes"] == sum(sizes.values()) < facts["file_bytes"]
    assert facts["bytes_per_frame"] == pytest.approx(facts["clip_bytes"] / 5, abs=0.1)
    assert facts["clips"][0]["residual"]["d_means"] == {"encoding": "basis", "basis_textures": 3, "depth_bits": 8}
    with pytest.raises(InputError, match="no such file"):
        inspect_bundle(tmp_path / "absent.ani3d")
