"""Plans that count, by whole nodes on both engines: devices answer through crashes and losses, each at its price."""

from dataclasses import replace as replace_field

import pytest
from msgspec.structs import replace

from chain.codec import encode
from chain.fixedpoint import from_bytes
from chain.ids import AccountId, Hash
from consensus.privacy import get_charges
from consensus.problems import get_problem
from consensus.queries import get_history, list_plans
from consensus.state import need_bytes
from consensus.statekeys import model_key
from fl.plan.schema import StatisticsPlan
from fl.privacy.charges import phase_charge
from fl.statistics.estimates import estimate_values
from node.service.datastore import stored_role
from node.simulator.population import Commission, Population
from node.simulator.settings import SimulationSettings
from node.simulator.simulation import Simulation
from tests.fl.statistics.plans import counting_plan, statistic_of


def count_always(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Let every plan be one that counts."""
    draw = Population.commission

    def commission(self: Population, number: int) -> Commission:
        statistic = statistic_of(kind, "8", 16, 16)
        plan = replace(counting_plan(kind, statistic=statistic, devices=(3, 4, 4), retries=3), nonce=number)
        return replace_field(draw(self, number), plan=plan, holdout=None)

    monkeypatch.setattr(Population, "commission", commission)


@pytest.mark.parametrize(
    ("engine", "faults", "kind"),
    [("pow", ("crash", "loss", "restart"), "hcms"), ("pos", ("crash", "restart"), "cms")],
)
def test_a_plan_that_counts_is_answered(
    engine: str, faults: tuple[str, ...], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What settles is near the truth, and no device is charged for more than it released."""
    count_always(monkeypatch, kind)
    settings = SimulationSettings(
        seed=4,
        nodes=4,
        miners=4 if engine == "pos" else 3,
        devices=4,
        engine=engine,  # type: ignore[arg-type]
        faults=faults,
        duration_ms=60_000,
        block_ms=1_000,
        plans=1,
    )
    world = Simulation(settings)
    report = world.run()
    assert report.is_good, report.violations
    core = next(machine.core for machine in world.machines if machine.core is not None)
    view = core.chain.view
    (entry,) = list_plans(view)
    assert entry.status == "finished"
    (settled,) = get_history(view, Hash(entry.plan))
    problem = get_problem(view, Hash(entry.plan))
    model = from_bytes(need_bytes(view, model_key(Hash(entry.plan))), problem.dimension)
    assert int(model[0]) >= 3 * 12
    assert isinstance(problem.plan, StatisticsPlan)
    found = estimate_values(problem.plan, problem.plan_id, model)
    assert abs(sum(each.rows for each in found) - int(model[0])) < 5 * sum(each.rows_error for each in found)
    loss = phase_charge(problem.plan, 0).loss
    answered = [AccountId(report.device) for report in settled.devices]
    assert len(answered) >= 3
    for device in answered:
        charges = get_charges(view, device)
        assert [charge.loss for charge in charges] == [loss] * len(charges)
        assert 1 <= len(charges) <= settled.attempts


@pytest.mark.parametrize("other", ["refuse", "count"])
def test_a_data_store_can_be_made_for_a_plan_that_counts(other: str) -> None:
    """Its schema says the same when it is read again, as those of other plans do."""
    role = counting_plan("olh", ("a", "b"), other=other).roles[0]
    assert stored_role(encode(role)) == role
