"""The rasteriser of a machine without GPU: numba kernels of `runtime` with a hand-written backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from baker.rasterisers import RasterOutput, _cpu_kernels
from runtime import _raster_threads, raster
from runtime._raster_template import MAX_CHANNELS
from runtime.types import Camera


def rasterise(means: Float[Tensor, "N 3"], quats_wxyz: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"],
              opacities: Float[Tensor, " N"], colors: Float[Tensor, "N C"], camera: Camera, *,
              screen_gradients: Float[Tensor, " N"] | None = None, still_count: int = 0) -> RasterOutput:
    """See `baker.rasterisers.Rasteriser`. Computes in float32; C up to 63. The first call with a new C compiles for
    some seconds, once per machine. Bit-equal for equal input, whatever the number of threads."""
    inputs = (means, quats_wxyz, scales, opacities, colors)
    if any(values.device.type != "cpu" for values in inputs):
        raise ValueError("the cpu rasteriser takes CPU tensors; load 'gsplat' for tensors on a GPU")
    if colors.shape[1] >= MAX_CHANNELS:
        raise ValueError(f"{colors.shape[1]} colour channels: at most {MAX_CHANNELS - 1} in one pass")
    floats = (values.float() for values in inputs)
    return RasterOutput(*_Rasterise.apply(*floats, camera, screen_gradients, still_count))


class _Rasterise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor,
                camera: Camera, screen_gradients: Tensor | None,
                still_count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        arrays = [np.ascontiguousarray(v.detach().numpy()) for v in (means, quats, scales, opacities, colors)]
        splats = raster.project(*arrays, camera)
        size = (camera.height, camera.width)
        image, alpha, depth = torch.empty(*size, colors.shape[1]), torch.empty(size), torch.empty(size)
        touched = raster.blend(splats, _flat(image), colors.shape[1], _flat(alpha), 1, _flat(depth))
        radii = torch.from_numpy(np.ceil(splats.splats[:, 7]))
        # The arrays share memory with the inputs: saving the tensors lets autograd notice a change in between.
        ctx.save_for_backward(means, quats, scales, opacities, image, alpha, depth)
        ctx.splats, ctx.touched, ctx.camera = splats, touched, camera
        ctx.screen_gradients, ctx.still_count = screen_gradients, still_count
        ctx.mark_non_differentiable(radii)
        return image, alpha, radii, depth

    @staticmethod
    def backward(ctx: Any, grad_image: Tensor, grad_alpha: Tensor, _: Tensor,
                 grad_depth: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, image, alpha, depth = ctx.saved_tensors
        means = inputs[0]
        s: raster.Splats = ctx.splats
        count, channels = s.channels.shape
        colors = channels - 1 if ctx.needs_input_grad[4] else 0
        width = _cpu_kernels.row_width(colors + 1)
        rows = np.empty(len(s.ids) * width, np.float32)
        grads = [torch.empty(values.shape) for values in (*inputs, means.new_empty(count, colors))]
        centers = np.empty((count, 2), np.float32)
        view, pinhole = raster.camera_arrays(ctx.camera)
        _raster_threads.run_taking(
            _cpu_kernels.blend_backward(channels, colors=colors > 0), len(s.tile_starts) - 1, s.splats, s.channels,
            s.tile_starts, s.ids, s.slots, ctx.touched, ctx.still_count, s.width, s.height, _flat(image), _flat(alpha),
            _flat(depth), _flat(grad_image), _flat(grad_alpha), _flat(grad_depth), rows)
        _raster_threads.run_taking(
            _cpu_kernels.project_backward, count,
            *(np.ascontiguousarray(values.detach().numpy()) for values in inputs), view, pinhole, s.splats, rows,
            width, s.first_slot, ctx.still_count, *(values.numpy() for values in grads), centers)
        if ctx.screen_gradients is not None:
            by_half_image = centers * np.array([s.width / 2, s.height / 2], np.float32)
            ctx.screen_gradients += torch.from_numpy(np.linalg.norm(by_half_image, axis=1))
        if not colors:
            grads[4] = None
        return *grads, None, None, None


def _flat(values: Tensor) -> np.ndarray:
    return values.detach().contiguous().view(-1).numpy()
