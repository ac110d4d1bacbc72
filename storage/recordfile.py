"""An append-only file of records that its owner's word depends on: what was acknowledged is never forgotten.

The file: a magic line, then records of

    length (4 bytes, big-endian) ‖ CRC-32 of the length (4) ‖ SHA-256 of the entry (32) ‖ entry

A crash while appending leaves a record that ends before its length says, or zeros in place of the whole record or of
its entry, which a file system had not filled yet: it was never acknowledged, and is cut off when the file opens.
Anything else that does not check is damage: the file refuses to open, for to go on without its entries would break
whatever was promised by them.
"""

import fcntl
import glob
import os
import secrets
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final
from zlib import crc32

from storage.errors import DamagedError, LockedError, SchemaError, UseError
from storage.files import sync_directory, write_all

_LENGTH_BYTES: Final = 4
_GUARD_BYTES: Final = 8
HEAD_BYTES: Final = _GUARD_BYTES + 32
_ZERO_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class RecordFormat:
    """What a kind of file is: its magic line (a stem and a version), its longest entry, and what people are told.

    older    earlier versions, whose files are read as they are
    user     who uses it, as in "stop that device first"
    remedy   what to do if it is damaged, and what else would happen
    """

    name: str
    stem: bytes
    version: int
    max_entry_bytes: int
    user: str
    remedy: str
    older: tuple[int, ...] = ()

    @property
    def magic(self) -> bytes:
        """The file's first line."""
        return self.magic_of(self.version)

    def magic_of(self, version: int) -> bytes:
        """Return the first line of a file of this version."""
        return self.stem + b"%d\n" % version


class RecordFile:
    """Records in a file, locked against other processes while it is open."""

    def __init__(self, path: Path, form: RecordFormat) -> None:
        """Open the file; make it if there is none. ``LockedError``, ``SchemaError``, ``DamagedError``."""
        self.path = path
        self._form = form
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._starts, self._lengths = array("Q"), array("L")
        """Where each entry begins, and its length, in bytes. A fleet's journal has hundreds of thousands."""
        self._is_unsure = False
        try:
            self._lock(self._handle)
            self._clear()
            self._end = self._open_head()
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def _handle(self) -> int:
        if self._file is None:
            raise UseError(f"the {self._form.name} {self.path} is closed")
        return self._file

    @property
    def is_unsure(self) -> bool:
        """Did a write fail, so that what is on disk is not known until the file is opened again?"""
        return self._is_unsure

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, place: int) -> bytes:
        """Return an entry by its place, read and checked anew."""
        start, length = self._starts[place], self._lengths[place]
        head = os.pread(self._handle, HEAD_BYTES, start - HEAD_BYTES)
        entry = os.pread(self._handle, length, start)
        if head[_GUARD_BYTES:] != sha256(entry).digest():
            raise self.damage(f"the record at byte {start} changed since it was opened")
        return entry

    @property
    def total_bytes(self) -> int:
        """The length of the file."""
        return self._end

    def size(self, place: int) -> int:
        """Return the bytes that an entry takes in the file."""
        return HEAD_BYTES + self._lengths[place]

    def __iter__(self) -> Iterator[bytes]:
        for place in range(len(self)):
            yield self[place]

    def damage(self, what: str) -> DamagedError:
        """Return the error that says what is wrong with this file, and what to do."""
        return DamagedError(f"{self._form.name} {self.path}: {what}; {self._form.remedy}")

    def damage_at(self, place: int, what: str) -> DamagedError:
        """Return the error for an entry that makes no sense."""
        return self.damage(f"the record at byte {self._starts[place] - HEAD_BYTES} is {what}")

    # --- opening ----------------------------------------------------------------------------------

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_this = os.fstat(file).st_ino == os.stat(self.path).st_ino  # or was it replaced before we had it?
        except BlockingIOError:
            is_this = False
        if not is_this:
            raise LockedError(f"{self.path} is in use by another process: stop that {self._form.user} first")

    def _clear(self) -> None:
        """Remove what a process that was killed had written to take this file's place."""
        for file in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.tmp"):
            file.unlink()

    def _open_head(self) -> int:
        """Check the magic line, or write it if it is not all there yet. Return where records begin."""
        magic = self._form.magic
        head = os.pread(self._handle, len(magic), 0)
        if head in (magic, *map(self._form.magic_of, self._form.older)):
            return len(magic)
        if head.startswith(self._form.stem):
            raise SchemaError(f"{self.path} was written by another version of fedchain ({head!r}): use that version")
        if not magic.startswith(head):
            raise self.damage("it does not begin as such a file does")
        os.ftruncate(self._handle, 0)
        _append(self._handle, magic, 0)
        sync_directory(self.path.parent)
        return len(magic)

    def _load(self) -> None:
        """Read all records; cut off the one that a crash left unfinished.

        What is read may stand in this machine's memory alone, if the last process was killed before it had flushed it.
        """
        os.fsync(self._handle)
        sync_directory(self.path.parent)
        size = os.fstat(self._handle).st_size
        while self._end < size:
            length = self._check_record(self._end, size)
            if length is None:
                os.ftruncate(self._handle, self._end)
                os.fsync(self._handle)
                return
            self._remember(length)

    def _check_record(self, start: int, size: int) -> int | None:
        """Return the length of the entry at ``start`` in bytes; None where only an unfinished record is left."""
        head = os.pread(self._handle, HEAD_BYTES, start)
        if len(head) < HEAD_BYTES or (not any(head) and self._is_zero_from(start, size)):
            return None
        length = int.from_bytes(head[:_LENGTH_BYTES], "big")
        if head[:_GUARD_BYTES] != _guarded_length(length) or not 0 < length <= self._form.max_entry_bytes:
            raise self.damage(f"at byte {start} a record's length does not match its checksum")
        entry = os.pread(self._handle, length, start + HEAD_BYTES)
        if len(entry) < length:
            return None
        if head[_GUARD_BYTES:] != sha256(entry).digest():
            if self._is_zero_from(start + HEAD_BYTES, size):
                return None
            raise self.damage(f"the record at byte {start} does not match its checksum")
        return length

    def _is_zero_from(self, start: int, size: int) -> bool:
        for position in range(start, size, _ZERO_CHUNK):
            if any(os.pread(self._handle, _ZERO_CHUNK, position)):
                return False
        return True

    def _remember(self, length: int) -> None:
        self._starts.append(self._end + HEAD_BYTES)
        self._lengths.append(length)
        self._end += HEAD_BYTES + length

    # --- writing ----------------------------------------------------------------------------------

    def append(self, entry: bytes) -> None:
        """Write an entry at the end; it is durable on return. After an error ``is_unsure`` stands."""
        self.append_all([entry])

    def append_all(self, entries: Sequence[bytes]) -> None:
        """Write entries at the end with one flush: durable on return, and after a crash the first so many of them.

        After an error ``is_unsure`` stands.
        """
        handle = self._handle
        self._is_unsure = True
        _append(handle, b"".join(map(_record, entries)), self._end)
        self._is_unsure = False
        for entry in entries:
            self._remember(len(entry))

    def replace(self, entry: bytes) -> None:
        """Put a new file with this entry alone in the place of this one; durable, and the lock held, on return."""
        self.replace_all([entry])

    def replace_all(self, entries: Iterable[bytes]) -> None:
        """Put a new file with these entries in the place of this one; durable, and the lock held, on return.

        They may be read from this very file meanwhile. After an error this file stands, and ``is_unsure``.
        """
        handle = self._handle
        self._is_unsure = True
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(6)}.tmp")
        file = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lengths = _write_records(file, self._form.magic, entries)
            os.rename(aside, self.path)
            sync_directory(self.path.parent)
        except BaseException:
            os.close(file)
            aside.unlink(missing_ok=True)
            raise
        os.close(handle)
        self._file = file
        self._starts, self._lengths, self._end = array("Q"), array("L"), len(self._form.magic)
        for length in lengths:
            self._remember(length)
        self._is_unsure = False

    def close(self) -> None:
        """Close the file, and with it drop the lock. Twice does no harm."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _append(file: int, data: bytes, position: int) -> None:
    os.lseek(file, position, os.SEEK_SET)
    write_all(file, data)
    _flush(file)


def _flush(file: int) -> None:
    """Wait until what was written is on the disk."""
    os.fsync(file)


def _write_records(file: int, magic: bytes, entries: Iterable[bytes]) -> "array[int]":
    """Write a new file's content, durably; return the length of each entry."""
    lengths = array("L")
    write_all(file, magic)
    for entry in entries:
        write_all(file, _record(entry))
        lengths.append(len(entry))
    _flush(file)
    return lengths


def _record(entry: bytes) -> bytes:
    return _guarded_length(len(entry)) + sha256(entry).digest() + entry


def _guarded_length(length: int) -> bytes:
    """Return a length with a checksum of its own: else a flipped bit in it would look like an unfinished record."""
    encoded = length.to_bytes(_LENGTH_BYTES, "big")
    return encoded + crc32(encoded).to_bytes(4, "big")
