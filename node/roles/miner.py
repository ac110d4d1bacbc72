"""The miner: builds blocks on the head, seals them, verifies local updates and vouches for them.

While one candidate is being sealed the next is built, when the head moves, when there is more to put in
(gathered for ``rebuild_delay_ms``), or when the candidate has become old. Sealing has no memory, so changing to a
fuller candidate costs nothing. Every block this node makes goes through the same importer as a stranger's.
"""

from typing import Final

from msgspec.structs import replace

from chain.block import Body, Header
from chain.codec import Record
from chain.ids import ZERO_HASH, Amount, Height, Millis, Natural
from chain.transaction import RegisterMiner
from chain.update import Attestation
from consensus.fees import get_minimum_fee
from consensus.queries import attestations_needed
from consensus.state import get_account, get_miner
from node.core.config import MinerConfig
from node.core.messages import (
    AttestationMade,
    BlockMade,
    HeadChanged,
    OwnTransaction,
    PayloadsLost,
    PoolGrew,
    StateChanged,
    UpdateReady,
)
from node.core.payloads import transaction_payload
from node.core.turn import Turn
from node.effects import Accepted
from node.events import MiningOrder, Shutdown, Started, Tick
from node.jobs.results import BlockBuilt, BlockSealed, BuildLacks, JobResult
from node.jobs.specs import BuildBlock, SealBlock
from node.roles.attesting import get_attesters, trim_attestations
from node.roles.base import Surroundings
from node.updatepool import PooledUpdate, Stage

_REFRESH_MS: Final = 2_000
"""A candidate older than this is built again, so that a block's time is near the time it was found."""
_GRACE_MS: Final = 3_000
"""A node that looks for peers waits so long for one before it mines alone."""
_REGISTRATION_BYTES: Final = 400
"""More than a registration has: it is asked for only when the fee is there besides the bond."""


class MinerStatus(Record):
    """What the miner does: blocks and attestations since the start, the height it works on (0 = it rests)."""

    blocks: Natural
    attestations: Natural
    height: Natural
    registered: bool
    paused: bool


class Miner:
    """The miner role of this node."""

    def __init__(self, around: Surroundings, config: MinerConfig) -> None:
        self._around = around
        self._config = config
        self._started: Millis = Millis(0)
        self._build: int | None = None
        self._seal: int | None = None
        self._candidate: tuple[Header, Body] | None = None
        self._built_at: Millis = Millis(0)
        self._rebuild_at: Millis | None = None
        self._handed_over: Millis | None = None
        self._blocks = 0
        self._attestations = 0
        self._paused = False

    def status(self) -> MinerStatus:
        """Return what the miner does."""
        height = 0 if self._candidate is None else self._candidate[0].height
        registered = get_miner(self._around.chain.view, self._around.account) is not None
        return MinerStatus(self._blocks, self._attestations, height, registered, self._paused)

    # --- when to build ----------------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Begin."""
        self._started = turn.now
        self._register(turn)
        self._start_build(turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Leave the old candidate, work on the new head."""
        turn.cancel(self._seal)
        turn.cancel(self._build)
        self._seal = self._build = self._candidate = self._rebuild_at = self._handed_over = None
        self._register(turn)
        self._attest_eligible(turn)
        self._start_build(turn)

    def on_pool_grew(self, grew: PoolGrew, turn: Turn) -> None:
        """Build again soon."""
        if self._rebuild_at is None:
            self._rebuild_at = Millis(turn.now + self._config.rebuild_delay_ms)
            turn.wake(self._rebuild_at)

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Build again if it is due."""
        due = self._rebuild_at is not None and turn.now >= self._rebuild_at
        if self._build is None and (due or turn.now - self._built_at >= _REFRESH_MS):
            self._start_build(turn)

    def on_state(self, changed: StateChanged, turn: Turn) -> None:
        """Begin to build when the head has become worth it."""
        if self._candidate is None:
            self._start_build(turn)

    def on_mining_order(self, order: MiningOrder, turn: Turn) -> None:
        """Rest from building and sealing, or begin again. Verifying goes on."""
        self._paused = not order.enabled
        if self._paused:
            self._rest(turn)
        else:
            self._start_build(turn)
        turn.reply(order.request, Accepted(ZERO_HASH))

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Stop."""
        self._paused = True
        self._rest(turn)

    def _rest(self, turn: Turn) -> None:
        turn.cancel(self._seal)
        turn.cancel(self._build)
        self._seal = self._build = self._candidate = None

    def _may_mine(self, now: Millis) -> bool:
        """Is the head worth building on? Not while better blocks, one's own among them, are on their way."""
        monitor = self._around.monitor
        if self._paused:
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
        around, chain = self._around, self._around.chain
        prepared = around.world.engine.prepare(chain.tree, chain.head_id, turn.now)
        self._built_at, self._rebuild_at = turn.now, None
        rules, height = chain.rules, chain.height + 1
        has = around.world.payloads.has
        transactions = [
            signed
            for signed in around.mempool.select(rules.max_block_bytes)
            if (ref := transaction_payload(signed)) is None or has(ref.id)
        ]
        updates = around.updates.select(lambda attested: trim_attestations(chain.view, rules, attested, height))
        self._build = turn.start(
            BuildBlock(
                parent=chain.head_id,
                producer=around.account,
                time_ms=prepared.time_ms,
                engine=prepared.engine,
                transactions=tuple(transactions),
                updates=updates,
            )
        )

    def on_built(self, spec: BuildBlock, result: JobResult, turn: Turn) -> None:
        """Seal the new candidate in place of the old one; forget what can never be included."""
        self._build = None
        if isinstance(result, BuildLacks):
            turn.tell(PayloadsLost(spec.parent, result.refs))
        if not isinstance(result, BlockBuilt):
            return  # the head moved, or payloads are missing: the next tick or head tries again
        hopeless = [broken.id for broken in result.rejected if not broken.later]
        self._around.mempool.remove(hopeless)
        self._around.updates.drop(hopeless)
        turn.cancel(self._seal)
        self._candidate = result.header, result.body
        self._seal = turn.start(SealBlock(result.header, self._config.max_hashrate))
        if self._rebuild_at is not None and turn.now >= self._rebuild_at:
            self._start_build(turn)

    def on_sealed(self, spec: SealBlock, result: JobResult, turn: Turn) -> None:
        """Hand the block to the importer."""
        self._seal = None
        candidate, self._candidate = self._candidate, None
        if isinstance(result, BlockSealed) and candidate is not None:
            self._blocks += 1
            self._handed_over = turn.now
            turn.tell(BlockMade(replace(candidate[0], seal=result.seal), candidate[1]))

    # --- bonding ----------------------------------------------------------------------------------

    def _register(self, turn: Turn) -> None:
        """Register as a miner once the bond and the fee can be paid."""
        around, view, rules = self._around, self._around.chain.view, self._around.chain.rules
        if not self._config.register or get_miner(view, around.account) is not None:
            return
        bond = max(self._config.bond, rules.min_bond)
        price = bond + get_minimum_fee(rules, _REGISTRATION_BYTES)
        if get_account(view, around.account).balance >= price and not around.is_waiting(RegisterMiner):
            turn.tell(OwnTransaction(RegisterMiner(Amount(bond))))

    # --- vouching ---------------------------------------------------------------------------------

    def on_update_ready(self, ready: UpdateReady, turn: Turn) -> None:
        """Attest an update that was verified, if it is this miner's to attest."""
        entry = self._around.updates.get(ready.id)
        if entry is not None:
            self._attest(entry, turn)

    def _attest_eligible(self, turn: Turn) -> None:
        """Attest the updates for which this miner's turn has come, because others were silent."""
        for entry in self._around.updates.entries():
            if entry.stage is Stage.VERIFIED:
                self._attest(entry, turn)

    def _attest(self, entry: PooledUpdate, turn: Turn) -> None:
        chain, account = self._around.chain, self._around.account
        if account in entry.attestations:
            return
        needed = attestations_needed(chain.view, entry.update.release.plan)
        height = Height(chain.height + 1)
        attesters = get_attesters(chain.view, chain.rules, entry.update.release, height)
        present = [miner for miner in attesters if miner in entry.attestations]
        if account not in attesters or len(present) >= needed:
            return
        self._attestations += 1
        turn.tell(AttestationMade(entry.id, Attestation.of(entry.id, self._around.world.key)))
