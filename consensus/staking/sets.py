"""Who is a validator in which epoch: chosen by the block that ends the epoch before the one before.

Stakes count one epoch late: the boundary block of epoch e chooses the members of epoch e + 2 by the stakes as they are,
and gives those of epoch e + 1, chosen one boundary ago, their seed. Its producer, who alone knows that seed while it
still picks the block's transactions, can no longer change whom it draws. Left out is who was tombstoned before this
block or in jail meanwhile: what this block says of anybody must not change the draw, or evidence held back would be a
choice among draws. A set is kept as long as evidence about its epoch counts.
"""

from collections.abc import Iterable

from chain.genesis import PosParameters
from chain.ids import AccountId, Height
from consensus.context import StakeContext
from consensus.events import EpochEnded
from consensus.ledger import Ledger
from consensus.pos.validators import Member, ValidatorSet, boundary_height, is_boundary
from consensus.records import Accounts
from consensus.staking.records import Chosen, Validator
from consensus.staking.state import (
    CHOSEN_KEY,
    VALIDATORS_KEY,
    get_candidates,
    get_offences,
    get_validator,
    need_validator_set,
    offence_at_key,
    offence_key,
    offences_key,
    read_number,
    validator_set_key,
)
from consensus.state import need_record, put_record
from consensus.view import Overlay


def fixed_members(parameters: PosParameters) -> tuple[Member, ...]:
    """Return the validators that genesis names."""
    ordered = sorted(parameters.validators, key=lambda validator: validator.account)
    return tuple([Member(validator.account, validator.stake) for validator in ordered])


def is_electable(validator: Validator, parameters: PosParameters) -> bool:
    """May this one be chosen?"""
    return validator.standing == "good" and validator.stake >= parameters.min_stake


def choose_members(candidates: Iterable[tuple[AccountId, Validator]], parameters: PosParameters) -> tuple[Member, ...]:
    """Return the largest stakes in good standing; of equal ones, the lower accounts."""
    fit = [(account, validator) for account, validator in candidates if is_electable(validator, parameters)]
    best = sorted(fit, key=lambda pair: (-pair[1].stake, pair[0]))[: parameters.max_validators]
    return tuple([Member(account, validator.stake) for account, validator in sorted(best)])


def end_epoch(ledger: Ledger, stake: StakeContext) -> None:
    """If this block ends an epoch: write the next one's validators, choose those after, forget what is too old.

    If nobody of the chosen is fit any more, those of this epoch stay: a chain without validators could never go on.
    """
    if not is_boundary(ledger.context.height, stake.parameters.epoch_blocks):
        return
    members = _name_next(ledger, stake)
    upcoming = ValidatorSet(stake.epoch + 1, stake.mix, members)
    put_record(ledger.view, validator_set_key(upcoming.epoch), upcoming)
    if not stake.parameters.permissioned:
        put_record(ledger.view, CHOSEN_KEY, Chosen(_choose(ledger, stake)))
    _forget(ledger, stake)
    ledger.tell(EpochEnded(stake.epoch, len(members), upcoming.total))


def _name_next(ledger: Ledger, stake: StakeContext) -> tuple[Member, ...]:
    """Return the next epoch's members: those chosen one boundary ago, without whoever lost its standing before now."""
    if stake.parameters.permissioned:
        return fixed_members(stake.parameters)
    chosen = need_record(ledger.view, CHOSEN_KEY, Chosen).members
    since = Height(stake.epoch * stake.parameters.epoch_blocks)
    fit = tuple([member for member in chosen if _stood_well(ledger, member.account, since)])
    return fit or need_validator_set(ledger.view, stake.epoch).members


def _stood_well(ledger: Ledger, account: AccountId, since: Height) -> bool:
    validator = get_validator(ledger.before, account)
    return validator is not None and validator.standing == "good" and validator.free_from <= since


def _choose(ledger: Ledger, stake: StakeContext) -> tuple[Member, ...]:
    found = [(account, get_validator(ledger.view, account)) for account in get_candidates(ledger.view)]
    return choose_members([(a, v) for a, v in found if v is not None], stake.parameters)


def evidence_deadline(epoch: int, parameters: PosParameters) -> int:
    """Return the height of the last block that can carry evidence about an epoch."""
    return boundary_height(epoch, parameters.epoch_blocks) + parameters.unbonding_blocks


def _forget(ledger: Ledger, stake: StakeContext) -> None:
    """Remove the set and the offences of the epoch about which evidence ended between the last boundary and this."""
    parameters = stake.parameters
    epoch = stake.epoch - -(-parameters.unbonding_blocks // parameters.epoch_blocks)
    if epoch < 0:
        return
    ledger.view.put(validator_set_key(epoch), None)
    for number, punished in enumerate(get_offences(ledger.view, epoch)):
        ledger.view.put(offence_key(punished.offence), None)
        ledger.view.put(offence_at_key(epoch, number), None)
    if read_number(ledger.view, offences_key(epoch)):
        ledger.view.put(offences_key(epoch), None)


def put_candidates(overlay: Overlay, accounts: Iterable[AccountId]) -> None:
    """Write the accounts that have a stake."""
    put_record(overlay, VALIDATORS_KEY, Accounts(tuple(sorted(accounts))))
