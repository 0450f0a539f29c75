"""Differentiable rasterisers: one call signature, three implementations (DESIGN §9).

`reference` is the specification, in plain torch; `cpu` is the same in numba with a hand-written backward;
`gsplat` runs on an NVIDIA GPU. All draw what `runtime/raster.py` draws. `draw` is the whole of it for one of them:
spherical harmonics, feature channels, several cameras or posed sets, background.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from baker import spherical_harmonics
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
                 screen_gradients: Float[Tensor, " N"] | None = None, still_count: int = 0) -> RasterOutput:
        """The image; `quats_wxyz` need not be unit, `scales` are standard deviations [m].

        `screen_gradients`, for densification: backward adds to it the norm of the loss's gradient by each
        Gaussian's centre, in image half sizes (so that a threshold serves every resolution, as in 3DGS).

        The first `still_count` Gaussians are drawn but get no gradient, which `cpu` then need not work out: of a
        person most are skin, and only cloth is learnt.
        """
        ...


@dataclass(frozen=True)
class Scene:
    """N Gaussians in the world, as a rasteriser takes them."""

    means: Float[Tensor, "N 3"]
    """Centres [m]."""
    quats_wxyz: Float[Tensor, "N 4"]
    """Orientations; need not be unit."""
    scales: Float[Tensor, "N 3"]
    """Standard deviations [m], not their logarithms."""
    opacities: Float[Tensor, " N"]
    """In [0, 1]."""
    sh: Float[Tensor, "N K 3"]
    """Spherical harmonics of degree 0 to 3: K = 1, 4, 9 or 16."""
    features: Float[Tensor, "N F"] | None = None
    """Any further values, blended as the colours are."""


class View(NamedTuple):
    """What one camera sees of a scene."""

    rgb: Float[Tensor, "H X 3"]
    """sRGB over the background; premultiplied by alpha where there is none."""
    alpha: Float[Tensor, "H X"]
    """Coverage in [0, 1]."""
    depth: Float[Tensor, "H X"]
    """Expected depth [m] of what covers a pixel; 0 where nothing does."""
    features: Float[Tensor, "H X F"]
    """Blended features, premultiplied; F may be 0."""
    radii: Float[Tensor, " N"]
    """As `RasterOutput.radii`."""


def draw(rasterise: Rasteriser, scenes: Sequence[Scene], cameras: Sequence[Camera], *,
         background: tuple[float, float, float] | None = None,
         screen_gradients: Float[Tensor, " N"] | None = None, still_count: int = 0) -> list[View]:
    """Each scene (one pose of a person, say) by its own camera; a single scene is seen by all the cameras.

    `screen_gradients` sums over the views; it and `still_count` as in `Rasteriser`. Raises `ValueError` when the
    numbers do not match.
    """
    if len(scenes) not in (1, len(cameras)):
        raise ValueError(f"{len(scenes)} scenes and {len(cameras)} cameras: give one scene, or one for each camera")
    views = []
    for i, camera in enumerate(cameras):
        scene = scenes[i % len(scenes)]
        colors = spherical_harmonics.colors(scene.sh, scene.means, camera)
        if scene.features is not None:
            colors = torch.cat([colors, scene.features], dim=1)
        image, alpha, radii, depth = rasterise(scene.means, scene.quats_wxyz, scene.scales, scene.opacities, colors,
                                               camera, screen_gradients=screen_gradients, still_count=still_count)
        rgb = image[..., :3]
        if background is not None:
            rgb = rgb + (1 - alpha)[..., None] * rgb.new_tensor(background)
        # 1e-10 as in gsplat's "ED": 0 / 0 where nothing was drawn.
        views.append(View(rgb=rgb, alpha=alpha, depth=depth / alpha.clamp(min=1e-10), features=image[..., 3:],
                          radii=radii))
    return views


def hold_still(count: int, *values: Tensor) -> tuple[Tensor, ...]:
    """The same values without a gradient in the first `count` rows of each."""
    return tuple(torch.cat([v[:count].detach(), v[count:]]) if count else v for v in values)


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
