"""Fetching items by id: asking peers within their windows, and taking answers.

Rules of this file: questions and answers; which item waits for whom is ``inventory``'s, what is late ``stalls``'s. An
answer that nobody asked for condemns its sender; a late one is still taken if the item is still missing.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import islice
from random import Random
from typing import Final

from msgspec.structs import replace

from chain.codec import encode
from chain.hashing import content_id
from chain.ids import Hash, Millis
from chain.payload import PayloadRef
from p2p.errors import ProtocolError
from p2p.events import BodyArrived, Item, Kind, PayloadArrived, PeerId, TransactionArrived, UpdateArrived, Want
from p2p.inventory import Fetch, Flight, Inventory
from p2p.limits import (
    BUNDLED_BYTES_IN_FLIGHT,
    BUNDLES_VERSION,
    CHUNKS_IN_FLIGHT,
    CHUNKS_OWED,
    FETCH_ANSWER_MS,
    LEAST_BUNDLED_BYTES,
    MAX_BODIES,
    MAX_BUNDLED_BYTES,
    MAX_IDS,
    MAX_OFFERS,
    PAYLOAD_BYTES_IN_FLIGHT,
    MessageClass,
)
from p2p.links import Links
from p2p.messages import (
    BlockBody,
    GetBodies,
    GetPayload,
    GetPayloads,
    GetTransactions,
    GetUpdates,
    Message,
    NoChunk,
    NotFound,
    PayloadChunk,
    Payloads,
    SmallBody,
    Transactions,
    UpdateNotice,
    Updates,
)
from p2p.payloads import Assembly, find_liars
from p2p.session import CLASS_OF_KIND, Session
from p2p.smallbodies import SmallBodies, find_most
from p2p.stalls import Stalls
from p2p.windows import SLOTS, Windows

_LOOK_MS: Final = 100
"""A peer that gives bundles and was found to offer nothing else is looked through for that only so often."""


class Fetcher:
    """Asks, and hands what arrives to the core. ``condemn`` lets a peer go for what was found out about it."""

    def __init__(self, links: Links, random: Random, condemn: Callable[[PeerId, str, Millis], None]) -> None:
        self.inventory = Inventory()
        self._links = links
        self._random = random
        self._condemn = condemn
        self._windows = Windows(links)
        self._stalls = Stalls(links, self.inventory, self._windows)
        self._small = SmallBodies(links)
        links.on_up.append(lambda session, now: self.inventory.add_peer(session.peer))
        links.on_down.append(lambda session, now: self.inventory.remove_peer(session.peer, now))

    def offer(self, kind: Kind, wire_id: Hash, id: Hash, session: Session) -> None:
        """Note that a peer announced an item that is not known here."""
        self.inventory.offer(kind, wire_id, id, session.peer)

    def want(self, items: Sequence[Want], now: Millis) -> None:
        """Fetch bodies and payloads until they arrive: of those first who are named, or announced the block."""
        for item in items:
            if item.kind is Kind.BODY and (held := self._small.take(item.id)) is not None:
                self._links.emit(BodyArrived(held[0], item.id, held[1]))
                continue
            if item.kind is Kind.BODY and not item.sources:
                item = replace(item, sources=self._announcers(item.id, now))
            self.inventory.want(item, now)

    def _announcers(self, block: Hash, now: Millis) -> tuple[PeerId, ...]:
        return tuple([peer for peer, session in self._links.ready.items() if session.known.has((None, block), now)])

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

    @property
    def is_fetching(self) -> bool:
        """Is anything being fetched, or does it wait for its verdict?"""
        return len(self.inventory) > 0

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def schedule(self, now: Millis) -> None:
        """Ask the peers for which something changed for what they offer and have room for. Cheap if nothing did."""
        stirred = self.inventory.stirred
        if not stirred:
            return
        offering = [peer for peer in stirred if any(self.inventory.offers[peer].values()) or self._has_chunks(peer)]
        stirred.clear()
        if len(offering) > 1:
            self._random.shuffle(offering)  # no peer is always asked first
            offering.sort(key=lambda peer: self._links.ready[peer].is_silent(now))
        for peer in offering:
            session = self._links.ready[peer]
            for kind, ids in self.inventory.offers[peer].items():
                if kind is Kind.PAYLOAD:
                    if ids or self._has_chunks(peer):
                        self._ask_payloads(session, now)
                elif ids:
                    self._ask(session, kind, now)

    def _has_chunks(self, peer: PeerId) -> bool:
        return self.inventory.count_flights(peer, Kind.PAYLOAD) > 0

    def _free(self, session: Session, kind: Kind) -> int:
        """Return how many more answers the peer may be asked for. None, while it owes too many that are late."""
        owed = len(session.owed[CLASS_OF_KIND[kind]])
        flying = self.inventory.count_flights(session.peer, kind)
        if owed - flying >= SLOTS[kind].first:
            return 0
        return min(self._windows.of(session.peer, kind).size - flying, SLOTS[kind].most - owed)

    def _ask(self, session: Session, kind: Kind, now: Millis) -> None:
        """Ask for bodies, transactions or updates, in one message."""
        owed = session.owed[CLASS_OF_KIND[kind]]
        free = min(self._free(session, kind), MAX_BODIES if kind is Kind.BODY else MAX_IDS)
        is_silent = session.is_silent(now)
        # What the peer still owes, late, is not asked of it again: one question, one answer.
        askable = (
            id
            for id in self.inventory.offers[session.peer][kind]
            if (id, 0) not in owed
            and not (is_silent and self._stalls.others_can_give(self._fetch(kind, id), session, now))
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
            self.inventory.start(fetch, Flight(session.peer, now, deadline))
        if len(ids) == MAX_BODIES and kind is Kind.BODY:
            self._ask(session, kind, now)

    def _ask_payloads(self, session: Session, now: Millis) -> None:
        """Ask for further chunks of the payloads under way; start as many as the window and the cap on bytes let us."""
        takes_bundles = session.established.version >= BUNDLES_VERSION
        if takes_bundles:
            self._ask_bundle(session, now)
        for fetch in self.inventory.flights_of(session.peer, Kind.PAYLOAD):
            if fetch.assembly is not None:
                self._ask_chunks(session, fetch, now)
        if session.bundled_bytes and now < session.small_until:
            return  # thousands may be offered, and each bundle that comes leads here
        late = {id for id, _ in session.owed[MessageClass.PAYLOADS]}
        is_small = takes_bundles
        for id in list(self.inventory.offers[session.peer][Kind.PAYLOAD]):
            fetch = self._fetch(Kind.PAYLOAD, id)
            if takes_bundles and _is_bundled(fetch):
                continue
            is_small = False
            if self._free_chunks(session) <= 0 or not self._has_room(fetch):
                return
            if id in late or (session.is_silent(now) and self._stalls.others_can_give(fetch, session, now)):
                continue
            self.inventory.start(fetch, Flight(session.peer, now, Millis(now + FETCH_ANSWER_MS)))
            self.inventory.assemble(fetch).resume()
            self._ask_chunks(session, fetch, now)
        session.small_until = Millis(now + _LOOK_MS) if is_small else Millis(0)

    def _ask_bundle(self, session: Session, now: Millis) -> None:
        """Ask for small payloads, many in one message, as many as may be in flight."""
        owed, peer = session.owed[MessageClass.BUNDLES], session.peer
        offers = self.inventory.offers[peer][Kind.PAYLOAD]
        room = BUNDLED_BYTES_IN_FLIGHT - session.bundled_bytes
        if not offers or room <= 0 or (owed and room < BUNDLED_BYTES_IN_FLIGHT // 4):
            return  # it is worth a question again when a quarter has come
        is_silent = session.is_silent(now)
        chosen: list[Fetch] = []
        taken = 0
        for id in islice(offers, MAX_OFFERS):
            fetch = self._fetch(Kind.PAYLOAD, id)
            if not _is_bundled(fetch) or (id, 0) in owed:
                continue
            if is_silent and self._stalls.others_can_give(fetch, session, now):
                continue
            if (chosen and taken + _weight(fetch) > room) or len(chosen) == MAX_IDS or not self._has_room(fetch, taken):
                break
            taken += _weight(fetch)
            chosen.append(fetch)
        if not chosen or not self._links.send(session, GetPayloads(tuple([fetch.id for fetch in chosen]))):
            return
        for fetch in chosen:
            self.inventory.start(fetch, Flight(peer, now, Millis(now + FETCH_ANSWER_MS)))
            session.owes(MessageClass.BUNDLES, fetch.id, now, size=_weight(fetch))

    def _has_room(self, fetch: Fetch, beside: int = 0) -> bool:
        """Is there room for this payload? What is here of others, and nobody gives now, makes room for it.

        ``beside``: bytes of others that are about to be asked for.
        """
        if fetch.assembly is not None or self.inventory.payload_bytes + beside + fetch.size <= PAYLOAD_BYTES_IN_FLIGHT:
            return True
        if beside:
            return False
        for held in self.inventory.held():
            if self.inventory.payload_bytes + fetch.size <= PAYLOAD_BYTES_IN_FLIGHT:
                break
            self.inventory.drop_assembly(held)
        taken = self.inventory.payload_bytes
        return not taken or taken + fetch.size <= PAYLOAD_BYTES_IN_FLIGHT

    def _free_chunks(self, session: Session) -> int:
        """Return how many more chunks the peer may be asked for. None, while it owes too many that are late."""
        owed = session.owed[MessageClass.PAYLOADS]
        flying = {fetch.id for fetch in self.inventory.flights_of(session.peer, Kind.PAYLOAD)}
        live = sum(id in flying for id, _ in owed)
        if len(owed) - live >= CHUNKS_IN_FLIGHT:
            return 0
        return min(self._windows.of(session.peer, Kind.PAYLOAD).size - live, CHUNKS_OWED - len(owed))

    def _ask_chunks(self, session: Session, fetch: Fetch, now: Millis) -> None:
        assert fetch.assembly is not None  # it was assembled when the flight began
        for _ in range(self._free_chunks(session)):
            offset = fetch.assembly.next_offset()
            if offset is None or not self._links.send(session, GetPayload(fetch.id, offset)):
                return
            session.owes(MessageClass.PAYLOADS, fetch.id, now, offset)

    def _fetch(self, kind: Kind, id: Hash) -> Fetch:
        fetch = self.inventory.get(kind, id)
        assert fetch is not None  # what is in somebody's offers is being fetched
        return fetch

    def tick(self, now: Millis) -> None:
        """Take what is overdue away from who owes it, and let go who owes too much."""
        self._stalls.tick(now)
        if len(self.inventory):
            self.inventory.stirred.update(dict.fromkeys(self.inventory.offers))  # a queue may have room again

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def on_body(self, session: Session, message: BlockBody, now: Millis) -> None:
        """Hand a wanted body to the core."""
        if self._arrived(session, Kind.BODY, message.id, now):
            session.note_use(Kind.BODY, now)
            self._links.emit(BodyArrived(session.peer, message.id, message.body))

    def on_small_body(self, session: Session, message: SmallBody, now: Millis) -> None:
        """Hand a body that came unasked to the core if it is wanted, else hold it for the case that it will be."""
        fetch = self.inventory.get(Kind.BODY, message.id)
        if fetch is None:
            if len(encode(message.body)) > find_most(session):
                raise ProtocolError("a body that is not small, and that nobody asked for")
            self._small.hold(session.peer, message)
        elif not fetch.is_delivered:
            self.inventory.deliver(fetch, session.peer, now)
            session.note_use(Kind.BODY, now)
            self._links.emit(BodyArrived(session.peer, message.id, message.body))

    def on_transactions(self, session: Session, message: Transactions, now: Millis) -> None:
        """Hand announced transactions to the core."""
        for transaction in message.transactions:
            if self._arrived(session, Kind.TRANSACTION, transaction.id, now):
                self._links.emit(TransactionArrived(session.peer, transaction))

    def on_updates(self, session: Session, message: Updates, now: Millis) -> None:
        """Hand announced updates to the core."""
        for update in message.updates:
            if self._arrived(session, Kind.UPDATE, update.version, now):
                self._links.emit(UpdateArrived(session.peer, update))

    def _settle(self, session: Session, kind: Kind, wire_id: Hash, now: Millis, offset: int = 0) -> None:
        """Strike out the peer's debt, and measure how well it delivers."""
        asked_at = session.settle(CLASS_OF_KIND[kind], wire_id, offset)
        self._windows.of(session.peer, kind).answered(Millis(now - asked_at))
        self._stalls.delivered(session.peer, kind, now)
        self.inventory.stirred[session.peer] = None

    def _arrived(self, session: Session, kind: Kind, wire_id: Hash, now: Millis) -> bool:
        """Settle the peer's debt; is the item still missing? If so note that it is not."""
        self._settle(session, kind, wire_id, now)
        fetch = self.inventory.get(kind, wire_id)
        if fetch is None or fetch.is_delivered:
            return False
        self.inventory.deliver(fetch, session.peer, now)
        return True

    def on_chunk(self, session: Session, message: PayloadChunk, now: Millis) -> None:
        """Add a chunk to its payload; hand the payload to the core when it is whole and what its id says."""
        self._settle(session, Kind.PAYLOAD, message.id, now, message.offset)
        fetch = self.inventory.get(Kind.PAYLOAD, message.id)
        assembly = None if fetch is None else fetch.assembly
        if fetch is None or assembly is None or (fetch.suspects and not _is_flying_at(fetch, session)):
            return
        if not assembly.fits(message.offset, message.data):
            self.inventory.misfit(fetch, session.peer, now)
            return
        assembly.add(message.offset, message.data, session.peer)
        if assembly.is_complete:
            self._on_whole(session, fetch, assembly, now)

    def _on_whole(self, session: Session, fetch: Fetch, assembly: Assembly, now: Millis) -> None:
        """Hand a payload to the core if it is what its id says; else find out who lied, or begin again."""
        payload = assembly.payload()
        if assembly.ref.is_of(payload):
            self._deliver(session, fetch, assembly.ref, payload, now)
        elif len(assembly.givers()) > 1:
            self.inventory.begin_again(fetch, assembly.suspects(), now)
        elif assembly.may_be_a_part:
            self.inventory.drop_assembly(fetch)
            self.inventory.misfit(fetch, session.peer, now)
        else:
            raise ProtocolError("a payload that is not what its id says")

    def _deliver(self, session: Session, fetch: Fetch, ref: PayloadRef, payload: bytes, now: Millis) -> None:
        """Hand the core a payload that is what its id says, and let go who gave what is not of it."""
        liars = [*find_liars(payload, fetch.suspects)]
        liars += [peer for peer, size in fetch.misfits if size == ref.size]
        self.inventory.deliver(fetch, session.peer, now)
        self._links.emit(PayloadArrived(session.peer, ref, payload))
        for peer in dict.fromkeys(liars):
            self._condemn(peer, "gave chunks that are not the payload's", now)

    def on_payloads(self, session: Session, message: Payloads, now: Millis) -> None:
        """Hand small payloads to the core; one whose size is not what its reference says may still come otherwise."""
        for payload in message.payloads:
            id = content_id(payload)
            session.settle(MessageClass.BUNDLES, id)
            fetch = self.inventory.get(Kind.PAYLOAD, id)
            if fetch is None:
                continue
            if fetch.size == len(payload):
                self._deliver(session, fetch, PayloadRef(id, len(payload)), payload, now)
            elif _is_flying_at(fetch, session):
                self.inventory.misfit(fetch, session.peer, now)
        self._stalls.delivered(session.peer, Kind.PAYLOAD, now)
        self.inventory.stirred[session.peer] = None

    def on_not_found(self, session: Session, message: NotFound, now: Millis) -> None:
        """Ask the next source for what this peer does not have."""
        answered = MessageClass.BUNDLES if message.kind is Kind.PAYLOAD else CLASS_OF_KIND[message.kind]
        for id in message.ids:
            self._refused(session, answered, id)
            self._failed(session, message.kind, id, now)

    def on_no_chunk(self, session: Session, message: NoChunk, now: Millis) -> None:
        """Ask the next source for a payload that this peer does not have."""
        self._refused(session, MessageClass.PAYLOADS, message.id, message.offset)
        self._failed(session, Kind.PAYLOAD, message.id, now)

    def _refused(self, session: Session, message_class: MessageClass, id: Hash, offset: int = 0) -> None:
        session.settle(message_class, id, offset)
        self.inventory.stirred[session.peer] = None

    def _failed(self, session: Session, kind: Kind, id: Hash, now: Millis) -> None:
        fetch = self.inventory.get(kind, id)
        if fetch is not None and fetch.flight is not None and fetch.flight.peer == session.peer:
            self.inventory.fail(fetch, session.peer, now)


def _is_bundled(fetch: Fetch) -> bool:
    """Is a payload small, and nothing here of it that could be wrong?"""
    return fetch.size <= MAX_BUNDLED_BYTES and fetch.assembly is None and not fetch.suspects


def _weight(fetch: Fetch) -> int:
    """Return what a small payload counts for: a tiny one too is a debt to remember."""
    return max(fetch.size, LEAST_BUNDLED_BYTES)


def _is_flying_at(fetch: Fetch, session: Session) -> bool:
    return fetch.flight is not None and fetch.flight.peer == session.peer
