"""``localnet`` before it starts anything, and how its progress and its result look."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from node.localnet import show
from node.localnet.progress import NodeGlance, Progress, RunGlance, round_line
from tests.commands.conftest import PLAN, write_table
from tests.commands.terminal import WIDTH, fedchain


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A plan, and a directory with a device's file and the holdout set."""
    (tmp_path / "data").mkdir()
    (tmp_path / "plan.toml").write_text(PLAN)
    write_table(tmp_path / "data" / "one.csv", 20)
    write_table(tmp_path / "holdout.csv", 8, shift=3)
    return tmp_path


@pytest.mark.parametrize("verb", ["run", "up"])
def test_a_cell_that_does_not_fit_is_told_before_anything_starts_or_is_cleared(world: Path, verb: str):
    """File, line and column; what an earlier run left stays."""
    out = world / "out"
    out.mkdir()
    (out / ".localnet").touch()
    (out / "summary.json").write_text("precious")
    with (world / "data" / "one.csv").open("a") as file:
        file.write("tall,70,no,1\n")
    answer = fedchain("localnet", verb, world / "plan.toml", "--data", world / "data", "--out", out)
    assert answer.code == 1
    assert "one.csv, line 22, column 'height': 'tall' is text" in answer.err
    assert (out / "summary.json").read_text() == "precious"


def test_too_few_devices_are_told(world: Path):
    """Cause and remedy."""
    text = PLAN.replace("_devices = 1", "_devices = 3")
    (world / "plan.toml").write_text(text)
    answer = fedchain("localnet", "run", world / "plan.toml", "--data", world / "data", "--out", world / "out")
    assert answer.code == 1
    assert "holds the files of 1 device; the plan needs 3 devices" in " ".join(answer.err.split())
    assert "min_devices" in answer.err
    assert not (world / "out").exists()


def glance(nodes: int, rounds: int = 100) -> RunGlance:
    shown = tuple(NodeGlance(f"device-{number}", "device", "synced", 1234, 12, 1.5) for number in range(nodes))
    return RunGlance("running", rounds, rounds, "gradient reveal 3/4", 0.25, 1234, 9999, 99, 3, 1234.5, shown)


def test_a_rounds_line_fits_80_columns():
    """Even of a long run, for which the seconds have no room."""
    assert len(round_line(glance(3))) <= WIDTH
    assert round_line(glance(3, rounds=5)).startswith("round 5/5  loss 0.2500  block 1234  9999 verified, 99 refused")


def test_a_terminal_sees_every_node_or_how_many_more_there_are():
    """The live table has a line a node, and counts those it leaves out."""
    screen = io.StringIO()
    with Progress(Console(file=screen, force_terminal=True, width=WIDTH)) as progress:
        progress.say("starting")
        progress.show(glance(30))
    text = screen.getvalue()
    assert "starting" in text
    assert "device-12" in text
    assert "… and 17 more" in text


def test_rewards_have_as_many_decimals_as_the_smallest_needs():
    """So that no reward looks like nothing, and a column stays aligned."""
    assert show._in_coins({"a": 2_500_000, "b": 1_000_000}) == {"a": "2.50", "b": "1.00"}
    assert show._in_coins({"a": 46_212, "b": 0}) == {"a": "0.0462", "b": "0.0000"}
    assert show._in_coins({"a": 1}) == {"a": "0.000001"}


def test_the_end_says_where_things_are_and_what_can_be_done_with_them():
    """A command to copy, whatever the directory is called."""
    text = show._written("my out").plain
    assert "loss.png" in text
    assert "fedchain model predict 'my out/model.npz' DATA" in text
