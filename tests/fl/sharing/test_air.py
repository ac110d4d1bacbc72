"""examples/air: the extract is the pinned one, its tables keep the last year apart, its plan can be used."""

import gzip
import importlib.util
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from fl.plan.bind import load_plan
from fl.problem import compile_problem

AIR = Path(__file__).parents[3] / "examples" / "air"


def load(name: str) -> ModuleType:
    """Return a script of the example as a module."""
    spec = importlib.util.spec_from_file_location(f"air_{name}", AIR / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def station(name: str) -> str:
    """Return a station's readings as CSV."""
    return gzip.decompress((AIR / "data" / f"{name}.csv.gz").read_bytes()).decode()


def test_the_extract_is_the_pinned_one():
    """Twelve stations, each with the digest that ``prepare.py`` wrote."""
    pins = dict(reversed(line.split()) for line in (AIR / "data" / "SHA256SUMS").read_text().splitlines())
    assert len(pins) == 12
    assert pins == {name: sha256(station(name.removesuffix(".csv")).encode()).hexdigest() for name in pins}


def test_a_reading_is_made_of_an_original_row():
    """Wind of 2 m/s from the south-east has 1.4 of it from the east, and -1.4 from the north."""
    row = {"year": "2015", "month": "3", "day": "1", "hour": "6", "PM2.5": "NA", "TEMP": "-1.5", "PRES": "1020"}
    made = load("prepare").reading({**row, "DEWP": "-7", "wd": "SE", "WSPM": "2"})
    assert made == ["2015-03-01 06", "", "-1.5", "1020", "-7", "-1.4", "1.4"]
    assert load("prepare").reading({**row, "DEWP": "-7", "wd": "NA", "WSPM": "2"})[-2:] == ["", ""]


def test_rows_know_the_past_and_the_label_is_six_hours_later():
    """And no row from March 2016 on is in a training table."""
    tables = load("tables")
    series = tables.read_series(station("Dongsi"))
    rows = tables.make_rows(series)
    head = list(tables.HEAD)
    one = dict(zip(head, next(row for row in rows if row[0] == "2015-03-10 06"), strict=True))
    assert one["next"] == series["2015-03-10 12"][0]
    assert one["PM2.5 -6h"] == series["2015-03-10 00"][0]
    assert one["PM2.5 -24h"] == series["2015-03-09 06"][0]
    assert one["PRES rise"] == round(series["2015-03-10 06"][2] - series["2015-03-10 00"][2], 3)
    made = tables.parts(rows)
    trained = [line.split(",")[0] for line in made["train"].splitlines()[1:]]
    tested = [line.split(",")[0] for line in made["test"].splitlines()[1:]]
    assert max(trained) < "2016-03-01 00" <= min(tested)
    assert len(trained) + len(tested) == len(rows)


def test_the_plan_learns_from_those_columns():
    """Each feature and the label are columns of the tables."""
    plan = load_plan(AIR / "plan.toml").plan
    compile_problem(plan)
    (role,) = plan.roles
    assert {each.name for each in role.features} | {role.label.name} <= set(load("tables").HEAD)
