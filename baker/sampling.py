"""Self-guided stochastic sampling of a flow model (paper 4.2, Algorithm 1; DESIGN §5), on plain tensors.

Letters: x the noisy latents, x0 and x1 the clean and the noise sample predicted from x, y the coarse latents,
M the preserved mask, v the velocity (noise - data), s the noise level sigma in [0, 1] (1 is pure noise),
s' the next one. All tensors share one shape, or M broadcasts to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from baker.restore_config import SamplingConfig

Velocity = Callable[[Tensor, float], Tensor]
"""(x, sigma) to the velocity at x: the flow model with its conditions bound."""


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
