"""Who runs the network of a `PoseResidual`: numpy everywhere, ONNX Runtime or TensorRT where they are (DESIGN §9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from runtime.pose_residual import PoseResidual

DecoderName = Literal["numpy", "onnx", "tensorrt"]


@runtime_checkable
class CoefficientDecoder(Protocol):
    """A loaded network."""

    provider: str
    """What really runs it, as the library itself says after loading."""

    def __call__(self, features: Float32[np.ndarray, " P"]) -> Float32[np.ndarray, " K"]:
        """Coefficients of a pose window."""
        ...


def _numpy(residual: PoseResidual) -> CoefficientDecoder:
    from runtime.decoders.numpy_decoder import NumpyDecoder

    return NumpyDecoder(residual)


def _onnx(residual: PoseResidual) -> CoefficientDecoder:
    from runtime.decoders.onnx_decoder import OnnxDecoder

    return OnnxDecoder(residual)


def _tensorrt(residual: PoseResidual) -> CoefficientDecoder:
    from runtime.decoders.tensorrt_decoder import TensorRtDecoder

    return TensorRtDecoder(residual)


DECODERS: dict[DecoderName, Callable[[PoseResidual], CoefficientDecoder]] = {
    "numpy": _numpy, "onnx": _onnx, "tensorrt": _tensorrt}
"""Loaders; one whose package or device is missing raises `InputError` saying what to install."""


def load_decoder(name: DecoderName, residual: PoseResidual) -> CoefficientDecoder:
    """The named decoder, ready; raises `InputError` where it cannot run here."""
    return DECODERS[name](residual)
