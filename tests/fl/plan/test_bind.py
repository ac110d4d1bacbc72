"""A plan and its holdout file give one plan and one set, again and again."""

from pathlib import Path

import pytest

from fl.errors import DataError, PlanError
from fl.holdout import check_opening
from fl.plan.bind import NO_OWNER, load_plan, with_root
from fl.plan.dimensions import holdout_policy
from fl.plan.schema import plan_id
from tests.fl.plan.documents import SMALL

HOLDOUT = '\n[verification.holdout]\nfile = "public/holdout.csv"\nchunks = 3\nrows = {rows}\n'


def written(directory: Path, rows: int = 2, text: str = SMALL) -> Path:
    """Write the small plan with a holdout of seven rows and return its path."""
    (directory / "public").mkdir(exist_ok=True)
    lines = [f"{40 + number},{1 + number / 10},north,{number % 2}" for number in range(7)]
    (directory / "public/holdout.csv").write_text("\n".join(["age,dose,site,ill", *lines]))
    path = directory / "plan.toml"
    path.write_text(text + HOLDOUT.format(rows=rows))
    return path


def test_the_same_files_and_key_give_the_same_plan(tmp_path: Path) -> None:
    """The owner can make the set again from the files alone, and another owner gets another commitment."""
    path = written(tmp_path)
    bound, again, other = load_plan(path), load_plan(path, NO_OWNER), load_plan(path, bytes([1]) * 32)
    assert bound == again
    assert plan_id(bound.plan) != plan_id(other.plan)
    assert bound.holdout is not None
    assert other.holdout is not None
    assert not set(bound.holdout.salts) & set(other.holdout.salts)


def test_the_set_opens_the_plans_root(tmp_path: Path) -> None:
    """Every chunk of the set that comes with a plan is one its root commits to."""
    bound = load_plan(written(tmp_path))
    spec, held = holdout_policy(bound.plan), bound.holdout
    assert spec is not None
    assert held is not None
    assert all(
        check_opening(spec, chunk, held.salts[chunk], held.proofs[chunk], held.payloads[chunk]) for chunk in range(3)
    )


def test_another_plan_has_other_salts(tmp_path: Path) -> None:
    """The salts follow from the plan too, so that opening one plan's chunks tells nothing of another's."""
    one = load_plan(written(tmp_path)).holdout
    other = load_plan(written(tmp_path, text=SMALL.replace("step = 0.5", "step = 0.6"))).holdout
    assert one is not None
    assert other is not None
    assert not set(one.salts) & set(other.salts)


def test_rows_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """Seven rows in three chunks make two each, and the message says so."""
    with pytest.raises(PlanError, match=r"verification\.holdout\.rows = 3: .*7 rows in 3 chunks make 2 rows each"):
        load_plan(written(tmp_path, rows=3))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Neither a plan nor a holdout that is not there is anything but a clear error."""
    path = written(tmp_path)
    (tmp_path / "public/holdout.csv").unlink()
    with pytest.raises(DataError, match=r"holdout\.csv: cannot be read"):
        load_plan(path)
    with pytest.raises(DataError, match=r"none\.toml: cannot be read"):
        load_plan(tmp_path / "none.toml")


def test_a_plan_without_holdout_needs_no_file(tmp_path: Path) -> None:
    """A plan with no holdout is bound as it stands."""
    path = tmp_path / "plan.toml"
    path.write_text(SMALL)
    bound = load_plan(path)
    assert bound.holdout is None
    assert with_root(bound.plan, bytes(32)) == bound.plan  # type: ignore[arg-type]
