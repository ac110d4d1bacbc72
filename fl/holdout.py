"""The public holdout set: committed as salted chunks in the plan, opened one a round (docs/learning.md).

A chunk's leaf is H(salt, content id of its payload); the plan holds the Merkle root over all leaves. Until a chunk is
opened its salt hides it, so no device can tune for it, and the owner cannot change it afterwards.

Chunk payload, little-endian, rows already encoded by the plan's schema:

    kind      1 byte          0 dense, 1 sparse
    rows      uint32          columns   uint32          entries   uint64 (rows·columns if dense)
    y         rows × float64
    dense     entries × float64, row by row
    sparse    (rows+1) × int64 row starts, entries × int32 columns (rising in a row), entries × float64 values
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.hashing import DOMAIN_HOLDOUT, content_id, digest
from chain.ids import Hash
from chain.merkle import is_included, merkle_proof, merkle_root
from fl.dataset import Dataset, DenseData, SparseData, rows, take_rows
from fl.errors import DataError, PayloadError
from fl.objective import Objective
from fl.permutation import SplitMix
from fl.plan.dimensions import holdout_policy
from fl.plan.schema import ClassLabel, Holdout
from fl.task import draw

_HEAD: Final = Struct("<BIIQ")
_VALUE_LIMIT: Final = 2.0**20
"""Encoded features lie in ±1; anything near this is not a row of the plan's schema."""


@dataclass(frozen=True, slots=True)
class HoldoutSet:
    """What a plan's owner keeps: the root for the plan, and for each chunk its salt, payload and Merkle proof."""

    root: Hash
    rows: int
    salts: tuple[bytes, ...]
    payloads: tuple[bytes, ...]
    proofs: tuple[tuple[Hash, ...], ...]


def commit_holdout(dataset: Dataset, chunks: int, secret: bytes) -> HoldoutSet:
    """Return the commitment of a dataset in ``chunks`` equal chunks of shuffled rows; a remainder is left out.

    Order and salts follow from ``secret`` alone, so the owner can make the set again. ``DataError`` if there are fewer
    rows than chunks.
    """
    if not 1 <= chunks <= rows(dataset):
        raise DataError(f"{rows(dataset)} holdout rows in {chunks} chunks; every chunk needs a row")
    size = rows(dataset) // chunks
    order = _owner_order(rows(dataset), secret)
    parts = [take_rows(dataset, order[start : start + size]) for start in range(0, chunks * size, size)]
    payloads = tuple(encode_chunk(part) for part in parts)
    salts = tuple(digest(DOMAIN_HOLDOUT, b"salt", secret, index.to_bytes(8, "big")) for index in range(chunks))
    leaves = [_leaf(salt, payload) for salt, payload in zip(salts, payloads, strict=True)]
    proofs = tuple(merkle_proof(leaves, index) for index in range(chunks))
    return HoldoutSet(merkle_root(leaves), size, salts, payloads, proofs)


def _owner_order(count: int, secret: bytes) -> NDArray[np.int64]:
    generator = SplitMix(int.from_bytes(digest(DOMAIN_HOLDOUT, b"order", secret)[:8], "big"))
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = generator.below(last + 1)
        order[last], order[other] = order[other], order[last]
    return np.array(order, dtype=np.int64)


def _leaf(salt: bytes, payload: bytes) -> bytes:
    return digest(DOMAIN_HOLDOUT, b"chunk", salt, content_id(payload))


def chunk_of(spec: Holdout, round_number: int, beacon: Hash) -> int:
    """Return the chunk to open in a round: nobody knows it before the beacon."""
    return int.from_bytes(draw(beacon, b"holdout", round_number.to_bytes(8, "big")), "big") % spec.chunks


def check_opening(spec: Holdout, chunk: int, salt: bytes, proof: Sequence[Hash], payload: bytes) -> bool:
    """Is ``payload`` the committed chunk with this number?"""
    return is_included(Hash(spec.root), _leaf(salt, payload), chunk, spec.chunks, proof)


def encode_chunk(data: Dataset) -> bytes:
    """Return a chunk's payload bytes."""
    labels = data.y.astype("<f8").tobytes()
    if isinstance(data, DenseData):
        count, columns = data.x.shape
        return _HEAD.pack(0, count, columns, count * columns) + labels + data.x.astype("<f8").tobytes()
    head = _HEAD.pack(1, rows(data), data.columns, data.values.size)
    starts = data.indptr - data.indptr[0]
    parts = (starts.astype("<i8"), data.indices.astype("<i4"), data.values.astype("<f8"))
    return head + labels + b"".join([part.tobytes() for part in parts])


def decode_chunk(problem: Objective, payload: bytes) -> Dataset:
    """Return the rows of a chunk's payload. ``PayloadError`` if they are not rows of this plan's holdout set."""
    spec = holdout_policy(problem.plan)
    if spec is None:
        raise PayloadError("holdout chunk: the plan has no holdout set")
    return decode_table(problem, payload, spec.rows, "holdout chunk")


def decode_table(problem: Objective, payload: bytes, needed: int, what: str) -> Dataset:
    """Return rows that ``encode_chunk`` wrote. ``PayloadError`` if they are not ``needed`` rows of the plan's schema.

    ``what`` names the payload in errors.
    """
    if len(payload) < _HEAD.size:
        raise PayloadError(f"{what} of {len(payload)} bytes; its head alone has {_HEAD.size}")
    kind, count, columns, entries = _HEAD.unpack_from(payload)
    if kind > 1 or columns != problem.features or count != needed:
        raise PayloadError(f"{what} of kind {kind}, {count} rows, {columns} columns does not belong to the plan")
    if (kind == 0 and entries != count * columns) or entries > count * columns:
        raise PayloadError(f"{what} of {entries} entries for {count} rows of {columns} columns")
    expected = _HEAD.size + 8 * count + (8 * entries if kind == 0 else 8 * (count + 1) + 12 * entries)
    if len(payload) != expected:
        raise PayloadError(f"{what} of {len(payload)} bytes; {expected} are needed")
    labels = _read(payload, "<f8", _HEAD.size, count).astype(np.float64)
    _check_labels(problem, labels, what)
    offset = _HEAD.size + 8 * count
    if kind == 0:
        values = _read(payload, "<f8", offset, entries).astype(np.float64)
        _check_values(values, what)
        return DenseData(values.reshape(count, columns), labels)
    starts = _read(payload, "<i8", offset, count + 1).astype(np.int64)
    offset += 8 * (count + 1)
    indices = _read(payload, "<i4", offset, entries).astype(np.int32)
    values = _read(payload, "<f8", offset + 4 * entries, entries).astype(np.float64)
    _check_values(values, what)
    _check_structure(starts, indices, columns, what)
    return SparseData(starts, indices, values, columns, labels)


def _read(payload: bytes, kind: str, offset: int, count: int) -> NDArray[np.generic]:
    return np.frombuffer(payload, dtype=kind, count=count, offset=offset)


def _check_values(values: NDArray[np.float64], what: str) -> None:
    if not bool((np.abs(values) <= _VALUE_LIMIT).all()):  # NaN fails this too
        raise PayloadError(f"{what}: a value is not a number within ±2**20")


def _check_labels(problem: Objective, labels: NDArray[np.float64], what: str) -> None:
    label = problem.plan.roles[0].label
    if isinstance(label, ClassLabel):
        if not bool(((labels >= 0) & (labels < len(label.classes)) & (labels == np.floor(labels))).all()):
            raise PayloadError(f"{what}: a label is no class number 0 … {len(label.classes) - 1}")
    else:
        _check_values(labels, what)


def _check_structure(starts: NDArray[np.int64], indices: NDArray[np.int32], columns: int, what: str) -> None:
    """Raise unless rows start at 0, never run backwards, end at the last entry, and rise strictly within a row."""
    # Neighbours are compared: their difference may wrap around, and kernels read where row starts point.
    if starts[0] != 0 or starts[-1] != indices.size or bool((starts[1:] < starts[:-1]).any()):
        raise PayloadError(f"{what}: row starts must rise from 0 to the number of entries")
    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < columns):
        raise PayloadError(f"{what}: a column is not within 0 … {columns - 1}")
    rises = np.diff(indices) > 0
    rises[starts[1:-1][(starts[1:-1] > 0) & (starts[1:-1] < indices.size)] - 1] = True  # a new row may start lower
    if not bool(rises.all()):
        raise PayloadError(f"{what}: columns must rise within a row")
