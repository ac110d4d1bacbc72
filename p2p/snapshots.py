"""Asking peers for parts of a state, and answering them: who serves which, what was asked, and until when.

What a question and its answer hold is the core's (``node.core.statesync``): here they are bytes with a limit. A peer
that serves another state by now says so instead, and which; so does one that has given its asker more than its share
while others ask too. Who lets a question's time run out loses a strike.
"""

from hashlib import sha256

from chain.ids import Hash, Millis
from p2p.access import ChainAccess
from p2p.events import PartArrived, PeerId, PeerServes, StateOffer
from p2p.fairshare import FairShare
from p2p.limits import MAX_PART_BYTES, MAX_STRIKES, PART_ANSWER_MS, PARTS_IN_FLIGHT, MessageClass
from p2p.links import Links
from p2p.messages import GetPart, GetServed, NoPart, Part, Served, ServedState
from p2p.session import Session

_SERVED: Hash = Hash(bytes(32))
"""What the answer to a question for the states served is owed under."""


def part_id(block: Hash, question: bytes) -> Hash:
    """Return the name of a question on the wire."""
    return Hash(sha256(block + question).digest())


class SnapshotExchange:
    """Questions under way with their deadlines, and the server's side."""

    def __init__(self, links: Links, chain: ChainAccess) -> None:
        self._links = links
        self._chain = chain
        self._share = FairShare(links)
        self._asked: dict[tuple[PeerId, Hash], tuple[Hash, bytes, Millis]] = {}
        links.on_down.append(self._on_down)

    @property
    def is_asking(self) -> bool:
        """Is the answer to a question awaited?"""
        return bool(self._asked)

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def ask_served(self, now: Millis) -> None:
        """Ask every peer which states it serves; each answer is heard as ``PeerServes``."""
        for session in self._links.ready.values():
            is_owed = (_SERVED, 0) in session.owed[MessageClass.SNAPSHOTS]
            if not is_owed and self._links.send(session, GetServed()):
                session.owes(MessageClass.SNAPSHOTS, _SERVED, now)

    def ask(self, peer: PeerId, block: Hash, question: bytes, now: Millis) -> bool:
        """Ask a peer for a part; False if it is gone or owes enough. The end is heard as ``PartArrived``."""
        session = self._links.ready.get(peer)
        if session is None or len(session.owed[MessageClass.SNAPSHOTS]) >= PARTS_IN_FLIGHT:
            return False
        id = part_id(block, question)
        if (id, 0) in session.owed[MessageClass.SNAPSHOTS] or not self._links.send(session, GetPart(block, question)):
            return False
        session.owes(MessageClass.SNAPSHOTS, id, now)
        self._asked[peer, id] = (block, question, Millis(now + PART_ANSWER_MS))
        return True

    def tick(self, now: Millis) -> None:
        """Give up on answers that are late."""
        late = [key for key, (_, _, deadline) in self._asked.items() if now >= deadline]
        for peer, id in late:
            self._end(peer, id, None)
        for peer in dict.fromkeys(peer for peer, _ in late):
            session = self._links.ready.get(peer)
            if session is not None:
                self._links.strike(session, MAX_STRIKES, now)

    def _end(self, peer: PeerId, id: Hash, data: bytes | None) -> None:
        """Tell the core how a question ended, unless it was given up before."""
        asked = self._asked.pop((peer, id), None)
        if asked is not None:
            self._links.emit(PartArrived(peer, asked[0], asked[1], data))

    def _on_down(self, session: Session, now: Millis) -> None:
        for peer, id in [key for key in self._asked if key[0] == session.peer]:
            self._end(peer, id, None)

    def on_served(self, session: Session, message: Served, now: Millis) -> None:
        """Tell the core what a peer serves."""
        session.settle(MessageClass.SNAPSHOTS, _SERVED)
        self._links.emit(PeerServes(session.peer, _offers(message.blocks)))

    def on_part(self, session: Session, message: Part, now: Millis) -> None:
        """Hand a part to the core."""
        session.settle(MessageClass.SNAPSHOTS, message.id)
        self._end(session.peer, message.id, message.data)

    def on_no_part(self, session: Session, message: NoPart, now: Millis) -> None:
        """Tell the core that the peer does not serve this state, and which it serves instead."""
        session.settle(MessageClass.SNAPSHOTS, message.id)
        self._links.emit(PeerServes(session.peer, _offers(message.blocks)))
        self._end(session.peer, message.id, None)

    # ── answering ─────────────────────────────────────────────────────────────────────────────────────────────────

    def on_get_served(self, session: Session, message: GetServed, now: Millis) -> None:
        """Say which states are served here."""
        self._links.send(session, Served(self._served()))

    def on_get_part(self, session: Session, message: GetPart, now: Millis) -> None:
        """Answer from the state that is held; nothing is read for which there is no room."""
        if not session.has_room(MessageClass.SNAPSHOTS, MAX_PART_BYTES):
            return
        id = part_id(message.block, message.question)
        has_turn = self._share.has_turn(session, now)
        data = self._chain.state_part(message.block, message.question) if has_turn else None
        session.budget.serve(0 if data is None else len(data), now)
        answer = NoPart(id, self._served()) if data is None else Part(id, data)
        self._links.send(session, answer)

    def _served(self) -> tuple[ServedState, ...]:
        return tuple([ServedState(offer.height, offer.block) for offer in self._chain.served_states()])


def _offers(blocks: tuple[ServedState, ...]) -> tuple[StateOffer, ...]:
    return tuple([StateOffer(state.height, state.block) for state in blocks])
