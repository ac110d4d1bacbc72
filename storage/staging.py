"""A state on its way here: kept beside the one in use until it is whole, and then put in its place in one step.

The database has two areas for a state (``storage.layout``). One holds the state after the tip. Into the other comes,
piece by piece, a state that others serve; each piece is on disk together with its mark, so that a process that was
killed goes on where it was. Nothing reads the other area as a state before ``ChainStore.adopt`` has exchanged the two
in the same synced write that sets the tip. What is left in it afterwards, or by an attempt that was given up, is
swept in small steps.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from chain.ids import Hash
from storage.base import StateChange
from storage.database import Database
from storage.errors import UseError
from storage.layout import MARK, META_STAGING, Area, Writer, write_state


class LevelStaging:
    """A ``StateStaging`` in a LevelDB that the chain store owns. ``other`` names the area that is not in use."""

    def __init__(self, database: Database, other: Callable[[], Area]) -> None:
        self._database = database
        self._other = other

    def target(self) -> Hash | None:
        """Return the block whose state is being gathered."""
        target = self._database.get(META_STAGING)
        return None if target is None else Hash(target)

    def begin(self, target: Hash) -> None:
        """Gather the state after this block."""
        if self.target() is not None or not self.sweep(0):
            raise UseError("another state's pieces are still there: drop them, and sweep")
        self._database.write(lambda writer: writer.put(META_STAGING, target), sync=True)

    def put(self, changes: Iterable[StateChange], mark: tuple[bytes, bytes] | None = None) -> None:
        """Keep a piece, and the mark that says it is there."""
        if self.target() is None:
            raise UseError("no state is being gathered")

        def fill(writer: Writer) -> None:
            write_state(writer, self._other(), changes)
            if mark is not None:
                writer.put(MARK + mark[0], mark[1])

        self._database.write(fill, sync=True)

    def get(self, key: bytes) -> bytes | None:
        """Return what a piece holds under a state key."""
        return self._database.get(self._other().state + key)

    def marks(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the marks in ascending order."""
        return self._database.scan(MARK)

    def drop(self) -> None:
        """Gather no longer; what is there is left to ``sweep``."""
        self._database.write(lambda writer: writer.delete(META_STAGING), sync=True)

    def sweep(self, limit: int) -> bool:
        """Delete at most ``limit`` keys that belong to no state in use or on its way; is nothing left of them?"""
        if self.target() is not None:
            return True
        left: list[bytes] = []
        for prefix in (self._other().state, self._other().order, MARK):
            left += [prefix + key for key, _ in islice(self._database.scan(prefix), limit + 1 - len(left))]

        def fill(writer: Writer) -> None:
            for key in left[:limit]:
                writer.delete(key)

        if left[:limit]:
            self._database.write(fill, sync=False)
        return len(left) <= limit


class MemoryStaging:
    """A ``StateStaging`` of dictionaries."""

    def __init__(self) -> None:
        self._target: Hash | None = None
        self._state: dict[bytes, bytes] = {}
        self._marks: dict[bytes, bytes] = {}

    def target(self) -> Hash | None:
        """Return the block whose state is being gathered."""
        return self._target

    def begin(self, target: Hash) -> None:
        """Gather the state after this block."""
        if self._target is not None or self._state or self._marks:
            raise UseError("another state's pieces are still there: drop them, and sweep")
        self._target = target

    def put(self, changes: Iterable[StateChange], mark: tuple[bytes, bytes] | None = None) -> None:
        """Keep a piece, and the mark that says it is there."""
        if self._target is None:
            raise UseError("no state is being gathered")
        for key, new in changes:
            if new is None:
                self._state.pop(key, None)
            else:
                self._state[key] = new
        if mark is not None:
            self._marks[mark[0]] = mark[1]

    def get(self, key: bytes) -> bytes | None:
        """Return what a piece holds under a state key."""
        return self._state.get(key)

    def marks(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the marks in ascending order."""
        yield from sorted(self._marks.items())

    def drop(self) -> None:
        """Gather no longer; what is there is left to ``sweep``."""
        self._target = None

    def sweep(self, limit: int) -> bool:
        """Delete at most ``limit`` keys that belong to no state on its way; is nothing left of them?"""
        if self._target is not None:
            return True
        for held in (self._state, self._marks):
            for key in list(islice(held, limit)):
                del held[key]
                limit -= 1
        return not self._state and not self._marks

    def take(self) -> dict[bytes, bytes]:
        """Return the state that was gathered, and begin afresh. For ``MemoryChainStore.adopt`` alone."""
        state, self._state = self._state, {}
        self._target, self._marks = None, {}
        return state
