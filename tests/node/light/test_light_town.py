"""Light devices in a town: they take part in whole plans, come back after a crash, and stay small."""

from dataclasses import replace
from typing import Any

import pytest

from chain.ids import Amount, Hash, Height
from chain.transaction import Transfer
from consensus.state import get_device
from node.core.checkpoint import Checkpoint
from node.events import SubmitBody
from node.light.core import LightCore
from storage.memorystores import MemoryReleaseJournal
from storage.own import JournalEntry
from tests.node.core.plans import device_key, halts, submit
from tests.node.core.town import key_of
from tests.node.light.towns import EPOCH, LIGHT, PLAN, LightTown, device_world, model_of, stake_town, work_town


@pytest.mark.parametrize("make", [work_town, stake_town], ids=["pow", "pos"])
def test_light_devices_learn_what_full_ones_learn(make: Any) -> None:
    """Two devices without a chain register, join, train and release; all full nodes take what they did."""
    town = make(0, 2)
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    model = town.learn(submit(town, PLAN))
    if make is stake_town:  # there blocks come at the same times, so that the same beacon draws the same batches
        assert model == model_of(lambda: make(2, 0), submit)
    assert halts(town) == []
    for house in town.lights:
        light = house.core
        assert light.device_status().releases == 4
        assert light.device_status().registered
        assert light.status(town.now).state == "synced"
        assert light.liars() == ()
        assert light.world.store.height() == 0, "a light node writes nothing of the chain down"


def test_a_light_device_trusts_final_blocks_through_many_epochs() -> None:
    """It follows from set to set, and one that comes late begins with the proofs of all epochs."""
    town = stake_town(0, 1)
    assert town.run(lambda: town.houses[0].core.chain.height >= 4 * EPOCH + 2, 120)
    late = town.add_light(device_world(town, 9), connect=[0, 1])
    assert town.run(lambda: late.core.chain.height >= 5 * EPOCH + 2, 60)
    for house in town.lights:
        light, full = house.core, town.houses[0].core
        assert light.finalized() <= full.finalized() <= light.finalized() + 2
        assert full.chain.tree.ancestor_id(full.chain.head_id, light.chain.height) == light.chain.head_id
        assert light.status(town.now).state == "synced"
    assert halts(town) == []


def test_a_rehearsal_writes_nothing_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each release is journalled once, however often the step was rehearsed before it was taken."""
    told: list[Hash] = []
    record = MemoryReleaseJournal.record

    def count(journal: MemoryReleaseJournal, entry: JournalEntry) -> None:
        told.append(entry.task)
        record(journal, entry)

    monkeypatch.setattr(MemoryReleaseJournal, "record", count)
    town = work_town(1, 1)
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    town.learn(submit(town, PLAN))
    assert len(told) == 8
    assert all(told.count(task) == 2 for task in told), "once by the full device, once by the light one"


def entries_of(town: LightTown) -> list[JournalEntry]:
    return list(town.lights[0].core.world.journal.entries())


@pytest.mark.parametrize("make", [work_town, stake_town], ids=["pow", "pos"])
def test_a_light_device_killed_after_its_release_sends_the_same_bytes(make: Any) -> None:
    """What the journal holds goes out again after a restart, not something newly trained."""
    town = make(1, 1)
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    plan = submit(town, PLAN)
    assert town.run(lambda: bool(entries_of(town)), 100)
    first = entries_of(town)[0]
    town.restart_light(town.lights[0])
    town.learn(plan)
    entries = entries_of(town)
    assert entries[0] == first
    assert len({entry.task for entry in entries}) == len(entries) == 4


def test_headers_do_not_fill_the_memory() -> None:
    """After a chain longer than a reorganisation may be, as many headers are held as before."""
    town = work_town(0, 1, max_reorg=10)
    light = town.lights[0].core
    most = 10 + 64 + 8
    assert town.run(lambda: light.chain.height >= 160, 600)  # an engine looks 128 back
    assert len(light.source.tree) <= most  # type: ignore[union-attr]
    assert light.status(town.now).state == "synced"


def test_a_chain_that_contradicts_the_checkpoint_is_refused() -> None:
    """A light node that was told a block of its chain follows no other, however much work it shows."""
    town = work_town(0, 0)
    assert town.run(lambda: town.houses[0].core.chain.height >= 12, 100)
    wrong = replace(LIGHT, checkpoint=Checkpoint(Height(5), Hash(bytes(32))))
    chain = town.houses[0].core.chain
    id = chain.tree.ancestor_id(chain.head_id, Height(5))
    assert id is not None
    right = replace(LIGHT, checkpoint=Checkpoint(Height(5), id))
    for config in (wrong, right):
        town.add_light(device_world(town, len(town.lights)), connect=[0], config=config)
    town.run(lambda: False, 10)
    fooled, sure = town.lights
    assert fooled.core.chain.height == 0
    assert fooled.core.status(town.now).state != "synced"
    assert sure.core.status(town.now).state == "synced"


def test_a_user_sends_coins_through_a_light_node() -> None:
    """It signs at the proven nonce, for the fee that is owed, and tells peers until a block has it."""
    town = work_town(0, 1)
    light = town.lights[0]
    account = light.core.world.key.account
    assert town.run(lambda: get_device(town.houses[0].core.chain.view, account) is not None, 60)
    town.send(0, SubmitBody(1, Transfer(account, Amount(10**6))))
    full = town.houses[0].core
    assert town.run(lambda: full.chain.nonce(full.world.key.account) >= 1, 60)
    town.run(lambda: False, 3)
    before = full.chain.nonce(account)
    town.send(1, SubmitBody(2, Transfer(key_of(77).account, Amount(1000))))
    assert town.run(lambda: full.chain.nonce(account) == before + 1, 60)
    assert town.run(lambda: light.core.pool_sizes()[0] == 0, 10)


def test_a_light_core_is_a_function_of_its_events() -> None:
    """The log of a light house, played to a fresh core, gives the very same effects."""
    town = work_town(0, 2)
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    town.learn(submit(town, PLAN))
    house = town.lights[0]
    fresh = LightTown(town.genesis)
    again: LightCore = fresh.add_light(device_world(fresh, 0), connect=[0]).core
    assert again.world.key.account == device_key(0).account == house.core.world.key.account
    for now, event, effects in house.log:
        assert effects == again.handle(event, now)
