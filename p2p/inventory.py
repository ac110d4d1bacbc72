"""What this node is after: every item being fetched, who can give it, and where it stands.

An item is fetched because peers announced it (transactions, updates: from those peers) or because the core wants it
(bodies, payloads: from any peer, those the core named first). Its life:

    waiting    in the offers of each of its sources, until one has a free slot
    in flight  asked of exactly one peer, until the answer or the deadline
    parked     wanted, but nobody has it: offered to everybody again after a while
    delivered  with the core for its verdict; on a rejection the other sources get it back, for an id does not cover
               everything (a signature, say), and a bad copy must not hide the good one

What was announced is given up with its last source. What failed goes to the front of its next source's queue: the
core names what it needs first first. Chunks of a payload outlast the peer that gave them, for the next source to go on
from. Rules of this file: bookkeeping, no messages.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from chain.ids import Hash, Millis
from chain.payload import PayloadRef
from p2p.events import Item, Kind, PeerId, Want
from p2p.limits import (
    MAX_DELIVERED,
    MAX_MISFIT_DOUBLINGS,
    MAX_OFFERS,
    MAX_OFFERS_TOGETHER,
    MAX_SIZES,
    RETRY_MS,
    VERDICT_MS,
)
from p2p.payloads import Assembly, Suspect

Key: TypeAlias = tuple[Kind, Hash]
"""What a fetch is known by: the kind and the id on the wire, which for an update is its version."""


@dataclass(slots=True)
class Flight:
    """A question under way."""

    peer: PeerId
    started: Millis
    deadline: Millis


@dataclass(slots=True)
class Fetch:
    """One item. ``id`` is what the core calls it; ``size`` is a payload's. Without ``flight`` it waits or is parked.

    ``other_sizes``: those that others named it with, for a reference may lie about it; ``misfits``: who gave a chunk
    that did not fit which size. ``assembly``: what is here of a payload, whoever gave it. ``suspects``: chunks that did
    not make up what the id says; until the payload has come whole from one peer, no second one adds to what the first
    gave.
    """

    kind: Kind
    wire_id: Hash
    id: Hash
    size: int
    is_wanted: bool
    sources: dict[PeerId, None] = field(default_factory=dict)
    failed: dict[PeerId, None] = field(default_factory=dict)
    flight: Flight | None = None
    is_delivered: bool = False
    assembly: Assembly | None = None
    suspects: tuple[Suspect, ...] = ()
    other_sizes: dict[int, None] = field(default_factory=dict)
    misfits: dict[tuple[PeerId, int], None] = field(default_factory=dict)
    misfit_count: int = 0

    @property
    def key(self) -> Key:
        """What it is known by."""
        return (self.kind, self.wire_id)


class Inventory:
    """All fetches. ``offers`` lists for each connected peer what waits and may be asked of it, the first to ask first.

    ``stirred`` names the peers that may be asked for something now and could not before; who asks empties it.
    """

    def __init__(self) -> None:
        self.offers: dict[PeerId, dict[Kind, OrderedDict[Hash, None]]] = {}
        self.stirred: dict[PeerId, None] = {}
        self.payload_bytes = 0  # of the payloads in flight, and of those that a next source will go on with
        self._fetches: dict[Key, Fetch] = {}
        self._in_flight: dict[Key, Fetch] = {}
        self._flights_of: dict[tuple[PeerId, Kind], dict[Hash, Fetch]] = {}
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
        self.offers[peer] = {kind: OrderedDict() for kind in Kind}
        for fetch in self._fetches.values():
            if fetch.is_wanted:
                self._add_source(fetch, peer)

    def remove_peer(self, peer: PeerId, now: Millis) -> None:
        """Give what waited for this peer, or was in flight there, to the other sources."""
        offers = self.offers.pop(peer)
        self.stirred.pop(peer, None)
        flying = [fetch for kind in Kind for fetch in self.flights_of(peer, kind)]
        waiting = [self._fetches[kind, id] for kind, ids in offers.items() for id in ids]
        for fetch in reversed(flying + waiting):  # so that the first is the first to be asked for again
            self.fail(fetch, peer, now)

    # ── what to fetch ─────────────────────────────────────────────────────────────────────────────────────────────

    def offer(self, kind: Kind, wire_id: Hash, id: Hash, peer: PeerId) -> None:
        """Note that a peer announced an item that is not known here. Dropped if too much of its kind waits already."""
        fetch = self._fetches.get((kind, wire_id))
        if len(self.offers[peer][kind]) >= min(MAX_OFFERS, MAX_OFFERS_TOGETHER // len(self.offers)):
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
        elif item.size != fetch.size and len(fetch.other_sizes) < MAX_SIZES:
            fetch.other_sizes[item.size] = None
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
        self.drop_assembly(fetch)
        self._fetches.pop(fetch.key, None)

    # ── its life ──────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, fetch: Fetch, flight: Flight) -> None:
        """Put a waiting item in flight: nobody else is asked for it meanwhile."""
        assert fetch.flight is None
        assert not fetch.is_delivered
        self._withdraw(fetch)
        fetch.flight = flight
        self._in_flight[fetch.key] = fetch
        self._flights_of.setdefault((flight.peer, fetch.kind), {})[fetch.wire_id] = fetch
        if fetch.assembly is None:
            self.payload_bytes += fetch.size

    def assemble(self, fetch: Fetch) -> Assembly:
        """Return what is here of a payload in flight, to add to."""
        assert fetch.flight is not None  # its bytes are counted
        if fetch.assembly is None:
            fetch.assembly = Assembly(PayloadRef(fetch.id, fetch.size))
        return fetch.assembly

    def drop_assembly(self, fetch: Fetch) -> None:
        """Forget what is here of a payload."""
        if fetch.assembly is not None:
            fetch.assembly = None
            if fetch.flight is None:
                self.payload_bytes -= fetch.size

    def held(self) -> Iterator[Fetch]:
        """Yield the payloads of which chunks are here and which are not in flight."""
        for fetch in list(self._fetches.values()):
            if fetch.assembly is not None and fetch.flight is None:
                yield fetch

    def fail(self, fetch: Fetch, peer: PeerId, now: Millis) -> None:
        """Note that ``peer`` did not give the item: the next source has its turn."""
        if fetch.flight is not None and fetch.flight.peer == peer:
            self._ground(fetch)
        fetch.sources.pop(peer, None)
        if peer in self.offers:
            self.offers[peer][fetch.kind].pop(fetch.wire_id, None)
            fetch.failed[peer] = None
        if fetch.suspects:
            self.drop_assembly(fetch)
        if fetch.flight is None and not fetch.is_delivered:
            self._wait(fetch, now)

    def misfit(self, fetch: Fetch, peer: PeerId, now: Millis) -> None:
        """Note that what ``peer`` gave is not a payload of this size: the peer lies, or whoever named the size did.

        Nobody can tell yet. The next size that was named is tried, else the next source; ever more rarely.
        """
        fetch.misfits[peer, fetch.size] = None
        fetch.misfit_count += 1
        if not fetch.other_sizes:
            self.fail(fetch, peer, now)
            return
        self._ground(fetch)
        self._withdraw(fetch)
        if fetch.misfit_count % (len(fetch.other_sizes) + 1):
            self._try_next_size(fetch)
            self._widen(fetch, now)
        else:
            self._park(fetch, now)

    def begin_again(self, fetch: Fetch, suspects: tuple[Suspect, ...], now: Millis) -> None:
        """Fetch a payload anew, whole from one peer: the chunks of several do not make up what its id says."""
        fetch.suspects = suspects
        self._ground(fetch)
        self.drop_assembly(fetch)
        fetch.failed.clear()
        self._widen(fetch, now)

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

    @property
    def is_flying(self) -> bool:
        """Is anything in flight?"""
        return bool(self._in_flight)

    def overdue(self, now: Millis) -> Iterator[tuple[Fetch, Flight]]:
        """Yield what is in flight beyond its deadline."""
        for fetch, flight in self.flying():
            if now >= flight.deadline:
                yield fetch, flight

    def flights_of(self, peer: PeerId, kind: Kind) -> list[Fetch]:
        """Return the items of a kind this peer is being asked for, the first asked first."""
        return list(self._flights_of.get((peer, kind), {}).values())

    def count_flights(self, peer: PeerId, kind: Kind) -> int:
        """Return how many items of a kind this peer is being asked for."""
        return len(self._flights_of.get((peer, kind), ()))

    # ── within ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _add_source(self, fetch: Fetch, peer: PeerId, *, first: bool = False) -> None:
        fetch.sources[peer] = None
        if fetch.flight is None and not fetch.is_delivered:
            self._parked.pop(fetch.key, None)
            offers = self.offers[peer][fetch.kind]
            offers[fetch.wire_id] = None
            if first:
                offers.move_to_end(fetch.wire_id, last=False)
            self.stirred[peer] = None

    def _wait(self, fetch: Fetch, now: Millis) -> None:
        """Offer the item to its sources again; with none left, widen or give up."""
        sources = [peer for peer in fetch.sources if peer in self.offers]
        fetch.sources = {}
        for peer in sources:
            self._add_source(fetch, peer, first=True)
        if not sources:
            if fetch.is_wanted:
                self._widen(fetch, now)
            else:
                self.forget(fetch)

    def _widen(self, fetch: Fetch, now: Millis) -> None:
        """Offer a wanted item to every peer that has not failed; park it if there is none."""
        others = [peer for peer in self.offers if peer not in fetch.failed]
        for peer in others:
            self._add_source(fetch, peer, first=bool(fetch.failed))
        if not others:
            self._park(fetch, now)

    def _try_next_size(self, fetch: Fetch) -> None:
        self.drop_assembly(fetch)
        sizes = [*fetch.other_sizes, fetch.size]
        fetch.size, fetch.other_sizes, fetch.suspects = sizes[0], dict.fromkeys(sizes[1:]), ()
        fetch.failed.clear()

    def _park(self, fetch: Fetch, now: Millis) -> None:
        self._try_next_size(fetch)
        self._parked[fetch.key] = Millis(now + (RETRY_MS << min(fetch.misfit_count, MAX_MISFIT_DOUBLINGS)))

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
            flights = self._flights_of[fetch.flight.peer, fetch.kind]
            del flights[fetch.wire_id]
            if not flights:
                del self._flights_of[fetch.flight.peer, fetch.kind]
            fetch.flight = None
            del self._in_flight[fetch.key]
            if fetch.assembly is None:
                self.payload_bytes -= fetch.size
            if fetch.size:
                self.stirred.update(dict.fromkeys(self.offers))  # there may be room for another payload
