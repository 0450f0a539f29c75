"""The network in ONNX Runtime: TensorRT, CUDA or CPU, in that order.

`get_available_providers()` names what the package was built with, loadable here or not; what a session really got is
only known from the session, so that is what `provider` says.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from runtime.decoders.onnx_model import onnx_model
from runtime.errors import InputError
from runtime.pose_residual import PoseResidual

ORDER = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
_FATAL = 4
"""ONNX Runtime's log level; providers that do not load shout below it, and we say ourselves what was chosen."""


class OnnxDecoder:
    """See `runtime.decoders.CoefficientDecoder`."""

    def __init__(self, residual: PoseResidual) -> None:
        """Raises `InputError` where ONNX Runtime is missing or refuses the model."""
        try:
            import onnxruntime
        except ImportError:
            raise InputError("the onnx decoder needs onnxruntime: pip install 'ani3d[onnx]'") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = 1  # smaller than the cost of waking a thread
        built_in = set(onnxruntime.get_available_providers())
        try:
            self._session = onnxruntime.InferenceSession(
                onnx_model(residual), options, providers=[name for name in ORDER if name in built_in])
        except Exception as error:
            raise InputError(f"ONNX Runtime does not load the pose residual: {str(error)[:200]}") from None
        self.provider = f"onnxruntime {self._session.get_providers()[0]}"

    def __call__(self, features: Float32[np.ndarray, " P"]) -> Float32[np.ndarray, " K"]:
        """Coefficients of a pose window."""
        return np.asarray(self._session.run(None, {"features": features[None]})[0])[0]
