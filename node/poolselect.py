"""Which of the waiting transactions a block should try to hold, in the order to apply them. Deterministic.

A block's bytes have three parts. A quarter at most is for devices' free transactions. Of the rest a third is shared
out in turns: among the sources that brought transactions, within each among senders, the oldest first; whatever
others pay, who waits there moves up. The rest goes to the best fee per byte, and fees take what turns leave over.
"""

from collections import deque
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from typing import Final

from chain.ids import AccountId
from chain.transaction import SignedTransaction
from node.poolentry import Entry, Sender, Source

FREE_SHARE: Final = 4
"""A block gives free transactions at most one part in this many of its bytes."""
TURNS_SHARE: Final = 4
"""A block gives one part in this many of its bytes to those who wait, in turns."""


class Selection:
    """One block's choice. ``cursor`` is the next nonce of each sender that can still be taken."""

    def __init__(self, senders: Mapping[AccountId, Sender], max_bytes: int) -> None:
        self._senders = senders
        self._max_bytes = max_bytes
        self._cursor = {account: sender.next for account, sender in senders.items()}
        self._used = 0
        self.chosen: list[SignedTransaction] = []

    def run(self) -> tuple[SignedTransaction, ...]:
        """Return the choice."""
        self._take_in_turns(self._max_bytes // FREE_SHARE, free=True)
        self._take_by_fee(self._max_bytes - self._max_bytes // TURNS_SHARE)
        self._take_in_turns(self._max_bytes, free=False)
        self._take_by_fee(self._max_bytes)
        return tuple(self.chosen)

    def _ready(self, account: AccountId, *, free: bool) -> Entry | None:
        entry = self._senders[account].by_nonce.get(self._cursor[account])
        return entry if entry is not None and entry.free == free else None

    def _take(self, entry: Entry) -> None:
        self.chosen.append(entry.signed)
        self._used += entry.size
        self._cursor[entry.sender] += 1

    def _take_by_fee(self, end: int) -> None:
        """Take the best fee per byte first, as long as the block stays within ``end`` bytes."""
        ready = [entry for account in self._cursor if (entry := self._ready(account, free=False)) is not None]
        heap = [(-entry.rate, entry.order, entry) for entry in ready]
        heapify(heap)
        while heap:
            entry = heappop(heap)[2]
            if self._used + entry.size > end:
                continue  # the sender's later ones can't go either; others may be smaller
            self._take(entry)
            follower = self._ready(entry.sender, free=False)
            if follower is not None:
                heappush(heap, (-follower.rate, follower.order, follower))

    def _take_in_turns(self, end: int, *, free: bool) -> None:
        """Take one of each source in turns, within a source one of each sender in turns, the longest waiting first."""
        ready = [entry for account in self._cursor if (entry := self._ready(account, free=free)) is not None]
        rows: dict[Source, deque[Entry]] = {}
        for entry in sorted(ready, key=lambda entry: entry.order):
            rows.setdefault(entry.source, deque()).append(entry)
        sources = deque(rows)
        while sources:
            source = sources.popleft()
            taken = self._take_first_that_fits(rows[source], end)
            if taken is None:
                continue  # nothing of it fits any more
            follower = self._ready(taken.sender, free=free)
            if follower is not None:
                rows[source].append(follower)
            if rows[source]:
                sources.append(source)

    def _take_first_that_fits(self, row: deque[Entry], end: int) -> Entry | None:
        while row:
            entry = row.popleft()
            if self._used + entry.size <= end:
                self._take(entry)
                return entry
        return None
