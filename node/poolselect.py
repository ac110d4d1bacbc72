"""Which of the waiting transactions a block should try to hold, in the order to apply them. Deterministic.

A block's bytes have three parts. A quarter at most is for devices' free transactions. Of the rest a third is shared
out in turns: among the sources that brought transactions, within each among senders, the oldest first; whatever
others pay, who waits there moves up. The rest goes to the best fee per byte, and fees take what turns leave over.

With a full pool this takes tens of milliseconds: it is done by the job that builds the block, on a snapshot.
"""

from collections import deque
from heapq import heapify, heappop, heappush
from typing import Final

from chain.ids import AccountId
from chain.transaction import SignedTransaction
from node.poolentry import Entry, PoolSnapshot, Source

FREE_SHARE: Final = 4
"""A block gives free transactions at most one part in this many of its bytes."""
_LATER: Final = 1 << 62
"""Above any order of arrival."""
TURNS_SHARE: Final = 4
"""A block gives one part in this many of its bytes to those who wait, in turns."""


def select(pool: PoolSnapshot, max_bytes: int) -> tuple[SignedTransaction, ...]:
    """Return what a block of ``max_bytes`` should try to hold, in the order to apply it."""
    return Selection(pool, max_bytes).run()


class Selection:
    """One block's choice."""

    def __init__(self, pool: PoolSnapshot, max_bytes: int) -> None:
        self._rows: dict[AccountId, dict[int, Entry]] = {sender: {} for sender in pool.senders}
        for entry in pool.entries:
            self._rows[entry.sender][entry.nonce] = entry
        self._max_bytes = max_bytes
        nexts = zip(pool.senders, pool.nexts, strict=True)
        self._heads = [head for sender, nonce in nexts if (head := self._rows[sender].get(nonce)) is not None]
        self._least = min([head.size for head in self._heads], default=1)
        """With less room than this the block is full: nothing more is looked at."""
        self._taken: dict[AccountId, int] = {}
        """The next nonce of each sender of whom something was taken."""
        self._used = 0
        self.chosen: list[SignedTransaction] = []

    def run(self) -> tuple[SignedTransaction, ...]:
        """Return the choice."""
        self._take_in_turns(self._max_bytes // FREE_SHARE, free=True)
        self._take_by_fee(self._max_bytes - self._max_bytes // TURNS_SHARE)
        self._take_in_turns(self._max_bytes, free=False)
        self._take_by_fee(self._max_bytes)
        return tuple(self.chosen)

    def _ready(self, *, free: bool) -> list[Entry]:
        """Return what can be taken next, one of each sender."""
        taken, rows = self._taken, self._rows
        now = [head if head.sender not in taken else rows[head.sender].get(taken[head.sender]) for head in self._heads]
        return [entry for entry in now if entry is not None and entry.free == free]

    def _follower(self, entry: Entry) -> Entry | None:
        """Return what the sender of ``entry`` has after it, if it is of the same kind."""
        follower = self._rows[entry.sender].get(entry.nonce + 1)
        return follower if follower is not None and follower.free == entry.free else None

    def _take(self, entry: Entry) -> None:
        self.chosen.append(entry.signed)
        self._used += entry.size
        self._taken[entry.sender] = entry.nonce + 1

    def _take_by_fee(self, end: int) -> None:
        """Take the best fee per byte first, as long as the block stays within ``end`` bytes."""
        if self._used + self._least > end:
            return
        heap = [(-entry.rate, entry.order, entry) for entry in self._ready(free=False)]
        heapify(heap)
        while heap and self._used + self._least <= end:
            entry = heappop(heap)[2]
            if self._used + entry.size > end:
                continue  # the sender's later ones can't go either; others may be smaller
            self._take(entry)
            follower = self._follower(entry)
            if follower is not None:
                heappush(heap, (-follower.rate, follower.order, follower))

    def _take_in_turns(self, end: int, *, free: bool) -> None:
        """Take one of each source in turns, within a source the one that has waited longest."""
        if self._used + self._least > end:
            return
        rows: dict[Source, list[tuple[int, Entry]]] = {}
        for entry in self._ready(free=free):
            rows.setdefault(entry.source, []).append((entry.order, entry))
        for row in rows.values():
            heapify(row)
        sources = deque(sorted(rows, key=lambda source: rows[source][0][0]))
        turn = 0
        while sources and self._used + self._least <= end:
            source = sources.popleft()
            taken = self._take_first_that_fits(rows[source], end)
            if taken is None:
                continue  # nothing of it fits any more
            turn += 1
            follower = self._follower(taken)
            if follower is not None:  # behind all that wait now: others of this source come first
                row = rows.setdefault(follower.source, [])
                heappush(row, (_LATER + turn, follower))
                if follower.source != source and len(row) == 1:  # a source that had no more
                    sources.append(follower.source)
            if rows[source]:
                sources.append(source)

    def _take_first_that_fits(self, row: list[tuple[int, Entry]], end: int) -> Entry | None:
        while row:
            entry = heappop(row)[1]
            if self._used + entry.size <= end:
                self._take(entry)
                return entry
        return None
