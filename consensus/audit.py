"""Counting every coin: the full check of what ``Supply`` claims, over a dump of the whole state.

Blocks keep the supply by differences; this adds up what is really there. Tests, the simulator and ``db check`` use it.
"""

from collections.abc import Iterable

from chain.codec import Record, decode
from chain.ids import Amount
from consensus.records import Account, Dispute, Miner, PlanEntry, Supply
from consensus.staking.records import Unbonding, Validator
from consensus.statekeys import SUPPLY_KEY


class Audit(Record):
    """What the state records of its supply, and what its accounts, plans and bonds add up to."""

    recorded: Supply
    counted: Supply

    @property
    def is_conserved(self) -> bool:
        """Is every coin where the record says, and none too many or too few?"""
        total = self.counted.circulating + self.counted.escrowed + self.counted.bonded
        return self.recorded == self.counted and total == self.recorded.minted


def audit_supply(items: Iterable[tuple[bytes, bytes]]) -> Audit:
    """Return the audit of a whole state, given all its keys and values (tree nodes may be among them)."""
    circulating = escrowed = bonded = 0
    recorded = Supply(Amount(0), Amount(0), Amount(0), Amount(0))
    for key, value in items:
        if key.startswith(b"s/account/"):
            circulating += decode(value, Account).balance
        elif key.startswith(b"s/plan/"):
            escrowed += decode(value, PlanEntry).funds.total
        elif key.startswith(b"s/miner/"):
            bonded += decode(value, Miner).bond
        elif key.startswith(b"s/validator/"):
            bonded += decode(value, Validator).stake
        elif key.startswith(b"s/dispute/"):
            bonded += decode(value, Dispute).deposit
        elif key.startswith(b"s/unbonding/"):
            bonded += decode(value, Unbonding).total
        elif key == SUPPLY_KEY:
            recorded = decode(value, Supply)
    return Audit(recorded, Supply(recorded.minted, Amount(circulating), Amount(escrowed), Amount(bonded)))
