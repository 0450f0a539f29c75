"""View-dependent colour: real spherical harmonics of degree 0 to 3, in the order and signs of 3D Gaussian Splatting.

Letters: N Gaussians, K = (degree + 1)^2 coefficients a colour channel. A colour is max(0, 0.5 + sum_k sh_k Y_k(d)), d
the direction from the camera to the Gaussian's centre.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from runtime import _raster_threads
from runtime._raster_template import compiled
from runtime.types import SH_C0, Camera

C1 = 0.4886025119029199
"""sqrt(3 / (4 pi))."""
C2_XY, C2_ZZ, C2_XX = 1.0925484305920792, 0.31539156525252005, 0.5462742152960396
"""sqrt(15 / (4 pi)), sqrt(5 / (16 pi)), sqrt(15 / (16 pi))."""
C3_33, C3_32, C3_31, C3_30, C3_2 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154,
                                    1.445305721320277)
"""sqrt(35 / (32 pi)), sqrt(105 / (4 pi)), sqrt(21 / (32 pi)), sqrt(7 / (16 pi)), sqrt(105 / (16 pi))."""
COUNTS = (1, 4, 9, 16)
"""K of the degrees."""


def colors(sh: Float[Tensor, "N K 3"], means: Float[Tensor, "N 3"], camera: Camera) -> Float[Tensor, "N 3"]:
    """sRGB colours as `camera` sees them, differentiable in both; the gradient of a channel that is clamped is zero.

    Raises `ValueError` unless K is 1, 4, 9 or 16.
    """
    if sh.shape[1] not in COUNTS:
        raise ValueError(f"{sh.shape[1]} spherical harmonics: degrees 0 to 3 have {', '.join(map(str, COUNTS))}")
    if any(values.device.type != "cpu" or values.dtype != torch.float32 for values in (sh, means)):
        return reference(sh, means, camera)
    return _Colors.apply(sh, means, camera_center(camera))


def reference(sh: Float[Tensor, "N K 3"], means: Float[Tensor, "N 3"], camera: Camera) -> Float[Tensor, "N 3"]:
    """The same in plain torch, on any device and in any precision."""
    toward = means - torch.as_tensor(camera_center(camera), dtype=means.dtype, device=means.device)
    x, y, z = torch.nn.functional.normalize(toward, dim=1).unbind(dim=1)
    xx, yy, zz = x * x, y * y, z * z
    basis = torch.stack([
        torch.full_like(x, SH_C0), -C1 * y, C1 * z, -C1 * x,
        C2_XY * x * y, -C2_XY * y * z, C2_ZZ * (2 * zz - xx - yy), -C2_XY * x * z, C2_XX * (xx - yy),
        -C3_33 * y * (3 * xx - yy), C3_32 * x * y * z, -C3_31 * y * (4 * zz - xx - yy),
        C3_30 * z * (2 * zz - 3 * xx - 3 * yy), -C3_31 * x * (4 * zz - xx - yy), C3_2 * z * (xx - yy),
        -C3_33 * x * (xx - 3 * yy)], dim=1)
    return (0.5 + (basis[:, :sh.shape[1], None] * sh).sum(dim=1)).clamp(min=0)


def camera_center(camera: Camera) -> Float[np.ndarray, " 3"]:
    """Where the camera stands in the world [m]."""
    return -camera.T_camera_world[:3, :3].T @ camera.T_camera_world[:3, 3]


class _Colors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sh: Tensor, means: Tensor, center: np.ndarray) -> Tensor:
        out = torch.empty(len(means), 3)
        arrays = [values.detach().contiguous().numpy() for values in (sh, means)]
        _raster_threads.run(_evaluate, len(means), *arrays, center.astype(np.float64), out.numpy())
        ctx.save_for_backward(sh, means, out)
        ctx.center = center
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        sh, means, out = ctx.saved_tensors
        by_sh, by_means = torch.empty(sh.shape), torch.empty(means.shape)
        arrays = [values.detach().contiguous().numpy() for values in (sh, means, out, gradient)]
        _raster_threads.run(_evaluate_backward, len(means), *arrays, ctx.center.astype(np.float64), by_sh.numpy(),
                            by_means.numpy())
        return by_sh, by_means, None


@compiled(inline="always", error_model="numpy")
@no_type_check
def _direction(means, i, center):
    """Unit vector from the camera, and the distance's inverse; zero at the camera itself."""
    x, y, z = means[i, 0] - center[0], means[i, 1] - center[1], means[i, 2] - center[2]
    inverse = 1 / max(np.sqrt(x * x + y * y + z * z), 1e-12)
    return x * inverse, y * inverse, z * inverse, inverse


@compiled(error_model="numpy")
@no_type_check
def _fill_basis(x, y, z, count, basis):
    """basis[:count] of a direction."""
    xx, yy, zz = x * x, y * y, z * z
    basis[0] = SH_C0
    if count > 1:
        basis[1], basis[2], basis[3] = -C1 * y, C1 * z, -C1 * x
    if count > 4:
        basis[4], basis[5], basis[6] = C2_XY * x * y, -C2_XY * y * z, C2_ZZ * (2 * zz - xx - yy)
        basis[7], basis[8] = -C2_XY * x * z, C2_XX * (xx - yy)
    if count > 9:
        basis[9], basis[10], basis[11] = -C3_33 * y * (3 * xx - yy), C3_32 * x * y * z, -C3_31 * y * (4 * zz - xx - yy)
        basis[12], basis[13] = C3_30 * z * (2 * zz - 3 * xx - 3 * yy), -C3_31 * x * (4 * zz - xx - yy)
        basis[14], basis[15] = C3_2 * z * (xx - yy), -C3_33 * x * (xx - 3 * yy)


@compiled(error_model="numpy")
@no_type_check
def _evaluate(begin, end, sh, means, center, out):
    """Rows begin..end of the colours."""
    count = sh.shape[1]
    basis = np.empty(16)
    for i in range(begin, end):
        x, y, z, _ = _direction(means, i, center)
        _fill_basis(x, y, z, count, basis)
        for c in range(3):
            value = 0.5
            for k in range(count):
                value += basis[k] * sh[i, k, c]
            # Not max(): a NaN has to stay one, so that the rasteriser drops the Gaussian.
            out[i, c] = 0.0 if value < 0.0 else value


@compiled(error_model="numpy")
@no_type_check
def _evaluate_backward(begin, end, sh, means, out, gradient, center, by_sh, by_means):
    """Rows begin..end of the gradients by coefficients and centres."""
    count = sh.shape[1]
    basis, s = np.empty(16), np.zeros(16)
    for i in range(begin, end):
        x, y, z, inverse = _direction(means, i, center)
        _fill_basis(x, y, z, count, basis)
        for k in range(count):
            s[k] = 0.0
            for c in range(3):
                g = gradient[i, c] if out[i, c] > 0 else np.float32(0)
                by_sh[i, k, c] = basis[k] * g
                s[k] += g * sh[i, k, c]
        # The basis by the direction, times s.
        dx, dy, dz = -C1 * s[3], -C1 * s[1], C1 * s[2]
        if count > 4:
            dx += C2_XY * (y * s[4] - z * s[7]) + 2 * x * (C2_XX * s[8] - C2_ZZ * s[6])
            dy += C2_XY * (x * s[4] - z * s[5]) - 2 * y * (C2_XX * s[8] + C2_ZZ * s[6])
            dz += 4 * C2_ZZ * z * s[6] - C2_XY * (y * s[5] + x * s[7])
        if count > 9:
            xx, yy, zz, xy, xz, yz = x * x, y * y, z * z, x * y, x * z, y * z
            dx += (-6 * C3_33 * xy * s[9] + C3_32 * yz * s[10] + 2 * C3_31 * xy * s[11] - 6 * C3_30 * xz * s[12]
                   - C3_31 * (4 * zz - 3 * xx - yy) * s[13] + 2 * C3_2 * xz * s[14] - 3 * C3_33 * (xx - yy) * s[15])
            dy += (-3 * C3_33 * (xx - yy) * s[9] + C3_32 * xz * s[10] - C3_31 * (4 * zz - xx - 3 * yy) * s[11]
                   - 6 * C3_30 * yz * s[12] + 2 * C3_31 * xy * s[13] - 2 * C3_2 * yz * s[14] + 6 * C3_33 * xy * s[15])
            dz += (C3_32 * xy * s[10] - 8 * C3_31 * yz * s[11] + 3 * C3_30 * (2 * zz - xx - yy) * s[12]
                   - 8 * C3_31 * xz * s[13] + C3_2 * (xx - yy) * s[14])
        # Through the normalisation.
        along = dx * x + dy * y + dz * z
        by_means[i, 0] = (dx - along * x) * inverse
        by_means[i, 1] = (dy - along * y) * inverse
        by_means[i, 2] = (dz - along * z) * inverse
