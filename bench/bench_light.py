"""A light node's memory beside a full one's: real processes on loopback, following the chain, then training a plan.

A localnet with two miners runs the heart example; one device has a chain, another one has none. Resident memory is
read when the light one has followed for a while, and the peak of each when the plan is finished. ``python -m
bench.bench_light [ROUNDS]``; DATA and PLAN are the example's.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import psutil
from rich.console import Console

from bench.report import Row, publish, row
from node.localnet.homes import lay_out
from node.localnet.processes import LIGHT, NodeProcess
from node.localnet.progress import Progress
from node.localnet.run import open_clients, start_network, submit_plan, watch_plan
from node.localnet.spec import LocalnetSpec
from node.localnet.watch import Watched

EXAMPLE: Final = Path("examples/heart")
BLOCKS: Final = 8
"""Heights that the light node follows before its memory is read."""
MOST_FOLLOWING: Final = 120.0
MOST_TRAINING: Final = 220.0
"""MB (10**6 bytes), as promised in docs/operating.md."""
WAIT_S: Final = 60.0


def resident(process: NodeProcess) -> float:
    """Return a process's resident memory in MB."""
    return float(psutil.Process(process.pid).memory_info().rss) / 1e6


async def follow(light: Watched) -> None:
    """Wait until the light node has followed for some blocks. ``TimeoutError``."""
    async with asyncio.timeout(WAIT_S):
        while True:
            status = await light.client.status()
            if status.state == "synced" and status.height >= BLOCKS:
                return
            await asyncio.sleep(0.2)


async def measure(engine: Literal["pow", "pos"], rounds: int, out: Path) -> list[Row]:
    """Return the rows of one run."""
    spec = LocalnetSpec(EXAMPLE / "plan.toml", EXAMPLE / "data", out, miners=2, engine=engine, rounds=rounds, light=1)
    started, case = time.monotonic(), f"{engine}, heart, {rounds} rounds"
    layout = lay_out(spec)
    with Progress(Console(stderr=True)) as progress:
        async with AsyncExitStack() as stack:
            processes = await start_network(layout, stack, progress)
            nodes = await open_clients(layout, processes, stack)
            light = next(index for index, node in enumerate(nodes) if node.role == LIGHT)
            full = next(index for index, node in enumerate(nodes) if node.role == "device")
            await follow(nodes[light])
            following = [resident(processes[index]) for index in (light, full)]
            plan = await submit_plan(layout, progress)
            await watch_plan(nodes, processes, plan, started, progress, spec.timeout_s)
            peaks = [processes[index].peak_rss_mb() for index in (light, full)]
    return [
        row(case, "following", "MB", following[0], {"full node": following[1], "promised": MOST_FOLLOWING}),
        row(case, "training, peak", "MB", peaks[0], {"full node": peaks[1], "promised": MOST_TRAINING}),
    ]


def main() -> None:
    """Measure under both engines, print and write the rows; exit 1 if a promise is not kept."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows: list[Row] = []
    with TemporaryDirectory() as directory:
        for engine in ("pow", "pos"):
            rows += asyncio.run(measure("pos" if engine == "pos" else "pow", rounds, Path(directory) / engine))
    publish("light", rows)
    most = {"following": MOST_FOLLOWING}
    broken = [one for one in rows if float(str(one["ours"])) > most.get(str(one["measure"]), MOST_TRAINING)]
    if broken:
        raise SystemExit(f"a light node takes more than it promises: {broken}")


if __name__ == "__main__":
    main()
