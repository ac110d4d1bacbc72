"""Datasets are taken apart and put together without a number changing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.dataset import (
    Dataset,
    DenseData,
    SparseData,
    concatenate,
    features,
    rows,
    slice_rows,
    split_rows,
    take_rows,
    to_dense,
    to_sparse,
)
from fl.errors import DataError

VALUES = st.sampled_from([0.0, 0.0, 1.0, -0.25, 3.5])


@st.composite
def datasets(draw: st.DrawFn, width: int = 3) -> Dataset:
    """Draw a dense or a sparse dataset of a width."""
    lines = draw(st.lists(st.lists(VALUES, min_size=width, max_size=width), min_size=1, max_size=6))
    dense = DenseData(np.array(lines).reshape(-1, width), np.arange(len(lines), dtype=np.float64))
    return to_sparse(dense) if draw(st.booleans()) else dense


@given(data=datasets())
def test_dense_and_sparse_are_the_same_rows(data: Dataset) -> None:
    """Going to the other form and back changes nothing."""
    dense = to_dense(data)
    assert np.array_equal(to_dense(to_sparse(dense)).x, dense.x)
    assert (rows(data), features(data)) == dense.x.shape


@given(parts=st.lists(datasets(), min_size=1, max_size=4))
def test_parts_are_put_together_in_order(parts: list[Dataset]) -> None:
    """The union has all rows, dense only if every part is."""
    union = concatenate(parts)
    assert np.array_equal(to_dense(union).x, np.concatenate([to_dense(part).x for part in parts]))
    assert np.array_equal(union.y, np.concatenate([part.y for part in parts]))
    assert isinstance(union, DenseData) == all(isinstance(part, DenseData) for part in parts)


@given(data=datasets(), choice=st.data())
def test_rows_are_taken_by_index_or_mask(data: Dataset, choice: st.DataObject) -> None:
    """Taking rows is numpy's indexing, whatever the form."""
    index = np.array(choice.draw(st.lists(st.integers(0, rows(data) - 1), max_size=6)), np.int64)
    assert np.array_equal(to_dense(take_rows(data, index)).x, to_dense(data).x[index])
    first, last = sorted(choice.draw(st.tuples(st.integers(0, rows(data)), st.integers(0, rows(data)))))
    part = slice_rows(data, first, last)
    assert rows(part) == last - first
    assert np.array_equal(to_dense(part).x, to_dense(data).x[first:last])
    assert np.array_equal(part.y, data.y[first:last])
    mask = np.array(choice.draw(st.lists(st.booleans(), min_size=rows(data), max_size=rows(data))))
    chosen, rest = split_rows(data, mask)
    assert np.array_equal(to_dense(chosen).x, to_dense(data).x[mask])
    assert np.array_equal(rest.y, data.y[~mask])


def test_what_does_not_belong_together_is_refused() -> None:
    """Shapes, types and widths are checked where a dataset is made."""
    x, y = np.zeros((2, 3)), np.zeros(2)
    with pytest.raises(DataError, match="is needed"):
        DenseData(x, np.zeros(3))
    with pytest.raises(DataError, match="C order"):
        DenseData(np.asfortranarray(np.ones((3, 2))), np.zeros(3))
    with pytest.raises(DataError, match="do not belong together"):
        SparseData(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0), 3, y)
    with pytest.raises(DataError, match="int64"):
        SparseData(np.zeros(3, np.int32), np.zeros(0, np.int32), np.zeros(0), 3, y)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"\[3, 4\] coordinates"):
        concatenate([DenseData(x, y), DenseData(np.zeros((2, 4)), y)])
    with pytest.raises(DataError, match="no datasets"):
        concatenate([])
