"""What can be released under noise for one row: sums of gradients, and passes, of which every row's part is clipped.

A row's gradient g is scaled to a length of at most ``clip`` units and cut toward zero to whole units, coordinate by
coordinate; then rows are added. Parts and sums are whole numbers below 2**53 in float64, so adding them is exact and
goes by no order: replacing a row replaces its part and changes nothing else, and each part has a length of at most
``clip``. A row whose gradient is no finite number has no part.

``clip`` is 2**-24 below the bound that is proved: what float64 makes of the length of up to 2**24 coordinates is within
2**-28 of it, and the products after it within 2**-50.

Passes of which one row's part is bounded (``pass_dense``, ``pass_sparse``) stand at the end: docs/privacy.md says why
no step of theirs brings two models farther apart.

Without hidden layers a row's gradient is x ⊗ residuals (x with a 1 at the end where there are biases), so its length is
the product of two. The L2 term is left out everywhere: it follows from the model, which is public.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Float64Matrix
from fl.kernels.compiled import kernel
from fl.kernels.losses import LOGISTIC, SOFTMAX, row_residuals
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


@kernel
def find_limits(
    kind: int,
    squares: Float64Vector,
    outputs: Float64Matrix,
    most: float,
    clip: float,
    room: float,
    limits: Float64Matrix,
) -> None:
    """Write to ``limits`` (n, 2), for each row, the factor of its steps and the bound of its residuals' change.

    ``squares`` are the squared lengths of the rows, with their 1; ``room`` is how steep the mean of the losses may be
    so that no step brings two models farther apart. A step of a row is at most ``clip`` long, and of a row that is
    longer than √most or has an output beyond ±1024 nothing is left.
    """
    steepness = 0.5 if kind == SOFTMAX else 0.25 if kind == LOGISTIC else 1.0
    for i in range(squares.size):
        limits[i, 0] = 0.0
        limits[i, 1] = 0.0
        is_tame = 0.0 < squares[i] <= most
        for c in range(outputs.shape[1]):
            is_tame = is_tame and abs(outputs[i, c]) <= 1024.0
        if not is_tame:
            continue
        length = sqrt(squares[i])
        limits[i, 0] = min(1.0, room / (steepness * squares[i]))
        limits[i, 1] = clip / length
        if kind == SOFTMAX:  # no two points of a simplex are farther apart than √2
            limits[i, 0] = min(limits[i, 0], clip / (sqrt(2.0) * length))
            limits[i, 1] = 2.0


@kernel
def change_of_residuals(
    kind: int, outputs: Float64Vector, label: float, base: Float64Vector, factor: float, limit: float
) -> None:
    """Put in the place of a row's outputs how its residuals differ from those at the snapshot, bounded."""
    row_residuals(kind, outputs, label, outputs)
    for c in range(outputs.size):
        outputs[c] = factor * min(max(outputs[c] - base[c], -limit), limit)


@kernel
def move(
    share: float,
    box: float,
    decay: Float64Vector,
    gain: float,
    drift: Float64Vector,
    sums: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Take one step, no coordinate farther than ``box`` from 0, and empty the sums."""
    for k in range(moved.size):
        u = decay[k] * moved[k] - (gain * (sums[k] * share) + drift[k])
        moved[k] = min(max(u, -box), box)
        sums[k] = 0.0


@kernel
def pass_dense(
    kind: int,
    x: Float64Matrix,
    y: Float64Vector,
    base_outputs: Float64Matrix,
    base_residuals: Float64Matrix,
    limits: Float64Matrix,
    order: NDArray[np.int64],
    batch: int,
    box: float,
    decay: Float64Vector,
    gain: float,
    drift: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Run one step for ``batch`` rows of the order, each weighing 1/batch, moving ``moved`` (d,)."""
    p = x.shape[1]
    classes = base_outputs.shape[1]
    biased = moved.size > p * classes
    sums = np.zeros(moved.size)
    deltas = np.empty(classes)
    for start in range(0, order.size, batch):
        for position in range(start, min(start + batch, order.size)):
            i = order[position]
            if limits[i, 0] == 0.0:
                continue
            for c in range(classes):
                deltas[c] = moved[p * classes + c] if biased else 0.0
            for j in range(p):
                value = x[i, j]
                if value != 0.0:
                    for c in range(classes):
                        deltas[c] += value * moved[j * classes + c]
            for c in range(classes):
                deltas[c] += base_outputs[i, c]
            change_of_residuals(kind, deltas, y[i], base_residuals[i], limits[i, 0], limits[i, 1])
            for j in range(p):
                value = x[i, j]
                if value != 0.0:
                    for c in range(classes):
                        sums[j * classes + c] += value * deltas[c]
            if biased:
                for c in range(classes):
                    sums[p * classes + c] += deltas[c]
        move(1.0 / batch, box, decay, gain, drift, sums, moved)


@kernel
def pass_sparse(
    kind: int,
    starts: NDArray[np.int64],
    indices: NDArray[np.uint32],
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    base_outputs: Float64Matrix,
    base_residuals: Float64Matrix,
    limits: Float64Matrix,
    order: NDArray[np.int64],
    batch: int,
    box: float,
    decay: Float64Vector,
    gain: float,
    drift: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Do as ``pass_dense`` on compressed rows: the same bits. A step costs O(d) all the same."""
    classes = base_outputs.shape[1]
    biased = moved.size > columns * classes
    sums = np.zeros(moved.size)
    deltas = np.empty(classes)
    for start in range(0, order.size, batch):
        for position in range(start, min(start + batch, order.size)):
            i = order[position]
            if limits[i, 0] == 0.0:
                continue
            for c in range(classes):
                deltas[c] = moved[columns * classes + c] if biased else 0.0
            for e in range(starts[i], starts[i + 1]):
                at = indices[e] * classes
                for c in range(classes):
                    deltas[c] += values[e] * moved[at + c]
            for c in range(classes):
                deltas[c] += base_outputs[i, c]
            change_of_residuals(kind, deltas, y[i], base_residuals[i], limits[i, 0], limits[i, 1])
            for e in range(starts[i], starts[i + 1]):
                at = indices[e] * classes
                for c in range(classes):
                    sums[at + c] += values[e] * deltas[c]
            if biased:
                for c in range(classes):
                    sums[columns * classes + c] += deltas[c]
        move(1.0 / batch, box, decay, gain, drift, sums, moved)
