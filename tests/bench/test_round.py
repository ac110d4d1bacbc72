"""The round benchmark's parts: exchanges read off a chain, the plain loop, what is compared and what is refused."""

from pathlib import Path

import pytest

from bench.bench_round import (
    Exchange,
    LoopRun,
    NetworkRun,
    WrongFigureError,
    check,
    find_exchanges,
    find_work,
    load_work,
    make_rows,
    run_loop,
)
from node.rpc.shapes import BlockView

ROOT = Path(__file__).parents[2]


def block(height: int, time_ms: int, *events: tuple[str, str, int]) -> BlockView:
    """A block with events (kind, task, phase) of round 3."""
    return BlockView(
        id="0" * 64,
        height=height,
        main_chain=True,
        confirmations=1,
        header={"time_ms": time_ms},
        transactions=(),
        updates=(),
        events=tuple({"kind": kind, "task": task, "round": 3, "phase": phase} for kind, task, phase in events),
        absent=None,
    )


def network(*milliseconds: int, losses: tuple[float, ...] = (0.7, 0.5)) -> NetworkRun:
    """A network of one miner whose exchanges took so long, two blocks each."""
    exchanges = tuple(Exchange(0, phase, span, 2) for phase, span in enumerate(milliseconds))
    return NetworkRun(1, 700, exchanges, losses, 10.0, 200.0)


def test_exchanges_are_read_off_the_chain():
    """From the block that opens a task to the one that settles it; a block may settle one and open the next."""
    chain = [
        block(1, 1000),
        block(2, 1700, ("task.opened", "a", 0)),
        block(3, 2100),
        block(4, 2900, ("phase.settled", "a", 0), ("task.opened", "b", 1)),
        block(5, 3500, ("phase.settled", "b", 1), ("task.opened", "never settled", 0)),
    ]
    assert find_exchanges(chain) == (Exchange(3, 0, 1200, 2), Exchange(3, 1, 600, 1))


def test_rows_tell_what_the_time_consists_of():
    """The ratio to the plain loop, the blocks an exchange takes, the share of training."""
    found = make_rows("toy", network(1000, 3000), loop_ms=20.0)
    assert [entry["ratio"] for entry in found] == [
        {"plain-loop": 100.0},
        {"block interval": 2.0},
        {"exchange": 0.005},
        {},
    ]


def test_a_network_that_learns_something_else_is_refused():
    """Another loss or another number of rounds than the plain loop's: nothing is published."""
    check(network(1), LoopRun(20.0, (0.7, 0.51)))
    with pytest.raises(WrongFigureError, match="loss"):
        check(network(1), LoopRun(20.0, (0.7, 0.6)))
    with pytest.raises(WrongFigureError, match="rounds"):
        check(network(1), LoopRun(20.0, (0.7, 0.5, 0.4)))


def test_without_data_the_bundled_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A fresh clone has the heart example; the plain loop learns on it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDCHAIN_DATA", raising=False)
    work, skipped = find_work()
    assert work.case == "heart"
    assert [one.case for one in skipped] == ["a9a"]
    problem, devices = load_work(ROOT / work.plan, ROOT / work.data)
    run = run_loop(problem, devices)
    assert run.exchange_ms > 0
    assert run.losses[-1] < run.losses[0]
