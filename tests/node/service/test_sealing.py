"""The search on real threads: it uses those asked for, stops at once, and the event loop never waits for it."""

import asyncio
import io
import threading
import time
from dataclasses import replace as replace_field
from itertools import pairwise

import pytest
from msgspec.structs import replace

from chain.block import Header, block_id
from chain.genesis_default import target_of
from chain.ids import Height
from consensus.engine import SealLimits
from consensus.engines import make_engine
from consensus.headertree import HeaderTree
from consensus.pow.search import warm_up
from consensus.transition import genesis_block
from node.config import LogSettings
from node.events import Event, JobDone
from node.jobs.control import JobControl
from node.jobs.results import BlockSealed, Cancelled
from node.jobs.run import run_job
from node.jobs.specs import SealBlock
from node.logs import NodeLog
from node.metrics import Metrics
from node.service.workers import Workers
from node.world import World
from tests.node.core.town import key_of, make_genesis, make_world

GENESIS = make_genesis([key_of(1)])
EASY, HARD = 50_000, 2**80
STOP_MS = 50
"""So long after a new head the threads of the old candidate may still work, at most."""


def world_of(hashes: int) -> tuple[World, Header]:
    """A world whose first block takes so many hashes on average, and an unsealed header for it."""
    genesis = replace(GENESIS, engine=replace(GENESIS.engine, initial_target=target_of(hashes)))
    world = replace_field(make_world(genesis, key_of(1)), engine=make_engine(genesis))
    first = genesis_block(genesis).header
    prepared = world.engine.prepare(HeaderTree(world.engine, first), block_id(first), genesis.time_ms)
    draft = replace(first, height=Height(1), parent=block_id(first), time_ms=prepared.time_ms, engine=prepared.engine)
    return world, draft


def control(seconds: float) -> JobControl:
    """Real time, cancelled after so many seconds."""
    end = time.monotonic() + seconds
    return JobControl(lambda: time.monotonic() > end, time.sleep, lambda: time.monotonic_ns() // 1000)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_finds_a_seal(threads: int) -> None:
    """What is found is the header's seal, whoever found it; no thread is left behind."""
    world, header = world_of(EASY)
    before = threading.active_count()
    result = run_job(SealBlock(header, 0, threads), world, control(60))
    assert isinstance(result, BlockSealed)
    assert int.from_bytes(block_id(replace(header, seal=result.seal)), "big") * EASY <= 2**256
    assert threading.active_count() == before


def test_threads_never_try_the_same_nonce() -> None:
    """Each searches a range of its own, and their rates add up to the one that was asked for."""
    world, header = world_of(HARD)
    tried: list[tuple[int, int]] = []

    class Counting:
        """An engine that notes what it is asked to try."""

        def seal(self, header: object, cancel: object, limits: SealLimits) -> None:
            assert limits.count is not None
            tried.append((limits.start, limits.count))

    lazy = replace_field(world, engine=Counting())  # type: ignore[arg-type]
    assert run_job(SealBlock(header, 4_000, 4), lazy, control(0.5)) == Cancelled()
    starts = sorted(tried)
    assert all(start + count <= after for (start, count), (after, _) in pairwise(starts))
    assert len({start >> 48 for start, _ in tried}) == 4
    assert sum(count for _, count in tried) <= 4_000 * 0.5 + 4 * 10


def test_what_a_thread_raises_ends_the_search() -> None:
    """A fault in one thread is the job's fault, not a search that is one thread short."""
    world, header = world_of(HARD)

    class Broken:
        """An engine with a fault on one thread."""

        def seal(self, header: object, cancel: object, limits: SealLimits) -> bytes | None:
            if limits.start >> 48 == 1:
                raise ArithmeticError("overheated")
            return world.engine.seal(header, cancel, limits)  # type: ignore[arg-type]

    broken = replace_field(world, engine=Broken())  # type: ignore[arg-type]
    with pytest.raises(ArithmeticError, match="overheated"):
        run_job(SealBlock(header, 0, 3), broken, control(60))


class Bench:
    """Workers on a loop, and when their jobs ended."""

    def __init__(self, world: World) -> None:
        self.ended = asyncio.Event()
        self.log = NodeLog(LogSettings(level="error"), None, io.StringIO())
        self.workers = Workers(world, self._take, 1, Metrics("0", "h", "00"), self.log.logger)

    def _take(self, event: Event) -> None:
        assert isinstance(event, JobDone), event
        self.ended.set()


@pytest.mark.parametrize("threads", [1, 3])
async def test_a_search_stops_within_fifty_milliseconds_of_a_new_head(threads: int) -> None:
    """From the cancellation to the end of the last thread; the second quickest: other work only makes it longer."""
    warm_up()
    world, header = world_of(HARD)
    bench = Bench(world)
    spans = []
    for job in range(1, 8):
        bench.ended.clear()
        bench.workers.start(job, SealBlock(header, 0, threads))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        bench.workers.cancel(job)
        await bench.ended.wait()
        spans.append((time.monotonic() - began) * 1000)
    await bench.workers.stop(5)
    assert sorted(spans)[1] < STOP_MS, spans


async def test_the_event_loop_does_not_wait_for_the_search() -> None:
    """Two threads search as fast as they can; what the loop was to do comes hardly later than without them.

    A search that held the interpreter would be a second late, each time; 50 ms are what a machine with other work may
    take, half of the time.
    """
    warm_up()
    world, header = world_of(HARD)
    bench = Bench(world)

    async def lags(seconds: float) -> list[float]:
        late, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            await asyncio.sleep(0.002)
            late.append((time.monotonic() - began - 0.002) * 1000)
        return sorted(late)

    idle = await lags(0.5)
    bench.workers.start(1, SealBlock(header, 0, 2))
    busy = await lags(1.0)
    bench.workers.cancel(1)
    await bench.ended.wait()
    await bench.workers.stop(5)
    assert busy[len(busy) // 2] < idle[len(idle) // 2] + 50, (idle[-5:], busy[-5:])
