"""The search for a seal: by as many threads as asked for, at no more than the rate asked for.

Each thread has nonces of its own, and asks after every few milliseconds of work whether to stop. The compiled search
releases the GIL, so threads run side by side and the event loop between them.

A limited search waits first and works then: what it has tried is at no moment more than its rate times its time, so
that a candidate that is replaced after a moment was searched for just that moment.
"""

import threading
from collections.abc import Callable
from typing import Final

from chain.block import Header
from consensus.engine import Engine, SealLimits
from node.jobs.control import JobControl
from node.jobs.results import BlockSealed, Cancelled, JobResult
from node.jobs.specs import SealBlock
from node.world import World

_BURSTS_PER_SECOND: Final = 50
"""A limited search works so often a second."""
_FORGIVEN_BURSTS: Final = 5
"""A search that was held up (a busy machine, a stopped process) makes up for so many bursts and no more."""
_NAP_US: Final = 20_000
"""A thread that waits looks so often whether another has found the seal."""
_RANGE_BITS: Final = 48
"""Each thread has 2**48 nonces of its own: years of work."""


def seal_block(spec: SealBlock, world: World, control: JobControl) -> JobResult:
    """Search until the seal is found or the job cancelled, at most ``spec.max_hashrate`` attempts a second."""
    if spec.threads <= 1:
        seal = _search(world.engine, spec.header, 0, spec.max_hashrate, control, control.is_cancelled)
    else:
        seal = _search_together(spec, world.engine, control)
    return Cancelled() if seal is None else BlockSealed(seal)


def _search_together(spec: SealBlock, engine: Engine, control: JobControl) -> bytes | None:
    """Search in ``spec.threads`` threads; the first seal ends them all. What one of them raises is raised here."""
    found: list[bytes] = []
    failed: list[BaseException] = []
    over = threading.Event()

    def is_over() -> bool:
        return over.is_set() or control.is_cancelled()

    def work(number: int) -> None:
        try:
            rate = -(-spec.max_hashrate // spec.threads)
            seal = _search(engine, spec.header, number << _RANGE_BITS, rate, control, is_over)
        except BaseException as error:  # a thread's own would be lost: the job has to fail with it
            failed.append(error)
            over.set()
            return
        if seal is not None:
            found.append(seal)
            over.set()

    threads = [threading.Thread(target=work, args=(number,), name=f"seal-{number}") for number in range(spec.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return found[0] if found else None


def _search(
    engine: Engine, header: Header, start: int, rate: int, control: JobControl, is_over: Callable[[], bool]
) -> bytes | None:
    """Search from nonce ``start`` on, at ``rate`` attempts a second (0 = as fast as it goes)."""
    if rate == 0:
        return engine.seal(header, is_over, SealLimits(start=start))
    burst = max(1, rate // _BURSTS_PER_SECOND)
    burst_us = burst * 1_000_000 // rate
    began, due = control.clock_us(), burst_us
    while not is_over():
        wait_us = began + due - control.clock_us()
        if wait_us > 0:
            control.sleep(min(wait_us, _NAP_US) / 1_000_000)
            continue
        began += max(0, -wait_us - _FORGIVEN_BURSTS * burst_us)
        seal = engine.seal(header, is_over, SealLimits(start=start, count=burst))
        if seal is not None:
            return seal
        start += burst
        due += burst_us
    return None
