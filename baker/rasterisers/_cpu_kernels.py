"""Backward of `runtime`'s blending and projection (numba).

Blending is walked front to back again; what lies behind a contribution is the total minus what came before, so no
per-pixel list is kept. Each tile intersection writes its gradient to its own row of a buffer, and each Gaussian sums
its rows in order: no atomics, so two runs agree bit for bit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, no_type_check

import numpy as np

from runtime._raster_blend import (  # noqa: F401  the kernel text uses them
    ALPHA_MAX,
    ALPHA_MIN,
    BLEND_OPTIONS,
    HALF,
    ONE,
    T_MIN,
    ZERO,
    exp,
    f4,
)
from runtime._raster_project import GUARD, PROJECT_OPTIONS, TILE  # noqa: F401
from runtime._raster_template import compiled, specialise

GEOMETRY = 6
"""Gradient columns before the channels': centre x, y; inverse covariance a, b, c; opacity."""

BACKWARD = '''
def kernel_$K(begin, end, splats, channels, tile_starts, ids, slots, width, height, image, alpha, depth,
              grad_image, grad_alpha, grad_depth, rows_out):
    tiles_x = (width + TILE - 1) // TILE
    for t in range(begin, end):
        first = tile_starts[t]
        last = tile_starts[t + 1]
        if first == last:
            continue
        ty = t // tiles_x * TILE
        tx = t % tiles_x * TILE
        rows = min(TILE, height - ty)
        cols = min(TILE, width - tx)
        alive = rows
        # Planes: transmittance, what is still to come of sum(gradient * output), the output's gradient per channel.
        B = np.zeros(($K + 2) * 256, f4)
        Q = np.zeros(($K + 6) * TILE, f4)
        stopped = np.zeros(TILE, np.uint8)
        for r in range(rows):
            for l in range(TILE):
                i = r * TILE + l
                if l >= cols:
                    B[i] = f4(-1)
                    continue
                pixel = (ty + r) * width + tx + l
                B[i] = ONE
                total = grad_depth[pixel] * depth[pixel] - grad_alpha[pixel] * (ONE - alpha[pixel])
                for c in range($K - 1):
                    g_c = grad_image[pixel * ($K - 1) + c]
                    B[(2 + c) * 256 + i] = g_c
                    total += g_c * image[pixel * ($K - 1) + c]
                B[($K + 1) * 256 + i] = grad_depth[pixel]
                B[256 + i] = total
        for k in range(first, last):
            slot = np.uint32(slots[k])
            if alive <= 0:
                for j in range($K + 6):
                    rows_out[slot, j] = ZERO
                continue
            g = np.uint32(ids[k])
            gx = splats[g, 0] - f4(tx) - HALF
            gy = splats[g, 1] - f4(ty) - HALF
            cA = splats[g, 2]
            cb = splats[g, 3]
            cC = splats[g, 4]
            ca = -HALF * cA
            cc = -HALF * cC
            opacity = splats[g, 5]
            reach = splats[g, 7]
            color$c = channels[g, $c]
            r0 = int(math.ceil(max(gy - reach, ZERO)))
            r1 = int(math.floor(min(gy + reach, f4(rows - 1))))
            Q[:] = ZERO
            for r in range(r0, r1 + 1):
                if stopped[r]:
                    continue
                dy = f4(r) - gy
                k1 = -cb * dy
                k0 = cc * dy * dy
                b = np.uint32(r * TILE)
                for l in range(np.uint32(TILE)):
                    grad$c = B[b + l + np.uint32($c * 256 + 512)]
                    gain = ZERO
                    gain += grad$c * color$c
                    dx = f4(l) - gx
                    s = (ca * dx + k1) * dx + k0
                    e = exp(max(s, f4(-6)))
                    raw = e * opacity
                    a = min(raw, ALPHA_MAX)
                    T = B[b + l]
                    rest = ONE - a
                    T_next = T * rest
                    drawn = (s <= ZERO) & (a >= ALPHA_MIN) & (T > ZERO)
                    use = drawn & (T_next > T_MIN)
                    stop = drawn & (T_next <= T_MIN)
                    w = a * T if use else ZERO
                    behind = B[b + l + np.uint32(256)] - w * gain
                    B[b + l + np.uint32(256)] = behind
                    d_alpha = T * gain - behind / rest
                    d_alpha = d_alpha if (use & (raw < ALPHA_MAX)) else ZERO
                    d_opacity = d_alpha * e
                    d_s = d_opacity * opacity
                    mx = d_s * dx
                    my = d_s * dy
                    Q[l] += d_opacity
                    Q[l + np.uint32(16)] += mx * dx
                    Q[l + np.uint32(32)] += my * dx
                    Q[l + np.uint32(48)] += my * dy
                    Q[l + np.uint32(64)] += mx
                    Q[l + np.uint32(80)] += my
                    Q[l + np.uint32($c * 16 + 96)] += w * grad$c
                    v = T_next if use else T
                    B[b + l] = -v if stop else v
            if (k & 7) == 7:
                for r in range(r0, r1 + 1):
                    if not stopped[r]:
                        most = f4(-1)
                        b = np.uint32(r * TILE)
                        for l in range(np.uint32(TILE)):
                            most = max(most, B[b + l])
                        if most <= ZERO:
                            stopped[r] = 1
                            alive -= 1
            s_opacity = ZERO
            s_xx = ZERO
            s_xy = ZERO
            s_yy = ZERO
            s_x = ZERO
            s_y = ZERO
            s_color$c = ZERO
            for l in range(np.uint32(TILE)):
                s_opacity += Q[l]
                s_xx += Q[l + np.uint32(16)]
                s_xy += Q[l + np.uint32(32)]
                s_yy += Q[l + np.uint32(48)]
                s_x += Q[l + np.uint32(64)]
                s_y += Q[l + np.uint32(80)]
                s_color$c += Q[l + np.uint32($c * 16 + 96)]
            rows_out[slot, 0] = cA * s_x + cb * s_y
            rows_out[slot, 1] = cb * s_x + cC * s_y
            rows_out[slot, 2] = -HALF * s_xx
            rows_out[slot, 3] = -s_xy
            rows_out[slot, 4] = -HALF * s_yy
            rows_out[slot, 5] = s_opacity
            rows_out[slot, np.uint32($c + 6)] = s_color$c
'''


@functools.cache
def blend_backward(channels: int) -> Callable[..., Any]:
    """Backward of `runtime._raster_blend.blend_forward`: for the tiles begin..end, writes `rows_out
    [I 6+K]`, one row per intersection.

    Images and their gradients are flat; `image` holds K - 1 values a pixel.
    """
    return specialise(BACKWARD, channels=channels, module=globals(), options=BLEND_OPTIONS)


@compiled(error_model="numpy")
@no_type_check
def sum_rows(begin, end, rows, first_slot, sums):
    """Each Gaussian's gradient `sums [N S]` from its rows of [I S], always summed in the same order."""
    for i in range(begin, end):
        sums[i, :] = ZERO
        for k in range(first_slot[i], first_slot[i + 1]):
            for j in range(sums.shape[1]):
                sums[i, j] += rows[k, j]


@compiled(**PROJECT_OPTIONS)
@no_type_check
def project_backward(begin, end, means, quats, scales, opacities, view, pinhole, splats, sums, grad_means,
                     grad_quats, grad_scales, grad_opacities):
    """Fill the gradients of the first four from `sums`; culled Gaussians get zero."""
    fx, fy, cx, cy, width, height = pinhole[0], pinhole[1], pinhole[2], pinhole[3], pinhole[4], pinhole[5]
    left, right = -cx / fx - GUARD * width / fx, (width - cx) / fx + GUARD * width / fx
    top, bottom = -cy / fy - GUARD * height / fy, (height - cy) / fy + GUARD * height / fy
    for i in range(begin, end):
        grad_means[i, :] = f4(0)
        grad_quats[i, :] = f4(0)
        grad_scales[i, :] = f4(0)
        grad_opacities[i] = f4(0)
        if splats[i, 6] <= 0:
            continue
        grad_opacities[i] = sums[i, 5] if opacities[i] <= 1 else f4(0)
        # 1. The forward pass again, names as in `project`.
        m0, m1, m2 = np.float64(means[i, 0]), np.float64(means[i, 1]), np.float64(means[i, 2])
        X = view[0, 0] * m0 + view[0, 1] * m1 + view[0, 2] * m2 + view[0, 3]
        Y = view[1, 0] * m0 + view[1, 1] * m1 + view[1, 2] * m2 + view[1, 3]
        Z = view[2, 0] * m0 + view[2, 1] * m1 + view[2, 2] * m2 + view[2, 3]
        w, x, y, z = np.float64(quats[i, 0]), np.float64(quats[i, 1]), np.float64(quats[i, 2]), np.float64(quats[i, 3])
        n = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
        w, x, y, z = w * n, x * n, y * n, z * n
        s0, s1, s2 = np.float64(scales[i, 0]), np.float64(scales[i, 1]), np.float64(scales[i, 2])
        R00, R01, R02 = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
        R10, R11, R12 = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
        R20, R21, R22 = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
        r00, r01, r02 = R00 * s0, R01 * s1, R02 * s2
        r10, r11, r12 = R10 * s0, R11 * s1, R12 * s2
        r20, r21, r22 = R20 * s0, R21 * s1, R22 * s2
        tan_x, tan_y = X / Z, Y / Z
        tx, ty = min(max(tan_x, left), right), min(max(tan_y, top), bottom)
        ax, ay = fx / Z, fy / Z
        j0, j1, j2 = view[0, 0] - tx * view[2, 0], view[0, 1] - tx * view[2, 1], view[0, 2] - tx * view[2, 2]
        k0, k1, k2 = view[1, 0] - ty * view[2, 0], view[1, 1] - ty * view[2, 1], view[1, 2] - ty * view[2, 2]
        u0, u1, u2, v0, v1, v2 = ax * j0, ax * j1, ax * j2, ay * k0, ay * k1, ay * k2
        p0, p1, p2 = (u0 * r00 + u1 * r10 + u2 * r20, u0 * r01 + u1 * r11 + u2 * r21, u0 * r02 + u1 * r12 + u2 * r22)
        q0, q1, q2 = (v0 * r00 + v1 * r10 + v2 * r20, v0 * r01 + v1 * r11 + v2 * r21, v0 * r02 + v1 * r12 + v2 * r22)
        # 2. Inverse covariance P to covariance: dL/dC = -P (dL/dP) P; b stands twice in P, so half its gradient each.
        a, b, c = np.float64(splats[i, 2]), np.float64(splats[i, 3]), np.float64(splats[i, 4])
        ga, gb, gc = np.float64(sums[i, 2]), 0.5 * sums[i, 3], np.float64(sums[i, 4])
        e0, e1, e2, e3 = a * ga + b * gb, a * gb + b * gc, b * ga + c * gb, b * gb + c * gc
        h00, h01, h11 = -(e0 * a + e1 * b), -2 * (e0 * b + e1 * c), -(e2 * b + e3 * c)
        # 3. Covariance to its square root rows p, q, and those to R S and to the Jacobian's rows u, v.
        d0, d1, d2 = 2 * h00 * p0 + h01 * q0, 2 * h00 * p1 + h01 * q1, 2 * h00 * p2 + h01 * q2
        f0, f1, f2 = 2 * h11 * q0 + h01 * p0, 2 * h11 * q1 + h01 * p1, 2 * h11 * q2 + h01 * p2
        g00, g01, g02 = u0 * d0 + v0 * f0, u0 * d1 + v0 * f1, u0 * d2 + v0 * f2
        g10, g11, g12 = u1 * d0 + v1 * f0, u1 * d1 + v1 * f1, u1 * d2 + v1 * f2
        g20, g21, g22 = u2 * d0 + v2 * f0, u2 * d1 + v2 * f1, u2 * d2 + v2 * f2
        grad_scales[i, 0] = f4(g00 * R00 + g10 * R10 + g20 * R20)
        grad_scales[i, 1] = f4(g01 * R01 + g11 * R11 + g21 * R21)
        grad_scales[i, 2] = f4(g02 * R02 + g12 * R12 + g22 * R22)
        # 4. Rotation to the quaternion, then through its normalisation.
        g00, g10, g20 = g00 * s0, g10 * s0, g20 * s0
        g01, g11, g21 = g01 * s1, g11 * s1, g21 * s1
        g02, g12, g22 = g02 * s2, g12 * s2, g22 * s2
        gw = 2 * (z * (g10 - g01) + y * (g02 - g20) + x * (g21 - g12))
        gx = 2 * (y * (g01 + g10) + z * (g02 + g20) + w * (g21 - g12) - 2 * x * (g11 + g22))
        gy = 2 * (x * (g01 + g10) + z * (g12 + g21) + w * (g02 - g20) - 2 * y * (g00 + g22))
        gz = 2 * (x * (g02 + g20) + y * (g12 + g21) + w * (g10 - g01) - 2 * z * (g00 + g11))
        along = gw * w + gx * x + gy * y + gz * z
        grad_quats[i, 0], grad_quats[i, 1] = f4((gw - w * along) * n), f4((gx - x * along) * n)
        grad_quats[i, 2], grad_quats[i, 3] = f4((gy - y * along) * n), f4((gz - z * along) * n)
        # 5. Jacobian, centre and depth to the camera-space position; a clamped tangent carries no gradient.
        du0, du1, du2 = (r00 * d0 + r01 * d1 + r02 * d2, r10 * d0 + r11 * d1 + r12 * d2, r20 * d0 + r21 * d1 + r22 * d2)
        dv0, dv1, dv2 = (r00 * f0 + r01 * f1 + r02 * f2, r10 * f0 + r11 * f1 + r12 * f2, r20 * f0 + r21 * f1 + r22 * f2)
        grad_ax, grad_ay = du0 * j0 + du1 * j1 + du2 * j2, dv0 * k0 + dv1 * k1 + dv2 * k2
        grad_tx = -ax * (du0 * view[2, 0] + du1 * view[2, 1] + du2 * view[2, 2]) if left <= tan_x <= right else 0.0
        grad_ty = -ay * (dv0 * view[2, 0] + dv1 * view[2, 1] + dv2 * view[2, 2]) if top <= tan_y <= bottom else 0.0
        grad_tx += sums[i, 0] * fx
        grad_ty += sums[i, 1] * fy
        dX, dY = grad_tx / Z, grad_ty / Z
        dZ = sums[i, sums.shape[1] - 1] - (grad_ax * ax + grad_ay * ay + grad_tx * tan_x + grad_ty * tan_y) / Z
        for j in range(3):
            grad_means[i, j] = f4(view[0, j] * dX + view[1, j] * dY + view[2, j] * dZ)
