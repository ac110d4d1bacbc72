"""Coins that leave a bond: they wait until no evidence can reach them any more, then the block pays them by itself.

What begins to leave at height h is paid by the block at height h + 2 · epoch_blocks + unbonding_blocks: stakes count
one epoch late, so whoever unbonds may vote until the next epoch ends, and evidence about that one counts for
``unbonding_blocks`` more.
"""

from typing import Final

from chain.ids import AccountId, Amount, Height
from consensus.context import StakeContext
from consensus.errors import Invalid
from consensus.events import UnbondingPaid, UnbondingStarted
from consensus.ledger import Ledger
from consensus.staking.records import Leaving, Purpose, Unbonding
from consensus.staking.state import get_unbonding, get_validator, read_number, unbonding_at_key, unbonding_due_key
from consensus.state import need_bytes
from consensus.statekeys import number_key

MAX_LEAVING: Final = 32
"""Payments to one account that its own transactions can have on their way at a time."""


def check_room(ledger: Ledger, account: AccountId, rule: str) -> None:
    """Check that one more payment can be put on its way; ``Invalid`` if it can't."""
    waiting = len(get_unbonding(ledger.view, account).entries)
    if waiting >= MAX_LEAVING:
        raise Invalid(rule, f"{waiting} payments are on their way to this account, the most there may be", later=True)


def start_unbonding(ledger: Ledger, stake: StakeContext, account: AccountId, amount: int, purpose: Purpose) -> None:
    """Put coins that have left a bond on their way to a balance."""
    parameters = stake.parameters
    due = Height(ledger.context.height + 2 * parameters.epoch_blocks + parameters.unbonding_blocks)
    before = get_unbonding(ledger.view, account)
    ledger.put_unbonding(account, Unbonding((*before.entries, Leaving(due, Amount(amount), purpose))))
    count = read_number(ledger.view, unbonding_due_key(due))
    ledger.view.put(unbonding_at_key(due, count), account)
    ledger.view.put(unbonding_due_key(due), number_key(count + 1))
    ledger.tell(UnbondingStarted(account, Amount(amount), due))


def pay_due(ledger: Ledger) -> None:
    """Pay what is due at this block's height. An account that is named more than once is paid all at once."""
    height = ledger.context.height
    count = int.from_bytes(ledger.view.get_once(unbonding_due_key(height)) or b"", "big")
    for number in range(count):
        key = unbonding_at_key(height, number)
        _pay(ledger, AccountId(need_bytes(ledger.view, key)), height)
        ledger.view.put(key, None)
    ledger.view.put(unbonding_due_key(height), None)


def _pay(ledger: Ledger, account: AccountId, height: int) -> None:
    entries = get_unbonding(ledger.view, account).entries
    amount = sum(entry.amount for entry in entries if entry.due <= height)
    left = tuple([entry for entry in entries if entry.due > height])
    ledger.put_unbonding(account, Unbonding(left) if left else None)
    if amount:  # all of it may have been slashed
        ledger.credit(account, amount)
        ledger.tell(UnbondingPaid(account, Amount(amount)))
    validator = get_validator(ledger.view, account)
    is_gone = validator is not None and validator.stake == 0 and validator.standing != "tombstoned"
    if is_gone and all(entry.purpose != "stake" for entry in left):
        ledger.put_validator(account, None)
