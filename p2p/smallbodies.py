"""Small bodies: what comes with a head instead of being asked for, which would take another way there and back.

Who announces a block sends its body along if that has ``MAX_SMALL_BODY`` bytes at most, and who proposes one, if it has
``MAX_PROPOSED_BODY``: those it goes to have to vote on it, and nobody else has it. It is held until the core wants it,
which may be never: the last one of each peer, so that what nobody asked for takes one such body of memory a peer.
"""

from typing import Final

from chain.block import Body
from chain.codec import encode
from chain.ids import Hash, Millis
from p2p.events import PeerId
from p2p.limits import MAX_PROPOSED_BODY, MAX_SMALL_BODY, PROPOSAL_VERSION
from p2p.links import Links
from p2p.messages import SmallBody
from p2p.session import Session

_LEAST: Final = 64
"""Bytes that a transaction or update takes at least: of a body of very many none is encoded to find out."""


def make_small_body(id: Hash, body: Body, most: int = MAX_SMALL_BODY) -> SmallBody | None:
    """Return the message that brings this body along; None if it has more than ``most`` bytes."""
    if len(body.updates) + len(body.transactions) > most // _LEAST or len(encode(body)) > most:
        return None
    return SmallBody(id, body)


def find_most(session: Session) -> int:
    """Return how many bytes a body may have that this peer sends unasked, or is sent."""
    return MAX_PROPOSED_BODY if session.established.version >= PROPOSAL_VERSION else MAX_SMALL_BODY


class SmallBodies:
    """The last small body of each peer."""

    def __init__(self, links: Links) -> None:
        self._held: dict[PeerId, SmallBody] = {}
        links.on_down.append(self._on_down)

    def hold(self, peer: PeerId, message: SmallBody) -> None:
        """Keep a body that nobody wants yet, in the place of the peer's last one."""
        self._held[peer] = message

    def take(self, block: Hash) -> tuple[PeerId, Body] | None:
        """Return the body of this block and who sent it, if one is held, and hold it no longer."""
        for peer, message in self._held.items():
            if message.id == block:
                del self._held[peer]
                return peer, message.body
        return None

    def _on_down(self, session: Session, now: Millis) -> None:
        self._held.pop(session.peer, None)
