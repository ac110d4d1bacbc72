"""Who is not spoken to for a while: identities, and hosts they came from.

A loopback host is never banned, because every node on a machine has it. Memory is bounded: of too many bans the oldest
are forgotten.
"""

from chain.ids import Millis
from p2p.endpoints import Reach, reach_of
from p2p.events import PeerId
from p2p.limits import MAX_BANS
from p2p.recent import RecentSet


class Bans:
    """Bans of ``ban_ms`` each."""

    def __init__(self, ban_ms: int) -> None:
        self._peers: RecentSet[PeerId] = RecentSet(MAX_BANS, ban_ms)
        self._hosts: RecentSet[str] = RecentSet(MAX_BANS, ban_ms)

    def ban_peer(self, peer: PeerId, now: Millis) -> None:
        """Ban an identity."""
        self._peers.add(peer, now)

    def ban_host(self, host: str, now: Millis) -> None:
        """Ban a host, unless it is this machine."""
        if reach_of(host) is not Reach.LOOPBACK:
            self._hosts.add(host, now)

    def has_peer(self, peer: PeerId, now: Millis) -> bool:
        """Is the identity banned?"""
        return self._peers.has(peer, now)

    def has_host(self, host: str, now: Millis) -> bool:
        """Is the host banned?"""
        return self._hosts.has(host, now)
