"""Kernels of models without hidden layers on compressed sparse rows: a pass costs O(nonzeros), not O(n·d).

Between two rows that have feature j, its displacement only follows u ← ρ·u − d (ρ its decay, d its drift). m such
steps at once are

    u ← ρ^m·u − (1 + ρ + … + ρ^{m−1})·d

and are taken when the feature is next needed, or at the end. ``powers`` computes both factors by repeated squaring, in
O(log m) multiplications. That is the definition of the sparse pass: it equals the dense one in exact arithmetic and
differs from it in rounding, and the reference computes the same bits.

Rows are ``indices``/``values`` between ``starts[i]`` and ``starts[i+1]``, columns rising within a row.
"""

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Float64Matrix
from fl.kernels.compiled import kernel
from fl.kernels.losses import residual_of_one, row_residuals

Order = NDArray[np.int64]
Starts = NDArray[np.int64]
Columns = NDArray[np.int32]


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
def add_gradient(
    starts: Starts, indices: Columns, values: Float64Vector, columns: int, residuals: Float64Matrix, out: Float64Vector
) -> None:
    """Add Σ_i x_i ⊗ residuals_i (and the biases' sums) to ``out`` (d,), row after row."""
    classes = residuals.shape[1]
    for i in range(residuals.shape[0]):
        for e in range(starts[i], starts[i + 1]):
            at = indices[e] * classes
            for c in range(classes):
                out[at + c] += values[e] * residuals[i, c]
        if out.size > columns * classes:
            for c in range(classes):
                out[columns * classes + c] += residuals[i, c]


@kernel
def steps_of_one(
    kind: int,
    starts: Starts,
    indices: Columns,
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    base_outputs: Float64Matrix,
    base_residuals: Float64Matrix,
    order: Order,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Run one step a row for one output, features at rest caught up only when a row needs them."""
    done = np.zeros(columns, dtype=np.int64)
    for step in range(order.size):
        i = order[step]
        output = 0.0
        for e in range(starts[i], starts[i + 1]):
            j = indices[e]
            if done[j] < step:
                power, total = powers(decay[j], step - done[j])
                moved[j] = power * moved[j] - total * drift[j]
            output += values[e] * moved[j]
        output += base_outputs[i, 0]
        if moved.size > columns:
            output += moved[columns]
        delta = residual_of_one(kind, output, y[i]) - base_residuals[i, 0]
        for e in range(starts[i], starts[i + 1]):
            j = indices[e]
            moved[j] = decay[j] * moved[j] - (gain[j] * (values[e] * delta) + drift[j])
            done[j] = step + 1
        if moved.size > columns:
            moved[columns] = decay[columns] * moved[columns] - (gain[columns] * delta + drift[columns])
    finish(order.size, done, 1, decay, drift, moved)


@kernel
def steps_of_many(
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
