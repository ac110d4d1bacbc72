"""What chaos is made of: data divided without loss, a plan that fits them, nodes on their ground, a clock put wrong."""

import csv
import subprocess
import sys
from pathlib import Path

from node.config import read_config
from tests.chaos.ground import Loopback
from tests.chaos.town import HEART, Town, TownSpec, divide_data


def rows_of(files: list[Path]) -> list[list[str]]:
    return sorted(row for file in files for row in list(csv.reader(file.read_text().splitlines()))[1:])


def test_dividing_the_hospitals_loses_no_patient(tmp_path: Path) -> None:
    """Eight devices hold what four hospitals held."""
    divide_data(tmp_path / "data", 8)
    parts = sorted(file for file in (tmp_path / "data").glob("*.csv") if file.stem != "holdout")
    whole = [HEART / "data" / f"{name}.csv" for name in ("cleveland", "hungarian", "switzerland", "va")]
    assert len(parts) == 8
    assert rows_of(parts) == rows_of(whole)


def test_a_town_is_laid_out_with_a_few_neighbours_each(tmp_path: Path) -> None:
    """The plan fits the divided data, and nobody is told of everybody."""
    town = Town(TownSpec(tmp_path, nodes=12, devices=8, rounds=2, block_ms=1000, seed=1), Loopback())
    assert len(town.layout.homes) == 20
    assert town.layout.plan.participation.max_devices == 8
    known = [len(read_config(home.path / "config.toml").network.connect) for home in town.layout.homes]
    assert known == [4] * 20


def test_a_skewed_clock_is_wrong_before_anything_is_loaded() -> None:
    """The wall clock alone: what measures spans stays right."""
    program = (
        "import time; a=time.time_ns(); from tests.chaos.skewed import skew; skew(5000); b=time.time_ns(); print(b-a)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 5_000_000_000 <= int(done.stdout) < 7_000_000_000
