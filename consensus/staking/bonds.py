"""A validator's stake: written so that the list of those who have one always says the truth, and kept short.

The list is read as a whole when an epoch ends. It has room for a few candidates a seat; when it is full, a larger
stake takes the place of the smallest, whose coins leave as if it had unbonded them.
"""

from typing import Final

from msgspec.structs import replace

from chain.genesis import PosParameters
from chain.ids import AccountId, Amount
from consensus.context import StakeContext
from consensus.errors import Invalid
from consensus.ledger import Ledger
from consensus.staking.records import Validator
from consensus.staking.sets import is_electable, put_candidates
from consensus.staking.state import get_candidates, get_validator
from consensus.staking.unbonding import start_unbonding

CANDIDATES_PER_SEAT: Final = 4


def put_stake(ledger: Ledger, account: AccountId, validator: Validator) -> None:
    """Write a validator's entry, and its place among those with a stake."""
    ledger.put_validator(account, validator)
    listed = get_candidates(ledger.view)
    if (validator.stake > 0) != (account in listed):
        others = [other for other in listed if other != account]
        put_candidates(ledger.view, [*others, account] if validator.stake else others)


def make_room(ledger: Ledger, stake: StakeContext, amount: int) -> None:
    """Let a new stake of ``amount`` in: if the list is full, the smallest leaves; ``Invalid`` if none is smaller."""
    listed = get_candidates(ledger.view)
    if len(listed) < CANDIDATES_PER_SEAT * stake.parameters.max_validators:
        return
    found = [(account, get_validator(ledger.view, account)) for account in listed]
    weakest, entry = min(
        ((account, validator) for account, validator in found if validator is not None),
        key=lambda pair: _rank(pair[1], stake.parameters, pair[0]),
    )
    if is_electable(entry, stake.parameters) and entry.stake >= amount:
        raise Invalid(
            "stake.bond.full", f"{len(listed)} accounts stake, the smallest {entry.stake}; more is asked", later=True
        )
    put_stake(ledger, weakest, replace(entry, stake=Amount(0)))
    start_unbonding(ledger, stake, weakest, entry.stake, "stake")


def _rank(validator: Validator, parameters: PosParameters, account: AccountId) -> tuple[bool, int, bytes]:
    """Order those who stake by who is to leave first: who can't be elected, then the smallest stake."""
    return is_electable(validator, parameters), validator.stake, account
