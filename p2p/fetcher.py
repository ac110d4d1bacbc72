"""Fetching items by id: asking peers within their free slots, taking answers, giving up on late ones.

Rules of this file: messages and deadlines; which item waits for whom is ``inventory``'s. An answer that nobody asked
for condemns its sender; a late one is still taken if the item is still missing.
"""

from collections.abc import Collection, Sequence
from itertools import islice
from random import Random
from typing import Final

from chain.codec import encode
from chain.hashing import content_id
from chain.ids import Hash, Millis
from chain.payload import PayloadRef
from chain.update import AttestedUpdate
from p2p.errors import ProtocolError
from p2p.events import BodyArrived, Item, Kind, PayloadArrived, PeerId, TransactionArrived, UpdateArrived, Want
from p2p.inventory import Fetch, Flight, Inventory
from p2p.limits import (
    BODIES_IN_FLIGHT,
    CHUNKS_IN_FLIGHT,
    CHUNKS_OWED,
    FETCH_ANSWER_MS,
    LONGEST_FETCH_MS,
    MAX_IDS,
    MAX_STRIKES,
    MIN_PAYLOAD_RATE,
    PAYLOAD_BYTES_IN_FLIGHT,
    SILENCE_MS,
    TRANSACTIONS_IN_FLIGHT,
    UPDATES_IN_FLIGHT,
    MessageClass,
)
from p2p.links import Links
from p2p.messages import (
    BlockBody,
    GetBodies,
    GetPayload,
    GetTransactions,
    GetUpdates,
    Message,
    NoChunk,
    NotFound,
    PayloadChunk,
    Transactions,
    UpdateNotice,
    Updates,
)
from p2p.payloads import Assembly
from p2p.session import CLASS_OF_KIND, Session

_SLOTS: Final = {
    Kind.BODY: BODIES_IN_FLIGHT,
    Kind.UPDATE: UPDATES_IN_FLIGHT,
    Kind.TRANSACTION: TRANSACTIONS_IN_FLIGHT,
    Kind.PAYLOAD: CHUNKS_OWED,
}
"""Answers of a kind that one peer may owe us, late ones included."""


def version_of(update: AttestedUpdate) -> Hash:
    """Return the id of an update together with its attestations."""
    return content_id(encode(update))


class Fetcher:
    """Asks, and hands what arrives to the core."""

    def __init__(self, links: Links, random: Random) -> None:
        self.inventory = Inventory()
        self._links = links
        self._random = random
        self._progress: dict[tuple[PeerId, Kind], Millis] = {}  # when the last body or chunk came from a peer
        links.on_up.append(lambda session, now: self.inventory.add_peer(session.peer))
        links.on_down.append(self._on_down)

    def _on_down(self, session: Session, now: Millis) -> None:
        for kind in Kind:
            self._progress.pop((session.peer, kind), None)
        self.inventory.remove_peer(session.peer, now)

    def offer(self, kind: Kind, wire_id: Hash, id: Hash, session: Session) -> None:
        """Note that a peer announced an item that is not known here."""
        self.inventory.offer(kind, wire_id, id, session.peer)

    def want(self, items: Sequence[Want], now: Millis) -> None:
        """Fetch bodies and payloads until they arrive."""
        for item in items:
            self.inventory.want(item, now)

    def unwant(self, ids: Collection[Hash]) -> None:
        """Stop fetching what is wanted under these ids."""
        for id in ids:
            for kind in (Kind.BODY, Kind.PAYLOAD):
                fetch = self.inventory.get(kind, id)
                if fetch is not None:
                    self.inventory.forget(fetch)

    def judged(self, peer: PeerId, item: Item, *, is_rejected: bool, now: Millis) -> Hash | None:
        """Take the core's verdict on what ``peer`` delivered; return its id on the wire if it was delivered here."""
        return self.inventory.judged(peer, item, is_rejected=is_rejected, now=now)

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def schedule(self, now: Millis) -> None:
        """Ask every peer that has a free slot for what it offers."""
        offering = [peer for peer, offers in self.inventory.offers.items() if any(offers.values())]
        if len(offering) > 1:
            self._random.shuffle(offering)  # no peer is always asked first
            offering.sort(key=lambda peer: self._links.ready[peer].is_silent(now))
        for peer in offering:
            session = self._links.ready[peer]
            for kind, ids in self.inventory.offers[peer].items():
                if ids and kind is Kind.PAYLOAD:
                    self._ask_payloads(session, now)
                elif ids:
                    self._ask(session, kind, now)

    def _ask(self, session: Session, kind: Kind, now: Millis) -> None:
        """Ask for bodies, transactions or updates, in one message."""
        owed = session.owed[CLASS_OF_KIND[kind]]
        free = min(_SLOTS[kind] - len(owed), MAX_IDS)
        is_silent = session.is_silent(now)
        # What the peer still owes, late, is not asked of it again: one question, one answer.
        askable = (
            id
            for id in self.inventory.offers[session.peer][kind]
            if (id, 0) not in owed and not (is_silent and self._others_can_give(self._fetch(kind, id), session, now))
        )
        ids = tuple(islice(askable, max(0, free)))
        if not ids:
            return
        fetches = [self._fetch(kind, id) for id in ids]
        message: Message
        match kind:
            case Kind.BODY:
                message = GetBodies(ids)
            case Kind.TRANSACTION:
                message = GetTransactions(ids)
            case _:
                message = GetUpdates(tuple([UpdateNotice(fetch.id, fetch.wire_id) for fetch in fetches]))
        if not self._links.send(session, message):
            return
        deadline = Millis(now + FETCH_ANSWER_MS)
        for fetch in fetches:
            session.owes(CLASS_OF_KIND[kind], fetch.wire_id, now)
            self.inventory.start(fetch, Flight(session.peer, now, deadline, None))

    def _ask_payloads(self, session: Session, now: Millis) -> None:
        """Start as many payloads as slots and the cap on their bytes let us."""
        owed = session.owed[MessageClass.PAYLOADS]
        late = {id for id, _ in owed}
        for id in list(self.inventory.offers[session.peer][Kind.PAYLOAD]):
            fetch = self._fetch(Kind.PAYLOAD, id)
            in_flight = self.inventory.payload_bytes
            if len(owed) > _SLOTS[Kind.PAYLOAD] - CHUNKS_IN_FLIGHT or (
                in_flight and in_flight + fetch.size > PAYLOAD_BYTES_IN_FLIGHT
            ):
                return
            if id in late or (session.is_silent(now) and self._others_can_give(fetch, session, now)):
                continue
            assembly = Assembly(PayloadRef(id, fetch.size))
            self.inventory.start(fetch, Flight(session.peer, now, Millis(now + FETCH_ANSWER_MS), assembly))
            for _ in range(CHUNKS_IN_FLIGHT):
                self._ask_chunk(session, assembly, now)

    def _ask_chunk(self, session: Session, assembly: Assembly, now: Millis) -> None:
        offset = assembly.next_offset()
        if offset is not None and self._links.send(session, GetPayload(assembly.ref.id, offset)):
            session.owes(MessageClass.PAYLOADS, assembly.ref.id, now, offset)

    def _fetch(self, kind: Kind, id: Hash) -> Fetch:
        fetch = self.inventory.get(kind, id)
        assert fetch is not None  # what is in somebody's offers is being fetched
        return fetch

    def _others_can_give(self, fetch: Fetch, session: Session, now: Millis) -> bool:
        """Is there another source of this item that is not silent?"""
        others = self.inventory.others(fetch, session.peer)
        return any(not self._links.ready[peer].is_silent(now) for peer in others)

    def tick(self, now: Millis) -> None:
        """Take what is overdue away from who owes it, and let go who owes too much."""
        self.inventory.tick(now)
        self._pass_on(now)
        late: dict[PeerId, None] = {}
        for fetch, flight in self.inventory.overdue(now):
            if self._is_coming(fetch, flight, now):
                continue
            late[flight.peer] = None
            self.inventory.fail(fetch, flight.peer, now)
        for session in list(self._links.ready.values()):
            if session.peer in late:
                self._links.strike(session, MAX_STRIKES, now)
            elif any(self._is_stuck(session, kind, now) for kind in Kind):
                self._links.close(session, "owes more answers than it may", now)

    def _pass_on(self, now: Millis) -> None:
        """Ask others for what silent peers were asked for. No fault of theirs yet: their deadline still stands."""
        silent = {peer: session for peer, session in self._links.ready.items() if session.is_silent(now)}
        if not silent:
            return
        for fetch, flight in self.inventory.flying():
            session = silent.get(flight.peer)
            if session is not None and self._others_can_give(fetch, session, now):
                self.inventory.fail(fetch, flight.peer, now)

    def _is_coming(self, fetch: Fetch, flight: Flight, now: Millis) -> bool:
        """Is the answer merely queued behind others on a slow line? Bodies and payloads may be."""
        longest = LONGEST_FETCH_MS + fetch.size * 1000 // MIN_PAYLOAD_RATE
        progress = self._progress.get((flight.peer, fetch.kind), flight.started)
        return now - progress < FETCH_ANSWER_MS and now - flight.started < longest

    def _is_stuck(self, session: Session, kind: Kind, now: Millis) -> bool:
        """Are all the peer's slots taken by answers that are late? Who has only just fallen silent may come back."""
        if SILENCE_MS <= session.silent_ms(now) < FETCH_ANSWER_MS:
            return False
        free = _SLOTS[kind] - len(session.owed[CLASS_OF_KIND[kind]])
        needed = CHUNKS_IN_FLIGHT if kind is Kind.PAYLOAD else 1
        return free < needed and self.inventory.count_flights(session.peer, kind) == 0

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def on_body(self, session: Session, message: BlockBody, now: Millis) -> None:
        """Hand a wanted body to the core."""
        self._progress[session.peer, Kind.BODY] = now
        if self._arrived(session, Kind.BODY, message.id, now):
            self._links.emit(BodyArrived(session.peer, message.id, message.body))

    def on_transactions(self, session: Session, message: Transactions, now: Millis) -> None:
        """Hand announced transactions to the core."""
        for transaction in message.transactions:
            if self._arrived(session, Kind.TRANSACTION, transaction.id, now):
                self._links.emit(TransactionArrived(session.peer, transaction))

    def on_updates(self, session: Session, message: Updates, now: Millis) -> None:
        """Hand announced updates to the core."""
        for update in message.updates:
            if self._arrived(session, Kind.UPDATE, version_of(update), now):
                self._links.emit(UpdateArrived(session.peer, update))

    def _arrived(self, session: Session, kind: Kind, wire_id: Hash, now: Millis) -> bool:
        """Settle the peer's debt; is the item still missing? If so note that it is not."""
        session.settle(CLASS_OF_KIND[kind], wire_id)
        fetch = self.inventory.get(kind, wire_id)
        if fetch is None or fetch.is_delivered:
            return False
        self.inventory.deliver(fetch, session.peer, now)
        return True

    def on_chunk(self, session: Session, message: PayloadChunk, now: Millis) -> None:
        """Add a chunk to its payload; hand the payload to the core when it is whole and what its id says."""
        session.settle(MessageClass.PAYLOADS, message.id, message.offset)
        self._progress[session.peer, Kind.PAYLOAD] = now
        fetch = self.inventory.get(Kind.PAYLOAD, message.id)
        flight = None if fetch is None else fetch.flight
        if fetch is None or flight is None or flight.assembly is None or flight.peer != session.peer:
            return
        assembly = flight.assembly
        assembly.add(message.offset, message.data)
        if not assembly.is_complete:
            self._ask_chunk(session, assembly, now)
            return
        payload = assembly.payload()
        if not assembly.ref.is_of(payload):
            raise ProtocolError("a payload that is not what its id says")
        self.inventory.deliver(fetch, session.peer, now)
        self._links.emit(PayloadArrived(session.peer, assembly.ref, payload))

    def on_not_found(self, session: Session, message: NotFound, now: Millis) -> None:
        """Ask the next source for what this peer does not have."""
        for id in message.ids:
            session.settle(CLASS_OF_KIND[message.kind], id)
            self._failed(session, message.kind, id, now)

    def on_no_chunk(self, session: Session, message: NoChunk, now: Millis) -> None:
        """Ask the next source for a payload that this peer does not have."""
        session.settle(MessageClass.PAYLOADS, message.id, message.offset)
        self._failed(session, Kind.PAYLOAD, message.id, now)

    def _failed(self, session: Session, kind: Kind, id: Hash, now: Millis) -> None:
        fetch = self.inventory.get(kind, id)
        if fetch is not None and fetch.flight is not None and fetch.flight.peer == session.peer:
            self.inventory.fail(fetch, session.peer, now)
