"""Rows of a device's own store: the text cells of one role's columns, checked at the door as training will read them.

A row has a cell for each of the role's columns, features first, in the plan's order, then the label; a vector has one
for each coordinate. Columns that the role does not name are left outside. What passes the door is what
``fl.data.encode`` encodes: the door asks the encoder itself.

Rules of this file: no I/O; cells are texts, so that what was measured is kept as it was written.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from chain.codec import decode_own, encode
from chain.errors import CodecError
from fl.data.delimited import ColumnGatherer
from fl.data.encode import encode_table
from fl.data.table import MAX_CELLS, Column, ColumnTable, Csr, Table, VectorTable, listed
from fl.dataset import Dataset
from fl.errors import DataError
from fl.plan.schema import Role, VectorFeature

MAX_COLUMNS: Final = 8192
"""Most cells of a row. Wider ones (bags of words) are files' business: as text cells they would be mostly zeros."""
CHUNK_ROWS: Final = 1024

Cells = Sequence[str]


def column_names(role: Role) -> tuple[str, ...]:
    """Return the columns of a role's rows in their order. ``DataError`` if there are more than ``MAX_COLUMNS``."""
    count = 1 + sum(feature.size if isinstance(feature, VectorFeature) else 1 for feature in role.features)
    if count > MAX_COLUMNS:
        raise DataError(f"role {role.name!r}: has {count} columns; a data store keeps rows of at most {MAX_COLUMNS}")
    names: list[str] = []
    for feature in role.features:
        if isinstance(feature, VectorFeature):
            names += [f"{feature.name}[{place}]" for place in range(feature.size)]
        else:
            names.append(feature.name)
    return (*names, role.label.name)


def check_rows(role: Role, rows: Sequence[Cells], source: str, lines: Sequence[int]) -> None:
    """Raise ``DataError`` unless every row fits the role's schema; it names source, line, column and value."""
    width = len(column_names(role))
    for line, row in zip(lines, rows, strict=True):
        if len(row) != width:
            raise DataError(f"{source}, line {line}: has {len(row)} cells; a row of role {role.name!r} has {width}")
    encode_table(_table(role, [rows], source, lines), role)


def encode_row(row: Cells) -> bytes:
    """Return the bytes that a store keeps of a row."""
    return encode(tuple(row))


def decode_row(data: bytes) -> tuple[str, ...]:
    """Return the row of a store's bytes. ``DataError`` if they are no row."""
    try:
        return decode_own(data, tuple[str, ...])
    except CodecError as error:
        raise DataError(f"the data store holds something that is no row ({error})") from None


def encode_stored(stored: Role, role: Role, batches: Iterable[Sequence[bytes]], name: str) -> Dataset:
    """Return a store's rows, made for the role ``stored``, as the plan's role encodes them. ``DataError``."""
    table = _table(stored, ([decode_row(row) for row in batch] for batch in batches), name, None)
    if not table.rows:
        raise DataError(f"{name}: has no rows yet")
    return encode_table(table, role)


def _table(role: Role, chunks: Iterable[Sequence[Cells]], source: str, lines: Sequence[int] | None) -> ColumnTable:
    """Return rows as a table; a few at a time stand in memory as text."""
    names = column_names(role)
    gatherers = [ColumnGatherer() for _ in names]
    count = 0
    for chunk in chunks:
        if (count + len(chunk)) * len(names) > MAX_CELLS:
            raise DataError(f"{source}: has more than {MAX_CELLS} cells")
        if any(len(row) != len(names) for row in chunk):
            raise DataError(f"{source}: holds a row that has not the {len(names)} cells of its schema")
        for gatherer, column in zip(gatherers, zip(*chunk, strict=True), strict=False):
            gatherer.add(count, column)
        count += len(chunk)
    if not count:
        return ColumnTable(source, tuple([Column(name, np.zeros(0)) for name in names]), 0)
    columns = tuple([gatherer.column(name) for name, gatherer in zip(names, gatherers, strict=True)])
    return ColumnTable(source, columns, count, None if lines is None else np.array(lines, np.int64))


# --- from tables and lines -----------------------------------------------------------------------


def rows_of_table(table: Table, role: Role) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Yield a data file's rows as a store keeps them, some at a time, with their lines. ``DataError``."""
    chosen = _columns_for(table, role) if isinstance(table, ColumnTable) else None
    lines = np.arange(1, table.rows + 1) if table.lines is None else table.lines
    for start in range(0, table.rows, CHUNK_ROWS):
        end = min(start + CHUNK_ROWS, table.rows)
        if chosen is not None:
            columns = [[_cell(column, row) for row in range(start, end)] for column in chosen]
            rows = [list(row) for row in zip(*columns, strict=True)]
        else:
            assert isinstance(table, VectorTable)
            rows = _vector_rows(table, role, start, end)
        yield [int(line) for line in lines[start:end]], rows


def _columns_for(table: ColumnTable, role: Role) -> list[Column]:
    """Return a table's columns in the order of the role's; those of a vector are all that nobody else names."""
    named = {feature.name for feature in role.features if not isinstance(feature, VectorFeature)} | {role.label.name}
    spread = [column for column in table.columns if column.name not in named]
    found: list[Column] = []
    for feature in role.features:
        if not isinstance(feature, VectorFeature):
            found.append(table.column(feature.name))
        elif len(spread) == feature.size:
            found += spread
        else:
            raise DataError(
                f"{table.file}: has {len(spread)} columns for the vector {feature.name!r}, which has {feature.size} "
                "coordinates in the plan"
            )
    return [*found, table.column(role.label.name)]


def _vector_rows(table: VectorTable, role: Role, start: int, end: int) -> list[list[str]]:
    feature = role.features[0] if len(role.features) == 1 else None
    if not isinstance(feature, VectorFeature) or table.label is None:
        names = listed(column_names(role))
        raise DataError(f"{table.file}: holds rows of numbers without names or labels; the store keeps {names}")
    if table.width > feature.size or (table.width != feature.size and not isinstance(table.x, Csr)):
        raise DataError(f"{table.file}: has rows of {table.width} numbers; the plan's vector has {feature.size}")
    rows: list[list[str]] = []
    for row in range(start, end):
        if isinstance(table.x, Csr):
            cells = ["0"] * feature.size
            for place in range(int(table.x.indptr[row]), int(table.x.indptr[row + 1])):
                cells[int(table.x.indices[place])] = _text(float(table.x.values[place]))
        else:
            cells = [_text(float(value)) for value in table.x[row]]
        rows.append([*cells, _cell(table.label, row)])
    return rows


def _cell(column: Column, row: int) -> str:
    if row in column.words:
        return column.words[row]
    number = float(column.numbers[row])
    return "" if np.isnan(number) else _text(number)


def _text(number: float) -> str:
    """Return the shortest text that reads as this float64 again."""
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


class LineReader:
    """Reads rows from lines of delimited text as they come: from a sensor's pipe, say.

    A first line that names all the role's columns says their order, and others beside them are passed over. Without it
    every line has exactly the role's cells in the role's order.
    """

    def __init__(self, role: Role, source: str, delimiter: str = ",", time_column: str = "") -> None:
        self._names = column_names(role)
        self._source, self._delimiter, self._time_column = source, delimiter, time_column
        self._places: list[int] | None = None
        self._time: int | None = None
        self._width = 0
        self._line = 0

    def read(
        self, lines: Iterable[str], torn: list[DataError] | None = None
    ) -> tuple[list[int], list[list[str]], list[str]]:
        """Return the rows of some lines: their line numbers, their cells, and the texts of their times ("": none).

        A line that is no row, or one of other cells, goes to ``torn``; without it ``DataError``. The first must do.
        """
        numbers: list[int] = []
        rows: list[list[str]] = []
        times: list[str] = []
        for line in lines:
            self._line += 1
            if not line.strip():
                continue
            try:
                cells = self._cells(line)
            except DataError as error:
                if torn is None or self._places is None:
                    raise
                torn.append(error)
                continue
            if self._places is None and self._learn(cells):
                continue
            numbers.append(self._line)
            rows.append([cells[place] for place in self._places or ()])
            times.append("" if self._time is None else cells[self._time])
        return numbers, rows, times

    def _cells(self, line: str) -> list[str]:
        """Return a line's cells, as many as the first line has."""
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=self._delimiter, strict=True))]
        except csv.Error as error:
            raise DataError(f"{self._source}, line {self._line}: is not delimited text ({error})") from None
        if self._places is not None and len(cells) != self._width:
            raise DataError(f"{self._source}, line {self._line}: has {len(cells)} cells, not {self._width}")
        return cells

    def _learn(self, cells: list[str]) -> bool:
        """Find out from the first line where the columns are; is it a header?"""
        self._width = len(cells)
        if set(self._names) <= set(cells):
            self._places = [cells.index(name) for name in self._names]
            if self._time_column:
                if self._time_column not in cells:
                    raise DataError(f"{self._source}: has no column {self._time_column!r}, which is to say the time")
                self._time = cells.index(self._time_column)
            return True
        if self._time_column or len(cells) != len(self._names):
            shown = listed(self._names)
            raise DataError(
                f"{self._source}, line {self._line}: has {len(cells)} cells and does not name the columns {shown}; "
                "begin with a line that does, or give exactly these cells in this order"
            )
        self._places = list(range(len(self._names)))
        return False
