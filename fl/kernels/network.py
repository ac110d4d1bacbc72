"""Kernels of networks of dense layers with tanh or relu, on dense rows.

``sizes`` (layers+1,) has the inputs, the units of each hidden layer and the outputs; ``activations`` is TANH or RELU a
hidden layer; ``biased`` tells whether each layer ends with its biases. ``values`` holds the layers' values one after
the other, ``errors`` the derivatives of the loss by them.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Float64Matrix
from fl.kernels.compiled import kernel
from fl.kernels.dense import lane_dot
from fl.kernels.elementary import tanh
from fl.kernels.losses import row_residuals

TANH: Final = 0
RELU: Final = 1
Sizes = NDArray[np.int64]


@kernel
def forward(
    row: Float64Vector,
    weights: Float64Vector,
    sizes: Sizes,
    activations: Sizes,
    biased: bool,
    values: Float64Vector,
) -> None:
    """Write the values of all layers for one row to ``values``; the outputs are its last entries."""
    for j in range(sizes[0]):
        values[j] = row[j]
    below = 0
    at = 0
    for layer in range(sizes.size - 1):
        inputs = sizes[layer]
        units = sizes[layer + 1]
        above = below + inputs
        for u in range(units):
            values[above + u] = weights[at + inputs * units + u] if biased else 0.0
        for j in range(inputs):
            value = values[below + j]
            if value != 0.0:
                for u in range(units):
                    values[above + u] += value * weights[at + j * units + u]
        if layer < activations.size:
            for u in range(units):
                value = values[above + u]
                if activations[layer] == TANH:
                    values[above + u] = tanh(value)
                elif value < 0.0:
                    values[above + u] = 0.0
        below = above
        at += inputs * units + (units if biased else 0)


@kernel
def add_row_gradient(
    sign: float,
    weights: Float64Vector,
    sizes: Sizes,
    activations: Sizes,
    biased: bool,
    values: Float64Vector,
    errors: Float64Vector,
    out: Float64Vector,
) -> None:
    """Add ``sign`` times one row's gradient to ``out`` (d,), from ``values`` and the output errors in ``errors``."""
    above = values.size - sizes[sizes.size - 1]
    at = weights.size
    for layer in range(sizes.size - 2, -1, -1):
        inputs = sizes[layer]
        units = sizes[layer + 1]
        below = above - inputs
        at -= inputs * units + (units if biased else 0)
        if biased:
            for u in range(units):
                out[at + inputs * units + u] += sign * errors[above + u]
        for j in range(inputs):
            value = values[below + j]
            if value != 0.0:
                for u in range(units):
                    out[at + j * units + u] += sign * (value * errors[above + u])
            if layer > 0:
                error = lane_dot(weights[at + j * units : at + (j + 1) * units], errors[above : above + units], units)
                if activations[layer - 1] == TANH:
                    error = error * (1.0 - value * value)
                elif value <= 0.0:
                    error = 0.0
                errors[below + j] = error
        above = below


@kernel
def outputs(
    x: Float64Matrix, weights: Float64Vector, sizes: Sizes, activations: Sizes, biased: bool, out: Float64Matrix
) -> None:
    """Write the outputs of all rows to ``out`` (n, C)."""
    values = np.zeros(np.sum(sizes))
    classes = out.shape[1]
    for i in range(x.shape[0]):
        forward(x[i], weights, sizes, activations, biased, values)
        for c in range(classes):
            out[i, c] = values[values.size - classes + c]


@kernel
def add_gradient(
    kind: int,
    x: Float64Matrix,
    y: Float64Vector,
    weights: Float64Vector,
    sizes: Sizes,
    activations: Sizes,
    biased: bool,
    out: Float64Vector,
) -> float:
    """Add Σ_i ∇l_i(w) to ``out`` (d,) and return Σ_i l_i(w), row after row."""
    values = np.zeros(np.sum(sizes))
    errors = np.zeros(values.size)
    first = values.size - sizes[sizes.size - 1]
    total = 0.0
    for i in range(x.shape[0]):
        forward(x[i], weights, sizes, activations, biased, values)
        total += row_residuals(kind, values[first:], y[i], errors[first:])
        add_row_gradient(1.0, weights, sizes, activations, biased, values, errors, out)
    return total


@kernel
def steps(
    kind: int,
    x: Float64Matrix,
    y: Float64Vector,
    snapshot: Float64Vector,
    sizes: Sizes,
    activations: Sizes,
    biased: bool,
    corrected: bool,
    batch: int,
    decay: Float64Vector,
    gain: Float64Vector,
    drift: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Run one step a batch over the rows in their order; ``corrected`` takes each gradient at the snapshot away."""
    values = np.zeros(np.sum(sizes))
    errors = np.zeros(values.size)
    first = values.size - sizes[sizes.size - 1]
    sums = np.zeros(moved.size)
    weights = snapshot + moved
    for start in range(0, y.size, batch):
        stop = min(start + batch, y.size)
        for i in range(start, stop):
            forward(x[i], weights, sizes, activations, biased, values)
            row_residuals(kind, values[first:], y[i], errors[first:])
            add_row_gradient(1.0, weights, sizes, activations, biased, values, errors, sums)
            if corrected:
                forward(x[i], snapshot, sizes, activations, biased, values)
                row_residuals(kind, values[first:], y[i], errors[first:])
                add_row_gradient(-1.0, snapshot, sizes, activations, biased, values, errors, sums)
        share = 1.0 / (stop - start)
        for k in range(moved.size):
            moved[k] = decay[k] * moved[k] - (gain[k] * (sums[k] * share) + drift[k])
            weights[k] = snapshot[k] + moved[k]
            sums[k] = 0.0
