"""NPZ and Parquet files are read without trusting them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from fl.data.formats import read_table
from fl.data.table import ColumnTable, Csr, VectorTable
from fl.errors import DataError


def saved(directory: Path, **arrays: object) -> Path:
    """Write an NPZ file and return its path."""
    path = directory / "rows.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", "bool"])
def test_dense_arrays_of_any_real_type(tmp_path: Path, dtype: str) -> None:
    """x and y of any real type, images flattened, keep their numbers."""
    x = (np.arange(24).reshape(2, 3, 4) % 2).astype(dtype)
    table = read_table(saved(tmp_path, x=np.asfortranarray(x), y=np.array([[0], [1]])))
    assert isinstance(table, VectorTable)
    assert not isinstance(table.x, Csr)
    assert np.array_equal(table.x, x.reshape(2, 12))
    assert table.label is not None
    assert table.label.numbers.tolist() == [0.0, 1.0]


def test_arrays_with_names_are_columns(tmp_path: Path) -> None:
    """An array of names makes a table like a CSV's, text labels included."""
    table = read_table(saved(tmp_path, x=np.eye(2), y=np.array(["no", "yes"]), columns=np.array(["a", "b"])))
    assert isinstance(table, ColumnTable)
    assert [column.name for column in table.columns] == ["a", "b", "y"]
    assert table.columns[2].words == {0: "no", 1: "yes"}


def test_sparse_arrays_are_sorted(tmp_path: Path) -> None:
    """Rows in the form of scipy.sparse.save_npz stay sparse; indices are put in order."""
    path = saved(tmp_path, indptr=[0, 2, 2], indices=[4, 1], data=[0.5, 2.0], shape=[2, 9], y=[1, 0])
    table = read_table(path)
    assert isinstance(table, VectorTable)
    assert isinstance(table.x, Csr)
    assert (table.x.indices.tolist(), table.x.values.tolist(), table.width) == ([1, 4], [2.0, 0.5], 9)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.array([{"a": 1}], dtype=object)}, "Python objects"),
        ({"x": np.eye(2), "y": np.zeros(3)}, "2 rows and 3 labels"),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0)}, "has no rows"),
        ({"x": np.array(["a"]), "y": np.zeros(1)}, "real numbers are needed"),
        ({"x": np.zeros(3) * 1j, "y": np.zeros(3)}, "real numbers are needed"),
        ({"y": np.zeros(3)}, "x and y, or indptr"),
        ({"z": np.zeros(3)}, "has the arrays none"),
        ({"indptr": [0, 1], "indices": [9], "data": [1.0], "shape": [1, 9]}, "must lie within 0 … 8"),
        ({"indptr": [0, 2], "indices": [3, 3], "data": [1.0, 1.0], "shape": [1, 9]}, "twice in one row"),
        ({"indptr": [0, 5], "indices": [3], "data": [1.0], "shape": [1, 9]}, "must rise from 0 to 1"),
        ({"indptr": [0, 1], "indices": [3, 4], "data": [1.0], "shape": [1, 9]}, "do not fit"),
        ({"indptr": [0.0, 1.0], "indices": [3], "data": [1.0], "shape": [1, 9]}, "integers"),
        ({"x": np.eye(2), "y": np.zeros(2), "columns": np.array(["a"])}, "2 names"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    """The error names the array and what is needed."""
    with pytest.raises(DataError, match=r"rows\.npz") as caught:
        read_table(saved(tmp_path, **arrays))
    assert message in str(caught.value)


def test_a_header_that_lies_takes_no_memory(tmp_path: Path) -> None:
    """An array that claims more than the file holds is refused before memory is taken for it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 2**10)})
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(DataError, match="claims the shape"):
        read_table(path)


@given(cut=st.integers(0, 400), flip=st.integers(0, 400), bit=st.integers(0, 7))
@settings(max_examples=60)
def test_a_damaged_archive_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, bit: int
) -> None:
    """A file cut short or with a bit changed gives a table or a ``DataError``."""
    path = saved(tmp_path_factory.mktemp("npz"), x=np.eye(3), y=np.arange(3))
    data = bytearray(path.read_bytes())
    data[flip % len(data)] ^= 1 << bit
    path.write_bytes(data[: len(data) - cut % 50])
    try:
        table = read_table(path)
    except DataError as error:
        assert path.name in str(error)  # noqa: PT017
    else:
        assert table.rows > 0


def test_parquet_columns(tmp_path: Path) -> None:
    """Numbers, booleans, texts, categories and nulls are read like a CSV's cells."""
    path = tmp_path / "rows.parquet"
    columns = {
        "a": arrow.array([1, None, 3]),
        "b": arrow.array([True, False, None]),
        "c": arrow.array(["x", None, "2.5"]),
        "d": arrow.array(["u", "v", "u"]).dictionary_encode(),
        "e": arrow.array([0.1, float("nan"), 2.0]),
    }
    parquet.write_table(arrow.table(columns), path)
    table = read_table(path)
    assert isinstance(table, ColumnTable)
    shown = {column.name: [column.cell(row) for row in range(3)] for column in table.columns}
    assert shown == {
        "a": ["1", "missing", "3"],
        "b": ["1", "0", "missing"],
        "c": ["'x'", "missing", "2.5"],
        "d": ["'u'", "'v'", "'u'"],
        "e": ["0.10000000000000001", "missing", "2"],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (arrow.table({"a": arrow.array([[1], [2]])}), "column 'a' has type list"),
        (arrow.table({"a": arrow.array([], arrow.int64())}), "has no rows"),
        (b"PAR1 and nothing more", "is no Parquet file"),
    ],
)
def test_bad_parquet_is_named(tmp_path: Path, content: arrow.Table | bytes, message: str) -> None:
    """What can't be read says which file and why."""
    path = tmp_path / "rows.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        parquet.write_table(content, path)
    with pytest.raises(DataError, match=r"rows\.parquet") as caught:
        read_table(path)
    assert message in str(caught.value)


@given(content=st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"PK\x03\x04" + tail))
@settings(max_examples=100)
def test_no_bytes_crash_a_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Any bytes are a table or a ``DataError`` that names the file."""
    path = tmp_path_factory.mktemp("bytes") / "rows.dat"
    path.write_bytes(content)
    try:
        assert read_table(path).rows > 0
    except DataError as error:
        assert "rows.dat" in str(error)  # noqa: PT017
