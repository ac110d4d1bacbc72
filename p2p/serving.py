"""Answering peers' questions from what the node has.

Every question gets its answer or a "not found" for each id: also for what there is no room to send, when a peer asks
faster than it reads, or more than its share while others ask too. Nothing is read from disk for which there is no
room.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, TypeVar

from chain.block import Header
from chain.codec import Record, encode
from chain.ids import Hash, Millis
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate
from p2p.access import ChainAccess
from p2p.events import Kind
from p2p.fairshare import FairShare
from p2p.limits import (
    CHUNK_BYTES,
    CLASSES,
    HEADER_WORK,
    LEAST_BUNDLED_BYTES,
    MAX_ANSWER_BYTES,
    MAX_BUNDLE_BYTES,
    MAX_BUNDLED_BYTES,
    MAX_HEADERS,
    MAX_HEADERS_BYTES,
    SERVED_PAYLOAD_BYTES,
    MessageClass,
)
from p2p.links import Links
from p2p.messages import (
    BlockBody,
    GetBodies,
    GetHeaders,
    GetPayload,
    GetPayloads,
    GetTransactions,
    GetUpdates,
    Headers,
    NoChunk,
    NotFound,
    PayloadChunk,
    Payloads,
    Transactions,
    Updates,
)
from p2p.session import Session

_HEADER_BYTES: Final = 320
"""No header is longer than this, its chain id (four times), engine record and seal."""
_NOT_FOUND_IDS: Final = 64
_R = TypeVar("_R", bound=Record)


def _bound(header: Header) -> int:
    """Return a length that the header's encoding does not exceed."""
    return _HEADER_BYTES + 4 * len(header.chain_id) + len(header.engine) + len(header.seal)


def _in_parts(records: Iterable[_R]) -> Iterable[tuple[_R, ...]]:
    """Yield the records in tuples of up to ``MAX_ANSWER_BYTES``; a longer record stands alone."""
    part: list[_R] = []
    size = 0
    for record in records:
        length = len(encode(record))
        if part and size + length > MAX_ANSWER_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(record)
        size += length
    if part:
        yield tuple(part)


class Server:
    """Serves headers, bodies, updates, transactions and payloads."""

    def __init__(self, links: Links, chain: ChainAccess) -> None:
        self._links = links
        self._chain = chain
        self._share = FairShare(links)
        self._payloads: OrderedDict[Hash, bytes] = OrderedDict()  # asked for lately, the latest at the end
        self._payload_bytes = 0

    def on_get_headers(self, session: Session, message: GetHeaders, now: Millis) -> None:
        """Answer with what follows the locator, as much as fits."""
        if not session.has_room(MessageClass.CONSENSUS, MAX_HEADERS_BYTES):
            return
        has_turn = self._share.has_turn(session, now)
        found = self._chain.headers_after(message.locator, MAX_HEADERS) if has_turn else ()
        session.budget.look_up(len(found) * HEADER_WORK, now)
        size, count = 0, 0
        for header in found:
            size += _bound(header)
            if size > MAX_HEADERS_BYTES:
                break
            count += 1
        session.budget.serve(size, now)
        self._links.send(session, Headers(found[:count], count == MAX_HEADERS or count < len(found)))

    def on_get_bodies(self, session: Session, message: GetBodies, now: Millis) -> None:
        """Answer with one frame a body."""
        missing: list[Hash] = []
        has_turn = self._share.has_turn(session, now)
        before = session.queue.waiting_bytes
        for id in message.ids:
            body = self._chain.body(id) if has_turn and session.has_room(MessageClass.CONSENSUS, 1) else None
            if body is None or not self._links.send(session, BlockBody(id, body)):
                missing.append(id)
        session.budget.serve(session.queue.waiting_bytes - before, now)
        self._not_found(session, Kind.BODY, missing)

    def on_get_transactions(self, session: Session, message: GetTransactions, now: Millis) -> None:
        """Answer with those in the pool."""
        found: list[SignedTransaction] = []
        missing: list[Hash] = []
        for id in message.ids:
            transaction = self._chain.transaction(id)
            if transaction is None:
                missing.append(id)
            else:
                found.append(transaction)
                session.known.add((Kind.TRANSACTION, id), now)
        for part in _in_parts(found):
            if not self._links.send(session, Transactions(part)):
                missing += [transaction.id for transaction in part]
        self._not_found(session, Kind.TRANSACTION, missing)

    def on_get_updates(self, session: Session, message: GetUpdates, now: Millis) -> None:
        """Answer with those that we have in the version asked for."""
        found: list[AttestedUpdate] = []
        missing: list[Hash] = []
        for notice in message.notices:
            update = self._chain.update(notice.id)
            if update is None or self._chain.update_version(notice.id) != notice.version:
                missing.append(notice.version)
            else:
                found.append(update)
                session.known.add((Kind.UPDATE, notice.version), now)
        for part in _in_parts(found):
            if not self._links.send(session, Updates(part)):
                missing += [update.version for update in part]
        self._not_found(session, Kind.UPDATE, missing)

    def on_get_payload(self, session: Session, message: GetPayload, now: Millis) -> None:
        """Answer with one chunk."""
        if not session.has_room(MessageClass.PAYLOADS, CLASSES[MessageClass.PAYLOADS].answer_bytes):
            return
        payload = self._payload(message.id) if self._share.has_turn(session, now) else None
        if payload is None or (message.offset and message.offset >= len(payload)):
            self._links.send(session, NoChunk(message.id, message.offset))
            return
        chunk = payload[message.offset : message.offset + CHUNK_BYTES]
        session.budget.serve(len(chunk), now)
        self._links.send(session, PayloadChunk(message.id, message.offset, chunk))

    def on_get_payloads(self, session: Session, message: GetPayloads, now: Millis) -> None:
        """Answer with bundles of those that are here and small."""
        bundle: list[bytes] = []
        ids: list[Hash] = []
        missing: list[Hash] = []
        size = 0
        has_turn = self._share.has_turn(session, now)
        for id in dict.fromkeys(message.ids):
            has_room = session.has_room(MessageClass.BUNDLES, CLASSES[MessageClass.BUNDLES].answer_bytes)
            payload = self._payload(id, least=0) if has_turn and has_room else None
            if payload is None or len(payload) > MAX_BUNDLED_BYTES:
                missing.append(id)
                continue
            if bundle and size + len(payload) > MAX_BUNDLE_BYTES:
                missing += self._send_bundle(session, bundle, ids, now)
                bundle, ids, size = [], [], 0
            bundle.append(payload)
            ids.append(id)
            size += len(payload)
        if bundle:
            missing += self._send_bundle(session, bundle, ids, now)
        self._not_found(session, Kind.PAYLOAD, missing)

    def _send_bundle(self, session: Session, bundle: list[bytes], ids: list[Hash], now: Millis) -> list[Hash]:
        """Send these payloads; return their ids if there is no room for them."""
        if not self._links.send(session, Payloads(tuple(bundle))):
            return ids
        session.budget.serve(sum(map(len, bundle)), now)
        return []

    def _payload(self, id: Hash, least: int = CHUNK_BYTES + 1) -> bytes | None:
        """Return a payload. One of ``least`` bytes is kept at hand: it is asked for again soon.

        Of several chunks each is asked for by itself, and a small one by all peers at about the same time.
        """
        payload = self._payloads.get(id)
        if payload is not None:
            self._payloads.move_to_end(id)
            return payload
        payload = self._chain.payload(id)
        if payload is not None and len(payload) >= least:
            self._payloads[id] = payload
            self._payload_bytes += max(len(payload), LEAST_BUNDLED_BYTES)
            while len(self._payloads) > 1 and self._payload_bytes > SERVED_PAYLOAD_BYTES:
                self._payload_bytes -= max(len(self._payloads.popitem(last=False)[1]), LEAST_BUNDLED_BYTES)
        return payload

    def _not_found(self, session: Session, kind: Kind, ids: list[Hash]) -> None:
        for start in range(0, len(ids), _NOT_FOUND_IDS):
            self._links.send(session, NotFound(kind, tuple(ids[start : start + _NOT_FOUND_IDS])))
