"""Reading delimited text: CSV with comma, semicolon, tab, bar or spaces, header or none, quoted or not.

The delimiter is the one that splits the first lines into equally many cells. The first line is a header if its cells
are all words, no two the same; without one, columns are called column1, column2, …

Rules of this file: cells become numbers, words or missing (``fl.plan.cells``); a row of another length is refused.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from fl.data.files import open_data
from fl.data.table import MAX_CELLS, Column, ColumnTable
from fl.errors import DataError
from fl.plan.cells import as_number, is_missing

_DELIMITERS: Final = ("\t", ";", "|", ",", " ")
_SAMPLE_LINES: Final = 50
_CHUNK: Final = 2048
_MAX_WORDS: Final = 1 << 24

Row = tuple[int, list[str]]


def read_delimited(path: Path) -> ColumnTable:
    """Return the table of a delimited text file. ``DataError`` names file, line and what is allowed."""
    with open_data(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        head = list(islice(text, _SAMPLE_LINES))
        if not any(line.strip() for line in head):
            raise DataError(f"{path.name}: is empty")
        delimiter = sniff_delimiter(head)
        try:
            return _table(path.name, _split(_chain(head, text), delimiter))
        except csv.Error as error:
            raise DataError(f"{path.name}: is not delimited text ({error})") from None


def sniff_delimiter(lines: Sequence[str]) -> str:
    """Return the first of tab, semicolon, bar, comma, space that splits all lines into equally many cells, two or more.

    Semicolons come before commas because files with decimal commas have both. If none fits every line, the commonest
    in the first line, so that the odd line is found and named.
    """
    for delimiter in _DELIMITERS:
        try:
            widths = {len(cells) for _, cells in _split(lines[:-1] or lines, delimiter)}
        except csv.Error:
            continue
        if len(widths) == 1 and max(widths) > 1:
            return delimiter
    return max((",", *_DELIMITERS[:3]), key=lambda delimiter: lines[0].count(delimiter))


def _chain(head: Sequence[str], rest: Iterator[str]) -> Iterator[str]:
    yield from head
    yield from rest


def _split(lines: Iterator[str] | Sequence[str], delimiter: str) -> Iterator[Row]:
    """Yield (line number, stripped cells) of every line that is not blank."""
    if delimiter == " ":
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line.split()
        return
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    for cells in reader:
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield reader.line_num, [cell.strip() for cell in cells]


def _is_header(cells: Sequence[str]) -> bool:
    words = all(not is_missing(cell) and as_number(cell) is None for cell in cells)
    return words and len(set(cells)) == len(cells)


def _table(file: str, rows: Iterator[Row]) -> ColumnTable:
    first = next(rows, None)
    if first is None:
        raise DataError(f"{file}: has no cell with anything in it")
    width, has_header = len(first[1]), _is_header(first[1])
    names = first[1] if has_header else [f"column{place}" for place in range(1, width + 1)]
    columns = [ColumnGatherer() for _ in names]
    lines: list[int] = []
    pending = [] if has_header else [first]
    while True:
        chunk = pending + list(islice(rows, _CHUNK))
        pending = []
        if not chunk:
            break
        for line, cells in chunk:
            if len(cells) != width:
                raise DataError(f"{file}, line {line}: has {len(cells)} cells where line {first[0]} has {width}")
        start = len(lines)
        lines += [line for line, _ in chunk]
        if len(lines) * width > MAX_CELLS:
            raise DataError(f"{file}: has more than {MAX_CELLS} cells")
        for gatherer, column in zip(columns, zip(*(cells for _, cells in chunk), strict=True), strict=True):
            gatherer.add(start, column)
        if sum(len(gatherer.words) for gatherer in columns) > _MAX_WORDS:
            raise DataError(f"{file}: has more than {_MAX_WORDS} cells that are no numbers")
    if not lines:
        raise DataError(f"{file}: has a header and no rows")
    done = tuple(gatherer.column(name) for name, gatherer in zip(names, columns, strict=True))
    return ColumnTable(file, done, len(lines), np.array(lines, np.int64))


class ColumnGatherer:
    """Gathers one column, chunk by chunk, so that a large file never stands in memory as text."""

    def __init__(self) -> None:
        self.words: dict[int, str] = {}
        self._parts: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []

    def add(self, start: int, cells: Sequence[str]) -> None:
        """Take the cells of the rows from ``start`` on."""
        numbers = _all_numbers(cells)
        if numbers is None:
            numbers = np.full(len(cells), np.nan)
            for place, cell in enumerate(cells):
                number = as_number(cell)
                if number is not None:
                    numbers[place] = number
                elif not is_missing(cell):
                    self.words[start + place] = cell
        self._parts.append(numbers)

    def column(self, name: str) -> Column:
        """Return the whole column."""
        return Column(name, np.concatenate(self._parts), self.words)


def _all_numbers(cells: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """Return the numbers if every cell plainly is one: the common case, some ten times faster."""
    text = "".join(cells)
    if not text.isascii() or "_" in text:
        return None
    try:
        numbers = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None
    return numbers if bool(np.isfinite(numbers).all()) else None
