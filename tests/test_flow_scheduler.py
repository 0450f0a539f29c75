"""The diffusers scheduler: the sampler's own numbers, saved and loaded, in a stock Wan pipeline of random weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel, WanVideoToVideoPipeline

from baker.flow_scheduler import SelfGuidedFlowScheduler
from baker.restore_config import SamplingConfig
from baker.sampling import guided_step, sample, step_noise

SHAPE = (1, 4, 2, 4, 6)
"""[B C t h w]."""


def velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.tanh(x * (1 + sigma)) - 0.3 * x


def run(scheduler: SelfGuidedFlowScheduler, y: torch.Tensor, *, start: int, seed: int) -> torch.Tensor:
    """What a video-to-video pipeline does from its step `start` on."""
    times = scheduler.timesteps[start:]
    x = scheduler.add_noise(y, step_noise(y, seed=seed, step=0), times[:1])
    for time in times:
        x = scheduler.step(velocity(x, float(time) / 1000), time, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("form", ["paper", "released"])
@pytest.mark.parametrize("gamma", ["sigma", 0.0, 1.0])
def test_its_steps_are_the_samplers(gamma: float | str, form: str) -> None:
    y = step_noise(torch.empty(SHAPE), seed=0, step=77)
    mask = torch.zeros(SHAPE[2:])
    mask[..., :3] = 1
    config = SamplingConfig(t0=0.6, steps=6, gamma=gamma, guidance=0.2, guidance_form=form)
    scheduler = SelfGuidedFlowScheduler(gamma=gamma, guidance=0.2, guidance_form=form)
    scheduler.set_timesteps(10)
    np.testing.assert_allclose(scheduler.sigmas[4:], config.sigmas, atol=1e-15)
    scheduler.guide(y, mask, seed=3)

    # The scheduler counts its steps from 1, the sampler from t0: shift its noise's numbers by the 4 steps left out.
    x = config.sigmas[0] * step_noise(y, seed=3, step=0) + (1 - config.sigmas[0]) * y
    scheduler_x = run(scheduler, y, start=4, seed=3)
    for step, (sigma, following) in enumerate(pairwise(config.sigmas)):
        x = guided_step(x, velocity(x, sigma), sigma, following, y=y, mask=mask, gamma=gamma, guidance=0.2,
                        guidance_form=form, noise=lambda step=step, x=x: step_noise(x, seed=3, step=step + 5))
    torch.testing.assert_close(scheduler_x, x, rtol=0, atol=2e-5)


def test_without_noise_and_guidance_it_gives_the_samplers_result() -> None:
    y = step_noise(torch.empty(SHAPE), seed=0, step=77)
    scheduler = SelfGuidedFlowScheduler(gamma=0.0, guidance=0.0)
    scheduler.set_timesteps(30)
    expected = sample(velocity, y, torch.zeros_like(y), config=SamplingConfig(gamma=0.0, guidance=0.0), seed=3)
    # Levels differ by float32 timesteps: 1e-7 of sigma over 18 steps.
    torch.testing.assert_close(run(scheduler, y, start=12, seed=3), expected, rtol=0, atol=1e-4)


def test_config_is_saved_and_loaded(tmp_path: Path) -> None:
    made = SelfGuidedFlowScheduler(shift=3.0, gamma=0.5, guidance=0.1, guidance_form="released", seed=9)
    made.save_config(str(tmp_path))
    loaded = SelfGuidedFlowScheduler.from_pretrained(str(tmp_path))
    again = SelfGuidedFlowScheduler.from_config(made.config, guidance=0.3)
    assert (loaded.config.shift, loaded.config.gamma, loaded.config.guidance) == (3.0, 0.5, 0.1)
    assert (again.config.guidance, again.config.guidance_form, again.seed) == (0.3, "released", 9)
    made.set_timesteps(12)
    loaded.set_timesteps(12)
    assert torch.equal(made.timesteps, loaded.timesteps)


def tiny_parts() -> tuple[WanTransformer3DModel, AutoencoderKLWan]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
                               temperal_downsample=[False, True, True])
        transformer = WanTransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16,
            text_dim=32, freq_dim=256, ffn_dim=32, num_layers=2, cross_attn_norm=True,
            qk_norm="rms_norm_across_heads", rope_max_seq_len=32)
    return transformer.eval(), vae.eval()


def embeddings() -> torch.Tensor:
    return step_noise(torch.empty(1, 8, 32), seed=1, step=1)


def test_it_runs_in_stock_wan_pipelines() -> None:
    transformer, vae = tiny_parts()
    scheduler = SelfGuidedFlowScheduler()
    text = {"prompt_embeds": embeddings(), "negative_prompt_embeds": -embeddings()}
    to_video = WanPipeline(tokenizer=None, text_encoder=None, transformer=transformer, vae=vae, scheduler=scheduler)
    to_video.set_progress_bar_config(disable=True)
    frames = to_video(height=16, width=16, num_frames=9, num_inference_steps=2, output_type="np", **text).frames
    assert frames.shape == (1, 9, 16, 16, 3) and bool(np.isfinite(frames).all())
    edit = WanVideoToVideoPipeline(tokenizer=None, text_encoder=None, transformer=transformer, vae=vae,
                                   scheduler=scheduler)
    edit.set_progress_bar_config(disable=True)
    video = np.random.default_rng(0).integers(0, 255, (9, 16, 16, 3), dtype=np.uint8)

    def restored(guidance: float) -> torch.Tensor:
        edit.scheduler = SelfGuidedFlowScheduler.from_config(scheduler.config, guidance=guidance)
        edit.scheduler.guide(torch.full((1, 16, 3, 2, 2), 2.0), torch.tensor([1.0, 0.0]), seed=5)
        return edit(video=[frame for frame in video], strength=0.6, num_inference_steps=5, height=16, width=16,
                    generator=torch.Generator().manual_seed(1), output_type="latent", **text).frames

    free, guided = restored(0.0), restored(1.0)
    # Full guidance returns y inside the mask, here the left half.
    torch.testing.assert_close(guided[..., 0], torch.full((1, 16, 3, 2), 2.0), rtol=0, atol=2e-2)
    assert not torch.allclose(free[..., 0], guided[..., 0], atol=0.1)
