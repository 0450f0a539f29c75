"""Measurements of the rasterisers with gradients. Keys are snake_case with the unit last.

Times are the minimum and the median of some runs; `ratio_…` compares minima within one process, so that the figures of
two machines can be compared where their milliseconds cannot.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from baker.rasterisers import Rasteriser, load
from runtime.bench import bench_forward, time_ms, yardstick_camera, yardstick_scene
from runtime.types import Camera

Figures = dict[str, float | int | str]


def bench_raster(*, runs: int = 30) -> Figures:
    """The CPU rasteriser on the yardstick scene: forward, forward + backward, and both against the specification.

    The reference draws one image of each kind: it needs seconds.
    """
    scene, camera = yardstick_tensors(), yardstick_camera()
    cpu, reference = load("cpu"), load("reference")
    figures: Figures = dict(bench_forward(runs=runs))
    forward, _ = time_ms(forward_of(cpu, scene, camera), runs=runs)
    both, both_median = time_ms(training_step_of(cpu, scene, camera), runs=runs)
    reference_forward, _ = time_ms(forward_of(reference, scene, camera), runs=1, warm_up=0)
    reference_both, _ = time_ms(training_step_of(reference, scene, camera), runs=1, warm_up=0)
    return figures | {
        "differentiable_forward_ms_min": round(forward, 2),
        "forward_backward_ms_min": round(both, 2), "forward_backward_ms_median": round(both_median, 2),
        "reference_forward_ms_min": round(reference_forward, 1),
        "reference_forward_backward_ms_min": round(reference_both, 1),
        "ratio_to_reference": round(reference_forward / forward, 1),
        "ratio_to_reference_forward_backward": round(reference_both / both, 1),
    }


def bench_gpu(*, runs: int = 30) -> Figures:
    """gsplat on the yardstick scene: its times, and how far its picture is from the CPU rasteriser's.

    Raises `InputError` where no NVIDIA GPU or no gsplat is found.
    """
    gsplat, cpu = load("gsplat"), load("cpu")
    camera = yardstick_camera()
    home, away = yardstick_tensors(), yardstick_tensors(torch.device("cuda"))
    ours, theirs = cpu(*home.values(), camera), gsplat(*away.values(), camera)
    forward, _ = time_ms(synchronised(forward_of(gsplat, away, camera)), runs=runs)
    both, both_median = time_ms(synchronised(training_step_of(gsplat, away, camera)), runs=runs)
    return {
        "device_name": torch.cuda.get_device_name(), "gaussians_count": len(home["means"]),
        "forward_ms_min": round(forward, 2), "forward_backward_ms_min": round(both, 2),
        "forward_backward_ms_median": round(both_median, 2),
        "largest_difference_from_cpu": float((ours.image - theirs.image.cpu()).abs().max()),
    }


def yardstick_tensors(device: torch.device | None = None) -> dict[str, Tensor]:
    """Means, quaternions, scales, opacities, colours of the yardstick scene, in a rasteriser's order."""
    gaussians = yardstick_scene()
    arrays = {"means": gaussians.means, "quats_wxyz": gaussians.quats_wxyz, "scales": np.exp(gaussians.log_scales),
              "opacities": gaussians.opacities, "colors": gaussians.colors}
    return {name: torch.from_numpy(values).to(device) for name, values in arrays.items()}


def forward_of(rasterise: Rasteriser, scene: dict[str, Tensor], camera: Camera) -> Callable[[], object]:
    """Draws once, without gradients."""
    def work() -> object:
        with torch.no_grad():
            return rasterise(*scene.values(), camera)

    return work


def training_step_of(rasterise: Rasteriser, scene: dict[str, Tensor], camera: Camera) -> Callable[[], object]:
    """Draws once and takes the gradient of a fixed linear loss of image and alpha by everything."""
    leaves = [values.clone().requires_grad_() for values in scene.values()]
    generator = torch.Generator().manual_seed(0)
    size = (camera.height, camera.width)
    by_image = torch.randn(*size, scene["colors"].shape[1], generator=generator).to(leaves[0].device)
    by_alpha = torch.randn(size, generator=generator).to(leaves[0].device)

    def work() -> object:
        output = rasterise(*leaves, camera)
        return torch.autograd.grad([output.image, output.alpha], leaves, [by_image, by_alpha])

    return work


def synchronised(work: Callable[[], object]) -> Callable[[], object]:
    """Waits for the GPU after the work."""
    def timed() -> object:
        result = work()
        torch.cuda.synchronize()
        return result

    return timed
