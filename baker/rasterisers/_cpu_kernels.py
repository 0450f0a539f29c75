"""Backward of `runtime`'s blending and projection (numba).

Blending is walked front to back again; what lies behind a contribution is the total minus what came before, so no
per-pixel list is kept. Each tile intersection writes its gradient to its own row of a buffer, and each Gaussian sums
its rows in order: no atomic sums, so two runs agree bit for bit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, no_type_check

import numpy as np

from runtime._raster_blend import (  # noqa: F401  the kernel text uses them
    ALPHA_MAX,
    BLEND_OPTIONS,
    HALF,
    ONE,
    PIECES,
    ZERO,
    aligned,
    contribution,
    f4,
    fill_lines,
    place,
    u4,
)
from runtime._raster_project import CHUNK, GUARD, PROJECT_OPTIONS
from runtime._raster_project import TILE as TILE
from runtime._raster_template import compiled, specialise
from runtime._simd import (  # noqa: F401  the kernel text uses them
    LANES,
    both,
    fma,
    greater,
    load,
    lowest_bit,
    ramp_by_8,
    ramp_of_8,
    select,
    splat,
    store,
    sums,
    take,
)

GEOMETRY = 6
"""Gradient columns before the channels': sums over pixels of p, p u, p v, p u^2, p u v, p v^2; p is the gradient by the
splat's falloff exp(-(u^2 + v^2)), over the opacity."""


def row_width(channels: int) -> int:
    """Floats of one intersection's gradient: whole vectors."""
    return -(-(GEOMETRY + channels) // LANES) * LANES


BACKWARD = '''
def kernel_$K(counter, tiles, splats, channels, tile_starts, ids, slots, touched, still_count, width, height, image,
              alpha, depth, grad_image, grad_alpha, grad_depth, rows_out):
    tiles_x = (width + TILE - 1) // TILE
    # A piece: transmittance, what is still to come of sum(gradient * output), the output's gradient per channel.
    tile = aligned(($K + 2) * TILE * TILE)
    lines = np.empty(2 * PIECES, f4)
    column, row = ramp_by_8(), ramp_of_8()
    while True:
        t = take(counter)
        if t >= tiles:
            break
        first = tile_starts[t]
        last = tile_starts[t + 1]
        if first == last:
            continue
        ty = t // tiles_x * TILE
        tx = t % tiles_x * TILE
        rows = min(TILE, height - ty)
        cols = min(TILE, width - tx)
        tile[:] = ZERO
        for r in range(TILE):
            for l in range(TILE):
                i = place(r, l)
                i = i // LANES * (($K + 2) * LANES) + i % LANES
                if r >= rows or l >= cols:
                    tile[i] = -ONE
                    continue
                pixel = (ty + r) * width + tx + l
                tile[i] = ONE
                total = grad_depth[pixel] * depth[pixel] - grad_alpha[pixel] * (ONE - alpha[pixel])
                for c in range($K - 1):
                    g_c = grad_image[pixel * ($K - 1) + c]
                    tile[i + (2 + c) * LANES] = g_c
                    total += g_c * image[pixel * ($K - 1) + c]
                tile[i + ($K + 1) * LANES] = grad_depth[pixel]
                tile[i + LANES] = total
        for k in range(first, last):
            out = np.int64(slots[k]) * $WIDTH
            todo = touched[k]
            g = u4(ids[k])
            still = ids[k] < still_count
            if todo == u4(0):
                if not still:
                    for j in range($WIDTH):
                        rows_out[out + j] = ZERO
                continue
            A = splats[g, 2]
            B = splats[g, 3]
            D = splats[g, 4]
            fill_lines(A, B, D, f4(tx) + HALF - splats[g, 0], f4(ty) + HALF - splats[g, 1], lines)
            u_lanes = fma(splat(A), column, splat(B) * row)
            v_lanes = splat(D) * row
            opacity = splat(splats[g, 5])
            color$c = splat(channels[g, $c])
            if still:
                # What it leaves for those behind it, and nothing of its own.
                while todo != u4(0):
                    j = lowest_bit(todo)
                    todo &= todo - u4(1)
                    b = j * u4(($K + 2) * LANES)
                    u = u_lanes + splat(lines[j])
                    v = v_lanes + splat(lines[j + u4(PIECES)])
                    _, _, _, w, T, _ = contribution(u, v, opacity, load(tile, b))
                    store(tile, b, T)
                    gain = splat(ZERO)
                    gain = fma(load(tile, b + u4($c * LANES + 2 * LANES)), color$c, gain)
                    store(tile, b + u4(LANES), load(tile, b + u4(LANES)) - w * gain)
                continue
            s_0 = splat(ZERO)
            s_u = splat(ZERO)
            s_v = splat(ZERO)
            s_uu = splat(ZERO)
            s_uv = splat(ZERO)
            s_vv = splat(ZERO)
            s_color$w = splat(ZERO)
            while todo != u4(0):
                j = lowest_bit(todo)
                todo &= todo - u4(1)
                b = j * u4(($K + 2) * LANES)
                u = u_lanes + splat(lines[j])
                v = v_lanes + splat(lines[j + u4(PIECES)])
                T = load(tile, b)
                e, raw, a, w, T_behind, drawn = contribution(u, v, opacity, T)
                store(tile, b, T_behind)
                gain = splat(ZERO)
                gain = fma(load(tile, b + u4($c * LANES + 2 * LANES)), color$c, gain)
                s_color$w = fma(w, load(tile, b + u4($w * LANES + 2 * LANES)), s_color$w)
                behind = load(tile, b + u4(LANES)) - w * gain
                store(tile, b + u4(LANES), behind)
                by_alpha = T * gain - behind / (splat(ONE) - a)
                p = select(both(drawn, greater(splat(ALPHA_MAX), raw)), by_alpha * e, splat(ZERO))
                p_u = p * u
                p_v = p * v
                s_0 = s_0 + p
                s_u = s_u + p_u
                s_v = s_v + p_v
                s_uu = fma(p_u, u, s_uu)
                s_uv = fma(p_u, v, s_uv)
                s_vv = fma(p_v, v, s_vv)
$STORES
'''


@functools.cache
def blend_backward(channels: int, *, colors: bool) -> Callable[..., Any]:
    """Backward of `runtime._raster_blend.blend_forward` for the tiles that `counter` hands out: writes `rows_out
    [I row_width]`, flat, one row per intersection of a Gaussian from `still_count` on.

    Images and their gradients are flat; `image` holds K - 1 values a pixel. Without `colors` the only channel that has
    a gradient is the last, depth.
    """
    wanted = range(channels) if colors else range(channels - 1, channels)
    names = ["s_0", "s_u", "s_v", "s_uu", "s_uv", "s_vv", *(f"s_color{c}" for c in wanted)]
    stores = [f"            store(rows_out, out + {at}, sums(({', '.join(names[at:at + LANES])},)))"
              for at in range(0, len(names), LANES)]
    lines = BACKWARD.replace("$STORES", "\n".join(stores)).replace("$WIDTH", str(row_width(len(wanted)))).splitlines()
    text = "\n".join(line.replace("$w", str(c)) for line in lines for c in (wanted if "$w" in line else (0,)))
    name = f"kernel_$K{'' if colors else '_still_colors'}"
    return specialise(text.replace("kernel_$K", name), channels=channels, module=globals(), options=BLEND_OPTIONS,
                      name=name)


@compiled(**PROJECT_OPTIONS)
@no_type_check
def project_backward(counter, count, means, quats, scales, opacities, view, pinhole, splats, rows, width, first_slot,
                     still_count, grad_means, grad_quats, grad_scales, grad_opacities, grad_colors, grad_centers):
    """Sum each Gaussian's rows of `rows`, `width` floats wide, always in the same order, and fill the gradients;
    culled Gaussians and the first `still_count` get zero."""
    while True:
        begin = take(counter) * CHUNK
        if begin >= count:
            break
        _project_rows_backward(begin, min(begin + CHUNK, count), means, quats, scales, opacities, view, pinhole, splats,
                               rows, width, first_slot, still_count, grad_means, grad_quats, grad_scales,
                               grad_opacities, grad_colors, grad_centers)


@compiled(**PROJECT_OPTIONS)
@no_type_check
def _project_rows_backward(begin, end, means, quats, scales, opacities, view, pinhole, splats, rows, width, first_slot,
                           still_count, grad_means, grad_quats, grad_scales, grad_opacities, grad_colors, grad_centers):
    fx, fy, cx, cy, image_width, height = pinhole[0], pinhole[1], pinhole[2], pinhole[3], pinhole[4], pinhole[5]
    left, right = -cx / fx - GUARD * image_width / fx, (image_width - cx) / fx + GUARD * image_width / fx
    top, bottom = -cy / fy - GUARD * height / fy, (height - cy) / fy + GUARD * height / fy
    colors = grad_colors.shape[1]
    total = np.empty(width, f4)
    for i in range(begin, end):
        for at in range(0, width, LANES):
            part = splat(ZERO)
            if i >= still_count:
                for k in range(first_slot[i], first_slot[i + 1]):
                    part = part + load(rows, np.int64(k) * width + at)
            store(total, at, part)
        for c in range(colors):
            grad_colors[i, c] = total[GEOMETRY + c]
        grad_centers[i, 0], grad_centers[i, 1] = f4(0), f4(0)
        grad_means[i, :] = f4(0)
        grad_quats[i, :] = f4(0)
        grad_scales[i, :] = f4(0)
        grad_opacities[i] = f4(0)
        if splats[i, 7] <= 0 or i < still_count:
            continue
        grad_opacities[i] = total[0] if opacities[i] <= 1 else f4(0)
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
        # 2. The exponent is |F d|^2, F = (A B; 0 D), d from the centre; the inverse covariance is 2 F'F. With g the
        # gradient by the exponent at each pixel: dL/dcentre = -2 F' sum(g F d), dL/dC = -2 F' sum(g F d d' F') F.
        # The off-diagonal entry stands twice in C.
        A, B, D = np.float64(splats[i, 2]), np.float64(splats[i, 3]), np.float64(splats[i, 4])
        g = -np.float64(splats[i, 5])
        by_x, by_y = -2 * g * A * total[1], -2 * g * (B * total[1] + D * total[2])
        Muu, Muv, Mvv = g * total[3], g * total[4], g * total[5]
        h00, h01 = -2 * A * A * Muu, -4 * A * (B * Muu + D * Muv)
        h11 = -2 * (B * B * Muu + 2 * B * D * Muv + D * D * Mvv)
        grad_centers[i, 0], grad_centers[i, 1] = f4(by_x), f4(by_y)
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
        grad_tx += by_x * fx
        grad_ty += by_y * fy
        dX, dY = grad_tx / Z, grad_ty / Z
        dZ = total[GEOMETRY + colors] - (grad_ax * ax + grad_ay * ay + grad_tx * tan_x + grad_ty * tan_y) / Z
        for j in range(3):
            grad_means[i, j] = f4(view[0, j] * dX + view[1, j] * dY + view[2, j] * dZ)
