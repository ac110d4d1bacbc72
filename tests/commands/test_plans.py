"""``plan new``, ``options``, ``validate``; ``data``; ``train`` and ``model``: all that needs no node."""

import csv
import io
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from commands import data
from fl.data.known import KNOWN_SETS, KnownSet, RemoteFile
from fl.plan.options import plan_options
from fl.plan.parse import parse_draft
from tests.commands.conftest import PLAN, write_table
from tests.commands.terminal import HEART, done, fedchain


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan beside its holdout file and its devices' data."""
    (tmp_path / "data").mkdir()
    write_table(tmp_path / "holdout.csv", 8, shift=3)
    for number in range(2):
        write_table(tmp_path / "data" / f"clinic-{number}.csv", 20 + 10 * number, shift=number)
    write_table(tmp_path / "data" / "clinic-0.test.csv", 12, shift=50)
    file = tmp_path / "plan.toml"
    file.write_text(PLAN.replace("max_devices = 1", "max_devices = 2").replace("goal_devices = 1", "goal_devices = 2"))
    return file


# --- plans -----------------------------------------------------------------------------------------


def test_options_show_every_field_or_a_part(plan: Path):
    """With what is allowed and the default; an unknown part names the known ones."""
    assert len(done("plan", "options")["options"]) == len(plan_options())
    part = done("plan", "options", "stopping")["options"]
    assert [one["field"] for one in part] == ["stopping", "stopping.rounds", "stopping.gradient_norm"]
    text = fedchain("plan", "options", "stopping").out
    assert "stopping.gradient_norm  = 0" in text
    assert "stopping.rounds  required" in text
    answer = fedchain("plan", "options", "nonsense", "--json")
    assert answer.code == 2
    assert "stopping" in answer.error["remedy"]


def test_validate_says_what_a_plan_comes_to(plan: Path):
    """Its model, its updates, its cost; with --data each device's rows."""
    found = done("plan", "validate", plan, "--data", plan.parent / "data")
    assert found["valid"]
    assert found["parameters"] == 5
    assert found["escrow"] > 1500
    assert [(one["device"], one["rows"], one["test"]) for one in found["devices"]] == [
        ("clinic-0", 20, False),
        ("clinic-0", 12, True),
        ("clinic-1", 30, False),
    ]
    assert "is fine" in fedchain("plan", "validate", plan).out


BAD_PLANS = {
    "wrong types": ("step = 5", 'step = "fast"', "algorithm.step"),
    "a missing field": ('title = "A small plan"', "", "title"),
    "an unknown field": ("rounds = 2", "rounds = 2\nturns = 3", "stopping.turns"),
    "contradicting numbers": ("min_devices = 1", "min_devices = 5", "participation"),
    "numbers that overflow": ("max_samples = 1000", "max_samples = 4000000000", "max_samples"),
    "a number out of range": ("attestations = 0", "attestations = 99", "verification.attestations"),
    "a holdout that does not fit": ("rows = 4", "rows = 400", "verification.holdout.rows"),
    "no TOML": ("[model]", "[model", "is not TOML"),
}


@pytest.mark.parametrize("name", sorted(BAD_PLANS))
def test_a_plan_that_does_not_fit_is_refused_by_field(plan: Path, name: str):
    """Exit code 1; the field that is wrong is named."""
    old, new, named = BAD_PLANS[name]
    assert old in plan.read_text()
    plan.write_text(plan.read_text().replace(old, new, 1))
    answer = fedchain("plan", "validate", plan)
    assert answer.code == 1
    assert named in answer.err
    assert named in fedchain("plan", "validate", plan, "--json").error["cause"]


def test_a_file_that_is_no_toml_is_named(plan: Path):
    """A person with several plans knows which one to mend, and where in it."""
    plan.write_text('title = "half a text\n')
    answer = fedchain("plan", "validate", plan, "--json").error["cause"]
    assert answer.startswith(f"{plan}: is not TOML: ")
    assert "line 1" in answer


def test_all_problems_of_a_plan_are_told_at_once(plan: Path):
    """So that a person mends it once."""
    plan.write_text(plan.read_text().replace("step = 5", "step = -5").replace("rounds = 2", "rounds = 0"))
    fields = {one["field"] for one in fedchain("plan", "validate", plan, "--json").error["problems"]}
    assert {"algorithm.step", "stopping.rounds"} <= fields


BAD_FILES = {
    "a missing column": ("weight", "mass", "weight"),
    "too few cells": ("height,weight,smokes,ill\n", "height,smokes,ill\n", "line 2"),
    "text for a number": ("\n150,", "\ntall,", "tall"),
    "an infinite number": ("\n150,", "\ninf,", "inf"),
    "a missing value": ("\n150,", "\nNaN,", "height"),
    "a foreign class": (",0\n", ",7\n", "7"),
}


@pytest.mark.parametrize("name", sorted(BAD_FILES))
def test_a_data_file_that_does_not_fit_is_refused_by_file_row_and_column(plan: Path, name: str):
    """The sentence says where, what, and what is allowed."""
    old, new, named = BAD_FILES[name]
    file = plan.parent / "data" / "clinic-1.csv"
    write_table(file, 30)
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    answer = fedchain("plan", "validate", plan, "--data", plan.parent / "data", "--json")
    assert answer.code == 1
    assert "clinic-1.csv" in answer.error["cause"]
    assert named in answer.error["cause"]


def test_an_empty_file_and_an_empty_directory_are_refused(plan: Path, tmp_path: Path):
    """Neither is taken for a device."""
    (plan.parent / "data" / "clinic-1.csv").write_text("")
    assert "clinic-1.csv" in fedchain("plan", "validate", plan, "--data", plan.parent / "data").err
    (tmp_path / "none").mkdir()
    assert (
        "no device's data file"
        in fedchain("plan", "validate", plan, "--data", tmp_path / "none", "--json").error["cause"]
    )


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_read(plan: Path, delimiter: str):
    """As people's programs write them."""
    file = plan.parent / "data" / "clinic-1.csv"
    file.write_text(file.read_text().replace(",", delimiter))
    assert done("plan", "validate", plan, "--data", plan.parent / "data")["devices"][-1]["rows"] == 30


def test_two_commands_lead_from_files_to_a_plan_that_is_fine(plan: Path, tmp_path: Path):
    """``plan new`` writes what ``plan validate`` accepts, warns that bounds are private, and replaces nothing."""
    out = tmp_path / "new.toml"
    made = done("plan", "new", "--data", plan.parent / "data", "--label", "ill", "--out", out)
    assert made["label"] == "ill"
    assert any("private" in warning for warning in made["warnings"])
    assert parse_draft(out.read_text()).plan.model.type == "logistic"
    assert done("plan", "validate", out, "--data", plan.parent / "data")["parameters"] == made["parameters"]
    again = fedchain("plan", "new", "--data", plan.parent / "data", "--out", out, "--json")
    assert "exists already" in again.error["cause"]
    told = fedchain("plan", "new", "--data", plan.parent / "data", "--out", out, "--force")
    assert told.code == 0
    assert "Warning: " in told.err
    assert f"fedchain localnet run {out}" in told.out


# --- data ------------------------------------------------------------------------------------------


def test_a_plan_that_counts_is_written_too(plan, tmp_path):
    """Of one column, under an ε; half of what it takes is refused, and so is a label beside it."""
    words = ("plan", "new", "--data", plan.parent / "data", "--count", "ill", "--out", tmp_path / "count.toml")
    made = done(*words, "--epsilon", "1")
    assert (made["kind"], made["label"]) == ("statistics", "ill")
    assert done("plan", "validate", tmp_path / "count.toml", "--data", plan.parent / "data")["valid"]
    for wrong in (("--force",), ("--force", "--epsilon", "1", "--label", "ill"), ("--force", "--epsilon", "much")):
        assert fedchain(*words, *wrong).code == 2


def test_split_cuts_a_table_into_devices_files(tmp_path: Path):
    """Every row goes to one device; the directory is not written twice."""
    write_table(tmp_path / "table.csv", 60)
    out = tmp_path / "parts"
    made = done("data", "split", tmp_path / "table.csv", "--devices", 3, "--holdout", 6, "--out", out)
    assert sum(file["rows"] for file in made["files"]) == 60
    assert sorted(path.name for path in out.iterdir()) == [
        "device-01.csv",
        "device-02.csv",
        "device-03.csv",
        "holdout.csv",
    ]
    answer = fedchain("data", "split", tmp_path / "table.csv", "--devices", 3, "--out", out)
    assert answer.code == 1
    assert "holds data files already" in answer.err


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--devices", "2", "--label", "ill"], "--labels N"),
        (["--devices", "2", "--test", "table.csv", "--test-percent", "10"], "contradict"),
    ],
)
def test_split_refuses_options_that_contradict_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], cause: str
):
    """Exit code 2."""
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "table.csv", 60)
    answer = fedchain("data", "split", "table.csv", "--out", "parts", *words, "--json")
    assert answer.code == 2
    assert cause in answer.error["cause"]


def test_a_fetched_set_comes_with_the_command_that_cuts_it():
    """With its own test table, if it has one."""
    cut = data._cut([Path("my data/a.libsvm"), Path("my data/a.test.libsvm")])
    assert cut.startswith("fedchain data split 'my data/a.libsvm' --test 'my data/a.test.libsvm'")
    assert "--test-percent" in data._cut([Path("w.libsvm")])


def test_fetch_knows_its_sets_and_works_from_files_alone(tmp_path: Path):
    """A file with another digest is refused, and nothing is written."""
    answer = fedchain("data", "fetch", "nonsense", "--json")
    assert answer.code == 2
    assert "mnist" in answer.error["remedy"]
    (tmp_path / "a9a").write_text("+1 1:1\n")
    answer = fedchain("data", "fetch", "a9a", "--from", tmp_path / "a9a", "--out", tmp_path / "out", "--json")
    assert answer.code == 1
    assert "SHA-256" in answer.error["cause"]
    assert not any((tmp_path / "out").iterdir())


def test_fetch_tells_where_the_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A set that is there already is not fetched again."""
    data = b"+1 1:1\n-1 2:1\n"
    original = RemoteFile("tiny", (), sha256(data).hexdigest(), len(data), 2)
    monkeypatch.setitem(
        KNOWN_SETS, "tiny", KnownSet("tiny", "two rows", "public", (original,), {"t.libsvm": ("tiny",)})
    )
    (tmp_path / "tiny").write_bytes(data)
    got = done("data", "fetch", "tiny", "--from", tmp_path / "tiny", "--out", tmp_path / "out")
    assert [Path(file["file"]).read_bytes() for file in got["files"]] == [data]
    assert done("data", "fetch", "tiny", "--out", tmp_path / "out") == got
    assert "t.libsvm" in fedchain("data", "fetch", "tiny", "--out", tmp_path / "out").out


# --- learning without a chain ----------------------------------------------------------------------


def test_train_compares_and_writes_what_a_researcher_needs(plan: Path, tmp_path: Path):
    """Federated, central, each device alone, on the same test rows; summary, picture and model on disk."""
    out = tmp_path / "out"
    answer = fedchain("train", plan, "--data", plan.parent / "data", "--out", out)
    assert answer.code == 0
    assert "round 2/2" in answer.err
    assert "federated" in answer.out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["rounds"] == 2
    assert set(summary["local"]["devices"]) == {"clinic-0", "clinic-1"}
    assert summary["losses"][-1] < summary["losses"][0]
    assert summary["test_rows"] == 12
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert max(len(line) for line in answer.out.splitlines() if not line.startswith("written ")) <= 80


def test_train_gives_the_same_model_each_time(plan: Path):
    """The seed stands for the chain's randomness."""
    digests = {done("train", plan, "--data", plan.parent / "data", "--seed", 3)["model_digest"] for _ in range(2)}
    assert len(digests) == 1


@pytest.fixture
def model(plan: Path, tmp_path: Path) -> Path:
    """A model trained on the small plan."""
    done("train", plan, "--data", plan.parent / "data", "--out", tmp_path / "trained")
    return tmp_path / "trained" / "model.npz"


def test_predict_prints_csv_that_needs_no_label(model: Path, tmp_path: Path):
    """A class and each class's probability a row; the same in JSON and in a file."""
    (tmp_path / "rows.csv").write_text("smokes,weight,height\nyes,99,150\nno,50,180\n")
    printed = list(csv.DictReader(io.StringIO(fedchain("model", "predict", model, tmp_path / "rows.csv").out)))
    assert [row["ill"] for row in printed] == ["1", "0"]
    assert all(abs(float(row["P(0)"]) + float(row["P(1)"]) - 1) < 1e-5 for row in printed)
    assert done("model", "predict", model, tmp_path / "rows.csv")["predictions"] == ["1", "0"]
    written = fedchain("model", "predict", model, tmp_path / "rows.csv", "--out", tmp_path / "p.csv")
    assert written.out == ""
    assert list(csv.DictReader(io.StringIO((tmp_path / "p.csv").read_text()))) == printed


def test_evaluate_measures_a_model(model: Path, plan: Path):
    """On labelled rows."""
    measured = done("model", "evaluate", model, plan.parent / "data" / "clinic-0.test.csv")
    assert measured["rows"] == 12
    assert 0 <= measured["accuracy"] <= 1
    assert "accuracy" in fedchain("model", "evaluate", model, plan.parent / "data" / "clinic-0.test.csv").out


def test_a_file_that_is_no_model_or_was_changed_is_refused(model: Path, tmp_path: Path):
    """Nothing is run from it."""
    (tmp_path / "rows.csv").write_text("height\n1\n")
    (tmp_path / "no.npz").write_text("hello")
    assert (
        "NPZ archive"
        in fedchain("model", "predict", tmp_path / "no.npz", tmp_path / "rows.csv", "--json").error["cause"]
    )
    arrays = dict(np.load(model))
    arrays["model"] = arrays["model"] + 1
    np.savez(tmp_path / "changed.npz", **arrays)
    error = fedchain("model", "evaluate", tmp_path / "changed.npz", tmp_path / "rows.csv", "--json").error
    assert "digest" in error["cause"]


def test_the_bundled_plan_is_fine():
    """Heart disease in four hospitals, with their files."""
    found = done("plan", "validate", HEART / "plan.toml", "--data", HEART / "data")
    assert {one["device"] for one in found["devices"]} == {"cleveland", "hungarian", "switzerland", "va"}
