"""An upgrade of a running network: upgraded nodes go on, old ones stop below it, say why, and go on when they can."""

from dataclasses import replace as replace_field

import pytest
from msgspec.structs import replace

from chain.genesis import Genesis
from chain.ids import Amount, Height
from chain.transaction import Transfer
from chain.upgrades import read_upgrades, write_upgrades
from consensus.engines import make_engine
from node.core.config import CoreConfig
from node.core.outdated import NEWER_BLOCKS
from node.effects import StartJob
from node.errors import StartupError
from node.events import SubmitBody, Tick
from node.jobs.specs import BuildBlock, SealBlock
from node.notices import BlockRefused, RoleNotice
from node.status import Status
from node.world import World
from p2p.events import Verdict
from tests.node.core.lonely import Lonely
from tests.node.core.mint import Mint
from tests.node.core.plans import OWNER
from tests.node.core.town import MINER, House, Town, key_of, make_genesis, make_world

AT = 8
OLD = replace(make_genesis([OWNER]), schedule=tuple(replace(r, version=1) for r in make_genesis([OWNER]).schedule))
CHANGE = {"height": AT, "version": 2, "rules": {"min_fee_per_byte": 3}}
NEW = read_upgrades(write_upgrades(OLD, [CHANGE]), OLD)
LATER = read_upgrades(write_upgrades(OLD, [{"height": AT, "version": 9, "release": "fedchain 4"}]), OLD)


def status(town: Town, house: int) -> Status:
    return town.houses[house].core.status(town.now)


def height(town: Town, house: int) -> int:
    return town.houses[house].core.chain.height


def mixed(*genesis: Genesis) -> Town:
    """Two upgraded miners, then a miner for each genesis given; all know the first."""
    town = Town(OLD)
    for number, rules in enumerate((NEW, NEW, *genesis)):
        town.add(make_world(rules, key_of(1 + number)), MINER, connect=range(number))
    return town


def said(house: House) -> list[str]:
    return [notice.text for notice in house.notices if isinstance(notice, RoleNotice) and notice.role == "node"]


def test_an_old_node_that_was_told_stops_below_the_height_and_wastes_nothing():
    """Its documents name rules it doesn't know: it warns from its start on and never builds a block there."""
    town = mixed(LATER)
    assert town.run(lambda: height(town, 0) >= AT + 12, 200)
    old = town.houses[2]
    assert height(town, 2) == AT - 1
    assert status(town, 2).state == "outdated"
    assert "install fedchain 4 and start the node again" in status(town, 2).reason
    assert any("in 8 blocks" in text for text in said(old))
    assert any("in 1 blocks" in text for text in said(old))
    assert old.halted is None
    assert not any(isinstance(spec, BuildBlock | SealBlock) for spec in old.running.values()), "it rests"
    started = [effect.spec for _, _, effects in old.log for effect in effects if isinstance(effect, StartJob)]
    assert all(spec.header.height < AT for spec in started if isinstance(spec, SealBlock))
    assert not any(isinstance(notice, BlockRefused) for notice in old.notices)
    assert all(stored.header.height < AT for stored in old.core.world.store.headers())
    assert any(f"in force since block {AT}" in text for text in said(town.houses[0]))


def test_an_old_node_that_was_not_told_hears_it_from_the_chain():
    """Once the chain under newer rules is heavier by a few blocks it stops, and names what to do."""
    town = mixed(OLD)
    assert town.run(lambda: height(town, 0) >= AT + 14, 300)
    assert town.run(lambda: status(town, 2).state == "outdated", 60)
    stopped = height(town, 2)
    assert "rules version 2" in status(town, 2).reason
    assert "upgrades.json" in status(town, 2).reason
    assert town.run(lambda: height(town, 0) >= AT + 24, 300)
    assert height(town, 2) == stopped
    assert not any(isinstance(notice, BlockRefused) for notice in town.houses[2].notices)
    assert not any(stored.invalid for stored in town.houses[2].core.world.store.headers())


def upgraded(world: World, genesis: Genesis) -> World:
    """The same disk, opened by a node that was given the upgrade."""
    return replace_field(world, genesis=genesis, engine=make_engine(genesis))


def test_an_old_node_takes_its_blocks_back_and_joins_when_it_is_upgraded():
    """Blocks it made under the old rules after the height are undone at the start; money is what the network says."""
    town = mixed(OLD, OLD)
    town.send(3, SubmitBody(1, Transfer(key_of(9).account, Amount(1))))
    assert town.run(lambda: height(town, 0) >= AT + 14, 300)
    old = town.houses[2]
    main_chain = [old.core.world.store.block_id_at(Height(number)) for number in range(AT, height(town, 2) + 1)]
    assert main_chain, "it went on under the old rules"
    old.core.world = upgraded(old.core.world, NEW)
    town.restart(2, MINER)
    assert town.run(lambda: len({town.houses[n].core.chain.head_id for n in (0, 1, 2)}) == 1, 60)
    assert status(town, 2).state == "synced"
    assert all(old.core.chain.tree.invalid_reason(id) for id in main_chain if id is not None)
    roots = {town.houses[number].core.chain.head.state_root for number in (0, 1, 2)}
    assert len(roots) == 1


def test_a_stranger_cannot_stop_old_nodes_with_a_block():
    """A few blocks that name newer rules are heard of; a node stops only for as many as nobody makes for fun."""
    mint, old = Mint(NEW), Lonely(OLD)
    parent = mint.root
    for number in range(1, AT + NEWER_BLOCKS):
        block = mint.block(parent, producer=OWNER)
        old.give(block)
        newer = max(0, number - AT + 1)
        assert (old.core.chain.find_stop() is not None) == (newer >= NEWER_BLOCKS)
        parent = block.id
    assert old.core.status(old.now).state == "outdated"
    assert old.core.chain.height == AT - 1
    assert all(verdict is not Verdict.REJECT for _, verdict, _ in old.network.verdicts)


def test_new_rules_hold_from_their_height_on():
    """The upgraded node asks the new fee of what comes into a block at the height, and not before."""
    mint = Mint(NEW)
    assert [mint.genesis.rules_at(height).min_fee_per_byte for height in (AT - 1, AT)] == [1, 3]
    parent = mint.root
    for number in range(1, AT + 2):
        parent = mint.block(parent, producer=OWNER).id
        assert mint.blocks[parent].header.version == (1 if number < AT else 2)


def test_an_upgrade_below_what_can_be_taken_back_is_refused_with_a_remedy():
    """An operator who mistypes the height is told what to mend; the chain stays as it is, and goes on without."""
    genesis = replace(OLD, engine=replace(OLD.engine, max_reorg=5))
    wrong = read_upgrades(write_upgrades(genesis, [{"height": 3, "version": 2}]), genesis)
    mint = Mint(genesis)
    lonely = Lonely(genesis, config=CoreConfig(snapshot_blocks=4))
    parent = mint.root
    for _ in range(30):
        block = mint.block(parent, producer=key_of(1))
        lonely.give(block)
        parent = block.id
    for _ in range(10):
        lonely.send(Tick())
    assert lonely.world.store.floor("undo") > 3
    head = lonely.head
    told = replace_field(lonely.world, genesis=wrong, engine=make_engine(wrong))
    with pytest.raises(StartupError, match=r"upgrades\.json") as caught:
        Lonely(wrong, told)
    assert "sync again" in caught.value.remedy
    assert Lonely(genesis, lonely.world).head == head
