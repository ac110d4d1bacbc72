"""Kernels of models without hidden layers on dense rows.

Parameters: weights feature by feature (p × C), then C biases if there are any. One output has its own kernels, since
its inner products run over features in eight fixed lanes; with several, the loop over outputs is the fast one.

A step rule (``fl.models.StepRule``) comes as its arrays; ``moved`` is the displacement u, changed in place.
"""

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Float64Matrix
from fl.kernels.compiled import kernel
from fl.kernels.losses import residual_of_one, row_residuals

Order = NDArray[np.int64]
Columns = NDArray[np.int64]


@kernel
def lane_dot(left: Float64Vector, right: Float64Vector, size: int) -> float:
    """Return Σ left·right over ``size`` terms: term j goes to lane j mod 8, lanes are added in a fixed tree."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = 0.0
    whole = size - size % 8
    for j in range(0, whole, 8):
        a0 += left[j] * right[j]
        a1 += left[j + 1] * right[j + 1]
        a2 += left[j + 2] * right[j + 2]
        a3 += left[j + 3] * right[j + 3]
        a4 += left[j + 4] * right[j + 4]
        a5 += left[j + 5] * right[j + 5]
        a6 += left[j + 6] * right[j + 6]
        a7 += left[j + 7] * right[j + 7]
    rest = 0.0
    for j in range(whole, size):
        rest += left[j] * right[j]
    return (((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7))) + rest


@kernel
def outputs_of_one(x: Float64Matrix, weights: Float64Vector, out: Float64Matrix) -> None:
    """Write x·w (+ bias) to ``out`` (n, 1)."""
    p = x.shape[1]
    for i in range(x.shape[0]):
        out[i, 0] = lane_dot(x[i], weights, p)
        if weights.size > p:
            out[i, 0] += weights[p]


@kernel
def find_nonzeros(row: Float64Vector, out: Columns) -> int:
    """Write the columns whose value is not zero to ``out`` and return how many there are.

    Loops over several outputs skip zeros through this list: a branch at every value would be guessed wrong too often.
    """
    count = 0
    for j in range(row.size):
        out[count] = j
        count += row[j] != 0.0
    return count


@kernel
def outputs_of_many(x: Float64Matrix, weights: Float64Vector, out: Float64Matrix) -> None:
    """Write x·W (+ biases) to ``out`` (n, C); zeros in x cost nothing."""
    n, p = x.shape
    classes = out.shape[1]
    columns = np.zeros(p, dtype=np.int64)
    for i in range(n):
        for c in range(classes):
            out[i, c] = 0.0
        for e in range(find_nonzeros(x[i], columns)):
            j = columns[e]
            for c in range(classes):
                out[i, c] += x[i, j] * weights[j * classes + c]
        if weights.size > p * classes:
            for c in range(classes):
                out[i, c] += weights[p * classes + c]


@kernel
def add_gradient_of_one(x: Float64Matrix, residuals: Float64Matrix, out: Float64Vector) -> None:
    """Add Σ_i residual_i·x_i (and the biases' Σ residual_i) to ``out`` (d,), row after row."""
    n, p = x.shape
    for i in range(n):
        r = residuals[i, 0]
        for j in range(p):
            out[j] += x[i, j] * r
        if out.size > p:
            out[p] += r


@kernel
def add_gradient_of_many(x: Float64Matrix, residuals: Float64Matrix, out: Float64Vector) -> None:
    """Add Σ_i x_i ⊗ residuals_i (and the biases' sums) to ``out`` (d,), row after row."""
    n, p = x.shape
    classes = residuals.shape[1]
    columns = np.zeros(p, dtype=np.int64)
    for i in range(n):
        for e in range(find_nonzeros(x[i], columns)):
            j = columns[e]
            for c in range(classes):
                out[j * classes + c] += x[i, j] * residuals[i, c]
        if out.size > p * classes:
            for c in range(classes):
                out[p * classes + c] += residuals[i, c]


@kernel
def steps_of_one(
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
    """Run one step a row: u ← decay·u − (gain·x_i·δ_i + drift), δ_i = residual at w̃+u minus residual at w̃."""
    p = x.shape[1]
    for i in order:
        output = base_outputs[i, 0] + lane_dot(x[i], moved, p)
        if moved.size > p:
            output = output + moved[p]
        delta = residual_of_one(kind, output, y[i]) - base_residuals[i, 0]
        for j in range(p):
            moved[j] = decay[j] * moved[j] - (gain[j] * (x[i, j] * delta) + drift[j])
        if moved.size > p:
            moved[p] = decay[p] * moved[p] - (gain[p] * delta + drift[p])


@kernel
def steps_of_many(
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
    sums = np.zeros(moved.size)
    deltas = np.zeros(classes)
    columns = np.zeros(p, dtype=np.int64)
    for start in range(0, order.size, batch):
        stop = min(start + batch, order.size)
        for position in range(start, stop):
            i = order[position]
            for c in range(classes):
                deltas[c] = 0.0
            nonzeros = find_nonzeros(x[i], columns)
            for e in range(nonzeros):
                j = columns[e]
                for c in range(classes):
                    deltas[c] += x[i, j] * moved[j * classes + c]
            for c in range(classes):
                deltas[c] += base_outputs[i, c]
                if moved.size > p * classes:
                    deltas[c] += moved[p * classes + c]
            row_residuals(kind, deltas, y[i], deltas)
            for c in range(classes):
                deltas[c] -= base_residuals[i, c]
            for e in range(nonzeros):
                j = columns[e]
                for c in range(classes):
                    sums[j * classes + c] += x[i, j] * deltas[c]
            if moved.size > p * classes:
                for c in range(classes):
                    sums[p * classes + c] += deltas[c]
        share = 1.0 / (stop - start)
        for j in range(moved.size):
            moved[j] = decay[j] * moved[j] - (gain[j] * (sums[j] * share) + drift[j])
            sums[j] = 0.0
