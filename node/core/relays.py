"""Relays: which peers tell this node of final blocks; the others are asked for quiet.

A final block goes from node to node over every connection, so a node with eight peers hears of it up to eight times.
Two that tell it are enough while all goes well: those who were first stay, one at least of those this node chose to
dial, and whoever comes after them is asked for quiet (``p2p.quiet``). All are asked to tell again as soon as one who
told is gone, when a view lasts too long, as everything is said again then, and when the head is old, whatever the two
tell: they may tell late, or tell that a block is final and keep the block. If it turns out that the others knew what
the two did not tell, nobody is asked for quiet for a while, that doubles each time: who lies by silence delays a block
now and then, ever more rarely, and never by more than ``LATE_DELTAS`` and a way there and back.
"""

from typing import Final

from chain.ids import Millis
from consensus.pos.votes import Certificate
from node.core.turn import Turn
from p2p.events import PeerId
from p2p.network import PeerNetwork

TELLERS: Final = 2
"""Peers that tell of each final block."""
FIRST_REST: Final = 16
"""Final blocks for which nobody is asked for quiet after it had kept one back; doubles each time, up to"""
LONGEST_REST: Final = 4096
LATE_DELTAS: Final = 6
"""A head is old so many Δ after the next block was due: a leader who is silent costs 3 Δ, the next one may take as
long."""
CALM_MS: Final = 10_000
"""After all were asked to tell again nobody is asked for quiet for so long: who comes and goes does not make this node
ask more often than its peers hear it (``p2p.limits.RATES``)."""


class Relays:
    """Asks for quiet, and to tell again. ``patience_ms``: a head of that age is old."""

    def __init__(self, network: PeerNetwork, patience_ms: int) -> None:
        self._network = network
        self._patience_ms = patience_ms
        self._is_late = False
        self._calm_until = Millis(0)
        self._quiet: dict[PeerId, None] = {}
        self._recalled: dict[PeerId, None] = {}
        self._tellers: list[PeerId] = []
        self._last_tellers: list[PeerId] = []
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
            if turn.now >= self._calm_until and self._are_enough(peer):
                self._quiet[peer] = None
                turn.network(self._network.ask_quiet(peer, turn.now, quiet=True))
            else:
                self._tellers.append(peer)

    def _on_news(self, peer: PeerId) -> None:
        if peer in self._recalled:  # it knew, and those who were to tell did not
            self._take_rest()
        self._resting = max(0, self._resting - 1)
        self._recalled.clear()
        self._last_tellers, self._tellers = self._tellers, []

    def _take_rest(self) -> None:
        self._resting = self._rest
        self._rest = min(2 * self._rest, LONGEST_REST)

    def _are_enough(self, peer: PeerId) -> bool:
        """Did enough others tell of this block, one of them a peer of this node's choice if ``peer`` is one?"""
        if self._resting or self._is_late or len(self._tellers) < TELLERS:
            return False
        chosen = self._network.is_chosen
        return not chosen(peer) or any(map(chosen, self._tellers))

    def watch(self, head_ms: Millis, turn: Turn, *, is_missing: bool) -> None:
        """Let everybody tell again if the head, of the time ``head_ms``, is old.

        ``is_missing``: a block is known to be final that is not here, so those who told of it did not bring it.
        """
        self._is_late = turn.now - head_ms > self._patience_ms
        if self._is_late and self._quiet:
            self.recall(turn)
            if is_missing:
                self._recalled.clear()
                self._take_rest()

    def recall(self, turn: Turn) -> None:
        """Let everybody tell again: a block is late."""
        if self._quiet:
            self._calm_until = Millis(turn.now + CALM_MS)
        for peer in self._quiet:
            turn.network(self._network.ask_quiet(peer, turn.now, quiet=False))
        self._recalled.update(self._quiet)
        self._quiet.clear()

    def on_peer_down(self, peer: PeerId, turn: Turn) -> None:
        """Let everybody tell again if one who told is gone."""
        self._recalled.pop(peer, None)
        if peer in self._quiet:
            del self._quiet[peer]
        elif peer in self._tellers or peer in self._last_tellers:
            self._tellers = [each for each in self._tellers if each != peer]
            self._last_tellers = [each for each in self._last_tellers if each != peer]
            self.recall(turn)
            self._recalled.clear()  # nobody has kept anything back
