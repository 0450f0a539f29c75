"""Video priors: flow models of videos of people, conditioned on pose, reference and, where they can, the coarse
video (DESIGN §9). One Protocol, one dictionary of loaders.

Latents are [C t h w] float32 on the prior's device; t counts latent frames (the first frame alone, then fours).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from torch import Tensor

from baker.conditions import Conditions
from runtime.errors import InputError

PriorName = Literal["embedded", "wan-fun-control", "wan-vace"]
"""`embedded`: a small Wan-architecture transformer, weights shipped, made for a CPU. `wan-fun-control`: Wan2.1-Fun or
Wan2.2-Fun-Control from the user's folder. `wan-vace`: Wan VACE from the user's folder."""


@runtime_checkable
class VideoPrior(Protocol):
    """A flow-matching video model with its codec. v = noise - data; x0 = x - sigma v (facts §4.4)."""

    @property
    def window(self) -> int:
        """Frames it works on at once, 4 k + 1."""

    @property
    def size_multiple(self) -> int:
        """Both sides of the picture must be multiples of this [px]."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the prior's answers may: a bake made with another is made anew."""

    @property
    def device(self) -> str:
        """Torch device it computes on, for the record."""

    def encode(self, rgb: np.ndarray) -> Tensor:
        """Latents [C t h w] of a video uint8 [T H X 3]."""

    def decode(self, latents: Tensor) -> np.ndarray:
        """Video uint8 [T H X 3] of latents [C t h w]."""

    def latent_mask(self, preserved: np.ndarray) -> Tensor:
        """Mask [1 t h w] in [0, 1] of a mask uint8 [T H X], conservative at garment edges."""

    def prepare(self, conditions: Conditions) -> Any:
        """What `velocity` needs of the conditions, computed once per window; opaque to the caller."""

    def velocity(self, x: Tensor, sigma: float, prepared: Any) -> Tensor:
        """Velocity [C t h w] at latents x [C t h w] and noise level sigma in (0, 1]."""


def load_prior(name: str, path: Path | None = None, *, tuned: Path | None = None) -> VideoPrior:
    """The prior called `name` (a `PriorName`), from its weights file or folder `path` (None: the shipped one), with
    what training on clips made of it (`tuned`, Wan only).

    Raises `InputError` for an unknown name and for weights that are absent or damaged.
    """
    if name not in LOADERS:
        raise InputError(f'video prior "{name}" is not known; choose one of {", ".join(get_args(PriorName))}')
    return LOADERS[name](path, tuned)


def _load_embedded(path: Path | None, tuned: Path | None) -> VideoPrior:
    from baker.priors.embedded import SHIPPED, EmbeddedPrior

    if tuned is not None:
        raise InputError(f"{tuned}: the embedded prior takes whole weights; give them with --prior-path")
    return EmbeddedPrior.load(path or SHIPPED)


def _load_wan_fun(path: Path | None, tuned: Path | None) -> VideoPrior:
    from baker.priors.wan_fun_control import WanFunPrior

    return WanFunPrior.load(_given(path, "wan-fun-control", "Wan2.1-Fun-V1.1-1.3B-Control"), tuned=tuned)


def _load_wan_vace(path: Path | None, tuned: Path | None) -> VideoPrior:
    from baker.priors.wan_vace import WanVacePrior

    return WanVacePrior.load(_given(path, "wan-vace", "Wan2.1-VACE-1.3B-diffusers"), tuned=tuned)


def _given(path: Path | None, name: str, model: str) -> Path:
    if path is None:
        raise InputError(f"the prior {name} brings no weights: give the folder of {model} or a larger one with "
                         "--prior-path; `ani3d prior info DIR` says what a folder lacks")
    return path


LOADERS: dict[str, Callable[[Path | None, Path | None], VideoPrior]] = {
    "embedded": _load_embedded, "wan-fun-control": _load_wan_fun, "wan-vace": _load_wan_vace}
"""The loader of each name. Each imports its packages itself, so that a missing one is reported by the loader."""
