"""The core's driver: one event at a time goes in, and its effects are carried out in order.

The core has a thread of its own, so the event loop never waits for what a turn takes: a commit's or a journal's way to
the disk above all. The loop hands events over in the order they occur, and gets each one's effects when its turn is
over: what a turn wrote is on disk before anything of it leaves the process. Nobody else touches the core; who wants
to read it does so between two events (``look``). ``now`` never goes back nor stands still, whatever the machine's clock
does.

Rules of this file: nothing here raises into its callers. A fault of the core ends the run through ``on_fault``.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Final, Protocol, TypeVar, cast

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

T = TypeVar("T")
_STOPPING: Final = Refused("stopping", "the node is about to stop")
_TOLD: Final = (Publish, Reply, Halt)
_MOST_WAITING: Final = 64
"""Events that may wait for the core before nothing more is read from peers."""


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
        self._lock = Lock()

    def now(self) -> Millis:
        """Return the time. Threads may share the clock."""
        with self._lock:
            steady = self._steady_ns()
            self._now = max(self._wall_ns(), self._now + (steady - self._steady) // 2)
            self._steady = steady
            return Millis(self._now // 1_000_000)

    def ahead_ms(self) -> int:
        """Return how far the machine's clock was set back and has not caught up; 0 in quiet times."""
        return max(0, self._now - self._wall_ns()) // 1_000_000


@dataclass(frozen=True, slots=True)
class _Turn:
    """What came of an event: its effects, or the fault that ended the core."""

    event: Event
    now: Millis
    effects: list[Effect]
    fault: BaseException | None = None


class Runner:
    """Drives a core. Set ``jobs`` before the first event. Called from the event loop's thread alone.

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
        self._thread = ThreadPoolExecutor(1, "core")
        self._lock = Lock()
        self._waiting: deque[tuple[Event | Callable[[], None], float]] = deque()
        """Events and looks that wait for the core's thread, and since when. Under the lock, as is ``_is_busy``."""
        self._turns: deque[_Turn] = deque()
        """What the core's thread has handled and the loop has not carried out yet. Under the lock."""
        self._is_called = False
        """Was the loop told of them?"""
        self._is_busy = False
        self._has_tick = False
        self._has_ended = False
        self._is_closed = False
        self._is_over = False
        self._room = asyncio.Event()
        self._room.set()
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

    # --- what goes in --------------------------------------------------------------------------------

    def deliver(self, event: Event) -> None:
        """Let the core handle an event after those that wait. A tick that finds another one waiting is dropped."""
        if self._is_over:
            return
        if isinstance(event, Tick):
            if self._has_tick:
                return
            self._has_tick = True
        self._put(event)

    async def has_room(self) -> None:
        """Wait until few enough events wait for the core that a peer may bring another."""
        await self._room.wait()

    async def look(self, question: Callable[[], T]) -> T:
        """Return what ``question`` reads of the core, between two events; what it raises is raised here."""
        if self._is_closed:
            return question()
        answer: asyncio.Future[T] = self._loop.create_future()

        def ask() -> None:
            try:
                found = question()
            except BaseException as error:  # it is the asker's, whatever it is
                self._loop.call_soon_threadsafe(_settle, answer, error)
            else:
                self._loop.call_soon_threadsafe(_settle, answer, None, found)

        self._put(ask)
        return await answer

    def _put(self, item: Event | Callable[[], None]) -> None:
        with self._lock:
            self._waiting.append((item, time.perf_counter()))
            if len(self._waiting) >= _MOST_WAITING:
                self._room.clear()
            if self._is_busy:
                return
            self._is_busy = True
        self._thread.submit(self._work)

    # --- the core's thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        """Handle what waits until nothing does; once the core has ended, answer those alone who look."""
        while (item := self._next()) is not None:
            what, since = item
            if callable(what):
                what()
            elif not (self._has_ended or self._is_over):
                turn = self._handle(what, since)
                self._has_ended = turn.fault is not None or any(isinstance(effect, Halt) for effect in turn.effects)
                with self._lock:
                    self._turns.append(turn)
                    is_called, self._is_called = self._is_called, True
                if not is_called:  # who is called already carries this one out too
                    self._loop.call_soon_threadsafe(self._carry_out_turns)

    def _next(self) -> tuple[Event | Callable[[], None], float] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._is_busy = False
            return None

    def _handle(self, event: Event, since: float) -> _Turn:
        if isinstance(event, Tick):
            self._has_tick = False
        now, started = self._clock.now(), time.perf_counter()
        try:
            effects = self._core.handle(event, now)
            self._metrics.core_seconds.labels(event.__struct_config__.tag).observe(time.perf_counter() - started)
            self._metrics.core_wait_seconds.observe(started - since)
        except BaseException as error:  # told to the loop, which stops the node over it
            return _Turn(event, now, [], error)
        return _Turn(event, now, effects)

    # --- what comes out ------------------------------------------------------------------------------

    def _carry_out_turns(self) -> None:
        with self._lock:
            self._is_called = False
        while self._turns and not self._is_over:
            turn = self._turns.popleft()
            if turn.fault is not None:
                self._end(turn.fault)
                return
            try:
                if self._recorder is not None:
                    self._recorder.record(turn.event, turn.now, turn.effects)
                for effect in _in_order(turn.effects):
                    self._carry_out(effect, turn.now)
            except Exception as error:
                self._end(error)
        if len(self._waiting) < _MOST_WAITING:
            self._room.set()

    def _end(self, fault: BaseException) -> None:
        self._is_over = True
        self._room.set()
        self._on_fault(fault)

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
                self._wake(at)
            case Halt(reason):
                self._is_over = True
                self._room.set()
                self._on_halt(reason)

    def _job_runner(self) -> JobRunner:
        if self.jobs is None:
            raise RuntimeError("the runner was given no threads for jobs")
        return self.jobs

    def _wake(self, at: Millis) -> None:
        def ring() -> None:
            self._timers.discard(timer)
            self.deliver(Tick())

        timer = self._loop.call_later(max(0, at - self.now()) / 1000, ring)
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

    async def finish(self, last: Event) -> None:
        """Let the core handle this after all that waits, carry out what comes of it, and hear of nothing more.

        After a fault too the core rests when this returns: its stores can be closed.
        """
        self.deliver(last)
        await self.look(lambda: None)
        self.stop()

    def stop(self) -> None:
        """Hear of nothing more. Twice does no harm."""
        self._is_over = self._is_closed = True
        self._room.set()
        self._thread.shutdown(wait=False)
        for timer in self._timers:
            timer.cancel()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_result(_STOPPING)


def _in_order(effects: list[Effect]) -> list[Effect]:
    """Return the effects as they are carried out: first what peers and jobs wait for, then what is only told.

    A block is hundreds of notices. Within either half the order stays.
    """
    told = [effect for effect in effects if isinstance(effect, _TOLD)]
    return [effect for effect in effects if not isinstance(effect, _TOLD)] + told


def _settle(answer: asyncio.Future[T], error: BaseException | None, found: T | None = None) -> None:
    """Give an answer, unless nobody waits for it any more."""
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(cast(T, found))
