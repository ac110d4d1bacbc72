"""Payloads by their content: small ones many to a file (``storage.segments``), each large one a file ``ab/cdef…``.

Files and not LevelDB, because payloads are large, written once, and deleted when they are pruned: LevelDB would copy
each several times while compacting and give the room back late. A file has all its bytes before it has its name, so
what a process that dies can leave is a missing payload, which is fetched again, and temporary files, which
``PayloadFiles`` removes when it opens. What came from others is not waited for until it is on the disk: a phase brings
thousands. A power cut can take such a payload, or tear it. Bytes are compared with their name at every read; where a
running node reads, one that fails is set aside and counts as missing, so that it is fetched again.

Directories of earlier releases have small payloads in files of their own, which are read as well.

Threads: any thread may read; one writes.
"""

import os
from collections.abc import Callable, Iterator
from heapq import merge
from pathlib import Path
from typing import Final

from chain.hashing import content_id
from chain.ids import Hash
from chain.payload import MAX_PAYLOAD_BYTES
from storage.capacity import check_capacity
from storage.errors import DamagedError
from storage.files import sync_directory, sync_file, write_file, write_unsynced
from storage.segments import SMALL_BYTES, Damaged, PayloadSegments

_SHARD_DIGITS: Final = 2
_DAMAGED: Final = ".damaged"
_SEGMENTS: Final = "segments"


class PayloadFiles:
    """A ``PayloadStore`` in a directory."""

    def __init__(
        self,
        path: Path,
        *,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        max_total_bytes: int | None = None,
        small_bytes: int = SMALL_BYTES,
    ) -> None:
        """Open the directory, which exists; count what is in it and remove what a crash left half written.

        Payloads of up to ``small_bytes`` go to segments.
        """
        self.path = path
        self.on_damage: Callable[[Path], None] | None = None
        """Told of a damaged file's new name, in the thread that read it; while it is None, ``get`` raises instead."""
        self._max_payload_bytes = max_payload_bytes
        self._max_total_bytes = max_total_bytes
        self._total = 0
        self._root = str(path)
        self._shards: set[str] = set()
        """Directories known to be there."""
        self._small_bytes = small_bytes
        self.segments = PayloadSegments(path / _SEGMENTS)
        for file in path.glob("[0-9a-f][0-9a-f]/*"):
            self._shards.add(str(file.parent))
            if file.name.endswith(".tmp"):
                file.unlink()
            else:
                self._total += file.stat().st_size

    def _place(self, id: Hash) -> str:
        name = id.hex()
        return f"{self._root}/{name[:_SHARD_DIGITS]}/{name[_SHARD_DIGITS:]}"

    def has(self, id: Hash) -> bool:
        """Is this payload stored?"""
        return self.segments.has(id) or self._has_file(id)

    def _has_file(self, id: Hash) -> bool:
        if not self._shards:
            return False
        place = self._place(id)
        return os.path.dirname(place) in self._shards and os.path.exists(place)

    def get(self, id: Hash) -> bytes | None:
        """Return the payload, its digest checked; None if not stored, or damaged and set aside."""
        found = self.segments.get(id)
        if found is None:
            return self._read_file(id)
        if not isinstance(found, Damaged):
            return found
        if self.on_damage is None:
            raise DamagedError(
                f"payload {id.hex()} at byte {found.offset} of {found.file} is not what its digest says: a node that "
                "is started sets it aside when it reads it, and fetches it again"
            )
        self._keep_aside(id, found, self.on_damage)
        return None

    def _read_file(self, id: Hash) -> bytes | None:
        """Return a payload that has a file of its own, its digest checked."""
        place = self._place(id)
        if os.path.dirname(place) not in self._shards:
            return None
        try:
            with open(place, "rb", buffering=0) as stream:
                payload = stream.readall()
        except FileNotFoundError:
            return None
        if content_id(payload) == id:
            return payload
        file = Path(place)
        if self.on_damage is None:
            raise DamagedError(
                f"payload file {file} does not hold what its name says: delete it, and the node fetches it again"
            )
        self._set_aside(file, self.on_damage)
        return None

    def _set_aside(self, file: Path, tell: Callable[[Path], None]) -> None:
        """Take a damaged file's name away from it."""
        aside = file.with_name(file.name + _DAMAGED)
        try:
            file.replace(aside)
        except FileNotFoundError:
            return  # another reader was quicker
        tell(aside)

    def _keep_aside(self, id: Hash, found: Damaged, tell: Callable[[Path], None]) -> None:
        """Take what stands in a payload's place out of its segment."""
        with self.segments.lock:
            if not isinstance(self.segments.get(id), Damaged):
                return  # another reader was quicker
            aside = self._place(id) + _DAMAGED
            self._make_shard(os.path.dirname(aside))
            write_unsynced(aside, found.data)
            self.segments.delete(id)
        tell(Path(aside))

    def payload(self, id: Hash, /) -> bytes | None:
        """Return what ``get`` does."""
        return self.get(id)

    def put(self, payload: bytes, sync: bool = False) -> Hash:
        """Store bytes and return their id; durable on return if ``sync``."""
        id = content_id(payload)
        if self.segments.has(id):
            if sync:
                self.segments.sync(id)
            return id
        if self._has_file(id):
            if sync:
                sync_file(self._place(id))
                sync_directory(self.path)
            return id
        check_capacity(len(payload), self.total_bytes(), self._max_payload_bytes, self._max_total_bytes)
        if len(payload) <= self._small_bytes:
            self.segments.put(id, payload, sync=sync)
        else:
            self._write_file(self._place(id), payload, sync=sync)
        return id

    def _write_file(self, place: str, payload: bytes, *, sync: bool) -> None:
        self._make_shard(os.path.dirname(place))
        if sync:
            sync_directory(self.path)
            write_file(Path(place), payload)
        else:
            write_unsynced(place, payload)
        self._total += len(payload)

    def _make_shard(self, shard: str) -> None:
        """Make the directory of a payload, if it is not there."""
        if shard not in self._shards:
            Path(shard).mkdir(mode=0o700, exist_ok=True)
            self._shards.add(shard)

    def delete(self, id: Hash) -> None:
        """Forget a payload."""
        if self.segments.has(id):
            self.segments.delete(id)
            return
        place = self._place(id)
        try:
            size = os.stat(place).st_size
            os.unlink(place)
        except FileNotFoundError:
            return
        self._total -= size

    def ids(self) -> Iterator[Hash]:
        """Iterate over the ids of all payloads, in ascending order. Files with other names are passed over."""
        return merge(sorted(self.segments.ids()), self.file_ids())

    def file_ids(self) -> Iterator[Hash]:
        """Iterate over the ids of payloads that have files of their own, in ascending order."""
        for shard in sorted(self.path.iterdir()):
            if not shard.is_dir():
                continue
            for file in sorted(shard.iterdir()):
                try:
                    id = bytes.fromhex(shard.name + file.name)
                except ValueError:
                    continue
                if len(id) == 32:
                    yield Hash(id)

    def total_bytes(self) -> int:
        """Return the sum of the sizes of all payloads."""
        return self._total + self.segments.alive_bytes
