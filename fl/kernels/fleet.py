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
from fl.kernels.lanes import fetch
from fl.kernels.losses import BLOCK, judge_block, residual_soon
from fl.kernels.shuffle import shuffle, shuffle_blocks
from fl.kernels.sparse import find_factors, most_entries

ONE: Final = np.uint64(1)
"""Places in arrays are unsigned where it counts: of a signed one the compiler asks whether it counts from the end."""
PORTION: Final = 512
"""Entries whose factors are found together, and a row's more: they stay in the nearest cache with what moves."""
LINE: Final = 8
"""Numbers of eight bytes that memory brings at a time."""
LIMB_BITS: Final = 27
LIMB_MASK: Final = 2**27 - 1
VALUE_MAX: Final = 2.0**53
NEARLY: Final = 1.0 - 2.0**-30
"""What is below this share of a bound is below it, whatever rounding did to the sum of squares."""

Ints = NDArray[np.int64]
Local = NDArray[np.uint32]
"""A device's own numbers of features; 16 bits each where no device has more than 65,536."""
Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Limbs = NDArray[np.int64]
"""(d, 2): the low and the middle limb of each sum."""


@kernel
def count_features(
    devices: Ints, offsets: Ints, starts: Ints, indices: NDArray[np.int32], sizes: Ints, features: int
) -> None:
    """Write m_k, the number of different features, of these devices to ``sizes``."""
    seen = np.full(features, -1, dtype=np.int64)
    for k in devices:
        count = 0
        for e in range(starts[offsets[k]], starts[offsets[k + 1]]):
            j = indices[e]
            if seen[j] != k:
                seen[j] = k
                count += 1
        sizes[k] = count


@kernel
def name_features(
    devices: Ints,
    offsets: Ints,
    starts: Ints,
    indices: NDArray[np.int32],
    spans: Ints,
    own: Ints,
    presence: Ints,
    local: Local,
    features: int,
) -> None:
    """Write each device's features, rising, with n_k^j behind ``spans[k]``, and the entries' local numbers."""
    counts = np.zeros(features, dtype=np.int64)
    place = np.zeros(features, dtype=np.int64)
    for k in devices:
        counts[:] = 0
        first, last = starts[offsets[k]], starts[offsets[k + 1]]
        for e in range(first, last):
            counts[indices[e]] += 1
        at = spans[k]
        for j in range(features):
            if counts[j] > 0:
                own[at] = j
                presence[at] = counts[j]
                place[j] = at - spans[k]
                at += 1
        for e in range(first, last):
            local[e] = place[indices[e]]


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
def count_holders(
    devices: Ints, offsets: Ints, spans: Ints, own: Ints, presence: Ints, rows: Ints, counts: Ints, holders: Ints
) -> None:
    """Add n_k, n_k^j and 1 at the features of each of these devices."""
    for k in devices:
        for at in range(spans[k], spans[k + 1]):
            rows[own[at]] += offsets[k + 1] - offsets[k]
            counts[own[at]] += presence[at]
            holders[own[at]] += 1


@kernel
def draw_order(order: Ints, state: np.uint64, swaps: Ints) -> None:
    """Write 0 … n − 1 as ``fl.kernels.shuffle.shuffle`` permutes it; ``swaps`` is room for n numbers.

    The numbers that are drawn don't depend on the swaps: they come first, all at once. Remainders are found in
    float64, the high and the low half of a word in turn, exact below 2**20 rows; what that can't do goes word by word.
    """
    for i in range(order.size):
        order[i] = i
    if order.size >= 2**20:
        shuffle(order, state)
        return
    is_sure = True
    for i in range(order.size - 1):
        word = state + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word = word ^ (word >> np.uint64(31))
        is_sure = is_sure and bool(word < np.uint64(0xFFFFFFFFFFF00000))  # in no last, cut off run: none is drawn again
        bound = float(order.size - i)
        high = float(np.int64(word >> np.uint64(32)))
        rest = high - np.floor(high / bound) * bound
        rest = rest + bound if rest < 0.0 else rest
        rest = rest - bound if rest >= bound else rest
        whole = rest * 4294967296.0 + float(np.int64(word & np.uint64(0xFFFFFFFF)))
        rest = whole - np.floor(whole / bound) * bound
        rest = rest + bound if rest < 0.0 else rest
        rest = rest - bound if rest >= bound else rest
        swaps[i] = np.int64(rest)
    if not is_sure:
        shuffle(order, state)
        return
    for i in range(order.size - 1):
        last = order.size - 1 - i
        swap = order[last]
        order[last] = order[swaps[i]]
        order[swaps[i]] = swap


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
def find_widest(devices: Ints, offsets: Ints, spans: Ints) -> tuple[int, int]:
    """Return the most rows and the most features of any of these devices."""
    longest, widest = 0, 0
    for k in devices:
        longest = max(longest, offsets[k + 1] - offsets[k])
        widest = max(widest, spans[k + 1] - spans[k])
    return longest, widest


@kernel
def draw_rows(order: Ints, block: int, state: np.uint64, swaps: Ints) -> None:
    """Put the order of a pass into ``order``: by blocks of so many rows if ``block`` is not 0."""
    if block:
        shuffle_blocks(order, block, state)
    else:
        draw_order(order, state, swaps)


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
    outputs: Float64Vector,
    residuals: Float64Vector,
    limbs: Limbs,
    left: Flags,
    said: Ints,
    at: Ints,
) -> None:
    """Run exchange 2 of these devices: add n_k·(w_k − w) at their coordinates.

    ``mean`` is ∇f(w), ``everywhere`` n^j; ``length`` is the plan's step h. ``states[i]`` draws the order of
    ``devices[i]``, by blocks of so many rows if ``block`` is not 0. If ``said`` has any room, w_k − w of
    ``devices[i]`` is written to it from ``at[i]`` on, in place of adding up.
    """
    biases = mean.size - features
    room = PORTION + most_entries(starts) + 16
    longest, widest = find_widest(devices, offsets, spans)
    orders, swaps = np.empty(longest, dtype=np.int64), np.empty(longest, dtype=np.int64)
    done, missed = np.empty(widest, dtype=np.int64), np.zeros(room, dtype=np.int64)
    ratio, power, total = np.zeros(room), np.zeros(room), np.zeros(room)
    steps = np.empty((4, widest + biases))
    for number in range(devices.size):
        k = devices[number]
        first, last = offsets[k], offsets[k + 1]
        mine = own[spans[k] : spans[k + 1]]
        count = last - first
        step = length / float(count)
        size = mine.size + biases
        decay, gain, drift, vector = steps[0, :size], steps[1, :size], steps[2, :size], steps[3, :size]
        decay[mine.size :] = 1.0
        gain[mine.size :] = step
        vector[:] = 0.0
        gather(mean, mine, features, drift)
        have = presence[spans[k] : spans[k + 1]]
        find_steps(have, everywhere, mine, float(count), samples, is_scaled, step, l2, decay, gain, drift)
        order = orders[:count]
        draw_rows(order, block, states[number], swaps)
        if number + 1 < devices.size:
            call_for(devices[number + 1], offsets, starts, local, values, y, spans, own)
            call_for_more(devices[number + 1], offsets, spans, presence, outputs, residuals)
        go_through(
            kind, starts[first : last + 1], local, values, mine.size, y[first:last], outputs[first:last],
            residuals[first:last], order, decay, gain, drift, vector, done, missed, ratio, power, total,
        )  # fmt: skip
        left[k] = not quantise(vector, scale, clip)
        if not left[k] and said.size:
            keep(vector, said, at[number])
        elif not left[k]:
            add_up(vector, mine, biases, features, count, limbs)
