"""The validator where blocks cost stake: builds the blocks of the views that this node leads, and seals each in time.

Whether and when to propose, on which block and in which view, is the agreement's to say (``node.core.agreement``); the
seal is a signature, so it is made here and not in a job, after the journal has it. A leader may hold its block back for
a while that is short beside the patience of the others, so that a phase whose updates are on their way takes one block.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from chain.block import Body, Header
from chain.ids import ZERO_HASH, Millis
from consensus.pos.engine import PosEngine
from node.core.messages import BlockMade, HeadChanged, PayloadsLost, PoolGrew, ProposalWanted
from node.core.turn import Turn
from node.effects import Accepted
from node.events import MiningOrder, Shutdown, Tick
from node.jobs.results import BlockBuilt, BuildLacks, JobResult
from node.jobs.specs import BuildBlock
from node.roles.base import Surroundings
from node.roles.candidates import forget_hopeless, start_build
from node.roles.gathering import is_worth_waiting

_BUILD_MS: Final = 100
"""A block is begun so long before it may go out: what comes later waits for the next."""


class Validator:
    """The part of the miner role that makes blocks by stake. ``place`` tells the epoch and view the node is in."""

    def __init__(
        self, around: Surroundings, engine: PosEngine, place: Callable[[], tuple[int, int]], hold_ms: int = 0
    ) -> None:
        self._around = around
        self._engine = engine
        self._place = place
        self._hold_ms = min(hold_ms, engine.parameters.delta_ms)
        self._held_until = Millis(0)
        self._wanted: ProposalWanted | None = None
        self._build: int | None = None
        self._candidate: tuple[Header, Body] | None = None
        self.blocks = 0
        self.is_paused = False

    @property
    def height(self) -> int:
        """The height of the block it works on; 0 if it rests."""
        return 0 if self._wanted is None else self._around.chain.tree.height(self._wanted.parent) + 1

    # --- when to build ----------------------------------------------------------------------------

    def on_wanted(self, wanted: ProposalWanted, turn: Turn) -> None:
        """Build a block in time for the view that this node leads."""
        self._drop(turn)
        if self.is_paused:
            return
        self._wanted = wanted
        turn.wake(wanted.not_before)
        turn.wake(Millis(max(turn.now, wanted.not_before - _BUILD_MS)))
        if self._hold_ms:
            self._held_until = Millis(max(turn.now, wanted.not_before) + self._hold_ms)
            turn.wake(self._held_until)
        self._go_on(turn)

    def awaits_tick(self) -> bool:
        """Is there a block to build?"""
        return self._wanted is not None

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Begin to build, or let the block out."""
        self._go_on(turn)

    def on_pool_grew(self, grew: PoolGrew, turn: Turn) -> None:
        """Begin to build if that was what the block waited for."""
        if self._hold_ms:
            self._go_on(turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Begin anew if the block was being built from a state that is not there any more."""
        if self._build is not None and self._candidate is None:
            turn.cancel(self._build)
            self._build = None
        self._go_on(turn)

    def on_mining_order(self, order: MiningOrder, turn: Turn) -> None:
        """Propose no blocks, or propose again. Voting goes on: the others count on it."""
        self.is_paused = not order.enabled
        if self.is_paused:
            self._drop(turn)
        turn.reply(order.request, Accepted(ZERO_HASH))

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Stop."""
        self.is_paused = True
        self._drop(turn)

    def _drop(self, turn: Turn) -> None:
        turn.cancel(self._build)
        self._wanted = self._build = self._candidate = None

    # --- building and sealing ---------------------------------------------------------------------

    def _go_on(self, turn: Turn) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        if (wanted.epoch, wanted.view) != self._place() or self._around.chain.find_stop():
            self._drop(turn)
        elif self._candidate is not None:
            if turn.now >= wanted.not_before:
                self._let_out(turn)
        elif self._build is None and turn.now >= wanted.not_before - _BUILD_MS and not self._is_held(turn):
            chain = self._around.chain
            if not chain.tree.is_ready(wanted.parent):
                return  # an epoch was begun by its proof: its first parent is final, and still on its way here
            prepared = self._engine.prepare_view(chain.tree, wanted.parent, wanted.view, turn.now)
            self._build = start_build(self._around, wanted.parent, prepared, turn)

    def _is_held(self, turn: Turn) -> bool:
        """Is the block to be held back for what is on its way?"""
        return turn.now < self._held_until and is_worth_waiting(self._around)

    def on_built(self, spec: BuildBlock, result: JobResult, turn: Turn) -> None:
        """Keep the candidate until its time has come; forget what can never be included."""
        self._build = None
        if isinstance(result, BuildLacks):
            turn.tell(PayloadsLost(spec.parent, result.refs))
        if not isinstance(result, BlockBuilt) or self._wanted is None or spec.parent != self._wanted.parent:
            return  # the head moved, or payloads are missing: the next tick tries again while the view lasts
        forget_hopeless(self._around, spec, result)
        self._candidate = result.header, result.body
        self._go_on(turn)

    def _let_out(self, turn: Turn) -> None:
        """Seal the block and hand it over: to the importer, as any other, and to the agreement, which sends it."""
        assert self._candidate is not None
        header, body = self._candidate
        self._drop(turn)
        seal = self._engine.seal(header, lambda: False)
        if seal is not None:
            self.blocks += 1
            turn.tell(BlockMade(replace(header, seal=seal), body))
