"""What benchmarks write: rows, documents, tables, and the page of figures."""

import json
from pathlib import Path

import pytest

from bench import report, tables
from bench.measure import interleaved, timed
from bench.report import Skipped, publish, row, table_lines

ROWS = [row("case", "time", "ms", 3.0, {"slow": 6.0, "broken": 0.0}), row("case", "alone", "MB", 1234.5, {})]


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results go to a directory of the test's own."""
    monkeypatch.setattr(report, "OUT", tmp_path / "bench")
    return tmp_path / "bench"


def test_a_ratio_is_ours_by_the_peers():
    """A peer without a figure has no ratio, and is shown all the same."""
    assert ROWS[0]["ratio"] == {"slow": 0.5}
    assert table_lines(ROWS) == [
        ("case", "time", "ms", "3", "slow", "6", "0.5"),
        ("", "", "", "", "broken", "0", ""),
        ("case", "alone", "MB", "1,234", "", "", ""),
    ]


def test_what_was_skipped_is_said(out: Path, capsys: pytest.CaptureFixture[str]):
    """The document has rows, machine, versions and what could not be measured; so has what is printed."""
    document = publish("toy", ROWS, ("no-such-package",), skipped=[Skipped("a9a", "no data")], note="A note.")
    assert json.loads((out / "toy.json").read_text()) == document
    assert document["skipped"] == [{"case": "a9a", "reason": "no data"}]
    machine = document["machine"]
    assert isinstance(machine, dict)
    assert machine["cores"] >= 1
    assert machine["versions"]["no-such-package"] == "absent"
    assert machine["versions"]["numpy"] != "absent"
    printed = capsys.readouterr().out
    assert "skipped: a9a: no data" in printed
    assert "A note." in printed


def test_every_clock_runs_in_every_turn():
    """Two things that are compared run alternately, as often, and neither always first."""
    calls: list[str] = []

    def clock(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds * len(calls)

    found = interleaved({"a": lambda: clock("a", 1.0), "b": lambda: clock("b", 10.0)}, repeats=3)
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert found == {"a": 6.0, "b": 50.0}


def test_a_timed_function_takes_time():
    """The clock of a function gives the seconds of one call."""
    assert 0.0 < timed(lambda: sum(range(10_000)))() < 10.0


def test_the_page_takes_its_figures_from_the_documents(out: Path):
    """Only what stands between the marks is replaced, as often as one likes."""
    publish("toy", ROWS, skipped=[Skipped("a9a", "no data")])
    page = f"before\n\n{tables.BEGIN}\nold\n{tables.END}\n\nafter\n"
    written = tables.replace_tables(page, tables.read_documents(out))
    assert written.startswith("before\n\n")
    assert written.endswith("\n\nafter\n")
    assert "old" not in written
    assert "| case | time | ms | 3 | slow | 6 | 0.5 |" in written
    assert "Not measured: a9a (no data)." in written
    assert tables.replace_tables(written, tables.read_documents(out)) == written


def test_tables_of_benchmarks_that_did_not_run_stay(out: Path):
    """Whoever runs one benchmark keeps the figures of all others; of that one nothing old is left."""
    publish("beta", ROWS)
    (beta,) = tables.read_documents(out)
    publish("gamma", ROWS, note="first")
    page = tables.replace_tables(f"{tables.BEGIN}{tables.END}", tables.read_documents(out))
    publish("alpha", ROWS)
    publish("gamma", ROWS, note="second")
    (out / "beta.json").unlink()
    written = tables.replace_tables(page, tables.read_documents(out))
    assert tables.HEADING.findall(written) == ["alpha", "beta", "gamma"]
    assert tables.render([beta]) in written
    assert "second" in written
    assert "first" not in written


def test_a_page_without_marks_is_refused(out: Path):
    """Nothing is written where the tables have no place, or there are no results."""
    with pytest.raises(tables.TablesError, match="marks"):
        tables.replace_tables("a page", [])
    with pytest.raises(tables.TablesError, match="make bench"):
        tables.read_documents(out)


def test_the_page_of_the_repository_has_its_place():
    """``python -m bench.tables`` can write docs/benchmarks.md."""
    page = (Path(__file__).parents[2] / tables.PAGE).read_text(encoding="utf-8")
    assert tables.replace_tables(page, []) == page
