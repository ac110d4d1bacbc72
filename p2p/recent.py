"""A set that remembers the latest things put in, up to a number, and if wanted up to an age."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from chain.ids import Millis

K = TypeVar("K", bound=Hashable)


class RecentSet(Generic[K]):
    """At most ``capacity`` keys, the oldest dropped first; a key added again is new again.

    With ``lifetime_ms`` a key is forgotten that long after it was added.
    """

    __slots__ = ("_added", "_capacity", "_lifetime_ms")

    def __init__(self, capacity: int, lifetime_ms: int | None = None) -> None:
        self._capacity = capacity
        self._lifetime_ms = lifetime_ms
        self._added: dict[K, Millis] = {}

    def add(self, key: K, now: Millis) -> None:
        """Remember ``key``."""
        self._added.pop(key, None)
        self._added[key] = now
        if len(self._added) > self._capacity:
            del self._added[next(iter(self._added))]

    def has(self, key: K, now: Millis) -> bool:
        """Is ``key`` remembered?"""
        added = self._added.get(key)
        if added is None:
            return False
        return self._lifetime_ms is None or now - added < self._lifetime_ms

    def discard(self, key: K) -> None:
        """Forget ``key`` if it is there."""
        self._added.pop(key, None)

    def __len__(self) -> int:
        """Return how many keys are held, aged ones not yet pushed out among them."""
        return len(self._added)
