"""Differentiable rasterisers: one call signature, three implementations (DESIGN §9).

`reference` is the specification, in plain torch; `cpu` is the same in numba with a hand-written backward;
`gsplat` runs on an NVIDIA GPU. All draw what `runtime/raster.py` draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import InputError
from runtime.types import Camera

RasteriserName = Literal["cpu", "reference", "gsplat"]


class RasterOutput(NamedTuple):
    """An image of N Gaussians with C colour channels."""

    image: Float[Tensor, "H X C"]
    """Blended colours, premultiplied by alpha, not composited over anything."""
    alpha: Float[Tensor, "H X"]
    """Coverage in [0, 1]."""
    radii: Float[Tensor, " N"]
    """Larger half side [px] of the box in which a Gaussian reaches alpha 1/255; 0 = culled. No gradient."""
    depth: Float[Tensor, "H X"]
    """Sum of weight times depth [m]: divide by alpha for the expected depth."""


@runtime_checkable
class Rasteriser(Protocol):
    """Draws Gaussians. Gradients reach means, quaternions, scales, opacities and colours.

    A Gaussian is culled (radius 0, gradient 0) when it is nearer than 0.01 m, reaches no pixel, has an opacity under
    1/255, a quaternion of norm under 1e-12, or holds a NaN or an infinity. Opacities above 1 count as 1.
    """

    def __call__(self, means: Float[Tensor, "N 3"], quats_wxyz: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"],
                 opacities: Float[Tensor, " N"], colors: Float[Tensor, "N C"], camera: Camera, *,
                 screen_gradients: Float[Tensor, " N"] | None = None) -> RasterOutput:
        """The image; `quats_wxyz` need not be unit, `scales` are standard deviations [m].

        `screen_gradients`, for densification: backward adds to it the norm of the loss's gradient by each
        Gaussian's centre, in image half sizes (so that a threshold serves every resolution, as in 3DGS).
        """
        ...


def load(name: str) -> Rasteriser:
    """The rasteriser called `name`, one of `RasteriserName`.

    Raises `InputError` for an unknown name, and where the machine or a package lacks what it needs.
    """
    if name not in LOADERS:
        raise InputError(f"rasteriser {name!r}: choose {', '.join(get_args(RasteriserName))}")
    return LOADERS[name]()


def _load_cpu() -> Rasteriser:
    from baker.rasterisers.cpu import rasterise

    return rasterise


def _load_reference() -> Rasteriser:
    from baker.rasterisers.reference import rasterise

    return rasterise


def _load_gsplat() -> Rasteriser:
    if not torch.cuda.is_available():
        raise InputError("rasteriser 'gsplat': needs an NVIDIA GPU and a CUDA build of torch, and torch sees none; "
                         "choose cpu")
    try:
        from baker.rasterisers.gsplat import rasterise
    except ModuleNotFoundError as error:
        if error.name != "gsplat":
            raise
        raise InputError("rasteriser 'gsplat': the package is not installed; pip install 'ani3d[gpu]'") from error
    return rasterise


LOADERS: dict[str, Callable[[], Rasteriser]] = {"cpu": _load_cpu, "reference": _load_reference, "gsplat": _load_gsplat}
