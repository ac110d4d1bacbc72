"""The time a validator listens after a start, before it signs: its peers may know of votes that its journal does not.

It lasts 3 Δ after the first peer came; a validator that is a quorum by itself waits that long without peers too. Who
has no peers otherwise goes on waiting: alone it could finalise nothing.
"""

from typing import Final

from chain.genesis import PosParameters
from chain.ids import AccountId, Millis
from consensus.pos.validators import ValidatorSet
from node.core.turn import Turn
from p2p.events import PeerId

_DELTAS: Final = 3


class Grace:
    """Waits once after a start."""

    def __init__(self, parameters: PosParameters, account: AccountId | None) -> None:
        self._span = _DELTAS * parameters.delta_ms
        self._account = account
        self._peers: dict[PeerId, None] = {}
        self._ends: Millis | None = None
        self._is_alone_enough = False
        self.is_over = False

    def begin(self, set: ValidatorSet, turn: Turn) -> None:
        """The node has started."""
        if self._account is not None and set.is_quorum(set.power(self._account)):
            self._is_alone_enough = True
            self._end_at(turn)

    def on_peer(self, peer: PeerId, turn: Turn) -> None:
        """A peer came: it tells what it knows of this key."""
        self._peers[peer] = None
        if self._ends is None and not self.is_over:
            self._end_at(turn)

    def on_peer_down(self, peer: PeerId) -> None:
        """A peer left; if it was the last, it may not have said all."""
        self._peers.pop(peer, None)
        if not self._peers and not self._is_alone_enough:
            self._ends = None

    def _end_at(self, turn: Turn) -> None:
        self._ends = Millis(turn.now + self._span)
        turn.wake(self._ends)

    def is_due(self, now: Millis) -> bool:
        """Is the time over?"""
        return self._ends is not None and now >= self._ends

    def end(self) -> None:
        """Note that the validator may sign."""
        self.is_over = True
