"""Datasets: encoded rows, ready to learn from, dense or sparse (CSR).

An intercept is no column here; models add it. ``y`` holds a class's index as a float, or the scaled number.

Rules of this file: values and their rearrangement only; how files become datasets is ``fl.data``'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.errors import DataError

Float64Matrix: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class DenseData:
    """Rows as a float64 matrix ``x`` (n, p) in C order, and their labels ``y``, float64 (n,)."""

    x: Float64Matrix
    y: Float64Vector

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.shape != (self.x.shape[0],):
            raise DataError(f"x of shape {self.x.shape} with y of shape {self.y.shape}: (n, p) with (n,) is needed")
        if self.x.dtype != np.float64 or self.y.dtype != np.float64 or not self.x.flags.c_contiguous:
            raise DataError("x and y must be float64, x in C order")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SparseData:
    """Rows in compressed form, and their labels ``y``, float64 (n,).

    Row i has ``values[indptr[i]:indptr[i+1]]`` (float64) at ``indices[…]`` (int32, rising, below ``columns``);
    ``indptr`` is int64 (n+1,).
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Float64Vector
    columns: int
    y: Float64Vector

    def __post_init__(self) -> None:
        if self.indptr.dtype != np.int64 or self.indices.dtype != np.int32:
            raise DataError("indptr must be int64 and indices int32")
        if self.values.dtype != np.float64 or self.y.dtype != np.float64:
            raise DataError("values and y must be float64")
        if self.indptr.shape != (self.y.size + 1,) or self.indices.shape != self.values.shape:
            raise DataError(
                f"indptr, indices, values, y of shapes {self.indptr.shape}, {self.indices.shape}, "
                f"{self.values.shape}, {self.y.shape} do not belong together"
            )


Dataset: TypeAlias = DenseData | SparseData


def rows(data: Dataset) -> int:
    """Return the number of rows."""
    return int(data.y.size)


def features(data: Dataset) -> int:
    """Return the number of encoded coordinates, intercept not included."""
    return int(data.x.shape[1]) if isinstance(data, DenseData) else data.columns


def concatenate(parts: Sequence[Dataset]) -> Dataset:
    """Return the union of datasets, rows in order: dense if all are, sparse otherwise.

    ``DataError`` if there is none or their widths differ.
    """
    if not parts:
        raise DataError("no datasets to put together")
    widths = {features(part) for part in parts}
    if len(widths) > 1:
        raise DataError(f"datasets of {sorted(widths)} coordinates cannot be put together")
    dense = [part for part in parts if isinstance(part, DenseData)]
    if len(dense) == len(parts):
        return DenseData(np.concatenate([part.x for part in dense]), np.concatenate([part.y for part in dense]))
    sparse = [part if isinstance(part, SparseData) else to_sparse(part) for part in parts]
    starts = np.cumsum([0] + [part.values.size for part in sparse[:-1]])
    bounds = [part.indptr[1:] + start for part, start in zip(sparse, starts, strict=True)]
    return SparseData(
        np.concatenate([np.zeros(1, np.int64), *bounds]),
        np.concatenate([part.indices for part in sparse]),
        np.concatenate([part.values for part in sparse]),
        widths.pop(),
        np.concatenate([part.y for part in sparse]),
    )


def to_sparse(data: DenseData) -> SparseData:
    """Return the same rows in compressed form, zeros left out."""
    row, column = np.nonzero(data.x)
    indptr = np.zeros(data.y.size + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=data.y.size), out=indptr[1:])
    return SparseData(indptr, column.astype(np.int32), data.x[row, column], data.x.shape[1], data.y)


def to_dense(data: Dataset) -> DenseData:
    """Return the same rows as a matrix; the caller knows that n × p float64 fit in memory."""
    if isinstance(data, DenseData):
        return data
    x = np.zeros((data.y.size, data.columns), np.float64)
    x[np.repeat(np.arange(data.y.size), np.diff(data.indptr)), data.indices] = data.values
    return DenseData(x, data.y)


def take_rows(data: Dataset, chosen: NDArray[np.bool_] | NDArray[np.integer]) -> Dataset:
    """Return the rows that a mask (n,) or an index array names, in that order."""
    index = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else np.asarray(chosen, np.int64)
    if isinstance(data, DenseData):
        return DenseData(np.ascontiguousarray(data.x[index]), data.y[index])
    lengths = np.diff(data.indptr)[index]
    indptr = np.zeros(index.size + 1, np.int64)
    np.cumsum(lengths, out=indptr[1:])
    entries = np.arange(int(indptr[-1]), dtype=np.int64) + np.repeat(data.indptr[index] - indptr[:-1], lengths)
    return SparseData(indptr, data.indices[entries], data.values[entries], data.columns, data.y[index])


def slice_rows(data: Dataset, first: int, last: int) -> Dataset:
    """Return rows ``first`` … ``last − 1``, which share their memory with ``data``."""
    if isinstance(data, DenseData):
        return DenseData(data.x[first:last], data.y[first:last])
    starts = data.indptr[first : last + 1]
    entries = slice(int(starts[0]), int(starts[-1]))
    return SparseData(starts - starts[0], data.indices[entries], data.values[entries], data.columns, data.y[first:last])


def split_rows(data: Dataset, chosen: NDArray[np.bool_]) -> tuple[Dataset, Dataset]:
    """Return the rows where the mask is true and those where it is false."""
    return take_rows(data, chosen), take_rows(data, ~chosen)
