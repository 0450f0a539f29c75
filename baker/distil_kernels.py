"""Numba kernel of the distiller: whole steps chosen together, so that no frame of a Gaussian is far off.

Rounding every coefficient by itself leaves errors over time that add up to a tail: the 99th percentile is twice the
root mean square. Choosing a Gaussian's coefficients for the tail instead lets the step grow by a third at the same
99th percentile. Letters: M Gaussians, T frames, K basis vectors; lengths in bounds, coefficients in steps.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from runtime._raster_template import compiled

LARGEST_COUNTED = 64
"""Beyond this many steps all coefficients cost the same."""
_RATE = 0.3
"""What a bit costs, in units of a frame that is just at the bound. At 99th percentiles of 0.5 mm, f01's simulated skirt
is smallest between 0.2 and 0.5."""


@compiled(fastmath=True)
@no_type_check
def settle(values: np.ndarray, vectors: np.ndarray, step: float, bits: np.ndarray, passes: int,
           steps: np.ndarray) -> int:
    """Move `steps` [M K 3] by ones while that lowers, for each Gaussian, the sum over time of its error's eighth power
    (in bounds) and of `_RATE` times the bits of its coefficients; returns how many moves there were.

    values [M T 3] and step in bounds; vectors [K T], orthonormal; bits [K 3 2 LARGEST_COUNTED + 1]. One after the
    other: a fixed order gives equal bits.
    """
    count, frames, _ = values.shape
    basis = vectors.shape[0]
    error = np.empty((3, frames), np.float32)
    squares = np.empty(frames, np.float32)
    step = np.float32(step)
    moves = 0
    for m in range(count):
        for c in range(3):
            for t in range(frames):
                error[c, t] = values[m, t, c]
            for k in range(basis):
                if steps[m, k, c] != 0:
                    amount = step * np.float32(steps[m, k, c])
                    for t in range(frames):
                        error[c, t] -= amount * vectors[k, t]
        for t in range(frames):
            squares[t] = error[0, t] ** 2 + error[1, t] ** 2 + error[2, t] ** 2
        for _ in range(passes):
            before = moves
            for k in range(basis - 1, -1, -1):
                for c in range(3):
                    left, cost = np.float32(0), np.float32(0)
                    for t in range(frames):
                        left += error[c, t] * vectors[k, t]
                        cost += squares[t] * squares[t] * squares[t] * squares[t]
                    old = steps[m, k, c]
                    chosen, gained = old, np.float32(0)
                    for sign in (-1, 1):
                        new = old + sign
                        rate = np.float32(0)
                        if abs(new) <= LARGEST_COUNTED and abs(old) <= LARGEST_COUNTED:
                            rate = bits[k, c, new + LARGEST_COUNTED] - bits[k, c, old + LARGEST_COUNTED]
                        # A move away from what is left, or one that neither helps nor saves, is not worth a look.
                        toward = sign * left / step
                        if toward < -0.75 or (toward < 0.15 and rate >= 0):
                            continue
                        amount = step * np.float32(sign)
                        then = np.float32(0)
                        for t in range(frames):
                            square = squares[t] + amount * vectors[k, t] * (
                                amount * vectors[k, t] - np.float32(2) * error[c, t])
                            then += square * square * square * square
                        change = then - cost + np.float32(_RATE) * rate
                        if change < gained:
                            chosen, gained = new, change
                    if chosen != old:
                        amount = step * np.float32(chosen - old)
                        for t in range(frames):
                            rest = error[c, t] - amount * vectors[k, t]
                            squares[t] += rest * rest - error[c, t] * error[c, t]
                            error[c, t] = rest
                        steps[m, k, c] = chosen
                        moves += 1
            if moves == before:
                break
    return moves
