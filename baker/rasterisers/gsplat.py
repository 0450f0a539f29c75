"""The rasteriser of a machine with an NVIDIA GPU: a thin adapter on `gsplat.rasterization`.

gsplat compiles its kernels at first use, so it needs CUDA's compiler as well as a GPU. Its sums use atomics: two runs
agree closely, not bit for bit.
"""

from __future__ import annotations

import torch
from gsplat import rasterization
from jaxtyping import Float
from torch import Tensor

from baker.rasterisers import RasterOutput
from baker.rasterisers.reference import drawable
from runtime._raster_project import EPS_2D, NEAR
from runtime.types import Camera


def rasterise(means: Float[Tensor, "N 3"], quats_wxyz: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"],
              opacities: Float[Tensor, " N"], colors: Float[Tensor, "N C"], camera: Camera, *,
              screen_gradients: Float[Tensor, " N"] | None = None) -> RasterOutput:
    """See `baker.rasterisers.Rasteriser`. CPU tensors are copied to the GPU and the result back."""
    home, count = means.device, len(means)
    gpu = home if home.type == "cuda" else torch.device("cuda")
    means, quats_wxyz, scales, opacities, colors = (
        values.to(gpu, torch.float32) for values in (means, quats_wxyz, scales, opacities, colors))
    # gsplat draws NaN into whole tiles; rows that cannot be drawn do not reach it.
    kept = drawable(means, quats_wxyz, scales, opacities, colors, camera).nonzero()[:, 0]
    if len(kept) == 0:
        size = (camera.height, camera.width)
        nothing = 0.0 * (means.nansum() + colors.nansum())  # keeps the outputs differentiable
        return RasterOutput(image=(nothing + means.new_zeros(*size, colors.shape[1])).to(home),
                            alpha=(nothing + means.new_zeros(size)).to(home), radii=means.new_zeros(count).to(home),
                            depth=(nothing + means.new_zeros(size)).to(home))
    rendered, alpha, meta = rasterization(
        means[kept], quats_wxyz[kept], scales[kept], opacities[kept].clamp(max=1.0), colors[kept],
        torch.as_tensor(camera.T_camera_world, dtype=torch.float32, device=gpu)[None],
        torch.tensor([[[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]]], device=gpu),
        camera.width, camera.height, near_plane=NEAR, eps2d=EPS_2D, packed=False, render_mode="RGB+D")
    if screen_gradients is not None and meta["means2d"].requires_grad:
        def accumulate(gradient: Tensor) -> None:
            half_image = gradient.new_tensor([camera.width / 2, camera.height / 2])
            norms = (gradient.reshape(-1, 2) * half_image).norm(dim=1)
            screen_gradients.index_add_(0, kept.to(screen_gradients.device), norms.to(screen_gradients))

        meta["means2d"].register_hook(accumulate)
    radii = means.new_zeros(count)
    radii[kept] = meta["radii"].reshape(len(kept), -1).amax(dim=1).float()
    return RasterOutput(image=rendered[0, ..., :-1].to(home), alpha=alpha[0, ..., 0].to(home), radii=radii.to(home),
                        depth=rendered[0, ..., -1].to(home))
