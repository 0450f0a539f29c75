"""A `PoseResidual` as an ONNX model (opset 17): `features [1 P]` in, `coefficients [1 K]` out, float32.

ONNX files are protocol buffers. This writes the few messages that the model needs, so that playing needs no `onnx`
package; tests hold it against `onnx.checker` and ONNX Runtime. Field numbers are those of onnx/onnx.proto.
"""

from __future__ import annotations

import numpy as np

from runtime.pose_residual import INPUT_LIMIT, PoseResidual

OPSET = 17
IR_VERSION = 8
"""The file format's version that came with opset 17."""
_FLOAT = 1


def onnx_model(residual: PoseResidual) -> bytes:
    """The model file's content."""
    inputs, outputs = residual.input_count, residual.output_count
    constants = {"mean": residual.input_range[None, :, 0], "inverse_deviation": residual.input_range[None, :, 1],
                 "input_low": np.float32(-INPUT_LIMIT), "input_high": np.float32(INPUT_LIMIT),
                 "least": residual.output_range[None, :, 0], "largest": residual.output_range[None, :, 1]}
    nodes = [_node("Sub", ["features", "mean"], "centred"), _node("Mul", ["centred", "inverse_deviation"], "scaled"),
             _node("Clip", ["scaled", "input_low", "input_high"], "hidden0")]
    for index, (weight, bias) in enumerate(zip(residual.weights, residual.biases, strict=True)):
        constants |= {f"weight{index}": weight.T, f"bias{index}": bias[None]}
        source = f"hidden{index}"
        if index:
            nodes.append(_node("Tanh", [source], f"bent{index}"))
            source = f"bent{index}"
        nodes += [_node("MatMul", [source, f"weight{index}"], f"product{index}"),
                  _node("Add", [f"product{index}", f"bias{index}"], f"hidden{index + 1}")]
    nodes += [_node("Max", [f"hidden{len(residual.weights)}", "least"], "raised"),
              _node("Min", ["raised", "largest"], "coefficients")]
    graph = (b"".join(_message(1, node) for node in nodes) + _text(2, "pose_residual")
             + b"".join(_message(5, _tensor(name, value)) for name, value in constants.items())
             + _message(11, _value("features", inputs)) + _message(12, _value("coefficients", outputs)))
    opset = _text(1, "") + _number(2, OPSET)
    return _number(1, IR_VERSION) + _text(2, "ani3d") + _message(7, graph) + _message(8, opset)


def _node(operator: str, inputs: list[str], output: str) -> bytes:
    """NodeProto."""
    return b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(3, output) + _text(4, operator)


def _tensor(name: str, value: np.ndarray | np.float32) -> bytes:
    """TensorProto of float32, its content as raw little-endian bytes."""
    array = np.asarray(value, "<f4")
    return (b"".join(_number(1, size) for size in array.shape) + _number(2, _FLOAT) + _text(8, name)
            + _message(9, array.tobytes()))


def _value(name: str, size: int) -> bytes:
    """ValueInfoProto of a float32 tensor [1, size]."""
    shape = b"".join(_message(1, _number(1, length)) for length in (1, size))
    return _text(1, name) + _message(2, _message(1, _number(1, _FLOAT) + _message(2, shape)))


def _number(field: int, value: int) -> bytes:
    """A varint field."""
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))
