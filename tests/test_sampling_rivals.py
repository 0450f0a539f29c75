"""The rival samplers on a prior whose velocity is known in closed form, and against their equations."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from baker.restore_config import SamplingConfig
from baker.sampling import sample, step_noise
from baker.sampling_rivals import (
    RIVALS,
    RivalName,
    Schedule,
    box_response,
    flow_edit,
    gaussian_response,
    hfs_sdedit,
    mcs,
    nc_sdedit,
    sdedit,
)

VARIANCE = 0.16
"""Of the closed-form prior N(mean, VARIANCE)."""
SHAPE = (2, 3, 16, 12)
"""[C t h w]."""


def gaussian_velocity(mean: torch.Tensor | float) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """The exact velocity of data drawn from N(mean, VARIANCE)."""
    def velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
        gain = (1 - sigma) * VARIANCE / ((1 - sigma) ** 2 * VARIANCE + sigma**2)
        return (x - mean - gain * (x - (1 - sigma) * mean)) / sigma

    return velocity


def coarse(seed: int = 0) -> torch.Tensor:
    return 3.0 + step_noise(torch.empty(SHAPE, dtype=torch.float64), seed=seed, step=99)


def low(x: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    return torch.fft.ifft2(torch.fft.fft2(x) * response).real


def test_sdedit_is_the_sampler_without_noise_and_guidance_bit_for_bit() -> None:
    y, velocity = coarse(), gaussian_velocity(1.0)
    expected = sample(velocity, y, torch.zeros_like(y), config=SamplingConfig(gamma=0.0, guidance=0.0), seed=3)
    assert torch.equal(sdedit(velocity, y, torch.ones_like(y), schedule=Schedule(), seed=3), expected)


@pytest.mark.parametrize("name", list(RIVALS))
def test_a_rival_is_a_function_of_its_seed_and_finite(name: RivalName) -> None:
    y, mask = coarse(), torch.ones(1, *SHAPE[1:], dtype=torch.float64)
    first, again, other = (RIVALS[name](gaussian_velocity(1.0), y, mask, schedule=Schedule(steps=6), seed=seed)
                           for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert first.shape == y.shape and bool(first.isfinite().all())
    assert not torch.equal(first, other)


def test_flowedit_moves_a_source_gaussian_onto_the_target_exactly() -> None:
    # Two Gaussians of one variance: from pure noise the edit is the difference of the means, (1 - s) of it at level
    # s, which is linear in s, so Euler steps are exact and the noise cancels.
    y, shift_by = coarse(), torch.linspace(-2, 2, 12, dtype=torch.float64)
    got = flow_edit(gaussian_velocity(1.0 + shift_by), y, torch.zeros_like(y), schedule=Schedule(t0=1.0, steps=9),
                    seed=5, source=gaussian_velocity(1.0))
    torch.testing.assert_close(got, y + shift_by, rtol=0, atol=1e-12)


def test_flowedit_leaves_the_coarse_video_where_source_and_target_agree() -> None:
    y = coarse()
    got = flow_edit(gaussian_velocity(1.0), y, torch.zeros_like(y), schedule=Schedule(), seed=5,
                    source=gaussian_velocity(1.0), draws=2)
    torch.testing.assert_close(got, y, rtol=0, atol=1e-12)


def test_flowedit_without_a_source_model_uses_the_velocity_of_a_known_source() -> None:
    y = coarse()

    def knows_y(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return (x - y) / sigma

    arguments = {"schedule": Schedule(), "seed": 2}
    with_model = flow_edit(gaussian_velocity(1.0), y, torch.zeros_like(y), source=knows_y, **arguments)
    torch.testing.assert_close(flow_edit(gaussian_velocity(1.0), y, torch.zeros_like(y), **arguments), with_model,
                               rtol=0, atol=1e-12)


def test_mcs_of_weight_zero_is_sdedit_and_acts_only_inside_the_mask() -> None:
    y, velocity = coarse(), gaussian_velocity(1.0)
    mask = torch.zeros_like(y)
    mask[..., :6] = 1
    plain = sdedit(velocity, y, mask, schedule=Schedule(), seed=3)
    none = mcs(velocity, y, mask, schedule=Schedule(), seed=3, weight=0.0)
    torch.testing.assert_close(none, plain, rtol=0, atol=1e-12)
    guided = mcs(velocity, y, mask, schedule=Schedule(), seed=3)
    torch.testing.assert_close(guided[..., 6:], plain[..., 6:], rtol=0, atol=1e-12)
    assert (guided - y)[..., :6].abs().mean() < 0.8 * (plain - y)[..., :6].abs().mean()


@pytest.mark.parametrize("name", list(RIVALS))
def test_a_rival_starts_from_pure_noise_too(name: RivalName) -> None:
    y, mask, schedule = coarse(), torch.ones(1, *SHAPE[1:], dtype=torch.float64), Schedule(t0=1.0, steps=4)
    assert schedule.sigmas[0] == 1.0
    assert bool(RIVALS[name](gaussian_velocity(1.0), y, mask, schedule=schedule, seed=0).isfinite().all())


def test_mcs_blends_noise_of_the_predicted_deviation() -> None:
    # One step to sigma' = 0 shows the blended noise e: x0 = (x - s e) / (1 - s).
    y, schedule = coarse(), Schedule(steps=1)
    s = schedule.sigmas[0]
    x = s * step_noise(y, seed=4, step=0) + (1 - s) * y
    x1 = x + (1 - s) * gaussian_velocity(1.0)(x, s)
    got = mcs(gaussian_velocity(1.0), y, torch.ones_like(y), schedule=schedule, seed=4, weight=1.0)
    noise = (x - (1 - s) * got) / s
    assert noise.std().item() == pytest.approx(x1.std().item(), rel=1e-9)
    exact = step_noise(y, seed=4, step=0)
    torch.testing.assert_close(noise / noise.std(), exact / exact.std(), rtol=0, atol=1e-9)


def test_hfs_follows_its_recursion_in_every_frequency() -> None:
    # A white Gaussian prior acts on each frequency alone: the recursion is a number per frequency.
    y, schedule = coarse(), Schedule()
    eps = step_noise(y, seed=6, step=0)
    response = gaussian_response(SHAPE[-2:], radius=0.04).double()
    spectrum_y, spectrum_eps = torch.fft.fft2(y), torch.fft.fft2(eps)
    s0 = schedule.sigmas[0]
    x = (1 - s0) * spectrum_y + s0 * spectrum_eps
    for s, following in pairwise(schedule.sigmas):
        gain = (1 - s) * VARIANCE / ((1 - s) ** 2 * VARIANCE + s**2)
        x = x * (1 + (following - s) * (1 - gain) / s)
        if following >= 0.8:
            x = response * x + (1 - response) * ((1 - following) * spectrum_y + following * spectrum_eps)
    got = hfs_sdedit(gaussian_velocity(0.0), y, torch.zeros_like(y), schedule=schedule, seed=6, until=0.8)
    torch.testing.assert_close(torch.fft.fft2(got), x, rtol=0, atol=1e-9)
    plain = sdedit(gaussian_velocity(0.0), y, torch.zeros_like(y), schedule=schedule, seed=6)
    # The mean of a picture passes the filter whole; the finest pattern does not pass at all.
    torch.testing.assert_close(got.mean((-2, -1)), plain.mean((-2, -1)), rtol=0, atol=1e-9)
    assert (got - plain).std() > 0.01


def test_nc_gives_the_predicted_start_the_low_frequencies_of_the_coarse_video() -> None:
    y, schedule = coarse(), Schedule(steps=1)  # one step returns x0 at the start level
    response = box_response(SHAPE[-2:], share=0.4).double()
    velocity = gaussian_velocity(1.0)
    s = schedule.sigmas[0]
    gain = (1 - s) * VARIANCE / ((1 - s) ** 2 * VARIANCE + s**2)
    before = low(sdedit(velocity, y, torch.zeros_like(y), schedule=schedule, seed=8) - y, response)
    for repeats in (1, 5):
        after = nc_sdedit(velocity, y, torch.zeros_like(y), schedule=schedule, seed=8, window=0.4, repeats=repeats)
        # Each repeat takes (1 - s) of the difference out of x, and x0 follows x with the gain.
        torch.testing.assert_close(low(after - y, response), (1 - (1 - s) * gain) ** repeats * before, rtol=0,
                                   atol=1e-9)


def test_nc_leaves_the_high_frequencies_of_the_prediction() -> None:
    y, schedule, velocity = coarse(), Schedule(steps=1), gaussian_velocity(0.0)
    response = box_response(SHAPE[-2:], share=0.4).double()
    plain = sdedit(velocity, y, torch.zeros_like(y), schedule=schedule, seed=8)
    got = nc_sdedit(velocity, y, torch.zeros_like(y), schedule=schedule, seed=8, window=0.4)
    high = [x - low(x, response) for x in (plain, got)]
    torch.testing.assert_close(high[0], high[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 1.0, 4.0])
def test_a_window_that_passes_all_or_nothing_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="window"):
        box_response((8, 8), share=share)
