"""An exchange of a real plan with a hundred devices: on a chain of real processes, on Flower, and in a plain loop.

An *exchange* is one phase of a round: every device is asked, trains, answers, and the server, or every node, has the
sum. All three run the same plan over the same rows by the same functions of ours; start-up is timed apart.

    chain        miners and a fleet (one process, each device with its own key, signature, task and reward): from the
                 block that opens a task to the block that settles it, by the times in these blocks; signatures, checks,
                 journals and a durable chain on every node included
    flower       Flower's simulation in an environment of its own (``bench.flower_side``): nothing is signed or kept
    plain-loop   ``fl.train.train_federated``, device after device, in this process

Nothing is published unless Flower's model is the loop's to the bit, all nodes agree, and the chain learnt what the loop
learns (a device's permutation follows from its account, so the chain's model is another one of the same kind).

    python -m bench.bench_round [--case a9a|mnist] [--miners N] [--block-ms N] [--engine pos|pow] [--no-flower]
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, Literal

import numpy as np
from msgspec.structs import replace
from rich.console import Console

from bench.data import MADE, MissingDataError, find_set
from bench.flower_side import write_work
from bench.footprint import Footprint, family, processor_seconds
from bench.report import OUT, Row, Skipped, publish, row
from bench.scrape import Figures, read_figures
from chain.fixedpoint import to_bytes
from chain.hashing import content_id
from chain.number import Number
from fl.data.fleetfile import save_fleet
from fl.data.formats import read_table
from fl.data.sources import list_devices, load_dataset
from fl.data.split import Split, split_files
from fl.dataset import Dataset, DenseData, SparseData
from fl.executors.threads import Threads
from fl.parallel import cores
from fl.plan.bind import load_plan
from fl.plan.schema import FedAvg, Layer, Plan, Support
from fl.problem import compile_problem
from fl.train import train_federated
from node.client import ClientError
from node.localnet.fleets import FleetSpec, lay_out_fleet
from node.localnet.homes import Layout
from node.localnet.processes import NodeProcess
from node.localnet.progress import Progress
from node.localnet.run import open_clients, start_network, submit_plan, warm_kernels
from node.localnet.summary import ChainRecord, read_chain, wait_for_agreement
from node.localnet.watch import Watched
from node.rpc.shapes import BlockView

DEVICES: Final = 100
ROUNDS: Final = 20
MINERS: Final = (1, 3)
BLOCK_MS: Final = 20
"""Least time between blocks: a block goes out when the updates are there (``HOLD_MS``), not by the clock."""
LONG_BLOCK_MS: Final = 500
"""The same where devices train for seconds: blocks that only pass the time cost the cores something too."""
HOLD_MS: Final = 250
FLOWER_GOALS: Final = {1: 0.2, 3: 0.33}
"""Of Flower's exchange, with so many miners, where devices train for milliseconds."""
LOOP_GOAL: Final = 1.5
"""Of the plain loop's, where they train for seconds."""
MNIST_ROUNDS: Final = 4
MNIST_EPOCHS: Final = 3
AGREE_SECONDS: Final = 30.0
TIMEOUT_SECONDS: Final = 240.0
LOSS_TOLERANCE: Final = 0.05
"""Largest relative difference between the last losses of chain and loop: their permutations differ, nothing else."""
PYTHON: Final = Path("build/env/round/bin/python")
_POLL_SECONDS: Final = 0.2
Engine = Literal["pow", "pos"]


class WrongFigureError(Exception):
    """A side did not learn what the plain loop learns: nothing is published."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is learnt: a plan, and the devices' rows. The plain loop trains them in so many ``threads``."""

    case: str
    plan: Plan
    devices: Mapping[str, Dataset]
    threads: int = 1

    @property
    def name(self) -> str:
        """The case as a part of a file's name."""
        return self.case.replace(" ", "-")

    @property
    def is_long(self) -> bool:
        """Do devices train for seconds?"""
        return self.threads > 1


@dataclass(frozen=True, slots=True)
class Exchange:
    """One phase on the chain: milliseconds and blocks from the opening of its task to its settling."""

    round: int
    phase: int
    milliseconds: int
    blocks: int


@dataclass(frozen=True, slots=True)
class LoopRun:
    """What the plain loop took and learnt."""

    exchange_ms: float
    losses: tuple[float, ...]
    model: str


@dataclass(frozen=True, slots=True)
class FlowerRun:
    """What Flower took and learnt. Bytes are a round's, both exchanges, all devices."""

    exchange_ms: float
    processor_ms: float
    start_up_s: float
    sent: int
    received: int
    peak_mb: float
    losses: tuple[float, ...]
    model: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NetworkRun:
    """What a network's own history says of a plan, and what its processes took. Bytes are a round's, all sockets."""

    miners: int
    exchanges: tuple[Exchange, ...]
    losses: tuple[float, ...]
    processor_ms: float
    start_up_s: float
    sent: float
    peak_mb: float
    parts: Mapping[str, float]
    """Milliseconds an exchange in each kind of work, of the process that spends most on it. They overlap."""

    @property
    def exchange_ms(self) -> float:
        """The mean exchange, as the others': all time divided by all exchanges."""
        return sum(exchange.milliseconds for exchange in self.exchanges) / len(self.exchanges)

    @property
    def blocks(self) -> float:
        """Blocks an exchange takes."""
        return sum(exchange.blocks for exchange in self.exchanges) / len(self.exchanges)


# --- what is learnt -------------------------------------------------------------------------------


def find_a9a(rounds: int) -> Work:
    """Return logistic regression on a9a over a hundred uneven devices. ``MissingDataError`` without the data."""
    directory = find_set("a9a")
    split = MADE / f"a9a-{DEVICES}-devices"
    if not split.exists():
        split_files(read_table(directory / "a9a.libsvm"), None, split, Split(DEVICES))
    plan = load_plan(Path("examples/a9a/plan.toml")).plan
    role = plan.roles[0]
    rows = {device.name: load_dataset(device.train, role) for device in list_devices(split)}
    features = max(data.columns for data in rows.values() if isinstance(data, SparseData))
    return Work("a9a", for_devices(replace(plan, compression=Support(features)), len(rows), rounds), rows)


def find_mnist() -> Work:
    """Return a network of 32 hidden units on MNIST over a hundred uneven devices. ``MissingDataError`` without it."""
    directory = find_set("mnist")
    split = MADE / f"mnist-{DEVICES}-devices"
    if not split.exists():
        split_files(read_table(directory / "mnist.npz"), None, split, Split(DEVICES))
    plan = load_plan(Path("examples/mnist/plan.toml")).plan
    role = plan.roles[0]
    rows = {device.name: as_sparse(load_dataset(device.train, role)) for device in list_devices(split)}
    plan = replace(
        plan,
        title="MNIST, a network",
        model=replace(plan.model, hidden=(Layer(32, "relu"),)),
        algorithm=FedAvg(Number.of("0.05"), MNIST_EPOCHS, 16),
    )
    return Work("mnist mlp", for_devices(plan, len(rows), MNIST_ROUNDS), rows, max(2, cores()))


def for_devices(plan: Plan, devices: int, rounds: int) -> Plan:
    """Return a plan for so many devices, all asked in each round, on a chain of short blocks.

    Every node checks every update, payload and all; attestations, which say so once more, are left out as
    ``fedchain fleet`` leaves them out.
    """
    return replace(
        plan,
        version=2,
        title=f"{plan.title}, {devices} devices",
        participation=replace(
            plan.participation, min_devices=devices, goal_devices=devices, max_devices=devices, min_samples=1
        ),
        deadlines=replace(plan.deadlines, enrol_blocks=100_000, reveal_blocks=10_000, confirmations=1),
        verification=replace(plan.verification, attestations=0),
        stopping=replace(plan.stopping, rounds=rounds),
    )


# --- the plain loop -------------------------------------------------------------------------------


def run_loop(work: Work, *, by_batches: bool = False) -> LoopRun:
    """Train the plan in this process, one device after another or by batches; the first round is left out."""
    problem, marks = compile_problem(work.plan), list[float]()
    executor = None if by_batches else Threads(problem, work.devices, work.threads)
    run = train_federated(
        problem, work.devices, executor=executor, on_round=lambda report: marks.append(time.perf_counter())
    )
    exchanges = max(1, len(marks) - 1) * len(problem.algorithm.phases)
    losses = tuple(report.loss for report in run.history)
    return LoopRun(1000 * (marks[-1] - marks[0]) / exchanges, losses, content_id(to_bytes(run.model)).hex())


# --- Flower ---------------------------------------------------------------------------------------


def run_flower(work: Work) -> FlowerRun:
    """Run the plan on Flower's simulation."""
    directory, result = OUT / "round" / f"{work.name}-flower", OUT / "round" / f"{work.name}-flower.json"
    write_work(directory, work.plan, work.devices)
    result.unlink(missing_ok=True)
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(
        [PYTHON, "-m", "bench.flower_side", str(directory.resolve()), str(result.resolve())],
        env=os.environ | quiet | alone,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with Footprint(process.pid) as footprint:
        try:
            _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            for each in family([process.pid]):
                each.kill()
            raise
    if process.returncode or not result.exists():
        raise ChildProcessError(f"flower ended with {process.returncode}: {errors.decode(errors='replace')[-2000:]}")
    found = json.loads(result.read_text())
    return FlowerRun(
        exchange_ms=found["exchange_ms"],
        processor_ms=found["processor_ms"],
        start_up_s=found["start_up_s"] + found["first_round_s"],
        sent=found["sent"],
        received=found["received"],
        peak_mb=footprint.peak_mb,
        losses=tuple(found["losses"]),
        model=found["model"],
        versions=found["versions"],
    )


# --- the network ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Mark:
    """What had been spent when so many rounds were settled."""

    rounds: int
    processor_s: float
    figures: Mapping[str, Figures]


async def run_network(layout: Layout) -> tuple[ChainRecord, _Mark, _Mark, float, float]:
    """Run the plan on a network of processes.

    Return the chain they agreed on, what was spent after the first round and at the end, the peak of all processes'
    memory in MB, and the seconds until the first task opened.
    """
    began = time.monotonic()
    with Progress(Console(stderr=True)) as progress:
        await warm_kernels(layout, progress)
        async with AsyncExitStack() as stack:
            processes = await start_network(layout, stack, progress)
            nodes = await open_clients(layout, processes, stack)
            plan = await submit_plan(layout, progress)
            with Footprint(*(process.pid for process in processes)) as footprint:
                ready = await _wait_for(nodes[0], plan, "running", 0) - began
                await _wait_for(nodes[0], plan, "running", 1)
                first = await _mark(nodes[0], processes, plan)
                await _wait_for(nodes[0], plan, "finished", layout.plan.stopping.rounds)
                last = await _mark(nodes[0], processes, plan)
                footprint.look()
            await asyncio.gather(*(node.client.call("miner.pause") for node in nodes if node.role == "miner"))
            if not await wait_for_agreement(nodes, AGREE_SECONDS):
                raise WrongFigureError("the nodes did not come to one head")
            record = await read_chain(nodes, plan)
    if not record.agreed:
        raise WrongFigureError("the nodes do not agree on state or model")
    return record, first, last, footprint.peak_mb, ready


async def _wait_for(node: Watched, plan: str, status: str, rounds: int) -> float:
    """Wait until a plan stands so, with so many rounds settled; return the time."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    found = "unknown"
    while time.monotonic() < deadline:
        try:
            standing = (await node.client.plan(plan)).standing
        except ClientError:
            standing = None  # no block has it yet
        if standing is not None:
            found = f"{standing.status}, {standing.rounds} rounds, {standing.reason}"
            if standing.rounds >= rounds and standing.status in (status, "finished"):
                return time.monotonic()
            if standing.status == "cancelled":
                break
        await asyncio.sleep(_POLL_SECONDS)
    raise WrongFigureError(f"the plan is {found}")


async def _mark(node: Watched, processes: Sequence[NodeProcess], plan: str) -> _Mark:
    rounds = (await node.client.plan(plan)).standing.rounds
    figures = {process.home.name: await read_figures(process.home) for process in processes}
    return _Mark(rounds, processor_seconds([process.pid for process in processes]), figures)


def summarise(
    miners: int, record: ChainRecord, first: _Mark, last: _Mark, peak_mb: float, start_up_s: float
) -> NetworkRun:
    """Return what a chain's record and its nodes' own metrics say of a plan, its first round apart."""
    found = [exchange for exchange in find_exchanges(record.blocks) if exchange.round > 0]
    rounds = last.rounds - first.rounds
    exchanges = max(1, rounds * len({exchange.phase for exchange in found}))
    spent = {name: figures.since(first.figures[name]) for name, figures in last.figures.items()}
    return NetworkRun(
        miners=miners,
        exchanges=tuple(found),
        losses=tuple(settled.loss for settled in record.history.rounds if settled.loss is not None),
        processor_ms=1000 * (last.processor_s - first.processor_s) / exchanges,
        start_up_s=start_up_s,
        sent=sum(figures.sum("fedchain_sent_bytes_total") for figures in spent.values()) / max(1, rounds),
        peak_mb=peak_mb,
        parts={what: _most(spent, jobs) / exchanges for what, jobs in _PARTS.items()},
    )


_PARTS: Final = {
    "training and signing": ("train-fleet",),
    "checking updates": ("verify-updates",),
    "building blocks": ("build-block",),
    "executing blocks": ("execute-branch",),
    "cores' turns, commits included": (),
}
"""Kinds of work, with the jobs each consists of; none: what the core does itself."""


def _most(spent: Mapping[str, Figures], jobs: Sequence[str]) -> float:
    """Return the milliseconds of the process that spends most on this work."""
    if not jobs:
        return 1000 * max(figures.sum("fedchain_core_seconds_sum") for figures in spent.values())
    return 1000 * max(
        sum(figures.sum("fedchain_job_seconds_sum", job=job) for job in jobs) for figures in spent.values()
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


def check_flower(run: FlowerRun, loop: LoopRun) -> None:
    """Raise ``WrongFigureError`` unless Flower learnt the very model that the loop learnt."""
    if run.model != loop.model or run.losses != loop.losses:
        raise WrongFigureError(f"flower: model {run.model}, the plain loop {loop.model}")


def check(run: NetworkRun, loop: LoopRun) -> None:
    """Raise ``WrongFigureError`` unless the network learnt what the loop learnt."""
    if len(run.losses) != len(loop.losses):
        raise WrongFigureError(f"{run.miners} miners: {len(run.losses)} rounds, the plain loop {len(loop.losses)}")
    if not abs(run.losses[-1] - loop.losses[-1]) <= LOSS_TOLERANCE * loop.losses[-1]:
        raise WrongFigureError(f"{run.miners} miners: loss {run.losses[-1]}, the plain loop {loop.losses[-1]}")


def make_rows(
    case: str, run: NetworkRun, loop_ms: float, flower: FlowerRun | None, *, is_long: bool = False
) -> list[Row]:
    """Return the rows of a network against the plain loop and Flower, and what its time consists of."""
    name = f"{run.miners} miner{'' if run.miners == 1 else 's'}"
    times, work, sent, memory, start = {"plain-loop": loop_ms}, {}, {}, {}, {}
    if is_long:
        times = {"plain-loop": loop_ms, "goal": LOOP_GOAL * loop_ms}
    if flower is not None:
        wants_goal = not is_long and run.miners in FLOWER_GOALS
        goal = {"goal": FLOWER_GOALS[run.miners] * flower.exchange_ms} if wants_goal else {}
        times = {"flower": flower.exchange_ms, **goal, **times}
        work, memory = {"flower": flower.processor_ms}, {"flower": flower.peak_mb}
        sent, start = {"flower": (flower.sent + flower.received) / 1000}, {"flower": flower.start_up_s}
    parts = [
        row(case, f"… {what}, {name}", "ms", spent, {"exchange": run.exchange_ms}) for what, spent in run.parts.items()
    ]
    return [
        row(case, f"exchange, {name}", "ms", run.exchange_ms, times),
        row(case, f"… median, {name}", "ms", median(each.milliseconds for each in run.exchanges), {}),
        row(case, f"… in blocks, {name}", "blocks", run.blocks, {}),
        *parts,
        row(case, f"processor time of an exchange, all processes, {name}", "ms", run.processor_ms, work),
        row(case, f"sent in a round, all sockets, {name}", "kB", run.sent / 1000, sent),
        row(case, f"peak memory, all processes, {name}", "MB", run.peak_mb, memory),
        row(case, f"start-up and first round, {name}", "s", run.start_up_s, start),
    ]


def measure(work: Work, miners: Sequence[int], engine: Engine, block_ms: int, flower: FlowerRun | None) -> list[Row]:
    """Return the rows of one plan on networks of so many miners."""
    turns = 1 if work.is_long else 3
    loops = [run_loop(work) for _ in range(turns)]
    if flower is not None:
        check_flower(flower, loops[0])
    batched = [] if work.is_long else [run_loop(work, by_batches=True) for _ in range(turns)]
    networks: list[NetworkRun] = []
    for count in miners:
        out, file = OUT / "round" / f"{work.name}-{count}", OUT / "round" / f"{work.name}.fleet.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        save_fleet(file, sorted((name, as_sparse(data)) for name, data in work.devices.items()))
        layout = lay_out_fleet(
            FleetSpec(file, work.plan, out, count, engine, block_ms, seed=1, hold_ms=HOLD_MS, keep_payloads=True)
        )
        record, first, last, peak_mb, ready = asyncio.run(run_network(layout))
        networks.append(summarise(count, record, first, last, peak_mb, ready))
        check(networks[-1], loops[0])
    loops += [run_loop(work) for _ in range(turns)]
    loop_ms = median(loop.exchange_ms for loop in loops)
    found: list[Row] = []
    if batched:
        by_batches = median(loop.exchange_ms for loop in batched)
        found.append(row(work.case, "plain loop, by batches", "ms", by_batches, {"plain-loop": loop_ms}))
    for network in networks:
        found += make_rows(work.case, network, loop_ms, flower, is_long=work.is_long)
    return found


def as_sparse(data: Dataset) -> SparseData:
    """Return rows in the form a fleet file holds: without their zeros."""
    if isinstance(data, SparseData):
        return data
    assert isinstance(data, DenseData)
    places, columns = np.nonzero(data.x)
    starts = np.searchsorted(places, np.arange(data.y.size + 1)).astype(np.int64)
    return SparseData(starts, columns.astype(np.int32), data.x[places, columns], data.x.shape[1], data.y)


def main(arguments: Sequence[str]) -> None:
    """Measure the cases there are data for."""
    parser = argparse.ArgumentParser(prog="python -m bench.bench_round", description="Time exchanges side by side.")
    parser.add_argument("--case", choices=("a9a", "mnist"), action="append", help="the case (both)")
    parser.add_argument("--miners", type=int, metavar="N", action="append", help="miners of a network (1 and 3)")
    parser.add_argument("--engine", choices=("pos", "pow"), default="pos", help="consensus engine")
    parser.add_argument("--block-ms", type=int, metavar="N", help="least time between blocks")
    parser.add_argument("--rounds", type=int, metavar="N", default=ROUNDS, help="rounds of the case a9a")
    parser.add_argument("--no-flower", action="store_true", help="leave Flower out")
    chosen = parser.parse_args(arguments)
    rows: list[Row] = []
    skipped: list[Skipped] = []
    versions: Mapping[str, str] = {}
    finders: dict[str, Callable[[], Work]] = {"a9a": lambda: find_a9a(chosen.rounds), "mnist": find_mnist}
    for case in chosen.case or finders:
        try:
            work = finders[case]()
        except MissingDataError as error:
            skipped.append(Skipped(case, str(error)))
            continue
        flower = None if chosen.no_flower or not PYTHON.exists() else run_flower(work)
        if flower is None:
            skipped.append(Skipped(f"{case}, flower", f"no {PYTHON}, which make bench-round makes, or left out"))
        else:
            versions = flower.versions
        block_ms = chosen.block_ms or (LONG_BLOCK_MS if work.is_long else BLOCK_MS)
        rows += measure(work, chosen.miners or MINERS, chosen.engine, block_ms, flower)
    peers = ", ".join(f"{name} {version}" for name, version in versions.items()) or "not measured"
    note = (
        f"{DEVICES} devices in one process, each with its own key; {chosen.engine}, blocks at least "
        f"{chosen.block_ms or BLOCK_MS} ms apart (MNIST {chosen.block_ms or LONG_BLOCK_MS}), each held back up to "
        f"{HOLD_MS} ms for updates on their way; {chosen.rounds} rounds (MNIST {MNIST_ROUNDS}), the first apart. "
        f"Flower: {peers}, a processor a client. Kinds of work overlap."
    )
    publish("round", rows, ("cryptography", "plyvel"), skipped=skipped, note=note)


if __name__ == "__main__":
    main(sys.argv[1:])
