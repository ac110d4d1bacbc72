"""The plans that come with the program are plans, and those for heart disease fit its data."""

from pathlib import Path

import pytest

from fl.data.sources import list_devices, load_dataset
from fl.plan.bind import load_plan
from fl.plan.dimensions import audit_policy
from fl.plan.parse import parse_draft
from fl.problem import compile_problem
from fl.train import train_federated

EXAMPLES = sorted(Path("examples").glob("*/*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_example_is_a_plan(path: Path) -> None:
    """``parse_draft`` names every problem."""
    assert parse_draft(path.read_text()).plan.title


def test_the_audited_example_learns_as_the_other_does() -> None:
    """In segments, with the same first round but for rounding; and it does ask for audits."""
    data = Path("examples/heart/data")
    runs = []
    for name in ("plan", "audited"):
        plan = load_plan(Path(f"examples/heart/{name}.toml")).plan
        devices = {files.name: load_dataset(files.train, plan.roles[0]) for files in list_devices(data)}
        runs.append(train_federated(compile_problem(plan), devices))
        assert (audit_policy(plan) is None) == (name == "plan")
    whole, audited = runs
    assert audited.history[0].gradient_norm == pytest.approx(whole.history[0].gradient_norm, rel=1e-6)
    assert audited.history[-1].loss == pytest.approx(whole.history[len(audited.history) - 1].loss, abs=0.01)
