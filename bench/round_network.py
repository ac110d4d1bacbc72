"""The chain's side of ``bench.bench_round``: a network of processes runs a plan, and its own history says what it took.

An exchange lasts from the block that opens its task to the block that settles it, by the times in these blocks.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from rich.console import Console

from bench.footprint import Footprint, processor_seconds
from bench.scrape import Figures, read_figures
from node.client import ClientError
from node.localnet.homes import Layout
from node.localnet.processes import NodeProcess
from node.localnet.progress import Progress
from node.localnet.run import open_clients, start_network, submit_plan, warm_kernels
from node.localnet.summary import ChainRecord, read_chain, wait_for_agreement
from node.localnet.watch import Watched
from node.rpc.shapes import BlockView

AGREE_SECONDS: Final = 30.0
TIMEOUT_SECONDS: Final = 240.0
_POLL_SECONDS: Final = 0.2
_PARTS: Final = {
    "training and signing": ("train-fleet",),
    "checking updates": ("verify-updates",),
    "building blocks": ("build-block",),
    "executing blocks": ("execute-branch",),
    "cores' turns, commits included": (),
}
"""Kinds of work, with the jobs each consists of; none: what the core does itself."""


class WrongFigureError(Exception):
    """A side did not learn what the plain loop learns: nothing is published."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One phase on the chain: milliseconds and blocks from the opening of its task to its settling."""

    round: int
    phase: int
    milliseconds: int
    blocks: int


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


@dataclass(frozen=True, slots=True)
class Mark:
    """What had been spent when so many rounds were settled."""

    rounds: int
    processor_s: float
    figures: Mapping[str, Figures]


async def run_network(layout: Layout) -> tuple[ChainRecord, Mark, Mark, float, float]:
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


async def _mark(node: Watched, processes: Sequence[NodeProcess], plan: str) -> Mark:
    rounds = (await node.client.plan(plan)).standing.rounds
    figures = {process.home.name: await read_figures(process.home) for process in processes}
    return Mark(rounds, processor_seconds([process.pid for process in processes]), figures)


def summarise(
    miners: int, record: ChainRecord, first: Mark, last: Mark, peak_mb: float, start_up_s: float
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
