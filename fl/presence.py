"""Which features a device's samples have: the counts behind S and A (docs/learning.md)."""

import numpy as np
from numpy.typing import NDArray

from fl.dataset import Dataset, DenseData, SparseData


def feature_presence(data: Dataset) -> NDArray[np.int64]:
    """Return n_k^j, the rows whose feature j is not zero, int64 (p,)."""
    if isinstance(data, DenseData):
        return np.asarray(np.count_nonzero(data.x, axis=0), dtype=np.int64)
    present = np.bincount(data.indices[data.values != 0.0], minlength=data.columns)
    return np.asarray(present, dtype=np.int64)


def held_features(data: Dataset) -> NDArray[np.int64]:
    """Return the features that sparse rows have entries of, rising; of dense rows and rows without entries, all."""
    if isinstance(data, DenseData):
        return np.arange(data.x.shape[1])
    held = np.flatnonzero(np.bincount(data.indices, minlength=data.columns))
    return held if held.size else np.arange(data.columns)


def narrowed(data: Dataset, held: NDArray[np.int64]) -> Dataset:
    """Return sparse rows with no other features than these, numbered in their order; dense rows as they are."""
    if isinstance(data, DenseData) or held.size == data.columns:
        return data
    places = np.zeros(data.columns, np.int32)
    places[held] = np.arange(held.size)
    return SparseData(data.indptr, places[data.indices], data.values, held.size, data.y)
