"""What every block does to stake after its transactions: payments that are due, turns that were missed, epochs."""

from consensus.ledger import Ledger
from consensus.staking.absence import count_turns
from consensus.staking.sets import end_epoch
from consensus.staking.unbonding import pay_due


def tick_stake(ledger: Ledger) -> None:
    """Do it, in this order; nothing on a chain without validators."""
    stake = ledger.context.stake
    if stake is None:
        return
    pay_due(ledger)
    count_turns(ledger, stake)
    end_epoch(ledger, stake)
