"""Kernels of models without hidden layers and with one output, on dense rows (several outputs: ``dense_many``).

Parameters: a weight a feature (p), then the bias if there is one. Inner products run over features in eight fixed
lanes. A step rule (``fl.models.StepRule``) comes as its arrays; ``moved`` is the displacement u, changed in place.

Rows are far larger than anything else here, so each phase reads them from memory once: the gradient takes a few rows
at a time, and a step moves u by its own row and meets the next one in the same loop. Memory is asked for early; where
in a loop a row's values are read changes no bit.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Float64Matrix
from fl.kernels.compiled import kernel
from fl.kernels.lanes import fetch, fetch_row, fold, load, load_row, splat, store
from fl.kernels.losses import judge_block, residual_soon

Order = NDArray[np.int64]

BLOCK: Final = 16
"""Rows of a gradient that are looked at together: they stay in the nearest caches."""
AHEAD: Final = 8
"""Steps from asking for a row to using it."""
LINE: Final = 8
"""Values that memory delivers together."""


@kernel
def lane_dot(left: Float64Vector, right: Float64Vector, size: int) -> float:
    """Return Σ left·right over ``size`` terms: term j goes to lane j mod 8, lanes are added in a fixed tree."""
    lanes = splat(0.0)
    whole = size - size % 8
    for j in range(0, whole, 8):
        lanes = lanes + load(left, j) * load(right, j)
    rest = 0.0
    for j in range(whole, size):
        rest += left[j] * right[j]
    return fold(lanes) + rest


@kernel
def fetch_lines(x: Float64Matrix, row: int) -> None:
    """Have a row brought near."""
    for j in range(0, x.shape[1], LINE):
        fetch_row(x, row, j)


@kernel
def outputs(x: Float64Matrix, weights: Float64Vector, out: Float64Matrix) -> None:
    """Write x·w (+ bias) to ``out`` (n, 1)."""
    p = x.shape[1]
    for i in range(x.shape[0]):
        out[i, 0] = lane_dot(x[i], weights, p)
        if weights.size > p:
            out[i, 0] += weights[p]


@kernel
def gradient(
    kind: int,
    x: Float64Matrix,
    y: Float64Vector,
    weights: Float64Vector,
    outputs: Float64Vector,
    residuals: Float64Vector,
    out: Float64Vector,
) -> float:
    """Add Σ_i residual_i·x_i to ``out`` (d,), row after row, and return Σ losses; keep outputs, residuals (n,)."""
    n, p = x.shape
    losses = np.empty(BLOCK)
    total = 0.0
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        for i in range(first, last):
            fetch_lines(x, min(i + BLOCK, n - 1))
            outputs[i] = lane_dot(x[i], weights, p)
            if weights.size > p:
                outputs[i] += weights[p]
        judge_block(kind, outputs[first:last], y[first:last], residuals[first:last], losses)
        for i in range(last - first):
            total = total + losses[i]
        add_rows(x, first, last, residuals, out)
    return total


@kernel
def add_rows(x: Float64Matrix, first: int, last: int, residuals: Float64Vector, out: Float64Vector) -> None:
    """Add residual_i·x_i of these rows, and the residuals themselves to the bias."""
    p = x.shape[1]
    whole, wide = p - p % 8, p - p % 32
    for j in range(0, wide, 32):
        sums_0, sums_1, sums_2, sums_3 = load(out, j), load(out, j + 8), load(out, j + 16), load(out, j + 24)
        for i in range(first, last):
            residual = splat(residuals[i])
            sums_0 = sums_0 + load_row(x, i, j) * residual
            sums_1 = sums_1 + load_row(x, i, j + 8) * residual
            sums_2 = sums_2 + load_row(x, i, j + 16) * residual
            sums_3 = sums_3 + load_row(x, i, j + 24) * residual
        store(out, j, sums_0)
        store(out, j + 8, sums_1)
        store(out, j + 16, sums_2)
        store(out, j + 24, sums_3)
    for j in range(wide, whole, 8):
        sums = load(out, j)
        for i in range(first, last):
            sums = sums + load_row(x, i, j) * splat(residuals[i])
        store(out, j, sums)
    for j in range(whole, p):
        total = out[j]
        for i in range(first, last):
            total = total + x[i, j] * residuals[i]
        out[j] = total
    if out.size > p:
        for i in range(first, last):
            out[p] += residuals[i]


@kernel
def steps(
    kind: int,
    x: Float64Matrix,
    y: Float64Vector,
    base_outputs: Float64Vector,
    base_residuals: Float64Vector,
    order: Order,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Run one step a row: u ← decay·u − (gain·x_i·δ_i + drift), δ_i = residual at w̃+u minus residual at w̃."""
    p = x.shape[1]
    whole = p - p % 8
    if order.size == 0:
        return
    inner = lane_dot(x[order[0]], moved, p)
    for step in range(order.size):
        i = order[step]
        after = order[min(step + 1, order.size - 1)]
        soon = order[min(step + AHEAD, order.size - 1)]
        fetch_lines(x, soon)
        fetch(base_outputs, soon)
        fetch(base_residuals, soon)
        fetch(y, soon)
        output = base_outputs[i] + inner
        if moved.size > p:
            output = output + moved[p]
        delta = residual_soon(kind, output, y[i]) - base_residuals[i]
        deltas = splat(delta)
        lanes = splat(0.0)
        for j in range(0, whole, 8):
            u = load(decay, j) * load(moved, j) - (load(gain, j) * (load_row(x, i, j) * deltas) + load(drift, j))
            store(moved, j, u)
            lanes = lanes + load_row(x, after, j) * u
        rest = 0.0
        for j in range(whole, p):
            moved[j] = decay[j] * moved[j] - (gain[j] * (x[i, j] * delta) + drift[j])
            rest += x[after, j] * moved[j]
        inner = fold(lanes) + rest
        if moved.size > p:
            moved[p] = decay[p] * moved[p] - (gain[p] * delta + drift[p])
