"""What a plan's author needs to know of data files: per column, what values there are, merged over files.

Rules of this file: facts about tables; which plan they call for is ``fl.plan.infer``'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, TypeVar

import numpy as np

from fl.data.table import Column, ColumnTable, Csr, Table, VectorTable
from fl.errors import DataError

T = TypeVar("T")
MOST_DISTINCT: Final = 100
"""Distinct values listed; a column with more counts as having many."""
_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """A column's values: the range of its numbers, its distinct numbers and words (None: many), what is missing."""

    name: str
    lower: float
    upper: float
    numbers: frozenset[float] | None
    words: frozenset[str] | None
    has_words: bool
    missing: int
    is_whole: bool

    def merged(self, other: "ColumnSummary") -> "ColumnSummary":
        """Return the summary of both columns' values together."""
        return ColumnSummary(
            self.name,
            min(self.lower, other.lower),
            max(self.upper, other.upper),
            _union(self.numbers, other.numbers),
            _union(self.words, other.words),
            self.has_words or other.has_words,
            self.missing + other.missing,
            self.is_whole and other.is_whole,
        )


def _union(one: frozenset[T] | None, other: frozenset[T] | None) -> frozenset[T] | None:
    if one is None or other is None or len(one | other) > MOST_DISTINCT:
        return None
    return one | other


@dataclass(frozen=True, slots=True)
class TableSummary:
    """A file: its rows, and its columns by name, or for unnamed numbers its width, range and longest row.

    ``width`` is 0 for named columns; ``norm_squared`` is the largest Σ x² of a row.
    """

    file: str
    rows: int
    columns: tuple[ColumnSummary, ...]
    width: int = 0
    lower: float = 0.0
    upper: float = 0.0
    norm_squared: float = 0.0
    label: ColumnSummary | None = None


def summarise_table(table: Table) -> TableSummary:
    """Return a table's summary. ``DataError`` for unnamed numbers that are not finite."""
    if isinstance(table, ColumnTable):
        return TableSummary(table.file, table.rows, tuple(map(summarise_column, table.columns)))
    label = None if table.label is None else summarise_column(table.label)
    values, norm = _vector_facts(table)
    if not np.isfinite(norm):
        raise DataError(f"{table.file}: has a value that is not a finite number, or is too large to be squared")
    return TableSummary(table.file, table.rows, (), table.width, min(values), max(values), norm, label)


def summarise_column(column: Column) -> ColumnSummary:
    """Return a column's summary."""
    numbers = column.numbers[np.isfinite(column.numbers)]
    distinct = np.unique(numbers)
    words = frozenset(column.words.values())
    return ColumnSummary(
        column.name,
        float(distinct[0]) if distinct.size else float("inf"),
        float(distinct[-1]) if distinct.size else float("-inf"),
        frozenset(distinct.tolist()) if distinct.size <= MOST_DISTINCT else None,
        words if len(words) <= MOST_DISTINCT else None,
        bool(words),
        int(column.missing().sum()),
        bool((distinct == np.floor(distinct)).all()),
    )


@np.errstate(over="ignore")  # a square that overflows is refused as a value that is not finite
def _vector_facts(table: VectorTable) -> tuple[tuple[float, float], float]:
    """Return (least, greatest) value, 0 among them, and the largest Σ x² of a row."""
    if isinstance(table.x, Csr):
        values = table.x.values
        row = np.repeat(np.arange(table.rows), np.diff(table.x.indptr))
        norms = np.bincount(row, weights=values**2, minlength=table.rows)
        return (float(values.min(initial=0.0)), float(values.max(initial=0.0))), float(norms.max(initial=0.0))
    least = greatest = longest = 0.0
    for start in range(
        0, table.rows, _ROWS
    ):  # a few rows at a time: as float64 a matrix of bytes takes eight times more
        part = table.x[start : start + _ROWS].astype(np.float64)
        least, greatest = float(part.min(initial=least)), float(part.max(initial=greatest))
        longest = float(np.einsum("ij,ij->i", part, part).max(initial=longest))
    return (least, greatest), longest


def merge_columns(files: Sequence[TableSummary]) -> tuple[tuple[ColumnSummary, ...], tuple[str, ...]]:
    """Return the columns that all files have, merged, in the first file's order; and the names of those left out."""
    by_name = [{column.name: column for column in file.columns} for file in files]
    common = [name for name in by_name[0] if all(name in columns for columns in by_name)]
    left = tuple(sorted({name for columns in by_name for name in columns} - set(common)))
    merged = tuple(reduce(ColumnSummary.merged, [columns[name] for columns in by_name]) for name in common)
    return merged, left
