"""What this node is after: every item being fetched, who can give it, and where it stands.

An item is fetched because peers announced it (transactions, updates: from those peers) or because the core wants it
(bodies, payloads: from any peer, those the core named first). Its life:

    waiting    in the offers of each of its sources, until one has a free slot
    in flight  asked of exactly one peer, until the answer or the deadline
    parked     wanted, but nobody has it: offered to everybody again after a while
    delivered  with the core for its verdict; on a rejection the other sources get it back, for an id does not cover
               everything (a signature, say), and a bad copy must not hide the good one

What was announced is given up with its last source. Rules of this file: bookkeeping, no messages.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from chain.ids import Hash, Millis
from p2p.events import Item, Kind, PeerId, Want
from p2p.limits import MAX_DELIVERED, MAX_OFFERS, RETRY_MS, VERDICT_MS
from p2p.payloads import Assembly

Key: TypeAlias = tuple[Kind, Hash]
"""What a fetch is known by: the kind and the id on the wire, which for an update is its version."""


@dataclass(slots=True)
class Flight:
    """A question under way. ``assembly`` is there for payloads."""

    peer: PeerId
    started: Millis
    deadline: Millis
    assembly: Assembly | None


@dataclass(slots=True)
class Fetch:
    """One item. ``id`` is what the core calls it; ``size`` is a payload's. Without ``flight`` it waits or is parked."""

    kind: Kind
    wire_id: Hash
    id: Hash
    size: int
    is_wanted: bool
    sources: dict[PeerId, None] = field(default_factory=dict)
    failed: dict[PeerId, None] = field(default_factory=dict)
    flight: Flight | None = None
    is_delivered: bool = False

    @property
    def key(self) -> Key:
        """What it is known by."""
        return (self.kind, self.wire_id)


class Inventory:
    """All fetches. ``offers`` lists for each connected peer what waits and may be asked of it."""

    def __init__(self) -> None:
        self.offers: dict[PeerId, dict[Kind, dict[Hash, None]]] = {}
        self.payload_bytes = 0  # of the payloads in flight
        self._fetches: dict[Key, Fetch] = {}
        self._in_flight: dict[Key, Fetch] = {}
        self._parked: dict[Key, Millis] = {}
        self._delivered: dict[Key, tuple[PeerId, Millis]] = {}
        self._named: dict[tuple[Kind, Hash], dict[Hash, None]] = {}  # delivered: the core's name → ids on the wire

    def get(self, kind: Kind, wire_id: Hash) -> Fetch | None:
        """Return the fetch of an item, if it is being fetched."""
        return self._fetches.get((kind, wire_id))

    def __len__(self) -> int:
        """Return how many items are being fetched."""
        return len(self._fetches)

    # ── peers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def add_peer(self, peer: PeerId) -> None:
        """Take a new peer: it may have whatever is wanted and not in flight."""
        self.offers[peer] = {kind: {} for kind in Kind}
        for fetch in self._fetches.values():
            if fetch.is_wanted:
                self._add_source(fetch, peer)

    def remove_peer(self, peer: PeerId, now: Millis) -> None:
        """Give what waited for this peer, or was in flight there, to the other sources."""
        offers = self.offers.pop(peer)
        flying = [fetch for fetch in self._in_flight.values() if fetch.flight is not None and fetch.flight.peer == peer]
        waiting = [self._fetches[kind, id] for kind, ids in offers.items() for id in ids]
        for fetch in flying + waiting:
            self.fail(fetch, peer, now)

    # ── what to fetch ─────────────────────────────────────────────────────────────────────────────────────────────

    def offer(self, kind: Kind, wire_id: Hash, id: Hash, peer: PeerId) -> None:
        """Note that a peer announced an item that is not known here. Dropped if too much of its kind waits already."""
        fetch = self._fetches.get((kind, wire_id))
        if len(self.offers[peer][kind]) >= MAX_OFFERS:
            return
        if fetch is None:
            fetch = self._fetches[kind, wire_id] = Fetch(kind, wire_id, id, 0, is_wanted=False)
        self._add_source(fetch, peer)

    def want(self, item: Want, now: Millis) -> None:
        """Fetch a body or payload until it arrives; if that is under way, note further sources."""
        if item.kind not in (Kind.BODY, Kind.PAYLOAD):
            raise ValueError(f"a {item.kind} is fetched when it is announced, it can't be wanted")
        fetch = self._fetches.get((item.kind, item.id))
        is_new = fetch is None
        if fetch is None:
            fetch = Fetch(item.kind, item.id, item.id, item.size, is_wanted=True)
            self._fetches[fetch.key] = fetch
        for peer in item.sources:
            if peer in self.offers:
                self._add_source(fetch, peer)
        if is_new and not fetch.sources:
            self._widen(fetch, now)

    def forget(self, fetch: Fetch) -> None:
        """Stop fetching an item, wherever it stands."""
        self._ground(fetch)
        self._withdraw(fetch)
        self._parked.pop(fetch.key, None)
        self._undeliver(fetch)
        self._fetches.pop(fetch.key, None)

    # ── its life ──────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, fetch: Fetch, flight: Flight) -> None:
        """Put a waiting item in flight: nobody else is asked for it meanwhile."""
        assert fetch.flight is None
        assert not fetch.is_delivered
        self._withdraw(fetch)
        fetch.flight = flight
        self._in_flight[fetch.key] = fetch
        self.payload_bytes += fetch.size

    def fail(self, fetch: Fetch, peer: PeerId, now: Millis) -> None:
        """Note that ``peer`` did not give the item: the next source has its turn."""
        if fetch.flight is not None and fetch.flight.peer == peer:
            self._ground(fetch)
        fetch.sources.pop(peer, None)
        if peer in self.offers:
            self.offers[peer][fetch.kind].pop(fetch.wire_id, None)
            fetch.failed[peer] = None
        if fetch.flight is None and not fetch.is_delivered:
            self._wait(fetch, now)

    def deliver(self, fetch: Fetch, peer: PeerId, now: Millis) -> None:
        """Note that ``peer`` gave the item: what is wanted is done, what was announced awaits its verdict."""
        if fetch.is_wanted:
            self.forget(fetch)
            return
        self._ground(fetch)
        self._withdraw(fetch)
        fetch.is_delivered = True
        self._delivered[fetch.key] = (peer, now)
        self._named.setdefault((fetch.kind, fetch.id), {})[fetch.wire_id] = None
        if len(self._delivered) > MAX_DELIVERED:
            self.forget(self._fetches[next(iter(self._delivered))])

    def judged(self, peer: PeerId, item: Item, *, is_rejected: bool, now: Millis) -> Hash | None:
        """Take the verdict on what ``peer`` delivered; return its id on the wire if it was delivered here."""
        wire_ids = self._named.get((item.kind, item.id), {})
        wire_id = next((id for id in wire_ids if self._delivered[item.kind, id][0] == peer), None)
        if wire_id is None:
            return None
        fetch = self._fetches[item.kind, wire_id]
        if is_rejected:
            self._undeliver(fetch)
            self.fail(fetch, peer, now)
        else:
            self.forget(fetch)
        return wire_id

    def tick(self, now: Millis) -> None:
        """Offer parked items again; stop waiting for verdicts that do not come."""
        for key in [key for key, retry_at in self._parked.items() if now >= retry_at]:
            self._widen(self._fetches[key], now)
        for key in [key for key, (_, at) in self._delivered.items() if now - at >= VERDICT_MS]:
            self.forget(self._fetches[key])

    def others(self, fetch: Fetch, peer: PeerId) -> list[PeerId]:
        """Return the connected peers besides ``peer`` that may be asked for an item."""
        sources = self.offers if fetch.is_wanted else fetch.sources
        return [each for each in sources if each != peer and each in self.offers and each not in fetch.failed]

    def flying(self) -> Iterator[tuple[Fetch, Flight]]:
        """Yield what is in flight."""
        for fetch in list(self._in_flight.values()):
            if fetch.flight is not None:
                yield fetch, fetch.flight

    def overdue(self, now: Millis) -> Iterator[tuple[Fetch, Flight]]:
        """Yield what is in flight beyond its deadline."""
        for fetch, flight in self.flying():
            if now >= flight.deadline:
                yield fetch, flight

    def count_flights(self, peer: PeerId, kind: Kind) -> int:
        """Return how many items of a kind this peer is being asked for."""
        return sum(
            fetch.kind is kind and fetch.flight is not None and fetch.flight.peer == peer
            for fetch in self._in_flight.values()
        )

    # ── within ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _add_source(self, fetch: Fetch, peer: PeerId) -> None:
        fetch.sources[peer] = None
        if fetch.flight is None and not fetch.is_delivered:
            self._parked.pop(fetch.key, None)
            self.offers[peer][fetch.kind][fetch.wire_id] = None

    def _wait(self, fetch: Fetch, now: Millis) -> None:
        """Offer the item to its sources again; with none left, widen or give up."""
        sources = [peer for peer in fetch.sources if peer in self.offers]
        fetch.sources = {}
        for peer in sources:
            self._add_source(fetch, peer)
        if not sources:
            if fetch.is_wanted:
                self._widen(fetch, now)
            else:
                self.forget(fetch)

    def _widen(self, fetch: Fetch, now: Millis) -> None:
        """Offer a wanted item to every peer that has not failed; park it if there is none."""
        others = [peer for peer in self.offers if peer not in fetch.failed]
        for peer in others:
            self._add_source(fetch, peer)
        if not others:
            fetch.failed.clear()
            self._parked[fetch.key] = Millis(now + RETRY_MS)

    def _withdraw(self, fetch: Fetch) -> None:
        for peer in fetch.sources:
            if peer in self.offers:
                self.offers[peer][fetch.kind].pop(fetch.wire_id, None)

    def _undeliver(self, fetch: Fetch) -> None:
        if fetch.is_delivered:
            fetch.is_delivered = False
            del self._delivered[fetch.key]
            named = self._named[fetch.kind, fetch.id]
            del named[fetch.wire_id]
            if not named:
                del self._named[fetch.kind, fetch.id]

    def _ground(self, fetch: Fetch) -> None:
        if fetch.flight is not None:
            fetch.flight = None
            del self._in_flight[fetch.key]
            self.payload_bytes -= fetch.size
