"""Messages of a consensus engine between nodes: opaque bytes, sent at once, each heard once.

What a message means, whom it is for and whether it is worth passing on is the core's to say; so is its key, under which
messages that are worth the same count as one. This file keeps who has what: nothing is sent to a peer that is known to
have it, and what arrives again within a short time is left out, so that the same vote coming from every side costs one
look at it.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Final

from chain.hashing import content_id
from chain.ids import Hash, Millis
from p2p.events import EngineArrived, PeerId
from p2p.limits import ENGINE_REPEAT_MS, MAX_ENGINE_HEARD
from p2p.links import Links
from p2p.messages import EngineMessage
from p2p.recent import RecentSet
from p2p.session import Session

_REMEMBERED_BYTES: Final = 4 * 1024


def _from_them(key: Hash) -> Hash:
    """Return what is remembered under when a peer has a message for certain: it sent it."""
    return content_id(key)


def _id_of(data: bytes) -> Hash:
    return _id_again(data) if len(data) <= _REMEMBERED_BYTES else content_id(data)


@lru_cache(maxsize=256)
def _id_again(data: bytes) -> Hash:
    return content_id(data)


class EngineGossip:
    """Engine messages out and in."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._heard: RecentSet[Hash] = RecentSet(MAX_ENGINE_HEARD, ENGINE_REPEAT_MS)

    def tell(
        self,
        data: bytes,
        key: Hash,
        to: Collection[PeerId] | None,
        now: Millis,
        *,
        passing: bool = False,
        again: bool = False,
        sparing: bool = False,
    ) -> list[PeerId]:
        """Send a message to these peers (None: to all), but for those that have one with its ``key``.

        With ``again`` only who sent one itself counts as having it: what was sent to a peer may not have come to it.

        With ``sparing`` those are left out that asked for quiet. ``passing`` asks them to pass it on: this node does
        not reach everybody whom it concerns. Returns the peers that are connected of those named.
        """
        self._heard.add(_id_of(data), now)
        message = EngineMessage(data, passing)
        sessions = self._links.ready if to is None else {peer: self._links.ready[peer] for peer in self._present(to)}
        for session in sessions.values():
            if sparing and session.wants_quiet:
                continue
            is_known = session.known.has((None, _from_them(key) if again else key), now)
            if not is_known and self._links.send(session, message):
                session.known.add((None, key), now)
        return list(sessions)

    def has(self, peer: PeerId, key: Hash, now: Millis, *, sent: bool = False) -> None:
        """Note that a peer has a message with this key: it ``sent`` it, or something else shows it."""
        session = self._links.ready.get(peer)
        if session is not None:
            session.known.add((None, key), now)
            if sent:
                session.known.add((None, _from_them(key)), now)

    def _present(self, peers: Collection[PeerId]) -> list[PeerId]:
        return [peer for peer in peers if peer in self._links.ready]

    def on_message(self, session: Session, message: EngineMessage, now: Millis) -> None:
        """Hand a message to the core, unless it was heard just now."""
        id = _id_of(message.data)
        if not self._heard.has(id, now):
            self._heard.add(id, now)
            self._links.emit(EngineArrived(session.peer, message.data, message.passing))
