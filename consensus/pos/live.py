"""What a node knows of the epoch that lives: its views, votes, proposals, and what this validator cast itself.

Data and questions alone: what follows from it is ``consensus.pos.agreement``'s.
"""

from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from chain.block import Header, block_id
from chain.genesis import PosParameters
from chain.ids import AccountId, Hash, Millis
from consensus.pos.proposals import KnownBlock, Proposals
from consensus.pos.validators import ValidatorSet, is_boundary
from consensus.pos.views import Views
from consensus.pos.votepool import VotePool
from consensus.pos.votes import Proposal, Reproposal, Vote, VoteKind, place_proposal

AHEAD: Final = 8
"""Views above the current one whose votes and proposals are kept; certificates bring on whoever is further behind."""
BEHIND: Final = 8
"""Views below the current one whose votes are still counted: late finalize votes, and evidence."""
PATIENCE_DELTAS: Final = 3
"""A leader has 3 Δ: one to hear of the view, one for its proposal, one for the votes (Simplex, the timer T_h)."""
MAX_PATIENCE_FACTOR: Final = 32
PATIENT_VIEWS: Final = 64
"""Views before this one that are looked at for how patient to be."""


@dataclass(slots=True)
class Cast:
    """What this validator wished to sign in a view; the journal keeps what it signed."""

    notarize: Hash | None = None
    is_nullified: bool = False
    is_finalized: bool = False
    is_proposed: bool = False


@dataclass(slots=True)
class LiveEpoch:
    """The epoch of ``set``, which stands on the final block ``boundary``."""

    set: ValidatorSet
    boundary: Header
    parameters: PosParameters
    views: Views = field(init=False)
    pool: VotePool = field(init=False)
    proposals: Proposals = field(init=False)
    leader: AccountId = field(init=False)
    casts: dict[int, Cast] = field(default_factory=dict)
    view: int = 0
    entered_ms: int = 0
    due_ms: int = 0
    deadline_ms: int = 0
    is_out_of_patience: bool = False
    is_over: bool = False

    def __post_init__(self) -> None:
        start = block_id(self.boundary)
        self.views = Views(start)
        self.pool = VotePool(self.set)
        self.proposals = Proposals()
        self.leader = self.set.leader(1)
        height, time_ms = self.boundary.height, self.boundary.time_ms
        self.proposals.blocks[start] = KnownBlock(height, time_ms, 0, is_executed=True, is_admitted=True)

    @property
    def epoch(self) -> int:
        """The epoch's number."""
        return self.set.epoch

    def enter(self, now: int) -> None:
        """Enter the view that certificates lead to at time ``now``, and forget what no rule looks at any more."""
        self.view = self.views.current
        self.leader = self.set.leader(self.view)
        self.entered_ms = now
        self.is_out_of_patience = False
        self.deadline_ms = self._compute_deadline()
        self._prune()

    def extend_patience(self) -> bool:
        """Put the deadline off if a parent with a later time became known in this view. Returns whether it was."""
        deadline = 0 if self.is_out_of_patience else self._compute_deadline()
        if deadline <= self.deadline_ms:
            return False
        self.deadline_ms = deadline
        return True

    def contains(self, height: int) -> bool:
        """Is a block of this height one of the epoch?"""
        return self.boundary.height < height <= self.boundary.height + self.parameters.epoch_blocks

    def cast(self, view: int) -> Cast:
        """Return what this validator cast in a view."""
        return self.casts.setdefault(view, Cast())

    def adopt(self, vote: Vote) -> None:
        """Take a vote of this validator that it does not remember as cast."""
        cast = self.cast(vote.view)
        match vote.kind:
            case VoteKind.NOTARIZE:
                cast.notarize = vote.block
            case VoteKind.NULLIFY:
                cast.is_nullified = True
            case VoteKind.FINALIZE:
                cast.is_finalized = True

    def is_live(self, view: int) -> bool:
        """Are votes and proposals of this view worth keeping?"""
        return self.view - BEHIND <= view <= self.view + AHEAD

    def is_last(self, block: Hash) -> bool:
        """Is this block known to be the epoch's last? The start of the epoch, last of another, is not."""
        known = self.proposals.blocks.get(block)
        return (
            known is not None
            and known.height > self.boundary.height
            and is_boundary(known.height, self.parameters.epoch_blocks)
        )

    def executed(self, block: Hash) -> KnownBlock | None:
        """Return what is known of a block that is complete and executed here; None for others."""
        known = self.proposals.blocks.get(block)
        return known if known is not None and known.is_executed else None

    def choose_parent(self) -> tuple[int, Hash, KnownBlock] | None:
        """Return the highest justified view whose block is executed here, with the block: what to build on."""
        for parent_view in self.views.justified_parents(self.view):
            block = self.views.block_at(parent_view)
            known = None if block is None else self.executed(block)
            if block is not None and known is not None:
                return parent_view, block, known
        return None

    def is_justified(self, message: Proposal | Reproposal) -> bool:
        """May a block be proposed so in its view? A re-proposal is of the last block of the epoch alone."""
        parent = self.views.justified_parent(*place_proposal(message))
        if isinstance(message, Proposal):
            return parent is not None and message.header.parent == parent
        return parent is not None and message.block == parent and self.is_last(parent)

    def _compute_deadline(self) -> int:
        """Return when patience with the current view's leader ends.

        3 Δ from when it may propose, doubled for each leader in a row without a block, at most 32 times as long. A
        parent whose time is further ahead than any header's may be does not prolong it.
        """
        factor = min(1 << self._count_failures(), MAX_PATIENCE_FACTOR)
        parent = self.choose_parent()
        block_ms, ahead = self.parameters.block_ms, self.parameters.max_future_ms
        start = self.entered_ms
        if parent is not None:
            start = max(start, min(parent[2].time_ms, start + ahead) + block_ms)
        self.due_ms = start
        return start + PATIENCE_DELTAS * self.parameters.delta_ms * factor

    def _count_failures(self) -> int:
        """Return how many leaders in a row, of the last ``PATIENT_VIEWS`` views at most, brought no block.

        One that leads several views running counts once: that it fails again says nothing of the network, and who
        is drawn seven times running would be waited for longer than a minute at Δ = 1 s though it is gone.
        """
        first = max(self.views.last_block_view(self.view) + 1, self.view - PATIENT_VIEWS)
        return sum(1 for _ in groupby(map(self.set.leader, range(first, self.view))))

    def earliest_ms(self, parent: KnownBlock) -> Millis:
        """Return the earliest time of a block on ``parent``."""
        return Millis(parent.time_ms + self.parameters.block_ms)

    def _prune(self) -> None:
        floor = self.view - BEHIND
        self.pool.prune(floor)
        keep = {block for _, block in self.views.notarized(0)} | {self.views.final_block}
        self.proposals.prune(floor, keep)
        for view in [view for view in self.casts if view < floor]:
            del self.casts[view]

    def count(self) -> int:
        """Return how many records are kept: what the bounds of this file and of ``views`` limit."""
        return len(self.views) + len(self.pool) + len(self.proposals) + len(self.casts)
