"""A town: a few cores in one process and in virtual time, joined by pipes that lose nothing.

Small and plain on purpose; ``node.simulator`` is the one with faults. Jobs run inline, at the virtual moment their
end is due. A seal is found at once, whatever it took, after a drawn delay.
"""

import heapq
from collections.abc import Callable, Sequence
from random import Random

from chain.codec import encode
from chain.genesis import Genesis
from chain.genesis_default import default_genesis
from chain.ids import AccountId, Millis
from chain.keys import KeyPair
from consensus.engines import make_engine
from consensus.transition import genesis_block, genesis_execution
from fl.data.sources import DataSource
from fl.dataset import Dataset
from fl.plan.schema import Role
from node.core.config import CoreConfig, DeviceConfig, MinerConfig
from node.core.core import NodeCore
from node.effects import CancelJob, Close, Dial, Effect, Halt, Publish, Reply, Send, StartJob, Wake
from node.events import Closed, Connected, DialFailed, Event, JobDone, JobFailed, Received, Sent, Started, Tick
from node.jobs.control import JobControl
from node.jobs.run import run_job
from node.jobs.specs import JobSpec, SealBlock, TrainTask
from node.notices import Notice
from node.world import HoldoutSource, World
from p2p.access import NetworkConfig
from p2p.identity import make_certificate
from p2p.network import PeerNetwork
from storage.base import GenesisData
from storage.memory import MemoryChainStore
from storage.memorystores import MemoryPayloadStore, MemoryReleaseJournal
from tests.consensus.harness import make_rules
from tests.node.core.quiet import QuietNetwork

START = Millis(1_700_000_000_000)
BLOCK_MS = 1_000
TICK_MS = 250
LATENCY_MS = 5
JOB_MS = 10
STOPPED = "stopped by the test"


class Rows:
    """A device's data, made of the harness' own rows."""

    def __init__(self, data: Dataset) -> None:
        self.data = data

    @property
    def name(self) -> str:
        return "rows"

    def load(self, role: Role) -> Dataset:
        return self.data


def key_of(number: int) -> KeyPair:
    """The key of person ``number`` in town."""
    return KeyPair(number.to_bytes(2, "big") * 16)


def make_genesis(rich: Sequence[KeyPair]) -> Genesis:
    """Coins for these, one-second blocks, and a difficulty that any machine meets at once."""
    wealth: dict[AccountId, int] = {key.account: 10**12 for key in rich}
    return default_genesis("town", wealth, time_ms=START, block_ms=BLOCK_MS, hashes_per_block=1, rules=make_rules())


def make_world(
    genesis: Genesis, key: KeyPair, *, data: DataSource | None = None, holdout: HoldoutSource | None = None
) -> World:
    """A world in memory."""
    execution = genesis_execution(genesis)
    changes = execution.delta.writes
    first = GenesisData(genesis.id, genesis_block(genesis), changes, encode(execution.events))
    return World(
        genesis=genesis,
        engine=make_engine(genesis),
        store=MemoryChainStore(first),
        payloads=MemoryPayloadStore(),
        journal=MemoryReleaseJournal(),
        key=key,
        random=Random(key.account),
        data=data,
        holdout=holdout,
    )


def make_core(world: World, config: CoreConfig, network: NetworkConfig | None = None) -> NodeCore:
    """A core with the real peer network."""
    settings = network or NetworkConfig()
    return NodeCore(world, config, lambda chain: PeerNetwork(settings, world.key, chain, world.random))


MINER = CoreConfig(miner=MinerConfig())
DEVICE = CoreConfig(device=DeviceConfig(consent=True, any_plan=True))
PLAIN = CoreConfig()


class House:
    """One core in town, and what it said."""

    def __init__(self, core: NodeCore, address: str, network: NetworkConfig) -> None:
        self.core = core
        self.network = network
        self.address = address
        self.notices: list[Notice] = []
        self.replies: list[Reply] = []
        self.halted: str | None = None
        self.running: dict[int, JobSpec] = {}
        self.log: list[tuple[Millis, Event, list[Effect]]] = []


class Town:
    """Cores, the pipes between them, and the clock."""

    def __init__(self, genesis: Genesis, seed: int = 1) -> None:
        self.genesis = genesis
        self.now = Millis(START + BLOCK_MS)
        self.random = Random(seed)
        self.houses: list[House] = []
        self._queue: list[tuple[Millis, int, Callable[[], None]]] = []
        self._order = 0
        self._connections = 0
        self._pipes: dict[tuple[int, int], tuple[int, int]] = {}

    # --- who lives here ---

    def add(self, world: World, config: CoreConfig, connect: Sequence[int] = (), *, quiet: bool = False) -> House:
        """Build a house; ``connect`` names houses it keeps in touch with, ``quiet`` gives it no network."""
        number = len(self.houses)
        addresses = tuple(f"127.0.0.1:{7000 + other}" for other in connect)
        network = NetworkConfig(connect=addresses, listen_port=7000 + number, outbound=0, exchange_addresses=False)
        core = NodeCore(world, config, lambda chain: QuietNetwork()) if quiet else make_core(world, config, network)
        house = House(core, f"127.0.0.1:{7000 + number}", network)
        self.houses.append(house)
        self.at(0, lambda: self.send(number, Started()))
        self.at(TICK_MS, lambda: self._tick(number))
        return house

    def restart(self, number: int, config: CoreConfig) -> None:
        """Kill a core and start another on what its disk holds."""
        old = self.houses[number]
        self.stop(number)
        addresses = tuple(house.address for house in self.houses if house is not old)
        network = NetworkConfig(connect=addresses, listen_port=7000 + number, outbound=0, exchange_addresses=False)
        old.core = make_core(old.core.world, config, network)
        old.halted = None
        self.send(number, Started())

    def stop(self, number: int) -> None:
        """Kill a core: its pipes break, its jobs are gone, it hears nothing any more."""
        for (house, connection), (other, mirror) in list(self._pipes.items()):
            if house == number:
                self._cut(house, connection, other, mirror)
        self.houses[number].running.clear()
        self.houses[number].halted = STOPPED

    # --- time ---

    def at(self, delay: int, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, (Millis(self.now + delay), self._order, action))

    def _tick(self, number: int) -> None:
        self.send(number, Tick())
        self.at(TICK_MS, lambda: self._tick(number))

    def run(self, until: Callable[[], bool], seconds: int) -> bool:
        """Let time pass until something holds; did it, within so many virtual seconds?"""
        end = self.now + 1000 * seconds
        while self._queue and self._queue[0][0] <= end:
            if until():
                return True
            self.now, _, action = heapq.heappop(self._queue)
            action()
        return until()

    # --- what happens ---

    def send(self, number: int, event: Event) -> None:
        house = self.houses[number]
        if house.halted is None:
            effects = house.core.handle(event, self.now)
            house.log.append((self.now, event, effects))
            for effect in effects:
                self._do(number, house, effect)

    def _do(self, number: int, house: House, effect: Effect) -> None:
        match effect:
            case Send(connection, data):
                self._pass_on(number, connection, data)
            case Close(connection, reason):
                if (number, connection) in self._pipes:
                    self._cut(number, connection, *self._pipes[number, connection])
            case Dial(address):
                self.at(LATENCY_MS, lambda: self._connect(number, address))
            case StartJob(job, spec):
                house.running[job] = spec
                core = house.core
                self.at(self._duration(spec), lambda: self._end_job(number, core, job))
            case CancelJob(job):
                house.running.pop(job, None)
            case Publish(_, notice):
                house.notices.append(notice)
            case Reply():
                house.replies.append(effect)
            case Wake(at):
                self.at(max(0, at - self.now), lambda: self.send(number, Tick()))
            case Halt(reason):
                house.halted = reason

    def _duration(self, spec: JobSpec) -> int:
        miners = sum(house.core.config.miner is not None for house in self.houses)
        if isinstance(spec, SealBlock):
            return int(self.random.expovariate(1 / (BLOCK_MS * miners)))
        return 300 if isinstance(spec, TrainTask) else JOB_MS

    def _end_job(self, number: int, core: NodeCore, job: int) -> None:
        house = self.houses[number]
        spec = house.running.pop(job, None)
        if spec is None or house.core is not core:
            return
        control = JobControl(lambda: False, lambda seconds: None, iter(range(0, 10**9, 5_000)).__next__)
        try:
            result = run_job(spec, core.world, control)
        except Exception as error:  # what the runner reports as a job that died
            self.send(number, JobFailed(job, repr(error)))
        else:
            self.send(number, JobDone(job, result))

    # --- pipes ---

    def _connect(self, number: int, address: str) -> None:
        other = next(index for index, house in enumerate(self.houses) if house.address == address)
        if self.houses[other].halted is not None:
            self.send(number, DialFailed(address, "nobody listens"))
            return
        self._connections += 2
        mine, theirs = self._connections, self._connections + 1
        self._pipes[number, mine] = other, theirs
        self._pipes[other, theirs] = number, mine
        der = make_certificate(self.houses[other].core.world.key.seed).der
        self.send(number, Connected(mine, True, address, der))
        self.send(other, Connected(theirs, False, self.houses[number].address, der))

    def _pass_on(self, number: int, connection: int, data: bytes) -> None:
        end = self._pipes.get((number, connection))
        if end is None:
            return
        self.at(0, lambda: self._if_open(number, connection, Sent(connection, len(data))))
        self.at(LATENCY_MS, lambda: self._if_open(end[0], end[1], Received(end[1], data)))

    def _if_open(self, number: int, connection: int, event: Event) -> None:
        if (number, connection) in self._pipes:
            self.send(number, event)

    def _cut(self, number: int, connection: int, other: int, mirror: int) -> None:
        """Cut a pipe; what was on its way still arrives before the other end hears of it."""
        self._pipes.pop((number, connection), None)
        self.at(2 * LATENCY_MS, lambda: self._hang_up(other, mirror))

    def _hang_up(self, number: int, connection: int) -> None:
        if self._pipes.pop((number, connection), None) is not None:
            self.send(number, Closed(connection, "the other end closed"))

    def heads(self) -> set[bytes]:
        """The heads of the houses that run."""
        return {house.core.chain.head_id for house in self.houses if house.halted is None}
