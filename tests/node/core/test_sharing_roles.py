"""Whole nodes under a plan whose devices share randomised rows: made once, charged once, repeated by everybody."""

import dataclasses

import pytest
from msgspec.structs import replace

from chain.ids import AccountId, Amount, Hash
from chain.keys import KeyPair
from chain.number import Number
from consensus.events import DisputeDecided, DisputeOpened, MinerSlashed, UpdateRevealed
from consensus.privacy import get_charges, get_standing
from consensus.state import get_enrolment, get_privacy
from fl.plan.schema import Plan, Replay, encode_plan
from node.jobs.control import JobControl
from node.jobs.learning import inspect_data
from node.jobs.results import DataInspected, JobResult, Trained
from node.jobs.run import JOBS
from node.jobs.specs import InspectData, JobSpec, TrainTask
from node.world import World
from storage.sharedsets import MemorySharedSets
from tests.node.core.test_replay_roles import Town, collude

RANDOMISED = Replay("randomised", 3, Amount(500), Number.of(6))
LOSS = 18_000_000
"""6² / 2, in micro-zCDP."""


def test_devices_share_a_randomised_copy_once_and_all_that_is_learnt_from_it_is_free() -> None:
    """Joining is charged, updates are not; what was published is what the device keeps, and no rows."""
    town = Town("pow", replay=RANDOMISED)
    entry, records = town.run()
    assert entry.status == "finished"
    assert sum(isinstance(event, UpdateRevealed) for event in town.events) >= 8
    assert not any(record.refused for record in records)
    assert not any(isinstance(event, DisputeOpened) for event in town.events)
    view, joined = town.core.chain.view, 0
    for machine in town.world.machines:
        enrolment = get_enrolment(view, entry.plan, machine.character.key.account)
        if enrolment is None:
            continue
        joined += 1
        [charge] = get_charges(view, machine.character.key.account)
        assert (charge.mechanism, charge.loss, charge.epsilon, charge.phase) == ("randomised", LOSS, 6_000_000, None)
        assert get_standing(view, machine.character.key.account).loss == LOSS
        kept = list(machine.disk.shared_sets._sets.values())
        assert [machine.disk.payloads.payload(enrolment.commitment)] == kept
    assert joined >= 2


def forge(monkeypatch: pytest.MonkeyPatch, liar: AccountId) -> None:
    """Let one device learn from its rows themselves instead of what it shares: better, and nobody may know."""
    honest = JOBS[TrainTask]

    def train(spec: JobSpec, world: World, control: JobControl) -> JobResult:
        assert isinstance(spec, TrainTask)
        assert spec.shared is not None
        if spec.device != liar:
            return honest(spec, world, control)
        made = honest(replace(spec, shared=None), world, control)
        assert not isinstance(made, Trained) or made.mechanism == "none"
        return made

    monkeypatch.setitem(JOBS, TrainTask, train)


def test_who_trains_on_its_rows_instead_is_disputed_and_its_attesters_slashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three miners vouch for it; the third repeats the training from the shared copy, then every node does."""
    town = Town("pos", seed=7, replay=RANDOMISED)
    liar, colluders = town.key(5).account, {town.key(1).account, town.key(2).account}
    forge(monkeypatch, liar)
    collude(monkeypatch, liar, colluders)
    entry, records = town.run()
    assert entry.status == "finished"
    decided = [event for event in town.events if isinstance(event, DisputeDecided)]
    assert {(event.device, event.is_true) for event in decided} == {(liar, False)}
    slashed = {event.miner for event in town.events if isinstance(event, MinerSlashed)}
    assert slashed
    assert slashed <= colluders
    assert liar not in {report.device for record in records for report in record.devices if report.reward}
    assert get_privacy(town.core.chain.view, liar).joined == LOSS, "what it published stays published"


class _Going:
    """Control of a job that nobody cancels."""

    def is_cancelled(self) -> bool:
        return False

    def clock_us(self) -> int:
        return 0


def test_rows_that_were_randomised_once_are_never_drawn_again() -> None:
    """Another look, another plan of the same schema and ε, another key: the same bytes. Another ε: others."""
    town = Town("pos", replay=RANDOMISED)
    plan, machine = town.world.population.commission(0).plan, town.world.machines[5]
    machine.start()
    assert machine.core is not None
    sets = MemorySharedSets()
    world = dataclasses.replace(machine.core.world, shared_sets=sets)
    first = look(plan, world)
    assert first.binding is not None
    sets.put(Hash(first.binding), first.shared)
    again, other = look(plan, world), look(replace(plan, nonce=77), dataclasses.replace(world, key=KeyPair(bytes(32))))
    assert again.shared == other.shared == first.shared
    assert again.binding is None
    dearer = look(with_epsilon(plan, "3"), world)
    assert dearer.binding not in (None, first.binding)


def look(plan: Plan, world: World) -> DataInspected:
    """Let a device look at its data for a plan."""
    found = inspect_data(InspectData(encode_plan(plan), plan.roles[0].name), world, _Going())  # type: ignore[arg-type]
    assert isinstance(found, DataInspected)
    return found


def with_epsilon(plan: Plan, epsilon: str) -> Plan:
    """Return the plan with another ε."""
    others = [policy for policy in plan.verification.policies if not isinstance(policy, Replay)]
    policies = (*others, replace(RANDOMISED, epsilon=Number.of(epsilon)))
    return replace(plan, verification=replace(plan.verification, policies=policies))
