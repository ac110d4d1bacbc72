"""The files of a data store: one process at a time has them, and what a crash left between two of them is finished.

    with files.locked() as state: …     the state as it is now, nobody else writing

Rules of this file: which files there are and that they fit the table; what is written, and why, is
``storage.datastore``'s.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from chain.ids import Hash
from storage.datakey import StoreKey
from storage.datasegment import OpenSegment, RowBatch, damage, read_batches
from storage.datastate import DataState, read_state, write_state
from storage.datatail import FIRST, Tail, read_tail, write_tail
from storage.errors import DamagedError, LockedError, UseError
from storage.files import sync_directory

_LOCK_S: Final = 30.0
_LOCK_STEP_S: Final = 0.01


class StoreFiles:
    """The files of a store. Threads may share it; each call of ``locked`` has them for itself."""

    def __init__(self, path: Path, key: StoreKey) -> None:
        self.path, self.key = path, key
        self._file: int | None = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._thread_lock = threading.Lock()

    @contextmanager
    def locked(self) -> Iterator[DataState]:
        """Keep everybody else out, and lend the state as it is now."""
        with self._thread_lock:
            if self._file is None:
                raise UseError(f"the data store {self.path} is closed")
            _lock(self._file, self.path)
            try:
                state = read_state(self._state_file, self.key)
                self.sweep(state)
                self._check_age(state)
                yield state
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    @property
    def _state_file(self) -> Path:
        return self.path / "state"

    @property
    def _tail_file(self) -> Path:
        return self.path / "tail"

    def begin(self, state: DataState) -> None:
        """Write the first state of a new store."""
        write_state(self._state_file, self.key, state)
        write_tail(self._tail_file, self.key, FIRST)

    def write(self, state: DataState) -> DataState:
        """Put a state in the place of the one before, durably, and return it."""
        state = replace(state, changes=state.changes + 1)
        write_state(self._state_file, self.key, state)
        known = read_tail(self._tail_file, self.key)
        write_tail(self._tail_file, self.key, replace(known, state=state.changes, changes=known.changes + 1))
        return state

    def acknowledge(self, state: DataState, tail: OpenSegment) -> None:
        """Note how far the open segment reaches now, durably: from here on it never reaches less far."""
        changes = self.changes() + 1
        write_tail(self._tail_file, self.key, Tail(state.open, tail.records, Hash(tail.digest), state.changes, changes))

    def changes(self) -> int:
        """Return how often the store was changed: a copy that says less than another is older."""
        return read_tail(self._tail_file, self.key).changes

    def segment(self, number: int, ending: str = "seg") -> Path:
        """Return the path of a segment."""
        return self.path / f"{number:012d}.{ending}"

    def _check_age(self, state: DataState) -> None:
        """Check that the state is as new as what was acknowledged. ``DamagedError``."""
        known = read_tail(self._tail_file, self.key)
        if known.state > state.changes or known.segment > state.open:
            raise DamagedError(
                f"data store {self.path}: its state is older than what was acknowledged last: was the state restored "
                "from a backup alone? Restore the whole store"
            )

    def sweep(self, state: DataState) -> None:
        """Finish what a crash left between a change of the table and the files."""
        known = {segment.number for segment in state.closed} | {state.open}
        there = {path.name: path for path in self.path.iterdir() if path.suffix in (".seg", ".new")}
        has_changed = False
        for aside in self.path.glob(".*.tmp"):
            aside.unlink()
        for name, path in sorted(there.items()):
            number = int(path.stem) if path.stem.isdecimal() else -1
            if path.suffix == ".new" and number in known and f"{path.stem}.seg" not in there:
                os.rename(path, self.segment(number))
            elif path.suffix == ".new" or (0 <= number < state.next and number not in known):
                path.unlink()
            elif number not in known:
                raise DamagedError(
                    f"data store {self.path}: the segment {name} is newer than its state: was the state restored from "
                    "a backup alone? Restore the whole store"
                )
            else:
                continue
            has_changed = True
        if has_changed:
            sync_directory(self.path)

    def tail(self, state: DataState) -> OpenSegment:
        """Open the segment that is written to; whoever does closes it. ``DamagedError`` if something is cut off."""
        least = read_tail(self._tail_file, self.key).least(state.open)
        return OpenSegment(self.segment(state.open), self.key, state.open, state.open_first, least)

    def read(self, number: int, state: DataState) -> Iterator[tuple[RowBatch, bytes]]:
        """Yield a segment's batches, and check that there are as many as the table says. The lock is held."""
        path = self.segment(number)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise damage(path, "is missing") from None
        records, digest = 0, bytes(32)
        for batch, digest in read_batches(path, data, self.key, number):
            records += 1
            yield batch, digest
        closed = [one for one in state.closed if one.number == number]
        if closed and (records, digest) != (closed[0].records, closed[0].digest):
            raise damage(path, f"has {records} entries, and does not end as it did when it was closed")

    def size(self, state: DataState) -> int:
        """Return the bytes of all segments."""
        tail = self.segment(state.open)
        return sum(segment.bytes for segment in state.closed) + (tail.stat().st_size if tail.exists() else 0)

    def close(self) -> None:
        """Let the files go. Twice does no harm."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lock(file: int, path: Path) -> None:
    """Wait for the store's lock. ``LockedError`` if somebody keeps it too long."""
    deadline = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LockedError(f"the data store {path} is in use by another process for {_LOCK_S:.0f} s") from None
            time.sleep(_LOCK_STEP_S)
