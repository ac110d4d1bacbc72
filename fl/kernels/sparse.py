"""Kernels of models without hidden layers on compressed sparse rows: a pass costs O(nonzeros), not O(n·d).

Between two rows that have feature j, its displacement only follows u ← ρ·u − d (ρ its decay, d its drift). m such
steps at once are

    u ← ρ^m·u − (1 + ρ + … + ρ^{m−1})·d

and are taken when the feature is next needed, or at the end. ``powers`` computes both factors by repeated squaring, in
O(log m) multiplications. That is the definition of the sparse pass: it equals the dense one in exact arithmetic and
differs from it in rounding, and the reference computes the same bits.

Rows are ``indices``/``values`` between ``starts[i]`` and ``starts[i+1]``, columns rising within a row.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Float64Matrix
from fl.kernels.compiled import inner, kernel
from fl.kernels.lanes import any_left, fetch, halved, load, splat, store, where_odd
from fl.kernels.losses import BLOCK, judge_block, residual_soon, row_residuals

Order = NDArray[np.int64]
Starts = NDArray[np.int64]
Columns = NDArray[np.uint32]
Steps = NDArray[np.int64]

PORTION: Final = 1024
"""Entries whose factors are found ahead, more or less: they stay in the nearest cache."""
AHEAD: Final = 12
"""Steps from asking for a row to using it."""


@kernel
def powers(ratio: float, steps: int) -> tuple[float, float]:
    """Return (ratio**steps, 1 + ratio + … + ratio**(steps−1)) by repeated squaring."""
    if ratio == 1.0:
        return 1.0, float(steps)
    power = 1.0
    total = 0.0
    square = ratio
    run = 1.0
    while steps > 0:
        if steps & 1:
            total = total + power * run
            power = power * square
        run = run + square * run
        square = square * square
        steps >>= 1
    return power, total


@kernel
def outputs(
    starts: Starts, indices: Columns, values: Float64Vector, columns: int, weights: Float64Vector, out: Float64Matrix
) -> None:
    """Write x·W (+ biases) to ``out`` (n, C), entry after entry."""
    classes = out.shape[1]
    for i in range(out.shape[0]):
        for c in range(classes):
            out[i, c] = 0.0
        for e in range(starts[i], starts[i + 1]):
            at = indices[e] * classes
            for c in range(classes):
                out[i, c] += values[e] * weights[at + c]
        if weights.size > columns * classes:
            for c in range(classes):
                out[i, c] += weights[columns * classes + c]


@kernel
def gradient(
    kind: int,
    starts: Starts,
    indices: Columns,
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    weights: Float64Vector,
    outputs: Float64Vector,
    residuals: Float64Vector,
    out: Float64Vector,
) -> float:
    """Add Σ_i residual_i·x_i to ``out`` (d,) and return Σ losses; keep outputs, residuals (n,).

    One output.
    """
    losses = np.empty(BLOCK)
    total = 0.0
    for first in range(0, y.size, BLOCK):
        last = min(first + BLOCK, y.size)
        for i in range(first, last):
            output = 0.0
            for e in range(starts[i], starts[i + 1]):
                output += values[e] * weights[indices[e]]
            if weights.size > columns:
                output += weights[columns]
            outputs[i] = output
        judge_block(kind, outputs[first:last], y[first:last], residuals[first:last], losses)
        for i in range(last - first):
            total = total + losses[i]
        for i in range(first, last):
            residual = residuals[i]
            for e in range(starts[i], starts[i + 1]):
                out[indices[e]] += values[e] * residual
            if out.size > columns:
                out[columns] += residual
    return total


@kernel
def gradient_of_many(
    kind: int,
    starts: Starts,
    indices: Columns,
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    weights: Float64Vector,
    outputs: Float64Matrix,
    residuals: Float64Matrix,
    out: Float64Vector,
) -> float:
    """Add Σ_i x_i ⊗ residuals_i to ``out`` (d,) and return Σ losses; outputs and residuals (n, C) are kept."""
    classes = outputs.shape[1]
    total = 0.0
    for i in range(y.size):
        for c in range(classes):
            outputs[i, c] = 0.0
        for e in range(starts[i], starts[i + 1]):
            at = indices[e] * classes
            for c in range(classes):
                outputs[i, c] += values[e] * weights[at + c]
        if weights.size > columns * classes:
            for c in range(classes):
                outputs[i, c] += weights[columns * classes + c]
        total = total + row_residuals(kind, outputs[i], y[i], residuals[i])
        for e in range(starts[i], starts[i + 1]):
            at = indices[e] * classes
            for c in range(classes):
                out[at + c] += values[e] * residuals[i, c]
        if out.size > columns * classes:
            for c in range(classes):
                out[columns * classes + c] += residuals[i, c]
    return total


@inner
def find_sixteen(ratio: Float64Vector, missed: Steps, q: int, power: Float64Vector, total: Float64Vector) -> None:
    """Write ``powers(ratio, missed)`` of the sixteen pairs from ``q`` on."""
    left_steps, right_steps = load(missed, q), load(missed, q + 8)
    left_square, right_square = load(ratio, q), load(ratio, q + 8)
    left_power = right_power = left_run = right_run = splat(1.0)
    left_total = right_total = splat(0.0)
    while any_left(left_steps) or any_left(right_steps):
        left_total = where_odd(left_steps, left_total + left_power * left_run, left_total)
        right_total = where_odd(right_steps, right_total + right_power * right_run, right_total)
        left_power = where_odd(left_steps, left_power * left_square, left_power)
        right_power = where_odd(right_steps, right_power * right_square, right_power)
        left_run = left_run + left_square * left_run
        right_run = right_run + right_square * right_run
        left_square = left_square * left_square
        right_square = right_square * right_square
        left_steps, right_steps = halved(left_steps), halved(right_steps)
    store(power, q, left_power)
    store(power, q + 8, right_power)
    store(total, q, left_total)
    store(total, q + 8, right_total)


@kernel
def find_factors(
    ratio: Float64Vector, missed: Steps, count: int | np.int64, power: Float64Vector, total: Float64Vector
) -> None:
    """Write ``powers(ratio, missed)`` of ``count`` pairs, sixteen at a time; what stands behind them is overwritten."""
    for q in range(0, count, 16):
        find_sixteen(ratio, missed, q, power, total)


@inner
def look_at(
    starts: Starts,
    indices: Columns,
    order: Order,
    place: int,
    decay: Float64Vector,
    done: Steps,
    missed: Steps,
    ratio: Float64Vector,
    count: int,
) -> int:
    """Write what each feature of a row missed, and its decay, behind the first ``count``; return how many there are.

    ``place`` is the row's in the order; rows are looked at in that order.
    """
    i = order[place]
    for e in range(starts[i], starts[i + 1]):
        j = indices[e]
        missed[count] = place - done[j]
        ratio[count] = decay[j]
        done[j] = place + 1
        count += 1
    return count


@kernel
def portion_rows(starts: Starts, most: int) -> int:
    """Return how many rows have some ``PORTION`` entries, and surely not 16 times as many."""
    rows = starts.size - 1
    usual = PORTION * rows // max(starts[rows] - starts[0], 1)
    return int(max(min(usual, PORTION, 16 * PORTION // max(most, 1)), 1))


@inner
def caught_up_output(
    begin: int,
    end: int,
    indices: Columns,
    values: Float64Vector,
    entry: int,
    missed: Steps,
    power: Float64Vector,
    total: Float64Vector,
    drift: Float64Vector,
    moved: Float64Vector,
) -> float:
    """Bring a row's features up to date by their factors, from ``entry`` on, and return its output."""
    back = entry - begin
    output = 0.0
    for e in range(begin, end):
        j = indices[e]
        u = moved[j]
        late = power[back + e] * u - total[back + e] * drift[j]
        u = late if missed[back + e] > 0 else u
        moved[j] = u
        output += values[e] * u
    return output


@kernel
def steps(
    kind: int,
    starts: Starts,
    indices: Columns,
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    base_outputs: Float64Vector,
    base_residuals: Float64Vector,
    order: Order,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Run one step a row for one output, features at rest caught up only when a row needs them.

    How many steps a feature missed follows from the order alone. So a portion's factors are found before any of its
    rows moves, sixteen at a time, while steps of the portion before wait for their sigmoids.
    """
    done = np.zeros(columns, dtype=np.int64)
    most = most_entries(starts)
    portion = portion_rows(starts, most)
    room = portion * most + 16
    missed, soon_missed = np.zeros(room, dtype=np.int64), np.zeros(room, dtype=np.int64)
    ratio, power, soon_power = np.zeros(room), np.zeros(room), np.zeros(room)
    total, soon_total = np.zeros(room), np.zeros(room)
    count = 0
    for ahead in range(min(portion, order.size)):
        count = look_at(starts, indices, order, ahead, decay, done, soon_missed, ratio, count)
    soon_missed[count : count + 16] = 0
    find_factors(ratio, soon_missed, count, soon_power, soon_total)
    for first in range(0, order.size, portion):
        missed, soon_missed = soon_missed, missed
        power, soon_power = soon_power, power
        total, soon_total = soon_total, total
        ahead, count, known, entry = first + portion, 0, 0, 0
        for step in range(first, min(first + portion, order.size)):
            i = order[step]
            output = caught_up_output(
                starts[i], starts[i + 1], indices, values, entry, missed, power, total, drift, moved
            )
            output += base_outputs[i]
            if moved.size > columns:
                output += moved[columns]
            delta = residual_soon(kind, output, y[i]) - base_residuals[i]
            if ahead < order.size:
                later = order[min(ahead + AHEAD, order.size - 1)]
                for e in range(starts[later], starts[later + 1], 8):
                    fetch(values, e)
                    fetch(indices, e)
                count = look_at(starts, indices, order, ahead, decay, done, soon_missed, ratio, count)
                ahead += 1
                while known + 16 <= count:
                    find_sixteen(ratio, soon_missed, known, soon_power, soon_total)
                    known += 16
            for e in range(starts[i], starts[i + 1]):
                j = indices[e]
                moved[j] = decay[j] * moved[j] - (gain[j] * (values[e] * delta) + drift[j])
            if moved.size > columns:
                moved[columns] = decay[columns] * moved[columns] - (gain[columns] * delta + drift[columns])
            entry += starts[i + 1] - starts[i]
        if known < count:
            soon_missed[count : count + 16] = 0
            find_sixteen(ratio, soon_missed, known, soon_power, soon_total)
    finish(order.size, done, 1, decay, drift, moved)


@kernel
def most_entries(starts: Starts) -> int:
    """Return the entries of the longest row."""
    most = 0
    for i in range(starts.size - 1):
        most = max(most, starts[i + 1] - starts[i])
    return most


@kernel
def steps_in_batches(
    kind: int,
    starts: Starts,
    indices: Columns,
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    base_outputs: Float64Matrix,
    base_residuals: Float64Matrix,
    order: Order,
    batch: int,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Run one step a batch, for any number of outputs. ``sums`` is zero outside the features of the batch."""
    classes = base_outputs.shape[1]
    done = np.zeros(columns, dtype=np.int64)
    sums = np.zeros(moved.size)
    deltas = np.zeros(classes)
    step = 0
    for start in range(0, order.size, batch):
        stop = min(start + batch, order.size)
        for position in range(start, stop):
            i = order[position]
            for c in range(classes):
                deltas[c] = 0.0
            for e in range(starts[i], starts[i + 1]):
                j = indices[e]
                at = j * classes
                if done[j] < step:
                    catch_up(j, step - done[j], classes, decay, drift, moved)
                    done[j] = step
                for c in range(classes):
                    deltas[c] += values[e] * moved[at + c]
            for c in range(classes):
                deltas[c] += base_outputs[i, c]
                if moved.size > columns * classes:
                    deltas[c] += moved[columns * classes + c]
            row_residuals(kind, deltas, y[i], deltas)
            for c in range(classes):
                deltas[c] -= base_residuals[i, c]
            for e in range(starts[i], starts[i + 1]):
                at = indices[e] * classes
                for c in range(classes):
                    sums[at + c] += values[e] * deltas[c]
            if moved.size > columns * classes:
                for c in range(classes):
                    sums[columns * classes + c] += deltas[c]
        share = 1.0 / (stop - start)
        for position in range(start, stop):
            i = order[position]
            for e in range(starts[i], starts[i + 1]):
                j = indices[e]
                if done[j] == step:  # a feature of several rows of the batch moves once
                    done[j] = step + 1
                    move(j * classes, (j + 1) * classes, share, decay, gain, drift, sums, moved)
        move(columns * classes, moved.size, share, decay, gain, drift, sums, moved)
        step += 1
    finish(step, done, classes, decay, drift, moved)


@kernel
def move(
    first: int,
    last: int,
    share: float,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
    sums: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Take one step of the parameters ``first`` … ``last − 1`` and empty their sums."""
    for k in range(first, last):
        moved[k] = decay[k] * moved[k] - (gain[k] * (sums[k] * share) + drift[k])
        sums[k] = 0.0


@kernel
def catch_up(
    j: int, steps: int, classes: int, decay: Float64Vector, drift: Float64Vector, moved: Float64Vector
) -> None:
    """Take the steps that feature j missed; its decay is the same for every output."""
    power, total = powers(decay[j * classes], steps)
    for k in range(j * classes, (j + 1) * classes):
        moved[k] = power * moved[k] - total * drift[k]


@kernel
def finish(
    steps: int, done: Order, classes: int, decay: Float64Vector, drift: Float64Vector, moved: Float64Vector
) -> None:
    """Bring every feature to the end of the pass. Most never occurred and share one decay: their factors are kept."""
    ratio = 1.0
    missed = 0
    power = 1.0
    total = 0.0
    for j in range(done.size):
        if steps - done[j] == 0:
            continue
        if decay[j * classes] != ratio or steps - done[j] != missed:
            ratio = decay[j * classes]
            missed = steps - done[j]
            power, total = powers(ratio, missed)
        for k in range(j * classes, (j + 1) * classes):
            moved[k] = power * moved[k] - total * drift[k]
