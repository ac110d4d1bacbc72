"""Tables: what a data file holds, before any plan is applied.

    Table = ColumnTable (named columns: CSV, Parquet, NPZ with names)
          | VectorTable (unnamed numbers in rows, dense or sparse: NPZ, LIBSVM)

Rules of this file: values and where they stood in the file; no reading, no meaning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.errors import DataError

MAX_CELLS: Final = 1 << 27
"""Most numbers a file may hold in memory: 1 GiB of float64."""
SHOWN: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column's cells by row: a number in ``numbers`` (NaN elsewhere), a word in ``words``, or missing in both.

    Words are what is neither a number nor missing (``fl.plan.cells``).
    """

    name: str
    numbers: Float64Vector
    words: Mapping[int, str] = field(default_factory=dict)

    def missing(self) -> NDArray[np.bool_]:
        """Return the mask of the rows with neither a number nor a word."""
        mask = np.isnan(self.numbers)
        mask[np.fromiter(self.words, np.int64, len(self.words))] = False
        return mask

    def cell(self, row: int) -> str:
        """Return a cell as a message shows it."""
        if row in self.words:
            word = self.words[row]
            return repr(word if len(word) <= SHOWN else word[:SHOWN] + "…")
        number = float(self.numbers[row])
        return "missing" if np.isnan(number) else f"{number:.17g}"


@dataclass(frozen=True, slots=True, eq=False)
class Csr:
    """Sparse rows: row i has ``values[indptr[i]:indptr[i+1]]`` at the rising ``indices``, below ``columns``."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Float64Vector
    columns: int


@dataclass(frozen=True, slots=True, eq=False)
class ColumnTable:
    """Named columns of equal length. ``lines`` has each row's line in a text file."""

    file: str
    columns: tuple[Column, ...]
    rows: int
    lines: NDArray[np.int64] | None = None

    def where(self, row: int) -> str:
        """Return where a row stands, for a message."""
        return _where(self.file, self.lines, row)

    def column(self, name: str) -> Column:
        """Return the column of this name; ``DataError`` names those there are."""
        for column in self.columns:
            if column.name == name:
                return column
        names = listed([column.name for column in self.columns])
        raise DataError(f"{self.file}: has no column {name!r}, which is asked for; its columns are {names}")


@dataclass(frozen=True, slots=True, eq=False)
class VectorTable:
    """Rows of unnamed numbers: ``x`` is a matrix (n, p) of a real dtype, or sparse; ``label`` the labels, if any."""

    file: str
    x: NDArray[np.generic] | Csr
    label: Column | None
    rows: int
    lines: NDArray[np.int64] | None = None

    @property
    def width(self) -> int:
        """The number of coordinates."""
        return self.x.columns if isinstance(self.x, Csr) else int(self.x.shape[1])

    def where(self, row: int) -> str:
        """Return where a row stands, for a message."""
        return _where(self.file, self.lines, row)


Table: TypeAlias = ColumnTable | VectorTable


def _where(file: str, lines: NDArray[np.int64] | None, row: int) -> str:
    return f"{file}, row {row + 1}" if lines is None else f"{file}, line {int(lines[row])}"


def listed(words: Sequence[str], most: int = 20) -> str:
    """Return words for a message, cut after ``most``."""
    return ", ".join(words[:most]) + (f" … ({len(words)} in all)" if len(words) > most else "")
