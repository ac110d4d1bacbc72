"""Thousands of worlds, one a seed, in as many processes as there are cores: ``make seeds`` and ``make soak``.

A failing seed is minimised and its command told; the report counts what was tried, so that a sweep that tried nothing
shows. A process that dies takes its seeds with it into the list of the failed.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from node.simulator.minimise import minimise
from node.simulator.report import SimulationReport
from node.simulator.settings import ENGINES, SimulationSettings
from node.simulator.simulation import Simulation, simulate
from node.simulator.worlds import SIZES, draw_world

_MINIMISE_SECONDS: Final = 120.0
_TELL_SECONDS: Final = 10.0
_BESIDE: Final = 4
"""Worlds a process has waiting for it."""


@dataclass(frozen=True, slots=True)
class Result:
    """One world's outcome, small enough to send."""

    seed: int
    engine: str
    is_good: bool
    command: str
    broken: tuple[str, ...]
    blocks: int
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)


def _count(report: SimulationReport) -> dict[str, int]:
    faults = {f"fault: {kind}": count for kind, count in report.faults.items()}
    acts = {f"behaviour: {name}": count for name, count in report.acts.items()}
    checks = {
        "slashed": report.slashed,
        "states taken": report.states_taken,
        "checks": sum(report.checks.values()),
        "events": report.events,
        "liars": report.liars,
    }
    return faults | acts | checks


def run_world(settings: SimulationSettings) -> Result:
    """Run one world; minimise it if an invariant breaks. An exception is a failure too."""
    try:
        report = simulate(settings)
        command = report.command
        if report.violations:
            command = minimise(settings, report, _MINIMISE_SECONDS)[1].command
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
        return Result(settings.seed, settings.engine, False, settings.command(), (raised,), 0, 0.0)
    return Result(
        seed=settings.seed,
        engine=settings.engine,
        is_good=not report.violations,
        command=command,
        broken=tuple(str(violation) for violation in report.violations[:3]),
        blocks=report.blocks,
        seconds=round(report.wall_seconds, 2),
        counts=_count(report),
    )


def count_writes(settings: SimulationSettings) -> int:
    """Return at how many moments around its writes the machine that is to die can do so before all heals."""
    world = Simulation(replace(settings, crash_write=0))
    world.run_until(settings.duration_ms - 1)
    return world.machines[settings.crash_machine].disk.fuse.moments


def crash_worlds(seed: int, engine: str, step: int) -> Iterator[SimulationSettings]:
    """Yield one little world for each ``step``-th moment around a write: a device's, then a block producer's."""
    nodes = 4 if engine == "pos" else 2
    for machine in (nodes, 0):
        settings = SimulationSettings(
            seed=seed,
            nodes=nodes,
            devices=2,
            miners=nodes,
            engine=engine,
            duration_ms=15_000,
            block_ms=1_000,
            plans=1,
            crash_machine=machine,
            crash_write=1,
        )
        for moment in range(1, count_writes(settings), step):
            yield replace(settings, crash_write=moment)


def run_all(worlds: Iterable[SimulationSettings], jobs: int) -> Iterator[Result]:
    """Yield the outcomes as they come, about in order."""
    source = iter(worlds)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [(settings, pool.submit(run_world, settings)) for settings in islice(source, jobs * _BESIDE)]
        while waiting:
            settings, future = waiting.pop(0)
            try:
                yield future.result()
            except BrokenProcessPool as error:
                yield Result(settings.seed, settings.engine, False, settings.command(), (str(error),), 0, 0.0)
            following = next(source, None)
            if following is not None:
                waiting.append((following, pool.submit(run_world, following)))


def _worlds(options: argparse.Namespace) -> Iterator[SimulationSettings]:
    engines = options.engines.split(",")
    if options.crashes:
        for engine in engines:
            yield from crash_worlds(options.first, engine, options.crashes)
        return
    for seed in range(options.first, options.first + options.seeds):
        yield draw_world(seed, options.size, engines[seed % len(engines)])


def main(arguments: list[str] | None = None) -> int:
    """Run a sweep; exit code 1 if any world failed."""
    parser = argparse.ArgumentParser(prog="sweep", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--crashes", type=int, default=0, metavar="STEP", help="instead: die at each STEP-th write")
    parser.add_argument("--out", type=Path, default=Path("build/seeds.json"))
    options = parser.parse_args(arguments)
    failed, counts, done = list[Result](), Counter[str](), 0
    began = told = time.monotonic()
    for result in run_all(_worlds(options), options.jobs):
        done += 1
        counts.update(result.counts)
        counts[f"worlds: {result.engine}"] += 1
        if not result.is_good:
            failed.append(result)
            print(f"seed {result.seed} failed: {'; '.join(result.broken)}\n  again: {result.command}", flush=True)
        if time.monotonic() - told >= _TELL_SECONDS:
            told = time.monotonic()
            print(f"{done} worlds, {len(failed)} failed, {told - began:.0f} s", flush=True)
    document = {
        "worlds": done,
        "failed": [asdict(result) for result in failed],
        "seconds": round(time.monotonic() - began, 1),
        "jobs": options.jobs,
        "size": "crashes" if options.crashes else options.size,
        "counts": dict(sorted(counts.items())),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=2) + "\n")
    print(f"{done} worlds in {document['seconds']} s, {len(failed)} failed; what was tried: {options.out}")
    return 1 if failed or not done else 0


if __name__ == "__main__":
    sys.exit(main())
