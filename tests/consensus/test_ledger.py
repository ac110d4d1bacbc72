"""The ledger's own promises: attempts that fail leave nothing, money that moves is accounted for."""

import pytest
from msgspec.structs import replace

from chain.ids import Amount, Hash
from chain.transaction import Transfer
from consensus.errors import Invalid
from consensus.events import DeviceRegistered
from consensus.ledger import Ledger, take_funds
from consensus.queries import get_supply
from consensus.records import Miner
from consensus.state import get_account
from tests.consensus.harness import MINERS, OTHER, OWNER, PRODUCER, WEALTH, Chain, make_plan


def new_ledger(chain: Chain) -> Ledger:
    return Ledger(chain, chain.context(), chain, None)


def spend(ledger: Ledger) -> None:
    """Do a bit of everything."""
    ledger.charge(OWNER.account, get_account(ledger.view, OWNER.account), 10, "amount", 5, "test")
    ledger.credit(OTHER.account, 10)
    ledger.put_miner(MINERS[0].account, Miner(ledger.context.height, Amount(0)))
    ledger.stir(Hash(OWNER.account))
    ledger.tell(DeviceRegistered(OTHER.account))


def fail(ledger: Ledger, error: Exception) -> None:
    """Do a bit of everything in an attempt, then fail."""
    with ledger.attempt():
        spend(ledger)
        raise error


@pytest.mark.parametrize("error", [Invalid("test", "refused"), OSError("disk")])
def test_an_attempt_that_fails_leaves_nothing(error):
    """Writes, income, events and stirred plans are as before, whether a rule or a machine failed."""
    chain = Chain()
    tried, plain = new_ledger(chain), new_ledger(chain)
    with pytest.raises(type(error)):
        fail(tried, error)
    tried.close()
    plain.close()
    assert tried.overlay.changes() == plain.overlay.changes()
    assert (tried.events, tried.stirred) == ([], frozenset())


def test_an_attempt_that_succeeds_is_kept():
    """What happened inside is as if it had happened outside."""
    chain = Chain()
    tried, plain = new_ledger(chain), new_ledger(chain)
    with tried.attempt():
        spend(tried)
    spend(plain)
    tried.close()
    plain.close()
    assert tried.overlay.changes() == plain.overlay.changes()
    assert (tried.events, tried.stirred) == (plain.events, plain.stirred)


def test_a_block_that_would_make_coins_is_a_fault_and_no_verdict():
    """If a rule ever credited what nobody paid, the node stops instead of agreeing."""
    ledger = new_ledger(Chain())
    ledger.credit(OTHER.account, 1)
    with pytest.raises(RuntimeError, match="make or lose coins"):
        ledger.close()


def test_funds_are_never_overdrawn():
    """Taking more than a plan has reserved for a purpose is a fault of this program."""
    chain = Chain()
    plan = chain.submit(make_plan())
    chain.mine()
    entry = chain.entry(plan)
    assert take_funds(entry, work=entry.funds.work).funds == replace(entry.funds, work=Amount(0))
    with pytest.raises(RuntimeError, match="not reserved"):
        take_funds(entry, work=entry.funds.work + 1)


def test_the_producer_is_paid_at_the_end_of_its_block():
    """Fees of a block can't be spent in it."""
    chain = Chain()
    chain.send(OWNER, Transfer(OTHER.account, Amount(1)), fee=9000)
    chain.send(PRODUCER, Transfer(OTHER.account, Amount(1)))
    chain.mine()
    assert len(chain.rejected) == 1
    assert chain.balance(PRODUCER) == 10_000
    assert get_supply(chain).circulating == 5 * WEALTH + 1000
