"""The specification of the rasterisers, in plain torch. float32 or float64, any device; slow (seconds an image).

Colours are blended as in 3D Gaussian Splatting (Kerbl et al. 2023) with gsplat's constants, which live in
`runtime/_raster_project.py` and `runtime/_raster_blend.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from baker.rasterisers import RasterOutput, hold_still
from runtime._raster_blend import ALPHA_MAX, T_MIN
from runtime._raster_project import ALPHA_MIN, BOUND_SLACK, EPS_2D, GUARD, NEAR, TILE
from runtime.types import Camera


class Projected(NamedTuple):
    """G Gaussians on the image."""

    centers: Float[Tensor, "G 2"]
    """x, y [px]."""
    conics: Float[Tensor, "G 3"]
    """Inverse covariance a, b, c [1/px2]: sigma = (a dx2 + c dy2) / 2 + b dx dy."""
    half_sizes: Float[Tensor, "G 2"]
    """Half width and height [px] of the ellipse where alpha falls to 1/255. No gradient."""
    depths: Float[Tensor, " G"]
    """Along the camera's axis [m]."""


def rasterise(means: Float[Tensor, "N 3"], quats_wxyz: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"],
              opacities: Float[Tensor, " N"], colors: Float[Tensor, "N C"], camera: Camera, *,
              screen_gradients: Float[Tensor, " N"] | None = None, still_count: int = 0) -> RasterOutput:
    """See `baker.rasterisers.Rasteriser`."""
    means, quats_wxyz, scales, opacities, colors = hold_still(still_count, means, quats_wxyz, scales, opacities, colors)
    # 1. Cull what cannot be drawn, project the rest.
    kept = drawable(means, quats_wxyz, scales, opacities, colors, camera).nonzero()[:, 0]
    opacities = opacities[kept].clamp(max=1.0)
    projected = project(means[kept], quats_wxyz[kept], scales[kept], opacities.detach(), camera)
    on_image = inside(projected, (0, camera.width), (0, camera.height)) & projected.conics.isfinite().all(dim=1)
    radii = means.new_zeros(len(means))
    radii[kept[on_image]] = projected.half_sizes[on_image].amax(dim=1).ceil()
    if screen_gradients is not None and projected.centers.requires_grad:
        projected.centers.register_hook(_screen_gradient_hook(screen_gradients, kept, camera, still_count))
    # 2. Front to back; depth is one more channel.
    order = torch.argsort(torch.where(on_image, projected.depths.detach(), torch.inf), stable=True)
    order = order[:int(on_image.sum())]
    projected = Projected(*(values[order] for values in projected))
    opacities, colors = opacities[order], torch.cat([colors[kept][order], projected.depths[:, None]], dim=1)
    # 3. Blend tile by tile: a tile's pixels times the Gaussians that reach it fit in memory.
    strips = []
    for top in range(0, camera.height, TILE):
        rows = (top, min(top + TILE, camera.height))
        tiles = []
        for left in range(0, camera.width, TILE):
            columns = (left, min(left + TILE, camera.width))
            near = inside(projected, columns, rows).nonzero()[:, 0]
            tiles.append(blend(Projected(*(v[near] for v in projected)), opacities[near], colors[near], columns, rows))
        strips.append(torch.cat(tiles, dim=1))
    blended = torch.cat(strips, dim=0)
    return RasterOutput(image=blended[..., :-2], alpha=blended[..., -1], radii=radii, depth=blended[..., -2])


def _screen_gradient_hook(screen_gradients: Tensor, kept: Tensor, camera: Camera,
                          still_count: int) -> Callable[[Tensor], None]:
    def accumulate(gradient: Tensor) -> None:
        half_image = gradient.new_tensor([camera.width / 2, camera.height / 2])
        norms = (gradient * half_image).norm(dim=1) * (kept >= still_count)
        screen_gradients.index_add_(0, kept, norms.to(screen_gradients.dtype))

    return accumulate


def drawable(means: Float[Tensor, "N 3"], quats_wxyz: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"],
             opacities: Float[Tensor, " N"], colors: Float[Tensor, "N C"], camera: Camera) -> Bool[Tensor, " N"]:
    """Finite, turned somehow, opaque enough and in front of the camera."""
    with torch.no_grad():
        depths = to_camera(means, camera)[:, 2]
        finite = torch.cat([means, quats_wxyz, scales, opacities[:, None], colors], dim=1).isfinite().all(dim=1)
        turned = quats_wxyz.square().sum(dim=1) >= 1e-24
        return finite & turned & (opacities >= ALPHA_MIN) & (depths >= NEAR)


def to_camera(points: Float[Tensor, "N 3"], camera: Camera) -> Float[Tensor, "N 3"]:
    """World to camera [m]."""
    transform = torch.as_tensor(camera.T_camera_world, dtype=points.dtype, device=points.device)
    return points @ transform[:3, :3].T + transform[:3, 3]


def project(means: Float[Tensor, "N 3"], quats_wxyz: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"],
            opacities: Float[Tensor, " N"], camera: Camera) -> Projected:
    """Perspective projection, covariance by its affine approximation (EWA splatting, Zwicker et al. 2001)."""
    x, y, z = to_camera(means, camera).unbind(dim=1)
    rotation = torch.as_tensor(camera.T_camera_world[:3, :3], dtype=means.dtype, device=means.device)
    axes = rotation @ (to_matrices(quats_wxyz) * scales[:, None, :])
    # 1. The affine approximation is taken no farther out than GUARD, or splats beside the image grow without bound.
    guard_x, guard_y = GUARD * camera.width / camera.fx, GUARD * camera.height / camera.fy
    tan_x = (x / z).clamp(-camera.cx / camera.fx - guard_x, (camera.width - camera.cx) / camera.fx + guard_x)
    tan_y = (y / z).clamp(-camera.cy / camera.fy - guard_y, (camera.height - camera.cy) / camera.fy + guard_y)
    row_x = (camera.fx / z)[:, None] * (axes[:, 0] - tan_x[:, None] * axes[:, 2])
    row_y = (camera.fy / z)[:, None] * (axes[:, 1] - tan_y[:, None] * axes[:, 2])
    # 2. Covariance and its inverse.
    xx, yy = row_x.square().sum(dim=1) + EPS_2D, row_y.square().sum(dim=1) + EPS_2D
    xy = (row_x * row_y).sum(dim=1)
    determinant = xx * yy - xy * xy
    with torch.no_grad():
        reach = 2 * torch.log(opacities / ALPHA_MIN)
        half_sizes = torch.stack([(reach * xx).sqrt(), (reach * yy).sqrt()], dim=1) + BOUND_SLACK
    return Projected(centers=torch.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], dim=1),
                     conics=torch.stack([yy, -xy, xx], dim=1) / determinant[:, None], half_sizes=half_sizes, depths=z)


def to_matrices(quats_wxyz: Float[Tensor, "N 4"]) -> Float[Tensor, "N 3 3"]:
    """Rotation matrices of quaternions of any length but zero."""
    w, x, y, z = torch.nn.functional.normalize(quats_wxyz, dim=1, eps=1e-12).unbind(dim=1)
    return torch.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1).reshape(-1, 3, 3)


def inside(projected: Projected, columns: tuple[int, int], rows: tuple[int, int]) -> Bool[Tensor, " G"]:
    """Which Gaussians' bounds meet the pixels [columns) x [rows)."""
    low, high = projected.centers - projected.half_sizes, projected.centers + projected.half_sizes
    return ((high[:, 0] > columns[0]) & (low[:, 0] < columns[1])
            & (high[:, 1] > rows[0]) & (low[:, 1] < rows[1])).detach()


def blend(projected: Projected, opacities: Float[Tensor, " G"], channels: Float[Tensor, "G K"],
          columns: tuple[int, int], rows: tuple[int, int]) -> Float[Tensor, "h w channels"]:
    """Channels and, last, alpha of the pixels [columns) x [rows); Gaussians front to back."""
    ys = torch.arange(*rows, dtype=channels.dtype, device=channels.device) + 0.5
    xs = torch.arange(*columns, dtype=channels.dtype, device=channels.device) + 0.5
    dx = xs[None, :, None] - projected.centers[:, 0]
    dy = ys[:, None, None] - projected.centers[:, 1]
    a, b, c = projected.conics.unbind(dim=1)
    sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = (opacities * torch.exp(-sigma)).clamp(max=float(ALPHA_MAX))
    drawn = (sigma >= 0) & (alpha >= ALPHA_MIN)
    alpha = torch.where(drawn, alpha, 0.0)
    after = torch.cumprod(1 - alpha, dim=-1)
    before = torch.cat([torch.ones_like(after[..., :1]), after[..., :-1]], dim=-1)
    # Once a contribution would take the transmittance to T_MIN, it and all behind it are left out.
    live = ((after > T_MIN) | ~drawn).to(torch.int8).cummin(dim=-1).values.bool() if alpha.shape[-1] else drawn
    weights = torch.where(live, alpha * before[..., :alpha.shape[-1]], 0.0)
    return torch.cat([weights @ channels, weights.sum(dim=-1, keepdim=True)], dim=-1)
