"""A fleet under plans that send the largest coordinates: each device keeps what it did not send, for itself."""

import pytest
from msgspec.structs import replace

from chain.fixedpoint import from_bytes
from chain.ids import Hash
from chain.number import Number
from fl.envelope import train_update
from fl.plan.schema import FedAvg, Plan, TopK
from fl.problem import compile_problem
from fl.task import device_seed
from node.jobs import run
from node.jobs.control import JobControl
from node.jobs.results import JobResult
from node.jobs.specs import JobSpec, TrainFleet
from node.notices import RoleNotice
from node.roles import fleetresiduals
from node.world import World
from tests.node.core.plans import entry_of, halts, is_over, submit
from tests.node.core.town import House, Town
from tests.node.fleet.bands import FLEET, Rows, hosted, make_plan, make_town

DEVICES, ROUNDS = 4, 4
HONEST = run.JOBS[TrainFleet]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TrainFleet]:
    """What the fleet was asked to train, in order."""
    found: list[TrainFleet] = []

    def train(spec: JobSpec, world: World, control: JobControl) -> JobResult:
        assert isinstance(spec, TrainFleet)
        found.append(spec)
        return HONEST(spec, world, control)

    monkeypatch.setitem(run.JOBS, TrainFleet, train)
    return found


def sparing(rounds: int = ROUNDS) -> Plan:
    """One phase a round; of thirteen numbers the six largest are sent."""
    plan = make_plan(DEVICES, rounds=rounds)
    compression = TopK(Number.of("0.4"), Number.of("0.5"), 1, Number.of(0), 16)
    return replace(plan, algorithm=FedAvg(Number.of("0.2"), 1, 4), compression=compression)


def expected(
    plan: Plan, house: House, asked: list[TrainFleet], forgets_at: int = ROUNDS
) -> dict[tuple[Hash, bytes], bytes]:
    """What each device would send in a node of its own, by task and device."""
    problem, rows, kept, found = compile_problem(plan), Rows(DEVICES).fleet, dict[bytes, bytes](), {}
    for spec in asked:
        if spec.task.round == forgets_at:
            kept.clear()
        model = from_bytes(spec.model, problem.dimension)
        for seat in spec.seats:
            account, data = hosted(house).accounts[seat.place], rows.device(seat.place)
            seed, before = device_seed(spec.task.digest, account), kept.get(account, b"")
            payload, kept[account] = train_update(problem, spec.task, model, spec.carry, data, seed, before)
            found[spec.task.digest, bytes(account)] = payload
    return found


def released(house: House) -> dict[tuple[Hash, bytes], bytes]:
    """What left the house, by task and device."""
    return {(entry.task, bytes(entry.device)): entry.payload for entry in house.core.world.journal.entries()}


def finish(town: Town, plan: Hash) -> None:
    """Let a plan come to its end."""
    assert town.run(lambda: is_over(town, plan), 400)
    assert halts(town) == []
    entry = entry_of(town, plan)
    assert entry is not None
    assert entry.status == "finished"


def test_each_device_of_a_fleet_goes_on_from_its_own_residual(
    asked: list[TrainFleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through restarts, byte for byte what four nodes would send; some blocks after the end nothing is kept."""
    town, house = make_town(miners=1, devices=DEVICES)
    plan = submit(town, sparing())
    while not is_over(town, plan):
        town.run(lambda: is_over(town, plan), 45)
        town.restart(1, FLEET)
    finish(town, plan)
    assert len(released(house)) == DEVICES * ROUNDS
    assert released(house) == expected(sparing(), house, asked)
    kept = [house.core.world.residuals.get(plan, account, asked[-1].task.digest) for account in hosted(house).accounts]
    assert len({one for one in kept if one}) == DEVICES
    monkeypatch.setattr(fleetresiduals, "_FORGET_BLOCKS", 2)
    other = submit(town, make_plan(DEVICES, rounds=1))
    assert house.core.world.residuals.plans() == (plan,)
    finish(town, other)
    assert house.core.world.residuals.plans() == ()


def test_devices_whose_residuals_are_gone_say_so_and_go_on_without(asked: list[TrainFleet]) -> None:
    """They lose what they had not sent, and nothing else."""
    town, house = make_town(miners=1, devices=DEVICES)
    plan = submit(town, sparing(3))
    assert town.run(lambda: (entry := entry_of(town, plan)) is not None and entry.rounds == 1, 400)
    asked_before = len(asked)
    house.core.world.residuals.forget(plan)
    finish(town, plan)
    lost = asked[asked_before].task.round
    assert released(house) == expected(sparing(3), house, asked, lost)
    told = [notice.text for notice in house.notices if isinstance(notice, RoleNotice)]
    assert [text.partition(";")[0] for text in told] == ["4 of 4 devices are poorer"]
    assert "what it had not sent of earlier rounds is not in the data directory" in told[0]
