"""Messages of a consensus engine between nodes: opaque bytes, sent at once, each heard once.

What a message means, whom it is for and whether it is worth passing on is the core's to say. This file keeps who has
what: nothing is sent to a peer that is known to have it, and what arrives again within a short time is left out, so
that the same vote coming from every side costs one look at it.
"""

from collections.abc import Collection

from chain.hashing import content_id
from chain.ids import Hash, Millis
from p2p.events import EngineArrived, PeerId
from p2p.limits import ENGINE_REPEAT_MS, MAX_ENGINE_HEARD
from p2p.links import Links
from p2p.messages import EngineMessage
from p2p.recent import RecentSet
from p2p.session import Session


class EngineGossip:
    """Engine messages out and in."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._heard: RecentSet[Hash] = RecentSet(MAX_ENGINE_HEARD, ENGINE_REPEAT_MS)

    def tell(
        self, data: bytes, to: Collection[PeerId] | None, now: Millis, *, passing: bool = False, again: bool = False
    ) -> None:
        """Send a message to these peers (None: to all), but for those that have it unless ``again``.

        ``passing`` asks them to pass it on: this node does not reach everybody whom it concerns.
        """
        id = content_id(data)
        self._heard.add(id, now)
        message = EngineMessage(data, passing)
        sessions = self._links.ready if to is None else {peer: self._links.ready[peer] for peer in self._present(to)}
        for session in sessions.values():
            is_known = session.known.has((None, id), now)
            if (again or not is_known) and self._links.send(session, message):
                session.known.add((None, id), now)

    def _present(self, peers: Collection[PeerId]) -> list[PeerId]:
        return [peer for peer in peers if peer in self._links.ready]

    def on_message(self, session: Session, message: EngineMessage, now: Millis) -> None:
        """Hand a message to the core, unless it was heard just now."""
        id = content_id(message.data)
        session.known.add((None, id), now)
        if not self._heard.has(id, now):
            self._heard.add(id, now)
            self._links.emit(EngineArrived(session.peer, message.data, message.passing))
