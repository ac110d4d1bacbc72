"""Homes to work in, and one real node that mines and trains, shared by all tests of the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands.terminal import ROOT, done

QUICK = ("--listen", "127.0.0.1:0", "--rpc-port", "0", "--block-ms", "200", "--hashes-per-block", "64")
"""A network whose blocks any machine makes at once, on ports that are free."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data directory in which no node runs."""
    done("init", "--home", tmp_path / "home", *QUICK)
    return tmp_path / "home"


@dataclass(frozen=True)
class LiveNode:
    """A node as a process of its own, started by the command line: it mines, and holds a table to train on."""

    home: Path
    plan_file: Path
    data: Path
    account: str


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """A running node. It is stopped when the session ends, and must then say that all went well."""
    place = tmp_path_factory.mktemp("live")
    home, data = place / "home", place / "table.csv"
    write_table(data, 40)
    write_table(place / "holdout.csv", 8, shift=3)
    (place / "plan.toml").write_text(PLAN)
    account = done("init", "--home", home, "--mine", *QUICK)["account"]
    slow_down(home / "config.toml")
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "node", "start", "--home", home, "--device", data, "--consent", "--json"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline() or "{}")
        assert started.get("home") == str(home), "the node did not start"
        yield LiveNode(home, place / "plan.toml", data, account)
        done("node", "stop", "--home", home)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def slow_down(config: Path) -> None:
    """Leave the machine to others while blocks are made, and keep the log to what matters."""
    text = (
        config.read_text()
        .replace("max_hashrate = 0", "max_hashrate = 2000")
        .replace('level = "info"', 'level = "warning"')
    )
    config.write_text(text)


def write_table(path: Path, rows: int, shift: int = 0) -> None:
    """A table with two numbers, a word, and a class that follows from them."""
    lines = ["height,weight,smokes,ill"]
    for row in range(shift, rows + shift):
        height, weight = 150 + row * 7 % 40, 50 + row * 11 % 50
        lines.append(f"{height},{weight},{'yes' if row % 3 else 'no'},{int(weight > 75)}")
    path.write_text("\n".join(lines) + "\n")


PLAN = """
title = "A small plan"
nonce = 1

[[roles]]
label = { name = "ill", type = "classes", classes = ["0", "1"] }
features = [
  { name = "height", type = "numeric", lower = 140, upper = 200 },
  { name = "weight", type = "numeric", lower = 40, upper = 110 },
  { name = "smokes", type = "categorical", categories = ["no", "yes"] },
]

[model]
type = "logistic"
l2 = 0.01

[algorithm]
name = "fedsvrg"
step = 5

[participation]
min_devices = 1
goal_devices = 1
max_devices = 1
min_samples = 10
max_samples = 1000

[deadlines]
enrol_blocks = 600
reveal_blocks = 600
open_blocks = 600
confirmations = 1

[verification]
attestations = 0

[verification.bounds]
sample_clip = 4
update_clip = 50

[verification.holdout]
file = "holdout.csv"
chunks = 2
rows = 4
tolerance = 0.5

[rewards]
devices = 1000
miners = 500

[stopping]
rounds = 2
"""
