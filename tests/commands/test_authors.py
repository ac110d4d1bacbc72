"""``data make authors`` and ``train`` on the file it writes: what a researcher reads and what a program reads."""

import json
from pathlib import Path

from tests.commands.terminal import done, fedchain


def test_authors_are_made_and_learnt_from(tmp_path: Path):
    """Figures are printed; training says each round's distance to the optimum, which is found once and kept."""
    made = fedchain("data", "make", "authors", "--devices", 20, "--out", tmp_path)
    assert made.code == 0
    assert "20,002, the intercept among them" in made.out
    assert "88.0% of the features on fewer than 2 devices" in made.out
    plan, file = tmp_path / "plan.toml", tmp_path / "authors.fleet.npz"
    plan.write_text(plan.read_text().replace("rounds = 30", "rounds = 2"))
    answer = fedchain("train", plan, "--data", file, "--out", tmp_path / "out")
    assert answer.code == 0
    assert "round 2/2" in answer.err
    assert "over the optimum" in answer.out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["suboptimality"]) == 3
    assert summary["suboptimality"][0] > summary["suboptimality"][2] > 0.0
    assert len(summary["round_seconds"]) == 2
    assert (tmp_path / "out" / "model.npz").exists()
    again = done("train", plan, "--data", file)
    assert again["model_digest"] == summary["model_digest"]
    assert again["optimum_seconds"] == summary["optimum_seconds"]


def test_a_kept_optimum_of_other_rows_or_no_document_is_found_anew(tmp_path: Path):
    """What stands beside the file is believed only if it says that it is of these rows and this objective."""
    done("data", "make", "authors", "--devices", 20, "--out", tmp_path)
    plan, file, kept = (
        tmp_path / name for name in ("plan.toml", "authors.fleet.npz", "authors.fleet.npz.optimum.json")
    )
    plan.write_text(plan.read_text().replace("rounds = 30", "rounds = 1"))
    right = done("train", plan, "--data", file)["optimum"]
    for text in ("no json", json.dumps(json.loads(kept.read_text()) | {"key": "of others", "loss": 0.0})):
        kept.write_text(text)
        assert done("train", plan, "--data", file)["optimum"] == right


def test_what_can_not_be_made_or_read_is_told(tmp_path: Path):
    """An unknown name, a file that is no fleet."""
    unknown = fedchain("data", "make", "poets", "--out", tmp_path)
    assert unknown.code == 2
    assert "known is authors" in unknown.err
    (tmp_path / "x.fleet.npz").write_bytes(b"nothing")
    done("data", "make", "authors", "--devices", 20, "--out", tmp_path)
    answer = fedchain("train", tmp_path / "plan.toml", "--data", tmp_path / "x.fleet.npz")
    assert answer.code == 1
    assert "no fleet file" in answer.err
