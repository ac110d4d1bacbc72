"""Which features a device's samples have: the counts behind S and A (FORMULAS §1)."""

import numpy as np
from numpy.typing import NDArray

from fl.dataset import Dataset, DenseData


def feature_presence(data: Dataset) -> NDArray[np.int64]:
    """Return n_k^j, the rows whose feature j is not zero, int64 (p,)."""
    if isinstance(data, DenseData):
        return np.count_nonzero(data.x, axis=0).astype(np.int64)
    return np.bincount(data.indices[data.values != 0.0], minlength=data.columns).astype(np.int64)
