"""One device's pass within a fleet (``fl.kernels.fleet``): its steps, its order, and the loop over its rows.

The arithmetic is that of ``fl.kernels.sparse.steps``, on a device's own numbers of features; where every entry is 1,
``values`` is empty.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.kernels.compiled import kernel
from fl.kernels.fleet_features import Ints, Local
from fl.kernels.losses import residual_soon
from fl.kernels.shuffle import shuffle, shuffle_blocks
from fl.kernels.sparse import find_factors

ONE: Final = np.uint64(1)
"""Places in arrays are unsigned where it counts: of a signed one the compiler asks whether it counts from the end."""
PORTION: Final = 512
"""Entries whose factors are found together, and a row's more: they stay in the nearest cache with what moves."""

Words = NDArray[np.uint64]


@kernel
def find_steps(
    presence: Ints,
    everywhere: Float64Vector,
    mine: Ints,
    count: float,
    samples: float,
    is_scaled: bool,
    step: float,
    l2: float,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
) -> None:
    """Write a device's decay and gain; ``drift`` holds ∇f(w) at its features before, and step times that after."""
    for i in range(drift.size):
        drift[i] = step * drift[i]
    for i in range(mine.size):
        gain[i] = everywhere[np.uint64(mine[i])] if is_scaled else 1.0
    for i in range(mine.size):
        s = (gain[i] * count) / (float(presence[i]) * samples) if is_scaled else 1.0
        decay[i] = 1.0 - step * (s * l2)
        gain[i] = step * s


@kernel
def draw_rows(order: Ints, block: int, state: np.uint64) -> None:
    """Put the order of a pass into ``order``: by blocks of so many rows if ``block`` is not 0."""
    if block:
        shuffle_blocks(order, block, state)
    else:
        for i in range(order.size):
            order[i] = i
        shuffle(order, state)


@kernel
def finish(
    rows: int,
    columns: int,
    decay: Float64Vector,
    drift: Float64Vector,
    moved: Float64Vector,
    done: Ints,
    missed: Ints,
    ratio: Float64Vector,
    power: Float64Vector,
    total: Float64Vector,
) -> None:
    """Bring every feature to the end of a pass over so many rows."""
    for begin in range(0, columns, PORTION):
        count = min(PORTION, columns - begin)
        here, late = slice(begin, begin + count), moved[begin : begin + count]
        last, ratios, drifts = done[here], decay[here], drift[here]
        for q in range(count):
            missed[q] = rows - last[q]
            ratio[q] = ratios[q]
        missed[count : count + 16] = 0
        find_factors(ratio, missed, count, power, total)
        for q in range(count):
            late[q] = power[q] * late[q] - total[q] * drifts[q] if missed[q] > 0 else late[q]


@kernel
def look_ahead(
    first: np.uint64,
    starts: Words,
    local: Local,
    order: Words,
    decay: Float64Vector,
    done: Ints,
    missed: Ints,
    ratio: Float64Vector,
    power: Float64Vector,
    total: Float64Vector,
) -> np.uint64:
    """Find the factors of a portion of a device's rows, from place ``first`` of the order on; return where it ends."""
    last, count = first, np.uint64(0)
    while last < order.size and count < PORTION:
        i, now = order[last], np.int64(last)
        for e in range(starts[i], starts[i + ONE]):
            j = local[e]
            missed[count] = now - done[j]
            ratio[count] = decay[j]
            done[j] = now + 1
            count += ONE
        last += ONE
    missed[count : count + np.uint64(16)] = 0
    find_factors(ratio, missed, np.int64(count), power, total)
    return last


@kernel
def go_through(
    kind: int,
    starts: Ints,
    local: Local,
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    outputs: Float64Vector,
    residuals: Float64Vector,
    order: Ints,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
    moved: Float64Vector,
    done: Ints,
    missed: Ints,
    ratio: Float64Vector,
    power: Float64Vector,
    total: Float64Vector,
) -> None:
    """Run ``fl.kernels.sparse.steps`` on a device all of whose features occur: its last catch-up too goes by lanes.

    The last five arrays are room to work in.
    """
    is_one, has_bias = values.size == 0, moved.size > columns
    done[:columns] = 0
    begins, rows = starts.view(np.uint64), order.view(np.uint64)
    bias, first = np.uint64(columns), np.uint64(0)
    while first < order.size:
        last = look_ahead(first, begins, local, rows, decay, done, missed, ratio, power, total)
        entry = np.uint64(0)
        for step in range(first, last):
            i = rows[step]
            output = 0.0
            if is_one:
                for e in range(begins[i], begins[i + ONE]):
                    j = local[e]
                    u = moved[j]
                    late = power[entry] * u - total[entry] * drift[j]
                    u = late if missed[entry] > 0 else u
                    moved[j] = u
                    output += u
                    entry += ONE
            else:
                for e in range(begins[i], begins[i + ONE]):
                    j = local[e]
                    u = moved[j]
                    late = power[entry] * u - total[entry] * drift[j]
                    u = late if missed[entry] > 0 else u
                    moved[j] = u
                    output += values[e] * u
                    entry += ONE
            output += outputs[i]
            if has_bias:
                output += moved[bias]
            delta = residual_soon(kind, output, y[i]) - residuals[i]
            if is_one:
                for e in range(begins[i], begins[i + ONE]):
                    j = local[e]
                    moved[j] = decay[j] * moved[j] - (gain[j] * delta + drift[j])
            else:
                for e in range(begins[i], begins[i + ONE]):
                    j = local[e]
                    moved[j] = decay[j] * moved[j] - (gain[j] * (values[e] * delta) + drift[j])
            if has_bias:
                moved[bias] = decay[bias] * moved[bias] - (gain[bias] * delta + drift[bias])
        first = last
    finish(order.size, columns, decay, drift, moved, done, missed, ratio, power, total)
