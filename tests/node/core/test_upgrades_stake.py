"""An upgrade of a running network of validators: who was not told stops by itself, and one liar can stop nobody."""

from collections.abc import Sequence
from dataclasses import replace

from msgspec.structs import replace as replace_fields

from chain.block import Header, block_id
from chain.codec import encode
from chain.genesis import Genesis
from chain.genesis_default_stake import default_stake_genesis, stake_rules
from chain.ids import Height
from chain.keys import KeyPair
from chain.upgrades import read_upgrades, write_upgrades
from consensus.engines import make_engine
from consensus.pos import vrf
from consensus.pos.engine import PosEngine
from consensus.pos.fields import PosFields, compute_mix, read_fields, seal_message, turn_input
from node.core.config import CoreConfig, MinerConfig
from node.notices import BlockRefused, HeadMoved
from node.signer import ValidatorSigner
from node.world import World
from storage.memorystores import MemorySigningJournal
from tests.node.core.town import PLAIN, START, House, Town, key_of, make_world

EPOCH = 6
AT = 9
VALIDATORS = [key_of(1 + number) for number in range(4)]


def make_genesis() -> Genesis:
    accounts = [key.account for key in VALIDATORS]
    return default_stake_genesis(
        "town", dict.fromkeys(accounts, 10**12), dict.fromkeys(accounts, 10**9), time_ms=START, block_ms=1000,
        epoch_blocks=EPOCH, unbonding_blocks=200, jail_blocks=100, rules=replace_fields(stake_rules(), version=2),
    )  # fmt: skip


OLD = make_genesis()
NEW = read_upgrades(write_upgrades(OLD, [{"height": AT, "version": 3, "rules": {"min_fee_per_byte": 3}}]), OLD)


def validator_world(genesis: Genesis, key: KeyPair) -> World:
    signer = ValidatorSigner(key, MemorySigningJournal())
    return replace(make_world(genesis, key), engine=make_engine(genesis, signer), signer=signer)


def mixed(*rules: Genesis) -> Town:
    """A validator for each genesis given, then a node that was not told and does not vote."""
    town = Town(OLD)
    for number, genesis in enumerate(rules):
        town.add(validator_world(genesis, VALIDATORS[number]), CoreConfig(miner=MinerConfig()), connect=range(number))
    town.add(make_world(OLD, key_of(50)), PLAIN, connect=range(len(rules)))
    return town


def height(house: House) -> int:
    return house.core.chain.height


def is_outdated(town: Town, *houses: int) -> bool:
    return all(town.houses[house].core.status(town.now).state == "outdated" for house in houses)


def assert_nobody_is_blamed(town: Town) -> None:
    for house in town.houses:
        assert house.halted is None
        assert len(house.core.peers()) == len(town.houses) - 1
        assert not [notice for notice in house.notices if isinstance(notice, BlockRefused)]


def test_a_running_network_of_validators_switches_by_height_and_who_was_not_told_stops() -> None:
    """Three of four go on through ends of epochs; the fourth and a follower stop below the height and say why."""
    town = mixed(NEW, NEW, NEW, OLD)
    assert town.run(lambda: height(town.houses[0]) >= 3 * EPOCH + 2, 400)
    assert town.houses[0].core.finalized() > 3 * EPOCH
    assert {height(town.houses[house]) for house in (3, 4)} == {AT - 1}
    assert is_outdated(town, 3, 4)
    for house in (3, 4):
        reason = town.houses[house].core.status(town.now).reason
        assert f"rules version 3 from block {AT} on" in reason
        assert "put the network's upgrades.json beside genesis.json and start the node again" in reason
    assert not is_outdated(town, 0)
    versions = {block.version for block in _headers(town.houses[0], AT)}
    assert versions == {3}
    assert_nobody_is_blamed(town)


def _headers(house: House, first: int) -> Sequence[Header]:
    store = house.core.world.store
    ids = [store.block_id_at(Height(number)) for number in range(first, height(house) + 1)]
    return [header for id in ids if id is not None and (header := store.header(id)) is not None]


def test_who_was_not_told_goes_on_once_it_is() -> None:
    """The same disk under the upgraded documents: it catches up and votes again."""
    town = mixed(NEW, NEW, NEW, OLD)
    assert town.run(lambda: height(town.houses[0]) >= 3 * EPOCH and is_outdated(town, 3, 4), 400)
    for house in (3, 4):
        old = town.houses[house].core
        old.world = replace(old.world, genesis=NEW, engine=make_engine(NEW, old.world.signer))
        town.restart(house, old.config)
    assert town.run(lambda: all(height(house) >= 5 * EPOCH for house in town.houses), 200)
    chains = [house.core.chain for house in town.houses]
    assert len({chain.tree.ancestor_id(chain.head_id, Height(4 * EPOCH)) for chain in chains}) == 1
    status = town.houses[3].core.agreement_status()
    assert status is not None
    assert status.part == "votes"


def test_a_node_that_was_away_learns_it_from_the_ends_of_epochs() -> None:
    """It comes back when nobody speaks of the switch any more: proofs of epochs under newer rules say it."""
    town = mixed(NEW, NEW, NEW, NEW)
    assert town.run(lambda: height(town.houses[4]) >= 3, 100)
    town.stop(4)
    assert town.run(lambda: height(town.houses[0]) >= 5 * EPOCH, 200)
    old = town.houses[4].core
    old.world = replace(old.world, engine=make_engine(OLD))
    town.restart(4, old.config)
    assert town.run(lambda: is_outdated(town, 4), 60)
    assert height(town.houses[4]) < AT
    assert "made blocks final" in town.houses[4].core.status(town.now).reason
    assert town.houses[4].halted is None
    assert town.houses[4].core.peers()


def test_one_validator_stops_nobody_and_more_than_a_third_do() -> None:
    """Its headers cost it nothing, however many there are, of whatever height; two of four can't be outvoted."""
    town = mixed(OLD, OLD, OLD, OLD)
    assert town.run(lambda: height(town.houses[4]) >= AT + 3, 200)
    core = town.houses[4].core

    def lie(key: KeyPair, count: int) -> None:
        engine, parent = core.world.engine, core.chain.head
        assert isinstance(engine, PosEngine)
        set = engine.sets.newest
        before = read_fields(parent)
        for view in range(before.view + 1, before.view + 1 + count):
            proof = vrf.prove(key.seed, turn_input(set.seed, set.epoch, view))
            mix = compute_mix(engine.mix(parent), vrf.compute_output(proof))
            header = replace_fields(
                parent,
                version=3,
                height=parent.height + 1,
                parent=block_id(parent),
                producer=key.account,
                engine=encode(PosFields(set.epoch, view, before.view, proof, mix)),
                seal=b"",
            )
            header = replace_fields(header, seal=key.sign(seal_message(set.seed, header)))
            core.chain.tree.accept(header, town.now)

    lie(VALIDATORS[0], 20)
    assert core.chain.tree.newer_chain() is not None
    assert core.chain.find_stop() is None
    before = height(town.houses[4])
    assert town.run(lambda: height(town.houses[4]) >= before + 2, 60)
    lie(VALIDATORS[1], 1)
    assert core.chain.find_stop() is None, "what the first said is of a height that is past"
    lie(VALIDATORS[0], 1)
    assert "more than a third of the stake" in (core.chain.find_stop() or "")
    assert [notice for notice in town.houses[4].notices if isinstance(notice, HeadMoved)]
