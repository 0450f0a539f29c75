"""Explicit vectors for numba: sixteen float32 lanes, whatever registers the machine has.

numba leaves vectorising to LLVM, which needs loops of a certain shape and keeps what crosses them in memory. The
blending kernels need accumulators in registers over a loop of unknown length, and a loop over set bits, so they are
written in vectors. LLVM maps sixteen lanes to one AVX-512 register, or to two of AVX or four of SSE or NEON.

Only code compiled by numba can use these. `a + b`, `a - b`, `a * b`, `a / b` work on vectors.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 16
"""Floats in a vector."""

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_BITS = ir.VectorType(ir.IntType(1), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)


class _Vector(types.Type):
    """numba type of `LANES` float32."""


class _Mask(types.Type):
    """numba type of `LANES` truth values."""


_vector, _mask = _Vector(name="lanes_f4"), _Mask(name="lanes_mask")
_float, _uint = types.float32, types.uint32


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)


@register_model(_Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _BITS)


def _arithmetic(operation: Any, build: str) -> None:
    @type_callable(operation)
    def typer(context: Any) -> Any:
        return lambda a, b: _vector if (a, b) == (_vector, _vector) else None

    @lower_builtin(operation, _Vector, _Vector)
    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return getattr(builder, build)(*values)


for _operation, _build in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"),
                           (operator.truediv, "fdiv")):
    _arithmetic(_operation, _build)


def _call(builder: Any, name: str, result: Any, values: list[Any]) -> Any:
    """A call of an LLVM intrinsic."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [v.type for v in values]), name)
    return builder.call(function, values)


def _vector_call(name: str, count: int) -> Any:
    """A numba function of `count` vectors that is one LLVM intrinsic."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _call(builder, f"llvm.{name}.v{LANES}f32", _FLOATS, list(values))

    one = intrinsic(lambda typing, a: (_vector(_vector), code))
    two = intrinsic(lambda typing, a, b: (_vector(_vector, _vector), code))
    three = intrinsic(lambda typing, a, b, c: (_vector(_vector, _vector, _vector), code))
    return (one, two, three)[count - 1]


fma = _vector_call("fmuladd", 3)
"""a * b + c."""
minimum = _vector_call("minnum", 2)
maximum = _vector_call("maxnum", 2)
root = _vector_call("sqrt", 1)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """`LANES` consecutive values of a flat float32 array from `index` on; nothing checks the bounds."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = context.cast(builder, values[1], signature.args[1], types.intp)
        return builder.load(_address(context, builder, signature.args[0], values[0], place), align=4)

    return _vector(array, index), code


@intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write `LANES` consecutive values of a flat float32 array; nothing checks the bounds."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = context.cast(builder, values[1], signature.args[1], types.intp)
        builder.store(values[2], _address(context, builder, signature.args[0], values[0], place), align=4)
        return context.get_dummy_value()

    return types.void(array, index, vector), code


@intrinsic
def splat(typing: Any, value: Any) -> Any:
    """A number in every lane."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = context.cast(builder, values[0], signature.args[0], _float)
        first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), number, ir.IntType(32)(0))
        return builder.shuffle_vector(first, ir.Constant(_FLOATS, ir.Undefined), ir.Constant(_INTS, [0] * LANES))

    return _vector(value), code


def _constant(numbers: list[float], meaning: str) -> Any:
    """A numba function that gives the vector of some numbers."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(_FLOATS, numbers)

    function = intrinsic(lambda typing: (_vector(), code))
    function.__doc__ = meaning
    return function


ramp = _constant([float(i) for i in range(LANES)], "0, 1, 2 ... 15.")
ramp_by_8 = _constant([float(i % 8) for i in range(LANES)], "0, 1 ... 7, 0, 1 ... 7.")
ramp_of_8 = _constant([float(i // 8) for i in range(LANES)], "0 eight times, 1 eight times.")
ramp_by_2 = _constant([float(i % 2) for i in range(LANES)], "0, 1, 0, 1 ...")
ramp_of_2 = _constant([float(i // 2) for i in range(LANES)], "0, 0, 1, 1, 2, 2 ...")


@intrinsic
def negated_where(typing: Any, mask: Any, a: Any) -> Any:
    """-|a| where the mask is set, elsewhere `a`.

    An OR, not a choice: LLVM would write a choice between a value and what memory holds as a masked store, and a
    load that follows one has to wait until it has left the store buffer.
    """
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        sign = builder.select(values[0], ir.Constant(_INTS, [0x80000000] * LANES), ir.Constant(_INTS, [0] * LANES))
        return builder.bitcast(builder.or_(builder.bitcast(values[1], _INTS), sign), _FLOATS)

    return _vector(_mask, _vector), code


def _comparison(symbol: str) -> Any:
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fcmp_ordered(symbol, *values)

    return intrinsic(lambda typing, a, b: (_mask(_vector, _vector), code))


greater = _comparison(">")
at_least = _comparison(">=")


@intrinsic
def both(typing: Any, a: Any, b: Any) -> Any:
    """Where both masks are set."""
    return _mask(_mask, _mask), lambda context, builder, signature, values: builder.and_(*values)


@intrinsic
def select(typing: Any, mask: Any, a: Any, b: Any) -> Any:
    """`a` where the mask is set, elsewhere `b`."""
    return _vector(_mask, _vector, _vector), lambda context, builder, signature, values: builder.select(*values)


@intrinsic
def bits(typing: Any, mask: Any) -> Any:
    """The mask as a uint32, lane 0 its lowest bit."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.zext(builder.bitcast(values[0], ir.IntType(LANES)), ir.IntType(32))

    return _uint(_mask), code


@intrinsic
def lowest_bit(typing: Any, value: Any) -> Any:
    """Place of the lowest set bit of a uint32 that is not zero."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _call(builder, "llvm.cttz.i32", ir.IntType(32), [values[0], ir.IntType(1)(1)])

    return _uint(_uint), code


@intrinsic
def sums(typing: Any, vectors: Any) -> Any:
    """A vector of the sums over the lanes of each of a tuple of at most `LANES` vectors, then zeros."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        several = cgutils.unpack_tuple(builder, values[0])
        several += [ir.Constant(_FLOATS, [0.0] * LANES)] * (LANES - len(several))
        half = LANES // 2
        # Fold pairs: after each step a vector holds twice as many sums, each spread over half as many lanes.
        while half:
            starts = [side + s for side in (0, LANES) for s in range(0, LANES, 2 * half)]
            low, high = ([start + part + i for start in starts for i in range(half)] for part in (0, half))
            several = [builder.fadd(*(builder.shuffle_vector(left, right, ir.Constant(_INTS, lanes))
                                      for lanes in (low, high)))
                       for left, right in zip(several[0::2], several[1::2], strict=True)]
            half //= 2
        return several[0]

    return _vector(vectors), code


@intrinsic
def take(typing: Any, counter: Any) -> Any:
    """The counter (an int64 array of one) before it goes up by one; no two threads get the same."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.atomic_rmw("add", data, ir.IntType(64)(1), "monotonic")

    return types.int64(counter), code
