"""A model's operations, sent to the kernels that fit its layers and its data.

Networks take dense rows; sparse ones are unrolled a block at a time, so that memory stays small. Kernels see arrays
only: what they need of the model is passed along.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Dataset, DenseData, Float64Matrix, SparseData, rows, take_rows, to_dense
from fl.kernels import dense, dense_many, losses, network, private, sparse
from fl.kernels.network import Sizes
from fl.models.shape import PassLimits, Shape, StepRule
from fl.models.snapshot import Snapshot, recall, remember

KINDS: Final = {"linear": losses.LINEAR, "logistic": losses.LOGISTIC, "softmax": losses.SOFTMAX}
ACTIVATIONS: Final = {"tanh": network.TANH, "relu": network.RELU}
_BLOCK_ROWS: Final = 256
_BLOCK_VALUES: Final = 1 << 22
"""Values of an unrolled block at most, unless a single row has more: 32 MiB."""


def outputs(shape: Shape, weights: Float64Vector, data: Dataset) -> Float64Matrix:
    """Return the last layer's values, float64 (n, classes)."""
    out = np.empty((rows(data), shape.classes))
    if shape.activations:
        start = 0
        for block in _dense_blocks(data):
            end = start + block.y.size
            network.outputs(block.x, weights, *_layers(shape), out[start:end])
            start = end
    elif isinstance(data, SparseData):
        sparse.outputs(*_entries(data), weights, out)
    elif shape.classes == 1:
        dense.outputs(data.x, weights, out)
    else:
        dense_many.outputs(data.x, weights, out)
    return out


def loss_sum(shape: Shape, weights: Float64Vector, data: Dataset) -> float:
    """Return Σ_i l_i(w), without the L2 term. Rows are taken in blocks: a stranger's chunk may have a million."""
    block = max(_BLOCK_VALUES // shape.classes, 1)
    if rows(data) <= block:
        return _residuals(shape, outputs(shape, weights, data), data)[1]
    total = 0.0
    for part in _split(data, block):  # one by one: Python's own sum of floats depends on its version
        total += loss_sum(shape, weights, part)
    return total


def gradient(shape: Shape, weights: Float64Vector, data: Dataset) -> tuple[Float64Vector, float]:
    """Return Σ_i ∇l_i(w), float64 (d,), and Σ_i l_i(w), without the L2 term."""
    total = np.zeros(shape.dimension)
    if shape.activations:
        loss = 0.0
        for block in _dense_blocks(data):
            loss += network.add_gradient(KINDS[shape.loss], block.x, block.y, weights, *_layers(shape), total)
        return total, loss
    kind, found = KINDS[shape.loss], Snapshot(*(np.empty((rows(data), shape.classes)) for _ in range(2)))
    flat, full = (found.outputs.ravel(), found.residuals.ravel(), total), (found.outputs, found.residuals, total)
    if isinstance(data, SparseData):
        if shape.classes == 1:
            loss = sparse.gradient(kind, *_entries(data), data.y, weights, *flat)
        else:
            loss = sparse.gradient_of_many(kind, *_entries(data), data.y, weights, *full)
    elif shape.classes == 1:
        loss = dense.gradient(kind, data.x, data.y, weights, *flat)
    else:
        loss = dense_many.gradient(kind, data.x, data.y, weights, *full)
    remember(shape, weights, data, found)
    return total, loss


def clipped_sum(shape: Shape, weights: Float64Vector, data: Dataset, clip: float, fraction_bits: int) -> Float64Vector:
    """Return the sum of the rows' gradients, each clipped to ``clip`` units and cut to whole ones, float64 (d,)."""
    total, unit = np.zeros(shape.dimension), 2.0**fraction_bits
    if shape.activations:
        layers = _layers(shape)
        for block in _dense_blocks(data):
            private.sum_network(KINDS[shape.loss], block.x, block.y, weights, *layers, unit, clip, total)
        return total
    residuals = _residuals(shape, outputs(shape, weights, data), data)[0]
    if isinstance(data, SparseData):
        private.sum_sparse(*_entries(data), residuals, unit, clip, total)
    else:
        private.sum_dense(data.x, residuals, unit, clip, total)
    return total


def bounded_pass(
    shape: Shape, snapshot: Float64Vector, data: Dataset, rule: StepRule, limits: PassLimits, start: Float64Vector
) -> Float64Vector:
    """Return the displacement after a pass of which every row's part is bounded, float64 (d,). No hidden layers."""
    kind, moved, base = KINDS[shape.loss], start.copy(), outputs(shape, snapshot, data)
    residuals = _residuals(shape, base, data)[0] if rule.corrected else np.zeros_like(base)
    squares = _squared_lengths(data, 1.0 if shape.intercept else 0.0)
    bounds = np.empty((rows(data), 2))
    private.find_limits(kind, squares, base, shape.features + 1.0, limits.clip, limits.room, bounds)
    gain, drift, box = float(rule.gain[0]), np.clip(rule.drift, -limits.box, limits.box), limits.box
    order, batch, decay, y = rule.order, rule.batch, rule.decay, data.y
    if isinstance(data, SparseData):
        at, columns, values, width = _entries(data)
        private.pass_sparse(
            kind, at, columns, values, width, y, base, residuals, bounds, order, batch, box, decay, gain, drift, moved
        )
    else:
        private.pass_dense(kind, data.x, y, base, residuals, bounds, order, batch, box, decay, gain, drift, moved)
    return moved


def _squared_lengths(data: Dataset, first: float) -> Float64Vector:
    """Return the squared length of each row, added from left to right onto ``first``."""
    sums = np.full(rows(data), first)
    if isinstance(data, DenseData):
        for column in range(data.x.shape[1]):
            sums += np.square(data.x[:, column])
        return sums
    np.add.at(sums, np.repeat(np.arange(rows(data)), np.diff(data.indptr)), np.square(data.values))
    return sums


def steps(
    shape: Shape, snapshot: Float64Vector, data: Dataset, rule: StepRule, start: Float64Vector | None = None
) -> Float64Vector:
    """Return the displacement after a pass of local steps, float64 (d,); ``start`` is that before it (None: zero)."""
    moved = np.zeros(shape.dimension) if start is None else start.copy()
    for _ in _run(shape, snapshot, data, rule, moved):
        pass
    return moved


def checkpoints(
    shape: Shape, snapshot: Float64Vector, data: Dataset, rule: StepRule, start: Float64Vector | None = None
) -> Iterator[Float64Vector]:
    """Yield the displacement after each segment, float64 (d,): every one a new array."""
    moved = np.zeros(shape.dimension) if start is None else start.copy()
    for _ in _run(shape, snapshot, data, rule, moved):
        yield moved.copy()


def _run(shape: Shape, snapshot: Float64Vector, data: Dataset, rule: StepRule, moved: Float64Vector) -> Iterator[None]:
    """Move ``moved`` segment by segment, and yield after each."""
    kind, arrays = KINDS[shape.loss], (rule.decay, rule.gain, rule.drift, moved)
    if shape.activations:
        whole = max(_block_rows(shape.features) // rule.batch, 1) * rule.batch
        for order in rule.segments():
            for first in range(0, order.size, whole):
                block = to_dense(take_rows(data, order[first : first + whole]))
                network.steps(kind, block.x, block.y, snapshot, *_layers(shape), rule.corrected, rule.batch, *arrays)
            yield
        return
    base = _snapshot(shape, snapshot, data, rule.corrected)
    is_one = shape.classes == 1 and rule.batch == 1
    flat, full = (base.outputs.ravel(), base.residuals.ravel()), (base.outputs, base.residuals)
    for order in rule.segments():
        if isinstance(data, SparseData):
            if is_one:
                sparse.steps(kind, *_entries(data), data.y, *flat, order, *arrays)
            else:
                sparse.steps_in_batches(kind, *_entries(data), data.y, *full, order, rule.batch, *arrays)
        elif is_one:
            dense.steps(kind, data.x, data.y, *flat, order, *arrays)
        elif rule.batch == 1:
            dense_many.steps(kind, data.x, data.y, *full, order, *arrays)
        else:
            dense_many.steps_in_batches(kind, data.x, data.y, *full, order, rule.batch, *arrays)
        yield


def _snapshot(shape: Shape, weights: Float64Vector, data: Dataset, corrected: bool) -> Snapshot:
    """Return all rows' outputs, and their residuals or zeros, at these weights."""
    found = recall(shape, weights, data)
    if found is None:
        values = outputs(shape, weights, data)
        return Snapshot(values, _residuals(shape, values, data)[0] if corrected else np.zeros_like(values))
    return found if corrected else Snapshot(found.outputs, np.zeros_like(found.residuals))


def _entries(data: SparseData) -> tuple[NDArray[np.int64], NDArray[np.uint32], Float64Vector, int]:
    """Return the rows as kernels take them: columns without a sign, which spares asking for it."""
    return data.indptr, data.indices.view(np.uint32), data.values, data.columns


def _residuals(shape: Shape, values: Float64Matrix, data: Dataset) -> tuple[Float64Matrix, float]:
    """Return the losses' derivatives by the outputs (n, classes), and the sum of losses."""
    out = np.empty_like(values)
    loss = losses.residuals(KINDS[shape.loss], values, data.y, out)
    return out, loss


def _layers(shape: Shape) -> tuple[Sizes, Sizes, bool]:
    activations = [ACTIVATIONS[activation] for activation in shape.activations]
    return np.array(shape.sizes, dtype=np.int64), np.array(activations, dtype=np.int64), shape.intercept


def _block_rows(columns: int) -> int:
    """Return how many sparse rows are unrolled together."""
    return min(_BLOCK_ROWS, max(_BLOCK_VALUES // columns, 1))


def _dense_blocks(data: Dataset) -> Iterator[DenseData]:
    """Yield the rows as matrices: dense data whole, sparse data a block at a time."""
    if isinstance(data, DenseData):
        yield data
        return
    for part in _split(data, _block_rows(data.columns)):
        yield to_dense(part)


def _split(data: Dataset, block: int) -> Iterator[Dataset]:
    """Yield the rows in order, ``block`` of them at a time."""
    for start in range(0, rows(data), block):
        yield take_rows(data, np.arange(start, min(start + block, rows(data))))
