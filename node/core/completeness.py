"""Which blocks lack payloads, and which payloads complete them. Pure bookkeeping for the importer."""

from collections.abc import Iterable

from chain.ids import Hash
from chain.payload import PayloadRef


class Completeness:
    """Blocks whose body is here and whose payloads are not all."""

    def __init__(self) -> None:
        self._lacking: dict[Hash, dict[Hash, PayloadRef]] = {}
        self._needed_by: dict[Hash, dict[Hash, None]] = {}

    def __len__(self) -> int:
        return len(self._lacking)

    def wait(self, block: Hash, refs: Iterable[PayloadRef]) -> None:
        """Take note that ``block`` lacks these payloads."""
        lacking = self._lacking.setdefault(block, {})
        for ref in refs:
            lacking[ref.id] = ref
            self._needed_by.setdefault(ref.id, {})[block] = None

    def is_waiting(self, block: Hash) -> bool:
        """Does this block lack payloads?"""
        return block in self._lacking

    def waiting(self) -> tuple[Hash, ...]:
        """Return the blocks that lack payloads."""
        return tuple(self._lacking)

    def forget(self, block: Hash) -> None:
        """Take note that nobody can use this block any more."""
        for payload in self._lacking.pop(block, {}):
            needed_by = self._needed_by[payload]
            del needed_by[block]
            if not needed_by:
                del self._needed_by[payload]

    def arrived(self, payload: Hash) -> tuple[Hash, ...]:
        """Take note of a payload, and return the blocks that lack nothing any more."""
        done: list[Hash] = []
        for block in self._needed_by.pop(payload, {}):
            lacking = self._lacking[block]
            del lacking[payload]
            if not lacking:
                del self._lacking[block]
                done.append(block)
        return tuple(done)

    def lacking(self) -> tuple[PayloadRef, ...]:
        """Return all payloads that are lacking, each once, in the order they were asked for."""
        refs = {ref.id: ref for lacking in self._lacking.values() for ref in lacking.values()}
        return tuple(refs.values())
