"""Opened blocks of sparse rows, taken apart and checked: ``fl.audit.rows`` says what they hold.

A verifier reads a few hundred rows of a stranger's: a dozen operations on arrays for each block cost more than the work
on its rows that is repeated.

Rules of this file: lengths are compared by whoever calls, as far as the room they take; little-endian machines.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.kernels.compiled import inner, kernel

READ: Final = -1
WRONG_VALUE: Final = -2
WRONG_COLUMN: Final = -3

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@inner
def copy(source: Bytes, at: int, target: Bytes, to: int, size: int) -> None:
    """Copy ``size`` bytes. Places without a sign spare asking for it, and leave one call of the machine's own copy."""
    here, there = np.uint64(at), np.uint64(to)
    for k in range(np.uint64(size)):
        target[there + k] = source[here + k]


@kernel
def read_sparse(
    joined: Bytes,
    lengths: Ints,
    counts: Ints,
    columns: int,
    limit: float,
    starts: Ints,
    indices: NDArray[np.int32],
    values: Float64Vector,
    labels: Float64Vector,
) -> int:
    """Fill the arrays of a ``SparseData`` from ``joined``: blocks of ``lengths`` bytes, each of ``counts`` rows.

    A block has at least 12 bytes a row; what it has beyond is room for ``lengths // 12 − counts`` entries.
    Returns ``READ``; the first block whose rows have other entries; ``WRONG_VALUE`` where one is no number within
    ±``limit``, else ``WRONG_COLUMN`` where a row's columns do not rise within 0 … ``columns`` − 1.
    """
    index_bytes, value_bytes, label_bytes = indices.view(np.uint8), values.view(np.uint8), labels.view(np.uint8)
    sizes = np.empty(labels.size, dtype=np.uint32)
    size_bytes = sizes.view(np.uint8)
    starts[0] = 0
    at, row, entry = 0, 0, 0
    for block in range(counts.size):
        count = counts[block]
        entries = lengths[block] // 12 - count
        copy(joined, at, label_bytes, 8 * row, 8 * count)
        copy(joined, at + 8 * count, size_bytes, 4 * row, 4 * count)
        copy(joined, at + 12 * count, index_bytes, 4 * entry, 4 * entries)
        copy(joined, at + 12 * count + 4 * entries, value_bytes, 8 * entry, 8 * entries)
        for i in range(row, row + count):
            starts[i + 1] = starts[i] + np.int64(sizes[i])
        row, entry = row + count, entry + entries
        if starts[row] != entry or lengths[block] != 12 * (count + entries):
            return block
        at += lengths[block]
    wrong = 0
    for i in range(row):
        wrong |= 0 if abs(labels[i]) <= limit else 1  # what is no number is not within
    for e in range(entry):
        wrong |= 0 if abs(values[e]) <= limit else 1
    if wrong:
        return WRONG_VALUE
    begins = starts.view(np.uint64)
    for i in range(row):
        before = np.int64(-1)
        for e in range(begins[np.uint64(i)], begins[np.uint64(i + 1)]):
            column = np.int64(indices[e])
            wrong |= 0 if before < column < columns else 1
            before = column
    return WRONG_COLUMN if wrong else READ
