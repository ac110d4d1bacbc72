"""Sums of gradients of which every row's part is clipped and whole: what can be released under noise for one row.

A row's gradient g is scaled to a length of at most ``clip`` units and cut toward zero to whole units, coordinate by
coordinate; then rows are added. Parts and sums are whole numbers below 2**53 in float64, so adding them is exact and
goes by no order: replacing a row replaces its part and changes nothing else, and each part has a length of at most
``clip``. A row whose gradient is no finite number has no part.

``clip`` is 2**-24 below the bound that is proved: what float64 makes of the length of up to 2**24 coordinates is within
2**-28 of it, and the products after it within 2**-50.

Without hidden layers a row's gradient is x ⊗ residuals (x with a 1 at the end where there are biases), so its length is
the product of two. The L2 term is left out everywhere: it follows from the model, which is public.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Float64Matrix
from fl.kernels.compiled import kernel
from fl.kernels.losses import row_residuals
from fl.kernels.network import Sizes, add_row_gradient, forward


@kernel
def shrink(squared: float, clip: float) -> float:
    """Return what brings a gradient of this squared length, in units, to a length of at most ``clip``; 0 if none is."""
    if not squared < 1e300:
        return 0.0
    if squared > clip * clip:
        return clip / sqrt(squared)
    return 1.0


@kernel
def sum_dense(x: Float64Matrix, residuals: Float64Matrix, unit: float, clip: float, out: Float64Vector) -> None:
    """Add the clipped parts of all rows to ``out`` (d,). ``residuals`` (n, C); ``unit`` is units in 1."""
    p = x.shape[1]
    classes = residuals.shape[1]
    biased = out.size > p * classes
    scaled = np.empty(classes)
    for i in range(x.shape[0]):
        features = 1.0 if biased else 0.0
        for j in range(p):
            features += x[i, j] * x[i, j]
        outputs = 0.0
        for c in range(classes):
            scaled[c] = residuals[i, c] * unit
            outputs += scaled[c] * scaled[c]
        factor = shrink(features * outputs, clip)
        if factor == 0.0:
            continue
        for c in range(classes):
            scaled[c] *= factor
        for j in range(p):
            value = x[i, j]
            if value != 0.0:
                at = j * classes
                for c in range(classes):
                    out[at + c] += np.trunc(value * scaled[c])
        if biased:
            for c in range(classes):
                out[p * classes + c] += np.trunc(scaled[c])


@kernel
def sum_sparse(
    starts: NDArray[np.int64],
    indices: NDArray[np.uint32],
    values: Float64Vector,
    columns: int,
    residuals: Float64Matrix,
    unit: float,
    clip: float,
    out: Float64Vector,
) -> None:
    """Do as ``sum_dense`` on compressed rows: the same bits."""
    classes = residuals.shape[1]
    biased = out.size > columns * classes
    scaled = np.empty(classes)
    for i in range(residuals.shape[0]):
        features = 1.0 if biased else 0.0
        for e in range(starts[i], starts[i + 1]):
            features += values[e] * values[e]
        outputs = 0.0
        for c in range(classes):
            scaled[c] = residuals[i, c] * unit
            outputs += scaled[c] * scaled[c]
        factor = shrink(features * outputs, clip)
        if factor == 0.0:
            continue
        for c in range(classes):
            scaled[c] *= factor
        for e in range(starts[i], starts[i + 1]):
            at = indices[e] * classes
            for c in range(classes):
                out[at + c] += np.trunc(values[e] * scaled[c])
        if biased:
            for c in range(classes):
                out[columns * classes + c] += np.trunc(scaled[c])


@kernel
def sum_network(
    kind: int,
    x: Float64Matrix,
    y: Float64Vector,
    weights: Float64Vector,
    sizes: Sizes,
    activations: Sizes,
    biased: bool,
    unit: float,
    clip: float,
    out: Float64Vector,
) -> None:
    """Add the clipped parts of all rows to ``out`` (d,), for models with hidden layers: one row after the other."""
    width = 0
    for layer in range(sizes.size):
        width += sizes[layer]
    values = np.zeros(width)
    errors = np.zeros(width)
    first = width - sizes[sizes.size - 1]
    part = np.zeros(weights.size)
    for i in range(x.shape[0]):
        part[:] = 0.0
        forward(x[i], weights, sizes, activations, biased, values)
        row_residuals(kind, values[first:], y[i], errors[first:])
        add_row_gradient(1.0, weights, sizes, activations, biased, values, errors, part)
        squared = 0.0
        for k in range(part.size):
            part[k] *= unit
            squared += part[k] * part[k]
        factor = shrink(squared, clip)
        if factor == 0.0:
            continue
        for k in range(part.size):
            out[k] += np.trunc(factor * part[k])
