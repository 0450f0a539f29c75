"""The network in numpy: the reference for the others. A few thousand multiplications: 20 microseconds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from runtime.pose_residual import INPUT_LIMIT, PoseResidual


class NumpyDecoder:
    """See `runtime.decoders.CoefficientDecoder`."""

    provider = "numpy"

    def __init__(self, residual: PoseResidual) -> None:
        self._residual = residual

    def __call__(self, features: Float32[np.ndarray, " P"]) -> Float32[np.ndarray, " K"]:
        """Coefficients of a pose window."""
        own = self._residual
        value = np.clip((features - own.input_range[:, 0]) * own.input_range[:, 1], -INPUT_LIMIT, INPUT_LIMIT)
        for index, (weight, bias) in enumerate(zip(own.weights, own.biases, strict=True)):
            value = weight @ (value if index == 0 else np.tanh(value)) + bias
        return np.clip(value, own.output_range[:, 0], own.output_range[:, 1]).astype(np.float32)
