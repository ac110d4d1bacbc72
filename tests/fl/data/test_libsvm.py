"""LIBSVM text is read fast, sparse and exactly; what is out of place is named by its line."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.data import libsvm
from fl.data.formats import read_table
from fl.data.libsvm import read_libsvm
from fl.data.table import Csr, VectorTable
from fl.errors import DataError

Rows = list[tuple[float, dict[int, float]]]
VALUES = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(
    st.tuples(VALUES, st.dictionaries(st.integers(1, 2**31 - 1), VALUES, max_size=5)), min_size=1, max_size=9
)


def read(directory: Path, text: str) -> VectorTable:
    """Return the table of a file with this content."""
    path = directory / "rows.libsvm"
    path.write_text(text)
    return read_libsvm(path)


def plain(table: VectorTable) -> Rows:
    """Return labels and entries by index."""
    x = table.x
    assert isinstance(x, Csr)
    assert table.label is not None
    bounds = x.indptr.tolist()
    return [
        (label, dict(zip((x.indices[start:end] + 1).tolist(), x.values[start:end].tolist(), strict=True)))
        for label, start, end in zip(table.label.numbers.tolist(), bounds[:-1], bounds[1:], strict=True)
    ]


@given(rows=ROWS, block=st.integers(1, 40), blank=st.sampled_from([" ", "\t", "  "]), comment=st.booleans())
@settings(max_examples=60)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, block: int, blank: str, comment: bool
) -> None:
    """Any labels and entries come back bit for bit, wherever the blocks that are read end."""
    lines = [blank.join([repr(label), *(f"{i}:{v!r}" for i, v in sorted(entries.items()))]) for label, entries in rows]
    text = "".join(line + (" # note 1:2\n" if comment else " \r\n") for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(libsvm, "_BLOCK", block)
        table = read(tmp_path_factory.mktemp("libsvm"), text)
    assert plain(table) == rows
    assert table.where(len(rows) - 1) == f"rows.libsvm, line {len(rows)}"


def test_rows_without_entries_and_blank_lines(tmp_path: Path) -> None:
    """A row may have no entries; a blank line is no row, and is counted as a line."""
    table = read(tmp_path, "+1\n\n-1 3:0.5\n0")
    assert plain(table) == [(1.0, {}), (-1.0, {3: 0.5}), (0.0, {})]
    assert (table.width, table.where(1)) == (3, "rows.libsvm, line 3")


def test_a_huge_index_costs_no_memory(tmp_path: Path) -> None:
    """Two billion columns are fine: rows stay sparse."""
    assert read(tmp_path, "1 2147483647:1\n").width == 2147483647


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("1 1:1\n1 2:x\n", "line 2: '2:x' is no number"),
        ("1 1:nan\n", "line 1: '1:nan' is no number"),
        ("1 0:1\n", "'0:1' is no index"),
        ("1 1.5:1\n", "'1.5:1' is no index"),
        ("1 2147483648:1\n", "is no index"),
        ("1 2:1 2:1\n", "does not come after the index before it"),
        ("1 1:1\n1 3:1 2:1\n", "line 2: '2:1' does not come after"),
        ("1 1:1 7\n", "line 1: '7' is out of place"),
        ("3:1 4:1\n", "'3:1' is out of place"),
        ("1 1:2:3\n", "is out of place"),
        ("1 1: 2\n", "stands alone"),
        ("1 :2\n", "stands alone"),
        ("1 1:1e999\n", "is too large"),
        ("1 1:1-1\n", "is no number"),
        ("1 1:" + "1" * 100, "more than 64 characters"),
    ],
)
def test_what_is_out_of_place_is_named(tmp_path: Path, text: str, message: str) -> None:
    """The error has the file, the line and the text at fault."""
    with pytest.raises(DataError, match=r"rows\.libsvm") as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_reading_takes_little_more_memory_than_the_rows(tmp_path: Path) -> None:
    """A file of half a megabyte is read in blocks: a device on a small machine has room for it while it trains."""
    text = "1 1:0.5 2:0.25 3:1 4:1 5:1\n" * 20_000
    read(tmp_path, "1 1:1\n")
    tracemalloc.start()
    table = read(tmp_path, text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table.rows == 20_000
    assert peak < 8_000_000


@pytest.mark.parametrize("text", ["1 " + "1:1 " * 30, "1 1:1\n" * 4 + "1 " + "1:1 " * 30 + "\n"])
def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """It is not gathered for longer than a line may be."""
    monkeypatch.setattr(libsvm, "_BLOCK", 7)
    monkeypatch.setattr(libsvm, "_MAX_LINE", 40)
    with pytest.raises(DataError, match="line of more than 40 bytes"):
        read(tmp_path, text)


def test_the_format_is_told_by_content(tmp_path: Path) -> None:
    """A LIBSVM file needs no ending, and a CSV with times is not taken for one."""
    path = tmp_path / "a9a"
    path.write_text("-1 3:1 11:1 \n+1 5:1\n")
    table = read_table(path)
    assert isinstance(table, VectorTable)
    assert np.array_equal(table.label.numbers if table.label else [], [-1.0, 1.0])
    path.write_text("time,value\n10:30,5\n")
    assert not isinstance(read_table(path), VectorTable)
