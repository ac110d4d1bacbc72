"""Turns that were missed: a view without a block is one that its leader let pass.

A block's view and its parent's tell which views had no block; the election tells whose they were. Views only pass
with more than two thirds of the stake awake, so a network that stands still puts nobody in jail.
"""

from collections import Counter
from typing import Final

from msgspec.structs import replace

from chain.ids import AccountId, Height
from consensus.context import StakeContext
from consensus.events import ValidatorJailed
from consensus.ledger import Ledger
from consensus.pos.validators import ValidatorSet
from consensus.staking.state import get_validator, need_validator_set

MAX_COUNTED: Final = 4096
"""Missed views that one block counts, the first ones: bounds what a block costs whatever its header says."""


def count_turns(ledger: Ledger, stake: StakeContext) -> None:
    """Count the turns missed before this block; who missed too many in a row goes to jail. Its producer was here."""
    if stake.parameters.permissioned:
        return
    members = need_validator_set(ledger.view, stake.epoch)
    missed = Counter(list_missed(members, stake))
    del missed[ledger.context.producer]
    for account in sorted(missed):
        _count(ledger, stake, account, missed[account])
    producer = get_validator(ledger.view, ledger.context.producer)
    if producer is not None and producer.missed and producer.standing == "good":
        ledger.put_validator(ledger.context.producer, replace(producer, missed=0))


def list_missed(members: ValidatorSet, stake: StakeContext) -> list[AccountId]:
    """Return the leaders of the views between the parent's and the block's, in the order of the views."""
    first = stake.parent_view + 1
    return [members.leader(view) for view in range(first, min(stake.view, first + MAX_COUNTED))]


def _count(ledger: Ledger, stake: StakeContext, account: AccountId, turns: int) -> None:
    validator = get_validator(ledger.view, account)
    if validator is None or validator.standing != "good":
        return
    missed, limit = validator.missed + turns, stake.parameters.absent_slots
    if missed < limit:
        ledger.put_validator(account, replace(validator, missed=missed))
        return
    free_from = Height(ledger.context.height + stake.parameters.jail_blocks)
    ledger.put_validator(account, replace(validator, standing="jailed", missed=missed, free_from=free_from))
    ledger.tell(ValidatorJailed(account, missed, free_from))
