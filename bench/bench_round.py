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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, Literal, TypeVar

from bench.data import MissingDataError
from bench.flower_side import write_work
from bench.footprint import Footprint, family
from bench.report import OUT, Row, Skipped, publish, row
from bench.round_network import TIMEOUT_SECONDS, NetworkRun, WrongFigureError, run_network, summarise
from bench.round_work import DEVICES, MNIST_ROUNDS, Work, as_sparse, find_a9a, find_mnist
from chain.fixedpoint import to_bytes
from chain.hashing import content_id
from fl.data.fleetfile import save_fleet
from fl.executors.threads import Threads
from fl.problem import compile_problem
from fl.train import train_federated
from node.localnet.fleets import FleetSpec, lay_out_fleet

ROUNDS: Final = 20
TURNS: Final = 3
LOOPS: Final = 3
"""Times the plain loop runs a turn, where it is short."""
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
LOSS_TOLERANCE: Final = 0.05
"""Largest relative difference between the last losses of chain and loop: their permutations differ, nothing else."""
PYTHON: Final = Path("build/env/round/bin/python")
Engine = Literal["pow", "pos"]


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


Run = TypeVar("Run", NetworkRun, FlowerRun)


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


@dataclass(slots=True)
class Turns:
    """What each side took, once or more a turn."""

    loops: list[LoopRun] = field(default_factory=list)
    batched: list[LoopRun] = field(default_factory=list)
    flowers: list[FlowerRun] = field(default_factory=list)
    networks: dict[int, list[NetworkRun]] = field(default_factory=dict)


def take_turns(
    work: Work, miners: Sequence[int], engine: Engine, block_ms: int, *, turns: int, has_flower: bool
) -> Turns:
    """Run all sides in turn, forward and backward: what else the machine does meets none of them alone."""
    found, reference = Turns(), run_loop(work)

    def loops() -> None:
        for _ in range(1 if work.is_long else LOOPS):
            found.loops.append(run_loop(work))
            if not work.is_long:  # there is no batch for networks
                found.batched.append(run_loop(work, by_batches=True))

    def flower() -> None:
        found.flowers.append(run_flower(work))
        check_flower(found.flowers[-1], reference)

    def network(count: int) -> None:
        run = run_chain(work, count, engine, block_ms)
        check(run, reference)
        found.networks.setdefault(count, []).append(run)

    sides: list[Callable[[], None]] = [
        loops,
        *([flower] if has_flower else []),
        *(partial(network, count) for count in miners),
    ]
    for turn in range(turns):
        for side in sides if turn % 2 == 0 else reversed(sides):
            side()
    return found


def run_chain(work: Work, miners: int, engine: Engine, block_ms: int) -> NetworkRun:
    """Run the plan on a network of so many miners."""
    out, file = OUT / "round" / f"{work.name}-{miners}", OUT / "round" / f"{work.name}.fleet.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_fleet(file, sorted((name, as_sparse(data)) for name, data in work.devices.items()))
    layout = lay_out_fleet(
        FleetSpec(file, work.plan, out, miners, engine, block_ms, seed=1, hold_ms=HOLD_MS, keep_payloads=True)
    )
    record, first, last, peak_mb, ready = asyncio.run(run_network(layout))
    return summarise(miners, record, first, last, peak_mb, ready)


def middle(runs: Sequence[Run]) -> Run:
    """Return the run whose exchange took the median, the shorter one of two: its other figures go with it."""
    return sorted(runs, key=lambda run: run.exchange_ms)[(len(runs) - 1) // 2]


def compare(work: Work, found: Turns) -> list[Row]:
    """Return the rows of a case: of each side the turn in the middle."""
    rows: list[Row] = []
    loop_ms = median(loop.exchange_ms for loop in found.loops)
    if found.batched:
        by_batches = median(loop.exchange_ms for loop in found.batched)
        rows.append(row(work.case, "plain loop, by batches", "ms", by_batches, {"plain-loop": loop_ms}))
    flower = middle(found.flowers) if found.flowers else None
    for runs in found.networks.values():
        rows += make_rows(work.case, middle(runs), loop_ms, flower, is_long=work.is_long)
    return rows


def main(arguments: Sequence[str]) -> None:
    """Measure the cases there are data for."""
    parser = argparse.ArgumentParser(prog="python -m bench.bench_round", description="Time exchanges side by side.")
    parser.add_argument("--case", choices=("a9a", "mnist"), action="append", help="the case (both)")
    parser.add_argument("--miners", type=int, metavar="N", action="append", help="miners of a network (1 and 3)")
    parser.add_argument("--engine", choices=("pos", "pow"), default="pos", help="consensus engine")
    parser.add_argument("--block-ms", type=int, metavar="N", help="least time between blocks")
    parser.add_argument("--rounds", type=int, metavar="N", default=ROUNDS, help="rounds of the case a9a")
    parser.add_argument("--no-flower", action="store_true", help="leave Flower out")
    parser.add_argument("--turns", type=int, metavar="N", default=TURNS, help=f"times each side runs ({TURNS})")
    chosen = parser.parse_args(arguments)
    if chosen.turns < 1:
        parser.error("--turns must be 1 or more")
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
        has_flower = PYTHON.exists() and not chosen.no_flower
        if not has_flower:
            skipped.append(Skipped(f"{case}, flower", f"no {PYTHON}, which make bench-round makes, or left out"))
        block_ms = chosen.block_ms or (LONG_BLOCK_MS if work.is_long else BLOCK_MS)
        miners = chosen.miners or MINERS
        found = take_turns(work, miners, chosen.engine, block_ms, turns=chosen.turns, has_flower=has_flower)
        rows += compare(work, found)
        versions = found.flowers[0].versions if found.flowers else versions
    peers = ", ".join(f"{name} {version}" for name, version in versions.items()) or "not measured"
    note = (
        f"{DEVICES} devices in one process, each with its own key; {chosen.engine}, blocks at least "
        f"{chosen.block_ms or BLOCK_MS} ms apart (MNIST {chosen.block_ms or LONG_BLOCK_MS}), each held back up to "
        f"{HOLD_MS} ms for updates on their way; {chosen.rounds} rounds (MNIST {MNIST_ROUNDS}), the first apart. "
        f"Flower: {peers}, a processor a client. Kinds of work overlap. "
        f"Turns: {chosen.turns}; of each side the one in the middle."
    )
    publish("round", rows, ("cryptography", "plyvel"), skipped=skipped, note=note)


if __name__ == "__main__":
    main(sys.argv[1:])
