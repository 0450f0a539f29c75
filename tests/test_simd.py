"""The vectors for numba against numpy."""

import numba
import numpy as np

from runtime._simd import (
    LANES,
    at_least,
    bits,
    both,
    fma,
    greater,
    load,
    lowest_bit,
    maximum,
    minimum,
    negated_where,
    ramp,
    ramp_by_2,
    ramp_by_8,
    ramp_of_2,
    ramp_of_8,
    root,
    select,
    splat,
    store,
    sums,
    take,
)


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count * LANES).astype(np.float32)


@numba.njit
def _arithmetic(a, out):
    x, y = load(a, 0), load(a, np.uint32(LANES))
    store(out, 0, x + y)
    store(out, LANES, x - y)
    store(out, 2 * LANES, x * y)
    store(out, 3 * LANES, x / y)
    store(out, 4 * LANES, fma(x, y, splat(np.float32(2))))
    store(out, 5 * LANES, minimum(x, y))
    store(out, 6 * LANES, maximum(x, y))
    store(out, 7 * LANES, root(x * x))


def test_arithmetic_is_lane_by_lane() -> None:
    a, out = vectors(2), np.zeros(8 * LANES, np.float32)
    _arithmetic(a, out)
    x, y = a.reshape(2, LANES)
    expected = [x + y, x - y, x * y, x / y, x * y + 2, np.minimum(x, y), np.maximum(x, y), np.abs(x)]
    np.testing.assert_allclose(out.reshape(8, LANES), expected, rtol=1e-6, atol=1e-6)


@numba.njit
def _choices(a, out):
    x, y = load(a, 0), load(a, LANES)
    mask = both(greater(x, y), at_least(y, splat(np.float32(-0.5))))
    store(out, 0, select(mask, x, y))
    store(out, LANES, negated_where(mask, x))
    return bits(mask)


def test_masks_choose_lanes_and_give_bits_from_the_lowest() -> None:
    a, out = vectors(2, seed=3), np.zeros(2 * LANES, np.float32)
    got = _choices(a, out)
    x, y = a.reshape(2, LANES)
    mask = (x > y) & (y >= -0.5)
    assert 0 < mask.sum() < LANES and got == sum(1 << i for i in np.flatnonzero(mask))
    np.testing.assert_array_equal(out.reshape(2, LANES), [np.where(mask, x, y), np.where(mask, -np.abs(x), x)])


@numba.njit
def _ramps(out):
    store(out, 0, ramp())
    store(out, LANES, ramp_by_8())
    store(out, 2 * LANES, ramp_of_8())
    store(out, 3 * LANES, ramp_by_2())
    store(out, 4 * LANES, ramp_of_2())


def test_ramps_count() -> None:
    out, i = np.zeros(5 * LANES, np.float32), np.arange(LANES)
    _ramps(out)
    np.testing.assert_array_equal(out.reshape(5, LANES), [i, i % 8, i // 8, i % 2, i // 2])


@numba.njit
def _sums(a, out):
    store(out, 0, sums((load(a, 0), load(a, 16), load(a, 32), load(a, 48), load(a, 64), load(a, 80), load(a, 96),
                        load(a, 112), load(a, 128), load(a, 144), load(a, 160), load(a, 176), load(a, 192),
                        load(a, 208), load(a, 224), load(a, 240))))
    store(out, LANES, sums((load(a, 0), load(a, 16), load(a, 32))))


def test_sums_are_in_order_and_zero_beyond_the_last() -> None:
    a, out = vectors(LANES), np.full(2 * LANES, np.nan, np.float32)
    _sums(a, out)
    expected = a.reshape(LANES, LANES).sum(1)
    np.testing.assert_allclose(out[:LANES], expected, atol=1e-5)
    np.testing.assert_allclose(out[LANES:], np.where(np.arange(LANES) < 3, expected, 0), atol=1e-5)


@numba.njit
def _places(counter, value):
    return lowest_bit(np.uint32(value)), take(counter), take(counter)


def test_lowest_bit_and_counter() -> None:
    counter = np.array([5], np.int64)
    assert _places(counter, 0b101000) == (3, 5, 6) and counter[0] == 7
