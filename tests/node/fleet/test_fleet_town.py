"""A fleet in town: each of its devices is a device like any other, to the chain, to peers and to the journal."""

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from chain.ids import AccountId, Hash
from chain.number import Number
from consensus.queries import get_history
from consensus.state import get_account, get_enrolment
from fl.errors import FLError
from fl.fleetpayloads import FleetTrainer
from fl.plan.schema import FedAvg, TopK
from fl.varints import pack_signed
from node.effects import StartJob
from node.jobs import fleet as fleet_jobs
from node.jobs import run
from node.jobs.control import JobControl
from node.jobs.results import JobResult, UpdatesVerified
from node.jobs.specs import JobSpec, TrainFleet, VerifyUpdates
from node.notices import BlockRefused, RoleNotice, UpdateRefused
from node.roles.fleetservice import RESEND_BLOCKS
from node.world import World
from storage.memorystores import MemoryReleaseJournal
from storage.own import JournalEntry
from tests.node.core.plans import entry_of, halts, is_over, models, submit
from tests.node.core.town import BLOCK_MS, House, Town
from tests.node.fleet.bands import FLEET, hosted, make_plan, make_town

TOP = TopK(Number.of("0.4"), Number.of("0.5"), 1, Number.of(0), 16)


def refusals(town: Town) -> list[object]:
    """What was called wrong."""
    kinds = (BlockRefused, UpdateRefused, RoleNotice)
    return [notice for house in town.houses for notice in house.notices if isinstance(notice, kinds)]


def updates_on_chain(house: House) -> dict[tuple[Hash, AccountId], Hash]:
    """The releases in a house's chain, by task and device."""
    store, found = house.core.world.store, {}
    for height in range(1, store.height() + 1):
        id = store.block_id_at(height)
        body = None if id is None else store.body(id)
        assert body is not None
        for attested in body.updates:
            release = attested.update.release
            assert (release.task, release.device) not in found
            found[release.task, release.device] = attested.id
    return found


def test_a_fleet_of_thirty_learns_a_plan_to_its_end() -> None:
    """Two miners and one node of thirty devices: every device registers, joins, answers each task, and is paid."""
    town, house = make_town(miners=2, devices=30)
    plan = submit(town, make_plan(30, attestations=1))
    assert town.run(lambda: is_over(town, plan), 400)
    assert halts(town) == []
    assert refusals(town) == []
    assert len(models(town, plan)) == 1
    fleet, view = hosted(house), town.houses[0].core.chain.view
    assert all(get_enrolment(view, plan, account) is not None for account in fleet.accounts)
    history = get_history(view, plan)
    assert len(history) == 2
    for record in history:
        assert {report.device for report in record.devices} == set(fleet.accounts)
    assert all(get_account(view, account).balance > 0 for account in fleet.accounts)
    assert (history[0].loss or 0) > (history[1].loss or 0)
    journalled = {(entry.task, entry.device): entry.update.id for entry in house.core.world.journal.entries()}
    assert len(journalled) == 30 * 2 * 2
    assert updates_on_chain(town.houses[0]) == journalled


def lying(place: int, honest: Callable[..., list[bytes | FLError]]) -> Callable[..., list[bytes | FLError]]:
    """A training in which one device sends a vector that is longer than its plan allows."""

    def train(trainer: FleetTrainer, task, places, accounts, model, carry) -> list[bytes | FLError]:
        payloads = honest(trainer, task, places, accounts, model, carry)
        if place in places and task.phase == 1:
            number = list(places).index(place)
            payload = payloads[number]
            assert isinstance(payload, bytes)
            last = max(at for at in range(len(payload)) if payload[at - 1] < 0x80)
            payloads[number] = payload[:last] + pack_signed(np.array([2**50]))
        return payloads

    return train


def believing(spec: JobSpec, world: World, control: JobControl) -> JobResult:
    """The check of updates, which the node of the fleet leaves out."""
    assert isinstance(spec, VerifyUpdates)
    if world.fleet is not None:
        return UpdatesVerified(tuple([update.id for update in spec.updates]))
    return HONEST_CHECK(spec, world, control)


HONEST_CHECK = run.JOBS[VerifyUpdates]


@pytest.mark.parametrize("checks_itself", [True, False])
def test_one_device_that_lies_is_refused_and_no_other(monkeypatch: pytest.MonkeyPatch, *, checks_itself: bool) -> None:
    """By the miners too, if the node that hosts it passes it on: to them it is one stranger among many."""
    town, house = make_town(miners=2, devices=10)
    liar = hosted(house).accounts[4]
    monkeypatch.setattr(FleetTrainer, "train", lying(4, FleetTrainer.train))
    if not checks_itself:
        monkeypatch.setitem(run.JOBS, VerifyUpdates, believing)
    plan = submit(town, make_plan(10, rounds=1, least=9))
    assert town.run(lambda: is_over(town, plan), 400)
    where = [house] if checks_itself else town.houses[:2]
    for one in where:
        refused = [notice for notice in one.notices if isinstance(notice, UpdateRefused)]
        assert {notice.device for notice in refused} == {liar}
        assert {notice.rule for notice in refused} == {"update.policy"}
    entry = entry_of(town, plan)
    assert entry is not None
    assert entry.status == "finished"
    view = town.houses[0].core.chain.view
    (record,) = get_history(view, plan)
    assert {report.device for report in record.devices} == set(hosted(house).accounts) - {liar}
    assert get_account(view, liar).balance == 0


class Crash(Exception):
    """The process dies here."""


class FailingJournal(MemoryReleaseJournal):
    """A journal whose process dies as it writes: before or after an entry, in the middle of a batch."""

    def __init__(self, dies_at: list[int]) -> None:
        super().__init__()
        self._steps = 0
        self._dies_at = dies_at

    def record(self, entry: JournalEntry) -> None:
        self._burn()
        super().record(entry)
        self._burn()

    def _burn(self) -> None:
        self._steps += 1
        if self._steps in self._dies_at:
            raise Crash


def test_a_fleet_that_dies_in_the_middle_of_a_batch_never_says_two_things() -> None:
    """What the journal has goes out again, byte for byte; what it has not was said to nobody. The plan is finished."""
    journal = FailingJournal([1, 8, 9, 22, 41, 60])
    town, _ = make_town(miners=2, devices=10, journal=journal)
    plan, deaths = submit(town, make_plan(10, rounds=2)), 0
    while True:
        try:
            assert town.run(lambda: is_over(town, plan), 600)
            break
        except Crash:
            deaths += 1
            said = {(entry.task, entry.device): entry.update.id for entry in journal.entries()}
            heard = updates_on_chain(town.houses[0])
            assert heard.items() <= said.items()
            waiting = {entry.id for one in town.houses[:2] for entry in one.core.updates.entries()}
            assert waiting <= set(said.values())
            town.restart(2, FLEET)
    assert deaths == 6
    entry = entry_of(town, plan)
    assert entry is not None
    assert entry.status == "finished"
    said = {(entry.task, entry.device): entry.update.id for entry in journal.entries()}
    assert len(list(journal.entries())) == len(said)
    assert updates_on_chain(town.houses[0]) == said


def test_what_a_miner_had_no_room_for_reaches_it_later() -> None:
    """Registrations and updates that a full pool turned away are told again, though the peer was told before."""
    town, house = make_town(miners=1, devices=10)
    miner = town.houses[0].core
    turned_away: set[bytes] = set()

    def turn_away() -> bool:
        """Lose, once each, whatever of three devices comes into the miner's pools."""
        unlucky = set(hosted(house).accounts[:3])
        lost = [one for one in miner.mempool.transactions() if one.transaction.sender in unlucky]
        miner.mempool.remove([one.id for one in lost if one.id not in turned_away])
        waiting = [one for one in miner.updates.entries() if one.update.release.device in unlucky]
        miner.updates.drop([one.id for one in waiting if one.id not in turned_away])
        turned_away.update([one.id for one in lost], [one.id for one in waiting])
        return is_over(town, plan)

    plan = submit(town, make_plan(10, rounds=1, reveal=100))  # what was ignored is left alone for a minute
    assert town.run(turn_away, 400)
    assert len(turned_away) == 3 * (2 + 2)
    entry = entry_of(town, plan)
    assert entry is not None
    assert (entry.status, entry.enrolled) == ("finished", 10)
    (record,) = get_history(miner.chain.view, plan)
    assert (len(record.devices), record.attempts) == (10, 1)


def test_a_fleet_that_starts_again_goes_on_where_the_chain_is() -> None:
    """Before registration is through, in the enrolment, in either phase: it calls the roll and does what is left."""
    town, house = make_town(miners=1, devices=10)
    plan = submit(town, make_plan(10, rounds=2))
    for _ in range(12):
        town.run(lambda: is_over(town, plan), 2)
        if is_over(town, plan):
            break
        town.restart(1, FLEET)
    assert town.run(lambda: is_over(town, plan), 300)
    entries = list(house.core.world.journal.entries())
    assert len(entries) == len({(entry.task, entry.device) for entry in entries}) == 10 * 2 * 2
    fleet, view = hosted(house), town.houses[0].core.chain.view
    assert all(get_account(view, account).nonce == 2 for account in fleet.accounts)


def trainings(house: House) -> list[tuple[int, TrainFleet]]:
    """The batches that a house was asked to train, in order, each with its time in milliseconds."""
    effects = [(now, effect) for now, _, effects in house.log for effect in effects]
    started = [(now, effect.spec) for now, effect in effects if isinstance(effect, StartJob)]
    return [(now, spec) for now, spec in started if isinstance(spec, TrainFleet)]


def test_a_training_that_outlasts_many_blocks_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks go by while the last batch of a task trains: what has not left yet is not asked for a second time."""
    span = Town._duration
    slow = 5 * RESEND_BLOCKS * BLOCK_MS // 2
    monkeypatch.setattr(Town, "_duration", lambda t, spec: slow if isinstance(spec, TrainFleet) else span(t, spec))
    town, house = make_town(miners=1, devices=10)
    plan = submit(town, make_plan(10, rounds=2, reveal=100))
    assert town.run(lambda: is_over(town, plan), 600)
    trained = [(spec.task.digest, seat.place) for _, spec in trainings(house) for seat in spec.seats]
    assert len(trained) == len(set(trained)) == 10 * 2 * 2
    entry = entry_of(town, plan)
    assert entry is not None
    assert entry.status == "finished"


def test_devices_that_a_job_does_not_reach_are_trained_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leaves when its own job is over, in the fleet's order, and says what it says where one job trains all."""
    plan = replace(make_plan(10, rounds=2, reveal=100), algorithm=FedAvg(Number.of("0.2"), 1, 4), compression=TOP)
    released = []
    for microseconds in (10**9, 12_000):  # the clock of jobs in town goes on by five milliseconds a look
        monkeypatch.setattr(fleet_jobs, "_LONG_US", microseconds)
        town, house = make_town(miners=1, devices=10)
        name = submit(town, plan)
        assert town.run(lambda town=town, name=name: is_over(town, name), 600)
        journal = list(house.core.world.journal.entries())
        assert len(journal) == len({(entry.task, entry.device) for entry in journal}) == 10 * 2
        released.append({(entry.update.release.round, entry.device): entry.payload for entry in journal[:10]})
    asked = trainings(house)
    assert [len(spec.seats) for _, spec in asked] == [10, 7, 4, 1] * 2
    times = [now for now, _ in asked]
    assert all(last - first < BLOCK_MS for first, last in ((times[0], times[3]), (times[4], times[7])))
    assert released[0] == released[1]
