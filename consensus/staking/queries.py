"""Questions about stake, for the RPC, the node's roles and tests. Nothing here is needed to check a block.

They are asked of the state after block ``height``; the epoch they answer for is that of the next block.
"""

from chain.codec import Record
from chain.genesis import PosParameters
from chain.ids import (
    AccountField,
    AccountId,
    Amount,
    AmountField,
    HashField,
    Height,
    HeightField,
    Natural,
    ShortText,
)
from consensus.pos.validators import boundary_height, epoch_of
from consensus.staking.records import Leaving
from consensus.staking.state import (
    get_burned,
    get_candidates,
    get_unbonding,
    get_validator,
    need_validator_set,
)
from consensus.view import StateView


class StakeStanding(Record):
    """What an account has to do with stake.

    power     its votes in this epoch, 0 if it is no validator of it
    standing  "good", "jailed", "tombstoned", or "none" for an account that does not stake
    """

    account: AccountField
    stake: AmountField
    power: Natural
    standing: ShortText
    missed: Natural
    free_from: HeightField
    leaving: tuple[Leaving, ...]


class EpochStanding(Record):
    """The epoch of the next block, its last height, its seed, and everybody who votes in it or stakes.

    ``stakers``: the validators by power, then the others by stake, larger ones first.
    """

    epoch: Natural
    ends: HeightField
    seed: HashField
    power: Natural
    burned: AmountField
    stakers: tuple[StakeStanding, ...]


def get_standing(view: StateView, height: int, parameters: PosParameters, account: AccountId) -> StakeStanding:
    """Return what an account has to do with stake."""
    members = need_validator_set(view, epoch_of(height + 1, parameters.epoch_blocks))
    return _describe(view, account, members.power(account))


def get_epoch(view: StateView, height: int, parameters: PosParameters) -> EpochStanding:
    """Return the epoch's standing."""
    epoch = epoch_of(height + 1, parameters.epoch_blocks)
    members = need_validator_set(view, epoch)
    accounts = {*get_candidates(view), *(member.account for member in members.members)}
    found = [_describe(view, account, members.power(account)) for account in accounts]
    return EpochStanding(
        epoch=epoch,
        ends=Height(boundary_height(epoch, parameters.epoch_blocks)),
        seed=members.seed,
        power=members.total,
        burned=Amount(get_burned(view)),
        stakers=tuple(sorted(found, key=lambda one: (-one.power, -one.stake, one.account))),
    )


def _describe(view: StateView, account: AccountId, power: int) -> StakeStanding:
    entry, leaving = get_validator(view, account), get_unbonding(view, account).entries
    if entry is None:
        return StakeStanding(account, Amount(0), power, "none", 0, Height(0), leaving)
    return StakeStanding(account, entry.stake, power, entry.standing, entry.missed, entry.free_from, leaving)
