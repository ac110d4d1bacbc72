"""Replays by whole nodes: devices share their rows, miners repeat every training before they vouch for it."""

import dataclasses
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace

from chain.hashing import content_id
from chain.ids import AccountId, Amount, Millis
from chain.keys import KeyPair
from consensus.events import DisputeDecided, DisputeOpened, LedgerEvent, MinerSlashed, UpdateRevealed
from consensus.queries import get_history, list_plans
from consensus.records import PlanEntry, RoundRecord
from consensus.staking.state import BURNED_KEY
from consensus.state import get_miners
from fl.dataset import DenseData
from fl.plan.schema import Audit, Replay, Training
from node.core.config import MinerConfig
from node.core.core import NodeCore
from node.effects import Effect, Publish, StartJob
from node.events import Event
from node.jobs.control import JobControl
from node.jobs.results import JobResult, TrainingRepeated
from node.jobs.run import JOBS
from node.jobs.shelf import DataShelf
from node.jobs.specs import InspectData, JobSpec, RepeatTraining, TrainTask
from node.notices import LedgerNotice, RoleNotice
from node.roles.base import Surroundings
from node.roles.disputer import Disputer
from node.roles.replayer import Replayer
from node.simulator.machine import Machine
from node.simulator.population import Commission, Rows
from node.simulator.settings import SimulationSettings
from node.simulator.simulation import Simulation
from node.world import World
from tests.consensus.harness import make_data, make_rules
from tests.consensus.test_replays import replayed_plan
from tests.node.core.lonely import Lonely
from tests.node.core.mint import Mint
from tests.node.core.test_device import ALICE, ONE, founding
from tests.node.core.town import DEVICE, make_genesis, make_world
from tests.node.core.town import Rows as TownRows

RULES = make_rules(version=3, policies=("bounds", "replay"))
GENESIS = replace(make_genesis([ALICE]), schedule=(RULES,))
PLAN = replayed_plan()
OPEN = Replay("open", 3, Amount(500))


class Town:
    """A small world with one plan that repeats trainings, and what its nodes told."""

    def __init__(self, engine: str, percent: int = 100, seed: int = 5, replay: Replay = OPEN) -> None:
        self.world = Simulation(
            SimulationSettings(
                seed=seed,
                nodes=5,
                devices=4,
                miners=3,
                engine=engine,
                duration_ms=60_000,
                block_ms=1_000,
                plans=1,
            )
        )
        commission = self.world.population.commission
        self.world.population.commission = lambda number: make_replayed(commission(number), replay)  # type: ignore[method-assign]
        for machine in self.world.machines[:3]:
            config = machine.character.config
            miner = dataclasses.replace(config.miner or MinerConfig(), dispute_percent=percent)
            config = dataclasses.replace(config, miner=miner)
            machine.character = dataclasses.replace(machine.character, config=config)
        self.invariants, self.world.watcher = self.world.watcher, self
        self.events: list[LedgerEvent] = []
        self.told: list[RoleNotice] = []

    def on_started(self, machine: Machine) -> None:
        self.invariants.on_started(machine)

    def on_step(self, machine: Machine, event: Event, now: Millis, effects: list[Effect]) -> None:
        self.invariants.on_step(machine, event, now, effects)
        notices = [effect.notice for effect in effects if isinstance(effect, Publish)]
        self.told += [notice for notice in notices if isinstance(notice, RoleNotice)]
        if machine.number == 0:
            self.events += [notice.event for notice in notices if isinstance(notice, LedgerNotice)]

    def on_fault(self, machine: Machine, reason: str) -> None:
        self.invariants.on_fault(machine, reason)

    @property
    def core(self) -> NodeCore:
        core = self.world.machines[0].core
        assert core is not None
        return core

    def key(self, number: int) -> KeyPair:
        return self.world.machines[number].character.key

    def run(self) -> tuple[PlanEntry, tuple[RoundRecord, ...]]:
        """Run to the end, where nothing may be broken; return the plan and its rounds."""
        report = self.world.run()
        assert report.violations == (), report.violations
        [entry] = list_plans(self.core.chain.view)
        return entry, get_history(self.core.chain.view, entry.plan)


def make_replayed(commission: Commission, replay: Replay) -> Commission:
    """Return the plan with its trainings repeated, and no audits."""
    plan = commission.plan
    others = [each for each in plan.verification.policies if not isinstance(each, Audit | Replay)]
    policies = (*others, replay)
    checks = replace(plan.verification, policies=policies, attestations=1)
    plan = replace(plan, version=2, verification=checks, training=Training("full", 0))
    return Commission(plan, commission.holdout)


def forge(monkeypatch: pytest.MonkeyPatch, liar: AccountId) -> None:
    """Let one device learn from other rows than those it shares."""
    honest = JOBS[TrainTask]

    def train(spec: JobSpec, world: World, control: JobControl) -> JobResult:
        assert isinstance(spec, TrainTask)
        if spec.device == liar:
            assert isinstance(world.data, Rows)
            data = world.data.data
            forged = Rows("forged", DenseData(data.x * 0.5, 1.0 - data.y))
            world = dataclasses.replace(world, data=forged, shelf=DataShelf())
        return honest(spec, world, control)

    monkeypatch.setitem(JOBS, TrainTask, train)


@pytest.mark.parametrize("engine", ["pow", "pos"])
def test_every_update_is_repeated_and_attested(engine: str) -> None:
    """Under both engines, whatever is reorganised: rounds settle, and the miners who repeated are paid."""
    town = Town(engine)
    entry, records = town.run()
    assert entry.status == "finished"
    assert sum(isinstance(event, UpdateRevealed) for event in town.events) >= 8
    assert not any(record.refused for record in records)
    assert not any(isinstance(event, DisputeOpened) for event in town.events), "everything was looked at again"
    miners = {bytes(machine.character.key.account) for machine in town.world.machines[:3]}
    credited = {report.miner for record in records for report in record.miners if report.samples}
    assert credited
    assert credited <= miners


@pytest.mark.parametrize("engine", ["pow", "pos"])
def test_nobody_vouches_for_a_device_that_trains_on_other_rows(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its updates wait for attestations in vain, and the others settle without it."""
    town = Town(engine, seed=7)  # in which it is drawn
    liar = town.key(5).account
    forge(monkeypatch, liar)
    entry, records = town.run()
    assert entry.status == "finished"
    paid = {report.device for record in records for report in record.devices if report.reward}
    assert paid
    assert liar not in paid
    assert not any(isinstance(event, UpdateRevealed) and event.device == liar for event in town.events)
    assert any("is not what its training gives" in notice.text for notice in town.told)


def collude(monkeypatch: pytest.MonkeyPatch, liar: AccountId, colluders: set[AccountId]) -> None:
    """Have these miners find that whatever the liar sent is true, without a look."""
    honest = JOBS[RepeatTraining]

    def repeat(spec: JobSpec, world: World, control: JobControl) -> JobResult:
        assert isinstance(spec, RepeatTraining)
        if world.key.account in colluders and spec.device == liar:
            return TrainingRepeated(True, spec.update)
        return honest(spec, world, control)

    monkeypatch.setitem(JOBS, RepeatTraining, repeat)


@pytest.mark.parametrize("engine", ["pow", "pos"])
def test_miners_who_collude_with_a_forger_are_disputed_and_slashed(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three vouch for what is false; the third repeats it and disputes, and then every node repeats it."""
    town = Town(engine, seed=7)  # whose draws have a colluder look at the liar's updates
    liar, colluders = town.key(5).account, {town.key(1).account, town.key(2).account}
    forge(monkeypatch, liar)
    collude(monkeypatch, liar, colluders)
    entry, records = town.run()
    assert entry.status == "finished"
    decided = [event for event in town.events if isinstance(event, DisputeDecided)]
    assert decided
    assert {(event.device, event.is_true) for event in decided} == {(liar, False)}
    assert all(event.reward for event in decided), "its proof says that it has repeated the training"
    slashed = {event.miner for event in town.events if isinstance(event, MinerSlashed)}
    assert slashed
    assert slashed <= colluders
    assert not slashed & set(get_miners(town.core.chain.view)), "half of the least bond is too little"
    paid = {report.device for record in records for report in record.devices if report.reward}
    assert paid
    assert liar not in paid
    assert town.core.chain.view.get(BURNED_KEY) is not None


@pytest.mark.parametrize(("percent", "looked_at"), [(0, 0), (10, 10), (100, 100)])
def test_a_miner_looks_at_the_share_it_is_told_to_and_each_at_its_own(percent: int, looked_at: int) -> None:
    """What is drawn hangs on the miner's secret key."""
    drawn = []
    for number in (1, 2):
        around = SimpleNamespace(world=SimpleNamespace(key=KeyPair(bytes([number]) * 32)))
        config = MinerConfig(dispute_percent=percent)
        disputer = Disputer(cast(Surroundings, around), config, cast(Replayer, None))
        drawn.append([each for each in range(1000) if disputer.is_sampled(content_id(each.to_bytes(4, "big")))])
    for sample in drawn:
        assert 7 * looked_at <= len(sample) <= 13 * looked_at
    assert (drawn[0] == drawn[1]) is (percent in (0, 100))


def test_a_device_whose_holder_does_not_share_stays_away_and_says_why() -> None:
    """Consent to learning is no consent to publish the rows: without it no plan of these has them."""
    lonely = Lonely(GENESIS, make_world(GENESIS, ONE, data=TownRows(make_data(ONE))), DEVICE)
    mint = Mint(GENESIS)
    lonely.give(mint.block(mint.root, founding(PLAN), producer=ALICE))
    status = lonely.core.device_status()
    assert status is not None
    [standing] = status.plans
    assert "share = true" in standing.declined
    started = [effect.spec for effect in lonely.effects if isinstance(effect, StartJob)]
    assert not any(isinstance(spec, InspectData) for spec in started), "the rows are not even read"
