"""What the mempool keeps of a transaction, of its sender, and of what each source has brought.

Rules of this file: records and counters; no decision about who may stay.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final

from chain.codec import Record
from chain.ids import AccountField, AccountId, HashField, MillisField, Natural
from chain.transaction import SignedTransaction

Source = bytes
"""Who brought a transaction: a peer's account, or nothing for this node's own users and roles."""
GONE: Final[Source] = b"gone"
"""All peers together that have brought something and are not connected any more."""
_RATE_SCALE: Final = 1 << 32


class Entry(Record):
    """A waiting transaction. ``order`` counts arrivals; ``free`` ones pay no fee. ``source`` is who brought it."""

    signed: SignedTransaction
    id: HashField
    size: Natural
    free: bool
    arrived: MillisField
    order: Natural
    source: Source
    spending: Natural
    """Coins it takes from its sender: the fee and what its body moves, escrows or bonds."""

    @property
    def sender(self) -> AccountId:
        """Whose it is."""
        return self.signed.transaction.sender

    @property
    def nonce(self) -> int:
        """Its place in the sender's row."""
        return self.signed.transaction.nonce

    @property
    def fee(self) -> int:
        """What it pays."""
        return self.signed.transaction.fee

    @property
    def rate(self) -> int:
        """Fee per byte, scaled to an integer."""
        return self.signed.transaction.fee * _RATE_SCALE // self.size


class PoolSnapshot(Record):
    """What waits at one moment: entries in the order they came, and each sender's next nonce in the state.

    Taking one copies references alone, so the event loop can; choosing among them is a job's work.
    """

    entries: tuple[Entry, ...] = ()
    senders: tuple[AccountField, ...] = ()
    nexts: tuple[Natural, ...] = ()


class Sender:
    """One account's waiting transactions; ``next`` is the nonce its next included one must have."""

    __slots__ = ("by_nonce", "bytes", "next")

    def __init__(self, next_nonce: int) -> None:
        self.next = next_nonce
        self.by_nonce: dict[int, Entry] = {}
        self.bytes = 0

    def last(self) -> Entry:
        """Return the end of the row: what may leave without a gap."""
        return self.by_nonce[max(self.by_nonce)]

    def spending_below(self, nonce: int) -> int:
        """Return the coins that what waits before this nonce takes."""
        return sum([entry.spending for at, entry in self.by_nonce.items() if self.next <= at < nonce])

    def unpaid(self, balance: int) -> list[Entry]:
        """Return those, from the first on, for which the balance does not suffice after all before them."""
        left = balance
        for nonce in (row := sorted(self.by_nonce)):
            left -= self.by_nonce[nonce].spending
            if left < 0:
                return [self.by_nonce[late] for late in row if late >= nonce]
        return []

    def after_ready(self) -> int:
        """Return the first nonce from ``next`` on that nothing here has."""
        nonce = self.next
        while nonce in self.by_nonce:
            nonce += 1
        return nonce


@dataclass(slots=True)
class _Share:
    count: int = 0
    bytes: int = 0


class Shares:
    """How much of the pool each source has brought, and the ends of rows among it, the cheapest first.

    The heaps may hold what has left or is no end any more; ``is_last`` tells, and such are dropped when they come up.
    """

    def __init__(self, is_last: Callable[[Entry], bool]) -> None:
        self._is_last = is_last
        self._shares: defaultdict[Source, _Share] = defaultdict(_Share)
        self._ends: dict[Source, list[tuple[int, int, Entry]]] = {}
        self.count = 0
        self.bytes = 0

    def add(self, entry: Entry) -> None:
        """Count an entry."""
        self._move(entry, 1)

    def remove(self, entry: Entry) -> None:
        """Count it no more."""
        self._move(entry, -1)
        if not self._shares[entry.source].count:
            del self._shares[entry.source]
            self._ends.pop(entry.source, None)

    def _move(self, entry: Entry, sign: int) -> None:
        share = self._shares[entry.source]
        share.count += sign
        share.bytes += sign * entry.size
        self.count += sign
        self.bytes += sign * entry.size

    def note_end(self, entry: Entry) -> None:
        """Take note that this entry is the end of its sender's row now."""
        ends = self._ends.setdefault(entry.source, [])
        heappush(ends, (entry.rate, -entry.order, entry))
        if len(ends) > 4 * self._shares[entry.source].count + 64:
            ends[:] = {id(item[2]): item for item in ends if self._is_last(item[2])}.values()
            heapify(ends)

    def heaviest(self, entry: Entry, *, by_bytes: bool) -> Source:
        """Return the source with the largest share if ``entry`` were in; on a tie its own."""
        weights = {source: share.bytes if by_bytes else share.count for source, share in self._shares.items()}
        weights[entry.source] = weights.get(entry.source, 0) + (entry.size if by_bytes else 1)
        return max(weights, key=lambda source: (weights[source], source == entry.source, source))

    def cheapest_end(self, source: Source, but: AccountId) -> Entry | None:
        """Return the end of a row of another account than ``but`` that pays least a byte, of what a source brought."""
        ends, aside = self._ends.get(source, []), []
        found: Entry | None = None
        while ends and found is None:
            rate, order, entry = heappop(ends)
            if self._is_last(entry):
                aside.append((rate, order, entry))
                found = entry if entry.sender != but else None
        for item in aside:
            heappush(ends, item)
        return found
