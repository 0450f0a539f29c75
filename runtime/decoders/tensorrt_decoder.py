"""The network in TensorRT, FP16 where the card has it. Against the API of TensorRT 10; not run on a card yet.

Building takes seconds, so engines are kept in the user's cache folder, by content of the model, name of the card and
version of TensorRT: an engine fits no other.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from runtime.archive import write_atomically
from runtime.decoders.onnx_model import onnx_model
from runtime.errors import InputError
from runtime.pose_residual import PoseResidual

_CUDA_LIBRARIES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so", "cudart64_13.dll", "cudart64_12.dll")
_TO_DEVICE, _TO_HOST = 1, 2
_NAME_BYTES = 256
_PROPERTIES_BYTES = 4096
"""More than any version's cudaDeviceProp; the card's name is its first field."""


class TensorRtDecoder:
    """See `runtime.decoders.CoefficientDecoder`."""

    def __init__(self, residual: PoseResidual) -> None:
        """Raises `InputError` where TensorRT or a card is missing."""
        try:
            import tensorrt  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise InputError("the tensorrt decoder needs tensorrt and an NVIDIA card: pip install 'ani3d[gpu]'; "
                             "use the onnx or numpy decoder") from None
        self._cuda = _cuda()
        card = _card_name(self._cuda)
        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        engine = runtime.deserialize_cuda_engine(_engine(tensorrt, onnx_model(residual), card))
        if engine is None:
            raise InputError(f"TensorRT {tensorrt.__version__} does not load its engine on {card}; "
                             f"delete {_cache_folder()} and try again")
        self._context = engine.create_execution_context()
        self._host = np.empty(residual.output_count, np.float32)
        self._buffers = [self._device_bytes(4 * size) for size in (residual.input_count, residual.output_count)]
        for name, buffer in zip(("features", "coefficients"), self._buffers, strict=True):
            self._context.set_tensor_address(name, buffer.value)
        self.provider = f"tensorrt {tensorrt.__version__} on {card}"

    def __call__(self, features: Float32[np.ndarray, " P"]) -> Float32[np.ndarray, " K"]:
        """Coefficients of a pose window."""
        source = np.ascontiguousarray(features, np.float32)
        self._copy(self._buffers[0], source.ctypes.data_as(ctypes.c_void_p), source.nbytes, _TO_DEVICE)
        if not self._context.execute_async_v3(0):
            raise InputError("TensorRT could not run the pose residual; use the onnx or numpy decoder")
        # A copy on the default stream waits for what was started there.
        self._copy(self._host.ctypes.data_as(ctypes.c_void_p), self._buffers[1], self._host.nbytes, _TO_HOST)
        return self._host.copy()

    def _device_bytes(self, count: int) -> ctypes.c_void_p:
        pointer = ctypes.c_void_p()
        _accept(self._cuda.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(count)), "cudaMalloc")
        return pointer

    def _copy(self, target: ctypes.c_void_p, source: ctypes.c_void_p, count: int, kind: int) -> None:
        _accept(self._cuda.cudaMemcpy(target, source, ctypes.c_size_t(count), kind), "cudaMemcpy")


def _engine(tensorrt: Any, model: bytes, card: str) -> bytes:
    """The serialized engine, from the cache or built."""
    key = hashlib.sha256(model + f"|{card}|{tensorrt.__version__}".encode()).hexdigest()[:32]
    path = _cache_folder() / f"{key}.engine"
    if path.is_file():
        return path.read_bytes()
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise InputError(f"TensorRT does not read the pose residual: {parser.get_error(0)}")
    config = builder.create_builder_config()
    if builder.platform_has_fast_fp16:
        config.set_flag(tensorrt.BuilderFlag.FP16)
    content = builder.build_serialized_network(network, config)
    if content is None:
        raise InputError(f"TensorRT {tensorrt.__version__} does not build the pose residual on {card}")
    with suppress(OSError, InputError):  # where nothing can be kept it is built again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, bytes(content))
    return bytes(content)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ani3d" / "engines"


def _cuda() -> Any:
    """The CUDA runtime library."""
    for name in _CUDA_LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise InputError("the tensorrt decoder needs the CUDA runtime (libcudart); use the onnx or numpy decoder")


def _card_name(cuda: Any) -> str:
    properties = ctypes.create_string_buffer(_PROPERTIES_BYTES)
    _accept(cuda.cudaGetDeviceProperties(properties, 0), "cudaGetDeviceProperties")
    return properties.raw[:_NAME_BYTES].split(b"\0")[0].decode(errors="replace") or "a card without a name"


def _accept(code: int, what: str) -> None:
    if code != 0:
        raise InputError(f"{what} failed with CUDA error {code}; use the onnx or numpy decoder")
