"""A town that learns with noise: two plans side by side, through a restart; every house has the same word on losses."""

from msgspec.structs import replace

from chain.genesis_default import default_genesis
from chain.number import Number
from consensus.privacy import get_charges, get_standing
from consensus.queries import get_history
from fl.plan.schema import FedSvrg, Laplace
from tests.consensus.harness import make_data, make_rules
from tests.consensus.private import LOSS, private_plan
from tests.node.core.plans import OWNER, device_key, entry_of, halts, is_over, models, submit
from tests.node.core.town import BLOCK_MS, DEVICE, MINER, START, Rows, Town, key_of, make_world

GENESIS = default_genesis(
    "town", {OWNER.account: 10**12}, time_ms=START, block_ms=BLOCK_MS, hashes_per_block=1, rules=make_rules(version=3)
)


def make_town(miners: int, devices: int) -> Town:
    """As in ``plans``, under rules that know noise."""
    town = Town(GENESIS)
    for number in range(miners):
        town.add(make_world(GENESIS, key_of(1 + number)), MINER, connect=range(number))
    for number in range(devices):
        key = device_key(number)
        town.add(make_world(GENESIS, key, data=Rows(make_data(key))), DEVICE, connect=range(miners))
    return town


def test_a_town_learns_two_plans_with_noise_and_counts_what_it_costs() -> None:
    """Gaussian in two phases beside Laplace in one; a device dies in the middle; what is left is free at the end."""
    town = make_town(miners=2, devices=2)
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    svrg = FedSvrg(Number.of("0.5"), False, False)
    common = {"devices": (2, 2, 2), "rounds": 2, "attestations": 1, "blocks": (10, 12, 6)}
    gaussian = private_plan(algorithm=svrg, nonce=1, **common)
    laplace = replace(private_plan(nonce=2, **common), privacy=Laplace("device", Number.of("0.1"), 0))
    plans = [submit(town, gaussian), submit(town, laplace)]
    journal = town.houses[2].core.world.journal
    assert town.run(lambda: len(list(journal.entries())) >= 2, 100)
    town.restart(2, DEVICE)
    assert town.run(lambda: is_over(town, *plans), 300)
    assert halts(town) == []
    assert [entry.status for plan in plans if (entry := entry_of(town, plan)) is not None] == ["finished", "finished"]
    assert all(len(models(town, plan)) == 1 for plan in plans)
    assert [len(get_history(town.houses[0].core.chain.view, plan)) for plan in plans] == [2, 2]
    for number in range(2):
        account = device_key(number).account
        for house in town.houses:
            standing = get_standing(house.core.chain.view, account)
            assert (standing.loss, standing.reserved) == (6 * LOSS, 0), "four Gaussian releases and two of Laplace"
            assert len(get_charges(house.core.chain.view, account)) == 6
        assert town.houses[2 + number].core.world.journal.spent() == 6 * LOSS
