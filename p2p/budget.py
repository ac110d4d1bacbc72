"""What one peer costs us: work it makes us do by telling, and work and bytes it has by asking.

Work is counted in units of about a microsecond by what a message is and lists (``limits.WORK``), not measured: so it
is the same on every machine and in a simulator. Telling is paid in advance: what a peer tells beyond its budget is not
heard. Answers are always heard, because we asked; transactions and updates among them are paid for by what the
peer tells next. Asking is paid afterwards: who is in debt waits while others ask, and is served when nobody else does
(``fairshare``), so that a node that syncs alone has all we can give.

A budget outlasts its connection (``Debts``): who hangs up and calls again goes on where it was.
"""

from typing import Final

from chain.ids import Millis
from p2p.endpoints import Reach, reach_of, site_of
from p2p.limits import (
    DEBT_MS,
    FLOOD_RATE,
    MAX_DEBTS,
    MAX_DEBTS_PER_SITE,
    RATES,
    SERVE_RATE,
    WORK,
    WORK_BYTES_SHIFT,
    WORK_RATE,
)
from p2p.messages import (
    Addresses,
    AnnounceTransactions,
    AnnounceUpdates,
    GetBodies,
    GetHeaders,
    GetPart,
    GetPayload,
    GetPayloads,
    GetTransactions,
    GetUpdates,
    Message,
    Transactions,
    Updates,
)
from p2p.ratelimit import TokenBucket

_ASKING: Final = frozenset((GetHeaders, GetBodies, GetTransactions, GetUpdates, GetPayload, GetPayloads, GetPart))
_ANSWERS: Final = frozenset((Transactions, Updates, Addresses))
_LISTS: Final[dict[type[Message], str]] = {
    AnnounceUpdates: "notices",
    GetUpdates: "notices",
    AnnounceTransactions: "ids",
    GetTransactions: "ids",
    GetBodies: "ids",
    GetPayloads: "ids",
    Transactions: "transactions",
    Updates: "updates",
    Addresses: "addresses",
}
"""The field in which a message lists what it is about."""


def count_entries(message: Message) -> int:
    """Return how many ids, notices or items a message lists; 1 if it is no list."""
    field = _LISTS.get(type(message))
    return 1 if field is None else len(getattr(message, field))


def work_of(message: Message, size: int) -> int:
    """Return the work of a message of ``size`` bytes; 0 for those that are not counted."""
    work = WORK.get(type(message).__name__)
    if work is None:
        return 0
    each = work.each * count_entries(message) if work.each else 0
    return work.base + each + (size >> WORK_BYTES_SHIFT)


class Budget:
    """One peer's budgets."""

    def __init__(self, now: Millis) -> None:
        self._rates = {name: TokenBucket(rate, now) for name, rate in RATES.items()}
        self._flood = TokenBucket(FLOOD_RATE, now)
        self._telling = TokenBucket(WORK_RATE, now)
        self._asking = TokenBucket(WORK_RATE, now)
        self._bytes = TokenBucket(SERVE_RATE, now)

    def is_within_rate(self, message: Message, now: Millis) -> bool:
        """Count a message that came in; False if there are too many of its kind."""
        kind = type(message)
        bucket = self._rates.get(kind.__name__)
        return bucket is None or bucket.take(count_entries(message) if kind in _LISTS else 1, now)

    def forgives(self, now: Millis) -> bool:
        """Note that a message was left unheard; False if that happened too often."""
        return self._flood.take(1, now)

    def pays(self, message: Message, size: int, now: Millis) -> bool:
        """Charge a message that came in; False if it is to be left unheard."""
        work = work_of(message, size)
        if work == 0:
            return True
        kind = type(message)
        if kind in _ASKING:
            self._asking.owe(work, now)
            return True
        if kind in _ANSWERS:
            self._telling.owe(work, now)
            return True
        return self._telling.take(work, now)

    def forgive_updates(self, count: int, now: Millis) -> None:
        """Give back what so many updates cost, and the announcements of them."""
        self._telling.give_back(count * (WORK["Updates"].each + WORK["AnnounceUpdates"].each), now)
        self._rates["AnnounceUpdates"].give_back(count, now)

    def look_up(self, work: int, now: Millis) -> None:
        """Charge the work of an answer whose size the question does not tell."""
        self._asking.owe(work, now)

    def serve(self, size: int, now: Millis) -> None:
        """Charge bytes that the peer asked for."""
        self._bytes.owe(size, now)

    def is_in_debt(self, now: Millis) -> bool:
        """Has the peer asked for more than its share?"""
        return not (self._asking.take(0, now) and self._bytes.take(0, now))


class Debts:
    """Budgets of connections that are gone, for the next ones from the same site; of this machine none is kept."""

    def __init__(self) -> None:
        self._left: dict[str, list[tuple[Budget, Millis]]] = {}

    def leave(self, host: str, budget: Budget, now: Millis) -> None:
        """Keep the budget of a connection that ends. Of too many the oldest are forgotten."""
        if reach_of(host) is Reach.LOOPBACK:
            return
        site = site_of(host)
        left = self._left.pop(site, [])
        self._left[site] = [*left[1 - MAX_DEBTS_PER_SITE :], (budget, now)]
        if len(self._left) > MAX_DEBTS:
            del self._left[next(iter(self._left))]

    def take(self, host: str, now: Millis) -> Budget:
        """Return the budget of a new connection: one that was left less than ``DEBT_MS`` ago, or a full one."""
        site = site_of(host)
        left = [each for each in self._left.pop(site, []) if now - each[1] < DEBT_MS]
        if len(left) > 1:
            self._left[site] = left[1:]
        return left[0][0] if left else Budget(now)
