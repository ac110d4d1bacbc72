"""The suite: which cases are run, that runs are kept, and how the page is written."""

import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from attacks import run, tables
from attacks.attackers import ATTACKS
from attacks.collusion import chance, count_passing
from attacks.defences import DEFENCES, LEARNING, write_plan
from attacks.matrix import SEEDS, groups, quick
from attacks.measures import Case, Result, hostile_count
from attacks.plots import draw_all
from attacks.results import NoResultsError, Runs, accuracy, read_groups
from fl.plan.parse import parse_draft

RESULT = Result(0.875, None, 0.5, 0.0, 0.25, 10, {"audit": 3}, 0.1)


def test_every_attack_and_every_defence_is_run_over_five_seeds() -> None:
    """Each cell has all its seeds, and each defence a run that nobody attacks."""
    cases = [case for group in groups().values() for case in group]
    assert {case.attack for case in cases} == {"", *[each.name for each in ATTACKS]}
    assert {case.defence for case in cases} == {each.name for each in DEFENCES}
    cells = Counter(replace(case, seed=0) for case in set(cases))
    assert set(cells.values()) == {SEEDS}
    assert SEEDS >= 5
    calm = {(case.setting, case.split, case.defence) for case in cases if not case.attack}
    assert {(case.setting, case.split, case.defence) for case in cases} == calm
    assert {case.percent for case in cases if case.attack == "edge"} == {10, 15, 20, 30, 45}
    assert [hostile_count(percent) for percent in (10, 15, 20, 30, 45)] == [2, 3, 4, 6, 9]
    assert 10 < sum(map(len, quick().values())) < 60


@pytest.mark.parametrize("key", list(LEARNING), ids="-".join)
def test_every_defence_is_a_plan_that_a_chain_would_take(key: tuple[str, str]) -> None:
    """Written as TOML, read by the parser that the chain's plans go through, in every world."""
    for defence in DEFENCES:
        setting, split = key
        text = write_plan(setting, split, defence, 200)  # type: ignore[arg-type]
        plan = parse_draft(text).plan
        assert plan.version == 2
        named = {str(policy.__struct_config__.tag) for policy in plan.verification.policies}
        assert named == {"bounds", *defence.verification}


def test_a_run_is_kept_until_case_or_code_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted suite goes on; changed code runs again."""
    ran: list[Case] = []

    def once(case: Case) -> Result:
        ran.append(case)
        return RESULT

    monkeypatch.setattr(run, "run_case", once)
    case = Case("mnist", "iid", "edge", "audit", 30, 0)
    assert run.find_result(case, "one", tmp_path) == run.find_result(case, "one", tmp_path) == (RESULT, "one")
    assert len(ran) == 1
    assert run.find_result(case, "other", tmp_path, is_kept=True) == (RESULT, "one")
    assert len(ran) == 1
    run.find_result(replace(case, seed=1), "one", tmp_path)
    assert run.find_result(case, "other", tmp_path) == (RESULT, "other")
    assert len(ran) == 3


def _document(path: Path) -> dict[str, Runs]:
    results = {name: [{**asdict(case), **asdict(RESULT)} for case in cases] for name, cases in groups().items()}
    held = {"groups": results}
    path.write_text(json.dumps(held))
    return read_groups(path)


def test_the_page_has_a_place_for_its_tables_and_they_fit_it(tmp_path: Path) -> None:
    """Every mark of the page names a table that the suite makes; between the marks stands what it made."""
    page = tables.PAGE.read_text(encoding="utf-8")
    found = tables.tables_of(_document(tmp_path / "attacks.json"), draws=20)
    begin, rest = tables.MARK.split("{}")
    wanted = [part.partition(rest)[0] for part in page.split(begin)[1:]]
    assert set(wanted) <= set(found)
    assert page.count(tables.END) == len(wanted)
    for name in wanted:
        page = tables.replace_table(page, name, found[name])
        assert found[name] in page
    assert "87.5" in found["policies-adaptive"]
    assert "audit 100 %" in found["policies-reasons"]


def test_a_cell_is_the_mean_with_the_least_and_the_largest() -> None:
    """Over the runs that match; nothing for a case that was not run."""
    runs = Runs([{"attack": "edge", "accuracy": value} for value in (0.5, 0.7, 0.9)])
    assert tables.text_of(runs.cell(accuracy, attack="edge")) == "70.0 (50.0–90.0)"
    assert tables.text_of(runs.cell(accuracy, attack="drift")) == "–"


def test_missing_results_say_what_to_run(tmp_path: Path) -> None:
    """The remedy is in the message."""
    with pytest.raises(NoResultsError, match="make attacks"):
        read_groups(tmp_path / "attacks.json")


def test_plots_are_drawn(tmp_path: Path) -> None:
    """Both, from a document of the suite's form."""
    draw_all(_document(tmp_path / "attacks.json"), tmp_path)
    assert {file.name for file in tmp_path.glob("*.png")} == {"attacks.png", "attacks-shares.png"}


def test_friends_carry_an_audit_as_often_as_drawing_without_replacement_says() -> None:
    """Six of twenty friends: the majority of three verifiers in about a fifth of the draws."""
    assert chance(6, 3) == pytest.approx(0.2018, abs=1e-3)
    assert count_passing(6, 3, 300) == pytest.approx(chance(6, 3), abs=0.07)
