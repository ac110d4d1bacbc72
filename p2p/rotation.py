"""When the head is old: look at somebody else, and part with whom we learn least from.

A node whose peers all keep the news from it sees nothing wrong but a head that does not move. So after
``stale_ms`` without a new head one connection more is dialled. When it has had ``EXTRA_MS`` to show what it has, the
least useful of the chosen outbound peers goes: who brought a body longest ago, the youngest if none ever did.
"""

from chain.ids import Millis
from p2p.access import ChainAccess
from p2p.dialer import Dialer, Purpose
from p2p.limits import EXTRA_MS
from p2p.links import Links


class Rotation:
    """Adds and takes away one outbound connection while the head does not move."""

    def __init__(self, links: Links, chain: ChainAccess, dialer: Dialer, outbound: int, stale_ms: int) -> None:
        self._links = links
        self._chain = chain
        self._dialer = dialer
        self._outbound = outbound
        self._stale_ms = stale_ms
        self._head = chain.head()
        self._looked_at: Millis | None = None  # when the head moved, or somebody was last added

    def tick(self, now: Millis) -> None:
        """Add somebody if the head is old, let the least useful go if there is one too many."""
        head = self._chain.head()
        if head != self._head or self._looked_at is None:
            self._head, self._looked_at = head, now
        elif now - self._looked_at >= self._stale_ms:
            self._looked_at = now
            self._dialer.extra = 1
        self._part(now)

    def _part(self, now: Millis) -> None:
        """If there is one too many, and all had time to show what they have, let the least useful one go."""
        dialled = [session for session in self._links.ready.values() if session.outbound]
        if len(dialled) <= self._outbound or any(now - session.since < EXTRA_MS for session in dialled):
            return
        self._dialer.extra = 0
        chosen = [each for each in dialled if self._dialer.purpose_of(each.endpoint) is not Purpose.KEPT]
        if chosen:
            least = min(chosen, key=lambda session: (session.body_at, -session.since))
            self._links.close(least, "making room for a peer that may know more", now)
