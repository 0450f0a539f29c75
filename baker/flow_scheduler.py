"""Self-guided stochastic sampling as a `diffusers` scheduler: the same equations as `baker/sampling.py`, for anyone's
flow-matching pipeline.

    pipe.scheduler = SelfGuidedFlowScheduler.from_config(pipe.scheduler.config, shift=5.0)
    pipe.scheduler.guide(coarse_latents, mask, seed=0)
    pipe(video=..., strength=0.6, num_inference_steps=30, ...)

Levels go evenly from 1 to 0 before the shift and are shifted once (diffusers' own Euler scheduler shifts twice, facts
§4.4). So a video-to-video `strength` s at N steps starts at `SamplingConfig.t0` = s and takes s N steps, where s N is
whole. Letters as in `baker/sampling.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from baker.restore_config import shifted_sigmas
from baker.sampling import guided_step, step_noise

TRAIN_STEPS = 1000
"""Timesteps are 1000 sigma, as flow models expect."""


@dataclass(frozen=True)
class SchedulerStep:
    """What a pipeline takes from a step."""

    prev_sample: Tensor
    """x at the next noise level."""


class SelfGuidedFlowScheduler(SchedulerMixin, ConfigMixin):
    """A scheduler whose step is Algorithm 1's; without `guide` it samples without guidance."""

    order = 1

    @register_to_config
    def __init__(self, num_train_timesteps: int = TRAIN_STEPS, shift: float = 5.0, gamma: float | str = "sigma",
                 guidance: float = 0.2, guidance_form: str = "paper", seed: int = 0) -> None:
        """`shift`, `gamma`, `guidance` and `guidance_form` as in `SamplingConfig`; `seed` seeds the fresh noise."""
        if num_train_timesteps != TRAIN_STEPS:
            raise ValueError(f"num_train_timesteps is {num_train_timesteps}; flow models here take {TRAIN_STEPS}")
        self.y: Tensor | None = None
        self.mask: Tensor | None = None
        self.seed = seed
        self.set_timesteps(TRAIN_STEPS)

    def guide(self, y: Tensor, mask: Tensor, *, seed: int | None = None) -> None:
        """Pull towards the coarse latents `y` inside `mask`, both of the pipeline's latents' shape or broadcast to it
        ([B C t h w] in Wan's). `seed` replaces the configured one."""
        self.y, self.mask = y, mask
        self.seed = self.seed if seed is None else seed

    @property
    def init_noise_sigma(self) -> float:
        """What pure noise is multiplied with."""
        return 1.0

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """`num_inference_steps` levels from 1, and 0 after them."""
        levels = shifted_sigmas(t0=1.0, steps=num_inference_steps, shift=self.config.shift)
        self.num_inference_steps = num_inference_steps
        self.sigmas = torch.tensor(levels, dtype=torch.float64)
        self.timesteps = (self.sigmas[:-1] * TRAIN_STEPS).to(device=device, dtype=torch.float32)

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Pipelines announce their first step here; levels are found by timestep instead."""

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:
        """Flow models take x as it is."""
        return sample

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """(6): x = sigma eps + (1 - sigma) y, at one timestep for the whole batch."""
        sigma = float(self.sigmas[self._index(timesteps)])
        return sigma * noise + (1 - sigma) * original_samples

    def step(self, model_output: Tensor, timestep: Tensor | float, sample: Tensor, return_dict: bool = True,
             ) -> SchedulerStep | tuple[Tensor]:
        """From x at `timestep` and the velocity there to x at the next level."""
        index = self._index(torch.as_tensor(timestep))
        sigma, following = float(self.sigmas[index]), float(self.sigmas[index + 1])
        x = sample.float()
        y = None if self.y is None else self.y.to(x.device, x.dtype)
        mask = None if self.mask is None else self.mask.to(x.device, x.dtype)
        moved = guided_step(x, model_output.to(x.dtype), sigma, following, y=y, mask=mask, gamma=self.config.gamma,
                            guidance=self.config.guidance, guidance_form=self.config.guidance_form,
                            noise=lambda: step_noise(x, seed=self.seed, step=index + 1))
        moved = moved.to(model_output.dtype)
        return SchedulerStep(prev_sample=moved) if return_dict else (moved,)

    def __len__(self) -> int:
        return TRAIN_STEPS

    def _index(self, timestep: Tensor) -> int:
        """The level nearest to a timestep."""
        time = timestep.double().flatten()[0].cpu()
        return int((self.sigmas[:-1] * TRAIN_STEPS - time).abs().argmin())
