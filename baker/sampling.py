"""Self-guided stochastic sampling of a flow model (paper 4.2, Algorithm 1; DESIGN §5), on plain tensors.

Letters: x the noisy latents, x0 and x1 the clean and the noise sample predicted from x, y the coarse latents,
M the preserved mask, v the velocity (noise - data), s the noise level sigma in [0, 1] (1 is pure noise),
s' the next one. All tensors share one shape, or M broadcasts to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
"""(x, sigma) to the velocity at x: the flow model with its conditions bound."""


@dataclass(frozen=True)
class SamplingConfig:
    """Settings of one sampling run; the defaults are the paper's (5.1)."""

    t0: float = 0.6
    """Start time in (0, 1], *before* the shift: 0.6 at shift 5 is sigma 0.882 (facts §1.3)."""
    steps: int = 18
    """Velocity evaluations from t0 to 0 (the paper's N = 30 counts a full schedule: 30 * 0.6)."""
    shift: float = 5.0
    """Timestep shift k: sigma = k t / (1 + (k - 1) t)."""
    gamma: Literal["sigma"] | float = "sigma"
    """Share of fresh noise per step (8): "sigma" is the paper, 0 the ODE, 1 the released code."""
    guidance: float = 0.2
    """lambda, the pull of x0 towards y inside M (10); 0 is off."""
    guidance_form: Literal["paper", "released"] = "paper"
    """"paper" pulls by lambda, "released" by lambda (1 - sigma) as the released code does (facts §1.3)."""

    def __post_init__(self) -> None:
        if not 0 < self.t0 <= 1:
            raise ValueError(f"t0 is {self.t0}; it must be in (0, 1]")
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}; it must be at least 1")
        if self.shift <= 0:
            raise ValueError(f"shift is {self.shift}; it must be positive")
        if self.gamma != "sigma" and not 0 <= float(self.gamma) <= 1:
            raise ValueError(f'gamma is {self.gamma}; it must be "sigma" or in [0, 1]')
        if not 0 <= self.guidance <= 1:
            raise ValueError(f"guidance is {self.guidance}; it must be in [0, 1]")

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise levels visited, `steps` + 1 of them, the last one 0."""
        return shifted_sigmas(t0=self.t0, steps=self.steps, shift=self.shift)


def shifted_sigmas(*, t0: float, steps: int, shift: float) -> tuple[float, ...]:
    """`steps` + 1 noise levels from the shifted t0 down to 0, evenly spaced before the shift."""
    times = np.linspace(t0, 0.0, steps + 1)
    return tuple(float(s) for s in shift * times / (1 + (shift - 1) * times))


def step_noise(like: Tensor, *, seed: int, step: int) -> Tensor:
    """Standard normal noise of `like`'s shape: a function of (seed, step) alone, drawn on the CPU in float32,
    so every device and every resumed run sees the same numbers."""
    state = np.random.SeedSequence([seed & 0xFFFFFFFF, seed >> 32, step]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    return torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like.device, like.dtype)


def sample(velocity: Velocity, y: Tensor, mask: Tensor, *, config: SamplingConfig, seed: int) -> Tensor:
    """Algorithm 1: restored latents from the coarse latents `y` and the preserved mask `mask` in [0, 1].

    `seed` is not negative. The result is a function of the arguments: no global random state is read.
    Equation (5) is written as the Euler step plus what guidance and fresh noise change, which is the same
    algebra; with both off, the sampler is therefore the Euler ODE to the last bit.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must not be negative")
    sigmas = config.sigmas
    x = sigmas[0] * step_noise(y, seed=seed, step=0) + (1 - sigmas[0]) * y                             # (6)
    for step, (sigma, following) in enumerate(pairwise(sigmas)):
        x = guided_step(x, velocity(x, sigma), sigma, following, y=y, mask=mask, gamma=config.gamma,
                        guidance=config.guidance, guidance_form=config.guidance_form,
                        noise=partial(step_noise, x, seed=seed, step=step + 1))
    return x


def guided_step(x: Tensor, v: Tensor, sigma: float, following: float, *, y: Tensor | None, mask: Tensor | None,
                gamma: float | str, guidance: float, guidance_form: str, noise: Callable[[], Tensor]) -> Tensor:
    """One step of Algorithm 1, from level `sigma` to `following`; settings as in `SamplingConfig`.

    Without `y` or without `mask` there is no guidance. `noise` draws fresh noise of x's shape and is called only
    where some is needed.
    """
    # (1 - s') x0 + s' x1 with x0 = x - s v (3) and x1 = x + (1 - s) v (4) is x + (s' - s) v              (5)
    moved = x + (following - sigma) * v
    pull = guidance * (1.0 if guidance_form == "paper" else 1 - sigma)
    if pull and y is not None and mask is not None:
        moved = moved + (1 - following) * pull * mask * (y - (x - sigma * v))                        # (10)
    share = sigma if gamma == "sigma" else float(gamma)
    if share and following:
        x1 = x + (1 - sigma) * v
        fresh = (1 - share) ** 0.5 * x1 + share**0.5 * noise()                                        # (8)
        moved = moved + following * (fresh - x1)
    return moved
