"""An exchange of a real plan on a localnet of real processes, against the same arithmetic in a plain loop.

An *exchange* is one phase of a round: every device is asked, trains, answers, and all nodes have the sum. On the chain
it lasts from the block that opens the task to the block that settles it, by the times in these blocks; starting
processes, enrolling and everything after the last round are left out. The plain loop is ``fl.train.train_federated``:
the same training, payloads, checks and exact sums, in one process with no chain.

The plain loop runs before and after each network. Networks must agree and must learn what it learns.

``python -m bench.bench_round --block-ms N`` aims at another block interval: it decides most of the time.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

from rich.console import Console

from bench.data import MADE, MissingDataError, find_set
from bench.report import OUT, Row, Skipped, publish, row
from consensus.pow.search import warm_up as warm_up_search
from fl.data.formats import read_table
from fl.data.sources import list_devices, load_dataset
from fl.data.split import Split, split_files
from fl.dataset import Dataset
from fl.plan.bind import load_plan
from fl.problem import Problem, compile_problem
from fl.train import train_federated
from node.localnet.homes import Layout, lay_out
from node.localnet.progress import Progress
from node.localnet.run import open_clients, start_network, submit_plan, watch_plan
from node.localnet.spec import DEFAULT_BLOCK_MS, LocalnetSpec
from node.localnet.summary import ChainRecord, read_chain, wait_for_agreement
from node.rpc.shapes import BlockView

ROUNDS = 6
LOOPS = 3
"""Plain loops before each network, and as many after it."""
MINERS = (1, 3)
INTERVALS_MS = (DEFAULT_BLOCK_MS, 200)
"""Block intervals aimed at: a localnet's own, and one so short that the work shows."""
AGREE_SECONDS = 30.0
TIMEOUT_SECONDS = 120.0
LOSS_TOLERANCE = 0.05
"""Largest relative difference between the last losses of network and loop: their permutations differ, nothing else."""


class WrongFigureError(Exception):
    """A network did not learn what the plain loop learns: nothing is published."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is learnt: a plan file and a directory of devices' files."""

    case: str
    plan: Path
    data: Path


@dataclass(frozen=True, slots=True)
class Exchange:
    """One phase on the chain: milliseconds and blocks from the opening of its task to its settling."""

    round: int
    phase: int
    milliseconds: int
    blocks: int


@dataclass(frozen=True, slots=True)
class NetworkRun:
    """What a network's own history says of a plan, and the memory its processes took."""

    miners: int
    aim_ms: int
    exchanges: tuple[Exchange, ...]
    losses: tuple[float, ...]
    computation_ms: float
    peak_mb: float

    @property
    def exchange_ms(self) -> float:
        """The mean exchange, as the plain loop's: all time divided by all exchanges."""
        return sum(exchange.milliseconds for exchange in self.exchanges) / len(self.exchanges)

    @property
    def block_ms(self) -> float:
        """The mean time between blocks while the plan ran."""
        blocks = sum(exchange.blocks for exchange in self.exchanges)
        return sum(exchange.milliseconds for exchange in self.exchanges) / blocks


@dataclass(frozen=True, slots=True)
class LoopRun:
    """What the plain loop took and learnt."""

    exchange_ms: float
    losses: tuple[float, ...]


def find_work() -> tuple[Work, list[Skipped]]:
    """Return the a9a example if its data are here, else the heart example with a note."""
    try:
        directory = find_set("a9a")
    except MissingDataError as error:
        heart = Work("heart", Path("examples/heart/plan.toml"), Path("examples/heart/data"))
        return heart, [Skipped("a9a", str(error))]
    devices = MADE / "a9a-devices"
    if not devices.exists():
        split_files(read_table(directory / "a9a.libsvm"), None, devices, Split(8))
    return Work("a9a", Path("examples/a9a/plan.toml"), devices), []


# --- the plain loop -------------------------------------------------------------------------------


def load_work(plan: Path, data: Path) -> tuple[Problem, dict[str, Dataset]]:
    """Return a plan file compiled and the devices' rows; the kernels they need are loaded."""
    problem = compile_problem(load_plan(plan).plan)
    role = problem.plan.roles[0]
    return problem, {device.name: load_dataset(device.train, role) for device in list_devices(data)}


def run_loop(problem: Problem, devices: dict[str, Dataset]) -> LoopRun:
    """Train the plan in this process, one device after another."""
    start = time.perf_counter()
    run = train_federated(problem, devices)
    seconds = time.perf_counter() - start
    exchanges = len(run.history) * len(problem.algorithm.phases)
    return LoopRun(1000 * seconds / exchanges, tuple(report.loss for report in run.history))


# --- the network ----------------------------------------------------------------------------------


async def run_network(layout: Layout) -> tuple[ChainRecord, float]:
    """Run the plan on a network of processes; return the chain they agreed on, and the largest one's memory in MB."""
    with Progress(Console(stderr=True)) as progress:
        async with AsyncExitStack() as stack:
            processes = await start_network(layout, stack, progress)
            nodes = await open_clients(layout, processes, stack)
            plan = await submit_plan(layout, progress)
            await watch_plan(nodes, processes, plan, time.monotonic(), progress, TIMEOUT_SECONDS)
            await asyncio.gather(*(node.client.call("miner.pause") for node in nodes if node.role == "miner"))
            if not await wait_for_agreement(nodes, AGREE_SECONDS):
                raise WrongFigureError("the nodes did not come to one head")
            record = await read_chain(nodes, plan)
            peak = max(process.peak_rss_mb() for process in processes)
    if not record.agreed:
        raise WrongFigureError("the nodes do not agree on state or model")
    return record, peak


def summarise(miners: int, aim_ms: int, record: ChainRecord, peak_mb: float) -> NetworkRun:
    """Return what a chain's record says of its plan."""
    computation = [
        update["update"]["release"]["computation_us"] / 1000
        for block in record.blocks
        for update in block.updates or ()
    ]
    return NetworkRun(
        miners=miners,
        aim_ms=aim_ms,
        exchanges=find_exchanges(record.blocks),
        losses=tuple(settled.loss for settled in record.history.rounds if settled.loss is not None),
        computation_ms=median(computation),
        peak_mb=peak_mb,
    )


def find_exchanges(blocks: Sequence[BlockView]) -> tuple[Exchange, ...]:
    """Return every settled phase in the blocks' events, from the last opening of its task on."""
    opened: dict[str, tuple[int, int]] = {}
    found: list[Exchange] = []
    for block in blocks:
        time_ms = int(block.header["time_ms"])
        for event in block.events or ():
            if event["kind"] == "task.opened":
                opened[event["task"]] = (time_ms, block.height)
            elif event["kind"] == "phase.settled":
                start_ms, height = opened[event["task"]]
                found.append(Exchange(event["round"], event["phase"], time_ms - start_ms, block.height - height))
    return tuple(found)


# --- both -----------------------------------------------------------------------------------------


def check(run: NetworkRun, loop: LoopRun) -> None:
    """Raise ``WrongFigureError`` unless the network learnt what the loop learnt."""
    if len(run.losses) != len(loop.losses):
        raise WrongFigureError(f"{run.miners} miners: {len(run.losses)} rounds, the plain loop {len(loop.losses)}")
    if not abs(run.losses[-1] - loop.losses[-1]) <= LOSS_TOLERANCE * loop.losses[-1]:
        raise WrongFigureError(f"{run.miners} miners: loss {run.losses[-1]}, the plain loop {loop.losses[-1]}")


def make_rows(case: str, run: NetworkRun, loop_ms: float) -> list[Row]:
    """Return the rows of a network against the plain loop, and what its time consists of."""
    name = f"{run.miners} miner{'' if run.miners == 1 else 's'}, {run.aim_ms} ms blocks"
    return [
        row(case, f"exchange, {name}", "ms", run.exchange_ms, {"plain-loop": loop_ms}),
        row(case, f"… in blocks, {name}", "ms", run.exchange_ms, {"block interval": run.block_ms}),
        row(case, f"… a device's training, {name}", "ms", run.computation_ms, {"exchange": run.exchange_ms}),
        row(case, f"largest process, {name}", "MB", run.peak_mb, {}),
    ]


def measure(work: Work, networks: Iterable[tuple[int, int]], rounds: int = ROUNDS) -> list[Row]:
    """Return the rows of one plan on networks of so many miners with blocks of so many milliseconds."""
    found: list[Row] = []
    for miners, block_ms in networks:
        out = OUT / "round" / f"{work.case}-{miners}-{block_ms}"
        layout = lay_out(LocalnetSpec(work.plan, work.data, out, miners, block_ms=block_ms, seed=1, rounds=rounds))
        problem, devices = load_work(layout.plan_file, work.data)
        if not found:
            run_loop(problem, devices)  # compiles or loads the kernels, for the networks' processes too
            warm_up_search()
        loops = [run_loop(problem, devices) for _ in range(LOOPS)]
        record, peak_mb = asyncio.run(run_network(layout))
        loops += [run_loop(problem, devices) for _ in range(LOOPS)]
        run = summarise(miners, block_ms, record, peak_mb)
        check(run, loops[-1])
        found += make_rows(work.case, run, median(loop.exchange_ms for loop in loops))
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure the plan there are data for."""
    parser = argparse.ArgumentParser(prog="python -m bench.bench_round", description="Time exchanges on a localnet.")
    parser.add_argument("--block-ms", type=int, metavar="N", help="aim at this block interval alone")
    chosen = parser.parse_args(arguments).block_ms
    work, skipped = find_work()
    networks = product(MINERS, INTERVALS_MS if chosen is None else (chosen,))
    note = (
        f"{ROUNDS} rounds of {work.plan} a network. An exchange waits for blocks (one that opens the task, those that "
        "confirm it, one that carries the updates): the ratio of “… in blocks” counts them."
    )
    publish("round", measure(work, networks), ("cryptography", "plyvel"), skipped=skipped, note=note)


if __name__ == "__main__":
    main(sys.argv[1:])
