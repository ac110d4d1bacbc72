"""Delimited text is read whatever its delimiter, header or quotes, and a bad row is named by its line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fl.data.delimited import read_delimited, sniff_delimiter
from fl.data.files import open_data
from fl.data.table import ColumnTable
from fl.errors import DataError

ROWS = [("age", "site", "dose"), ("40", "north", "1.5"), ("?", "south", "-2e3"), ("63", "NA", "")]


def read(directory: Path, text: str | bytes) -> ColumnTable:
    """Return the table of a file with this content."""
    path = directory / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_delimited(path)


def cells(table: ColumnTable) -> dict[str, list[str]]:
    """Return every column's cells as messages show them."""
    return {column.name: [column.cell(row) for row in range(table.rows)] for column in table.columns}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_every_delimiter_gives_the_same_table(tmp_path: Path, delimiter: str, end: str, bom: str) -> None:
    """Commas, semicolons, tabs, bars, blanks after them, Windows line ends and a byte order mark change nothing."""
    table = read(tmp_path, bom + "".join(delimiter.join(row) + end for row in ROWS))
    assert cells(table) == {
        "age": ["40", "missing", "63"],
        "site": ["'north'", "'south'", "missing"],
        "dose": ["1.5", "-2000", "missing"],
    }


def test_spaces_separate_too(tmp_path: Path) -> None:
    """Columns padded with blanks are cut at each run of them."""
    table = read(tmp_path, "  age   dose\n  40    1.5\n   7    2\n")
    assert cells(table) == {"age": ["40", "7"], "dose": ["1.5", "2"]}


def test_semicolons_come_before_decimal_commas(tmp_path: Path) -> None:
    """A file with decimal commas is cut at its semicolons; the commas are then text that the encoder names."""
    assert cells(read(tmp_path, "a;b\n1,5;2,5\n1,5;3,5\n"))["a"] == ["'1,5'", "'1,5'"]


def test_a_file_without_header_gets_names(tmp_path: Path) -> None:
    """A first line with a number in it is data."""
    assert cells(read(tmp_path, "1,x\n2,y\n")) == {"column1": ["1", "2"], "column2": ["'x'", "'y'"]}


def test_quoted_cells_may_hold_anything(tmp_path: Path) -> None:
    """Delimiters, quotes and line ends stand in quotes, and lines are still counted right."""
    table = read(tmp_path, 'note,age\n"a, ""b""\nc",1\nd,2\n')
    assert cells(table)["note"][1] == "'d'"
    assert table.columns[0].words[0] == 'a, "b"\nc'
    assert table.where(1) == "rows.csv, line 4"


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    """A gzipped text reads like the text."""
    assert cells(read(tmp_path, gzip.compress(b"a,b\n1,2\n"))) == {"a": ["1"], "b": ["2"]}


def test_many_rows_keep_their_numbers(tmp_path: Path) -> None:
    """Chunks of rows are put together in order, numbers bit for bit, words where they stood."""
    values = np.random.default_rng(1).normal(size=5000)
    lines = [f"{value!r},{'x' if row == 3000 else row}" for row, value in enumerate(values.tolist())]
    table = read(tmp_path, "value,place\n" + "\n".join(lines))
    assert np.array_equal(table.columns[0].numbers, values)
    assert table.columns[1].words == {3000: "x"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b\n", "has a header and no rows"),
        ("a,b\n1,2\n1,2,3\n", "line 3: has 3 cells where line 1 has 2"),
        ("a,b\n1\n", "line 2: has 1 cells where line 1 has 2"),
        ('a,b\n"1,2\n', "is not delimited text"),
        (b"a,b\n1,\xff\n", "not UTF-8"),
        (gzip.compress(b"a,b\n1,2\n" * 100, mtime=0)[:-12], "cut short"),
        (b"\x1f\x8bnothing", "gzip"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    """Every failure says which file, where, and what is wrong with it."""
    with pytest.raises(DataError, match=r"^rows\.csv") as caught:
        read(tmp_path, content)
    assert message in str(caught.value)


def test_a_directory_or_a_missing_file_is_named(tmp_path: Path) -> None:
    """What is no file is a clear error."""
    with pytest.raises(DataError, match="is a directory"):
        read_delimited(tmp_path)
    with pytest.raises(DataError, match=r"none\.csv: cannot be read \(No such file"):
        read_delimited(tmp_path / "none.csv")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_larger_than_the_limit_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Neither a large file nor a small one that unpacks to a large one is read to its end."""
    path = tmp_path / "rows.csv"
    path.write_bytes(pack(b"1,2\n" * 100_000))
    with pytest.raises(DataError, match=r"rows\.csv: is larger than"), open_data(path, 50_000) as stream:
        stream.read()


def test_the_odd_line_is_found_under_the_commonest_delimiter() -> None:
    """One bad line does not turn the file into another format."""
    assert sniff_delimiter(["a;b;c\n", "1;2;3\n", "1;2\n", "1;2;3\n"]) == ";"
