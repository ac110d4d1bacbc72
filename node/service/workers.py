"""Jobs in threads: the kernels release the GIL, so the event loop goes on while they work.

Work is kept in lanes, so that a long training never stands before a block that must be executed:

    chain    executes and builds blocks            seal     looks for a seal, at low priority
    verify   checks local updates, opens chunks    learn    reads data, trains, finds stamps, at lower priority

Training fills a processor for seconds; whoever holds Python's lock meanwhile and has to give up the processor to it
holds up the event loop and the core.

Rules of this file: a job ends in exactly one ``JobDone`` or ``JobFailed``, delivered on the event loop's thread.
"""

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from structlog.typing import FilteringBoundLogger

from chain.codec import Record
from node.events import Event, JobDone, JobFailed
from node.jobs.control import JobControl
from node.jobs.run import run_job
from node.jobs.specs import BuildBlock, ExecuteBranch, JobSpec, OpenChunk, SealBlock, VerifyUpdates
from node.metrics import Metrics
from node.world import World

_SEAL_PRIORITY: Final = 10
_LEARN_PRIORITY: Final = 5
"""Of threads, as Unix counts it: the higher, the later."""
_CHAIN_THREADS: Final = 2
"""A block can be executed while another is being built."""
_LANES: Final[dict[type[Record], str]] = {
    ExecuteBranch: "chain",
    BuildBlock: "chain",
    SealBlock: "seal",
    VerifyUpdates: "verify",
    OpenChunk: "verify",
}
_OTHER_LANE: Final = "learn"


def _lower_priority(to: int) -> None:
    """Let others on the machine go first; on Linux a thread has a priority of its own."""
    if sys.platform == "linux":
        inherited = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(inherited, to))


def _clock_us() -> int:
    return time.monotonic_ns() // 1000


class Workers:
    """The threads of one node's jobs. ``deliver`` takes the ends of jobs, on the loop's thread."""

    def __init__(
        self,
        world: World,
        deliver: Callable[[Event], None],
        verify_threads: int,
        metrics: Metrics,
        logger: FilteringBoundLogger,
    ) -> None:
        self._world = world
        self._deliver = deliver
        self._metrics = metrics
        self._logger = logger
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, threading.Event] = {}
        self._futures: dict[int, Future[None]] = {}
        self._is_stopped = False
        self._lanes = {
            "chain": ThreadPoolExecutor(_CHAIN_THREADS, "chain"),
            "seal": ThreadPoolExecutor(1, "seal", _lower_priority, (_SEAL_PRIORITY,)),
            "verify": ThreadPoolExecutor(verify_threads, "verify"),
            "learn": ThreadPoolExecutor(1, "learn", _lower_priority, (_LEARN_PRIORITY,)),
        }

    def start(self, job: int, spec: JobSpec) -> None:
        """Run a job in its lane."""
        cancelled = threading.Event()
        self._running[job] = cancelled
        self._metrics.jobs_running.set(len(self._running))
        lane = self._lanes[_LANES.get(type(spec), _OTHER_LANE)]
        self._futures[job] = lane.submit(self._work, job, spec, cancelled)

    def cancel(self, job: int) -> None:
        """Tell a job that its result is not wanted any more."""
        cancelled = self._running.get(job)
        if cancelled is not None:
            cancelled.set()

    async def stop(self, seconds: float) -> bool:
        """Cancel all jobs and wait for their threads; return whether all of them ended in time."""
        self._is_stopped = True
        for cancelled in self._running.values():
            cancelled.set()
        for lane in self._lanes.values():
            lane.shutdown(wait=False, cancel_futures=True)
        ends = [asyncio.wrap_future(future) for future in self._futures.values() if not future.done()]
        if not ends:
            return True
        _, late = await asyncio.wait(ends, timeout=seconds)
        return not late

    def _work(self, job: int, spec: JobSpec, cancelled: threading.Event) -> None:
        """Do a job in its thread and hand its end to the loop."""
        started = time.monotonic()
        control = JobControl(is_cancelled=cancelled.is_set, sleep=_sleeper(cancelled), clock_us=_clock_us)
        end: Event
        try:
            end = JobDone(job, run_job(spec, self._world, control))
        except BaseException as error:  # whatever it is, the core must hear of it, and stops the node
            end = JobFailed(job, "".join(traceback.format_exception(error))[-4000:])
        seconds = time.monotonic() - started
        try:
            self._loop.call_soon_threadsafe(self._on_end, job, spec, end, seconds)
        except RuntimeError:  # the loop is closed: the node has stopped without waiting for this job
            if not self._is_stopped:
                raise

    def _on_end(self, job: int, spec: JobSpec, end: Event, seconds: float) -> None:
        del self._running[job], self._futures[job]
        self._metrics.jobs_running.set(len(self._running))
        kind = str(spec.__struct_config__.tag)
        result = str(end.result.__struct_config__.tag) if isinstance(end, JobDone) else "failed"
        self._metrics.job_seconds.labels(kind, result).observe(seconds)
        self._logger.debug("job ended", job=job, kind=kind, result=result, seconds=round(seconds, 4))
        if not self._is_stopped:
            self._deliver(end)


def _sleeper(cancelled: threading.Event) -> Callable[[float], None]:
    """Return a sleep that a cancellation ends."""

    def sleep(seconds: float) -> None:
        cancelled.wait(seconds)

    return sleep
