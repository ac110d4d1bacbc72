"""A machine: a disk that lasts, a clock that may be wrong, and a process that comes and goes.

The process is a real ``NodeCore`` over a real ``PeerNetwork``; its memory is lost when it ends. What it wants done is
done here, by the lines, the work and the schedule. Whoever watches hears of every event with its effects.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final, Protocol

from chain.genesis import Genesis, PosParameters
from chain.ids import Millis
from chain.keys import KeyPair
from consensus.engine import Engine
from consensus.engines import make_engine
from consensus.signatures import SignatureCache
from fl.data.sources import DataSource
from fl.privacy.randomness import SeededRandom
from node.core.base import Core
from node.core.config import CoreConfig
from node.core.core import NodeCore
from node.effects import (
    CancelJob,
    Close,
    Dial,
    Effect,
    Halt,
    Outcome,
    Publish,
    Reply,
    Send,
    StartJob,
    Wake,
)
from node.events import Event, Received, Sent, Shutdown, Started, Tick
from node.jobs.shelf import DataShelf
from node.signer import ValidatorSigner
from node.simulator.byzantine.mask import Mask
from node.simulator.disk import Disk, PowerCut
from node.simulator.lines import Lines
from node.simulator.memo import Memo
from node.simulator.schedule import Schedule, source
from node.simulator.work import Work
from node.world import HoldoutSource, World
from p2p.access import ChainAccess, NetworkConfig
from p2p.network import PeerNetwork

_MAX_INBOUND: Final = 64
_SMALL: Final = 40
"""Pings, pongs and the like are shorter: they leave nothing to be done with the next tick."""
_NOTHING_NEW: Final = 100
"""So short is what announces a transaction or two. If it leads to nothing they were known, or are asked for already."""


class Watcher(Protocol):
    """Who is told what happens on a machine."""

    def on_started(self, machine: "Machine") -> None:
        """A process has begun; it has not heard anything yet."""
        ...

    def on_step(self, machine: "Machine", event: Event, now: Millis, effects: list[Effect]) -> None:
        """The core has answered an event; nothing of it is carried out yet."""
        ...

    def on_fault(self, machine: "Machine", reason: str) -> None:
        """The core halted, or an exception came out of it. The process is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all machines of a world share. ``signatures`` and ``memo`` remember pure results: they change nothing."""

    seed: int
    genesis: Genesis
    engine: Engine
    schedule: Schedule
    lines: Lines
    signatures: SignatureCache
    memo: Memo | None
    tick_ms: int
    idle_ms: int
    outbound: int


@dataclass(frozen=True, slots=True)
class Character:
    """What a machine is for."""

    key: KeyPair
    config: CoreConfig
    known: tuple[str, ...]
    connect: tuple[str, ...]
    port: int
    hash_rate: float = 0.0
    data: DataSource | None = None
    holdout: HoldoutSource | None = None


@dataclass(slots=True)
class Clock:
    """A clock that is off by ``offset`` ms. What it showed it never takes back."""

    offset: int = 0
    shown: int = 0

    def read(self, true_time: int) -> Millis:
        """Return what it shows."""
        time = true_time + self.offset
        if time > self.shown:
            self.shown = time
        return Millis(self.shown)


@dataclass(slots=True)
class _Process:
    """One run of the program."""

    core: Core
    work: Work
    wakes: set[int] = field(default_factory=set)
    is_idle: bool = True
    beat: int = 0
    ticked_at: int = 0


class Machine:
    """One machine of a world. ``runs`` counts its processes; ``is_honest`` ones are held to every invariant."""

    has_chain = True

    def __init__(self, number: int, character: Character, disk: Disk, around: Surroundings, watcher: Watcher) -> None:
        self.number = number
        self.character = character
        self.disk = disk
        self.clock = Clock()
        self.mask: Mask | None = None
        self.runs = 0
        self.effects_left: int | None = None
        self.on_death: Callable[[], None] = lambda: None
        self._around = around
        self._watcher = watcher
        self._process: _Process | None = None
        self._random: Random = source(around.seed, "machine", number)
        self._requests = 0
        self._replies: dict[int, Callable[[Outcome], None]] = {}

    @property
    def is_honest(self) -> bool:
        """Does nothing stand between its core and the world?"""
        return self.mask is None

    @property
    def core(self) -> NodeCore | None:
        """The core of the process that runs; None if none does, or one without a chain."""
        core = None if self._process is None else self._process.core
        return core if isinstance(core, NodeCore) else None

    @property
    def run(self) -> int:
        """The number of the process that runs; 0 if none does."""
        return 0 if self._process is None else self.runs

    @property
    def is_running(self) -> bool:
        """Does a process run?"""
        return self._process is not None

    @property
    def jobs(self) -> int:
        """How many jobs run."""
        return 0 if self._process is None else len(self._process.work.running)

    # --- a process' life --------------------------------------------------------------------------

    def start(self) -> None:
        """Start a process on what the disk holds."""
        self.runs += 1
        around, character = self._around, self.character
        signer, engine = self._make_engine()
        world = World(
            genesis=around.genesis,
            engine=engine,
            store=self.disk.chain.reopen(),
            payloads=self.disk.payloads,
            journal=self.disk.journal,
            residuals=self.disk.residuals,
            shared_sets=self.disk.shared_sets,
            pledges=self.disk.pledges,
            key=character.key,
            random=Random(self.world_seed()),
            noise=SeededRandom(self.world_seed()),
            data=character.data,
            holdout=character.holdout,
            signer=signer,
            signatures=around.signatures,
            shelf=DataShelf(),
        )
        core = self._make_core(world)
        self._process = _Process(core, Work(world, self._random, character.hash_rate, around.memo))
        if self.mask is not None and isinstance(core, NodeCore):
            self.mask.started(core, world)
        self._watcher.on_started(self)
        self.deliver(Started())
        self._plan_tick(self._random.randrange(around.tick_ms))

    def _make_core(self, world: World) -> Core:
        return NodeCore(world, self.character.config, self._connect(world))

    def _make_engine(self) -> tuple[ValidatorSigner | None, Engine]:
        """Return the process' engine: one that knows sets and signs is its own, one that does not is shared."""
        around = self._around
        if not isinstance(around.genesis.engine, PosParameters):
            return None, around.engine
        signer = None
        if self.character.config.miner is not None:
            signer = ValidatorSigner(self.character.key, self.disk.signing.reopen())
        return signer, make_engine(around.genesis, signer, around.signatures)

    def world_seed(self) -> bytes:
        """Return what seeds the random numbers of this run's world (an event log's header names it)."""
        return f"{self._around.seed}/{self.number}/{self.runs}".encode()

    def network_config(self) -> NetworkConfig:
        """Return how this run's peer network is set up."""
        known = tuple(dict.fromkeys((*self.disk.addresses, *self.character.known)))
        character = self.character
        outbound = max(self._around.outbound, len(character.connect))
        return NetworkConfig(
            listen_port=character.port,
            known=known,
            connect=character.connect,
            outbound=outbound,
            max_inbound=_MAX_INBOUND,
        )

    def _connect(self, world: World) -> Callable[[ChainAccess], PeerNetwork]:
        config = self.network_config()
        return lambda chain: PeerNetwork(config, world.key, chain, world.random)

    def stop(self) -> None:
        """Stop the process in order."""
        if self._process is not None:
            self.deliver(Shutdown())
        if self._process is not None:
            self.disk.addresses = self._process.core.known_addresses()
            self.disk.payloads.write_back()
            self._end(silently=False)

    def die(self, *, silently: bool) -> None:
        """End the process at once."""
        if self._process is not None:
            self._end(silently=silently)

    def _end(self, *, silently: bool) -> None:
        self._process = None
        if self.mask is not None:
            self.mask.ended()
        self.effects_left = None
        self.disk.fuse.set(None)
        self._replies.clear()
        self._around.lines.drop(self.number, silently=silently)

    # --- what reaches the process -----------------------------------------------------------------

    def deliver(self, event: Event) -> None:
        """Give the core an event and do what it wants."""
        process = self._process
        if process is None:
            return
        now = self.clock.read(self._around.schedule.now)
        try:
            if self.mask is not None:
                heard = self.mask.hear(event, now)
                if heard is None:
                    return
                event = heard
            effects = process.core.handle(event, now)
            if self.mask is not None:
                effects = self.mask.do(effects)
        except PowerCut:
            self.on_death()
            return
        except Exception as error:
            self._end(silently=False)
            self._watcher.on_fault(self, f"{type(event).__name__}: {type(error).__name__}: {error}")
            return
        self._watcher.on_step(self, event, now, effects)
        send = self._around.lines.send
        for effect in effects:
            if self._process is not process:
                return
            if self.effects_left is not None:
                if self.effects_left <= 0:
                    self.on_death()
                    return
                self.effects_left -= 1
            if type(effect) is Send:  # as most
                send(effect.connection, effect.data)
            else:
                self._do(effect, process)
        if process.is_idle and _is_stirring(event, effects) and self._process is process:
            process.is_idle = False
            self._plan_tick(self._around.tick_ms)

    def ask(self, order: Callable[[int], Event], hear: Callable[[Outcome], None] = lambda outcome: None) -> None:
        """Give the process a user's order; ``hear`` gets the answer, unless the process dies before."""
        self._requests += 1
        self._replies[self._requests] = hear
        self.deliver(order(self._requests))

    def _plan_tick(self, delay: int) -> None:
        """Plan the next regular tick; the one planned before it is off."""
        process = self._process
        if process is not None:
            process.beat += 1
            self._around.schedule.after(delay, partial(self._tick, self.runs, process.beat))

    def _tick(self, run: int, beat: int) -> None:
        """Tick, if there may be something to do. The next one comes late, unless something happens before it."""
        process = self._process
        if process is None or self.run != run or process.beat != beat:
            return
        process.is_idle = True
        now, idle_ms = self._around.schedule.now, self._around.idle_ms
        left = process.ticked_at + idle_ms - now
        if left > 0 and not process.core.awaits_tick():
            self._plan_tick(left)
            return
        process.ticked_at = now
        self._plan_tick(idle_ms)
        self.deliver(Tick())

    def _wake(self, run: int, at: int) -> None:
        if self._process is not None and self.run == run:
            self._process.wakes.discard(at)
            self.deliver(Tick())

    def _end_job(self, run: int, job: int, span: int) -> None:
        if self._process is not None and self.run == run:
            event = self._process.work.end(job, span)
            if event is not None:
                self.deliver(event)

    # --- what the process wants -------------------------------------------------------------------

    def _do(self, effect: Effect, process: _Process) -> None:
        around = self._around
        match effect:
            case Publish():
                pass
            case Close(connection, _):
                around.lines.close(connection)
            case Dial(address):
                around.lines.dial(self.number, address)
            case StartJob(job, spec):
                span = process.work.start(job, spec)
                around.schedule.after(span, partial(self._end_job, self.runs, job, span))
            case CancelJob(job):
                process.work.cancel(job)
            case Reply(request, outcome):
                hear = self._replies.pop(request, None)
                if hear is not None:
                    hear(outcome)
            case Wake(at):
                if at not in process.wakes:
                    process.wakes.add(at)
                    around.schedule.after(max(0, at - self.clock.shown), partial(self._wake, self.runs, at))
            case Halt(reason):
                self._end(silently=False)
                self._watcher.on_fault(self, f"halted: {reason}")


def _is_stirring(event: Event, effects: list[Effect]) -> bool:
    """May there be something to do with the next tick, that should not wait for a rare one?"""
    if isinstance(event, Received):
        return len(event.data) > (_SMALL if effects else _NOTHING_NEW)
    return bool(effects) if isinstance(event, Tick | Sent) else True
