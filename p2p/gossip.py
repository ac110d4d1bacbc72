"""Gossip by announcement: telling peers by id what we have, and noting what they have.

Nothing is announced to a peer that is known to have it. A new head travels as its header at once, but to one peer no
more often than every ``HEAD_MS``, and then only the latest; where votes make it final it waits for them. Updates
are announced at once, transactions gathered until the next tick.

An update gains attestations while it travels, so it is announced with the hash of what the sender has (its version).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from chain.block import Body, Header, block_id
from chain.ids import Hash, Millis
from p2p.access import ChainAccess
from p2p.events import Kind, PeerId
from p2p.limits import HEAD_MS, MAX_IDS, MAX_IGNORED, MAX_PENDING_ANNOUNCEMENTS, RELAY_VERSION, VERDICT_MS
from p2p.links import Links
from p2p.messages import AnnounceTransactions, AnnounceUpdates, Head, SmallBody, UpdateNotice, encode_weight
from p2p.recent import RecentSet
from p2p.session import Session
from p2p.smallbodies import make_small_body


@dataclass(slots=True)
class _Pending:
    """What a peer is to be told."""

    head_sent_at: Millis
    head_due: Millis
    head: Header | None = None
    transactions: dict[Hash, None] = field(default_factory=dict)


class Gossip:
    """Announcements out and in. ``offer(kind, wire id, id, session)`` takes what is announced and unknown here."""

    def __init__(self, links: Links, chain: ChainAccess, offer: Callable[[Kind, Hash, Hash, Session], None]) -> None:
        self._links = links
        self._chain = chain
        self._offer = offer
        self._pending: dict[PeerId, _Pending] = {}
        self._small: SmallBody | None = None  # the body of the head that was announced last
        self._has_heads = self._has_transactions = False  # does any peer wait for some?
        self._ignored: RecentSet[tuple[Kind, Hash]] = RecentSet(MAX_IGNORED, VERDICT_MS)
        links.on_up.append(self._on_up)
        links.on_down.append(self._on_down)

    @property
    def is_waiting(self) -> bool:
        """Is something to be announced with the next ticks?"""
        return self._has_heads or self._has_transactions

    # ── out ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def announce_block(self, header: Header, now: Millis, patience_ms: int = 0, body: Body | None = None) -> None:
        """Tell peers our new head, within that time, and bring its body along if it is small."""
        self._small = None if body is None else make_small_body(block_id(header), body)
        due = Millis(now + patience_ms)
        for pending in self._pending.values():
            pending.head_due = due if pending.head is None else min(due, pending.head_due)
            pending.head = header
        self._has_heads = True
        if not patience_ms:
            self._send_heads(now)

    def release_head(self, peers: Iterable[PeerId], now: Millis) -> None:
        """Tell these peers our head now, if it waits."""
        for peer in peers:
            self._pending[peer].head_due = now
        self._has_heads = True
        self._send_heads(now)

    def announce_transaction(self, id: Hash) -> None:
        """Tell peers of a transaction with the next tick."""
        self._has_transactions = True
        for pending in self._pending.values():
            if len(pending.transactions) < MAX_PENDING_ANNOUNCEMENTS:
                pending.transactions[id] = None

    def forget_told(self, kind: Kind, id: Hash) -> None:
        """Hold no peer to have this any more: one that was full when it was told is told again."""
        wire = self._chain.update_version(id) if kind is Kind.UPDATE else id
        for session in self._links.ready.values():
            if wire is not None:
                session.known.discard((kind, wire))

    def announce_updates(self, ids: Sequence[Hash], now: Millis) -> None:
        """Tell peers of updates as we have them now."""
        notices = self._notices(ids)
        for session in self._links.ready.values():
            self._tell_updates(session, notices, now)

    def _notices(self, ids: Sequence[Hash]) -> list[UpdateNotice]:
        found = [(id, self._chain.update_version(id)) for id in ids]
        return [UpdateNotice(id, version) for id, version in found if version is not None]

    def introduce(self, session: Session, transactions: Sequence[Hash], updates: Sequence[Hash], now: Millis) -> None:
        """Tell one peer of all this: updates at once, transactions with the next ticks."""
        pending = self._pending[session.peer].transactions
        self._has_transactions = True
        for id in transactions[: max(0, MAX_PENDING_ANNOUNCEMENTS - len(pending))]:
            pending[id] = None
        self._tell_updates(session, self._notices(updates), now)

    def _tell_updates(self, session: Session, notices: list[UpdateNotice], now: Millis) -> None:
        unknown = [notice for notice in notices if not session.known.has((Kind.UPDATE, notice.version), now)]
        for start in range(0, len(unknown), MAX_IDS):
            told = unknown[start : start + MAX_IDS]
            if not self._links.send(session, AnnounceUpdates(tuple(told))):
                return
            for notice in told:
                session.known.add((Kind.UPDATE, notice.version), now)

    def ignore(self, kind: Kind, wire_id: Hash, now: Millis) -> None:
        """Do not fetch this again for a while: the core had no use for it."""
        self._ignored.add((kind, wire_id), now)

    def tick(self, now: Millis) -> None:
        """Send what was gathered."""
        self._send_heads(now)
        if not self._has_transactions:
            return
        self._has_transactions = False
        for peer, pending in self._pending.items():
            if not pending.transactions:
                continue
            session = self._links.ready[peer]
            unknown = (id for id in pending.transactions if not session.known.has((Kind.TRANSACTION, id), now))
            ids = tuple(islice(unknown, MAX_IDS))
            if ids and self._links.send(session, AnnounceTransactions(ids)):
                for id in ids:
                    session.known.add((Kind.TRANSACTION, id), now)
            pending.transactions = {
                id: None for id in pending.transactions if not session.known.has((Kind.TRANSACTION, id), now)
            }
            self._has_transactions |= bool(pending.transactions)

    def _send_heads(self, now: Millis) -> None:
        if not self._has_heads:
            return
        self._has_heads = False
        weight = self._chain.weight()
        message: Head | None = None  # one for all: nearly always they wait for the same header
        for peer, pending in self._pending.items():
            header = pending.head
            if header is None or self._links.ready[peer].wants_quiet:
                continue
            if now < pending.head_due or now - pending.head_sent_at < HEAD_MS:
                self._has_heads = True
                continue
            pending.head = None
            session = self._links.ready[peer]
            id = block_id(header)
            if session.weight > weight or session.known.has((None, id), now):
                continue  # it is ahead of us, or had the block before us
            if message is None or message.header is not header:
                message = Head(header, encode_weight(weight))
            if self._links.send(session, message):
                session.known.add((None, id), now)
                pending.head_sent_at = now
                small = self._small
                if small is not None and small.id == id and session.established.version >= RELAY_VERSION:
                    self._links.send(session, small)

    # ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_transactions(self, session: Session, message: AnnounceTransactions, now: Millis) -> None:
        """Have unknown transactions fetched."""
        for id in message.ids:
            session.known.add((Kind.TRANSACTION, id), now)
            self._pending[session.peer].transactions.pop(id, None)
            if not self._ignored.has((Kind.TRANSACTION, id), now) and not self._chain.has(Kind.TRANSACTION, id):
                self._offer(Kind.TRANSACTION, id, id, session)

    def on_updates(self, session: Session, message: AnnounceUpdates, now: Millis) -> None:
        """Have updates fetched that are unknown here in this version."""
        for notice in message.notices:
            session.known.add((Kind.UPDATE, notice.version), now)
            if not self._ignored.has((Kind.UPDATE, notice.version), now) and self._is_news(notice):
                self._offer(Kind.UPDATE, notice.version, notice.id, session)

    def _is_news(self, notice: UpdateNotice) -> bool:
        ours = self._chain.update_version(notice.id)
        return not self._chain.has(Kind.UPDATE, notice.id) if ours is None else ours != notice.version

    def _on_up(self, session: Session, now: Millis) -> None:
        self._pending[session.peer] = _Pending(head_sent_at=Millis(now - HEAD_MS), head_due=now)
        session.known.add((None, session.head), now)

    def _on_down(self, session: Session, now: Millis) -> None:
        del self._pending[session.peer]
