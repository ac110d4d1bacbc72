"""State sync: a newcomer is where everybody is without having executed what came before."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from chain.codec import decode, encode
from chain.ids import Hash, Height, Millis
from consensus.queries import get_history, needed_payloads
from consensus.snapshot import Chunk
from consensus.state import get_round
from node.core.checkpoint import Checkpoint
from node.core.config import CoreConfig, DeviceConfig, MinerConfig
from node.core.core import NodeCore
from node.core.snapshots import SnapshotDesk
from node.notices import PeerLeft, StateSynced
from node.simulator.disk import PowerCut
from p2p.events import StateOffer
from storage.memory import MemoryChainStore
from tests.consensus.harness import make_data, make_plan
from tests.node.core.chains import (
    DEPTH,
    INTERVAL,
    SERVER,
    executed,
    make_chain,
    make_holder,
    make_stale_branch,
    shallow_genesis,
    state_of,
)
from tests.node.core.lonely import Lonely
from tests.node.core.plans import OWNER, device_key, is_over, models, submit
from tests.node.core.quiet import QuietNetwork
from tests.node.core.town import House, Rows, Town, key_of, make_genesis, make_world

LENGTH = 130
SYNCED = (LENGTH - DEPTH) // INTERVAL * INTERVAL
NEWCOMER = CoreConfig(state_blocks=50)


def make_town(holders: int = 2, config: CoreConfig = SERVER) -> Town:
    """Nodes that have the chain."""
    town = Town(shallow_genesis())
    town.now = Millis(town.now + 10**7)  # after the chain's last block
    for number in range(holders):
        town.add(make_holder(LENGTH, 30 + number), config, connect=range(number))
    return town


def is_there(town: Town) -> bool:
    return town.houses[-1].core.chain.height == LENGTH


def test_a_newcomer_takes_the_state_and_executes_only_what_comes_after() -> None:
    """No block up to the state's was executed; what the node has then is bit for bit what others have."""
    town = make_town()
    late = town.add(make_world(town.genesis, key_of(50)), NEWCOMER, connect=[0, 1])
    assert town.run(lambda: is_there(town), 60)
    store = late.core.world.store
    assert store.base() == SYNCED
    chain = make_chain(LENGTH)
    assert executed(late.core.world, chain) == [block.id for block in chain[SYNCED:]]
    assert state_of(late.core.world) == state_of(town.houses[0].core.world)
    assert [notice.height for notice in late.notices if isinstance(notice, StateSynced)] == [SYNCED]
    assert not any(store.has_body(block.id) for block in chain[:SYNCED])
    assert late.core.status(town.now).state == "synced"
    assert len(town.heads()) == 1


@pytest.mark.parametrize("depth", [1, 4])
def test_whose_head_was_left_behind_on_a_stale_branch_comes_off_it_and_takes_the_state(depth: int) -> None:
    """Nothing is taken back by adopting a state: it gathered one after the other for ever, and executed nothing."""
    town = make_town()
    stale = make_stale_branch(LENGTH, 20, depth)
    world = make_world(town.genesis, key_of(50))
    known = 20 if depth == 1 else 21  # the second stale block names its uncle on the main chain
    Lonely(town.genesis, world, SERVER).give(*make_chain(LENGTH)[:known], *stale)
    assert world.store.tip() == stale[-1].id
    late = town.add(world, NEWCOMER, connect=[0, 1])
    assert town.run(lambda: is_there(town), 120)
    assert late.core.world.store.base() == SYNCED
    assert state_of(late.core.world) == state_of(town.houses[0].core.world)


def test_a_large_value_comes_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values beyond what a piece holds are fetched apart from who serves the state, and are the same in the end."""
    monkeypatch.setattr("consensus.snapshot.MAX_INLINE_BYTES", 40)
    monkeypatch.setattr("node.core.statesync.MAX_INLINE_BYTES", 40)
    monkeypatch.setattr("node.core.parts.SLICE_BYTES", 16)
    monkeypatch.setattr("node.core.largevalue.SLICE_BYTES", 16)
    town = make_town(1)
    late = town.add(make_world(town.genesis, key_of(50)), NEWCOMER, connect=[0])
    assert town.run(lambda: is_there(town), 120)
    assert late.core.world.store.base() == SYNCED
    assert state_of(late.core.world) == state_of(town.houses[0].core.world)


# --- who lies ---------------------------------------------------------------------------------------


def spoil(house: House, lie: Callable[[Chunk], bytes]) -> list[bytes]:
    """Make a node answer every question for a piece with a lie; return the list of what it was asked."""
    desk: SnapshotDesk = house.core._snapshots
    honest, asked = desk.part, []

    def answer(block: Hash, question: bytes) -> bytes | None:
        data = honest(block, question)
        asked.append(question)
        return None if data is None else lie(decode(data, Chunk))

    desk.part = answer  # type: ignore[method-assign]
    return asked


LIES: dict[str, Callable[[Chunk], bytes]] = {
    "a key left out": lambda chunk: encode(changed(chunk, items=chunk.items[1:])),
    "a value changed": lambda chunk: encode(
        changed(chunk, items=((chunk.items[0][0], b"!"), *chunk.items[1:]) if chunk.items else ((b"s/x", b"!"),))
    ),
    "a key added": lambda chunk: encode(changed(chunk, items=(*chunk.items, (b"s/coins", b"many")))),
    "another root": lambda chunk: encode(changed(chunk, siblings=(Hash(bytes(32)), *chunk.siblings[1:]))),
    "nothing": lambda chunk: encode(Chunk((), (), ())),
    "garbage": lambda chunk: b"\xc1" * 100,
    "nothing at all": lambda chunk: b"",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_liar_is_let_go_and_the_truth_is_had_from_others(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One false piece is enough; nothing false is kept, and the honest peer's state is adopted."""
    monkeypatch.setattr("consensus.snapshot.MAX_CHUNK_BYTES", 2_000)
    town = make_town()
    told = spoil(town.houses[0], LIES[lie])
    late = town.add(make_world(town.genesis, key_of(50)), NEWCOMER, connect=[0, 1])
    assert town.run(lambda: is_there(town), 120)
    assert len(told) >= 1
    assert late.core.world.store.base() == SYNCED
    assert state_of(late.core.world) == state_of(town.houses[1].core.world)
    liar = town.houses[0].core.world.key.account
    assert [notice for notice in late.notices if isinstance(notice, PeerLeft) and notice.peer == liar]
    assert liar not in [info.peer for info in late.core.peers()]


def test_with_liars_alone_nothing_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better no state than a false one."""
    monkeypatch.setattr("consensus.snapshot.MAX_CHUNK_BYTES", 2_000)
    town = make_town(1)
    spoil(town.houses[0], LIES["a value changed"])
    late = town.add(make_world(town.genesis, key_of(50)), NEWCOMER, connect=[0])
    assert not town.run(lambda: late.core.chain.height > 0, 20)
    assert late.core.world.store.base() == 0


@pytest.mark.parametrize(("above", "is_asked"), [(0, True), (1, False)])
def test_a_state_that_is_not_final_is_not_asked_for(
    above: int, is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever serves it, and though its block is on the best chain: what stands above it may be taken back."""
    town = make_town(1)
    height = LENGTH - DEPTH + above
    offer = StateOffer(Height(height), make_chain(LENGTH)[height - 1].id)
    monkeypatch.setattr(town.houses[0].core._snapshots, "served", lambda: (offer,))
    asked = spoil(town.houses[0], encode)
    late = town.add(make_world(town.genesis, key_of(50)), NEWCOMER, connect=[0])
    assert town.run(lambda: bool(asked), 10) == is_asked
    assert late.core.chain.tree.height(late.core.chain.tree.best()) == LENGTH


def test_crumbs_without_end_are_not_taken_for_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cuts the state as finely as it goes is let go before it has sent a tenth of its crumbs."""
    monkeypatch.setattr("consensus.snapshot.MAX_CHUNK_LEAVES", 1)
    town = make_town(1)
    asked = spoil(town.houses[0], encode)
    town.add(make_world(town.genesis, key_of(50)), NEWCOMER, connect=[0])
    town.run(lambda: not town.houses[-1].core.peers() and bool(asked), 20)
    leaves = sum(key.startswith(b"s/") for key in state_of(town.houses[0].core.world))
    assert 0 < len(asked) < leaves / 4


# --- who is killed ----------------------------------------------------------------------------------


class Killer:
    """Ends the process at each write of a state sync in turn, once before it and once after it."""

    def __init__(self, store: MemoryChainStore) -> None:
        self.kills = 0
        self._passed: set[tuple[str, int, bool]] = set()
        self._numbers = {"put": 0, "begin": 0, "adopt": 0}
        for owner, name in ((store.staging, "put"), (store.staging, "begin"), (store, "adopt")):
            setattr(owner, name, self._guarded(name, getattr(owner, name)))

    def _guarded(self, name: str, write: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: object) -> None:
            self._kill_once(name, False)
            write(*arguments)
            self._kill_once(name, True)
            self._numbers[name] += 1

        return guarded

    def _kill_once(self, name: str, after: bool) -> None:
        moment = (name, self._numbers[name], after)
        if moment not in self._passed:
            self._passed.add(moment)
            self._numbers[name] += after
            self.kills += 1
            raise PowerCut


def test_killed_at_every_write_it_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after each write the process dies; nothing half made is ever the state, no piece is fetched twice."""
    monkeypatch.setattr("consensus.snapshot.MAX_CHUNK_BYTES", 4_000)
    town = make_town(1)
    world = make_world(town.genesis, key_of(50))
    assert isinstance(world.store, MemoryChainStore)
    killer = Killer(world.store)
    late = town.add(world, NEWCOMER, connect=[0])
    first = state_of(world)
    asked = spoil(town.houses[0], encode)
    for _ in range(200):
        try:
            if town.run(lambda: is_there(town), 20):
                break
        except PowerCut:
            assert state_of(world) == first or world.store.base() == SYNCED
            assert world.store.height() in (0, SYNCED)
            town.restart(1, NEWCOMER)
            town.at(250, lambda: town._tick(1))  # the tick that was being handled is gone
    assert is_there(town)
    pieces = len(set(asked))
    assert killer.kills >= 2 * pieces > 8
    assert state_of(late.core.world) == state_of(town.houses[0].core.world)
    assert late.core.world.store.staging.target() is None
    again = NodeCore(world, NEWCOMER, lambda chain: QuietNetwork())
    assert again.chain.height == LENGTH


# --- what the operator trusts -----------------------------------------------------------------------


def test_a_chain_that_contradicts_the_checkpoint_is_refused() -> None:
    """Its headers are no good for this node, whoever brings them is let go; the chain it stands on stays genesis."""
    town = make_town(1)
    wrong = Checkpoint(Height(40), Hash(b"\x01" * 32))
    late = town.add(make_world(town.genesis, key_of(50)), replace(NEWCOMER, checkpoint=wrong), connect=[0])
    assert not town.run(lambda: late.core.chain.height > 40 or late.core.world.store.base() > 0, 20)
    assert late.core.chain.tree.height(late.core.chain.tree.best()) < 40
    parted = [notice for notice in late.notices if isinstance(notice, PeerLeft)]
    assert parted


def test_the_right_checkpoint_changes_nothing() -> None:
    """The chain it names is followed to its end."""
    town = make_town(1)
    right = Checkpoint(Height(40), make_chain(LENGTH)[39].id)
    late = town.add(make_world(town.genesis, key_of(50)), replace(NEWCOMER, checkpoint=right), connect=[0])
    assert town.run(lambda: is_there(town), 60)
    assert late.core.world.store.base() == SYNCED


def test_nobody_serves_a_state_so_the_blocks_are_executed() -> None:
    """State sync is a short cut: without anybody to take it from, the long way is taken."""
    town = make_town(1, CoreConfig(snapshot_blocks=0))
    late = town.add(make_world(town.genesis, key_of(50)), NEWCOMER, connect=[0])
    assert town.run(lambda: is_there(town), 120)
    assert late.core.world.store.base() == 0
    assert executed(late.core.world, make_chain(LENGTH)) == [block.id for block in make_chain(LENGTH)]


def test_a_plan_under_way_goes_on_at_a_newcomer() -> None:
    """What an open task still settles with is fetched with the state: the newcomer settles it as everybody does."""
    genesis = make_genesis([OWNER])
    genesis = changed(genesis, engine=changed(genesis.engine, max_reorg=2))
    town, serving = Town(genesis), CoreConfig(snapshot_blocks=1)
    town.add(make_world(genesis, key_of(1)), replace(serving, miner=MinerConfig()))
    for number in range(2):
        key = device_key(number)
        world = make_world(genesis, key, data=Rows(make_data(key)))
        town.add(world, replace(serving, device=DeviceConfig(consent=True, any_plan=True)), connect=[0])
    town.run(lambda: town.houses[0].core.chain.height >= 12, 60)
    plan = submit(town, make_plan(devices=(2, 2, 2), rounds=3, attestations=1, blocks=(10, 12, 6)))
    served = town.houses[0].core._snapshots

    def is_half_done() -> bool:
        """Does a state that is served have an open task with updates revealed?"""
        held = [state for _, state in served._held.values()]
        return any(needed_payloads(state, plan) for state in held)

    assert town.run(lambda: get_round(town.houses[0].core.chain.view, plan) is not None, 60)
    town.stop(2)  # one of two devices is silent: what the other released waits for it
    assert town.run(is_half_done, 60)
    late = town.add(make_world(genesis, key_of(50)), CoreConfig(state_blocks=5), connect=[0])
    assert town.run(lambda: late.core.world.store.base() > 0, 30)
    assert town.run(lambda: late.core.chain.height > late.core.world.store.base(), 30)
    town.restart(2, town.houses[2].core.config)
    assert town.run(lambda: is_over(town, plan), 200)
    assert len(models(town, plan)) == 1
    assert len(get_history(late.core.chain.view, plan)) == 3
