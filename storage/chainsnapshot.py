"""The state after one block, read from a snapshot of the database and from the cache of values.

Rules of this file: reading alone, from any thread; what is found on disk is kept in the cache.
"""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from chain.ids import Hash
from storage.database import DatabaseSnapshot
from storage.layout import (
    Area,
)
from storage.statecache import NO_CACHE, UNKNOWN, StateCache


class LevelSnapshot:
    """The state after one block, as the database holds it."""

    __slots__ = ("_area", "_cache", "_snapshot", "_tip")

    def __init__(self, snapshot: DatabaseSnapshot, tip: Hash, area: Area, cache: StateCache) -> None:
        self._snapshot = snapshot
        self._tip = tip
        self._area = area
        self._cache = cache

    @property
    def tip(self) -> Hash:
        """The block after which this is the state."""
        return self._tip

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value under a state key, or None."""
        cache = self._cache
        value = cache.young.get(key, UNKNOWN)
        return value if value is not UNKNOWN and cache.tip == self._tip else self._look((key,))[0]

    def get_once(self, key: bytes, /) -> bytes | None:
        """Return what ``get`` does; what is found on disk is not kept in the cache."""
        value = self._cache.find(self._tip, (key,))[0]
        return self._snapshot.get(self._area.state + key) if value is UNKNOWN else value

    def get_all(self, keys: Sequence[bytes], /) -> list[bytes | None]:
        """Return the value under each state key, None where there is none."""
        cache = self._cache
        young = cache.young
        values = [young.get(key, UNKNOWN) for key in keys]
        if cache.tip != self._tip:
            values = [UNKNOWN] * len(keys)
        unknown = [at for at, value in enumerate(values) if value is UNKNOWN]
        if unknown:
            for at, value in zip(unknown, self._look([keys[at] for at in unknown]), strict=True):
                values[at] = value
        return values

    def _look(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what stands under keys that are not in the cache's young generation; remember what is on disk."""
        cache, tip, state = self._cache, self._tip, self._area.state
        values = cache.find(tip, keys)
        absent = [at for at, value in enumerate(values) if value is UNKNOWN]
        if absent:
            found = self._snapshot.get_all([state + keys[at] for at in absent])
            for at, value in zip(absent, found, strict=True):
                values[at] = value
            cache.keep(tip, [(keys[at], values[at]) for at in absent])
        return values

    def values_from(self, digest: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the state's values in the order of their keys' digests, from ``digest`` on."""
        for _, key in self._snapshot.scan(self._area.order, digest):
            value = self.get(key)
            if value is None:
                raise self._snapshot.damage(f"the state key {key!r} is indexed but has no value")
            yield key, value

    def close(self) -> None:
        """Release the snapshot."""
        self._cache = NO_CACHE
        self._snapshot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
