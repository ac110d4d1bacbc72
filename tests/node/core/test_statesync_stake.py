"""State sync under proof of stake: what is trusted is what certificates prove, from the genesis set on."""

from dataclasses import replace

from chain.genesis_default_stake import default_stake_genesis
from chain.ids import Height
from consensus.engines import make_engine
from node.core.config import CoreConfig, MinerConfig
from node.signer import ValidatorSigner
from storage.memorystores import MemorySigningJournal
from tests.node.core.town import START, Town, key_of, make_world

EPOCH = 20
VALIDATORS = [key_of(1 + number) for number in range(4)]


def make_town() -> Town:
    """Four validators who serve the states at multiples of ten."""
    accounts = [key.account for key in VALIDATORS]
    genesis = default_stake_genesis(
        "town", dict.fromkeys(accounts, 10**12), dict.fromkeys(accounts, 10**9), time_ms=START, block_ms=1000,
        epoch_blocks=EPOCH, unbonding_blocks=200,
    )  # fmt: skip
    town = Town(genesis)
    for number, key in enumerate(VALIDATORS):
        signer = ValidatorSigner(key, MemorySigningJournal())
        world = replace(make_world(genesis, key), engine=make_engine(genesis, signer), signer=signer)
        town.add(world, CoreConfig(snapshot_blocks=10, miner=MinerConfig()), connect=range(number))
    return town


def test_a_newcomer_takes_a_state_that_certificates_made_final_and_follows_the_epochs_from_there() -> None:
    """The sets of voters are proven epoch by epoch; the state is one below the last proven end; blocks go on final."""
    town = make_town()
    assert town.run(lambda: town.houses[0].core.chain.height >= 3 * EPOCH + 5, 200)
    late = town.add(make_world(town.genesis, key_of(50)), CoreConfig(state_blocks=EPOCH), connect=[0, 1])
    store = late.core.world.store
    assert town.run(lambda: late.core.chain.height >= 4 * EPOCH + 5, 100)
    assert 0 < store.base() <= 3 * EPOCH
    executed = [
        store.undo(id) is not None for height in range(1, 4 * EPOCH) if (id := store.block_id_at(Height(height)))
    ]
    assert executed == [False] * store.base() + [True] * (4 * EPOCH - 1 - store.base())
    assert late.core.finalized() >= 4 * EPOCH
    assert all(house.halted is None for house in town.houses)
