"""Kernels of models without hidden layers and with several outputs, on dense rows.

Parameters: weights feature by feature (p × C), then C biases if there are any. Zeros in a row cost nothing where it is
multiplied: a list of its other columns is made first. Sums over a row go from one such column to the next.

Loads of eight outputs may reach beyond a feature's own: what is too much is not used, and vectors that are read so
have eight more values at their end (``padded``).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Float64Matrix
from fl.kernels.compiled import kernel
from fl.kernels.dense import AHEAD, Order, fetch_lines
from fl.kernels.lanes import load, load_row, nonzeros, splat, store
from fl.kernels.losses import row_residuals

Columns = NDArray[np.int64]

PLACES: Final = np.array(
    [sorted(range(8), key=lambda lane: not mask >> lane & 1) for mask in range(256)], dtype=np.int64
)
"""For each set of lanes: its members, rising, then the others."""
SIZES: Final = np.array([mask.bit_count() for mask in range(256)], dtype=np.int64)


@kernel
def find_nonzeros(x: Float64Matrix, row: int, out: Columns) -> int:
    """Write the columns of a row whose value is not zero to ``out`` (p + 8) and return how many there are."""
    p = x.shape[1]
    whole = p - p % 8
    count = 0
    for j in range(0, whole, 8):
        mask = nonzeros(load_row(x, row, j))
        for lane in range(8):
            out[count + lane] = j + PLACES[mask, lane]
        count += SIZES[mask]
    for j in range(whole, p):
        out[count] = j
        count += x[row, j] != 0.0
    return count


@kernel
def padded(vector: Float64Vector) -> Float64Vector:
    """Return a copy with sixteen zeros at its end."""
    copy = np.zeros(vector.size + 16)
    copy[: vector.size] = vector
    return copy


@kernel
def inner_products(
    x: Float64Matrix, row: int, columns: Columns, count: int, weights: Float64Vector, out: Float64Vector
) -> None:
    """Write Σ_j x_j·W_j to ``out`` (C) over the row's first ``count`` columns; ``weights`` and ``out`` are padded."""
    classes = out.size - 16
    for c in range(0, classes, 16):
        low = splat(0.0)
        high = splat(0.0)
        for e in range(count):
            j = columns[e]
            value = splat(x[row, j])
            low = low + value * load(weights, j * classes + c)
            high = high + value * load(weights, j * classes + c + 8)
        store(out, c, low)
        store(out, c + 8, high)


@kernel
def outputs(x: Float64Matrix, weights: Float64Vector, out: Float64Matrix) -> None:
    """Write x·W (+ biases) to ``out`` (n, C)."""
    n, p = x.shape
    classes = out.shape[1]
    known, sums = padded(weights), np.zeros(classes + 16)
    columns = np.zeros(p + 8, dtype=np.int64)
    for i in range(n):
        inner_products(x, i, columns, find_nonzeros(x, i, columns), known, sums)
        for c in range(classes):
            out[i, c] = sums[c]
            if weights.size > p * classes:
                out[i, c] += weights[p * classes + c]


@kernel
def gradient(
    kind: int,
    x: Float64Matrix,
    y: Float64Vector,
    weights: Float64Vector,
    outputs: Float64Matrix,
    residuals: Float64Matrix,
    out: Float64Vector,
) -> float:
    """Add Σ_i x_i ⊗ residuals_i to ``out`` (d,), row after row, and return Σ losses; keep outputs, residuals (n, C).

    A row is read from memory once.
    """
    n, p = x.shape
    classes = outputs.shape[1]
    known, sums = padded(weights), np.zeros(classes + 16)
    columns = np.zeros(p + 8, dtype=np.int64)
    total = 0.0
    for i in range(n):
        fetch_lines(x, min(i + AHEAD, n - 1))
        count = find_nonzeros(x, i, columns)
        inner_products(x, i, columns, count, known, sums)
        for c in range(classes):
            outputs[i, c] = sums[c]
            if weights.size > p * classes:
                outputs[i, c] += weights[p * classes + c]
        total = total + row_residuals(kind, outputs[i], y[i], residuals[i])
        add_row(x, i, columns, count, residuals[i], out)
        if out.size > p * classes:
            for c in range(classes):
                out[p * classes + c] += residuals[i, c]
    return total


@kernel
def add_row(
    x: Float64Matrix, row: int, columns: Columns, count: int, residuals: Float64Vector, out: Float64Vector
) -> None:
    """Add x_j·residuals to ``out``'s part of every column j of the row."""
    classes = residuals.size
    whole = classes - classes % 8
    for e in range(count):
        at = columns[e] * classes
        value = x[row, columns[e]]
        values = splat(value)
        for c in range(0, whole, 8):
            store(out, at + c, load(out, at + c) + values * load(residuals, c))
        for c in range(whole, classes):
            out[at + c] += value * residuals[c]


@kernel
def row_deltas(
    kind: int,
    label: float,
    base_outputs: Float64Vector,
    base_residuals: Float64Vector,
    biases: Float64Vector,
    deltas: Float64Vector,
) -> None:
    """Turn a row's inner products with u, in ``deltas``, into residuals at w̃+u minus residuals at w̃."""
    for c in range(base_outputs.size):
        deltas[c] += base_outputs[c]
        if biases.size > 0:
            deltas[c] += biases[c]
    row_residuals(kind, deltas, label, deltas)
    for c in range(base_outputs.size):
        deltas[c] -= base_residuals[c]


@kernel
def steps(
    kind: int,
    x: Float64Matrix,
    y: Float64Vector,
    base_outputs: Float64Matrix,
    base_residuals: Float64Matrix,
    order: Order,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Run one step a row: the parameters of its columns move by the rule, all others by decay and drift alone."""
    p = x.shape[1]
    classes = base_outputs.shape[1]
    weights = p * classes
    u, sums = padded(moved), np.zeros(classes + 16)
    deltas, biases = sums[:classes], u[weights : moved.size]
    idle = gain * 0.0 + drift
    columns = np.zeros(p + 8, dtype=np.int64)
    fresh = np.zeros(weights)
    for step in range(order.size):
        i = order[step]
        fetch_lines(x, order[min(step + AHEAD, order.size - 1)])
        count = find_nonzeros(x, i, columns)
        inner_products(x, i, columns, count, u, sums)
        row_deltas(kind, y[i], base_outputs[i], base_residuals[i], biases, deltas)
        move_columns(x, i, columns, count, deltas, decay, gain, drift, u, fresh)
        move_idle(weights, decay, idle, u)
        put_columns(columns, count, classes, fresh, u)
        for c in range(biases.size):
            k = weights + c
            u[k] = decay[k] * u[k] - (gain[k] * (0.0 + deltas[c]) + drift[k])
    moved[:] = u[: moved.size]


@kernel
def move_columns(
    x: Float64Matrix,
    row: int,
    columns: Columns,
    count: int,
    deltas: Float64Vector,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
    u: Float64Vector,
    fresh: Float64Vector,
) -> None:
    """Write to ``fresh``, column after column, where the step takes the parameters of a row's columns."""
    classes = deltas.size
    whole = classes - classes % 8
    zeros = splat(0.0)
    for e in range(count):
        at = columns[e] * classes
        value = x[row, columns[e]]
        values = splat(value)
        for c in range(0, whole, 8):
            k = at + c
            pull = load(gain, k) * (zeros + values * load(deltas, c)) + load(drift, k)
            store(fresh, e * classes + c, load(decay, k) * load(u, k) - pull)
        for c in range(whole, classes):
            k = at + c
            fresh[e * classes + c] = decay[k] * u[k] - (gain[k] * (0.0 + value * deltas[c]) + drift[k])


@kernel
def move_idle(size: int, decay: Float64Vector, idle: Float64Vector, u: Float64Vector) -> None:
    """Take a step of parameters whose features a row does not have."""
    whole = size - size % 8
    for k in range(0, whole, 8):
        store(u, k, load(decay, k) * load(u, k) - load(idle, k))
    for k in range(whole, size):
        u[k] = decay[k] * u[k] - idle[k]


@kernel
def put_columns(columns: Columns, count: int, classes: int, fresh: Float64Vector, u: Float64Vector) -> None:
    """Write what ``move_columns`` found."""
    whole = classes - classes % 8
    for e in range(count):
        at = columns[e] * classes
        for c in range(0, whole, 8):
            store(u, at + c, load(fresh, e * classes + c))
        for c in range(whole, classes):
            u[at + c] = fresh[e * classes + c]


@kernel
def steps_in_batches(
    kind: int,
    x: Float64Matrix,
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
    """Run one step a batch, for any number of outputs: the batch's gradients at w̃+u are gathered, then averaged."""
    p = x.shape[1]
    classes = base_outputs.shape[1]
    u, inner = padded(moved), np.zeros(classes + 16)
    deltas, biases = inner[:classes], u[p * classes : moved.size]
    sums = np.zeros(moved.size)
    columns = np.zeros(p + 8, dtype=np.int64)
    for start in range(0, order.size, batch):
        stop = min(start + batch, order.size)
        for position in range(start, stop):
            i = order[position]
            count = find_nonzeros(x, i, columns)
            inner_products(x, i, columns, count, u, inner)
            row_deltas(kind, y[i], base_outputs[i], base_residuals[i], biases, deltas)
            add_row(x, i, columns, count, deltas, sums)
            for c in range(biases.size):
                sums[p * classes + c] += deltas[c]
        share = 1.0 / (stop - start)
        for k in range(sums.size):
            u[k] = decay[k] * u[k] - (gain[k] * (sums[k] * share) + drift[k])
            sums[k] = 0.0
    moved[:] = u[: moved.size]
