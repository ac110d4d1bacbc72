"""Cutting one table into devices' files: unevenly at random, or by label so that no device looks like another.

    fedchain data split FILE --devices 8 --out DIR                    uneven: device k gets a share proportional to k
    fedchain data split FILE --devices 10 --labels 2 --out DIR        by label: device k holds classes k, k+1

Rules of this file: the same table and seed give the same files on every machine; every row goes to exactly one device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chain.wholefile import whole_file, write_text
from fl.data.sources import HOLDOUT_NAME, data_files
from fl.data.table import Column, ColumnTable, Csr, Table, VectorTable
from fl.errors import DataError
from fl.permutation import shuffled

Indices = NDArray[np.int64]


def uneven_parts(count: int, devices: int, seed: int) -> list[Indices]:
    """Return rows of ``count`` shuffled and cut into ``devices`` parts of sizes in the ratio 1 : 2 : … : devices."""
    total = devices * (devices + 1) // 2
    if devices < 1 or count < total:
        raise DataError(
            f"{count} rows for {devices} devices in the ratio 1 : 2 : …; at least {max(total, 1)} are needed"
        )
    order = np.asarray(shuffled(count, _seed(seed), 0), np.int64)
    ends = [count * (place * (place + 1) // 2) // total for place in range(devices + 1)]
    return [np.sort(order[start:end]) for start, end in pairwise(ends)]


def label_parts(labels: NDArray[np.generic], devices: int, each: int, seed: int) -> list[Indices]:
    """Return rows dealt by label: device k holds the ``each`` classes k, k+1, … modulo their number.

    Classes count from 0 in rising order; a class's rows are shuffled and dealt evenly to the devices that hold it.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    if devices < 1 or not 1 <= each <= classes.size or devices + each - 1 < classes.size:
        raise DataError(
            f"{devices} devices with {each} of {classes.size} labels each; every label needs a device, "
            "and no device can have more labels than there are"
        )
    held: list[list[Indices]] = [[] for _ in range(devices)]
    for code in range(classes.size):
        holders = [device for device in range(devices) if (code - device) % classes.size < each]
        rows = np.flatnonzero(codes == code)
        rows = rows[np.asarray(shuffled(rows.size, _seed(seed), code), np.int64)]
        for place, device in enumerate(holders):
            held[device].append(rows[place :: len(holders)])
    parts = [np.sort(np.concatenate(part)) for part in held]
    if any(part.size == 0 for part in parts):
        raise DataError(f"{labels.size} rows are too few for {devices} devices: one would have none")
    return parts


@dataclass(frozen=True, slots=True)
class Split:
    """How a table is cut: uneven shares, or ``labels`` classes to a device.

    ``holdout`` rows are set aside first for the public holdout set. ``test_percent`` of each device's rows become its
    test part, where no test table is given.
    """

    devices: int
    labels: int | None = None
    label: str | None = None
    holdout: int = 0
    test_percent: int = 0
    seed: int = 0

    def parts(self, table: Table) -> list[Indices]:
        """Return each device's rows of a table."""
        if self.labels is None:
            return uneven_parts(table.rows, self.devices, self.seed)
        return label_parts(labels_of(table, self.label), self.devices, self.labels, self.seed)


def split_files(train: Table, test: Table | None, directory: Path, split: Split) -> list[Path]:
    """Write ``device-01``, ``device-01.test``, … and ``holdout`` files for a table and return them.

    A test table is cut by the same rule as the training table. ``DataError`` if the rows are too few, or the directory
    holds data files already.
    """
    if directory.is_dir() and data_files(directory):
        raise DataError(f"{directory}: holds data files already; give a new directory")
    if not 0 <= split.test_percent <= 90 or not 0 <= split.holdout < train.rows:
        raise DataError(
            f"test_percent {split.test_percent}, holdout {split.holdout}: must be 0 … 90, and below the rows"
        )
    directory.mkdir(parents=True, exist_ok=True)
    order = np.asarray(shuffled(train.rows, _seed(split.seed), 2**32), np.int64)
    files = []
    if split.holdout:
        files.append(write_table(take_table(train, np.sort(order[: split.holdout])), directory / HOLDOUT_NAME))
        train = take_table(train, np.sort(order[split.holdout :]))
    tests = split.parts(test) if test is not None else None
    for device, rows in enumerate(split.parts(train)):
        name = f"device-{device + 1:0{max(2, len(str(split.devices)))}d}"
        cut = rows.size * split.test_percent // 100 if test is None else 0
        mixed = rows[np.asarray(shuffled(rows.size, _seed(split.seed), 2**33 + device), np.int64)]
        files.append(write_table(take_table(train, np.sort(mixed[cut:])), directory / name))
        if cut:
            files.append(write_table(take_table(train, np.sort(mixed[:cut])), directory / f"{name}.test"))
        if test is not None and tests is not None:
            files.append(write_table(take_table(test, tests[device]), directory / f"{name}.test"))
    return files


def _seed(seed: int) -> bytes:
    if not 0 <= seed < 2**64:
        raise DataError(f"seed {seed}: must be a whole number 0 … 2^64 - 1")
    return b"split" + seed.to_bytes(8, "big")


def labels_of(table: Table, name: str | None = None) -> NDArray[np.generic]:
    """Return a table's labels as an array to split by: the column ``name``, or a vector table's labels."""
    if isinstance(table, VectorTable):
        if table.label is None:
            raise DataError(f"{table.file}: has no labels to split by")
        column = table.label
    elif name is None:
        raise DataError(f"{table.file}: name the label column to split by")
    else:
        column = table.column(name)
    if not column.words:
        return column.numbers
    return np.array([column.words.get(row, f"{column.numbers[row]:g}") for row in range(column.numbers.size)])


def take_table(table: Table, rows: Indices) -> Table:
    """Return these rows of a table."""
    if isinstance(table, ColumnTable):
        return ColumnTable(table.file, tuple(_take_column(one, rows) for one in table.columns), rows.size)
    label = None if table.label is None else _take_column(table.label, rows)
    if isinstance(table.x, Csr):
        lengths = np.diff(table.x.indptr)[rows]
        indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        entries = np.arange(int(indptr[-1])) + np.repeat(table.x.indptr[rows] - indptr[:-1], lengths)
        x: NDArray[np.generic] | Csr = Csr(indptr, table.x.indices[entries], table.x.values[entries], table.x.columns)
    else:
        x = table.x[rows]
    return VectorTable(table.file, x, label, rows.size)


def _take_column(column: Column, rows: Indices) -> Column:
    words = {place: column.words[row] for place, row in enumerate(rows.tolist()) if row in column.words}
    return Column(column.name, column.numbers[rows], words)


def write_table(table: Table, path: Path) -> Path:
    """Write a table beside ``path`` in its natural form and return the file: .csv, .libsvm (sparse) or .npz (dense).

    ``path`` has no ending; numbers are written so that reading gives them back exactly.
    """
    if isinstance(table, ColumnTable):
        return _write_lines(path.with_name(path.name + ".csv"), _csv_lines(table))
    if isinstance(table.x, Csr):
        return _write_lines(path.with_name(path.name + ".libsvm"), _libsvm_lines(table, table.x))
    file = path.with_name(path.name + ".npz")
    arrays = {} if table.label is None else {"y": labels_of(table)}
    with whole_file(file) as stream:
        np.savez_compressed(stream, x=table.x, **arrays)  # type: ignore[arg-type]
    return file


def _write_lines(path: Path, lines: Sequence[str]) -> Path:
    write_text(path, "\n".join(lines) + "\n")
    return path


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _csv_lines(table: ColumnTable) -> list[str]:
    columns = [_csv_cells(column) for column in table.columns]
    return [",".join(_quoted(column.name) for column in table.columns), *map(",".join, zip(*columns, strict=True))]


def _csv_cells(column: Column) -> list[str]:
    cells = ["?" if np.isnan(value) else _number(value) for value in column.numbers.tolist()]
    for row, word in column.words.items():
        cells[row] = _quoted(word)
    return cells


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(char in text for char in ',"\r\n\t;|') else text


def _libsvm_lines(table: VectorTable, x: Csr) -> list[str]:
    labels = labels_of(table).tolist()
    indices, values = (x.indices + 1).tolist(), [_number(value) for value in x.values.tolist()]
    bounds = x.indptr.tolist()
    return [
        " ".join([_number(label), *(f"{indices[at]}:{values[at]}" for at in range(bounds[row], bounds[row + 1]))])
        for row, label in enumerate(labels)
    ]
