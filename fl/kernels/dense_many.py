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

TILE: Final = 32
"""Parameters that take their steps together: in registers, and enough of them that no step waits for the last."""
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
    """Run one step a row: the parameters of its columns move by the rule, all others by decay and drift alone.

    The others wait until a row has a column of their tile, and then take their steps one after the other: the same
    steps, while they are in registers. ``u`` holds a tile after its last step, ``now`` before it.
    """
    classes = base_outputs.shape[1]
    weights = x.shape[1] * classes
    tiles = (weights + TILE - 1) // TILE
    done = np.zeros(tiles, dtype=np.int64)
    ratio, idle = in_tiles(decay, weights), in_tiles(gain * 0.0 + drift, weights)
    pull, drag = in_tiles(gain, weights), in_tiles(drift, weights)
    u, now, sums = in_tiles(moved, weights), np.zeros(tiles * TILE + 16), np.zeros(classes + 16)
    deltas, biases = sums[:classes], moved[weights:]
    columns, fresh = np.zeros(x.shape[1] + 8, dtype=np.int64), np.zeros(x.shape[1] * room_of(classes))
    for step in range(order.size):
        i = order[step]
        fetch_lines(x, order[min(step + AHEAD, order.size - 1)])
        count = find_nonzeros(x, i, columns)
        tile = 0
        for e in range(count):
            at = columns[e] * classes
            tile = max(tile, at // TILE)
            while tile * TILE < at + classes:
                run_tile(tile * TILE, step - done[tile], ratio, idle, u, now)
                done[tile] = step + 1
                tile += 1
        inner_products(x, i, columns, count, now, sums)
        row_deltas(kind, y[i], base_outputs[i], base_residuals[i], biases, deltas)
        move_columns(x, i, columns, count, classes, sums, ratio, pull, drag, now, fresh)
        put_columns(columns, count, classes, fresh, u)
        for c in range(biases.size):
            k = weights + c
            biases[c] = decay[k] * biases[c] - (gain[k] * (0.0 + deltas[c]) + drift[k])
    for tile in range(tiles):
        if done[tile] < order.size:
            run_tile(tile * TILE, order.size - done[tile] - 1, ratio, idle, u, now)
    moved[:weights] = u[:weights]


@kernel
def in_tiles(vector: Float64Vector, size: int) -> Float64Vector:
    """Return a copy of the first ``size`` values, then zeros to the end of a tile and sixteen more."""
    copy = np.zeros((size + TILE - 1) // TILE * TILE + 16)
    copy[:size] = vector[:size]
    return copy


@kernel
def run_tile(
    at: int, missed: int, ratio: Float64Vector, idle: Float64Vector, u: Float64Vector, now: Float64Vector
) -> None:
    """Take the steps that a tile missed, write it to ``now``, and take one more."""
    ratio0, ratio1, ratio2, ratio3 = load(ratio, at), load(ratio, at + 8), load(ratio, at + 16), load(ratio, at + 24)
    idle0, idle1, idle2, idle3 = load(idle, at), load(idle, at + 8), load(idle, at + 16), load(idle, at + 24)
    u0, u1, u2, u3 = load(u, at), load(u, at + 8), load(u, at + 16), load(u, at + 24)
    for _ in range(missed):
        u0 = ratio0 * u0 - idle0
        u1 = ratio1 * u1 - idle1
        u2 = ratio2 * u2 - idle2
        u3 = ratio3 * u3 - idle3
    store(now, at, u0)
    store(now, at + 8, u1)
    store(now, at + 16, u2)
    store(now, at + 24, u3)
    store(u, at, ratio0 * u0 - idle0)
    store(u, at + 8, ratio1 * u1 - idle1)
    store(u, at + 16, ratio2 * u2 - idle2)
    store(u, at + 24, ratio3 * u3 - idle3)


@kernel
def move_columns(
    x: Float64Matrix,
    row: int,
    columns: Columns,
    count: int,
    classes: int,
    deltas: Float64Vector,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
    u: Float64Vector,
    fresh: Float64Vector,
) -> None:
    """Write to ``fresh``, ``room_of`` values a column, where the step takes the parameters of a row's columns.

    All vectors are padded; what lies behind a column's last output is not used.
    """
    room = room_of(classes)
    zeros = splat(0.0)
    for e in range(count):
        at = columns[e] * classes
        values = splat(x[row, columns[e]])
        for c in range(0, room, 8):
            k = at + c
            pull = load(gain, k) * (zeros + values * load(deltas, c)) + load(drift, k)
            store(fresh, e * room + c, load(decay, k) * load(u, k) - pull)


@kernel
def room_of(classes: int) -> int:
    """Return the outputs rounded up to whole lanes."""
    return (classes + 7) // 8 * 8


@kernel
def put_columns(columns: Columns, count: int, classes: int, fresh: Float64Vector, u: Float64Vector) -> None:
    """Write what ``move_columns`` found."""
    room = room_of(classes)
    whole = classes - classes % 8
    for e in range(count):
        at = columns[e] * classes
        for c in range(0, whole, 8):
            store(u, at + c, load(fresh, e * room + c))
        for c in range(whole, classes):
            u[at + c] = fresh[e * room + c]


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
