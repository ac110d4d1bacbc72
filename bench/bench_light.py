"""A light node's memory beside a full one's: real processes on loopback, following the chain, then training a plan.

A localnet with two miners runs a plan; one device has a chain, the last one has none, and comes to a machine where no
kernel was ever compiled: its Numba cache is an empty directory of its own. Resident memory is read when the light one
has followed for a while, and the peak of each when the plan is finished; beside them what the process took that
compiled the kernels for it. ``python -m bench.bench_light [ROUNDS] [--a9a DIR]``: the plan is examples/heart, and with
DIR (files of 8 devices, as README.md makes them) examples/a9a too.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import psutil
from rich.console import Console

from bench.report import Row, publish, row
from node.localnet.homes import Layout, lay_out
from node.localnet.processes import LIGHT, NodeProcess
from node.localnet.progress import Progress
from node.localnet.run import open_clients, submit_plan, warm_kernels, watch_plan
from node.localnet.spec import LocalnetSpec
from node.localnet.watch import Watched

Engine = Literal["pow", "pos"]
EXAMPLES: Final = Path("examples")
CACHE: Final = "NUMBA_CACHE_DIR"
BLOCKS: Final = 8
"""Heights that the light node follows before its memory is read."""
MOST_FOLLOWING: Final = 120.0
MOST_TRAINING: Final = 220.0
"""MB (10**6 bytes), as promised in docs/operating.md."""
WAIT_S: Final = 60.0
LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Case:
    """A plan, and the files of its devices."""

    name: str
    plan: Path
    data: Path


def resident(pid: int) -> float:
    """Return a process's resident memory in MB; 0 if it is gone."""
    with suppress(psutil.NoSuchProcess):
        return float(psutil.Process(pid).memory_info().rss) / 1e6
    return 0.0


class Children:
    """Watches the processes that a node starts; ``peak`` is the most that they had at a time, in MB."""

    def __init__(self, parent: NodeProcess) -> None:
        self._parent = parent
        self.peak = 0.0

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            with suppress(psutil.NoSuchProcess):
                found = psutil.Process(self._parent.pid).children(recursive=True)
                self.peak = max(self.peak, sum(resident(child.pid) for child in found))
            await asyncio.sleep(LOOK_S)


@contextmanager
def kernel_cache(directory: Path | None) -> Iterator[None]:
    """Let processes started inside keep their kernels in ``directory``; None: where this one does."""
    before = os.environ.get(CACHE)
    if directory is not None:
        os.environ[CACHE] = str(directory)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(CACHE, None)
        else:
            os.environ[CACHE] = before


async def start(layout: Layout, stack: AsyncExitStack, cold: Path) -> list[NodeProcess]:
    """Start every node, the light one with an empty kernel cache; they are stopped when ``stack`` closes."""
    processes: list[NodeProcess] = []
    for home in layout.homes:
        with kernel_cache(cold if home.role == LIGHT else None):
            processes.append(await NodeProcess.start(home))
        stack.push_async_callback(processes[-1].stop)
    return processes


async def follow(light: Watched) -> None:
    """Wait until the light node has followed for some blocks. ``TimeoutError``."""
    async with asyncio.timeout(WAIT_S):
        while True:
            status = await light.client.status()
            if status.state == "synced" and status.height >= BLOCKS:
                return
            await asyncio.sleep(0.2)


async def measure(case: Case, engine: Engine, rounds: int, out: Path) -> list[Row]:
    """Return the rows of one run."""
    spec = LocalnetSpec(case.plan, case.data, out, miners=2, engine=engine, rounds=rounds, light=1)
    started, name = time.monotonic(), f"{engine}, {case.name}, {rounds} rounds"
    layout, cold = lay_out(spec), out / "kernels"
    cold.mkdir()
    with Progress(Console(stderr=True)) as progress:
        await warm_kernels(layout, progress)  # for the full nodes
        async with AsyncExitStack() as stack:
            processes = await start(layout, stack, cold)
            nodes = await open_clients(layout, processes, stack)
            light = next(index for index, node in enumerate(nodes) if node.role == LIGHT)
            full = max(index for index, node in enumerate(nodes) if node.role == "device")
            await follow(nodes[light])
            following = [resident(processes[index].pid) for index in (light, full)]
            children = Children(processes[light])
            watching = asyncio.create_task(children.watch())
            plan = await submit_plan(layout, progress)
            await watch_plan(nodes, processes, plan, started, progress, spec.timeout_s)
            watching.cancel()
            peaks = [processes[index].peak_rss_mb() for index in (light, full)]
    if not children.peak or not any(cold.rglob("*.nbc")):
        raise SystemExit("nothing was compiled for the light node: this measured nothing")
    return [
        row(name, "following", "MB", following[0], {"full node": following[1], "promised": MOST_FOLLOWING}),
        row(name, "training, peak", "MB", peaks[0], {"full node": peaks[1], "promised": MOST_TRAINING}),
        row(name, "… the compiler beside it, peak", "MB", children.peak, {}),
    ]


def main() -> None:
    """Measure under both engines, print and write the rows; exit 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=3)
    parser.add_argument("--a9a", type=Path, metavar="DIR")
    options = parser.parse_args()
    cases = [Case("heart", EXAMPLES / "heart" / "plan.toml", EXAMPLES / "heart" / "data")]
    if options.a9a is not None:
        cases.append(Case("a9a", EXAMPLES / "a9a" / "plan.toml", options.a9a))
    engines: tuple[Engine, ...] = ("pow", "pos")
    rows: list[Row] = []
    with TemporaryDirectory() as directory:
        for case in cases:
            for engine in engines:
                rows += asyncio.run(measure(case, engine, options.rounds, Path(directory) / f"{case.name}-{engine}"))
    publish("light", rows)
    most = {"following": MOST_FOLLOWING, "training, peak": MOST_TRAINING}
    broken = [one for one in rows if float(str(one["ours"])) > most.get(str(one["measure"]), float("inf"))]
    if broken:
        raise SystemExit(f"a light node takes more than it promises: {broken}")


if __name__ == "__main__":
    main()
