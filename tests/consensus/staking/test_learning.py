"""A plan on a chain with validators: learning does not notice who makes the blocks, and no coin is lost to either."""

from msgspec.structs import replace

from chain.codec import encode
from chain.genesis import Allocation
from chain.ids import Amount
from chain.transaction import SubmitEvidence, Unbond
from consensus.queries import get_history, get_supply
from tests.consensus.harness import DEVICES, OWNER, Chain, make_plan
from tests.consensus.harness import WEALTH as OWNERS_WEALTH
from tests.consensus.staking.harness import REPORTER, VALIDATORS, StakeChain, make_stake_genesis


def test_a_plan_settles_over_epochs_and_offences() -> None:
    """Two rounds of two phases across boundaries, with a stake leaving and one slashed meanwhile."""
    genesis = make_stake_genesis()
    owner = Allocation(OWNER.account, Amount(OWNERS_WEALTH))
    chain = StakeChain(replace(genesis, allocations=(*genesis.allocations, owner)))
    plan = chain.start(make_plan(devices=(2, 3, 3)), DEVICES[:3])
    for height in range(3, 12):
        if chain.entry(plan).status == "running":
            chain.reveal(plan, *chain.selected(plan))
        if height == 5:
            chain.send(VALIDATORS[2], Unbond(Amount(400)))
            chain.send(REPORTER, SubmitEvidence(encode(chain.double_vote(VALIDATORS[0]))))
        chain.mine()
        assert not chain.rejected
        assert chain.audit().is_conserved
    assert chain.entry(plan).status == "finished"
    assert len(get_history(chain, plan)) == 2
    assert get_supply(chain).escrowed == 0


def test_learning_gives_the_same_model_as_on_a_chain_of_work() -> None:
    """Who agrees on blocks, and how, is not in the result."""
    genesis = make_stake_genesis()
    owner = Allocation(OWNER.account, Amount(OWNERS_WEALTH))
    models = []
    for chain in (Chain(), StakeChain(replace(genesis, allocations=(*genesis.allocations, owner)))):
        plan = chain.start(make_plan(devices=(3, 3, 3), rounds=1), DEVICES[:3])
        for _ in range(4):
            if chain.entry(plan).status == "running":
                chain.reveal(plan, *chain.selected(plan))
            chain.mine()
        models.append([record.model for record in get_history(chain, plan)])
    assert len(models[0]) == 1
    assert models[0] == models[1]
