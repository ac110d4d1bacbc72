"""Who lied to this light node: the last few, with what about and when, for whoever looks at its status.

A lie is what can't be an honest node's: a value that does not prove itself, a header that breaks a rule, a certificate
or the proof of an epoch that too few signed. Its teller is banned (``p2p``); here it is remembered until the node ends.
"""

from typing import Final

from chain.ids import Height
from node.core.turn import Turn
from node.notices import PeerLied
from node.status import Liar
from p2p.events import PeerId, Verdict
from p2p.network import PeerNetwork

_MOST: Final = 16
_MAX_REASON: Final = 300
"""Characters kept of a reason: a part of it may be the liar's words."""


class Liars:
    """The liars, the last one at the end."""

    def __init__(self) -> None:
        self.seen: tuple[Liar, ...] = ()

    def condemn(self, peer: PeerId, height: int, lie: str, network: PeerNetwork, turn: Turn, about: str = "") -> None:
        """Part with a peer that lied, ban it, and remember; ``about`` goes before the lie in what it is told."""
        lie = lie[:_MAX_REASON]
        self.seen = (*self.seen, Liar(peer, Height(height), lie, turn.now))[-_MOST:]
        turn.publish(PeerLied(peer, Height(height), lie))
        turn.network(network.verdict(peer, Verdict.REJECT, about + lie, turn.now))
