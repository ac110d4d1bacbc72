"""In which state a light node is, in the words of ``node.status``, and what it trusts."""

from typing import Final

from chain.ids import Height, Millis
from node.core.turn import Turn
from node.events import Started, Tick
from node.light.chain import LightChain
from node.light.config import LightConfig
from node.light.source import TipMoved, TrustedHeaders
from node.light.statedesk import StateDesk, StateGained
from node.notices import StatusChanged
from node.status import State, Status
from p2p.events import PeerDown, PeerUp
from p2p.network import PeerNetwork

_NEAR_BLOCKS: Final = 2
"""The state may be looked at so many blocks below the best header: peers must execute it first."""
_NEAR_MS: Final = 3_000
"""And what is asked for after each block may take so long."""


class LightMonitor:
    """Watches the state looked at against the best header."""

    def __init__(
        self, config: LightConfig, source: TrustedHeaders, chain: LightChain, states: StateDesk, network: PeerNetwork
    ) -> None:
        self._config = config
        self._source = source
        self._chain = chain
        self._states = states
        self._network = network
        self._moved = Millis(0)
        self._has_seen_whole = False
        self._state: State = "offline"

    def on_any(self, event: Started | Tick | PeerUp | PeerDown, turn: Turn) -> None:
        """Look."""
        if isinstance(event, Started):
            self._moved = turn.now
        self._refresh(turn)

    def on_moved(self, event: TipMoved | StateGained, turn: Turn) -> None:
        """Take note of progress."""
        self._moved = turn.now
        self._has_seen_whole = self._has_seen_whole or self._states.is_whole
        self._refresh(turn)

    def _refresh(self, turn: Turn) -> None:
        status = self.status(turn.now)
        if status.state != self._state:
            self._state = status.state
            turn.publish(StatusChanged(status.state, status.reason))

    def status(self, now: Millis) -> Status:
        """Return the node's state and its figures. ``height`` is the block's after which the state is looked at."""
        peers = len(self._network.peers())
        state, reason = self._judge(now, peers)
        height, target = self._chain.height, self._source.best.height
        return Status(state, reason, height, Height(max(height, target)), 0, 0, peers)

    def _judge(self, now: Millis, peers: int) -> tuple[State, str]:
        stop = self._source.find_stop()
        if stop is not None:
            return "outdated", stop
        if not peers:
            is_known = bool(self._network.known_addresses())
            return ("connecting", "no peer answers yet") if is_known else ("offline", "no peer is known")
        if self._states.state is None or not self._source.is_past_checkpoint:
            return self._while_waiting(now, "headers that peers vouch for")
        if not self._states.is_whole and not self._is_everyday(now):
            return self._while_waiting(now, f"proofs of the state after block {self._chain.height}")
        if self._source.best.height - self._chain.height > _NEAR_BLOCKS and not self._is_everyday(now):
            return self._while_waiting(now, f"a peer that has executed block {self._source.best.height}")
        return "synced", ""

    def _is_everyday(self, now: Millis) -> bool:
        """Is what is missing just on its way, as after every block?"""
        return self._has_seen_whole and now - (self._states.waiting_since() or self._moved) <= _NEAR_MS

    def _while_waiting(self, now: Millis, what: str) -> tuple[State, str]:
        since = self._states.waiting_since() or self._moved
        is_late = now - max(since, Millis(0)) > self._config.stall_ms
        return ("stalled" if is_late else "syncing"), f"waits for {what}"
