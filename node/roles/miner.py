"""The miner where blocks cost work: builds blocks on the head and searches for their seals.

While one candidate is being sealed the next is built, when the head moves, when there is more to put in
(gathered for ``rebuild_delay_ms``), or when the candidate has become old. Sealing has no memory, so changing to a
fuller candidate costs nothing. Every block this node makes goes through the same importer as a stranger's. What a
miner does for local updates is the attester's (``node.roles.attester``).
"""

from typing import Final

from msgspec.structs import replace

from chain.block import Body, Header
from chain.ids import ZERO_HASH, Millis
from node.core.config import MinerConfig
from node.core.messages import BlockMade, HeadChanged, PayloadsLost, PoolGrew, StateChanged
from node.core.turn import Turn
from node.effects import Accepted
from node.events import MiningOrder, Shutdown, Started, Tick
from node.jobs.results import BlockBuilt, BlockSealed, BuildLacks, JobResult
from node.jobs.specs import BuildBlock, SealBlock
from node.roles.base import Surroundings
from node.roles.candidates import forget_hopeless, start_build

_REFRESH_MS: Final = 2_000
"""A candidate older than this is built again, so that a block's time is near the time it was found."""
_BUILD_SHARE: Final = 10
"""Building a fuller candidate again and again takes at most about this part of the time: a full block's worth of
transactions that comes in one by one would else keep a core busy."""
_PATIENCE_MS: Final = 30_000
"""So long a candidate stands at most that took long to build: one with thousands of updates, or one that settles."""
_GRACE_MS: Final = 3_000
"""A node that looks for peers waits so long for one before it mines alone."""


class Miner:
    """The part of the miner role that makes blocks by work."""

    def __init__(self, around: Surroundings, config: MinerConfig) -> None:
        self._around = around
        self._config = config
        self._started: Millis = Millis(0)
        self._build: int | None = None
        self._seal: int | None = None
        self._candidate: tuple[Header, Body] | None = None
        self._built_at: Millis = Millis(0)
        self._gather_ms = config.rebuild_delay_ms
        self._rebuild_at: Millis | None = None
        self._handed_over: Millis | None = None
        self.blocks = 0
        self.is_paused = False

    @property
    def height(self) -> int:
        """The height of the block it works on; 0 if it rests."""
        return 0 if self._candidate is None else self._candidate[0].height

    # --- when to build ----------------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Begin."""
        self._started = turn.now
        self._start_build(turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Leave the old candidate, work on the new head."""
        turn.cancel(self._seal)
        turn.cancel(self._build)
        self._seal = self._build = self._candidate = self._rebuild_at = self._handed_over = None
        self._start_build(turn)

    def on_pool_grew(self, grew: PoolGrew, turn: Turn) -> None:
        """Build again soon."""
        if self._rebuild_at is None:
            self._rebuild_at = Millis(turn.now + self._gather_ms)
            turn.wake(self._rebuild_at)

    def awaits_tick(self) -> bool:
        """Is there a block to build anew?"""
        return self._rebuild_at is not None

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Build again if it is due."""
        due = self._rebuild_at is not None and turn.now >= self._rebuild_at
        if self._build is None and (due or turn.now - self._built_at >= max(_REFRESH_MS, self._gather_ms)):
            self._start_build(turn)

    def on_state(self, changed: StateChanged, turn: Turn) -> None:
        """Begin to build when the head has become worth it; stop when the network has left its rules."""
        if changed.state == "outdated":
            self._rest(turn)
        elif self._candidate is None:
            self._start_build(turn)

    def on_mining_order(self, order: MiningOrder, turn: Turn) -> None:
        """Rest from building and sealing, or begin again. Verifying goes on."""
        self.is_paused = not order.enabled
        if self.is_paused:
            self._rest(turn)
        else:
            self._start_build(turn)
        turn.reply(order.request, Accepted(ZERO_HASH))

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Stop."""
        self.is_paused = True
        self._rest(turn)

    def _rest(self, turn: Turn) -> None:
        turn.cancel(self._seal)
        turn.cancel(self._build)
        self._seal = self._build = self._candidate = None

    def _may_mine(self, now: Millis) -> bool:
        """Is the head worth building on? Not while better blocks, one's own among them, are on their way."""
        monitor = self._around.monitor
        if self.is_paused or monitor.state == "outdated":
            return False
        if self._handed_over is not None and now - self._handed_over < _REFRESH_MS:
            return False
        if monitor.state in ("syncing", "stalled") and not monitor.is_withheld:
            return False
        return monitor.state != "connecting" or now - self._started >= _GRACE_MS

    # --- building and sealing ---------------------------------------------------------------------

    def _start_build(self, turn: Turn) -> None:
        if self._build is not None or not self._may_mine(turn.now):
            return
        chain = self._around.chain
        prepared = self._around.world.engine.prepare(chain.tree, chain.head_id, turn.now)
        self._built_at, self._rebuild_at = turn.now, None
        self._build = start_build(self._around, chain.head_id, prepared, turn)

    def on_built(self, spec: BuildBlock, result: JobResult, turn: Turn) -> None:
        """Seal the new candidate in place of the old one; forget what can never be included."""
        self._build = None
        took_ms = turn.now - self._built_at
        self._gather_ms = max(self._config.rebuild_delay_ms, min(_BUILD_SHARE * took_ms, _PATIENCE_MS))
        if isinstance(result, BuildLacks):
            turn.tell(PayloadsLost(spec.parent, result.refs))
        if not isinstance(result, BlockBuilt):
            return  # the head moved, or payloads are missing: the next tick or head tries again
        forget_hopeless(self._around, spec, result)
        turn.cancel(self._seal)
        self._candidate = result.header, result.body
        self._seal = turn.start(SealBlock(result.header, self._config.max_hashrate, self._config.threads))
        if self._rebuild_at is not None and turn.now >= self._rebuild_at:
            self._start_build(turn)

    def on_sealed(self, spec: SealBlock, result: JobResult, turn: Turn) -> None:
        """Hand the block to the importer."""
        self._seal = None
        candidate, self._candidate = self._candidate, None
        if isinstance(result, BlockSealed) and candidate is not None:
            self.blocks += 1
            self._handed_over = turn.now
            turn.tell(BlockMade(replace(candidate[0], seal=result.seal), candidate[1]))
