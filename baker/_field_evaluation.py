"""The residual field's kernels as one differentiable function, at points that never change.

Letters as in `baker/_field_kernels.py`; B frames, S samples of the time axis.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from baker import _field_kernels as kernels
from runtime import _raster_threads


class FixedPoints:
    """M points on the planes of each level."""

    def __init__(self, unit: Float[np.ndarray, "M 3"], resolutions: list[int]) -> None:
        """`unit` are positions in the field's box, 0 to 1; `resolutions` the levels' cells along an axis."""
        self.count = len(unit)
        self.sizes = np.array(resolutions, np.int64)
        position = [unit.astype(np.float64) * (cells - 1) for cells in resolutions]
        before = [np.clip(np.floor(p), 0, cells - 2).astype(np.int64)
                  for p, cells in zip(position, resolutions, strict=True)]
        self.cells = tuple(np.ascontiguousarray(b.reshape(-1)) for b in before)
        self.weights = tuple(np.ascontiguousarray((p - b).astype(np.float32).reshape(-1))
                             for p, b in zip(position, before, strict=True))


class Moment(NamedTuple):
    """A frame on the time axis."""

    before: int
    """Sample before it."""
    after: int
    """Sample after it."""
    weight: float
    """Weight of the later one, 0 to 1."""


def evaluate(points: FixedPoints, moments: list[Moment], scale: np.ndarray, space: list[Tensor], time: list[Tensor],
             decoder: list[Tensor]) -> Float[Tensor, "B M 9"]:
    """`scale` [9] times the decoder's output. `space` are [3 R R D] per level, `time` [3 S R D], `decoder` weight,
    bias, weight, bias, weight, bias. Differentiable in those three; float32 on the CPU; bit-equal for any number of
    threads."""
    return _Evaluate.apply(points, moments, scale, len(space), *space, *time, *decoder)


class _Evaluate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: FixedPoints, moments: list[Moment], scale: np.ndarray, levels: int,
                *parameters: Tensor) -> Tensor:
        ctx.points, ctx.moments, ctx.scale, ctx.levels = points, moments, scale, levels
        ctx.save_for_backward(*parameters)
        inputs = _Inputs(parameters, levels)
        out = np.empty((len(moments), points.count, kernels.OUTPUTS), np.float32)
        for moment, values in zip(moments, out, strict=True):
            _raster_threads.run_taking(
                kernels.evaluate, kernels.BLOCKS, points.cells, points.weights, inputs.space, inputs.lines(*moment),
                points.sizes, inputs.features, inputs.layers, inputs.biases, inputs.units, scale, values.reshape(-1))
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        points, moments = ctx.points, ctx.moments
        inputs = _Inputs(ctx.saved_tensors, ctx.levels)
        by_space, by_layers, by_biases = (_zeros_per_block(like) for like in
                                          (inputs.space, inputs.layers, inputs.biases))
        by_time = [np.zeros_like(plane) for plane in inputs.time]
        for moment, values in zip(moments, gradient.contiguous().numpy(), strict=True):
            lines = inputs.lines(*moment)
            by_lines = _zeros_per_block(lines)
            _raster_threads.run_taking(
                kernels.evaluate_backward, kernels.BLOCKS, points.cells, points.weights, inputs.space, lines,
                points.sizes, inputs.features, inputs.layers, inputs.layers_back, inputs.biases, inputs.units,
                ctx.scale, values.reshape(-1), by_space, by_lines, by_layers, by_biases)
            before, after, weight = moment
            for by_plane, total in zip(by_time, by_lines, strict=True):
                by_line = total.sum(axis=0).reshape(by_plane[:, 0].shape)
                by_plane[:, before] += (1 - weight) * by_line
                by_plane[:, after] += weight * by_line
        return None, None, None, None, *inputs.cut([
            *(total.sum(axis=0) for total in by_space), *by_time,
            *(total.sum(axis=0) for pair in zip(by_layers, by_biases, strict=True) for total in pair)])


class _Inputs:
    """Parameters as the kernels take them: features, units and outputs filled up to whole vectors with zeros."""

    def __init__(self, parameters: tuple[Tensor, ...], levels: int) -> None:
        self.final = [tuple(values.shape) for values in parameters]
        self.features, self.units = _whole(self.final[0][-1]), _whole(self.final[2 * levels][0])
        units, outputs = self.units, kernels.OUTPUT_WIDTH
        # 1. Shapes without and with what is filled up. The first layer's inputs are levels of features.
        first_units = self.final[2 * levels][0]
        self.bare = [*self.final[:2 * levels], (first_units, levels, self.final[0][-1]), *self.final[2 * levels + 1:]]
        self.full = [*((*shape[:-1], self.features) for shape in self.final[:2 * levels]),
                     (units, levels, self.features), (units,), (units, units), (units,), (outputs, units), (outputs,)]
        # 2. The arrays.
        arrays = [_filled(values.detach().numpy().reshape(bare), full)
                  for values, bare, full in zip(parameters, self.bare, self.full, strict=True)]
        self.space, self.time = tuple(plane.reshape(-1) for plane in arrays[:levels]), arrays[levels:2 * levels]
        layers = [layer.reshape(len(layer), -1) for layer in arrays[2 * levels::2]]
        self.layers_back = tuple(layer.reshape(-1) for layer in layers)
        self.layers = tuple(np.ascontiguousarray(layer.T).reshape(-1) for layer in layers)
        self.biases = tuple(arrays[2 * levels + 1::2])

    def lines(self, before: int, after: int, weight: float) -> tuple[np.ndarray, ...]:
        """The time planes at one frame, flat [3 R D] per level."""
        return tuple(((1 - weight) * plane[:, before] + weight * plane[:, after]).reshape(-1) for plane in self.time)

    def cut(self, gradients: list[np.ndarray]) -> list[Tensor]:
        """Gradients in the order and shapes of the parameters."""
        return [torch.from_numpy(np.ascontiguousarray(
            values.reshape(full)[tuple(slice(0, size) for size in bare)]).reshape(final))
            for values, full, bare, final in zip(gradients, self.full, self.bare, self.final, strict=True)]


def _zeros_per_block(arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros((kernels.BLOCKS, values.size), np.float32) for values in arrays)


def _whole(size: int) -> int:
    return -(-size // kernels.LANES) * kernels.LANES


def _filled(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if values.shape == shape:
        return np.ascontiguousarray(values)
    room = np.zeros(shape, np.float32)
    room[tuple(slice(0, size) for size in values.shape)] = values
    return room
