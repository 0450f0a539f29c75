"""Measurements of what a bake spends its time on: rasteriser, residual field, a whole training step.

Keys are snake_case with the unit last. Times are the minimum and the median of some runs; `ratio_…` compares minima
within one process, so that the figures of two machines can be compared where their milliseconds cannot.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numba import config
from torch import Tensor

from baker import posing, ssim
from baker.field import ResidualField, one_thread
from baker.losses import l1
from baker.optimise_config import FieldConfig
from baker.rasterisers import Rasteriser, load
from runtime.bench import (
    YARDSTICK_COUNT,
    YARDSTICK_SIZE,
    bench_forward,
    time_ms,
    yardstick_bundle,
    yardstick_camera,
    yardstick_scene,
)
from runtime.bench_play import memory_peak_mib
from runtime.types import Camera

Figures = dict[str, float | int | str]

COUNTS = (10_000, 40_000, 160_000)
"""Gaussians of the scaling rows."""
SIZES = ((240, 416), (480, 832), (960, 1664))
"""Images of the scaling rows, width and height [px]."""
CHANNELS = (3, 4, 8, 16)
"""Channels of the scaling rows, beside alpha and depth."""
STEP_CHANNELS = 4
"""What the optimiser blends: a colour and whether a pixel is preserved."""
STEP_FRAMES = 90
"""Frames of the field that is measured: three seconds."""
MOVING_PART = 4
"""One Gaussian in so many moves (28 000 of the built-in person's are 8 680 in a skirt)."""


def bench_raster(*, runs: int = 30) -> Figures:
    """The CPU rasteriser on the yardstick scene, forward and with gradients, against the specification; then over
    numbers of Gaussians, pixels and channels.

    The reference draws one image of each kind: it needs seconds.
    """
    cpu, reference = load("cpu"), load("reference")
    scene, camera = yardstick_tensors(channels=STEP_CHANNELS), yardstick_camera()
    figures: Figures = conditions() | bench_forward(runs=runs) | {"channels_count": STEP_CHANNELS}
    figures |= _both(cpu, scene, camera, runs=runs)
    for count in COUNTS:
        many = yardstick_tensors(count=count, channels=STEP_CHANNELS)
        figures |= _named(f"{count // 1000}k", _both(cpu, many, camera, runs=runs // 3))
    for width, height in SIZES:
        figures |= _named(f"{width}x{height}", _both(cpu, scene, yardstick_camera((width, height)), runs=runs // 3))
    for channels in CHANNELS:
        figures |= _named(f"{channels}_channels", _both(cpu, yardstick_tensors(channels=channels), camera,
                                                        runs=runs // 3))
    most, middle = (float(figures[f"differentiable_forward_{count}_ms_min"]) for count in ("160k", "40k"))
    # The reference last: it takes gigabytes. Beside it once more what it is compared with, for the same load.
    figures |= {"ratio_160k_to_40k": round(most / middle, 2), "memory_peak_mib": round(memory_peak_mib(), 1)}
    again = _both(cpu, scene, camera, runs=runs // 3)
    reference_forward, _ = time_ms(forward_of(reference, scene, camera), runs=1, warm_up=0)
    reference_both, _ = time_ms(training_step_of(reference, scene, camera), runs=1, warm_up=0)
    return figures | {
        "reference_forward_ms_min": round(reference_forward, 1),
        "reference_forward_backward_ms_min": round(reference_both, 1),
        "ratio_to_reference": round(reference_forward / float(again["differentiable_forward_ms_min"]), 1),
        "ratio_to_reference_forward_backward": round(reference_both / float(again["forward_backward_ms_min"]), 1),
    }


def bench_field(*, runs: int = 20) -> Figures:
    """The residual field at one frame, forward and with gradients, against its plain torch; at every Gaussian of the
    yardstick and at those that move."""
    figures = conditions() | {"gaussians_count": YARDSTICK_COUNT}
    for name, rows in (("", slice(None)), ("moving_", slice(None, None, MOVING_PART))):
        field = yardstick_field(rows)
        forward, _ = time_ms(lambda field=field: _without_gradients(lambda: field(FRAME)), runs=runs)
        both, middle = time_ms(field_step_of(field, field), runs=runs)
        slow, _ = time_ms(field_step_of(field, field.reference), runs=3, warm_up=1)
        figures |= {
            f"{name}points_count": len(field.moving), f"{name}forward_ms_min": round(forward, 2),
            f"{name}forward_backward_ms_min": round(both, 2), f"{name}forward_backward_ms_median": round(middle, 2),
            f"{name}reference_forward_backward_ms_min": round(slow, 1),
            f"{name}ratio_to_reference": round(slow / both, 2),
        }
    return figures | {"memory_peak_mib": round(memory_peak_mib(), 1)}


def bench_step(*, runs: int = 20) -> Figures:
    """A whole training step at the yardstick's size: field, pose, projection, raster, L1 + SSIM, backward, AdamW.

    With a quarter of the Gaussians moving and with all; the same in plain torch but for the rasteriser; its parts.
    """
    figures = conditions() | {"gaussians_count": YARDSTICK_COUNT, "channels_count": STEP_CHANNELS,
                              "width_px": YARDSTICK_SIZE[0], "height_px": YARDSTICK_SIZE[1]}
    with one_thread():  # as the optimiser runs
        quarter, everything = TrainingStep.make(MOVING_PART), TrainingStep.make(1)
        best, middle = time_ms(quarter.run, runs=runs)
        all_best, all_middle = time_ms(everything.run, runs=runs)
        plain, _ = time_ms(lambda: quarter.run(plain=True), runs=3, warm_up=1)
        parts = {name: time_ms(part, runs=runs)[0] for name, part in quarter.parts().items()}
    return figures | {
        "moving_gaussians_count": len(quarter.field.moving),
        "step_ms_min": round(best, 2), "step_ms_median": round(middle, 2),
        "step_all_moving_ms_min": round(all_best, 2), "step_all_moving_ms_median": round(all_middle, 2),
        "step_plain_torch_ms_min": round(plain, 1), "ratio_to_plain_torch": round(plain / best, 2),
        **{f"part_{name}_ms_min": round(value, 2) for name, value in parts.items()},
        "memory_peak_mib": round(memory_peak_mib(), 1),
    }


def bench_gpu(*, runs: int = 30) -> Figures:
    """gsplat: on a small scene, how far its picture and gradients (and the CPU rasteriser's) are from the
    specification's; on the yardstick, its times against theirs.

    Raises `InputError` where no NVIDIA GPU or no gsplat is found.
    """
    gsplat, cpu, reference = load("gsplat"), load("cpu"), load("reference")
    figures: Figures = {"device_name": torch.cuda.get_device_name(), "torch_version": torch.__version__}
    # 1. Parity, on a scene that the specification draws in a second.
    small, camera = yardstick_tensors(count=4000, channels=STEP_CHANNELS), yardstick_camera((120, 208))
    exact = _image_and_gradients(reference, {name: values.double() for name, values in small.items()}, camera)
    for name, rasterise in (("gsplat", gsplat), ("cpu", cpu)):
        image, gradients = _image_and_gradients(rasterise, small, camera)
        figures[f"{name}_largest_image_difference"] = float((image - exact[0]).abs().max())
        for key, value, truth in zip(small, gradients, exact[1], strict=True):
            figures[f"{name}_{key}_gradient_difference"] = float((value - truth).norm() / truth.norm())
    # 2. Times.
    camera = yardstick_camera()
    home = yardstick_tensors(channels=STEP_CHANNELS)
    away = {name: values.cuda() for name, values in home.items()}
    forward, _ = time_ms(synchronised(forward_of(gsplat, away, camera)), runs=runs)
    both, both_median = time_ms(synchronised(training_step_of(gsplat, away, camera)), runs=runs)
    on_cpu = _both(cpu, home, camera, runs=runs // 3)
    slow, _ = time_ms(training_step_of(reference, home, camera), runs=1, warm_up=0)
    return figures | {
        "gaussians_count": len(home["means"]), "channels_count": STEP_CHANNELS,
        "forward_ms_min": round(forward, 2), "forward_backward_ms_min": round(both, 2),
        "forward_backward_ms_median": round(both_median, 2),
        "ratio_to_cpu_forward": round(float(on_cpu["differentiable_forward_ms_min"]) / forward, 2),
        "ratio_to_cpu_forward_backward": round(float(on_cpu["forward_backward_ms_min"]) / both, 2),
        "ratio_to_reference_forward_backward": round(slow / both, 1),
    }


def conditions() -> Figures:
    """What the times depend on besides the code."""
    return {"scene_name": "yardstick: flat Gaussians on a figure",
            "threads_count": config.NUMBA_NUM_THREADS, "torch_threads_count": torch.get_num_threads(),
            "load_of_the_machine": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else -1.0}


def yardstick_tensors(*, count: int = YARDSTICK_COUNT, channels: int = 3) -> dict[str, Tensor]:
    """Means, quaternions, scales, opacities, colours of the yardstick scene, in a rasteriser's order."""
    gaussians = yardstick_scene(count)
    colors = np.random.default_rng(1).random((count, max(channels, 3)), np.float32)
    colors[:, :3] = gaussians.colors
    arrays = {"means": gaussians.means, "quats_wxyz": gaussians.quats_wxyz, "scales": np.exp(gaussians.log_scales),
              "opacities": gaussians.opacities, "colors": np.ascontiguousarray(colors[:, :channels])}
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def forward_of(rasterise: Rasteriser, scene: dict[str, Tensor], camera: Camera) -> Callable[[], object]:
    """Draws once, without gradients."""
    return lambda: _without_gradients(lambda: rasterise(*scene.values(), camera))


def training_step_of(rasterise: Rasteriser, scene: dict[str, Tensor], camera: Camera) -> Callable[[], object]:
    """Draws once and takes the gradient of a fixed linear loss of image and alpha by everything."""
    leaves = [values.clone().requires_grad_() for values in scene.values()]
    generator = torch.Generator().manual_seed(0)
    size = (camera.height, camera.width)
    by_image, by_alpha = (torch.randn(shape, generator=generator).to(leaves[0])
                          for shape in ((*size, scene["colors"].shape[1]), size))

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


FRAME = torch.tensor([17.3])
"""The frame at which the field is measured: between two samples of its time axis."""


def yardstick_field(rows: slice) -> ResidualField:
    """A field with random weights at some Gaussians of the yardstick."""
    moving = np.arange(YARDSTICK_COUNT)[rows]
    field = ResidualField(yardstick_scene().means[rows], moving, frames=STEP_FRAMES, config=FieldConfig())
    generator = torch.Generator().manual_seed(0)
    field.out.weight.data = 0.01 * torch.randn(field.out.weight.shape, generator=generator)
    return field


def field_step_of(field: ResidualField, evaluate: Callable[[Tensor], tuple[Tensor, ...]]) -> Callable[[], object]:
    """The field once, and the gradient of a fixed linear loss by all its parameters."""
    parameters = list(field.parameters())
    probe = torch.randn(len(field.moving), 9, generator=torch.Generator().manual_seed(0))

    def work() -> object:
        return torch.autograd.grad((torch.cat(evaluate(FRAME), -1)[0] * probe).sum(), parameters)

    return work


@dataclass(frozen=True)
class TrainingStep:
    """The optimiser's step on the yardstick: what it does once for a view, without its other terms."""

    field: ResidualField
    """Residual of the Gaussians that move."""
    rest: tuple[Tensor, Tensor, Tensor]
    """Their means, quaternions and log scales in the rest pose."""
    still: tuple[Tensor, Tensor, Tensor]
    """Posed means, quaternions and scales of the others."""
    tables: posing.PoseTables
    """Skinning of those that move."""
    opacities: Tensor
    """Still ones first. Neither these nor the channels are learnt."""
    channels: Tensor
    """Colour and whether preserved [N 4]."""
    target: Tensor
    """The picture to learn [H X 3]."""
    adam: torch.optim.AdamW
    """Of the field's parameters."""

    @staticmethod
    def make(part: int) -> TrainingStep:
        """One Gaussian in `part` moves."""
        bundle = yardstick_bundle()
        gaussians = bundle.gaussians
        moves = np.arange(gaussians.count) % part == 0
        moving, order = np.flatnonzero(moves), np.argsort(moves, kind="stable")
        tensors = posing.GaussianTensors.from_set(gaussians)
        rest = (tensors.means[moving], tensors.quats_wxyz[moving], tensors.log_scales[moving])
        others = np.flatnonzero(~moves)
        still = (tensors.means[others], tensors.quats_wxyz[others], torch.exp(tensors.log_scales[others]))
        colors = np.concatenate([gaussians.colors, ~moves[:, None]], axis=1)[order].astype(np.float32)
        field = yardstick_field(slice(None, None, part))
        target = torch.rand(*reversed(YARDSTICK_SIZE), 3, generator=torch.Generator().manual_seed(1))
        return TrainingStep(
            field=field, rest=rest, still=still,
            tables=posing.pose_tables(bundle.rig, bundle.clips[0].motion, frames=[17], rows=moving),
            opacities=torch.from_numpy(gaussians.opacities[order]), channels=torch.from_numpy(colors), target=target,
            adam=torch.optim.AdamW(field.parameters(), lr=1e-5, fused=True))

    def run(self, *, plain: bool = False) -> None:
        """One step; `plain` takes plain torch for everything but the rasteriser."""
        self.adam.zero_grad()
        offsets = (self.field.reference if plain else self.field)(FRAME)
        posed = self.posed(offsets, plain=plain)
        image, alpha, _, _ = load("cpu")(*posed, self.opacities, self.channels, yardstick_camera(),
                                         still_count=len(self.still[0]))
        self.loss(image[..., :3] + (1 - alpha)[..., None] * 0.5, plain=plain).backward()
        self.adam.step()

    def posed(self, offsets: tuple[Tensor, ...], *, plain: bool = False) -> tuple[Tensor, ...]:
        """Means, quaternions and scales of all, still ones first."""
        pose = posing.reference if plain else posing.pose
        moved = pose(*self.rest, *(o[0] for o in offsets), self.tables.blended[0], self.tables.turn_quats[0])
        return tuple(torch.cat(pair) for pair in zip(self.still, moved, strict=True))

    def loss(self, picture: Tensor, *, plain: bool = False) -> Tensor:
        """L1 and SSIM."""
        return l1(picture, self.target) + 0.2 * (ssim.reference if plain else ssim.dssim)(picture, self.target)

    def parts(self) -> dict[str, Callable[[], object]]:
        """The parts on their own, each forward and backward."""
        offsets = tuple(o.detach().requires_grad_() for o in self.field(FRAME))
        posed = tuple(v.detach() for v in self.posed(offsets))
        for value in posed:
            value.requires_grad_()
        by_image = torch.randn(*reversed(YARDSTICK_SIZE), STEP_CHANNELS, generator=torch.Generator().manual_seed(0))
        picture = self.target.flip(0).requires_grad_()

        def pose() -> object:
            means, quats, scales = self.posed(offsets)
            return torch.autograd.grad(means.sum() + quats.sum() + scales.sum(), offsets)

        def raster() -> object:
            output = load("cpu")(*posed, self.opacities, self.channels, yardstick_camera(),
                                 still_count=len(self.still[0]))
            return torch.autograd.grad(output.image, posed, by_image)

        return {"field": field_step_of(self.field, self.field), "pose": pose, "raster": raster,
                "l1_and_ssim": lambda: torch.autograd.grad(self.loss(picture), picture), "adam": self.adam.step}


def _both(rasterise: Rasteriser, scene: dict[str, Tensor], camera: Camera, *, runs: int) -> Figures:
    runs = max(runs, 2)
    forward, forward_median = time_ms(forward_of(rasterise, scene, camera), runs=runs)
    both, both_median = time_ms(training_step_of(rasterise, scene, camera), runs=runs)
    return {"differentiable_forward_ms_min": round(forward, 2),
            "differentiable_forward_ms_median": round(forward_median, 2),
            "forward_backward_ms_min": round(both, 2), "forward_backward_ms_median": round(both_median, 2)}


def _named(name: str, figures: Figures) -> Figures:
    return {key.replace("_ms_", f"_{name}_ms_"): value for key, value in figures.items()}


def _image_and_gradients(rasterise: Rasteriser, scene: dict[str, Tensor],
                         camera: Camera) -> tuple[Tensor, tuple[Tensor, ...]]:
    image = rasterise(*scene.values(), camera).image.detach().double()
    return image, tuple(gradient.double() for gradient in training_step_of(rasterise, scene, camera)())


def _without_gradients(work: Callable[[], object]) -> object:
    with torch.no_grad():
        return work()
