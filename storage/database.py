"""The one owner of a LevelDB handle.

Rules of this file: nobody else touches plyvel. A closed LevelDB that is still read from takes the process down, so
every operation passes a gate, and ``close`` waits until all that are in it have left. Writes are batches in
transaction mode: plyvel would else write the first half of a batch whose making raised.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias
from weakref import WeakSet

import plyvel

from storage.errors import DamagedError, DiskError, LockedError, UseError
from storage.layout import META_SCHEMA, PREPARATIONS, Migration, Writer, encode_version, plan_migrations
from storage.lock import DirectoryLock

_SCAN_CHUNK: Final = 512
_PORTION_BYTES: Final = 4 * 1024 * 1024
"""Of a migration's preparation, in one batch."""
Item: TypeAlias = tuple[bytes, bytes]
_LOOK_S: Final = 0.001
"""How often who shuts a gate looks whether all have left."""
_SHUTTING: Final = threading.Lock()
_CACHE_BYTES: Final = 16 * 1024 * 1024
_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""Written before a file is made of it. What a block of thousands of updates changes would fill the usual 4 MiB several
times, and each file is compressed and merged again."""
_REMEDY: Final = (
    "`fedchain db check` looks at the rest; restore a backup of it, or move it away and let the node sync again (keys "
    "and journal are kept elsewhere and are not affected)"
)
_ROOM: Final = (
    "make room on the disk (fedchain db compact, or less kept: config.toml, [storage]) or look after it, and start the "
    "node again: what was acknowledged is there"
)


def _say(error: Exception) -> str:
    """Return what LevelDB says: plyvel hands its messages on as bytes."""
    return " ".join(part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in error.args)


def _after(prefix: bytes) -> bytes | None:
    """Return the least key that is greater than all that begin with ``prefix``; None if there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


class Gate(AbstractContextManager[None]):
    """Lets any number in while it is open; ``shut`` closes it and waits until all have left."""

    __slots__ = ("_inside", "_is_open", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._inside: list[None] = []
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """May one come in?"""
        return self._is_open

    # Every read of the state passes here, so there is no lock: appending to a list and taking from it are atomic. Who
    # comes in counts himself first and looks at the gate then, who shuts it does it the other way round: either the
    # one sees that it is shut, or the other that somebody is inside.

    def __enter__(self) -> None:
        self._inside.append(None)
        if not self._is_open:
            self._inside.pop()
            raise UseError(f"{self._what} is closed")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.pop()

    def shut(self) -> bool:
        """Close the gate and wait; return whether it was this call that closed it."""
        with _SHUTTING:
            was_open, self._is_open = self._is_open, False
        while self._inside:
            time.sleep(_LOOK_S)
        return was_open


class DatabaseSnapshot:
    """The database as it was at one moment."""

    __slots__ = ("__weakref__", "_database", "_snapshot")

    def __init__(self, database: "Database", snapshot: object) -> None:
        self._database = database
        self._snapshot: object | None = snapshot

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key."""
        database = self._database
        with database.gate:
            snapshot = self._snapshot
            if snapshot is None:
                raise UseError("the snapshot is closed")
            try:
                value: bytes | None = snapshot.get(key)  # type: ignore[attr-defined]
            except (plyvel.CorruptionError, plyvel.IOError) as error:
                raise database.say_damage(error) from None
            return value

    def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value under each key."""
        database = self._database
        with database.gate:
            snapshot = self._need()
            try:
                return list(map(snapshot.get, keys))  # type: ignore[attr-defined]
            except (plyvel.CorruptionError, plyvel.IOError) as error:
                raise database.say_damage(error) from None

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[Item]:
        """Iterate over the keys that begin with ``prefix``, without it, from ``start`` on."""
        return self._database.scan_in(self._need, prefix, start)

    def damage(self, what: str) -> DamagedError:
        """Return the error that says what is wrong with the database."""
        return self._database.damage(what)

    def _need(self) -> object:
        if self._snapshot is None:
            raise UseError("the snapshot is closed")
        return self._snapshot

    def close(self) -> None:
        """Release it."""
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is not None:
            snapshot.close()  # type: ignore[attr-defined]


class Database:
    """An open LevelDB at ``path``, under a lock that the caller holds as long as it is open."""

    def __init__(self, path: Path, lock: DirectoryLock, *, create: bool = False) -> None:
        """Open it. ``DamagedError`` if LevelDB can't; nothing is created unless ``create`` and it is not there."""
        if not lock.is_held:
            raise UseError(f"{path} opened without its directory's lock")
        self.path = path
        self.gate = Gate(str(path))
        self._snapshots: WeakSet[DatabaseSnapshot] = WeakSet()
        try:
            self._db = plyvel.DB(
                str(path),
                create_if_missing=create,
                error_if_exists=create,
                paranoid_checks=True,
                lru_cache_size=_CACHE_BYTES,
                write_buffer_size=_BUFFER_BYTES,
                bloom_filter_bits=10,
            )
        except plyvel.Error as error:
            if "IO error: lock " in str(error):
                raise LockedError(f"{path} is in use by another program: {_say(error)}") from None
            raise DamagedError(f"{path} can't be opened: {_say(error)}; {_REMEDY}") from None

    def damage(self, what: str) -> DamagedError:
        """Return the error that says what is wrong with this database, and what to do."""
        return DamagedError(f"{self.path}: {what}; {_REMEDY}")

    def say_damage(self, error: Exception) -> DamagedError:
        """Return the error that says what LevelDB found wrong with this database, and what to do."""
        return self.damage(_say(error))

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key."""
        with self.gate:
            try:
                value: bytes | None = self._db.get(key)
            except (plyvel.CorruptionError, plyvel.IOError) as error:
                raise self.say_damage(error) from None
            return value

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[Item]:
        """Iterate over the keys that begin with ``prefix``, without it, from ``start`` on.

        Read in chunks, so that an iteration nobody finishes holds nothing open. What is written meanwhile may be seen.
        """
        return self.scan_in(lambda: self._db, prefix, start)

    def scan_in(self, source: Callable[[], object], prefix: bytes, start: bytes) -> Iterator[Item]:
        """Do ``scan`` over ``source()``: the database, or a snapshot of it."""
        position, include, end = prefix + start, True, _after(prefix)
        while True:
            with self.gate:
                try:
                    with source().iterator(start=position, stop=end, include_start=include) as iterator:  # type: ignore[attr-defined]
                        chunk = [item for item, _ in zip(iterator, range(_SCAN_CHUNK), strict=False)]
                except (plyvel.CorruptionError, plyvel.IOError) as error:
                    raise self.say_damage(error) from None
            for key, value in chunk:
                yield key[len(prefix) :], value
            if len(chunk) < _SCAN_CHUNK:
                return
            position, include = chunk[-1][0], False

    def last(self, prefix: bytes) -> tuple[bytes, bytes] | None:
        """Return the last of the keys that begin with ``prefix``, without it, and its value."""
        with self.gate:
            try:
                with self._db.prefixed_db(prefix).iterator(reverse=True) as iterator:
                    return next(iterator, None)
            except (plyvel.CorruptionError, plyvel.IOError) as error:
                raise self.say_damage(error) from None

    def write(self, fill: Callable[[Writer], None], *, sync: bool) -> None:
        """Write in one atomic batch what ``fill`` puts and deletes; nothing if it raises. Durable if ``sync``.

        ``DiskError`` if the disk is full or fails: nothing more may be written before the database was opened anew.
        """
        try:
            with self.gate, self._db.write_batch(transaction=True, sync=sync) as batch:
                fill(batch)
        except plyvel.IOError as error:
            raise DiskError(f"{self.path} can't be written: {_say(error)}; {_ROOM}") from None

    def snapshot(self) -> DatabaseSnapshot:
        """Return a view of this moment."""
        with self.gate:
            snapshot = DatabaseSnapshot(self, self._db.snapshot())
            self._snapshots.add(snapshot)
            return snapshot

    def migrate(self, migrations: Mapping[int, Migration], version: int) -> None:
        """Bring the schema up to ``version``, one atomic and durable step after another.

        However large the database, no more than ``_PORTION_BYTES`` of a step's preparation are held at a time.
        """
        stored = self.get(META_SCHEMA)
        if stored is None or len(stored) != 4:
            raise self.damage("no schema version: it is cut short, or not a fedchain database")
        found = int.from_bytes(stored, "big")
        for step, migration in enumerate(plan_migrations(found, migrations, version, str(self.path)), found + 1):

            def fill(writer: Writer, step: int = step, migration: Migration = migration) -> None:
                migration(self, writer)
                writer.put(META_SCHEMA, encode_version(step))

            self._prepare(step - 1)
            self.write(fill, sync=True)

    def _prepare(self, version: int) -> None:
        """Write what goes before the migration from a version; the migration itself makes it count, and durable."""
        entries = PREPARATIONS[version](self) if version in PREPARATIONS else iter(())
        is_more = True
        while is_more:

            def fill(writer: Writer) -> None:
                nonlocal is_more
                size = 0
                for key, value in entries:
                    writer.put(key, value)
                    size += len(key) + len(value)
                    if size >= _PORTION_BYTES:
                        return
                is_more = False

            self.write(fill, sync=False)

    def verify_checksums(self) -> int:
        """Read every block of every file against its checksum; return the number of keys. ``DamagedError``."""
        count = 0
        with self.gate:
            try:
                with self._db.iterator(verify_checksums=True, fill_cache=False) as iterator:
                    for _ in iterator:
                        count += 1
            except (plyvel.CorruptionError, plyvel.IOError) as error:
                raise self.say_damage(error) from None
        return count

    def compact(self) -> None:
        """Rewrite the files without what was deleted or overwritten."""
        with self.gate:
            self._db.compact_range()

    def close(self) -> None:
        """Wait for what is under way, then close. Twice does no harm."""
        if self.gate.shut():
            for snapshot in list(self._snapshots):
                snapshot.close()
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
