"""What a pass of local steps needs of its snapshot: every row's outputs and residuals there.

Finding a gradient gives both on the way, and the pass that follows starts where the gradient was taken: what was found
last for a data set is kept as long as the data set lives, so that the pass does not read all rows once more.

Rules of this file: a memory, never a source: with it or without it all bits are the same. Datasets are values; whoever
changes the arrays of one in place gets the old outputs.
"""

from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from chain.fixedpoint import Float64Vector
from fl.dataset import Dataset, DenseData, Float64Matrix
from fl.models.shape import Shape


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Outputs and residuals of all rows at some weights, float64 (n, C) each."""

    outputs: Float64Matrix
    residuals: Float64Matrix


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    shape: Shape
    weights: bytes
    snapshot: Snapshot


_LAST: Final[WeakKeyDictionary[Dataset, _Entry]] = WeakKeyDictionary()


def remember(shape: Shape, weights: Float64Vector, data: Dataset, snapshot: Snapshot) -> None:
    """Keep what was found, in place of what was kept for these rows; not if it is larger than the rows themselves."""
    size = data.x.size if isinstance(data, DenseData) else data.values.size
    if snapshot.outputs.size + snapshot.residuals.size <= size:
        _LAST[data] = _Entry(shape, weights.tobytes(), snapshot)
    else:
        _LAST.pop(data, None)


def recall(shape: Shape, weights: Float64Vector, data: Dataset) -> Snapshot | None:
    """Return what is kept for these rows at these very weights."""
    entry = _LAST.get(data)
    if entry is None or entry.shape != shape or entry.weights != np.ascontiguousarray(weights).tobytes():
        return None
    return entry.snapshot
