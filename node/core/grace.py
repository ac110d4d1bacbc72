"""The time a validator listens after a start, before it signs: its peers may know of votes that its journal does not.

Whoever comes first may be a stranger who says nothing. So the time counts from when peers were connected that
are validators of the epoch's set with more than a third of its stake: any certificate that took this validator's vote
has a signer among them. It lasts 3 Δ from then, and begins anew if so many are not connected any more. Where it never
comes to that, as where validators are not connected to each other directly, 30 Δ after the first peer came are enough,
so that every network starts. A validator that is a quorum by itself waits for 3 Δ without peers too; who has no peers
otherwise goes on waiting: alone it could finalise nothing.
"""

from typing import Final

from chain.genesis import PosParameters
from chain.ids import AccountId, Millis
from consensus.pos.validators import ValidatorSet
from node.core.turn import Turn
from p2p.events import PeerId

_DELTAS: Final = 3
_FALLBACK_DELTAS: Final = 30


class Grace:
    """Waits once after a start."""

    def __init__(self, parameters: PosParameters, account: AccountId | None) -> None:
        self._span = _DELTAS * parameters.delta_ms
        self._fallback = _FALLBACK_DELTAS * parameters.delta_ms
        self._account = account
        self._peers: dict[PeerId, None] = {}
        self._set: ValidatorSet | None = None
        self._knowing_ends: Millis | None = None
        self._fallback_ends: Millis | None = None
        self.is_over = False

    def on_set(self, set: ValidatorSet, turn: Turn) -> None:
        """The node has started, or an epoch begins: these vote in it."""
        self._set = set
        self._look(turn)

    def on_peer(self, peer: PeerId, turn: Turn) -> None:
        """A peer came: it tells what it knows of this key."""
        self._peers[peer] = None
        self._look(turn)

    def on_peer_down(self, peer: PeerId, turn: Turn) -> None:
        """A peer left; it may not have said all."""
        self._peers.pop(peer, None)
        self._look(turn)

    def _look(self, turn: Turn) -> None:
        """Let the times run, or stop them, as those who are here ask for."""
        if self.is_over or self._account is None:
            return
        self._knowing_ends = self._run(self._knowing_ends, self._span, turn, runs=self._is_known_to_peers())
        self._fallback_ends = self._run(self._fallback_ends, self._fallback, turn, runs=bool(self._peers))

    @staticmethod
    def _run(ends: Millis | None, span: int, turn: Turn, *, runs: bool) -> Millis | None:
        if not runs:
            return None
        if ends is None:
            ends = Millis(turn.now + span)
            turn.wake(ends)
        return ends

    def _is_known_to_peers(self) -> bool:
        """Would somebody here know of every certificate that took this validator's vote?"""
        set = self._set
        if set is None:
            return False
        if self._account is not None and set.is_quorum(set.power(self._account)):
            return True
        return 3 * sum(set.power(AccountId(peer)) for peer in self._peers if peer != self._account) > set.total

    def is_due(self, now: Millis) -> bool:
        """Is the time over?"""
        return any(ends is not None and now >= ends for ends in (self._knowing_ends, self._fallback_ends))

    def end(self) -> None:
        """Note that the validator may sign."""
        self.is_over = True
