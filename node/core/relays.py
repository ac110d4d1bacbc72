"""Relays: which peers tell this node of final blocks; the others are asked for quiet.

A final block goes from node to node over every connection, so a node with eight peers hears of it up to eight times.
Two that tell it are enough while all goes well: those who were first stay, one at least of those this node chose to
dial, and whoever comes after them is asked for quiet (``p2p.quiet``). All are asked to tell again as soon as one who
told is gone, and when a view lasts too long, as everything is said again then. If it turns out that they knew what the
two did not tell, nobody is asked for quiet for a while, that doubles each time: who lies by silence delays a block now
and then, ever more rarely.
"""

from typing import Final

from consensus.pos.votes import Certificate
from node.core.turn import Turn
from p2p.events import PeerId
from p2p.network import PeerNetwork

TELLERS: Final = 2
"""Peers that tell of each final block."""
FIRST_REST: Final = 16
"""Final blocks for which nobody is asked for quiet after it had kept one back; doubles each time, up to"""
LONGEST_REST: Final = 4096


class Relays:
    """Asks for quiet, and to tell again."""

    def __init__(self, network: PeerNetwork) -> None:
        self._network = network
        self._quiet: dict[PeerId, None] = {}
        self._recalled: dict[PeerId, None] = {}
        self._tellers: list[PeerId] = []
        self._place = 0, 0
        self._rest = FIRST_REST
        self._resting = 0

    def heard(self, peer: PeerId, certificate: Certificate, turn: Turn) -> None:
        """Take note that a peer told of a final block, which is known to be final here by now."""
        place = certificate.epoch, certificate.view
        if place > self._place:
            self._on_news(peer)
            self._place = place
        if place == self._place and peer not in self._tellers and peer not in self._quiet:
            if self._are_enough(peer):
                self._quiet[peer] = None
                turn.network(self._network.ask_quiet(peer, turn.now, quiet=True))
            else:
                self._tellers.append(peer)

    def _on_news(self, peer: PeerId) -> None:
        if peer in self._recalled:  # it knew, and those who were to tell did not
            self._resting = self._rest
            self._rest = min(2 * self._rest, LONGEST_REST)
        self._resting = max(0, self._resting - 1)
        self._recalled.clear()
        self._tellers.clear()

    def _are_enough(self, peer: PeerId) -> bool:
        """Did enough others tell of this block, one of them a peer of this node's choice if ``peer`` is one?"""
        if self._resting or len(self._tellers) < TELLERS:
            return False
        chosen = self._network.is_chosen
        return not chosen(peer) or any(map(chosen, self._tellers))

    def recall(self, turn: Turn) -> None:
        """Let everybody tell again: a block is late."""
        for peer in self._quiet:
            turn.network(self._network.ask_quiet(peer, turn.now, quiet=False))
        self._recalled.update(self._quiet)
        self._quiet.clear()

    def on_peer_down(self, peer: PeerId, turn: Turn) -> None:
        """Let everybody tell again if one who told is gone."""
        self._recalled.pop(peer, None)
        if peer in self._quiet:
            del self._quiet[peer]
        elif peer in self._tellers:
            self._tellers.remove(peer)
            self.recall(turn)
            self._recalled.clear()  # nobody has kept anything back
