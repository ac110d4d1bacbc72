"""What the ledger remembers of stake: the records under the keys of ``consensus.staking.state``.

Coins of stake stand in two places, both counted as bonded in ``Supply``: a validator's stake, and what is unbonding
(leaving a stake or a miner's bond, paid at a height to come). Amounts are in the smallest coin unit.

Rules of this file: shapes only.
"""

from typing import Literal

from chain.codec import Record
from chain.ids import AccountField, Amount, AmountField, HashField, HeightField, Natural, ShortText
from consensus.pos.validators import Member

Standing = Literal["good", "jailed", "tombstoned"]
Purpose = Literal["stake", "miner"]


class Validator(Record):
    """Somebody who stakes.

    since      block that carried its first coins
    standing   jailed: for absence, until ``stake.unjail``; tombstoned: for an offence, for ever
    missed     turns to lead that it missed in a row
    free_from  first block that may carry its ``stake.unjail``; out of jail, the block that did, 0 without any
    """

    stake: AmountField
    since: HeightField
    standing: Standing
    missed: Natural
    free_from: HeightField


class Leaving(Record):
    """Coins that the block at height ``due`` pays out. What leaves a stake can be slashed until then."""

    due: HeightField
    amount: AmountField
    purpose: Purpose


class Unbonding(Record):
    """All that leaves one account's bonds, the earliest first."""

    entries: tuple[Leaving, ...]

    @property
    def total(self) -> Amount:
        """Return all coins on their way."""
        return Amount(sum(entry.amount for entry in self.entries))


class Chosen(Record):
    """Who will be a validator of the next epoch, unless it is in jail or tombstoned by then; sorted by account."""

    members: tuple[Member, ...]


class PunishedOffence(Record):
    """An offence that evidence has shown, kept until evidence about its epoch expires."""

    validator: AccountField
    offence: HashField
    view: Natural
    kind: ShortText
    height: HeightField
    slashed: AmountField
