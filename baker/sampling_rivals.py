"""The samplers that self-guided stochastic sampling is compared with (paper 5.3; facts/upstream.md §5).

Each is written from its own paper, for a flow model v = noise - data, with x0 = x - s v and x1 = x + (1 - s) v.
Letters as in `baker/sampling.py`; s' is the next noise level, eps the noise that the start was made with.
LPF and HPF act on the two last axes and add up to the identity. The released HFS and NC code has an HPF that is zero
(facts §1.4), which makes both plain SDEdit; tests hold these away from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from baker.restore_config import SamplingConfig, shifted_sigmas
from baker.sampling import Velocity, sample, step_noise

RivalName = Literal["sdedit-fm", "flowedit", "mcs", "hfs-sdedit", "nc-sdedit"]
"""The rivals that can be run by name."""


@dataclass(frozen=True)
class Schedule:
    """Start and steps, the same for every sampler that is compared; the defaults are the paper's (5.1)."""

    t0: float = 0.6
    """Start time in (0, 1], before the shift."""
    steps: int = 18
    """Velocity evaluations from t0 to 0."""
    shift: float = 5.0
    """Timestep shift."""

    @property
    def sigmas(self) -> tuple[float, ...]:
        """`steps` + 1 noise levels, the last one 0."""
        return shifted_sigmas(t0=self.t0, steps=self.steps, shift=self.shift)


class Rival(Protocol):
    """The signature that all rivals share."""

    def __call__(self, velocity: Velocity, y: Tensor, mask: Tensor, *, schedule: Schedule, seed: int) -> Tensor:
        """Restored latents from the coarse latents `y`; `mask` marks what must be preserved."""


def sdedit(velocity: Velocity, y: Tensor, mask: Tensor, *, schedule: Schedule, seed: int) -> Tensor:
    """SDEdit (Meng et al. 2022) for flow models: noise to sigma_t0, then the Euler ODE. The mask is not used."""
    config = SamplingConfig(t0=schedule.t0, steps=schedule.steps, shift=schedule.shift, gamma=0.0, guidance=0.0)
    return sample(velocity, y, mask, config=config, seed=seed)


def flow_edit(velocity: Velocity, y: Tensor, mask: Tensor, *, schedule: Schedule, seed: int,
              source: Velocity | None = None, draws: int = 1) -> Tensor:
    """FlowEdit (Kulikov et al. 2025): an ODE between the source's and the target's flow, without inversion.

    `source` is the model under the source's conditions; None takes eps - y, the velocity of a model that knows the
    source to be y, as no text tells a rigid render from a real video. `draws` noises are averaged per step.
    The mask is not used.
    """
    z = y
    for step, (sigma, following) in enumerate(pairwise(schedule.sigmas)):
        difference = torch.zeros_like(y)
        for draw in range(draws):
            eps = step_noise(y, seed=seed, step=step * draws + draw)
            noised = (1 - sigma) * y + sigma * eps
            known = eps - y if source is None else source(noised, sigma)
            difference = difference + (velocity(z + noised - y, sigma) - known) / draws
        z = z + (following - sigma) * difference
    return z


def mcs(velocity: Velocity, y: Tensor, mask: Tensor, *, schedule: Schedule, seed: int, weight: float = 0.5) -> Tensor:
    """Multi-view consistency sampling (Yu et al. 2024, VistaDream): the predicted noise is blended with the noise
    that would have made x from y, scaled to the predicted one's deviation; `weight` inside the mask (0.3 to 0.8). From
    pure noise (s = 1) x says nothing of y, and the step is SDEdit's."""
    x = _start(y, schedule, seed)
    share = weight * mask
    for sigma, following in pairwise(schedule.sigmas):
        v = velocity(x, sigma)
        if sigma == 1:
            x = x + (following - sigma) * v
            continue
        x1 = x + (1 - sigma) * v
        rendered = (x - (1 - sigma) * y) / sigma
        rendered = rendered * (x1.std() / rendered.std())
        x1 = x1 + share * (rendered - x1)
        x = (1 - following) * (x - sigma * x1) / (1 - sigma) + following * x1
    return x


def hfs_sdedit(velocity: Velocity, y: Tensor, mask: Tensor, *, schedule: Schedule, seed: int, radius: float = 0.04,
               until: float = 0.85) -> Tensor:
    """High-frequency-swapping SDEdit (Ryu et al. 2025, Elevate3D): after each Euler step that ends at or above the
    noise level `until`, low frequencies stay and high ones come from the noised y.

    `radius` is the low-pass filter's deviation [cycles/px of the latents]. The mask is not used.
    """
    eps = step_noise(y, seed=seed, step=0)
    x = _start(y, schedule, seed)
    low = partial(_filter, response=gaussian_response(y.shape[-2:], radius=radius).to(y.device, y.dtype))
    for sigma, following in pairwise(schedule.sigmas):
        x = x + (following - sigma) * velocity(x, sigma)
        if following >= until:
            noised = (1 - following) * y + following * eps
            x = noised + low(x - noised)
    return x


def nc_sdedit(velocity: Velocity, y: Tensor, mask: Tensor, *, schedule: Schedule, seed: int, window: float = 0.3,
              repeats: int = 3) -> Tensor:
    """Noise calibration (Yang et al. 2024): before the Euler ODE, the start's noise is corrected `repeats` times so
    that the low frequencies of the predicted x0 are y's: e <- x1 + (1 - s)/s (HPF(x0) - HPF(y)).

    `window` is the low-pass box's half width as a share of the half spectrum, in (0, 1). The mask is not used.
    """
    schedule_start = schedule.sigmas[0]
    x = _start(y, schedule, seed)
    low = partial(_filter, response=box_response(y.shape[-2:], share=window).to(y.device, y.dtype))
    for _ in range(repeats):
        v = velocity(x, schedule_start)
        x0, x1 = x - schedule_start * v, x + (1 - schedule_start) * v
        difference = x0 - y
        eps = x1 + (1 - schedule_start) / schedule_start * (difference - low(difference))
        x = (1 - schedule_start) * y + schedule_start * eps
    for sigma, following in pairwise(schedule.sigmas):
        x = x + (following - sigma) * velocity(x, sigma)
    return x


RIVALS: dict[RivalName, Rival] = {"sdedit-fm": sdedit, "flowedit": flow_edit, "mcs": mcs, "hfs-sdedit": hfs_sdedit,
                                  "nc-sdedit": nc_sdedit}
"""Each rival with its authors' settings."""
assert set(RIVALS) == set(get_args(RivalName))


def gaussian_response(size: tuple[int, int] | torch.Size, *, radius: float) -> Tensor:
    """Low-pass response [h w], exp(-f^2 / 2 r^2) of the frequency f [cycles/px], in `fft2`'s order."""
    down, across = (torch.fft.fftfreq(n) for n in size)
    return torch.exp(-(down[:, None].square() + across.square()) / (2 * radius**2))


def box_response(size: tuple[int, int] | torch.Size, *, share: float) -> Tensor:
    """Low-pass response [h w]: 1 where both frequencies are below `share` of the highest, in `fft2`'s order."""
    if not 0 < share < 1:
        raise ValueError(f"window is {share}; it must be in (0, 1), or all or nothing would pass")
    down, across = (torch.fft.fftfreq(n).abs() < 0.5 * share for n in size)
    return (down[:, None] & across).float()


def _filter(x: Tensor, *, response: Tensor) -> Tensor:
    return torch.fft.ifft2(torch.fft.fft2(x) * response).real


def _start(y: Tensor, schedule: Schedule, seed: int) -> Tensor:
    """The noised coarse latents that every sampler starts from, (6)."""
    sigma = schedule.sigmas[0]
    return sigma * step_noise(y, seed=seed, step=0) + (1 - sigma) * y
