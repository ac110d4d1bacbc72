"""Values of the state after the tip that were read or written last, in memory.

A block reads what the blocks before it wrote, the upper nodes of the tree above all, and LevelDB takes microseconds for
each. The cache is of the state after one block, its ``tip``; a snapshot of another block's state passes it by.

Rules of this file: threads read while one commits. What is found counts only if the tip, looked at *after* it, is the
reader's: a commit takes the tip away before it changes anything. What a reader found on disk is kept only under the
lock, with the tip still the same.
"""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

from chain.ids import Hash

ENTRIES: Final = 32768
"""Entries of a generation. There are two, some 300 bytes an entry: 20 MB at most."""
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

    def find(self, tip: Hash, key: bytes) -> bytes | None:
        """Return the value under a key after ``tip`` (``None``: there is none), or ``UNKNOWN`` itself."""
        value = self.young.get(key, UNKNOWN)
        if value is UNKNOWN:
            value = self._old.get(key, UNKNOWN)
        return value if self.tip == tip else UNKNOWN

    def keep(self, tip: Hash, key: bytes, value: bytes | None) -> None:
        """Remember what stands under a key after ``tip``, if that is still the tip."""
        if value is not None and len(value) > LARGEST:
            return
        with self._lock:
            if self.tip == tip:
                self._make_room()
                self.young[key] = value

    def leave(self) -> Callable[[bytes], bool]:
        """Answer nothing from now on: the state is about to change.

        Return what tells of a key whether it is known to have had a value until now; good until ``follow``.
        """
        with self._lock:
            self.tip = None
        young, old = self.young, self._old
        return lambda key: (young[key] if key in young else old.get(key)) is not None

    def follow(self, tip: Hash, changes: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Be of the state after ``tip``, which differs by these changes from that before ``leave``."""
        large = [key for key, value in changes if value is not None and len(value) > LARGEST]
        with self._lock:
            first = 0
            while first < len(changes):
                self._make_room()
                end = first + ENTRIES - len(self.young)
                self.young.update(changes[first:end])
                first = end
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

    def _make_room(self) -> None:
        if len(self.young) >= ENTRIES:
            self._old, self.young = self.young, {}


NO_CACHE: Final = StateCache(None)
"""Knows nothing and never will."""
