"""Cores together: one head, one model, through restarts and silence; played again, the same effects."""

from msgspec.structs import replace

from chain.number import Number
from consensus.queries import get_history
from consensus.state import get_round
from fl.holdout import HoldoutSet, commit_holdout
from fl.plan.schema import Holdout, Plan
from node.core.config import CoreConfig, MinerConfig
from node.notices import BlockRefused, LedgerNotice, RoleNotice, UpdateRefused
from node.world import OpenedChunk
from tests.consensus.harness import make_data, make_plan
from tests.node.core.plans import OWNER, device_key, entry_of, halts, is_over, make_town, models, submit
from tests.node.core.town import DEVICE, Rows, Town, make_core, make_genesis, make_world

PLAN = make_plan(devices=(2, 2, 2), rounds=2, attestations=1, blocks=(10, 12, 6))


def refusals(town: Town) -> list[object]:
    """What was called wrong: nothing, among honest nodes."""
    kinds = (BlockRefused, UpdateRefused, RoleNotice)
    return [notice for house in town.houses for notice in house.notices if isinstance(notice, kinds)]


def test_two_miners_reach_one_head() -> None:
    """Rivals who find blocks at the same time agree in the end."""
    town = make_town(miners=2, devices=0)
    assert town.run(lambda: town.houses[0].core.chain.height >= 20 and len(town.heads()) == 1, 200)
    assert not refusals(town)
    mined = {town.genesis.chain_id} | {house.core.world.store.tip() for house in town.houses}
    assert len(mined) == 2


def test_a_newcomer_catches_up() -> None:
    """A core that comes late fetches headers, bodies and payloads, and says it is synced."""
    town = make_town(miners=1, devices=2)
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    plan = submit(town, PLAN)
    assert town.run(lambda: is_over(town, plan), 120)
    late = town.add(make_world(town.genesis, device_key(50)), CoreConfig(), connect=[0])
    assert town.run(lambda: late.core.chain.height >= 5 and len(town.heads()) == 1, 30)
    assert late.core.status(town.now).state == "synced"
    assert len(models(town, plan)) == 1


def test_a_town_learns_a_plan_to_its_end() -> None:
    """Three miners and two devices run a plan: every house has the model, the loss falls, everybody is paid."""
    town = make_town(miners=3, devices=2)
    town.run(lambda: town.houses[0].core.chain.height >= 3, 60)
    plan = submit(town, make_plan(devices=(2, 2, 2), rounds=3, attestations=2, blocks=(10, 12, 6)))
    assert town.run(lambda: is_over(town, plan), 200)
    assert halts(town) == []
    assert refusals(town) == []
    assert len(models(town, plan)) == 1
    history = get_history(town.houses[4].core.chain.view, plan)
    losses = [record.loss for record in history]
    assert len(losses) == 3
    assert losses == sorted(losses, key=lambda loss: -(loss or 0))
    assert all(report.reward > 0 for record in history for report in (*record.devices, *record.miners))


def test_devices_serve_several_plans_in_turn() -> None:
    """Two plans at once are both finished by the same devices."""
    town = make_town(miners=1, devices=2)
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    plans = [submit(town, replace(PLAN, nonce=nonce)) for nonce in (1, 2)]
    assert town.run(lambda: is_over(town, *plans), 200)
    assert [entry.status for plan in plans if (entry := entry_of(town, plan)) is not None] == ["finished", "finished"]


def test_a_device_killed_in_mid_round_comes_back_and_the_plan_is_finished() -> None:
    """The device finds its place again from the chain and its journal; nothing is trained twice for one task."""
    town = make_town(miners=1, devices=2)
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    plan = submit(town, PLAN)

    def is_training() -> bool:
        return any("training" in status.working for status in [town.houses[1].core.device_status()] if status)

    assert town.run(is_training, 60)
    town.restart(1, DEVICE)
    assert town.run(lambda: is_over(town, plan), 200)
    entry = entry_of(town, plan)
    assert entry is not None
    assert (entry.status, entry.rounds) == ("finished", 2)
    journal = town.houses[1].core.world.journal
    tasks = [held.task for held in journal.entries()]
    assert len(tasks) == len(set(tasks)) == 4


def test_a_device_killed_after_its_release_sends_the_same_bytes() -> None:
    """What the journal holds goes out again after a restart, not something newly trained."""
    town = make_town(miners=1, devices=2)
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    plan = submit(town, PLAN)
    journal = town.houses[1].core.world.journal
    assert town.run(lambda: bool(list(journal.entries())), 60)
    first = next(iter(journal.entries()))
    town.restart(1, DEVICE)
    assert town.run(lambda: is_over(town, plan), 200)
    assert first == next(iter(journal.entries()))
    revealed = [
        notice.event.update
        for notice in town.houses[0].notices
        if isinstance(notice, LedgerNotice) and type(notice.event).__name__ == "UpdateRevealed"
        if notice.event.task == first.task and notice.event.device == first.device
    ]
    assert [first.update.id] == revealed


def test_a_silent_miner_is_replaced_by_the_next_in_order() -> None:
    """With one of two registered miners dead, its updates are attested by the other after the fallback."""
    town = make_town(miners=2, devices=2)

    def are_registered() -> bool:
        statuses = [house.core.miner_status() for house in town.houses[:2]]
        return all(status is not None and status.registered for status in statuses)

    assert town.run(are_registered, 200)
    town.stop(1)
    plan = submit(town, PLAN)
    town.run(lambda: (entry := entry_of(town, plan)) is not None and entry.status == "finished", 300)
    entry = entry_of(town, plan)
    assert entry is not None
    assert (entry.status, entry.rounds) == ("finished", 2)


class Cupboard:
    """The owner's holdout set."""

    def __init__(self, held: HoldoutSet) -> None:
        self.held = held

    def open(self, plan: Plan, chunk: int) -> OpenedChunk | None:
        return OpenedChunk(self.held.salts[chunk], self.held.proofs[chunk], self.held.payloads[chunk])


def test_the_owner_opens_the_chunk_the_beacon_names() -> None:
    """With a holdout policy every round is judged on a chunk that the owner's node opens by itself."""
    held = commit_holdout(make_data(OWNER, 40), 4, b"secret")
    policy = Holdout(held.root, 4, held.rows, Number.of("0.5"))
    town = Town(make_genesis([OWNER]))
    config = CoreConfig(miner=MinerConfig(), owner=True)
    town.add(make_world(town.genesis, OWNER, holdout=Cupboard(held)), config)
    for number in range(2):
        key = device_key(number)
        town.add(make_world(town.genesis, key, data=Rows(make_data(key))), DEVICE, connect=[0])
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    plan = submit(town, make_plan(devices=(2, 2, 2), rounds=2, policies=[policy], blocks=(10, 12, 8)))
    assert town.run(lambda: is_over(town, plan), 200)
    events = [notice.event for notice in town.houses[1].notices if isinstance(notice, LedgerNotice)]
    assert sum(type(event).__name__ == "HoldoutOpened" for event in events) == 2
    assert refusals(town) == []


def test_the_same_events_give_the_same_effects() -> None:
    """Every house's log, played to a fresh core on an empty store, gives the very same effects."""
    town = make_town(miners=2, devices=2)
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    plan = submit(town, PLAN)
    assert town.run(lambda: is_over(town, plan), 200)
    for number, house in enumerate(town.houses):
        old = house.core.world
        world = make_world(town.genesis, old.key, data=old.data)
        core = make_core(world, house.core.config, house.network)
        for now, event, effects in house.log:
            assert effects == core.handle(event, now)
        assert house.core.chain.head_id == core.chain.head_id, number


def test_payloads_lost_behind_the_only_miners_back_are_fetched_again() -> None:
    """Files that vanish between an update's block and its settling stop nothing: whoever has them gives them back."""
    town = make_town(miners=1, devices=3)
    miner = town.houses[0].core
    town.run(lambda: miner.chain.height >= 2, 60)
    plan = submit(town, make_plan(devices=(2, 3, 3), rounds=1, attestations=1, blocks=(10, 12, 6)))

    def status() -> str:
        entry = entry_of(town, plan)
        return "" if entry is None else entry.status

    def revealed() -> int:
        state = get_round(miner.chain.view, plan)
        return 0 if state is None else state.revealed

    assert town.run(lambda: status() == "running", 60)
    town.stop(3)  # so that each phase waits for its deadline, with two updates in the chain
    assert town.run(lambda: revealed() == 2, 60)
    lost = list(miner.world.payloads.ids())
    for id in lost:
        miner.world.payloads.delete(id)
    assert len(lost) == 2
    assert town.run(lambda: status() != "running", 100)
    assert status() == "finished"
    assert town.houses[0].halted is None
