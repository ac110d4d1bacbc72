"""A running node: how late its event loop comes while it does everything at once, and what it costs when it idles.

Real processes over real sockets. Lateness is the node's own histogram (``fedchain_loop_lag_seconds``), its peer a loop
in this process that has nothing to do, over the same time: what the machine itself makes late. Processor time and
memory are the operating system's figures of the processes.

``python -m bench.bench_node busy|idle|start`` measures one of the three alone, for the curious.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from random import Random
from shutil import rmtree
from statistics import mean, median
from typing import Any, Final

from bench.busy import TRANSFERS, busy_pair, lay_out_busy
from bench.report import OUT, Row, publish, row
from bench.scrape import Figures, read_figures
from bench.testnet import (
    MINERS,
    Engine,
    cpu_seconds,
    has_peers,
    height_of,
    lay_out_testnet,
    resident_mb,
    running,
)
from node.client import Client
from node.localnet.processes import NodeHome, NodeProcess, child_environment

LAG: Final = "fedchain_loop_lag_seconds"
WAIT: Final = "fedchain_core_wait_seconds"
BUSY_SETTLE_S: Final = 30.0
BUSY_S: Final = 60.0
IDLE_NODES: Final = 12
IDLE_BLOCK_MS: Final = 5000
IDLE_SETTLE_S: Final = 30.0
IDLE_S: Final = 60.0
STARTS: Final = 5
PROBE_S: Final = 0.1
GOAL_LAG_S: Final = 0.02
SCRATCH: Final = OUT / "scratch-node"


class WrongFigureError(Exception):
    """The load was not what the figure is about: nothing is published."""


async def empty_loop(seconds: float) -> list[float]:
    """Return how late a loop that does nothing was at random moments, in ascending order."""
    loop, random, late = asyncio.get_running_loop(), Random(), []
    end = loop.time() + seconds
    while loop.time() < end:
        due = loop.time() + random.uniform(0.5, 1.5) * PROBE_S
        await asyncio.sleep(due - loop.time())
        late.append(loop.time() - due)
    return sorted(late)


async def measure_busy(directory: Path) -> list[Row]:
    """Return the rows of a node that imports full blocks, mines and trains at once."""
    async with busy_pair(lay_out_busy(directory)) as (sender, node):
        await asyncio.sleep(BUSY_SETTLE_S)
        before, height = await read_figures(node.home), await height_of(node.home)
        began, used = time.monotonic(), cpu_seconds([node])
        late = await empty_loop(BUSY_S)
        seconds, used_after = time.monotonic() - began, cpu_seconds([node])
        figures = (await read_figures(node.home)).since(before)
        carried = await transfers_between(sender.home, height, await height_of(node.home))
    case, blocks = "importing, mining, training", figures.get("fedchain_blocks_connected_total")
    trained = figures.get("fedchain_job_seconds_sum", job="train-task", end="trained") / seconds
    if mean(carried) < 0.6 * TRANSFERS or trained < 0.1:
        raise WrongFigureError(f"{mean(carried):.0f} transfers a block, {trained:.0%} of the time training: no load")
    quiet = {"empty loop": 1000 * late[int(0.99 * len(late))]}
    return [
        row(case, "event loop late, p99", "ms", 1000 * figures.quantile(LAG, 0.99), {**quiet, "goal": 20.0}),
        row(case, "event loop late, median", "ms", 1000 * figures.quantile(LAG, 0.5), {}),
        row(case, f"later than {GOAL_LAG_S * 1000:.0f} ms", "%", 100 * figures.share_above(LAG, GOAL_LAG_S), {}),
        row(case, "an event waits for the core, p99", "ms", 1000 * figures.quantile(WAIT, 0.99), {}),
        row(case, "an event waits for the core, median", "ms", 1000 * figures.quantile(WAIT, 0.5), {}),
        row(case, "blocks connected", "blocks/s", blocks / seconds, {}),
        row(case, "transfers a block", "transfers", mean(carried), {"full": TRANSFERS}),
        row(case, "own blocks", "%", 100 * figures.get("fedchain_blocks_mined_total") / max(1.0, blocks), {}),
        row(case, "time spent training", "%", 100 * trained, {}),
        row(case, "commit turns, mean", "ms", 1000 * mean_turn(figures, "job-done"), {}),
        row(case, "processor time", "% of a core", 100 * (used_after["node"] - used["node"]) / seconds, {}),
    ]


def mean_turn(figures: Figures, event: str) -> float:
    """Return the seconds that the core took for an event of this kind, on average."""
    count = figures.get("fedchain_core_seconds_count", event=event)
    return figures.get("fedchain_core_seconds_sum", event=event) / max(1.0, count)


async def transfers_between(home: NodeHome, first: int, last: int) -> list[int]:
    """Return how many transactions each block above ``first`` up to ``last`` carries."""
    async with Client.from_home(home.path) as client:
        found: list[int] = []
        for height in range(first + 1, last + 1):
            block: dict[str, Any] = await client.call("block.get", height=height)
            found.append(len(block["transactions"]))
        return found


async def measure_idle(engine: Engine, directory: Path) -> list[Row]:
    """Return the rows of a network in which nothing happens but blocks."""
    testnet = lay_out_testnet(directory, engine, IDLE_NODES, IDLE_BLOCK_MS)
    async with running(testnet) as processes:
        await asyncio.sleep(IDLE_SETTLE_S)
        height, began, before = await height_of(testnet.homes[-1]), time.monotonic(), cpu_seconds(processes)
        await asyncio.sleep(IDLE_S)
        seconds, after = time.monotonic() - began, cpu_seconds(processes)
        blocks = await height_of(testnet.homes[-1]) - height
        memory = resident_mb(processes)
    if not blocks:
        raise WrongFigureError(f"{engine}: no block in {seconds:.0f} s")
    shares = [100 * (after[home.name] - before[home.name]) / seconds for home in testnet.homes]
    return idle_rows(engine, shares, memory, blocks / seconds)


def idle_rows(engine: Engine, shares: Sequence[float], memory: Sequence[float], rate: float) -> list[Row]:
    """Return the rows of an idle network: its miners, where there are any, apart from those that follow."""
    goal = {"goal": 3.0}
    case, miners = f"{IDLE_NODES} idle nodes, {engine}", MINERS if engine == "pow" else 0
    who = "node that follows" if miners else "validator"
    rows = [
        row(case, f"processor time, {who}, mean", "% of a core", mean(shares[miners:]), goal),
        row(case, f"processor time, {who}, most", "% of a core", max(shares[miners:]), goal),
        row(case, f"memory, {who}, most", "MB", max(memory[miners:]), {}),
        row(case, "blocks", "blocks/min", 60 * rate, {}),
    ]
    if miners:
        rows.insert(2, row(case, "processor time, throttled miner, most", "% of a core", max(shares[:miners]), goal))
        rows.insert(4, row(case, "memory, throttled miner, most", "MB", max(memory[:miners]), {}))
    return rows


async def measure_start(directory: Path) -> list[Row]:
    """Return the row of the time until a node that was started answers; its peer is loading the program."""
    (home,) = lay_out_testnet(directory, "pow", 1, IDLE_BLOCK_MS).homes
    starts, loads = [], []
    for _ in range(STARTS):
        began = time.perf_counter()
        process = await NodeProcess.start(home)
        try:
            while not await has_peers(home, 0):
                process.check()
                await asyncio.sleep(0.01)
            starts.append(time.perf_counter() - began)
        finally:
            await process.stop()
        began = time.perf_counter()
        load = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "import cli, node.service.process", env=child_environment()
        )
        await load.wait()
        loads.append(time.perf_counter() - began)
    return [row("one node", "from its start until it answers", "s", median(starts), {"imports alone": median(loads)})]


def in_scratch(measure: Callable[[Path], Coroutine[Any, Any, list[Row]]]) -> list[Row]:
    """Measure in a directory of its own, which is removed if all went well."""
    rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.parent.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(measure(SCRATCH))
    rmtree(SCRATCH)
    return found


def main() -> None:
    """Measure everything, or what is named."""
    named = sys.argv[1:] or ["busy", "idle", "start"]
    found: list[Row] = []
    if "busy" in named:
        found += in_scratch(measure_busy)
    if "idle" in named:
        found += in_scratch(lambda directory: measure_idle("pow", directory))
        found += in_scratch(lambda directory: measure_idle("pos", directory))
    if "start" in named:
        found += in_scratch(measure_start)
    note = (
        f"Full blocks: {TRANSFERS} transfers. A throttled miner searches 20,000 hashes a second; the busy node "
        "searches as fast as a thread of low priority can. An empty loop is one in another process that only waits."
    )
    publish("node", found, ("plyvel", "msgspec", "numba"), note=note)


if __name__ == "__main__":
    main()
