"""Which device a bake runs on, and which rasteriser goes with it."""

from __future__ import annotations

import sys
from typing import Literal, get_args

import numpy as np
import torch

from baker.rasterisers import RasteriserName, load
from runtime.cameras import orbit_camera
from runtime.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
"""`auto` takes the GPU where torch sees one and gsplat draws on it."""


def choose(device: str) -> tuple[str, RasteriserName]:
    """The torch device and the rasteriser for what the user asked.

    Raises `InputError` when a GPU was asked for and cannot be used; `auto` says why on stderr and takes the CPU.
    """
    if device not in get_args(Device):
        raise InputError(f"device {device!r}: choose {', '.join(get_args(Device))}")
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu", "cpu"
    if not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no NVIDIA GPU; install torch's CUDA build and the driver, "
                         "or take --device cpu")
    try:
        _draw_one()
    except Exception as error:
        # gsplat compiles at first use and fails in many ways: no compiler, another CUDA, too old a card.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if device == "cuda":
            raise InputError(f"--device cuda: gsplat does not draw here ({reason}); see its installation notes, or "
                             "take --device cpu") from error
        print(f"gsplat does not draw here ({reason}): the bake runs on the CPU", file=sys.stderr)
        return "cpu", "cpu"
    return "cuda", "gsplat"


def _draw_one() -> None:
    """One Gaussian by gsplat; raises whatever goes wrong."""
    rasterise = load("gsplat")
    camera = orbit_camera(np.zeros(3), azimuth=0.0, elevation=0.0, distance=2.0, fov_y=0.6, size=(16, 16))
    unit = torch.tensor([[1.0, 0, 0, 0]], device="cuda")
    ones = torch.ones(1, 3, device="cuda")
    image = rasterise(torch.zeros(1, 3, device="cuda"), unit, 0.1 * ones, ones[:, 0], ones, camera).image
    if not float(image.max()) > 0.5:
        raise RuntimeError("it drew nothing")
