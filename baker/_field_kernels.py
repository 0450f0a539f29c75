"""HexPlane lookup and decoder at fixed points, forward and backward, in one pass over the points (numba).

Letters: M points, P points of a batch, L levels, R cells along an axis, D features of a level (a multiple of LANES),
U units of a hidden layer (too). All arrays are flat float32 in the order of their letters.

A batch's features and activations stay in the first-level cache; backward works them out again, which costs less than
writing 160 floats a point to memory and reading them back. Gradients of planes and weights are sums over points: the
points are cut into `BLOCKS` parts, each with sums of its own that are added in order afterwards, so the result does
not depend on how many threads there are.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from runtime._raster_blend import BLEND_OPTIONS, ZERO, aligned, f4
from runtime._raster_template import compiled, from_text
from runtime._simd import LANES, fma, greater, load, maximum, select, splat, store, take

BATCH = 96
"""P: points that go through the decoder together."""
BLOCKS = 8
"""Parts that threads share; each needs its own gradients of all planes."""
OUTPUTS = 9
"""Numbers that the decoder gives for a point."""
OUTPUT_WIDTH = LANES
"""Their room in a row."""
AXES = 3
PLANE_AXES = np.array([[0, 1], [0, 2], [1, 2]])
"""Row and column axis of the planes xy, xz, yz."""


def _multiply_text(vectors: int, rows: int) -> str:
    """A function that adds A B to `rows` rows of C at a time, C `vectors` vectors wide, kept in registers meanwhile."""
    each = [(r, v) for r in range(rows) for v in range(vectors)]
    lines = [f"def multiply_{vectors}(a, a0, a_row, a_step, b, b0, b_step, c, c0, c_row, rows, steps):",
             f"    for r in range(0, rows, {rows}):", "        at = c0 + r * c_row", "        first = a0 + r * a_row"]
    lines += [f"        s_{r}_{v} = load(c, at + {r} * c_row + {v * LANES})" for r, v in each]
    lines += ["        for k in range(steps):"]
    lines += [f"            b_{v} = load(b, b0 + k * b_step + {v * LANES})" for v in range(vectors)]
    for r in range(rows):
        lines += [f"            x = splat(a[np.uint64(first + {r} * a_row + k * a_step)])"]
        lines += [f"            s_{r}_{v} = fma(x, b_{v}, s_{r}_{v})" for v in range(vectors)]
    lines += [f"        store(c, at + {r} * c_row + {v * LANES}, s_{r}_{v})" for r, v in each]
    return "\n".join(lines) + "\n"


# Sixteen accumulators of the 32 registers that AVX-512 has; fewer rows would wait for the multipliers.
_multiply_4, _multiply_2, _multiply_1 = (
    from_text(_multiply_text(vectors, rows), f"multiply_{vectors}", module=globals(), options=BLEND_OPTIONS)
    for vectors, rows in ((4, 4), (2, 8), (1, 16)))


@compiled(**BLEND_OPTIONS)
@no_type_check
def _multiply(a, a0, a_row, a_step, b, b_step, c, rows, steps, columns):
    """C [rows, columns] += A B; A's entry (r, k) is `a[a0 + r a_row + k a_step]`. Rows and columns in sixteens."""
    at = 0
    while columns - at >= 4 * LANES:
        _multiply_4(a, a0, a_row, a_step, b, at, b_step, c, at, columns, rows, steps)
        at += 4 * LANES
    if columns - at >= 2 * LANES:
        _multiply_2(a, a0, a_row, a_step, b, at, b_step, c, at, columns, rows, steps)
        at += 2 * LANES
    if columns - at >= LANES:
        _multiply_1(a, a0, a_row, a_step, b, at, b_step, c, at, columns, rows, steps)


@compiled(**BLEND_OPTIONS, inline="always")
@no_type_check
def _corners(cells, weights, point, plane, R, D):
    """Where a point lies on a space plane: index of its first corner, and the four corners' weights."""
    row, column = PLANE_AXES[plane, 0], PLANE_AXES[plane, 1]
    first = ((plane * R + cells[point + row]) * R + cells[point + column]) * D
    down, across = weights[point + row], weights[point + column]
    return (first, (f4(1) - down) * (f4(1) - across), (f4(1) - down) * across, down * (f4(1) - across), down * across)


@compiled(**BLEND_OPTIONS, inline="always")
@no_type_check
def _on_plane(plane, corner, R, D, d):
    first, w00, w01, w10, w11 = corner
    value = splat(w00) * load(plane, first + d)
    value = fma(splat(w01), load(plane, first + D + d), value)
    value = fma(splat(w10), load(plane, first + R * D + d), value)
    return fma(splat(w11), load(plane, first + R * D + D + d), value)


@compiled(**BLEND_OPTIONS, inline="always")
@no_type_check
def _on_line(lines, first, weight, D, d):
    return fma(splat(weight), load(lines, first + D + d), splat(f4(1) - weight) * load(lines, first + d))


@compiled(**BLEND_OPTIONS, inline="always")
@no_type_check
def _add(sums, at, weight, gradient):
    store(sums, at, fma(splat(weight), gradient, load(sums, at)))


@compiled(**BLEND_OPTIONS)
@no_type_check
def _look_up(cells, weights, begin, end, space, lines, R, D, features, column, width):
    """Columns `column`.. of `features` [P width]: the product of six bilinear samples of one level."""
    for m in range(begin, end):
        p = m * AXES
        xy, xz, yz = (_corners(cells, weights, p, 0, R, D), _corners(cells, weights, p, 1, R, D),
                      _corners(cells, weights, p, 2, R, D))
        x, y, z = cells[p] * D, (R + cells[p + 1]) * D, (2 * R + cells[p + 2]) * D
        for d in range(0, D, LANES):
            value = _on_plane(space, xy, R, D, d) * _on_plane(space, xz, R, D, d) * _on_plane(space, yz, R, D, d)
            moved = (_on_line(lines, x, weights[p], D, d) * _on_line(lines, y, weights[p + 1], D, d)
                     * _on_line(lines, z, weights[p + 2], D, d))
            store(features, (m - begin) * width + column + d, value * moved)


@compiled(**BLEND_OPTIONS, inline="always")
@no_type_check
def _scatter_plane(sums, corner, R, D, d, gradient):
    first, w00, w01, w10, w11 = corner
    _add(sums, first + d, w00, gradient)
    _add(sums, first + D + d, w01, gradient)
    _add(sums, first + R * D + d, w10, gradient)
    _add(sums, first + R * D + D + d, w11, gradient)


@compiled(**BLEND_OPTIONS, inline="always")
@no_type_check
def _scatter_line(sums, first, weight, D, d, gradient):
    _add(sums, first + d, f4(1) - weight, gradient)
    _add(sums, first + D + d, weight, gradient)


@compiled(**BLEND_OPTIONS)
@no_type_check
def _look_up_backward(cells, weights, begin, end, space, lines, R, D, gradient, column, width, by_space, by_lines):
    """Add to the gradients of one level's planes and lines."""
    for m in range(begin, end):
        p = m * AXES
        xy, xz, yz = (_corners(cells, weights, p, 0, R, D), _corners(cells, weights, p, 1, R, D),
                      _corners(cells, weights, p, 2, R, D))
        x, y, z = cells[p] * D, (R + cells[p + 1]) * D, (2 * R + cells[p + 2]) * D
        for d in range(0, D, LANES):
            a, b, c = _on_plane(space, xy, R, D, d), _on_plane(space, xz, R, D, d), _on_plane(space, yz, R, D, d)
            e, f = _on_line(lines, x, weights[p], D, d), _on_line(lines, y, weights[p + 1], D, d)
            g = _on_line(lines, z, weights[p + 2], D, d)
            upstream = load(gradient, (m - begin) * width + column + d)
            by_value, by_moved = upstream * (e * f * g), upstream * (a * b * c)
            _scatter_plane(by_space, xy, R, D, d, by_value * (b * c))
            _scatter_plane(by_space, xz, R, D, d, by_value * (a * c))
            _scatter_plane(by_space, yz, R, D, d, by_value * (a * b))
            _scatter_line(by_lines, x, weights[p], D, d, by_moved * (f * g))
            _scatter_line(by_lines, y, weights[p + 1], D, d, by_moved * (e * g))
            _scatter_line(by_lines, z, weights[p + 2], D, d, by_moved * (e * f))


@compiled(**BLEND_OPTIONS)
@no_type_check
def _layer(x, inputs, weights, bias, y, outputs, relu):
    """y [P outputs] = x [P inputs] weights [inputs outputs] + bias, not below zero if `relu`."""
    for at in range(0, outputs, LANES):
        start = load(bias, at)
        for p in range(BATCH):
            store(y, p * outputs + at, start)
    _multiply(x, 0, inputs, 1, weights, outputs, y, BATCH, inputs, outputs)
    if relu:
        for i in range(0, BATCH * outputs, LANES):
            store(y, i, maximum(load(y, i), splat(ZERO)))


@compiled(**BLEND_OPTIONS)
@no_type_check
def _layer_backward(x, inputs, weights, by_y, outputs, by_x, by_weights, by_bias):
    """by_x = by_y weights [outputs inputs]; adds to the gradients by weights [outputs inputs] and bias."""
    for at in range(0, outputs, LANES):
        total = load(by_bias, at)
        for p in range(BATCH):
            total = total + load(by_y, p * outputs + at)
        store(by_bias, at, total)
    _multiply(by_y, 0, 1, outputs, x, inputs, by_weights, outputs, BATCH, inputs)
    by_x[:BATCH * inputs] = ZERO
    _multiply(by_y, 0, outputs, 1, weights, inputs, by_x, BATCH, outputs, inputs)


@compiled(**BLEND_OPTIONS)
@no_type_check
def _stop_where_zero(activation, gradient):
    for i in range(0, len(activation), LANES):
        store(gradient, i, select(greater(load(activation, i), splat(ZERO)), load(gradient, i), splat(ZERO)))


@compiled(**BLEND_OPTIONS)
@no_type_check
def _hidden(cells, weights, begin, end, space, lines, sizes, D, layers, biases, units, features, one, two):
    """Fills `features` and the two hidden layers of a batch of points."""
    width = len(sizes) * D
    for level in range(len(sizes)):
        _look_up(cells[level], weights[level], begin, end, space[level], lines[level], sizes[level], D, features,
                 level * D, width)
    _layer(features, width, layers[0], biases[0], one, units, True)
    _layer(one, units, layers[1], biases[1], two, units, True)


@compiled(**BLEND_OPTIONS)
@no_type_check
def evaluate(counter, blocks, cells, weights, space, lines, sizes, D, layers, biases, units, scale, out):
    """out [M 9]. `cells`, `weights` are [L][M 3]; `space`, `lines`, `sizes` (R) per level; `layers` are [inputs
    outputs] each."""
    count, levels = len(out) // OUTPUTS, len(sizes)
    width = levels * D
    features, one, two = aligned(BATCH * width), aligned(BATCH * units), aligned(BATCH * units)
    values = aligned(BATCH * OUTPUT_WIDTH)
    features[:] = ZERO
    while True:
        block = take(counter)
        if block >= blocks:
            break
        for begin in range(count * block // blocks, count * (block + 1) // blocks, BATCH):
            end = min(begin + BATCH, count * (block + 1) // blocks)
            _hidden(cells, weights, begin, end, space, lines, sizes, D, layers, biases, units, features, one, two)
            _layer(two, units, layers[2], biases[2], values, OUTPUT_WIDTH, False)
            for p in range(end - begin):
                for i in range(OUTPUTS):
                    out[(begin + p) * OUTPUTS + i] = values[p * OUTPUT_WIDTH + i] * scale[i]


@compiled(**BLEND_OPTIONS)
@no_type_check
def evaluate_backward(counter, blocks, cells, weights, space, lines, sizes, D, layers, layers_back, biases, units,
                      scale, by_out, by_space, by_lines, by_layers, by_biases):
    """Add to the gradients of every block: `by_space`, `by_lines` [L][BLOCKS ...], `by_layers` [3][BLOCKS ...] of
    [outputs inputs], `by_biases`. `layers_back` are the layers as [outputs inputs]."""
    count, levels = len(by_out) // OUTPUTS, len(sizes)
    width = levels * D
    features, one, two = aligned(BATCH * width), aligned(BATCH * units), aligned(BATCH * units)
    values = aligned(BATCH * OUTPUT_WIDTH)
    by_features, by_one, by_two = aligned(BATCH * width), aligned(BATCH * units), aligned(BATCH * units)
    features[:] = ZERO
    while True:
        block = take(counter)
        if block >= blocks:
            break
        for begin in range(count * block // blocks, count * (block + 1) // blocks, BATCH):
            end = min(begin + BATCH, count * (block + 1) // blocks)
            _hidden(cells, weights, begin, end, space, lines, sizes, D, layers, biases, units, features, one, two)
            # Points beyond the last keep whatever features there were: their gradient is zero.
            values[:] = ZERO
            for p in range(end - begin):
                for i in range(OUTPUTS):
                    values[p * OUTPUT_WIDTH + i] = by_out[(begin + p) * OUTPUTS + i] * scale[i]
            _layer_backward(two, units, layers_back[2], values, OUTPUT_WIDTH, by_two, by_layers[2][block],
                            by_biases[2][block])
            _stop_where_zero(two, by_two)
            _layer_backward(one, units, layers_back[1], by_two, units, by_one, by_layers[1][block],
                            by_biases[1][block])
            _stop_where_zero(one, by_one)
            _layer_backward(features, width, layers_back[0], by_one, units, by_features, by_layers[0][block],
                            by_biases[0][block])
            for level in range(levels):
                _look_up_backward(cells[level], weights[level], begin, end, space[level], lines[level], sizes[level],
                                  D, by_features, level * D, width, by_space[level][block], by_lines[level][block])
