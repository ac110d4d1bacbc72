"""Whose turn it is to be served: everybody's while nobody else asks, otherwise of those within their share.

So one peer that asks for all there is, again and again, takes nothing from the others, and a node that syncs from us
while we are idle is not held up.
"""

from chain.ids import Millis
from p2p.events import PeerId
from p2p.limits import CONTENTION_MS
from p2p.links import Links
from p2p.session import Session


class FairShare:
    """Remembers who asked when."""

    def __init__(self, links: Links) -> None:
        self._asked_at: dict[PeerId, Millis] = {}
        links.on_down.append(self._on_down)

    def has_turn(self, session: Session, now: Millis) -> bool:
        """Note that a peer asks; may it be served now?"""
        self._asked_at[session.peer] = now
        return not session.budget.is_in_debt(now) or not self._is_contended(session, now)

    def _is_contended(self, session: Session, now: Millis) -> bool:
        return any(now - at < CONTENTION_MS for peer, at in self._asked_at.items() if peer != session.peer)

    def _on_down(self, session: Session, now: Millis) -> None:
        self._asked_at.pop(session.peer, None)
