"""What an honest validator does in its view: the steps of Simplex, each a function over the live epoch.

A rule looks at what is known, returns the effects it asks for and notes that it asked, so that it asks once. Rules
are tried after every input; none looks at the clock. ``CASTING`` are those of a node that votes.
"""

from collections.abc import Callable
from typing import Final

from chain.ids import ZERO_HASH, AccountId
from consensus.pos.effects import Admit, CastReproposal, CastVote, Effect, Finalized, Propose
from consensus.pos.live import BEHIND, LiveEpoch
from consensus.pos.votes import VoteKind, proposed_block


def end_epoch(live: LiveEpoch) -> list[Effect]:
    """An epoch is over when its last block is final in any of its views."""
    if live.is_over or live.views.finality is None or not live.is_last(live.views.final_block):
        return []
    live.is_over = True
    return [Finalized(live.views.finality, ends_epoch=True)]


def admit(live: LiveEpoch) -> list[Effect]:
    """Offer to the tree what may be voted for now, and what was notarised."""
    due = [
        id
        for id, proposal in live.proposals.pending.items()
        if live.views.block_at(live.proposals.blocks[id].view) == id
        or (live.proposals.blocks[id].view == live.view and live.is_justified(proposal))
    ]
    return [Admit(live.proposals.take_pending(id).header) for id in due]


def propose(live: LiveEpoch, account: AccountId) -> list[Effect]:
    """Step 1: the leader proposes once, on a justified parent that it has executed."""
    cast = live.cast(live.view)
    if cast.is_proposed or live.leader != account:
        return []
    parent = live.choose_parent()
    if parent is None:
        return []
    cast.is_proposed = True
    parent_view, block, known = parent
    if live.is_last(block):
        return [CastReproposal(live.epoch, live.view, parent_view, block)]
    return [Propose(live.epoch, live.view, block, parent_view, live.earliest_ms(known))]


def nullify(live: LiveEpoch, account: AccountId) -> list[Effect]:
    """Step 2: vote for no block when the view's timer fires. A view is finalised only after it was left."""
    cast = live.cast(live.view)
    if not live.is_out_of_patience or cast.is_nullified or cast.is_finalized:
        return []
    cast.is_nullified = True
    return [CastVote(live.epoch, live.view, VoteKind.NULLIFY, ZERO_HASH)]


def notarize(live: LiveEpoch, account: AccountId) -> list[Effect]:
    """Step 3: vote for the leader's first proposal of this view if it is justified, and executed here."""
    cast, slot = live.cast(live.view), live.proposals.slot(live.view)
    if slot is None or cast.notarize is not None:
        return []
    block = proposed_block(slot.first)
    if not live.is_justified(slot.first) or live.executed(block) is None:
        return []
    cast.notarize = block
    return [CastVote(live.epoch, live.view, VoteKind.NOTARIZE, block)]


def finalize(live: LiveEpoch, account: AccountId) -> list[Effect]:
    """Step 4: vote to finalise each notarised view that this validator left without voting for no block in it.

    As every vote it is for a block that is executed here; the paper asks for the notarisation alone.
    """
    votes: list[Effect] = []
    for view, block in live.views.notarized(live.view - BEHIND):
        cast = live.cast(view)
        is_open = not cast.is_nullified and not live.views.is_nullified(view)
        if is_open and not cast.is_finalized and live.executed(block) is not None:
            cast.is_finalized = True
            votes.append(CastVote(live.epoch, view, VoteKind.FINALIZE, block))
    return votes


Rule = Callable[[LiveEpoch, AccountId], list[Effect]]

CASTING: Final[tuple[Rule, ...]] = (propose, notarize, nullify, finalize)
