"""Restoring any length and size: windows cover, fades sum, results are reproducible, coarse pixels kept on request."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as change
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baker.conditions import Conditions
from baker.priors import VideoPrior
from baker.priors.codec import pool_mask
from baker.restore import fade, restore, window_starts
from baker.restore_config import RestoreConfig, SamplingConfig


@dataclass(frozen=True)
class PullingPrior:
    """A prior whose x0 is always `level`; its latents are means of 4 x 4 pixels of one frame in four."""

    level: float
    window: int = 9
    size_multiple: int = 16
    fingerprint: str = "pulling"
    device: str = "cpu"

    def encode(self, rgb: np.ndarray) -> Tensor:
        video = torch.from_numpy(rgb).float()[::4] / 255
        t, h, w, _ = video.shape
        return video.reshape(t, h // 4, 4, w // 4, 4, 3).mean((2, 4)).permute(3, 0, 1, 2)

    def decode(self, latents: Tensor) -> np.ndarray:
        video = latents.permute(1, 2, 3, 0).repeat_interleave(4, 1).repeat_interleave(4, 2)
        video = torch.cat([video[:1], video[1:].repeat_interleave(4, 0)])
        return (video * 255).round().clamp(0, 255).to(torch.uint8).numpy()

    def latent_mask(self, preserved: np.ndarray) -> Tensor:
        return pool_mask(torch.from_numpy(preserved))

    def prepare(self, conditions: Conditions) -> Any:
        assert len(conditions.coarse) == self.window or len(conditions.coarse) % 4 == 1
        return None

    def velocity(self, x: Tensor, sigma: float, prepared: Any) -> Tensor:
        return (x - self.level) / sigma


def conditions_of(frames: int, height: int = 32, width: int = 32) -> Conditions:
    rng = np.random.default_rng(0)
    video = rng.integers(0, 255, (frames, height, width, 3), np.uint8)
    return Conditions(coarse=video, pose=video, reference=video[0],
                      preserved=np.zeros((frames, height, width), np.uint8))


PLAIN = RestoreConfig(sampling=SamplingConfig(steps=3), overlap=3)


def test_the_stand_in_is_a_prior() -> None:
    assert isinstance(PullingPrior(0.5), VideoPrior)


@pytest.mark.parametrize("frames", [1, 2, 5, 9, 10, 23, 40])
@pytest.mark.parametrize("size", [(32, 32), (30, 47)])
def test_any_length_and_size_comes_back_whole(frames: int, size: tuple[int, int]) -> None:
    video = restore(PullingPrior(0.5), conditions_of(frames, *size), config=PLAIN, seed=1)
    assert video.shape == (frames, *size, 3)
    # Every window lands on the level, so the cross-fades must not darken or brighten: one rounding.
    assert np.abs(video.astype(int) - 128).max() <= 1


@pytest.mark.parametrize(("frames", "length", "overlap"), [(33, 33, 9), (34, 33, 9), (91, 33, 9), (200, 33, 9),
                                                           (10, 9, 3), (57, 33, 9), (58, 33, 9)])
def test_windows_cover_the_video_and_share_enough(frames: int, length: int, overlap: int) -> None:
    starts = window_starts(frames, length, overlap=overlap)
    assert starts[0] == 0 and starts[-1] + length == frames
    shared = [a + length - b for a, b in pairwise(starts)]
    assert all(s >= overlap for s in shared)
    fewer = len(starts) - 1
    assert fewer < 1 or fewer * (length - overlap) + overlap < frames


def test_fades_of_two_windows_sum_to_one() -> None:
    starts, length = [0, 24, 48], 33
    total = np.zeros(48 + length)
    for k, start in enumerate(starts):
        total[start : start + length] += fade(starts, k, length)
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others() -> None:
    # gamma = 1 and one step from the end leaves noise only through the guidance-free x0, so use the mask to let the
    # coarse video and the noise level matter.
    @dataclass(frozen=True)
    class Leaky(PullingPrior):
        def velocity(self, x: Tensor, sigma: float, prepared: Any) -> Tensor:
            return 0.2 * x

    prior, conditions = Leaky(0.5), conditions_of(20)
    first, again, other = (restore(prior, conditions, config=PLAIN, seed=s) for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_guidance_keeps_the_preserved_region_near_the_coarse_video() -> None:
    conditions = conditions_of(9)
    conditions.preserved[:, :, :16] = 255
    config = change(PLAIN, sampling=SamplingConfig(steps=3, guidance=1.0))
    prior = PullingPrior(0.5)
    video = restore(prior, conditions, config=config, seed=0)
    through_codec = prior.decode(prior.encode(conditions.coarse))
    assert np.abs(video[:, :, :16].astype(int) - through_codec[:, :, :16]).max() <= 1
    assert np.abs(video[:, :, 16:].astype(int) - 128).max() <= 1


def test_coarse_pixels_are_kept_only_on_request_and_away_from_edges() -> None:
    conditions = conditions_of(9)
    conditions.preserved[:, :, :16] = 255
    kept = restore(PullingPrior(0.5), conditions, config=change(PLAIN, keep_preserved=True, keep_erosion=2), seed=0)
    free = restore(PullingPrior(0.5), conditions, config=PLAIN, seed=0)
    assert np.array_equal(kept[:, :, :14], conditions.coarse[:, :, :14])
    assert np.array_equal(kept[:, :, 14:], free[:, :, 14:])


def test_progress_hears_of_every_window() -> None:
    heard = []
    restore(PullingPrior(0.5), conditions_of(20), config=PLAIN, seed=0,
            progress=lambda done, total, text: heard.append((done, total)))
    assert heard == [(k + 1, len(heard)) for k in range(len(heard))] and len(heard) == 3
