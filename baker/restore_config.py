"""Settings of the restoring: the sampler's and the windows'; see `baker/sampling.py` and `baker/restore.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


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


@dataclass(frozen=True)
class RestoreConfig:
    """How a coarse video is restored."""

    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(steps=1, gamma=0.0))
    """The sampler's settings. The default is what measures best with the embedded prior, one step without fresh
    noise (weights/model_card.md); `SamplingConfig()` is the paper's."""
    overlap: int = 9
    """Frames that neighbouring windows share at least; they are cross-faded over them."""
    keep_preserved: bool = False
    """Put the coarse pixels back where the mask is at least `keep_level` after erosion by `keep_erosion`: exact there,
    at the price of a seam. Off: the whole picture is the prior's."""
    keep_level: float = 0.98
    """Preserved coverage in [0, 1] from which coarse pixels are kept."""
    keep_erosion: int = 2
    """Radius of that erosion [px]."""

    def __post_init__(self) -> None:
        if self.overlap < 1:
            raise ValueError(f"overlap is {self.overlap}; windows must share at least one frame")


def shifted_sigmas(*, t0: float, steps: int, shift: float) -> tuple[float, ...]:
    """`steps` + 1 noise levels from the shifted t0 down to 0, evenly spaced before the shift."""
    times = [t0 - k * (t0 / steps) for k in range(steps)]
    return (*(shift * t / (1 + (shift - 1) * t) for t in times), 0.0)
