"""A plan made from data can be used as it is, and says what it was made from."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.number import Number
from fl.data.sources import list_devices, load_dataset
from fl.data.split import Split, split_files
from fl.data.table import Column, Csr, VectorTable
from fl.dataset import features
from fl.errors import DataError, PlanError
from fl.plan.bind import load_plan
from fl.plan.dimensions import feature_count
from fl.plan.infer import infer_plan, rounded
from fl.plan.infer_counts import infer_counts
from fl.plan.parse import parse_draft
from fl.plan.schema import (
    CategoricalFeature,
    ClassLabel,
    FedSvrg,
    Holdout,
    NumericFeature,
    NumericLabel,
    StatisticsPlan,
    VectorFeature,
)
from fl.plan.statistics import OptimalLocalHashing, RandomisedResponse

HEART = Path(__file__).parents[3] / "examples/heart/data"
CENSUS = HEART.parents[1] / "census/data"


def write(directory: Path, name: str, text: str) -> Path:
    """Write a file and return its path."""
    path = directory / name
    path.write_text(text)
    return path


def test_hospitals_give_a_plan_that_runs(tmp_path: Path) -> None:
    """Two steps from files to datasets: the plan written takes every file, its public holdout too."""
    inferred = infer_plan([HEART], beside=tmp_path)
    path = write(tmp_path, "plan.toml", inferred.toml())
    bound = load_plan(path)
    role = bound.plan.roles[0]
    assert (bound.plan.model.type, role.label.name) == ("logistic", "disease")
    assert bound.holdout is not None
    assert isinstance(bound.plan.verification.policies[-1], Holdout)
    assert (bound.plan.participation.min_devices, bound.plan.participation.max_devices) == (3, 4)
    for device in list_devices(HEART):
        for part in (device.train, device.test):
            assert part is not None
            assert features(load_dataset(part, role)) == feature_count(role)


def test_a_plan_says_what_it_was_made_from() -> None:
    """Inferred bounds are private facts: the warning stands in the plan's file, before anything else."""
    inferred = infer_plan([HEART])
    assert "replace them by bounds that are public knowledge" in inferred.warnings[0]
    assert any("'disease'" in warning for warning in inferred.warnings)
    assert any("cp, restecg" in warning for warning in inferred.warnings)
    assert "replace them by bounds" in inferred.toml().split("kind =")[0].replace("\n# ", " ")


def test_the_files_form_is_the_plan(tmp_path: Path) -> None:
    """What is written is what was inferred, whatever the columns are called."""
    names = 'a"b,"odd, ""name""",Ärger,row,id,label\n'
    path = write(tmp_path, "rows.csv", names + "1,2,x,3,1,yes\n2.5,?,y,4,2,no\n3,5,x\ty,9,3,no\n")
    inferred = infer_plan([path])
    draft = parse_draft(inferred.toml())
    assert (draft.plan, draft.holdout_file) == (inferred.plan, inferred.holdout_file)
    assert [feature.name for feature in inferred.plan.roles[0].features] == ['a"b', 'odd, "name"', "Ärger"]


def test_columns_get_their_kinds(tmp_path: Path) -> None:
    """Numbers get bounds, texts categories, missing values their form; constants and free text are left out."""
    lines = [
        f"{number},{'?' if number == 3 else number / 7},{'xy'[number % 2]},7,text{number},{number}"
        for number in range(70)
    ]
    path = write(tmp_path, "rows.csv", "whole,real,kind,same,free,amount\n" + "\n".join(lines))
    inferred = infer_plan([path], "amount")
    by_name = {feature.name: feature for feature in inferred.plan.roles[0].features}
    assert set(by_name) == {"whole", "real", "kind"}
    assert by_name["whole"] == NumericFeature("whole", Number(0, 0), Number(69, 0), "clip", "refuse", Number(0, 0))
    assert by_name["real"] == NumericFeature("real", Number(0, 0), Number(99, -1), "clip", "indicator", Number(495, -2))
    assert by_name["kind"] == CategoricalFeature("kind", ("x", "y"), "refuse")
    assert inferred.plan.roles[0].label == NumericLabel("amount", Number(0, 0), Number(69, 0))
    assert inferred.plan.model.type == "linear"
    assert any("'same'" in warning for warning in inferred.warnings)
    assert any("'free'" in warning for warning in inferred.warnings)


def test_files_with_other_columns_share_what_all_have(tmp_path: Path) -> None:
    """Devices' files are looked at together: classes of all, columns of all, the rest left out with a word."""
    one = write(tmp_path, "one.csv", "a,b,label\n1,2,x\n2,3,y\n")
    other = write(tmp_path, "other.csv", "b,label,c\n-7,z,1\n4,y,1\n")
    plan = infer_plan([one, other]).plan
    assert plan.roles[0].label == ClassLabel("label", ("x", "y", "z"))
    assert [feature.name for feature in plan.roles[0].features] == ["b"]
    assert plan.model.type == "softmax"


@pytest.mark.parametrize("is_sparse", [True, False])
def test_unnamed_numbers_become_a_vector(tmp_path: Path, is_sparse: bool) -> None:
    """LIBSVM and NPZ files give a vector as wide as the widest, zero within its bounds."""
    x = np.zeros((60, 9))
    x[:, 2] = np.arange(60) / 10 + 0.05
    sparse = Csr(np.arange(61, dtype=np.int64), np.full(60, 2, np.int32), x[:, 2].copy(), 9)
    label = Column("y", np.arange(60) % 2 * 2 - 1.0)
    split_files(VectorTable("t", sparse if is_sparse else x, label, 60), None, tmp_path, Split(3))
    plan = infer_plan([tmp_path]).plan
    feature = plan.roles[0].features[0]
    assert feature == VectorFeature("x", 3 if is_sparse else 9, Number(0, 0), Number(6, 0))
    assert plan.roles[0].label == ClassLabel("label", ("-1", "1"))


def test_the_step_is_careful_where_devices_differ(tmp_path: Path) -> None:
    """The same rows dealt by label get a smaller step than rows dealt at random."""
    x = np.random.default_rng(0).normal(size=(600, 4))
    table = VectorTable("t", x, Column("y", np.arange(600) % 4 * 1.0), 600)
    split_files(table, None, tmp_path / "alike", Split(4, labels=4))
    split_files(table, None, tmp_path / "apart", Split(4, labels=1))
    steps = []
    for name in ("alike", "apart"):
        algorithm = infer_plan([tmp_path / name]).plan.algorithm
        assert isinstance(algorithm, FedSvrg)
        steps.append(float(algorithm.step))
    assert steps[1] < steps[0]


@pytest.mark.parametrize(
    ("texts", "label", "message"),
    [
        (["a,b\n1,2\n"], "c", "has no column 'c'"),
        (["a,b\n1,2\n2,2\n"], "b", "has 1 class"),
        (["b\n1\n2\n"], "b", "has no column to learn from"),
        (["a,b\n1,x\n", "1 1:1\n"], None, "unnamed numbers"),
    ],
)
def test_files_that_give_no_plan_are_named(tmp_path: Path, texts: list[str], label: str | None, message: str) -> None:
    """A missing label, one class, nothing to learn from, or files of different kinds are clear errors."""
    paths = [write(tmp_path, f"file{number}", text) for number, text in enumerate(texts)]
    with pytest.raises(DataError, match=message):
        infer_plan(paths, label)
    with pytest.raises(DataError, match="no data files"):
        infer_plan([])


@given(value=st.floats(-1e15, 1e15).filter(lambda value: value == 0 or abs(value) > 1e-9))
def test_bounds_are_rounded_outward(value: float) -> None:
    """A bound never cuts off the value it comes from, and has two digits."""
    low, high = rounded(value, "down"), rounded(value, "up")
    exact = Decimal(value)
    slack = Decimal("1e-15")
    assert Decimal(str(low)) <= exact + slack
    assert Decimal(str(high)) >= exact - slack
    assert all(abs(number.mantissa) < 100 or number.exponent == 18 for number in (low, high))


def test_a_column_gives_a_plan_that_counts_it(tmp_path: Path) -> None:
    """What is written is read again, takes every file, and reports as is best for so many values at this ε."""
    inferred = infer_counts([CENSUS], "education", Number.of(2))
    plan = load_plan(write(tmp_path, "plan.toml", inferred.toml())).plan
    assert plan == inferred.plan
    assert isinstance(plan, StatisticsPlan)
    assert "public knowledge" in inferred.toml()
    assert (len(plan.column.values), plan.column.other, plan.participation.max_devices) == (16, "refuse", 6)
    for device in list_devices(CENSUS):
        load_dataset(device.train, plan.roles[0])
    for epsilon, kind in (("1.4", OptimalLocalHashing), ("1.7", RandomisedResponse)):  # 16 values: 3·e^ε + 2 > 16
        assert isinstance(infer_counts([CENSUS], "education", Number.of(epsilon)).plan.statistic, kind)  # type: ignore[union-attr]


def test_counted_columns_may_have_numbers_and_gaps(tmp_path: Path) -> None:
    """Gaps are counted among the rest; a column of nothing, an ε that is none, and rows without names are refused."""
    table = write(tmp_path, "a.csv", "thal,empty\n3,\n7,\n,\nx,\n")
    inferred = infer_counts([table], "thal", Number.of(1))
    assert isinstance(inferred.plan, StatisticsPlan)
    assert (inferred.plan.column.values, inferred.plan.column.other) == (("3", "7", "x"), "count")
    assert "Missing cells (1) are counted" in inferred.toml()
    load_dataset(table, inferred.plan.roles[0])
    with pytest.raises(DataError, match="has 0 different values"):
        infer_counts([table], "empty", Number.of(1))
    with pytest.raises(PlanError, match="must be above 0"):
        infer_counts([table], "thal", Number.of(0))
    np.savez(tmp_path / "b.npz", x=np.ones((2, 2)), y=np.ones(2))
    with pytest.raises(DataError, match="without names"):
        infer_counts([tmp_path / "b.npz"], "thal", Number.of(1))
