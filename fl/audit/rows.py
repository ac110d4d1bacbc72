"""The commitment of a device's rows: a Merkle root over salted blocks of them, frozen when it joins a plan.

Where passes go through the rows in full order a block is one row; where they go by blocks (``fl.permutation``) it is
one of those, so that a segment of a training shows few leaves, and hardly a row that it does not go over.
One block can be shown without the others, and a block that is not shown can't be guessed: its leaf has 32 secret bytes,
which come from the device's secret and the plan, so that nothing is kept beside the data.

A block's bytes are its rows' labels (float64), then their values: all of them, row by row (float64 (p,)), or for sparse
rows first how many each has (uint32), then the columns (int32) of all, then the values. Little-endian.

Rules of this file: pure; ``PayloadError`` for bytes of strangers that are no rows of the plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.hashing import digest
from chain.ids import Hash
from chain.merkle import MerkleTree
from fl.dataset import Dataset, DenseData, SparseData, rows
from fl.errors import PayloadError
from fl.permutation import BLOCK_ROWS, Order

_DOMAIN_SALT: Final = b"fedchain/audit-row-salt"
VALUE_LIMIT: Final = 2.0**20
"""Largest absolute value that an encoded feature or label may have."""

_NOT_A_VALUE: Final = "a value of an opened row is not a number within ±2**20"


@dataclass(frozen=True, slots=True)
class Blocks:
    """How ``count`` rows are cut into blocks of ``size``; the last may have fewer."""

    count: int
    size: int

    @classmethod
    def of(cls, count: int, order: Order) -> "Blocks":
        """Return the blocks of rows that a plan's passes go through in this order."""
        return cls(count, BLOCK_ROWS if order == "blocks" else 1)

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def rows_in(self, number: int) -> int:
        """Return how many rows a block has."""
        return min(self.size, self.count - number * self.size)

    def rows_in_each(self, numbers: NDArray[np.int64]) -> list[int]:
        """Return ``rows_in`` of each of these blocks."""
        counts: list[int] = np.minimum(self.count - numbers * self.size, self.size).tolist()
        return counts

    def holding(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the blocks that hold these rows, ascending."""
        is_held = np.zeros(len(self), np.bool_)
        is_held[places if self.size == 1 else places // self.size] = True
        return is_held.nonzero()[0]

    def within(self, places: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the rows ``places`` stand among all rows of the blocks ``numbers``, put one after the other.

        ``numbers`` are ascending: only a last block has fewer rows, and it comes last.
        """
        if self.size == 1:
            return numbers.searchsorted(places)
        return numbers.searchsorted(places // self.size) * self.size + places % self.size


@dataclass(frozen=True, slots=True, eq=False)
class CommittedRows:
    """A device's rows with the tree over their blocks. ``secret``: 32 bytes that no other device and plan share."""

    data: Dataset
    secret: bytes
    blocks: Blocks
    tree: MerkleTree

    @classmethod
    def of(cls, data: Dataset, secret: bytes, order: Order = "full") -> "CommittedRows":
        """Commit to a dataset whose passes go in this order."""
        blocks = Blocks.of(rows(data), order)
        leaves = (row_salt(secret, number) + block for number, block in enumerate(encode_blocks(data, blocks.size)))
        return cls(data, secret, blocks, MerkleTree(leaves))

    @property
    def root(self) -> Hash:
        """The commitment."""
        return self.tree.root

    def block(self, number: int) -> bytes:
        """Return a block's bytes."""
        return encode_block(self.data, number * self.blocks.size, self.blocks.rows_in(number))


def row_salt(secret: bytes, index: int) -> bytes:
    """Return the 32 bytes that hide block ``index``."""
    return digest(_DOMAIN_SALT, secret, index.to_bytes(8, "big"))


def encode_blocks(data: Dataset, size: int) -> Iterator[bytes]:
    """Yield each block's bytes, in order."""
    for first in range(0, rows(data), size):
        yield encode_block(data, first, min(size, rows(data) - first))


def encode_block(data: Dataset, first: int, count: int) -> bytes:
    """Return the bytes of ``count`` rows from ``first`` on."""
    labels = data.y[first : first + count].astype("<f8", copy=False).tobytes()
    if isinstance(data, DenseData):
        return labels + data.x[first : first + count].astype("<f8", copy=False).tobytes()
    starts = data.indptr[first : first + count + 1]
    entries = slice(int(starts[0]), int(starts[-1]))
    parts = (
        (starts[1:] - starts[:-1]).astype("<u4"),
        data.indices[entries].astype("<i4", copy=False),
        data.values[entries].astype("<f8", copy=False),
    )
    return labels + b"".join([part.tobytes() for part in parts])


def decode_blocks(encoded: Sequence[bytes], counts: Sequence[int], columns: int, *, is_sparse: bool) -> Dataset:
    """Return the rows of these blocks, one after the other; ``counts`` says how many each must have.

    ``PayloadError`` if they are none of ``columns`` coordinates.
    """
    if is_sparse:
        return _decode_sparse(encoded, counts, columns)
    for block, count in zip(encoded, counts, strict=True):
        if len(block) != 8 * count * (columns + 1):
            raise PayloadError(f"an opened block of {len(block)} bytes; {count} rows of {columns} columns have others")
    total = sum(counts)
    if total == len(counts):  # a row each
        both = np.frombuffer(b"".join(encoded), "<f8").reshape(total, columns + 1)
        _check(both)
        return DenseData(both[:, 1:].astype(np.float64, order="C"), both[:, 0].astype(np.float64))
    x, y, first = np.empty((total, columns)), np.empty(total), 0
    for block, count in zip(encoded, counts, strict=True):
        numbers = np.frombuffer(block, "<f8")
        y[first : first + count] = numbers[:count]
        x[first : first + count] = numbers[count:].reshape(count, columns)
        first += count
    _check(x, y)
    return DenseData(x, y)


def _decode_sparse(encoded: Sequence[bytes], counts: Sequence[int], columns: int) -> SparseData:
    from fl.kernels.blocks import READ, WRONG_COLUMN, WRONG_VALUE, read_sparse

    for block, count in zip(encoded, counts, strict=True):
        if len(block) < 12 * count:
            raise PayloadError(f"an opened sparse block of {count} rows has {len(block)} bytes")
    lengths, total = [len(block) for block in encoded], sum(counts)
    entries = sum([length // 12 for length in lengths]) - total
    starts, places = np.empty(total + 1, np.int64), np.empty(entries, np.int32)
    values, labels = np.empty(entries), np.empty(total)
    found = read_sparse(
        np.frombuffer(b"".join(encoded), np.uint8),
        np.array(lengths, np.int64),
        np.array(counts, np.int64),
        columns,
        VALUE_LIMIT,
        starts,
        places,
        values,
        labels,
    )
    if found == WRONG_VALUE:
        raise PayloadError(_NOT_A_VALUE)
    if found == WRONG_COLUMN:
        raise PayloadError(f"columns of an opened row must rise within 0 … {columns - 1}")
    if found != READ:
        length, count = lengths[found], counts[found]
        raise PayloadError(f"an opened sparse block of {length} bytes with {count} rows has other values")
    return SparseData(starts, places, values, columns, labels)


def _check(*tables: NDArray[np.float64]) -> None:
    for table in tables:
        if table.size and not (table.max() <= VALUE_LIMIT and table.min() >= -VALUE_LIMIT):  # NaN fails this too
            raise PayloadError(_NOT_A_VALUE)
