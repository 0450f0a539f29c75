"""The rasteriser of a machine with an NVIDIA GPU: a thin adapter on `gsplat.rasterization`.

gsplat compiles its kernels at first use, so it needs CUDA's compiler as well as a GPU. Its sums use atomics: two runs
agree closely, not bit for bit.
"""

from __future__ import annotations

import torch
from gsplat import rasterization
from jaxtyping import Float
from torch import Tensor

from baker.rasterisers import RasterOutput, hold_still
from baker.rasterisers.reference import drawable
from runtime._raster_project import EPS_2D, NEAR
from runtime.types import Camera


def rasterise(means: Float[Tensor, "N 3"], quats_wxyz: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"],
              opacities: Float[Tensor, " N"], colors: Float[Tensor, "N C"], camera: Camera, *,
              screen_gradients: Float[Tensor, " N"] | None = None, still_count: int = 0) -> RasterOutput:
    """See `baker.rasterisers.Rasteriser`. CPU tensors are copied to the GPU and the result back."""
    home, count, gpu = means.device, len(means), _device(means)
    means, quats_wxyz, scales, opacities, colors = (
        values.to(gpu, torch.float32)
        for values in hold_still(still_count, means, quats_wxyz, scales, opacities, colors))
    # gsplat draws NaN into whole tiles; rows that cannot be drawn do not reach it.
    kept = drawable(means, quats_wxyz, scales, opacities, colors, camera).nonzero()[:, 0]
    if len(kept) == 0:
        size = (camera.height, camera.width)
        # Sums of nothing: zero, and differentiable.
        nothing = sum((values[kept].sum() for values in (means, quats_wxyz, scales, opacities, colors)),
                      means.new_zeros(()))
        image, alpha, depth = (nothing.expand(shape) for shape in ((*size, colors.shape[1]), size, size))
        return RasterOutput(image=image.to(home), alpha=alpha.to(home), radii=means.new_zeros(count).to(home),
                            depth=depth.to(home))
    # 1. Unpacked: one row a Gaussian, so that radii and screen gradients have a place.
    intrinsics = [[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]]
    rendered, alpha, meta = rasterization(
        means[kept], quats_wxyz[kept], scales[kept], opacities[kept].clamp(max=1.0), colors[kept],
        torch.as_tensor(camera.T_camera_world, dtype=torch.float32, device=gpu)[None],
        torch.tensor([intrinsics], dtype=torch.float32, device=gpu),
        camera.width, camera.height, near_plane=NEAR, eps2d=EPS_2D, packed=False, render_mode="RGB+D")
    # 2. Gradients by the centres in pixels, once backward has them.
    if screen_gradients is not None and meta["means2d"].requires_grad:
        def accumulate(gradient: Tensor) -> None:
            half_image = gradient.new_tensor([camera.width / 2, camera.height / 2])
            norms = (gradient.reshape(-1, 2) * half_image).norm(dim=1) * (kept >= still_count)
            screen_gradients.index_add_(0, kept.to(screen_gradients.device), norms.to(screen_gradients))

        meta["means2d"].register_hook(accumulate)
    radii = means.new_zeros(count)
    radii[kept] = meta["radii"].reshape(len(kept), -1).amax(dim=1).float()
    return RasterOutput(image=rendered[0, ..., :-1].to(home), alpha=alpha[0, ..., 0].to(home), radii=radii.to(home),
                        depth=rendered[0, ..., -1].to(home))


def _device(values: Tensor) -> torch.device:
    return values.device if values.device.type == "cuda" else torch.device("cuda")
