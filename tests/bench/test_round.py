"""The round benchmark's parts: exchanges read off a chain, the plain loop, what is compared and what is refused."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from bench import bench_round, flower_side
from bench.bench_round import (
    FlowerRun,
    LoopRun,
    Turns,
    check,
    check_flower,
    compare,
    make_rows,
    middle,
    run_loop,
    take_turns,
)
from bench.footprint import Footprint, processor_seconds
from bench.round_network import Exchange, NetworkRun, WrongFigureError, find_exchanges
from bench.round_work import Work, as_sparse, for_devices
from fl.data.sources import list_devices, load_dataset
from fl.dataset import Dataset, DenseData, SparseData
from fl.plan.bind import load_plan
from fl.plan.schema import Support
from fl.plan.validate import check_plan
from node.rpc.shapes import BlockView

ROOT = Path(__file__).parents[2]
HEART = ROOT / "examples" / "heart"


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
    exchanges = tuple(Exchange(1, phase, span, 2) for phase, span in enumerate(milliseconds))
    return NetworkRun(1, exchanges, losses, 50.0, 3.0, 40_000.0, 200.0, {"training": 10.0})


FLOWER = FlowerRun(500.0, 100.0, 30.0, 60_000, 20_000, 800.0, (0.7, 0.5), "aa", {"flwr": "1"})


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


def test_rows_tell_ratios_to_flower_the_goal_and_the_loop():
    """A mean exchange of 200 ms: 0.4 of Flower's, twice the goal for one miner, ten times the loop."""
    rows = {str(entry["measure"]): entry for entry in make_rows("toy", network(100, 300), 20.0, FLOWER)}
    assert rows["exchange, 1 miner"]["ratio"] == {"flower": 0.4, "goal": 2.0, "plain-loop": 10.0}
    assert rows["… training, 1 miner"]["ratio"] == {"exchange": 0.05}
    assert rows["… in blocks, 1 miner"]["ours"] == 2
    assert rows["processor time of an exchange, all processes, 1 miner"]["ratio"] == {"flower": 0.5}
    assert rows["sent in a round, all sockets, 1 miner"]["ratio"] == {"flower": 0.5}
    assert rows["peak memory, all processes, 1 miner"]["ratio"] == {"flower": 0.25}
    alone = make_rows("toy", network(100, 300), 20.0, None)
    assert alone[0]["ratio"] == {"plain-loop": 10.0}


def test_of_each_side_the_turn_in_the_middle_counts():
    """By its exchange, with all its other figures; of two the shorter one; the loop by its own median."""
    slow, quick, fair = (replace(FLOWER, exchange_ms=ms, peak_mb=mb) for ms, mb in ((900, 1), (100, 2), (500, 3)))
    assert middle([slow, quick, fair]) == fair
    assert middle([slow, fair]) == fair
    loops = [LoopRun(ms, (0.7, 0.5), "aa") for ms in (10.0, 90.0, 20.0)]
    found = Turns(loops, [], [slow, quick, fair], {1: [network(900), network(200), network(100)]})
    rows = compare(heart(2), found)
    assert rows[0]["measure"] == "exchange, 1 miner"
    assert rows[0]["ratio"] == {"flower": 0.4, "goal": 2.0, "plain-loop": 10.0}


def test_sides_take_turns_forward_and_backward(monkeypatch: pytest.MonkeyPatch):
    """So that nothing that lasts longer than a turn meets one side alone; a side that learns something else ends it."""
    order: list[str] = []

    def loop(work: Work, *, by_batches: bool = False) -> LoopRun:
        order.append("loop")
        return LoopRun(20.0, (0.7, 0.5), "aa")

    def flower(work: Work) -> FlowerRun:
        order.append("flower")
        return FLOWER

    def chain(work: Work, miners: int, engine: str, block_ms: int) -> NetworkRun:
        order.append(str(miners))
        return network(100, losses=(0.7, 0.5) if len(order) < 30 else (0.7, 0.9))

    monkeypatch.setattr(bench_round, "run_loop", loop)
    monkeypatch.setattr(bench_round, "run_flower", flower)
    monkeypatch.setattr(bench_round, "run_chain", chain)
    monkeypatch.setattr(bench_round, "LOOPS", 1)
    found = take_turns(heart(2), (1, 3), "pos", 20, turns=2, has_flower=True)
    assert order == ["loop", "loop", "loop", "flower", "1", "3", "3", "1", "flower", "loop", "loop"]
    assert [len(found.loops), len(found.batched), len(found.flowers)] == [2, 2, 2]
    assert {count: len(runs) for count, runs in found.networks.items()} == {1: 2, 3: 2}
    with pytest.raises(WrongFigureError, match=r"loss 0\.9"):
        take_turns(heart(2), (1,), "pos", 20, turns=20, has_flower=False)


def test_a_side_that_learns_something_else_is_refused():
    """Of the chain another loss or number of rounds, of Flower another bit: nothing is published."""
    loop = LoopRun(20.0, (0.7, 0.5), "aa")
    check(network(1), loop)
    check_flower(FLOWER, loop)
    with pytest.raises(WrongFigureError, match="loss"):
        check(network(1), replace(loop, losses=(0.7, 0.6)))
    with pytest.raises(WrongFigureError, match="rounds"):
        check(network(1), replace(loop, losses=(0.7, 0.5, 0.4)))
    with pytest.raises(WrongFigureError, match="flower"):
        check_flower(FLOWER, replace(loop, model="ab"))
    with pytest.raises(WrongFigureError, match="flower"):
        check_flower(replace(FLOWER, losses=(0.7, 0.4)), loop)


def heart(rounds: int) -> Work:
    plan = load_plan(HEART / "plan.toml").plan
    rows = {device.name: load_dataset(device.train, plan.roles[0]) for device in list_devices(HEART / "data")}
    return Work("heart", for_devices(plan, len(rows), rounds), rows)


def test_the_plan_is_for_all_devices_and_valid():
    """Everybody is asked and awaited in each round; of short blocks there are enough."""
    work = heart(2)
    assert not check_plan(work.plan)
    limits = work.plan.participation
    assert limits.min_devices == limits.goal_devices == limits.max_devices == len(work.devices) == 4


def test_the_other_side_has_the_same_plan_rows_and_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is written for Flower reads back to the bit, dense or sparse; without Flower the same functions learn it."""
    work = heart(2)
    sparse = {name: as_sparse(data) for name, data in work.devices.items()}
    monkeypatch.setenv(flower_side.WORK, str(tmp_path))
    for devices in (work.devices, sparse):
        for cached in (flower_side.read_problem, flower_side.device_names, flower_side.read_rows):
            cached.cache_clear()
        flower_side.write_work(tmp_path, work.plan, devices)
        assert flower_side.device_names() == tuple(sorted(devices))
        assert flower_side.read_problem().plan == work.plan
        for name, data in devices.items():
            assert same(flower_side.read_rows(name), data)
    for cached in (flower_side.read_problem, flower_side.device_names, flower_side.read_rows):
        cached.cache_clear()


def same(one: Dataset, other: Dataset) -> bool:
    if isinstance(one, DenseData) and isinstance(other, DenseData):
        return np.array_equal(one.x, other.x) and np.array_equal(one.y, other.y)
    assert isinstance(one, SparseData)
    assert isinstance(other, SparseData)
    names = ("indptr", "indices", "values", "y")
    return one.columns == other.columns and all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


def test_both_plain_loops_learn_the_same_bits():
    """Device after device or by batches, as far as the plan lets them: one model."""
    work = heart(2)
    rows = {name: as_sparse(data) for name, data in work.devices.items()}
    features = next(iter(rows.values())).columns
    work = replace(work, plan=for_devices(_supported(work, features), 4, 2), devices=rows)
    one, other = run_loop(work), run_loop(work, by_batches=True)
    assert one.model == other.model
    assert one.losses == other.losses
    assert one.exchange_ms > 0


def _supported(work: Work, features: int):
    from msgspec.structs import replace as with_fields

    return with_fields(work.plan, compression=Support(features))


def test_a_footprint_is_of_this_process_and_those_below():
    """This process has used the processor, and its memory is about what the system says."""
    assert processor_seconds([os.getpid()]) > 0
    assert processor_seconds([2**22 + 1]) == 0
    with Footprint(os.getpid()) as footprint:
        footprint.look()
    resident = psutil.Process().memory_info().rss / 1e6
    assert 0.2 * resident < footprint.peak_mb < 5 * resident + 200
