"""One segment of a data store: a file of sealed batches of rows, appended to until it is full, then left as it is.

The file is a ``storage.recordfile``; an entry is

    store (16) ‖ segment (8) ‖ place (8) ‖ SHA-256 of the entry before, zeros for the first (32)
    ‖ number of the first row (8) ‖ rows (4) ‖ the batch, compressed and sealed

The head is authenticated with the batch. So an entry opens at its own place of its own segment of its own store alone,
behind the one that it was written behind: none can be exchanged, repeated, taken out of the middle or brought from
elsewhere. How many there are of a closed segment, and the digest of the last, the store's state says.

Rules of this file: one segment; which segments there are is ``storage.datastore``'s.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

from chain.codec import Record, decode_own, encode
from chain.errors import CodecError
from chain.ids import ZERO_HASH, Natural
from storage.datakey import StoreKey
from storage.errors import DamagedError
from storage.recordfile import HEAD_BYTES, RecordFile, RecordFormat
from storage.sealing import OVERHEAD, seal, unseal

MAX_ROW_BYTES: Final = 256 * 1024
MAX_BATCH_BYTES: Final = 256 * 1024
"""Bytes of the rows of one batch, uncompressed; a batch has one row at least."""
MAX_BATCH_ROWS: Final = 4096
_HEAD: Final = struct.Struct(">16sQQ32sQI")
_ROW_OVERHEAD: Final = 32
_MOST_PLAIN: Final = MAX_BATCH_BYTES + MAX_BATCH_ROWS * _ROW_OVERHEAD + 64
_PURPOSE: Final = b"fedchain data rows 1"
_REMEDY: Final = (
    "restore the whole store from a backup: what is left of it is not what was put in. Nothing was released twice: "
    "what the device released is in its journal"
)
FORMAT: Final = RecordFormat(
    name="data segment",
    stem=b"fedchain data segment ",
    version=1,
    max_entry_bytes=_HEAD.size + OVERHEAD + _MOST_PLAIN + 4096,
    user="program that writes to the data store",
    remedy=_REMEDY,
)


class RowBatch(Record):
    """Rows with their numbers, which rise and are never given twice, and their times (ms since 1970).

    ``source`` is the digest of what they were taken from, of which the first ``upto`` rows are in with this batch.
    """

    numbers: tuple[Natural, ...]
    times: tuple[Natural, ...]
    rows: tuple[bytes, ...]
    source: bytes = b""
    upto: Natural = 0


Row: TypeAlias = tuple[int, int, bytes]
"""A row's number, its time, its bytes."""


def rows_of(batch: RowBatch) -> list[Row]:
    """Return a batch's rows one by one."""
    return list(zip(batch.numbers, batch.times, batch.rows, strict=True))


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows are taken from: the digest of the whole, and how many of its rows come before these."""

    digest: bytes
    before: int


def batch_of(rows: Sequence[Row], source: bytes = b"", upto: int = 0) -> RowBatch:
    """Return the batch of rows, one at least."""
    numbers, times, contents = zip(*rows, strict=True)
    return RowBatch(numbers, times, contents, source, upto)


def pack_rows(rows: Iterable[Row], source: Source | None = None) -> Iterator[RowBatch]:
    """Yield the rows in batches that are not too large."""
    digest, upto = (source.digest, source.before) if source is not None else (b"", 0)
    pending: list[Row] = []
    size = 0
    for row in rows:
        if pending and (size + len(row[2]) > MAX_BATCH_BYTES or len(pending) == MAX_BATCH_ROWS):
            yield batch_of(pending, digest, upto)
            pending, size = [], 0
        pending.append(row)
        size += len(row[2])
        upto += source is not None
    if pending:
        yield batch_of(pending, digest, upto)


@dataclass(frozen=True, slots=True)
class _Head:
    store: bytes
    segment: int
    place: int
    previous: bytes
    first: int
    rows: int

    def pack(self) -> bytes:
        return _HEAD.pack(self.store, self.segment, self.place, self.previous, self.first, self.rows)

    @classmethod
    def of(cls, entry: bytes) -> "_Head":
        return cls(*_HEAD.unpack_from(entry))


def damage(path: Path, what: str) -> DamagedError:
    """Return the error that says what is wrong with a segment."""
    return DamagedError(f"{FORMAT.name} {path}: {what}; {_REMEDY}")


class OpenSegment:
    """The segment that is written to, locked while this object is open. Its torn tail is cut off."""

    def __init__(
        self, path: Path, key: StoreKey, number: int, first: int, least: tuple[int, bytes] = (0, ZERO_HASH)
    ) -> None:
        """Open a segment, make it if there is none; its rows begin with number ``first``. ``DamagedError``.

        ``least``: how many entries there must be, and the digest of the last of these.
        """
        self.path, self._key, self._number = path, key, number
        self._records = RecordFile(path, FORMAT)
        self._last: bytes = ZERO_HASH
        self.end = first
        self.rows = 0
        try:
            self._follow(*least)
        except BaseException:
            self.close()
            raise

    def _follow(self, least: int, digest: bytes) -> None:
        """Go along the heads; the last entry's seal then vouches for all of them."""
        entry = b""
        is_there = not least
        for place, entry in enumerate(self._records):
            head = _check_head(self.path, self._key, entry, self._number, place, self._last)
            if head.first != self.end:
                raise damage(self.path, f"entry {place} begins with row {head.first}, where {self.end} comes next")
            self._last = sha256(entry).digest()
            self.end, self.rows = self.end + head.rows, self.rows + head.rows
            is_there |= place == least - 1 and self._last == digest
        if not is_there:
            raise damage(self.path, f"has {len(self._records)} entries, and not all {least} that were acknowledged")
        if entry:
            _open_batch(self.path, self._key, entry, len(self._records) - 1)

    @property
    def records(self) -> int:
        """The number of batches."""
        return len(self._records)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the last entry; zeros if there is none."""
        return self._last

    def append(self, batches: Sequence[RowBatch]) -> None:
        """Write batches with one flush; durable on return. The numbers of the rows may have gaps, and rise."""
        entries: list[bytes] = []
        for place, batch in enumerate(batches, len(self._records)):
            previous = self._last if not entries else sha256(entries[-1]).digest()
            entries.append(seal_batch(self._key, self._number, place, previous, batch))
        if not entries:
            return
        self._records.append_all(entries)
        self._last = sha256(entries[-1]).digest()
        self.end = batches[-1].numbers[-1] + 1
        self.rows += sum(len(batch.rows) for batch in batches)

    def close(self) -> None:
        """Close the file."""
        self._records.close()


def seal_batch(key: StoreKey, segment: int, place: int, previous: bytes, batch: RowBatch) -> bytes:
    """Return the entry that holds a batch."""
    head = _Head(key.store, segment, place, previous, batch.numbers[0], len(batch.rows)).pack()
    return head + seal(key.key, _PURPOSE, zlib.compress(encode(batch), 1), head)


def entry_bytes(batch: RowBatch) -> int:
    """Return the bytes that a batch takes in a file, at most."""
    return HEAD_BYTES + _HEAD.size + OVERHEAD + len(encode(batch)) + 64


def read_batches(path: Path, data: bytes, key: StoreKey, number: int) -> Iterator[tuple[RowBatch, bytes]]:
    """Yield the batches of a segment's bytes, each with its entry's digest; every one is checked. ``DamagedError``."""
    if not data.startswith(FORMAT.magic):
        raise damage(path, "it does not begin as such a file does")
    position, previous, place = len(FORMAT.magic), bytes(ZERO_HASH), 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        entry = data[position + HEAD_BYTES : position + HEAD_BYTES + length]
        if len(entry) < length or not length:
            raise damage(path, f"entry {place} is cut short")
        _check_head(path, key, entry, number, place, previous)
        batch = _open_batch(path, key, entry, place)
        previous = sha256(entry).digest()
        yield batch, previous
        position, place = position + HEAD_BYTES + length, place + 1


def _check_head(path: Path, key: StoreKey, entry: bytes, segment: int, place: int, previous: bytes) -> _Head:
    """Return an entry's head. ``DamagedError`` if it belongs elsewhere."""
    if len(entry) < _HEAD.size + OVERHEAD:
        raise damage(path, f"entry {place} is too short")
    head = _Head.of(entry)
    if head.store != key.store:
        raise damage(path, f"entry {place} belongs to the data store {head.store.hex()}, not to {key.store.hex()}")
    if (head.segment, head.place) != (segment, place):
        raise damage(path, f"entry {place} of segment {segment} is entry {head.place} of segment {head.segment}")
    if head.previous != previous:
        raise damage(path, f"entry {place} does not follow what stands before it")
    return head


def _open_batch(path: Path, key: StoreKey, entry: bytes, place: int) -> RowBatch:
    """Return an entry's batch. ``DamagedError`` if the key does not open it."""
    head = entry[: _HEAD.size]
    packed = unseal(key.key, _PURPOSE, entry[_HEAD.size :], head)
    if packed is None:
        raise damage(path, f"entry {place} is not what was sealed under this store's key")
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(packed, _MOST_PLAIN)
        if not unpacker.eof:
            raise damage(path, f"entry {place} is longer than an entry may be")
        batch = decode_own(plain, RowBatch)
    except (zlib.error, CodecError) as error:
        raise damage(path, f"entry {place} is sealed, and no batch of rows ({error})") from None
    told = _Head.of(entry)
    if not len(batch.rows) == len(batch.times) == len(batch.numbers) == told.rows or batch.numbers[:1] != (told.first,):
        raise damage(path, f"entry {place} does not hold the rows that it says")
    return batch
