"""The monitor: in which state the node is, how fast it gets on, and when it will be there.

A node that has just met its first peers is not synced before they have been asked what they know: until then its
head may be of last week, and its roles must not act on it.
"""

from collections import deque
from typing import Final

from chain.ids import Height, Millis
from node.core.chain import Chain
from node.core.config import CoreConfig
from node.core.messages import HeadChanged, StateAdopted, StateChanged, StateGrew
from node.core.turn import Turn
from node.events import Started, Tick
from node.notices import StatusChanged
from node.status import State, Status
from p2p.events import HeadersArrived, PeerDown, PeerUp
from p2p.network import PeerNetwork

_WINDOW_MS: Final = 10_000
"""The rate is measured over so long."""
_NEAR_BLOCKS: Final = 2
"""So many headers ahead are everyday: their bodies are on the way."""
_NEAR_MS: Final = 3_000
"""Unless they take longer than this to be connected."""


class Monitor:
    """Watches the head against the best chain known."""

    def __init__(self, config: CoreConfig, chain: Chain, network: PeerNetwork) -> None:
        self._config = config
        self._chain = chain
        self._network = network
        self._moves: deque[tuple[Millis, Height]] = deque()
        self._moved: Millis = Millis(0)
        self._behind_since: Millis | None = None
        self._peers = 0
        self._has_asked_around = False
        self._is_withheld = False
        self._state: State = "offline"

    @property
    def state(self) -> State:
        """The state at the last event."""
        return self._state

    @property
    def is_withheld(self) -> bool:
        """Is a better chain known that does not come? A header without its body must stop nobody.

        Whoever finds a block can announce its header and keep the body, or lose it in a power cut.
        """
        return self._is_withheld

    @property
    def has_peers(self) -> bool:
        """Is any peer connected?"""
        return self._peers > 0

    def on_started(self, event: Started, turn: Turn) -> None:
        """Begin to watch."""
        self._moved = turn.now
        self._refresh(turn)

    def on_peer_up(self, up: PeerUp, turn: Turn) -> None:
        """Count a peer."""
        self._peers += 1
        self._refresh(turn)

    def on_peer_down(self, down: PeerDown, turn: Turn) -> None:
        """Count a peer that left."""
        self._peers -= 1
        self._refresh(turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Take note of progress: towards the best chain, for on others a node gets on whatever is withheld from it."""
        if self._is_on_the_way():
            self._moved = turn.now
            if len(changed.connected) > _NEAR_BLOCKS:
                self._is_withheld = False
        self._moves.append((turn.now, self._chain.height))
        self._refresh(turn)

    def _is_on_the_way(self) -> bool:
        tree = self._chain.tree
        return tree.ancestor_id(tree.best(), self._chain.height) == self._chain.head_id

    def on_grown(self, grew: StateGrew, turn: Turn) -> None:
        """Take note of progress that moves no head."""
        self._moved = turn.now

    def on_adopted(self, adopted: StateAdopted, turn: Turn) -> None:
        """Take note of progress that says nothing about the next blocks."""
        self._moved = turn.now
        self._moves.clear()
        self._refresh(turn)

    def on_headers(self, arrived: HeadersArrived, turn: Turn) -> None:
        """Look how far ahead others are."""
        is_as_before = self._state == "synced" and self._behind_since is None and self._chain.is_caught_up()
        if not is_as_before or self._chain.find_stop() is not None:
            self._refresh(turn)

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Look at what time alone changes."""
        self._refresh(turn)

    def _refresh(self, turn: Turn) -> None:
        while self._moves and self._moves[0][0] < turn.now - _WINDOW_MS:
            self._moves.popleft()
        is_caught_up = self._chain.is_caught_up()
        if self._peers == 0:
            self._has_asked_around = False
        elif is_caught_up and not self._network.is_asking():
            self._has_asked_around = True
        if is_caught_up:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = turn.now
        target = self._chain.tree.height(self._chain.tree.best())
        state, reason = self._judge(turn.now, target)
        self._is_withheld = self._has_waited_long(turn.now, target)
        if state != self._state:
            self._state = state
            turn.publish(StatusChanged(state, reason))
            turn.tell(StateChanged(state))

    def status(self, now: Millis) -> Status:
        """Return the node's state and its figures."""
        target = self._chain.tree.height(self._chain.tree.best())
        state, reason = self._judge(now, target)
        rate = self._rate_milli()
        left = max(0, target - self._chain.height)
        eta = left * 1_000_000 // rate if rate and state == "syncing" else 0
        return Status(state, reason, self._chain.height, target, rate, eta, self._peers)

    def _judge(self, now: Millis, target: Height) -> tuple[State, str]:
        stop = self._chain.find_stop()
        if stop is not None:
            return "outdated", stop
        if self._behind_since is not None:
            waiting_since = max(self._moved, self._behind_since)
            if now - waiting_since > self._config.stall_ms:
                return "stalled", self._find_cause(target)
            is_near = target - self._chain.height <= _NEAR_BLOCKS and now - self._behind_since <= _NEAR_MS
            if not is_near:
                return "syncing", ""
        if self._is_below_checkpoint():
            return "syncing", f"the trusted checkpoint {self._config.checkpoint} was not seen on any chain yet"
        if self._peers:
            return ("synced", "") if self._has_asked_around else ("syncing", "asking peers for their headers")
        if self._network.known_addresses():
            return "connecting", "no peer answers yet"
        return "offline", "no peer is known"

    def _is_below_checkpoint(self) -> bool:
        """May this still be another past than the operator's? Nothing below the checkpoint shows which it is."""
        point = self._config.checkpoint
        return point is not None and self._chain.height < point.height

    def _has_waited_long(self, now: Millis, target: Height) -> bool:
        """Has nothing moved for longer than the next block, or the next of many, may take?

        Once that was so it takes more than a block now and then to trust in the rest of that chain again.
        """
        if self._behind_since is None or self._is_below_checkpoint():
            return False
        if self._is_withheld:
            return True
        is_near = target - self._chain.height <= _NEAR_BLOCKS
        return now - max(self._moved, self._behind_since) > (_NEAR_MS if is_near else self._config.stall_ms)

    def _find_cause(self, target: Height) -> str:
        """Say why nothing moves although a better chain is known."""
        missing = self._chain.tree.missing_blocks(1)
        if not missing:
            return f"the best chain (height {target}) is here and is not being connected"
        id = missing[0]
        what = "payloads" if self._chain.world.store.has_body(id) else "the body"
        return f"{what} of block {id.hex()} (height {self._chain.tree.height(id)}) can't be had from any peer"

    def _rate_milli(self) -> int:
        """Return the blocks per 1000 seconds in the last window, 0 if nothing moved."""
        if len(self._moves) < 2:
            return 0
        (began, low), (ended, high) = self._moves[0], self._moves[-1]
        return max(0, high - low) * 1_000_000 // max(1, ended - began)
