"""Headers that can't be judged yet: those that miss another header, and those from the future.

Bounded: the header that waits longest makes room for a new one. A header that was dropped comes again with
the next sync.
"""

from collections import OrderedDict
from typing import Final

from chain.block import Header, block_id
from chain.ids import Hash, Millis
from consensus.engine import HeaderVerdict, Verdict

MAX_WAITING: Final = 1024


class WaitingHeaders:
    """A pool of orphans and future headers, each kept under its id."""

    __slots__ = ("_entries", "_limit", "_waiters")

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._limit = limit
        self._entries: OrderedDict[Hash, tuple[Header, HeaderVerdict]] = OrderedDict()
        self._waiters: dict[Hash, set[Hash]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, id: object) -> bool:
        return id in self._entries

    def put(self, header: Header, verdict: HeaderVerdict) -> None:
        """Keep a header whose verdict is ``ORPHAN`` or ``FUTURE``."""
        if verdict.verdict not in (Verdict.ORPHAN, Verdict.FUTURE):
            raise ValueError(f"a header that is {verdict.verdict} has nothing to wait for")
        id = block_id(header)
        self._take(id)
        self._entries[id] = (header, verdict)
        for missing in verdict.missing:
            self._waiters.setdefault(missing, set()).add(id)
        if len(self._entries) > self._limit:
            self._take(next(iter(self._entries)))

    def take_waiting_for(self, id: Hash) -> list[Header]:
        """Remove and return, lowest first, the headers that miss ``id``."""
        taken = [self._take(waiting) for waiting in sorted(self._waiters.get(id, ()))]
        return sorted([header for header in taken if header is not None], key=lambda header: header.height)

    def take_due(self, now: Millis) -> list[Header]:
        """Remove and return, lowest first, the future headers whose time has come."""
        if not self._entries:
            return []
        due = [
            id
            for id, (_, verdict) in self._entries.items()
            if verdict.verdict is Verdict.FUTURE and verdict.retry_ms is not None and verdict.retry_ms <= now
        ]
        taken = [self._take(id) for id in due]
        return sorted([header for header in taken if header is not None], key=lambda header: header.height)

    def take_unbound(self) -> list[Header]:
        """Remove and return, lowest first, the orphans that miss no header: what they wait for comes another way."""
        unbound = [id for id, (_, verdict) in self._entries.items() if not verdict.missing and verdict.retry_ms is None]
        taken = [self._take(id) for id in unbound]
        return sorted([header for header in taken if header is not None], key=lambda header: header.height)

    def missing(self) -> tuple[Hash, ...]:
        """Return the ids that orphans wait for, in ascending order."""
        return tuple(sorted(self._waiters))

    def _take(self, id: Hash) -> Header | None:
        entry = self._entries.pop(id, None)
        if entry is None:
            return None
        header, verdict = entry
        for missing in verdict.missing:
            waiters = self._waiters[missing]
            waiters.discard(id)
            if not waiters:
                del self._waiters[missing]
        return header
