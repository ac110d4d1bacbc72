"""The core's driver: one event at a time goes in, and its effects are carried out in order.

Events are handled where they occur, on the event loop's thread; one that an effect causes waits until the
effects before it are done. ``now`` never goes back nor stands still, whatever the machine's clock does.

Rules of this file: nothing here raises into its callers. A fault of the core ends the run through ``on_fault``.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from chain.ids import Millis
from node.effects import (
    CancelJob,
    Close,
    Dial,
    Effect,
    Halt,
    Outcome,
    Publish,
    Refused,
    Reply,
    Send,
    StartJob,
    Wake,
)
from node.eventlog import EventRecorder, Handler
from node.events import Event, Tick
from node.jobs.specs import JobSpec
from node.metrics import Metrics

_STOPPING: Final = Refused("stopping", "the node is about to stop")


class Transport(Protocol):
    """What carries bytes (``node.service.links``)."""

    def dial(self, address: str) -> None:
        """Connect to HOST:PORT."""
        ...

    def send(self, connection: int, data: bytes) -> None:
        """Queue bytes for a connection."""
        ...

    def close(self, connection: int, reason: str) -> None:
        """Close a connection after what waits for it."""
        ...


class JobRunner(Protocol):
    """What runs jobs (``node.service.workers``)."""

    def start(self, job: int, spec: JobSpec) -> None:
        """Run a job."""
        ...

    def cancel(self, job: int) -> None:
        """Tell a job that it is not wanted any more."""
        ...


class Clock:
    """Milliseconds since the epoch that never go back, and never stand still.

    When the machine's clock was set back, time goes on at half its pace until that clock has caught up: were it to
    stand still, no answer would be late, nobody dialled again and no head announced until then.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._steady = steady_ns()
        self._now = wall_ns()

    def now(self) -> Millis:
        """Return the time."""
        steady = self._steady_ns()
        self._now = max(self._wall_ns(), self._now + (steady - self._steady) // 2)
        self._steady = steady
        return Millis(self._now // 1_000_000)

    def ahead_ms(self) -> int:
        """Return how far the machine's clock was set back and has not caught up; 0 in quiet times."""
        return max(0, self._now - self._wall_ns()) // 1_000_000


class Runner:
    """Drives a core. Set ``jobs`` before the first event.

    on_publish   is given each ``Publish`` with its time
    on_halt      the reason of a ``Halt``; on_fault an exception of the core. After either, events are dropped
    """

    def __init__(
        self,
        core: Handler,
        transport: Transport,
        metrics: Metrics,
        *,
        recorder: EventRecorder | None,
        on_publish: Callable[[Publish, Millis], None],
        on_halt: Callable[[str], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self._core = core
        self._transport = transport
        self._metrics = metrics
        self._recorder = recorder
        self._on_publish = on_publish
        self._on_halt = on_halt
        self._on_fault = on_fault
        self._loop = asyncio.get_running_loop()
        self._clock = Clock()
        self._events: deque[Event] = deque()
        self._is_busy = False
        self._is_over = False
        self._replies: dict[int, asyncio.Future[Outcome]] = {}
        self._next_request = 1
        self._timers: set[asyncio.TimerHandle] = set()
        self.jobs: JobRunner | None = None

    def now(self) -> Millis:
        """Return the present time as the core would be given it."""
        return self._clock.now()

    def ahead_ms(self) -> int:
        """Return how far the core's time is ahead of the machine's clock, because that was set back."""
        return self._clock.ahead_ms()

    def deliver(self, event: Event) -> None:
        """Let the core handle an event, now or after the one it is at."""
        self._events.append(event)
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._events and not self._is_over:
                self._handle(self._events.popleft())
        except Exception as error:
            self._is_over = True
            self._on_fault(error)
        finally:
            self._is_busy = False

    def _handle(self, event: Event) -> None:
        now = self._clock.now()
        started = time.perf_counter()
        effects = self._core.handle(event, now)
        self._metrics.core_seconds.labels(event.__struct_config__.tag).observe(time.perf_counter() - started)
        if self._recorder is not None:
            self._recorder.record(event, now, effects)
        for effect in effects:
            self._carry_out(effect, now)

    def _carry_out(self, effect: Effect, now: Millis) -> None:
        match effect:
            case Send(connection, data):
                self._transport.send(connection, data)
            case Close(connection, reason):
                self._transport.close(connection, reason)
            case Dial(address):
                self._transport.dial(address)
            case StartJob(job, spec):
                self._job_runner().start(job, spec)
            case CancelJob(job):
                self._job_runner().cancel(job)
            case Reply(request, outcome):
                self._resolve(request, outcome)
            case Publish():
                self._on_publish(effect, now)
            case Wake(at):
                self._wake(at, now)
            case Halt(reason):
                self._is_over = True
                self._on_halt(reason)

    def _job_runner(self) -> JobRunner:
        if self.jobs is None:
            raise RuntimeError("the runner was given no threads for jobs")
        return self.jobs

    def _wake(self, at: Millis, now: Millis) -> None:
        def ring() -> None:
            self._timers.discard(timer)
            self.deliver(Tick())

        timer = self._loop.call_later(max(0, at - now) / 1000, ring)
        self._timers.add(timer)

    # --- requests ------------------------------------------------------------------------------------

    async def ask(self, order: Callable[[int], Event]) -> Outcome:
        """Give the core a user's order and return its reply; ``Refused`` by rule "stopping" if the node stops first."""
        if self._is_over:
            return _STOPPING
        request = self._next_request
        self._next_request += 1
        reply: asyncio.Future[Outcome] = self._loop.create_future()
        self._replies[request] = reply
        try:
            self.deliver(order(request))
            return await reply
        finally:
            del self._replies[request]

    def _resolve(self, request: int, outcome: Outcome) -> None:
        reply = self._replies.get(request)
        if reply is not None and not reply.done():
            reply.set_result(outcome)

    def stop(self) -> None:
        """Hear of nothing more."""
        self._is_over = True
        for timer in self._timers:
            timer.cancel()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_result(_STOPPING)
