"""The bundled hospitals are what their README says, and no test row is ever trained on."""

import csv
import importlib.util
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fl.data.sources import find_holdout, list_devices, load_dataset
from fl.dataset import DenseData, rows
from fl.plan.bind import load_plan
from fl.plan.dimensions import parameter_count

EXAMPLES = Path(__file__).parents[3] / "examples"
HEART = EXAMPLES / "heart"
DATA = HEART / "data"


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    """The script that makes the bundled files."""
    spec = importlib.util.spec_from_file_location("prepare_heart", HEART / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_those_that_were_listed() -> None:
    """Every data file has the digest in SHA256SUMS."""
    listed = dict(reversed(line.split("  ")) for line in (DATA / "SHA256SUMS").read_text().splitlines())
    assert listed == {path.name: sha256(path.read_bytes()).hexdigest() for path in DATA.glob("*.csv")}


def test_no_row_is_in_two_parts() -> None:
    """Training, test and holdout rows are disjoint, and together are UCI's 920 rows without two that repeat."""
    seen = [
        (path.name.split(".")[0], *row)
        for path in sorted(DATA.glob("*.csv"))
        for row in list(csv.reader(path.read_text().splitlines()))[1:]
    ]
    assert len(seen) == 918
    assert len(set(seen)) == 918
    public = {row[1:] for row in seen if row[0] == "holdout"}
    assert not {row[1:] for row in seen if row[0] != "holdout"} & public


def test_the_plan_takes_every_file() -> None:
    """All parts of all hospitals encode, within -1 … 1, to the coordinates the plan counts."""
    bound = load_plan(HEART / "plan.toml")
    role = bound.plan.roles[0]
    devices = list_devices(DATA)
    assert [device.name for device in devices] == ["cleveland", "hungarian", "switzerland", "va"]
    for device in devices:
        assert device.test is not None
        train, test = load_dataset(device.train, role), load_dataset(device.test, role)
        assert isinstance(train, DenseData)
        assert train.x.shape[1] == parameter_count(bound.plan) - 1
        assert np.abs(train.x).max() <= 1
        assert 0.2 < rows(test) / (rows(train) + rows(test)) < 0.3
    assert bound.holdout is not None
    holdout = find_holdout(DATA)
    assert holdout is not None
    assert rows(load_dataset(holdout, role)) == 78


@pytest.mark.parametrize("name", ["heart", "a9a", "mnist"])
def test_the_plans_of_the_examples_can_be_used(name: str) -> None:
    """Every plan in examples/ is read without a problem."""
    assert load_plan(EXAMPLES / name / "plan.toml").plan.stopping.rounds <= 20


def test_no_gradient_of_a_patient_is_longer_than_the_clip() -> None:
    """The plan's bound on a sample's gradient follows from its schema, so that honest hospitals are never clipped."""
    plan = load_plan(HEART / "plan.toml").plan
    longest = max(
        float(np.sqrt((data.x**2).sum(axis=1) + 1).max())
        for device in list_devices(DATA)
        if isinstance(data := load_dataset(device.train, plan.roles[0]), DenseData)
    )
    assert longest < 4


def test_preparing_cleans_and_splits(prepare: ModuleType) -> None:
    """Zeros that are no measurements become missing, the label binary; parts are stratified and repeat nothing."""
    assert prepare.clean("32,1,1,95,0,?,0,127,0,.7,1,?,?,3\n")[3:6] == ("95", "?", "?")
    assert prepare.clean("32.0,1,1,0.0,7,?,0,127,0,0,1,?,?,0\n")[3:] == (
        *("?", "7", "?", "0", "127", "0", "0", "1", "?", "?"),
        "0",
    )
    made = [(str(number), *"x" * 12, str(number % 2)) for number in range(240)]
    parts = prepare.parts_of("nowhere", [*made, made[0]])
    assert sorted(row for part in parts.values() for row in part) == sorted(made)
    assert {name: (len(part), sum(row[-1] == "1" for row in part)) for name, part in parts.items()} == {
        "train": (160, 80),
        "test": (60, 30),
        "holdout": (20, 10),
    }
    assert parts == prepare.parts_of("nowhere", made)
    assert parts != prepare.parts_of("elsewhere", made)
