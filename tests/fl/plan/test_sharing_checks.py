"""Plans whose devices share randomised rows: what makes no sense is refused by name, and what the rest costs."""

import pytest
from msgspec.structs import replace

from chain.ids import Amount
from chain.number import Number
from fl.plan.dimensions import replay_work
from fl.plan.schema import Gaussian, Layer, Plan, Replay, Role, Support, VectorFeature
from fl.plan.validate import check_plan
from fl.privacy.charges import FREE, is_bounded, join_charge, phase_charge, worst_case
from tests.consensus.harness import make_plan


def sharing_plan(epsilon: str = "2", source: str = "randomised", **changes: object) -> Plan:
    plan = make_plan(devices=(1, 2, 2), attestations=1)
    replay = Replay(source, 2, Amount(5), Number.of(epsilon))  # type: ignore[arg-type]
    plan = replace(
        plan, version=2, verification=replace(plan.verification, policies=(*plan.verification.policies, replay))
    )
    return replace(plan, **changes)


def faults(plan: Plan) -> dict[str, str]:
    return {problem.field: problem.allowed for problem in check_plan(plan)}


def test_a_plan_of_shared_rows_is_fine_and_costs_epsilon_once() -> None:
    """ρ = ε²/2 as a device joins, rounded up; nothing for all its updates."""
    plan = sharing_plan("1.3")
    assert faults(plan) == {}
    charge = join_charge(plan)
    assert (charge.mechanism, charge.loss, charge.epsilon) == ("randomised", 845_000, 1_300_000)
    assert phase_charge(plan, 0) == FREE
    assert worst_case(plan) == 845_000
    assert is_bounded(plan)
    assert join_charge(sharing_plan("0.0011")).loss == 1
    rows = sharing_plan("0", "open")
    assert faults(rows) == {}
    assert join_charge(rows) == FREE
    assert not is_bounded(rows)
    assert replay_work(plan) > replay_work(rows)


@pytest.mark.parametrize("epsilon", ["0", "-1", "0.0009", "64.1"])
def test_an_epsilon_that_hides_nothing_or_tells_nothing_is_refused(epsilon: str) -> None:
    """By its field."""
    assert "must be 0.001 … 64" in faults(sharing_plan(epsilon))["verification.replay.epsilon"]


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("model.hidden", {"hidden": (Layer(3, "relu"),)}),
        ("compression.type", {"compression": Support(2)}),
        ("privacy.type", {"privacy": Gaussian("record", Number.of(1), 0)}),
        ("roles[0].features", {"size": 257}),
    ],
)
def test_what_makes_no_sense_beside_randomised_rows_is_refused(path: str, changes: dict[str, object]) -> None:
    """Each by its field, with the reason."""
    plan = sharing_plan()
    if "hidden" in changes:
        plan = replace(plan, model=replace(plan.model, **changes))
    elif "size" in changes:
        vector = VectorFeature("v", 257, Number.of(0), Number.of(1))
        plan = replace(plan, roles=(Role(plan.roles[0].name, (vector,), plan.roles[0].label),))
    else:
        plan = replace(plan, **changes)
    assert path in faults(plan)


def test_rows_as_they_are_have_no_epsilon() -> None:
    """A plan that says one promises what it does not keep."""
    assert "hide nothing" in faults(sharing_plan("2", "open"))["verification.replay.epsilon"]
