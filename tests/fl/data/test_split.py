"""A table cut into devices' files loses no row and no bit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.data.formats import read_table
from fl.data.sources import find_holdout, list_devices
from fl.data.split import Split, label_parts, labels_of, split_files, take_table, uneven_parts, write_table
from fl.data.table import Column, ColumnTable, Csr, Table, VectorTable
from fl.errors import DataError


@given(count=st.integers(1, 300), devices=st.integers(1, 9), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=40)
def test_uneven_parts_share_all_rows(count: int, devices: int, seed: int) -> None:
    """Every row goes to one device, and device k has about k shares."""
    if count < devices * (devices + 1) // 2:
        with pytest.raises(DataError, match="rows for"):
            uneven_parts(count, devices, seed)
        return
    parts = uneven_parts(count, devices, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    share = count / (devices * (devices + 1) / 2)
    assert all(abs(part.size - share * (place + 1)) <= 1 for place, part in enumerate(parts))


@given(
    labels=st.lists(st.integers(0, 5), min_size=60, max_size=200),
    devices=st.integers(1, 9),
    each=st.integers(1, 6),
    seed=st.integers(0, 9),
)
@settings(max_examples=40)
def test_parts_by_label_hold_their_labels_alone(labels: list[int], devices: int, each: int, seed: int) -> None:
    """Every row goes to one device, and no device sees more than its labels."""
    values = np.array(labels, np.float64)
    try:
        parts = label_parts(values, devices, each, seed)
    except DataError as error:
        assert "devices" in str(error)  # noqa: PT017
        return
    assert sorted(np.concatenate(parts).tolist()) == list(range(values.size))
    assert all(0 < np.unique(values[part]).size <= each for part in parts)


def test_device_k_holds_digits_k_and_k_plus_1() -> None:
    """Ten devices with two of ten digits each: the documented rule."""
    labels = np.tile(np.arange(10.0), 20)
    held = [sorted(set(labels[part].tolist())) for part in label_parts(labels, 10, 2, 0)]
    assert held == [sorted((device, (device + 1) % 10)) for device in range(10)]


CELLS = st.floats(allow_nan=True, allow_infinity=False) | st.text("ab,;\"' x\n", min_size=1, max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draw a table of any kind."""
    rows = draw(st.integers(2, 8))
    numbers = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=rows, max_size=rows)
    label = Column("y", np.array(draw(numbers)))
    kind = draw(st.sampled_from(("columns", "dense", "sparse")))
    if kind == "columns":
        columns = []
        for name in draw(st.lists(st.sampled_from(["age", "si te", 'a"b', "c,d", "e;f"]), min_size=2, unique=True)):
            cells = draw(st.lists(CELLS, min_size=rows, max_size=rows))
            words = {row: f"w{cell}".strip() for row, cell in enumerate(cells) if isinstance(cell, str)}
            values = [np.nan if isinstance(cell, str) else cell for cell in cells]
            columns.append(Column(name, np.array(values), words))
        return ColumnTable("t", tuple(columns), rows)
    x = np.array([draw(numbers) for _ in range(3)]).T
    if kind == "dense":
        return VectorTable("t", x, label, rows)
    indptr = np.arange(rows + 1, dtype=np.int64) * 2
    values = np.array(draw(st.lists(st.floats(-9, 9), min_size=2 * rows, max_size=2 * rows)))
    return VectorTable("t", Csr(indptr, np.tile(np.array([1, 7], np.int32), rows), values, 8), label, rows)


def contents(table: Table) -> list[object]:
    """Return everything a table holds, as plain values."""
    if isinstance(table, ColumnTable):
        return [(one.name, [one.cell(row) for row in range(table.rows)], dict(one.words)) for one in table.columns]
    label = None if table.label is None else table.label.numbers.tolist()
    if isinstance(table.x, Csr):
        return [table.x.indptr.tolist(), table.x.indices.tolist(), table.x.values.tolist(), label]
    return [table.x.tolist(), label]


@given(table=tables())
@settings(max_examples=60)
def test_a_table_is_written_and_read_back(tmp_path_factory: pytest.TempPathFactory, table: Table) -> None:
    """Numbers come back bit for bit, words whole, missing cells missing."""
    path = write_table(table, tmp_path_factory.mktemp("written") / "device.one")
    assert contents(read_table(path)) == contents(table)


@given(table=tables(), data=st.data())
@settings(max_examples=40)
def test_rows_are_taken_whole(table: Table, data: st.DataObject) -> None:
    """Taking rows in an order gives those rows in that order."""
    order = data.draw(st.lists(st.integers(0, table.rows - 1), min_size=1, max_size=6))
    taken = take_table(table, np.array(order, np.int64))
    one_by_one = [contents(take_table(table, np.array([row], np.int64))) for row in order]
    again = [contents(take_table(taken, np.array([place], np.int64))) for place in range(len(order))]
    assert again == one_by_one


def digits() -> VectorTable:
    """Return 400 rows of two numbers that name them, with ten labels."""
    x = np.stack([np.arange(400), np.arange(400) % 7], axis=1).astype(np.uint16)
    return VectorTable("digits", x, Column("y", np.arange(400) % 10.0), 400)


def row_names(paths: list[Path]) -> list[int]:
    """Return the names of the rows in these files."""
    names: list[int] = []
    for path in paths:
        table = read_table(path)
        assert isinstance(table, VectorTable)
        assert not isinstance(table.x, Csr)
        names += table.x[:, 0].tolist()
    return names


def test_files_hold_every_row_once(tmp_path: Path) -> None:
    """Training parts, test parts and the holdout share all rows; the same seed gives the same bytes."""
    split = Split(devices=4, holdout=20, test_percent=25, seed=5)
    files = split_files(digits(), None, tmp_path / "one", split)
    assert sorted(row_names(files)) == list(range(400))
    assert [device.name for device in list_devices(tmp_path / "one")] == [
        f"device-0{number}" for number in (1, 2, 3, 4)
    ]
    assert all(device.test is not None for device in list_devices(tmp_path / "one"))
    assert find_holdout(tmp_path / "one") == files[0]
    again = split_files(digits(), None, tmp_path / "two", split)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


def test_a_test_table_is_cut_like_the_training_table(tmp_path: Path) -> None:
    """By label, a device's test part has the labels it trains on."""
    split_files(digits(), digits(), tmp_path, Split(devices=10, labels=2))
    for place, device in enumerate(list_devices(tmp_path)):
        assert device.test is not None
        for path in (device.train, device.test):
            assert set(labels_of(read_table(path)).tolist()) == {place, (place + 1) % 10}


def test_what_cannot_be_split_is_named(tmp_path: Path) -> None:
    """Other files in the way, too few rows, too many labels and columns without a label are clear errors."""
    (tmp_path / "device-01.csv").write_text("1")
    with pytest.raises(DataError, match="holds data files already"):
        split_files(digits(), None, tmp_path, Split(2))
    with pytest.raises(DataError, match="holdout 400"):
        split_files(digits(), None, tmp_path / "new", Split(2, holdout=400))
    with pytest.raises(DataError, match="10 devices with 11 of 10 labels"):
        split_files(digits(), None, tmp_path / "new", Split(10, labels=11))
    columns = ColumnTable("t", (Column("a", np.zeros(4)),), 4)
    with pytest.raises(DataError, match="name the label column"):
        Split(2, labels=1).parts(columns)
    with pytest.raises(DataError, match="has no column 'b'"):
        Split(2, labels=1, label="b").parts(columns)
