"""The commitment of a device's rows: a Merkle root over salted rows, frozen when it joins a plan.

One row can be shown without the others, and a row that is not shown can't be guessed: its leaf has 32 secret bytes,
which come from the device's secret and the plan, so that nothing is kept beside the data.

A row's bytes are its label (float64) and its values: all of them (float64 (p,)), or for sparse rows their number
(uint32), the columns (int32) and the values. Little-endian.

Rules of this file: pure; ``PayloadError`` for bytes of strangers that are no rows of the plan.
"""

import struct
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

_DOMAIN_SALT: Final = b"fedchain/audit-row-salt"
_COUNT: Final = struct.Struct("<I")
VALUE_LIMIT: Final = 2.0**20
"""Largest absolute value that an encoded feature or label may have."""


@dataclass(frozen=True, slots=True, eq=False)
class CommittedRows:
    """A device's rows with the tree over them. ``secret`` is 32 bytes that no other device and plan share."""

    data: Dataset
    secret: bytes
    tree: MerkleTree

    @classmethod
    def of(cls, data: Dataset, secret: bytes) -> "CommittedRows":
        """Commit to a dataset."""
        leaves = (row_salt(secret, index) + row for index, row in enumerate(encode_rows(data)))
        return cls(data, secret, MerkleTree(leaves))

    @property
    def root(self) -> Hash:
        """The commitment."""
        return self.tree.root


def row_salt(secret: bytes, index: int) -> bytes:
    """Return the 32 bytes that hide row ``index``."""
    return digest(_DOMAIN_SALT, secret, index.to_bytes(8, "big"))


def encode_rows(data: Dataset) -> Iterator[bytes]:
    """Yield each row's bytes, in order."""
    labels = data.y.astype("<f8")
    if isinstance(data, DenseData):
        values = data.x.astype("<f8")
        for index in range(rows(data)):
            yield labels[index].tobytes() + values[index].tobytes()
        return
    indices, entries = data.indices.astype("<i4"), data.values.astype("<f8")
    for index in range(rows(data)):
        start, stop = int(data.indptr[index]), int(data.indptr[index + 1])
        count = _COUNT.pack(stop - start)
        yield labels[index].tobytes() + count + indices[start:stop].tobytes() + entries[start:stop].tobytes()


def decode_rows(encoded: Sequence[bytes], columns: int, *, is_sparse: bool) -> Dataset:
    """Return the rows that these bytes hold, in order. ``PayloadError`` if they are none of ``columns`` coordinates."""
    if is_sparse:
        return _decode_sparse(encoded, columns)
    if any(len(row) != 8 * (columns + 1) for row in encoded):
        raise PayloadError(f"an opened row has not the {8 * (columns + 1)} bytes of {columns} coordinates and a label")
    table = np.frombuffer(b"".join(encoded), dtype="<f8").astype(np.float64).reshape(len(encoded), columns + 1)
    _check(table)
    return DenseData(np.ascontiguousarray(table[:, 1:]), table[:, 0].copy())


def _decode_sparse(encoded: Sequence[bytes], columns: int) -> SparseData:
    labels, starts = np.empty(len(encoded)), np.zeros(len(encoded) + 1, np.int64)
    indices: list[NDArray[np.int32]] = []
    values: list[NDArray[np.float64]] = []
    for number, row in enumerate(encoded):
        if len(row) < 12:
            raise PayloadError(f"an opened sparse row of {len(row)} bytes")
        (count,) = _COUNT.unpack_from(row, 8)
        if len(row) != 12 + 12 * count:
            raise PayloadError(f"an opened sparse row of {len(row)} bytes with {count} values")
        labels[number] = np.frombuffer(row, "<f8", 1)[0]
        place = np.frombuffer(row, "<i4", count, 12).astype(np.int32)
        if count and not (int(place.min()) >= 0 and int(place.max()) < columns and bool((np.diff(place) > 0).all())):
            raise PayloadError(f"columns of an opened row must rise within 0 … {columns - 1}")
        indices.append(place)
        values.append(np.frombuffer(row, "<f8", count, 12 + 4 * count).astype(np.float64))
        starts[number + 1] = starts[number] + count
    entries = np.concatenate([np.zeros(0), *values])
    _check(labels, entries)
    return SparseData(starts, np.concatenate([np.zeros(0, np.int32), *indices]), entries, columns, labels)


def _check(*tables: NDArray[np.float64]) -> None:
    for table in tables:
        if not bool((np.abs(table) <= VALUE_LIMIT).all()):  # NaN fails this too
            raise PayloadError("a value of an opened row is not a number within ±2**20")
