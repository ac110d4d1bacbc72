"""Which features a device's samples have: the counts behind S and A (docs/learning.md)."""

import numpy as np
from numpy.typing import NDArray

from fl.dataset import Dataset, DenseData


def feature_presence(data: Dataset) -> NDArray[np.int64]:
    """Return n_k^j, the rows whose feature j is not zero, int64 (p,)."""
    if isinstance(data, DenseData):
        return np.asarray(np.count_nonzero(data.x, axis=0), dtype=np.int64)
    present = np.bincount(data.indices[data.values != 0.0], minlength=data.columns)
    return np.asarray(present, dtype=np.int64)
