"""Small payloads, many to a file: ``payloads/segments/00000001`` and so on, and ``dead``, which says what was deleted.

A phase of ten thousand devices brings as many payloads of some kilobytes, on every node, and soon all of them go again:
a file for each would cost more than all else that is done with them. A segment takes payloads one behind the other

    magic (4 bytes) ‖ length (4, big-endian) ‖ SHA-256 of the payload (32) ‖ CRC-32 of these (4) ‖ payload

until it is full; nothing in it changes after. ``dead`` takes ``segment (4) ‖ offset (4) ‖ CRC-32 of these (4)`` for
each payload that was deleted. Where payloads stand is kept in memory, some 200 bytes each, and read again from the
heads when the store opens. A segment goes as soon as nothing in it is alive; if the dead take more room than the
living, the last living ones move to the newest segment first.

A process that dies leaves at most the beginning of a record at the end of a segment. A power cut can leave anything in
what was not flushed, and take deletions back. So bytes are compared with their digest at every read; what does not
begin as a record is passed over up to the next that does, and nothing is appended behind it.

Threads: any may read; who changes anything holds the lock.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Final
from zlib import crc32

from chain.hashing import content_id
from chain.ids import Hash
from storage.files import sync_directory, write_all, write_file

MAGIC: Final = b"\xfcpay"
HEAD_BYTES: Final = 44
_GUARDED: Final = 40
SMALL_BYTES: Final = 1 << 16
"""A payload up to this size goes to a segment."""
SEGMENT_BYTES: Final = 1 << 24
"""A segment that has so many takes no more."""
_IDLE_BYTES: Final = 1 << 26
"""So much the dead may take in any case."""
_DEAD: Final = "dead"
_DEAD_BYTES: Final = 12
_OPEN_FILES: Final = 64
_LENGTH_BITS: Final = 20
_OFFSET_BITS: Final = 28


class _File:
    """An open file, closed when nobody holds it any more: who reads can't be handed another's number."""

    __slots__ = ("number",)

    def __init__(self, path: str, flags: int) -> None:
        self.number = -1
        self.number = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


@dataclass(slots=True)
class _Segment:
    """What is in a segment: bytes of the file, and payloads that are alive, with their bytes."""

    end: int = 0
    alive: int = 0
    alive_bytes: int = 0
    is_whole: bool = True
    """Do its records end where the file ends, so that more may follow?"""
    is_movable: bool = True
    """Was nothing in it found to be damaged?"""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A payload whose bytes are not those that its digest is of: what stands in their place, and where."""

    file: Path
    offset: int
    data: bytes


class PayloadSegments:
    """Payloads of up to ``SMALL_BYTES`` by their SHA-256, in a directory that is made when the first one comes."""

    def __init__(self, path: Path, *, segment_bytes: int = SEGMENT_BYTES, idle_bytes: int = _IDLE_BYTES) -> None:
        """Open what is there. Segments in which nothing is alive go."""
        self.path = path
        self._segment_bytes = segment_bytes
        self._idle_bytes = idle_bytes
        self._lock = RLock()
        self._places: dict[Hash, int] = {}
        """segment << 48 | offset of the payload << 20 | length"""
        self._segments: dict[int, _Segment] = {}
        self._files: dict[int, _File] = {}
        self._writing: tuple[int, _File] | None = None
        self._dead: _File | None = None
        self._newest = 0
        self._pins = 0
        self.alive_bytes = 0
        self._file_bytes = 0
        if path.is_dir():
            self._load()

    @property
    def lock(self) -> AbstractContextManager[bool]:
        """Held by whoever changes anything."""
        return self._lock

    # --- opening ----------------------------------------------------------------------------------

    def _load(self) -> None:
        dead = self._read_dead()
        for number in sorted(int(file.name) for file in self.path.iterdir() if file.name.isdecimal()):
            self._newest = number
            self._segments[number] = segment = _Segment(end=os.stat(self._name(number)).st_size)
            for id, offset, length in self._scan(number):
                if id in self._places:  # it was being moved
                    dead.add((number, offset))
                elif (number, offset) not in dead:
                    self._add(id, number, offset, length)
            self._file_bytes += segment.end
        for number in [number for number, segment in self._segments.items() if not segment.alive]:
            self._remove(number)
        kept = [_dead_record(number, offset) for number, offset in sorted(dead) if number in self._segments]
        write_file(self.path / _DEAD, b"".join(kept))  # durably: numbers may come again

    def _read_dead(self) -> set[tuple[int, int]]:
        try:
            data = (self.path / _DEAD).read_bytes()
        except FileNotFoundError:
            return set()
        found = set()
        for at in range(0, len(data) - _DEAD_BYTES + 1, _DEAD_BYTES):
            number, offset = int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big")
            if data[at : at + _DEAD_BYTES] == _dead_record(number, offset):
                found.add((number, offset))
        return found

    def _scan(self, number: int) -> Iterator[tuple[Hash, int, int]]:
        """Yield digest, offset and length of each record; note whether anything else is in."""
        segment, file = self._segments[number], _File(self._name(number), os.O_RDONLY)
        size = os.fstat(file.number).st_size
        at = 0
        while at < size:
            head = os.pread(file.number, HEAD_BYTES, at)
            length = _read_head(head)
            if length is not None and at + HEAD_BYTES + length <= size:
                yield Hash(head[8:_GUARDED]), at + HEAD_BYTES, length
                at += HEAD_BYTES + length
                continue
            segment.is_whole = False
            at = _find_record(file.number, at + 1, size)

    def _name(self, number: int) -> str:
        return f"{self.path}/{number:08d}"

    # --- reading ----------------------------------------------------------------------------------

    def has(self, id: Hash) -> bool:
        """Is this payload here?"""
        return id in self._places

    def get(self, id: Hash) -> bytes | Damaged | None:
        """Return a payload, what stands in its place if that is something else, or None if it is not here."""
        while (place := self._places.get(id)) is not None:
            number, offset, length = _read_place(place)
            file = self._file(number)
            data = b"" if file is None else os.pread(file.number, length, offset)
            if content_id(data) == id:
                return data
            if self._places.get(id) == place:
                return Damaged(Path(self._name(number)), offset, data)
        return None

    def _file(self, number: int) -> _File | None:
        """Return an open segment; None if its file is gone."""
        files = self._files
        file = files.get(number)
        if file is not None:
            return file
        with self._lock:
            if len(files) >= _OPEN_FILES:
                files.pop(next(iter(files)))
            try:
                file = files[number] = _File(self._name(number), os.O_RDONLY)
            except FileNotFoundError:
                return None
            return file

    def ids(self) -> list[Hash]:
        """Return the ids of all payloads, in no order."""
        return list(self._places)

    # --- writing ----------------------------------------------------------------------------------

    def put(self, id: Hash, payload: bytes, *, sync: bool) -> None:
        """Store a payload that is not here; durable on return if ``sync``."""
        with self._lock:
            number = self._append(id, payload)
            if sync:
                self._sync({number})

    def sync(self, id: Hash) -> None:
        """Make a payload that is here durable."""
        with self._lock:
            place = self._places.get(id)
            if place is not None:
                self._sync({_read_place(place)[0]})

    def _append(self, id: Hash, payload: bytes) -> int:
        """Write a payload at the end of the newest segment; return which that is."""
        number, file = self._writing or self._begin()
        segment = self._segments[number]
        record = _head(id, len(payload)) + payload
        try:
            os.lseek(file.number, segment.end, os.SEEK_SET)
            write_all(file.number, record)
        except OSError:
            self._writing, segment.is_whole = None, False  # part of it may be there
            raise
        self._add(id, number, segment.end + HEAD_BYTES, len(payload))
        segment.end += len(record)
        self._file_bytes += len(record)
        if segment.end >= self._segment_bytes:
            self._writing = None
        return number

    def _begin(self) -> tuple[int, _File]:
        """Go on with the newest segment, or begin another."""
        segment = self._segments.get(self._newest)
        if segment is None or not segment.is_whole or segment.end >= self._segment_bytes:
            self.path.mkdir(mode=0o700, exist_ok=True)
            self._newest += 1
            self._segments[self._newest] = _Segment()
        self._writing = self._newest, _File(self._name(self._newest), os.O_RDWR | os.O_CREAT)
        return self._writing

    def _sync(self, numbers: set[int]) -> None:
        """Make all that is in these segments durable, and their names."""
        for number in numbers:
            file = _File(self._name(number), os.O_RDONLY)
            os.fsync(file.number)
        sync_directory(self.path)
        sync_directory(self.path.parent)

    def _add(self, id: Hash, number: int, offset: int, length: int) -> None:
        """Note where a payload stands; of one that moves, in one step, for it is being read."""
        segment, before = self._segments[number], self._places.get(id)
        self._places[id] = _make_place(number, offset, length)
        if before is not None:
            self._leave(before)
        segment.alive += 1
        segment.alive_bytes += length
        self.alive_bytes += length

    def _take(self, id: Hash) -> int:
        """Forget where a payload stands, in memory alone; return its segment."""
        return self._leave(self._places.pop(id))

    def _leave(self, place: int) -> int:
        """A segment has one payload less; return which."""
        number, _, length = _read_place(place)
        segment = self._segments[number]
        segment.alive -= 1
        segment.alive_bytes -= length
        self.alive_bytes -= length
        return number

    # --- deleting ---------------------------------------------------------------------------------

    def delete(self, id: Hash) -> None:
        """Forget a payload; not an error if it is not here."""
        with self._lock:
            place = self._places.get(id)
            if place is None:
                return
            number, offset, _ = _read_place(place)
            if self._dead is None:
                self._dead = _File(f"{self.path}/{_DEAD}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            write_all(self._dead.number, _dead_record(number, offset))
            self._tidy(self._take(id))
            alive = self.alive_bytes + HEAD_BYTES * len(self._places)
            if self._file_bytes - alive > max(self._idle_bytes, alive):
                self._move_out()

    def _tidy(self, number: int) -> None:
        """Remove a segment in which nothing is alive, unless it still grows or is being copied."""
        is_growing = self._writing is not None and self._writing[0] == number
        if not self._segments[number].alive and not is_growing and not self._pins:
            self._remove(number)

    def _remove(self, number: int) -> None:
        self._file_bytes -= self._segments.pop(number).end
        self._files.pop(number, None)
        os.unlink(self._name(number))

    def _move_out(self) -> None:
        """Move what lives in the emptiest full segment to the newest, durably, and remove the segment."""
        full = {number: one for number, one in self._segments.items() if number != self._newest and one.is_movable}
        if self._pins or not full:
            return
        number = min(full, key=lambda one: full[one].alive_bytes / max(full[one].end, 1))
        moved: set[int] = set()
        for id, offset, length in list(self._scan(number)):
            place = _make_place(number, offset, length)
            found = self.get(id) if self._places.get(id) == place else None
            if isinstance(found, Damaged):  # whoever reads it next hears of that, and sets it aside
                full[number].is_movable = False
                break
            if found is not None:
                moved.add(self._append(id, found))
        self._sync(moved)
        self._tidy(number)

    # --- copying ----------------------------------------------------------------------------------

    @contextmanager
    def copying(self) -> Iterator[tuple[list[Path], Path]]:
        """Lend the files of all segments, none of which grows or goes meanwhile, and that of what is deleted."""
        with self._lock:
            self._pins += 1
            self._writing = None
            newest = self._segments.get(self._newest)
            if newest is not None:
                newest.is_whole = False  # what comes goes to another
            files = [Path(self._name(number)) for number in sorted(self._segments)]
        try:
            yield files, self.path / _DEAD
        finally:
            with self._lock:
                self._pins -= 1
                for number in list(self._segments):
                    self._tidy(number)


def _make_place(number: int, offset: int, length: int) -> int:
    return number << (_OFFSET_BITS + _LENGTH_BITS) | offset << _LENGTH_BITS | length


def _read_place(place: int) -> tuple[int, int, int]:
    """Return segment, offset and length."""
    offset = place >> _LENGTH_BITS & ((1 << _OFFSET_BITS) - 1)
    return place >> (_OFFSET_BITS + _LENGTH_BITS), offset, place & ((1 << _LENGTH_BITS) - 1)


def _head(id: Hash, length: int) -> bytes:
    guarded = MAGIC + length.to_bytes(4, "big") + id
    return guarded + crc32(guarded).to_bytes(4, "big")


def _read_head(head: bytes) -> int | None:
    """Return the length of a payload by its head; None if that is none."""
    guarded = head[:_GUARDED]
    length = int.from_bytes(head[4:8], "big")
    is_head = len(head) == HEAD_BYTES and head.startswith(MAGIC) and length <= SMALL_BYTES
    return length if is_head and head[_GUARDED:] == crc32(guarded).to_bytes(4, "big") else None


def _find_record(file: int, start: int, size: int) -> int:
    """Return where the next record begins, or where the file ends. A portion holds the head that it may cut."""
    portion = 1 << 20
    while start < size:
        data = os.pread(file, portion + HEAD_BYTES, start)
        at = data.find(MAGIC)
        while at >= 0:
            if _read_head(data[at : at + HEAD_BYTES]) is not None:
                return start + at
            at = data.find(MAGIC, at + 1)
        start += portion
    return size


def _dead_record(number: int, offset: int) -> bytes:
    record = number.to_bytes(4, "big") + offset.to_bytes(4, "big")
    return record + crc32(record).to_bytes(4, "big")
