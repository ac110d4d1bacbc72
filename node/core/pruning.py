"""Pruning: forgetting, a little at a time, what no reorganisation, no open task and no served state can need.

    undo        of final blocks, as far as no state is served that is found by it
    payloads    of blocks that have been final for so many blocks, but not those that an open task still settles with,
                nor those that a later block refers to as well. A task that has settled in a block that is not final yet
                is open again if that block is taken back: its payloads stay until it is final
    bodies      the same, if the operator says so; with a body go its events and its transactions in the index

Rules of this file: each step is bounded by a number of blocks, so that nobody waits; a step that a crash took is done
again. An archive keeps everything, and so does a node whose limit of reorganisations was lifted. Peers that ask for
what was pruned hear that it is not here, and hold it against nobody.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chain.ids import Hash, Height
from consensus.queries import needed_payloads, reads_above
from consensus.state import get_active
from node.core.chain import Chain
from node.core.config import CoreConfig
from node.core.payloads import body_payloads
from node.core.turn import Turn
from node.events import Tick
from node.world import World
from storage.base import Pruned

_UNDOS: Final = 64
_BLOCKS: Final = 8
"""Blocks a step looks at. A tick makes one step, and there are four in a second."""
_PAYLOADS: Final = 500
"""With so many payloads gone a step looks at no further block: a block may bring thousands."""
_SWEPT: Final = 500
"""Keys of a state that is not in use, a step."""


@dataclass(frozen=True, slots=True)
class _Noted:
    """A head that was, and the block above which its open tasks read payloads."""

    height: Height
    block: Hash
    read: Height


class Pruner:
    """Makes one step with each tick that finds something to do."""

    def __init__(self, world: World, config: CoreConfig, chain: Chain) -> None:
        self._world = world
        self._kept = config.retention
        self._keeps_all = config.retention.archive or not config.has_reorg_limit
        self._interval = config.snapshot_blocks
        self._chain = chain
        self._is_swept = False
        self._noted: deque[_Noted] = deque()
        """Heads that were, rising: the last that is final now, and those above it. What is read only rises, so what the
        first of them does not read no block above finality reads, whichever it will be."""
        self._done_at: tuple[Hash, Hash] | None = None
        """The head and the final block with which there was nothing more to do."""

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Make a step."""
        store = self._world.store
        self._is_swept = store.staging.target() is None and (self._is_swept or store.staging.sweep(_SWEPT))
        place = self._chain.head_id, self._chain.tree.decided
        if self._keeps_all or self._done_at == place:
            return
        self._note_head()
        for kind in ("undo", "payloads", "bodies"):
            floor, end = store.floor(kind), self._end_of(kind)
            if floor < end:
                self._step(kind, floor, Height(min(end, floor + (_UNDOS if kind == "undo" else _BLOCKS))))
                return
        self._done_at = place

    def _end_of(self, kind: Pruned) -> Height:
        """Return the height up to which this is to go."""
        final = min(self._world.engine.finalized(self._chain.tree, self._chain.head_id), self._chain.height - 1)
        if kind == "undo":
            return Height(final - final % self._interval if self._interval else final)
        bodies = final - self._kept.bodies if self._kept.bodies else 0
        payloads = final - self._kept.payloads if self._kept.payloads else 0
        if kind == "bodies":
            return Height(max(0, bodies))
        spent = min(payloads, self._noted[0].read) if self._noted else payloads
        return Height(max(0, spent, bodies))  # who forgets a block forgets its payloads

    def _note_head(self) -> None:
        """Note what the head's open tasks read, and forget what heads noted that are gone or long final."""
        height, view, noted = self._chain.height, self._chain.view, self._noted
        while noted and self._world.store.block_id_at(noted[-1].height) != noted[-1].block:
            noted.pop()
        if not noted or noted[-1].height < height:
            read = min((reads_above(view, plan) for plan in get_active(view)), default=height)
            noted.append(_Noted(height, self._chain.head_id, read))
        final = self._world.engine.finalized(self._chain.tree, self._chain.head_id)
        while len(noted) > 1 and noted[1].height <= final:
            noted.popleft()

    def _step(self, kind: Pruned, floor: Height, to: Height) -> None:
        gone: dict[Hash, None] = {}
        if kind == "payloads":
            needed = self._needed(to)
            for height in range(floor + 1, to + 1):
                gone.update(dict.fromkeys(self._spent_payloads(Height(height), needed)))
                if len(gone) >= _PAYLOADS:
                    to = Height(height)
                    break
            for id in gone:
                self._world.payloads.delete(id)
        self._world.store.prune(kind, to, tuple(gone))

    def _spent_payloads(self, height: Height, needed: frozenset[Hash]) -> Iterator[Hash]:
        """Yield the payloads that nobody needs and to which nothing refers that is above a height.

        One of which the store does not know who refers to it stays.
        """
        store = self._world.store
        id = store.block_id_at(height)
        body = None if id is None else store.body(id)
        if body is None:
            return
        refs = [ref.id for ref in body_payloads(body)]
        for payload in refs:
            last = store.referred_at(payload)
            if payload not in needed and last is not None and last <= height:
                yield payload

    def _needed(self, to: Height) -> frozenset[Hash]:
        """Return what open tasks need of what blocks up to a height brought."""
        view = self._chain.view
        return frozenset(ref.id for plan in get_active(view) for ref in needed_payloads(view, plan, to))
