"""Structural similarity (Wang et al. 2004) with an 11 x 11 Gaussian window of sigma 1.5, zeros beyond the border, as
3D Gaussian Splatting has it. Value and gradient in closed form, worked out together.

Letters: H image height, X image width, C channels. A row of X C interleaved values is filtered as it lies: a step along
the image is C values.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from runtime import _raster_threads
from runtime._raster_blend import BLEND_OPTIONS, ZERO, aligned, f4
from runtime._raster_template import compiled
from runtime._simd import LANES, fma, load, splat, store, take

SIGMA = 1.5
"""Standard deviation of the window [px]."""
RADIUS = 5
"""Half width of the window [px]."""
C1, C2 = f4(1e-4), f4(9e-4)
"""(0.01 L)^2 and (0.03 L)^2 for values in 0..L = 1."""
BAND = 16
"""Rows that a thread takes at a time."""


def _window() -> Float[np.ndarray, " taps"]:
    kernel = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    return (kernel / kernel.sum()).astype(np.float32)


_WINDOW = _window()


def dssim(image: Float[Tensor, "H X C"], target: Float[Tensor, "H X C"]) -> Float[Tensor, ""]:
    """(1 - SSIM) / 2, differentiable in `image`. Bit-equal for any number of threads."""
    if image.device.type != "cpu" or image.dtype != torch.float32:
        return reference(image, target)
    return _Dssim.apply(image, target)


def reference(image: Float[Tensor, "H X C"], target: Float[Tensor, "H X C"]) -> Float[Tensor, ""]:
    """The same in plain torch, on any device and in any precision."""
    channels = image.shape[2]
    window = torch.from_numpy(_WINDOW).to(image)
    across = window.expand(channels, 1, 1, -1)

    def blur(values: Tensor) -> Tensor:
        rows = F.conv2d(values, across, padding=(0, RADIUS), groups=channels)
        return F.conv2d(rows, across.transpose(2, 3), padding=(RADIUS, 0), groups=channels)

    a, b = (values.permute(2, 0, 1)[None] for values in (image, target))
    p, q = blur(a), blur(b)
    covariance = 2 * (blur(a * b) - p * q) + float(C2)
    variances = blur(a * a) - p * p + blur(b * b) - q * q + float(C2)
    ssim = (2 * p * q + float(C1)) * covariance / ((p * p + q * q + float(C1)) * variances)
    return (1 - ssim.mean()) / 2


class _Dssim(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor) -> Tensor:
        height, width, channels = image.shape
        # Rows are filled up to whole vectors, and the vectors beyond the last row's end belong to the array.
        room = max(width * channels, LANES)
        a, b = (_rows(values, room) for values in (image, target))
        maps, gradient, totals = np.empty((3, height, room), np.float32), np.empty_like(a), np.empty(height)
        _raster_threads.run_taking(similarity, -(-height // BAND), a.reshape(-1), b.reshape(-1), _WINDOW, height, room,
                                   width * channels, channels, maps.reshape(-1), totals)
        _raster_threads.run_taking(similarity_backward, -(-height // BAND), a.reshape(-1), b.reshape(-1), _WINDOW,
                                   height, room, channels, maps.reshape(-1), f4(-0.5 / image.numel()),
                                   gradient.reshape(-1))
        gradient = gradient[:, :width * channels].reshape(image.shape)
        ctx.save_for_backward(torch.from_numpy(gradient))
        return torch.tensor((1 - totals.sum() / image.numel()) / 2, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return upstream * ctx.saved_tensors[0], None


def _rows(values: Tensor, room: int) -> Float[np.ndarray, "H room"]:
    rows = values.detach().reshape(len(values), -1)
    return F.pad(rows, (0, room - rows.shape[1])).contiguous().numpy()


@compiled(**BLEND_OPTIONS)
@no_type_check
def _blur_across(rows, at, window, step):
    """One vector of a row's blur; `at` is where the window's first tap lies."""
    value = splat(ZERO)
    for k in range(2 * RADIUS + 1):
        value = fma(splat(window[k]), load(rows, at + k * step), value)
    return value


@compiled(**BLEND_OPTIONS)
@no_type_check
def _padded_rows(count, room, step):
    """Room for `count` rows with the window's zeros at both ends: (zeros at an end, length of a row, all rows)."""
    margin = RADIUS * step
    size = room + 2 * margin + LANES
    rows = aligned(count * size)
    rows[:] = ZERO
    return margin, size, rows


@compiled(**BLEND_OPTIONS)
@no_type_check
def similarity(counter, bands, a, b, window, height, room, filled, step, maps, totals):
    """Sum of the SSIM map over each row, and its derivatives by the blurred a, a a and a b: `maps` [3 H room], flat.

    `a`, `b` are [H room], flat, `filled` of each row in use, `step` values a pixel.
    """
    margin, size, rows = _padded_rows(5, room, step)
    line = aligned(room + LANES)
    two, one, c1, c2 = splat(f4(2)), splat(f4(1)), splat(C1), splat(C2)
    while True:
        band = take(counter)
        if band >= bands:
            break
        for y in range(band * BAND, min((band + 1) * BAND, height)):
            # 1. Down the columns: a, b, a a, b b, a b. The last vector of a row overlaps the one before.
            for start in range(0, room, LANES):
                x = min(start, room - LANES)
                p = splat(ZERO)
                q = splat(ZERO)
                pp = splat(ZERO)
                qq = splat(ZERO)
                pq = splat(ZERO)
                for k in range(max(0, RADIUS - y), min(2 * RADIUS + 1, height + RADIUS - y)):
                    at = (y + k - RADIUS) * room + x
                    va, vb, weight = load(a, at), load(b, at), splat(window[k])
                    wa, wb = va * weight, vb * weight
                    p = p + wa
                    q = q + wb
                    pp = fma(wa, va, pp)
                    qq = fma(wb, vb, qq)
                    pq = fma(wa, vb, pq)
                store(rows, margin + x, p)
                store(rows, size + margin + x, q)
                store(rows, 2 * size + margin + x, pp)
                store(rows, 3 * size + margin + x, qq)
                store(rows, 4 * size + margin + x, pq)
            # 2. Along the row, then ssim = (t1 / d1) (t2 / d2).
            for start in range(0, room, LANES):
                x = min(start, room - LANES)
                p = _blur_across(rows, x, window, step)
                q = _blur_across(rows, size + x, window, step)
                pp = _blur_across(rows, 2 * size + x, window, step) - p * p
                qq = _blur_across(rows, 3 * size + x, window, step) - q * q
                pq = _blur_across(rows, 4 * size + x, window, step) - p * q
                by_d1, by_d2 = one / (p * p + q * q + c1), one / (pp + qq + c2)
                mean, contrast = (two * p * q + c1) * by_d1, (two * pq + c2) * by_d2
                store(line, x, mean * contrast)
                by_p = contrast * (q - mean * p) * by_d1 - mean * (q - contrast * p) * by_d2
                store(maps, y * room + x, two * by_p)
                store(maps, (height + y) * room + x, splat(ZERO) - mean * contrast * by_d2)
                store(maps, (2 * height + y) * room + x, two * mean * by_d2)
            total = 0.0
            for x in range(filled):
                total += line[x]
            totals[y] = total
            # What fills a short row up to a vector is no part of the image.
            for x in range(filled, room):
                for i in range(3):
                    maps[(i * height + y) * room + x] = ZERO


@compiled(**BLEND_OPTIONS)
@no_type_check
def similarity_backward(counter, bands, a, b, window, height, room, step, maps, scale, gradient):
    """`scale` times the gradient of the sum by `a` [H room]. The window is symmetric: its blur is its own adjoint."""
    margin, size, rows = _padded_rows(3, room, step)
    plane = height * room
    while True:
        band = take(counter)
        if band >= bands:
            break
        for y in range(band * BAND, min((band + 1) * BAND, height)):
            for start in range(0, room, LANES):
                x = min(start, room - LANES)
                p = splat(ZERO)
                pp = splat(ZERO)
                pq = splat(ZERO)
                for k in range(max(0, RADIUS - y), min(2 * RADIUS + 1, height + RADIUS - y)):
                    at, weight = (y + k - RADIUS) * room + x, splat(window[k])
                    p = fma(weight, load(maps, at), p)
                    pp = fma(weight, load(maps, plane + at), pp)
                    pq = fma(weight, load(maps, 2 * plane + at), pq)
                store(rows, margin + x, p)
                store(rows, size + margin + x, pp)
                store(rows, 2 * size + margin + x, pq)
            for start in range(0, room, LANES):
                x = min(start, room - LANES)
                at = y * room + x
                value = _blur_across(rows, x, window, step)
                value = fma(splat(f4(2)) * load(a, at), _blur_across(rows, size + x, window, step), value)
                value = fma(load(b, at), _blur_across(rows, 2 * size + x, window, step), value)
                store(gradient, at, splat(scale) * value)
