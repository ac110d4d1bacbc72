"""Values of the state after the tip that were read or written last, in memory.

A block reads what the blocks before it wrote, the upper nodes of the tree above all, and LevelDB takes microseconds for
each. The cache is of the state after one block, its ``tip``; a snapshot of another block's state passes it by.

Rules of this file: threads read while one commits. What is found counts only if the tip, looked at *after* it, is the
reader's: a commit takes the tip away before it changes anything. What a reader found on disk is kept only under the
lock, with the tip still the same.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from threading import Lock
from typing import Final

from chain.ids import Hash

ENTRIES: Final = 131072
"""Entries of a generation. There are two, some 300 bytes an entry: 80 MB at most, where so much is read and written.

A phase of ten thousand devices reads and writes as many seats, and the tree above them: with fewer entries, each
phase finds on disk what the one before has left there."""
LARGEST: Final = 1024
"""Bytes of the largest value that is kept: models are not."""
UNKNOWN: Final = b"unknown"
"""Stands for no answer where ``None`` is one; told apart by identity."""


class StateCache:
    """Two generations of entries: when the young one is full it becomes the old one, and the old one is dropped."""

    __slots__ = ("_lock", "_old", "tip", "young")

    def __init__(self, tip: Hash | None) -> None:
        """Begin empty. ``tip`` is the block whose state is remembered, ``None`` while it changes."""
        self.tip = tip
        self.young: dict[bytes, bytes | None] = {}
        """For a quick look: whoever finds a value there looks at ``tip`` after it."""
        self._old: dict[bytes, bytes | None] = {}
        self._lock = Lock()

    def find(self, tip: Hash, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value under each key after ``tip`` (``None``: there is none), or ``UNKNOWN`` itself."""
        young, old = self.young, self._old
        values = [young[key] if key in young else old.get(key, UNKNOWN) for key in keys]
        return values if self.tip == tip else [UNKNOWN] * len(keys)

    def keep(self, tip: Hash, found: Collection[tuple[bytes, bytes | None]]) -> None:
        """Remember what stands under some keys after ``tip``, if that is still the tip."""
        small = [entry for entry in found if not entry[1] or len(entry[1]) <= LARGEST]
        with self._lock:
            if self.tip == tip:
                self._take(small)

    def leave(self) -> Callable[[bytes], bool]:
        """Answer nothing from now on: the state is about to change.

        Return what tells of a key whether it is known to have had a value until now; good until ``follow``.
        """
        with self._lock:
            self.tip = None
        young, old = self.young, self._old
        return lambda key: (young[key] if key in young else old.get(key)) is not None

    def follow(self, tip: Hash, changes: Mapping[bytes, bytes | None]) -> None:
        """Be of the state after ``tip``, which differs by these changes from that before ``leave``."""
        large = [key for key, value in changes.items() if value and len(value) > LARGEST]
        with self._lock:
            self._take(changes.items())
            for key in large:
                self.young.pop(key, None)
                self._old.pop(key, None)
            self.tip = tip

    def restart(self, tip: Hash) -> None:
        """Be of the state after ``tip``, of which nothing is known yet."""
        with self._lock:
            self.tip = None
            self.young, self._old = {}, {}
            self.tip = tip

    def _take(self, entries: Collection[tuple[bytes, bytes | None]]) -> None:
        """Put entries in. Invariant: the young generation is never full."""
        if len(self.young) + len(entries) < ENTRIES:
            self.young.update(entries)
            return
        left = iter(entries)
        while portion := list(islice(left, ENTRIES - len(self.young))):
            self.young.update(portion)
            if len(self.young) >= ENTRIES:
                self._old, self.young = self.young, {}


NO_CACHE: Final = StateCache(None)
"""Knows nothing and never will."""
