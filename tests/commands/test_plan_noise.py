"""What ``plan validate`` and ``plan show`` tell of a plan with noise: whom it hides, what that costs at worst."""

from pathlib import Path

from msgspec.structs import replace

from commands.plan_checks import describe_checks, list_checks
from fl.plan.bind import load_plan
from fl.plan.schema import Laplace, NoPrivacy
from fl.plan.validate import check_plan

EXAMPLE = Path(__file__).parents[2] / "examples/a9a/private.toml"


def test_people_see_whom_the_noise_hides_and_what_it_costs() -> None:
    """The example says ε = 1 at δ = 1e-5 in its own words; so does the command."""
    plan = load_plan(EXAMPLE).plan
    assert check_plan(plan) == ()
    told = describe_checks(plan)["noise"]
    assert (told["releases"], told["loss"], told["worst_loss"]) == (10, 3052, 30520)
    assert 0.99 < float(told["worst_epsilon"]) < 1.0
    text = " ".join(line for _, line in list_checks(plan))
    assert "hides each single row of a device from everybody" in text
    assert "10 releases of 3,052 micro-zCDP at most: ε = 0.999 at δ = 1e-05" in text
    device = replace(plan, privacy=Laplace("device", plan.algorithm.step, 0))
    assert "hides each device, with all its rows" in " ".join(line for _, line in list_checks(device))
    assert "noise" not in describe_checks(replace(plan, privacy=NoPrivacy()))
