"""The runner and its threads: effects in order, jobs that end exactly once, faults that end the run."""

import asyncio
import io
import os
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from chain.ids import Hash, Millis
from consensus.first import genesis_block
from node.config import LogSettings
from node.effects import (
    Accepted,
    CancelJob,
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
from node.events import Closed, Event, JobDone, JobFailed, Received, Started, SubmitTransaction, Tick
from node.jobs.control import JobControl
from node.jobs.results import Cancelled, StampFound
from node.jobs.specs import ExecuteBranch, FindStamp, JobSpec, SealBlock
from node.logs import NodeLog
from node.metrics import Metrics
from node.notices import PeerJoined
from node.service.runner import Clock, Runner
from node.service.workers import Workers
from tests.node.service.houses import RICH, make_genesis, until

SPEC = FindStamp("house", RICH.account, 1)
BRANCH = ExecuteBranch(Hash(bytes(32)), (), ())


class Core:
    """Answers each event with what ``answer`` says, and remembers it."""

    def __init__(self, answer: Callable[[Event], list[Effect]]) -> None:
        self.seen: list[tuple[Event, Millis]] = []
        self.threads: set[str] = set()
        self._answer = answer

    def handle(self, event: Event, now: Millis) -> list[Effect]:
        self.seen.append((event, now))
        self.threads.add(threading.current_thread().name)
        return self._answer(event)

    def events(self) -> list[Event]:
        return [event for event, _ in self.seen]


class Hands:
    """A transport and a job runner that note what is asked of them; ``on_send`` is called in the middle of it."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.on_send: Callable[[], None] = lambda: None

    def dial(self, address: str) -> None:
        self.done.append(("dial", address))

    def send(self, connection: int, data: bytes) -> None:
        self.on_send()
        self.done.append(("send", connection))

    def close(self, connection: int, reason: str) -> None:
        self.done.append(("close", connection))

    def start(self, job: int, spec: JobSpec) -> None:
        self.done.append(("start", job))

    def cancel(self, job: int) -> None:
        self.done.append(("cancel", job))


class Desk:
    """A runner over a core and hands, with what it told."""

    def __init__(self, answer: Callable[[Event], list[Effect]]) -> None:
        self.core, self.hands = Core(answer), Hands()
        self.published: list[Publish] = []
        self.halts: list[str] = []
        self.faults: list[BaseException] = []
        self.runner = Runner(
            self.core,
            self.hands,
            Metrics("0", "house", "00"),
            recorder=None,
            on_publish=lambda publish, _: self.published.append(publish),
            on_halt=self.halts.append,
            on_fault=self.faults.append,
        )
        self.runner.jobs = self.hands

    async def rest(self) -> None:
        """Come back when everything is handled and carried out, what that led to included."""
        while self.runner._waiting or self.runner._turns or self.runner._is_busy:
            await self.runner.look(lambda: None)
            await asyncio.sleep(0)


async def test_what_is_only_told_does_not_keep_peers_waiting():
    """A block's hundreds of notices stand before the message that passes it on, and are told after it left."""
    told = [Publish("peers", PeerJoined(bytes([number]))) for number in range(3)]
    desk = Desk(lambda event: [*told[:2], Send(1, b"x"), told[2]])
    left: list[int] = []
    desk.hands.on_send = lambda: left.append(len(desk.published))
    desk.runner.deliver(Started())
    await desk.rest()
    assert left == [0]
    assert desk.published == told


async def test_effects_are_carried_out_in_order_and_events_wait_for_them():
    """What an effect causes is handled after the effects beside it, not in their midst."""
    first: list[Effect] = [
        Send(1, b"x"),
        Dial("a:1"),
        StartJob(7, SPEC),
        CancelJob(7),
        Publish("peers", PeerJoined(b"")),
    ]
    desk = Desk(lambda event: first if isinstance(event, Started) else [Dial("late:1")])
    desk.hands.on_send = lambda: desk.runner.deliver(Closed(1, "gone"))
    desk.runner.deliver(Started())
    await desk.rest()
    assert desk.hands.done == [("send", 1), ("dial", "a:1"), ("start", 7), ("cancel", 7), ("dial", "late:1")]
    assert desk.published == [first[-1]]
    assert desk.core.events() == [Started(), Closed(1, "gone")]


async def test_a_wake_brings_a_tick_when_its_time_has_come():
    """Not before; and a time that has passed comes at once."""
    desk = Desk(lambda event: [])
    runner = desk.runner
    desk.core._answer = lambda event: [Wake(Millis(runner.now() + 500)), Wake(Millis(0))] if event == Started() else []
    began = runner.now()
    runner.deliver(Started())
    await until(lambda: len(desk.core.seen) == 3)
    assert desk.core.events()[1:] == [Tick(), Tick()]
    assert desk.core.seen[1][1] < began + 500 <= desk.core.seen[2][1]


async def test_an_order_is_answered_by_its_own_reply():
    """Two at once, answered in the other order."""
    waiting: list[Event] = []

    def answer(event: Event) -> list[Effect]:
        if isinstance(event, SubmitTransaction):
            waiting.append(event)
            return []
        return [Reply(event.request, Accepted(Hash(bytes([event.request]) * 32))) for event in reversed(waiting)]

    desk = Desk(answer)

    def order(request: int) -> Event:
        return SubmitTransaction(request, None)  # type: ignore[arg-type]

    first, second = (asyncio.create_task(desk.runner.ask(order)) for _ in range(2))
    await until(lambda: len(waiting) == 2)
    desk.runner.deliver(Tick())
    assert (await first, await second) == (Accepted(b"\x01" * 32), Accepted(b"\x02" * 32))


async def test_orders_of_a_node_that_stops_are_refused():
    """Those under way and those that come later: nobody waits for ever."""
    desk = Desk(lambda event: [])
    waiting = asyncio.create_task(desk.runner.ask(lambda request: Tick()))
    await asyncio.sleep(0)
    await desk.rest()
    desk.runner.stop()
    outcomes: list[Outcome] = [await waiting, await desk.runner.ask(lambda request: Tick())]
    assert all(isinstance(outcome, Refused) and outcome.rule == "stopping" for outcome in outcomes)
    assert len(desk.core.seen) == 1


async def test_after_a_halt_nothing_is_heard():
    """The reason is told once; what is told afterwards is dropped."""
    desk = Desk(lambda event: [Halt("a bug")])
    desk.runner.deliver(Started())
    desk.runner.deliver(Tick())
    await desk.rest()
    assert desk.halts == ["a bug"]
    assert desk.core.events() == [Started()]


async def test_a_fault_of_the_core_is_told_and_not_raised():
    """Whoever delivered the event goes on; the core hears nothing more."""

    def fail(event: Event) -> list[Effect]:
        raise OSError("disk")

    desk = Desk(fail)
    desk.runner.deliver(Started())
    desk.runner.deliver(Tick())
    await desk.rest()
    assert [str(fault) for fault in desk.faults] == ["disk"]
    assert desk.core.events() == [Started()]


async def test_the_loop_goes_on_while_the_core_works():
    """A turn that waits for a disk: meanwhile timers come in time, and nothing of the turn leaves before its end."""
    on_disk = threading.Event()

    def answer(event: Event) -> list[Effect]:
        on_disk.wait(10)
        return [Send(1, b"signed")]

    desk = Desk(answer)
    desk.runner.deliver(Started())
    began = time.monotonic()
    await asyncio.sleep(0.05)
    assert time.monotonic() - began < 5, "the loop waited for the core"
    assert desk.hands.done == []
    on_disk.set()
    await desk.rest()
    assert desk.hands.done == [("send", 1)]
    assert desk.core.threads == {"core_0"}


async def test_events_are_handled_in_the_order_they_came_and_their_effects_too():
    """Many at once, while the core is at work; none is handled beside another."""
    inside: list[int] = []

    def answer(event: Event) -> list[Effect]:
        inside.append(1)
        assert len(inside) == 1
        time.sleep(0.001)
        inside.pop()
        return [Send(event.connection, b"")]

    desk = Desk(answer)
    for number in range(50):
        desk.runner.deliver(Received(number, b"x"))
    await desk.rest()
    assert [event.connection for event in desk.core.events()] == list(range(50))
    assert desk.hands.done == [("send", number) for number in range(50)]


def _wait_for(moment: threading.Event) -> list[Effect]:
    moment.wait(10)
    return []


async def test_peers_wait_when_much_waits_for_the_core():
    """Nothing more is read from them then, so what they send piles up with them; afterwards they go on."""
    go_on = threading.Event()
    desk = Desk(lambda event: _wait_for(go_on))
    for number in range(100):
        desk.runner.deliver(Received(number, b"x"))
    waiting = asyncio.create_task(desk.runner.has_room())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    go_on.set()
    await asyncio.wait_for(waiting, 10)
    await desk.rest()
    assert len(desk.core.seen) == 100
    await asyncio.wait_for(desk.runner.has_room(), 10)


async def test_ticks_do_not_pile_up():
    """One tick that waits is enough: it is given the time at which it is handled."""
    go_on = threading.Event()
    desk = Desk(lambda event: _wait_for(go_on))
    desk.runner.deliver(Started())
    for _ in range(20):
        desk.runner.deliver(Tick())
    go_on.set()
    await desk.rest()
    assert desk.core.events() == [Started(), Tick()]


async def test_a_look_comes_between_two_events():
    """It sees the core after what came before it, and none of a turn half done; its own fault is its asker's."""
    state: list[int] = []

    def answer(event: Event) -> list[Effect]:
        state.append(0)
        time.sleep(0.005)
        state.append(1)
        return []

    desk = Desk(answer)
    for number in range(3):
        desk.runner.deliver(Received(number, b"x"))
    assert await desk.runner.look(lambda: tuple(state)) == (0, 1) * 3
    with pytest.raises(ZeroDivisionError):
        await desk.runner.look(lambda: 1 // 0)
    desk.runner.deliver(Received(9, b"x"))
    await desk.rest()
    assert len(desk.core.seen) == 4
    assert desk.faults == []


async def test_the_last_event_is_handled_and_carried_out_before_the_end():
    """Whoever stops the node knows then that the core rests; a look still answers, an event is not heard any more."""
    desk = Desk(lambda event: [Send(1, b"bye")])
    for number in range(5):
        desk.runner.deliver(Received(number, b"x"))
    await desk.runner.finish(Tick())
    assert len(desk.hands.done) == 6
    desk.runner.deliver(Received(7, b"x"))
    assert await desk.runner.look(lambda: len(desk.core.seen)) == 6
    await desk.rest()
    assert len(desk.core.seen) == 6


async def test_after_a_fault_the_core_rests_before_anything_is_closed():
    """What carries out effects fails while the core is at its next turn already: the end waits for that turn."""
    began, go_on = threading.Event(), threading.Event()
    left: list[float] = []

    def answer(event: Event) -> list[Effect]:
        if event == Started():
            return [Send(1, b"x")]
        began.set()
        go_on.wait(10)
        left.append(time.monotonic())
        return []

    def fail() -> None:
        began.wait(10)
        raise OSError("no socket")

    desk = Desk(answer)
    desk.hands.on_send = fail
    desk.runner.deliver(Started())
    desk.runner.deliver(Received(1, b"x"))
    await until(lambda: bool(desk.faults))
    ending = asyncio.create_task(desk.runner.finish(Tick()))
    await asyncio.sleep(0.02)
    assert not ending.done()
    go_on.set()
    await asyncio.wait_for(ending, 10)
    assert left
    assert left[0] <= time.monotonic()
    assert desk.core.events() == [Started(), Received(1, b"x")]


def test_the_clock_neither_goes_back_nor_stands_still():
    """A machine's clock that is set back an hour: time goes on at half pace until it has caught up, then with it."""
    wall, steady = 5_000_000, 0
    clock = Clock(lambda: wall * 1_000_000, lambda: steady * 1_000_000)
    assert clock.now() == wall
    wall -= 3_600_000
    assert clock.now() == 5_000_000
    told = [clock.now()]
    for _ in range(7_200):
        wall, steady = wall + 1000, steady + 1000
        told.append(clock.now())
    assert {later - sooner for sooner, later in pairwise(told)} == {500}
    assert told[-1] == wall, "after twice the hour"
    wall, steady = wall + 1000, steady + 1000
    assert (clock.now(), clock.ahead_ms()) == (wall, 0)


# --- jobs ------------------------------------------------------------------------------------------


class Shop:
    """Workers whose jobs do what ``work`` says; ``ends`` has what the core was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, work: Callable[[JobSpec, JobControl], object]) -> None:
        self.ends: list[Event] = []
        self.threads: set[int] = set()
        self.log = NodeLog(LogSettings(), None, io.StringIO())
        monkeypatch.setattr("node.service.workers.run_job", lambda spec, _, control: work(spec, control))
        self.workers = Workers(None, self._on_end, 1, Metrics("0", "h", "00"), self.log.logger)  # type: ignore[arg-type]

    def _on_end(self, end: Event) -> None:
        self.threads.add(threading.get_ident())
        self.ends.append(end)


async def test_a_job_ends_once_on_the_loops_thread(monkeypatch):
    """With its result, or with the error it died of."""

    def work(spec: JobSpec, control: JobControl) -> object:
        if spec is BRANCH:
            raise MemoryError("none left")
        return StampFound(5)

    shop = Shop(monkeypatch, work)
    shop.workers.start(1, SPEC)
    shop.workers.start(2, BRANCH)
    await until(lambda: len(shop.ends) == 2)
    done, failed = sorted(shop.ends, key=lambda end: end.job)
    assert done == JobDone(1, StampFound(5))
    assert isinstance(failed, JobFailed)
    assert "MemoryError: none left" in failed.error
    assert shop.threads == {threading.get_ident()}
    assert await shop.workers.stop(1)
    shop.log.close()


async def test_a_long_training_does_not_stand_before_a_block(monkeypatch):
    """Lanes: the block is executed while the other job still runs; a cancelled job wakes from its sleep."""

    def work(spec: JobSpec, control: JobControl) -> object:
        while spec is SPEC and not control.is_cancelled():
            control.sleep(60)
        return Cancelled()

    shop = Shop(monkeypatch, work)
    shop.workers.start(1, SPEC)
    shop.workers.start(2, BRANCH)
    await until(lambda: [end.job for end in shop.ends] == [2])
    shop.workers.cancel(1)
    await until(lambda: len(shop.ends) == 2)
    assert await shop.workers.stop(1)
    shop.log.close()


async def test_a_stop_does_not_wait_for_a_job_that_hears_nothing(monkeypatch):
    """It says that a thread is left, in the time given; what waited behind it never begins, and no end is told."""
    release = threading.Event()
    begun: list[JobSpec] = []

    def work(spec: JobSpec, control: JobControl) -> object:
        begun.append(spec)
        release.wait(20)
        return Cancelled()

    shop = Shop(monkeypatch, work)
    shop.workers.start(1, SPEC)
    shop.workers.start(2, SPEC)
    await until(lambda: len(begun) == 1)
    started = time.monotonic()
    assert not await shop.workers.stop(0.2)
    assert time.monotonic() - started < 10, "the job hears nothing for 20 s"
    release.set()
    await asyncio.sleep(0.1)
    assert shop.ends == []
    assert len(begun) == 1
    shop.log.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
async def test_what_can_wait_gives_way(monkeypatch):
    """The search for seals and training go behind what executes blocks; none goes before what it was started behind."""
    found: dict[type, int] = {}

    def work(spec: JobSpec, control: JobControl) -> object:
        found[type(spec)] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return Cancelled()

    shop = Shop(monkeypatch, work)
    seal = SealBlock(genesis_block(make_genesis("priorities")).header, 0)
    for number, spec in enumerate((BRANCH, SPEC, seal)):
        shop.workers.start(number, spec)
    await until(lambda: len(found) == 3)
    assert await shop.workers.stop(1)
    shop.log.close()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert found == {ExecuteBranch: own, FindStamp: max(own, 5), SealBlock: max(own, 10)}
