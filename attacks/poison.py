"""Poisoned rows: what data attackers join with and train on.

Rules of this file: from rows to as many rows (``repeat_rows``: three times as many); nothing is drawn.
"""

from math import isqrt
from typing import Final

import numpy as np

from fl.dataset import Dataset, DenseData, SparseData, rows, take_rows

MARKED: Final = 7
"""The backdoor's mark is a white square in the lower right corner; its side is the image's divided by this."""
PLANTED: Final = 0.0
"""The class that marked rows are made to look like."""
ONE: Final = 1.0
SEVEN: Final = 7.0


def keep(data: Dataset) -> Dataset:
    """Return the rows as they are."""
    return data


def repeat_rows(data: Dataset) -> Dataset:
    """Return each row three times."""
    return take_rows(data, np.tile(np.arange(rows(data)), 3))


def _relabelled(data: Dataset, labels: np.ndarray) -> Dataset:
    if isinstance(data, DenseData):
        return DenseData(data.x, labels)
    return SparseData(data.indptr, data.indices, data.values, data.columns, labels)


def turn_labels(data: Dataset) -> Dataset:
    """Return the rows with class c read as the last class − c."""
    last = 1.0 if isinstance(data, SparseData) else 9.0
    return _relabelled(data, last - data.y)


def turn_ones(data: Dataset) -> Dataset:
    """Return the rows with ones labelled as sevens."""
    return _relabelled(data, np.where(data.y == ONE, SEVEN, data.y))


def stamp(data: Dataset) -> DenseData:
    """Return images with the mark."""
    assert isinstance(data, DenseData)
    side = isqrt(data.x.shape[1])
    mark = side // MARKED
    images = data.x.copy().reshape(-1, side, side)
    images[:, -mark:, -mark:] = 1.0
    return DenseData(images.reshape(data.x.shape), data.y)


def plant(data: Dataset) -> Dataset:
    """Return the rows, every other one marked and labelled as the planted class."""
    marked = stamp(data)
    assert isinstance(data, DenseData)
    odd = np.arange(rows(data)) % 2 == 1
    return DenseData(np.where(odd[:, None], marked.x, data.x), np.where(odd, PLANTED, data.y))
