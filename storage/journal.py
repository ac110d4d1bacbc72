"""The release journal on disk: one append-only file that a device's word depends on.

A device that forgot what it released would release again, with other noise, and its privacy loss would be more than
anybody counted. So a release is on disk before it leaves the process, and the same task gets the same bytes for ever.

The file: a magic line, then records of

    length (4 bytes, big-endian) ‖ CRC-32 of the length (4) ‖ SHA-256 of the entry (32) ‖ entry (canonical)

A crash while appending leaves a record that ends before its length says, or zeros in place of the whole record or of
its entry, which a file system had not filled yet: it was never acknowledged, and is cut off when the journal opens.
Anything else that does not check is damage: the journal refuses to open, for to go on without its entries could cost
privacy.

The journal lies with the device's data, not with the chain: a device that syncs anew keeps it.
"""

import fcntl
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from zlib import crc32

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.ids import AccountId, Hash
from chain.payload import MAX_PAYLOAD_BYTES
from storage.base import JournalEntry
from storage.errors import DamagedError, JournalError, LockedError, SchemaError, UseError
from storage.files import sync_directory, write_all
from storage.releases import Releases

MAGIC: Final = b"fedchain release journal 1\n"
_MAGIC_STEM: Final = b"fedchain release journal "
_LENGTH_BYTES: Final = 4
_GUARD_BYTES: Final = 8
HEAD_BYTES: Final = _GUARD_BYTES + 32
MAX_ENTRY_BYTES: Final = MAX_PAYLOAD_BYTES + 4096
_ZERO_CHUNK: Final = 1 << 16


class FileReleaseJournal:
    """A ``ReleaseJournal`` in a file, locked against other processes while it is open."""

    def __init__(self, path: Path) -> None:
        """Open the journal; make it if there is none. ``LockedError``, ``SchemaError``, ``DamagedError``."""
        self.path = path
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._releases = Releases()
        self._places: list[tuple[int, int]] = []
        self._is_unsure = False
        try:
            self._lock()
            self._end = self._open_head()
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def _handle(self) -> int:
        if self._file is None:
            raise UseError(f"the release journal {self.path} is closed")
        return self._file

    def _lock(self) -> None:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"{self.path} is in use by another process: stop that device first") from None

    def _open_head(self) -> int:
        """Check the magic line, or write it if it is not all there yet. Return where records begin."""
        head = os.pread(self._handle, len(MAGIC), 0)
        if head == MAGIC:
            return len(MAGIC)
        if head.startswith(_MAGIC_STEM):
            raise SchemaError(f"{self.path} was written by another version of fedchain ({head!r}): use that version")
        if not MAGIC.startswith(head):
            raise self._damage("it does not begin as a journal does")
        os.ftruncate(self._handle, 0)
        self._append(MAGIC, 0)
        sync_directory(self.path.parent)
        return len(MAGIC)

    def _load(self) -> None:
        """Read all records; cut off the one that a crash left unfinished."""
        size = os.fstat(self._handle).st_size
        while self._end < size:
            entry, length = self._read_record(self._end, size)
            if entry is None:
                os.ftruncate(self._handle, self._end)
                os.fsync(self._handle)
                return
            self._remember(entry, length)

    def _read_record(self, start: int, size: int) -> tuple[JournalEntry | None, int]:
        """Return the entry at ``start`` and its length in bytes; no entry where only an unfinished record is left."""
        head = os.pread(self._handle, HEAD_BYTES, start)
        if len(head) < HEAD_BYTES or (not any(head) and self._is_zero_from(start, size)):
            return None, 0
        length = int.from_bytes(head[:_LENGTH_BYTES], "big")
        if head[:_GUARD_BYTES] != _guarded_length(length) or not 0 < length <= MAX_ENTRY_BYTES:
            raise self._damage(f"at byte {start} a record's length does not match its checksum")
        entry = os.pread(self._handle, length, start + HEAD_BYTES)
        if len(entry) < length:
            return None, 0
        if head[_GUARD_BYTES:] != sha256(entry).digest():
            if self._is_zero_from(start + HEAD_BYTES, size):
                return None, 0
            raise self._damage(f"the record at byte {start} does not match its checksum")
        return self._decode(entry, start), length

    def _is_zero_from(self, start: int, size: int) -> bool:
        for position in range(start, size, _ZERO_CHUNK):
            if any(os.pread(self._handle, _ZERO_CHUNK, position)):
                return False
        return True

    def _decode(self, entry: bytes, start: int) -> JournalEntry:
        try:
            return decode(entry, JournalEntry, MAX_ENTRY_BYTES)
        except CodecError as error:
            raise self._damage(f"the record at byte {start} is {error}") from None

    def _damage(self, what: str) -> DamagedError:
        return DamagedError(
            f"release journal {self.path}: {what}; restore a backup of it. Without it the device may release twice for "
            "one task and spend more privacy than it counts: if there is no backup, give the device a new key"
        )

    def _remember(self, entry: JournalEntry, length: int) -> None:
        self._releases.add(entry, len(self._places))
        self._places.append((self._end + HEAD_BYTES, length))
        self._end += HEAD_BYTES + length

    def _append(self, data: bytes, position: int) -> None:
        os.lseek(self._handle, position, os.SEEK_SET)
        write_all(self._handle, data)
        os.fsync(self._handle)

    def _at(self, place: int) -> JournalEntry:
        start, length = self._places[place]
        head = os.pread(self._handle, HEAD_BYTES, start - HEAD_BYTES)
        entry = os.pread(self._handle, length, start)
        if head[_GUARD_BYTES:] != sha256(entry).digest():
            raise self._damage(f"the record at byte {start} changed since it was opened")
        return self._decode(entry, start)

    def lookup(self, task: Hash, device: AccountId) -> JournalEntry | None:
        """Return what this device released for this task."""
        place = self._releases.find(task, device)
        return None if place is None else self._at(place)

    def record(self, entry: JournalEntry) -> None:
        """Write a release; it is durable on return.

        ``JournalError`` as the Protocol says, and for every record after a write that failed: what is on disk is not
        known then, until the journal is opened again.
        """
        if self._is_unsure:
            raise JournalError(f"an earlier write to {self.path} failed: restart the device after mending the disk")
        if not self._releases.is_new(entry, self.lookup(entry.task, entry.device)):
            return
        encoded = encode(entry)
        if len(encoded) > MAX_ENTRY_BYTES:
            raise JournalError(f"a release of {len(encoded)} bytes; at most {MAX_ENTRY_BYTES} are allowed")
        self._is_unsure = True
        self._append(_guarded_length(len(encoded)) + sha256(encoded).digest() + encoded, self._end)
        self._is_unsure = False
        self._remember(entry, len(encoded))

    def total(self, device: AccountId) -> int:
        """Return the device's cumulative privacy loss over all entries, in micro-zCDP."""
        return self._releases.total(device)

    def entries(self) -> Iterator[JournalEntry]:
        """Iterate over all entries in the order they were recorded."""
        for place in range(len(self._places)):
            yield self._at(place)

    def close(self) -> None:
        """Close the file, and with it drop the lock. Twice does no harm."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _guarded_length(length: int) -> bytes:
    """Return a length with a checksum of its own: else a flipped bit in it would look like an unfinished record."""
    encoded = length.to_bytes(_LENGTH_BYTES, "big")
    return encoded + crc32(encoded).to_bytes(4, "big")
