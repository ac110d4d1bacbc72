"""Pruning: what nobody can need any more goes, a little at a time; nobody is let go for asking for it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from msgspec.structs import replace as changed

from chain.ids import Hash, Height, Millis
from consensus.queries import get_history, needed_payloads
from node.core import pruning
from node.core.config import CoreConfig, Retention
from node.core.core import NodeCore
from node.core.pruning import Pruner
from node.events import Started, Tick
from node.notices import PeerLeft
from tests.consensus.harness import make_data, make_plan
from tests.node.core.chains import DEPTH, INTERVAL, SERVER, executed, make_chain, make_holder, shallow_genesis, state_of
from tests.node.core.plans import OWNER, device_key, is_over, submit
from tests.node.core.quiet import QuietNetwork
from tests.node.core.town import DEVICE, MINER, START, Rows, Town, key_of, make_genesis, make_world
from tests.storage.chains import make_block

LENGTH = 130
FINAL = LENGTH - DEPTH
UNDONE = FINAL // INTERVAL * INTERVAL
PLAN = make_plan(devices=(2, 2, 2), rounds=2, attestations=1, blocks=(10, 12, 6))


def tick(core: NodeCore, times: int) -> list[int]:
    """Give a core so many ticks; return how many blocks each step looked at, at most."""
    steps: list[int] = []
    store, now = core.world.store, START + 10**8
    for number in range(times):
        before = [store.floor(kind) for kind in ("undo", "payloads", "bodies")]
        core.handle(Tick(), Millis(now + 250 * number))
        after = [store.floor(kind) for kind in ("undo", "payloads", "bodies")]
        steps.append(sum(after) - sum(before))
    return steps


def started(retention: Retention, key: int) -> NodeCore:
    """A core with the chain, its network quiet."""
    world = make_holder(LENGTH, key)
    core = NodeCore(world, replace(SERVER, retention=retention), lambda chain: QuietNetwork())
    core.handle(Started(), Millis(START + 10**8))
    return core


def test_undo_goes_up_to_the_state_that_is_served_and_not_beyond() -> None:
    """What a reorganisation, or a served state after a restart, can need is there; each step is small."""
    core = started(Retention(), 60)
    steps = tick(core, 10)
    chain = make_chain(LENGTH)
    assert executed(core.world, chain) == [block.id for block in chain[UNDONE:]]
    assert 0 < max(steps) <= 64
    assert core.world.store.floor("bodies") == 0
    again = NodeCore(core.world, SERVER, lambda chain: QuietNetwork())
    again.handle(Started(), Millis(START + 10**9))
    assert [offer.height for offer in again._snapshots.served()] == [UNDONE]


def test_an_archive_keeps_everything() -> None:
    """No undo, no body goes."""
    core = started(Retention(archive=True, bodies=5, payloads=5), 61)
    assert sum(tick(core, 20)) == 0
    assert len(executed(core.world, make_chain(LENGTH))) == LENGTH
    assert core.trust().sentence() == "genesis; archive"


def test_bodies_go_as_far_below_finality_as_the_operator_says() -> None:
    """Headers and state stay; the node says what it has not."""
    core = started(Retention(bodies=30), 62)
    before = state_of(core.world)
    assert max(tick(core, 60)) <= 64
    chain, store = make_chain(LENGTH), core.world.store
    gone = FINAL - 30
    assert [store.has_body(block.id) for block in chain] == [False] * gone + [True] * (LENGTH - gone)
    assert all(store.header(block.id) is not None for block in chain)
    assert state_of(core.world) == before
    assert core.trust().sentence() == f"genesis; blocks pruned up to {gone}"
    again = NodeCore(core.world, SERVER, lambda chain: QuietNetwork())
    assert (again.chain.height, again.chain.tree.best_complete()) == (LENGTH, chain[-1].id)


def test_who_asks_a_pruned_node_is_served_by_others_and_nobody_is_let_go() -> None:
    """A newcomer that executes everything gets the blocks from an archive; it keeps both as peers."""
    town = Town(shallow_genesis())
    town.now = Millis(town.now + 10**7)
    town.add(make_holder(LENGTH, 63), replace(SERVER, retention=Retention(bodies=10)))
    town.add(make_holder(LENGTH, 64), replace(SERVER, retention=Retention(archive=True)), connect=[0])
    assert town.run(lambda: town.houses[0].core.world.store.floor("bodies") == FINAL - 10, 30)
    late = town.add(make_world(town.genesis, key_of(50)), CoreConfig(), connect=[0, 1])
    assert town.run(lambda: late.core.chain.height == LENGTH, 60)
    assert len(executed(late.core.world, make_chain(LENGTH))) == LENGTH
    assert not [notice for house in town.houses for notice in house.notices if isinstance(notice, PeerLeft)]


def test_a_state_synced_node_and_an_archive_serve_a_newcomer_together() -> None:
    """The same for blocks that a node never had."""
    town = Town(shallow_genesis())
    town.now = Millis(town.now + 10**7)
    town.add(make_holder(LENGTH, 65), replace(SERVER, retention=Retention(archive=True)))
    short = town.add(make_world(town.genesis, key_of(51)), CoreConfig(state_blocks=50), connect=[0])
    assert town.run(lambda: short.core.chain.height == LENGTH, 60)
    assert short.core.trust().synced_at > 0
    late = town.add(make_world(town.genesis, key_of(52)), CoreConfig(), connect=[0, 1])
    assert town.run(lambda: late.core.chain.height == LENGTH, 60)
    assert not [notice for house in town.houses for notice in house.notices if isinstance(notice, PeerLeft)]


def test_payloads_of_settled_rounds_go_and_plans_are_learnt_all_the_same() -> None:
    """With almost nothing kept, a plan runs to its end on every node; then no payload is left that nothing needs."""
    genesis = make_genesis([OWNER])
    genesis = changed(genesis, engine=changed(genesis.engine, max_reorg=DEPTH))
    town, forgetful = Town(genesis), Retention(payloads=1)
    for number in range(2):
        world = make_world(genesis, key_of(1 + number))
        town.add(world, replace(MINER, retention=forgetful), connect=range(number))
    for number in range(2):
        key = device_key(number)
        world = make_world(genesis, key, data=Rows(make_data(key)))
        town.add(world, replace(DEVICE, retention=forgetful), connect=range(2))
    town.run(lambda: town.houses[0].core.chain.height >= 3, 60)
    plan = submit(town, PLAN)
    assert town.run(lambda: is_over(town, plan), 300)
    held = town.houses[0].core.world.payloads.total_bytes()
    assert held > 0
    assert len(get_history(town.houses[0].core.chain.view, plan)) == 2
    end = town.houses[0].core.chain.height + DEPTH + 30
    assert town.run(lambda: min(house.core.chain.height for house in town.houses) >= end, 200)
    for house in town.houses[:2]:
        assert not needed_payloads(house.core.chain.view, plan)
        assert house.core.world.store.floor("payloads") > 0
        assert house.core.world.payloads.total_bytes() < held / 2
    assert Height(0) == town.houses[0].core.world.store.floor("bodies")


def test_a_payload_of_which_nobody_knows_who_refers_to_it_stays() -> None:
    """A node's index may have holes: what no block is known to refer to last may be referred to by a later one."""
    world = make_holder(LENGTH, 66)
    payloads = [world.payloads.put(text) for text in (b"shared with a later block", b"this one's", b"unknown")]
    block = make_block(make_chain(LENGTH)[4].header, payloads=(b"shared with a later block", b"this one's", b"unknown"))
    known = dict(zip(payloads, (Height(9), Height(5), None), strict=True))
    store = SimpleNamespace(block_id_at=lambda height: block.id, body=lambda id: block.body, referred_at=known.get)
    chain = NodeCore(world, SERVER, lambda chain: QuietNetwork()).chain
    pruner = Pruner(replace(world, store=store), replace(SERVER, retention=Retention(payloads=1)), chain)
    assert list(pruner._spent_payloads(Height(5), frozenset())) == [payloads[1]]
    assert list(pruner._spent_payloads(Height(5), frozenset(payloads[1:2]))) == []


def test_payloads_of_a_task_stay_until_the_block_in_which_it_settled_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that is not final may be taken back, and with it the task is open again; another may take its place."""
    ids = {Height(35): Hash(bytes([35]) * 32), Height(36): Hash(bytes([36]) * 32)}
    read, final = {35: Height(26), 36: Height(36)}, [35]
    monkeypatch.setattr(pruning, "get_active", lambda view: [ids[Height(35)]])
    monkeypatch.setattr(pruning, "reads_above", lambda view, plan: read[view])
    chain = SimpleNamespace(height=Height(35), head_id=ids[Height(35)], view=35, tree=None)
    world = SimpleNamespace(
        store=SimpleNamespace(block_id_at=ids.get), engine=SimpleNamespace(finalized=lambda tree, head: final[0])
    )
    config = replace(SERVER, retention=Retention(payloads=1))
    pruner = Pruner(world, config, chain)  # type: ignore[arg-type]
    pruner._note_head()
    assert pruner._end_of("payloads") == 26
    chain.height, chain.head_id, chain.view = Height(36), ids[Height(36)], 36
    pruner._note_head()
    assert pruner._end_of("payloads") == 26, "the task has settled, in a block that may be taken back"
    ids[Height(36)] = chain.head_id = Hash(bytes([37]) * 32)
    read[36] = Height(26)
    pruner._note_head()
    final[0] = 36
    pruner._note_head()
    assert pruner._end_of("payloads") == 26, "it was taken back: in the block that is final it has not settled"
