"""Audits by whole nodes: devices open what the chain asks for, miners repeat it, and who forges is not paid."""

import pytest

from chain.fixedpoint import Int64Vector
from chain.ids import Millis
from consensus.events import AuditOpened, AuditReported, LedgerEvent
from consensus.queries import get_history, list_plans
from consensus.records import RoundRecord
from fl.audit.opening import CommittedStates
from fl.dataset import Dataset, DenseData
from fl.envelope import train_with_states
from fl.plan.dimensions import audit_policy
from fl.problem import Problem
from fl.task import Task
from node.effects import Effect, Publish
from node.events import Event
from node.jobs import auditing
from node.jobs.commitment import audit_secret
from node.notices import LedgerNotice
from node.simulator.machine import Machine
from node.simulator.settings import SimulationSettings
from node.simulator.simulation import Simulation

AUDITED = 5
"""A seed whose plan audits every update."""


class Town:
    """A small world with one plan, and what the chain of its first node told."""

    def __init__(self, engine: str) -> None:
        self.world = Simulation(
            SimulationSettings(
                seed=AUDITED,
                nodes=5,
                devices=4,
                miners=3,
                engine=engine,
                duration_ms=60_000,
                block_ms=1_000,
                plans=1,
            )
        )
        policy = audit_policy(self.world.population.commission(0).plan)
        assert policy is not None
        assert policy.percent == 100
        self.invariants, self.world.watcher = self.world.watcher, self
        self.events: list[LedgerEvent] = []

    def on_started(self, machine: Machine) -> None:
        self.invariants.on_started(machine)

    def on_step(self, machine: Machine, event: Event, now: Millis, effects: list[Effect]) -> None:
        self.invariants.on_step(machine, event, now, effects)
        if machine.number == 0:
            notices = [effect.notice for effect in effects if isinstance(effect, Publish)]
            self.events += [notice.event for notice in notices if isinstance(notice, LedgerNotice)]

    def on_fault(self, machine: Machine, reason: str) -> None:
        self.invariants.on_fault(machine, reason)

    def run(self) -> tuple[RoundRecord, ...]:
        """Run to the end, where nothing may be broken; return the plan's rounds."""
        report = self.world.run()
        assert report.violations == (), report.violations
        core = self.world.machines[0].core
        assert core is not None
        [entry] = list_plans(core.chain.view)
        assert entry.status == "finished"
        return get_history(core.chain.view, entry.plan)


@pytest.mark.parametrize("engine", ["pow", "pos"])
def test_every_update_of_an_audited_plan_is_opened_and_approved(engine: str) -> None:
    """Under both engines, whatever is reorganised: all settle, and the miners who verified are paid."""
    town = Town(engine)
    records = town.run()
    opened = [event for event in town.events if isinstance(event, AuditOpened)]
    reports = [event for event in town.events if isinstance(event, AuditReported)]
    assert len({(event.task, event.device) for event in opened}) >= 8
    assert {(event.task, event.device) for event in reports} >= {(event.task, event.device) for event in opened}
    assert all(report.approves for report in reports)
    assert not any(record.refused for record in records)
    miners = {bytes(machine.character.key.account) for machine in town.world.machines[:3]}
    assert {report.miner for report in reports} <= miners


@pytest.mark.parametrize("engine", ["pow", "pos"])
def test_a_device_that_trains_on_other_rows_is_found_out(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It joined with some rows and learns from others: its verifiers refuse it, whichever segments they draw."""
    town = Town(engine)
    liar = town.world.machines[5].character.key

    def forge(
        problem: Problem, task: Task, model: Int64Vector, carry: bytes, data: Dataset, seed: bytes, secret: bytes
    ) -> CommittedStates:
        if secret == audit_secret(liar, problem.plan_id):
            assert isinstance(data, DenseData)
            data = DenseData(data.x * 0.5, 1.0 - data.y)
        return train_with_states(problem, task, model, carry, data, seed, secret)

    monkeypatch.setattr(auditing, "train_with_states", forge)
    records = town.run()
    refused = {refusal.device for record in records for refusal in record.refused}
    paid = {report.device for record in records for report in record.devices if report.reward}
    assert refused == {liar.account}
    assert paid
    assert liar.account not in paid
    words = [event for event in town.events if isinstance(event, AuditReported) and event.device == liar.account]
    assert words
    assert all("does not give the committed state" in event.reason for event in words)
