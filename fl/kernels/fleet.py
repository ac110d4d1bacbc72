"""Many sparse devices of one output in one call: Federated SVRG's two exchanges, quantised, added up or kept apart.

All rows of all devices stand in one set of arrays. A device's entries name its own features 0 … m_k − 1, the ``local``
numbers of the features it has, so that its pass works on m_k values that stay in the nearest cache. The arithmetic is
that of ``fl.kernels.sparse``: coordinate by coordinate the bits are the same. Where every entry is 1, ``values`` is
empty, and a row takes a sixth of the memory.

Sums are kept as low + 2**27·middle in int64, exact while the weights of a call add up to 2**35 at most. A device
whose vector may be over its bound, or is no number, is left out and named in ``left``: it goes the ordinary way.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.kernels.compiled import kernel
from fl.kernels.fleet_features import Ints, Local, find_widest
from fl.kernels.fleet_pass import ONE, PORTION, Words, draw_rows, find_steps, go_through
from fl.kernels.lanes import fetch
from fl.kernels.losses import BLOCK, judge_block

LINE: Final = 8
"""Numbers of eight bytes that memory brings at a time."""
LIMB_BITS: Final = 27
LIMB_MASK: Final = 2**27 - 1
VALUE_MAX: Final = 2.0**53
NEARLY: Final = 1.0 - 2.0**-30
"""What is below this share of a bound is below it, whatever rounding did to the sum of squares."""

Flags = NDArray[np.bool_]
Limbs = NDArray[np.int64]
"""(d, 2): the low and the middle limb of each sum."""


@kernel
def quantise(vector: Float64Vector, scale: float, bound: float) -> bool:
    """Round ``vector`` to whole numbers of 1/scale, ties to even; False if it may be longer than ``bound``."""
    square = 0.0
    is_good = True
    for i in range(vector.size):
        is_good = is_good and abs(vector[i]) <= bound  # NaN fails this too
        value = np.rint(vector[i] * scale)
        is_good = is_good and abs(value) <= VALUE_MAX
        square = square + value * value
        vector[i] = value
    return is_good and square <= (bound * scale) * (bound * scale) * NEARLY


@kernel
def add_up(vector: Float64Vector, own: Ints, biases: int, features: int, weight: int, limbs: Limbs) -> None:
    """Add weight·vector, whole numbers, at a device's own coordinates."""
    for i in range(own.size):
        value = np.int64(vector[i])
        j = np.uint64(own[i])
        limbs[j, 0] += (value & LIMB_MASK) * weight
        limbs[j, 1] += (value >> LIMB_BITS) * weight
    if biases:
        value = np.int64(vector[own.size])
        limbs[features, 0] += (value & LIMB_MASK) * weight
        limbs[features, 1] += (value >> LIMB_BITS) * weight


@kernel
def keep(vector: Float64Vector, said: Ints, at: int) -> None:
    """Write ``vector``, whole numbers, to ``said`` from ``at`` on."""
    for i in range(vector.size):
        said[at + i] = np.int64(vector[i])


@kernel
def call_for(
    k: int, offsets: Ints, starts: Ints, local: Local, values: Float64Vector, y: Float64Vector, spans: Ints, own: Ints
) -> None:
    """Have a device's rows and features fetched: its turn comes next, and memory is far."""
    for i in range(offsets[k], offsets[k + 1], LINE):
        fetch(starts, i)
        fetch(y, i)
    for at in range(spans[k], spans[k + 1], LINE):
        fetch(own, at)
    for e in range(starts[offsets[k]], starts[offsets[k + 1]], 2 * LINE):
        fetch(local, e)
    if values.size:
        for e in range(starts[offsets[k]], starts[offsets[k + 1]], LINE):
            fetch(values, e)


@kernel
def call_for_more(
    k: int, offsets: Ints, spans: Ints, presence: Ints, outputs: Float64Vector, residuals: Float64Vector
) -> None:
    """Have fetched what exchange 2 needs of a device besides."""
    for i in range(offsets[k], offsets[k + 1], LINE):
        fetch(outputs, i)
        fetch(residuals, i)
    for at in range(spans[k], spans[k + 1], LINE):
        fetch(presence, at)


@kernel
def gather(source: Float64Vector, own: Ints, features: int, out: Float64Vector) -> None:
    """Write the values at a device's features, and at the bias if there is one, to ``out``."""
    for i in range(own.size):
        out[i] = source[np.uint64(own[i])]
    if source.size > features:
        out[own.size] = source[features]


@kernel
def add_gradient(
    kind: int,
    starts: Ints,
    local: Local,
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    weights: Float64Vector,
    outputs: Float64Vector,
    residuals: Float64Vector,
    out: Float64Vector,
) -> float:
    """Run ``fl.kernels.sparse.gradient`` on a device."""
    is_one, has_bias = values.size == 0, weights.size > columns
    begins = starts.view(np.uint64)
    losses = np.empty(BLOCK)
    total = 0.0
    for first in range(0, y.size, BLOCK):
        last = min(first + BLOCK, y.size)
        for i in range(np.uint64(first), np.uint64(last)):
            output = 0.0
            if is_one:
                for e in range(begins[i], begins[i + ONE]):
                    output += weights[local[e]]
            else:
                for e in range(begins[i], begins[i + ONE]):
                    output += values[e] * weights[local[e]]
            if has_bias:
                output += weights[columns]
            outputs[i] = output
        judge_block(kind, outputs[first:last], y[first:last], residuals[first:last], losses)
        for i in range(last - first):
            total = total + losses[i]
        for i in range(np.uint64(first), np.uint64(last)):
            residual = residuals[i]
            if is_one:
                for e in range(begins[i], begins[i + ONE]):
                    out[local[e]] += residual
            else:
                for e in range(begins[i], begins[i + ONE]):
                    out[local[e]] += values[e] * residual
            if has_bias:
                out[columns] += residual
    return total


@kernel
def sum_gradients(
    kind: int,
    devices: Ints,
    offsets: Ints,
    starts: Ints,
    local: Local,
    values: Float64Vector,
    y: Float64Vector,
    spans: Ints,
    own: Ints,
    presence: Ints,
    features: int,
    weights: Float64Vector,
    l2: float,
    scale: float,
    clip: float,
    outputs: Float64Vector,
    residuals: Float64Vector,
    limbs: Limbs,
    losses: Float64Vector,
    left: Flags,
    said: Ints,
    at: Ints,
) -> None:
    """Run exchange 1 of these devices: add Σ ∇f_i at their coordinates; write Σ l_i to ``losses``.

    ``outputs`` and ``residuals`` of all rows are kept for exchange 2. If ``said`` has any room, the vectors are not
    added up: that of ``devices[i]`` is written to it from ``at[i]`` on.
    """
    biases = weights.size - features
    for number in range(devices.size):
        k = devices[number]
        first, last = offsets[k], offsets[k + 1]
        mine = own[spans[k] : spans[k + 1]]
        count = last - first
        if number + 1 < devices.size:
            call_for(devices[number + 1], offsets, starts, local, values, y, spans, own)
        here = np.empty(mine.size + biases)
        gather(weights, mine, features, here)
        vector = np.zeros(mine.size + biases)
        losses[k] = add_gradient(
            kind, starts[first : last + 1], local, values, mine.size, y[first:last], here,
            outputs[first:last], residuals[first:last], vector,
        )  # fmt: skip
        for i in range(mine.size):
            vector[i] += float(count) * (l2 * here[i])
        left[k] = not quantise(vector, scale, clip * float(count))
        if not left[k]:
            if said.size:
                keep(vector, said, at[number])
            else:
                add_up(vector, mine, biases, features, 1, limbs)


@kernel
def sum_updates(
    kind: int,
    devices: Ints,
    offsets: Ints,
    starts: Ints,
    local: Local,
    values: Float64Vector,
    y: Float64Vector,
    spans: Ints,
    own: Ints,
    presence: Ints,
    features: int,
    mean: Float64Vector,
    everywhere: Float64Vector,
    samples: float,
    is_scaled: bool,
    length: float,
    l2: float,
    scale: float,
    clip: float,
    states: Words,
    block: int,
    most: int,
    outputs: Float64Vector,
    residuals: Float64Vector,
    limbs: Limbs,
    left: Flags,
    said: Ints,
    at: Ints,
    too_long: Float64Vector,
) -> None:
    """Run exchange 2 of these devices: add n_k·(w_k − w) at their coordinates.

    ``mean`` is ∇f(w), ``everywhere`` n^j; ``length`` is the plan's step h, ``most`` the entries of the longest row.
    ``states[i]`` draws the order of ``devices[i]``, by blocks of so many rows if ``block`` is not 0. If ``said`` has
    any room, w_k − w of ``devices[i]`` is written to it from ``at[i]`` on, in place of adding up; of a device that is
    left, as it is before it is rounded, to the same place of ``too_long``.
    """
    biases = mean.size - features
    longest, widest = find_widest(devices, offsets, spans)
    orders, done = np.empty(longest, dtype=np.int64), np.empty(widest, dtype=np.int64)
    missed, factors = np.zeros(PORTION + most + 16, dtype=np.int64), np.zeros((3, PORTION + most + 16))
    steps = np.empty((4, widest + biases))
    for number in range(devices.size):
        k = devices[number]
        first, last = offsets[k], offsets[k + 1]
        mine = own[spans[k] : spans[k + 1]]
        count, size = last - first, mine.size + biases
        step, order = length / float(count), orders[:count]
        decay, gain, drift, vector = steps[0, :size], steps[1, :size], steps[2, :size], steps[3, :size]
        decay[mine.size :], gain[mine.size :], vector[:] = 1.0, step, 0.0
        gather(mean, mine, features, drift)
        have = presence[spans[k] : spans[k + 1]]
        find_steps(have, everywhere, mine, float(count), samples, is_scaled, step, l2, decay, gain, drift)
        draw_rows(order, block, states[number])
        if number + 1 < devices.size:
            call_for(devices[number + 1], offsets, starts, local, values, y, spans, own)
            call_for_more(devices[number + 1], offsets, spans, presence, outputs, residuals)
        go_through(
            kind, starts[first : last + 1], local, values, mine.size, y[first:last], outputs[first:last],
            residuals[first:last], order, decay, gain, drift, vector, done, missed, factors[0], factors[1],
            factors[2],
        )  # fmt: skip
        if said.size:
            too_long[at[number] : at[number] + size] = vector
        left[k] = not quantise(vector, scale, clip)
        if not left[k] and said.size:
            keep(vector, said, at[number])
        elif not left[k]:
            add_up(vector, mine, biases, features, count, limbs)
