"""State sync with peers that promise a state and do not give it."""

from dataclasses import replace

import pytest

from chain.ids import Hash, Height
from node.core.checkpoint import Checkpoint
from node.core.snapshots import SnapshotDesk
from p2p.events import StateOffer
from tests.node.core.chains import SERVER, make_chain, make_holder
from tests.node.core.test_statesync import LENGTH, NEWCOMER, is_there, make_town
from tests.node.core.town import House, key_of, make_world

PROMISED = 115
SERVED = 100


def promise(house: House, height: int) -> list[bytes]:
    """Let a node promise the state at a height, and answer every question for it with no; return the questions."""
    desk: SnapshotDesk = house.core._snapshots
    offer = StateOffer(Height(height), make_chain(LENGTH)[height - 1].id)
    asked: list[bytes] = []

    def answer(block: Hash, question: bytes) -> bytes | None:
        asked.append(question)
        return None

    desk.served = lambda: (offer,)  # type: ignore[method-assign]
    desk.part = answer  # type: ignore[method-assign]
    return asked


def test_who_promises_a_state_and_gives_nothing_of_it_stops_nobody() -> None:
    """The state it promises is the best one offered; after a while the newcomer takes what another one serves."""
    town = make_town(1)
    town.add(make_holder(LENGTH, 40), replace(SERVER, snapshot_blocks=SERVED), connect=[0])
    asked = promise(town.houses[0], PROMISED)
    late = town.add(make_world(town.genesis, key_of(50)), NEWCOMER, connect=[0, 1])
    assert town.run(lambda: is_there(town), 240)
    assert late.core.world.store.base() == SERVED
    assert asked
    assert len(asked) < 500, "nor is it asked again and again"


def test_a_state_begun_without_a_checkpoint_is_not_adopted_against_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator stops the node in the middle and names a block that has not been seen: the pieces wait for it."""
    monkeypatch.setattr("consensus.snapshot.MAX_CHUNK_BYTES", 2_000)
    town = make_town(1)
    world = make_world(town.genesis, key_of(50))
    late = town.add(world, NEWCOMER, connect=[0])
    assert town.run(lambda: next(world.store.staging.marks(), None) is not None, 60)
    assert not is_there(town)
    unseen = Checkpoint(Height(LENGTH + 50), Hash(b"\x07" * 32))
    town.restart(1, replace(NEWCOMER, checkpoint=unseen))
    assert not town.run(lambda: late.core.world.store.base() > 0, 20)
