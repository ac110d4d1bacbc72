"""A chain with a plan of thousands of devices, and the cores of nodes that learn of it: one process, no sockets.

``found`` makes the blocks in which devices register and join, and ``release`` the updates of a phase: made-up values on
made-up supports, in the sizes of ``examples/authors``. ``Town`` joins cores by pipes, runs their jobs at once, and adds
up what each of them takes.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import thread_time_ns

import numpy as np
from msgspec.structs import replace

from bench.ledger import key_of
from chain.block import Block
from chain.codec import encode
from chain.genesis import Genesis, Rules
from chain.genesis_default import COIN, default_genesis, newest_rules
from chain.ids import Amount, Hash, Height, Millis
from chain.keys import KeyPair
from chain.payload import PayloadRef
from chain.transaction import Body, JoinPlan, RegisterDevice, SubmitPlan, Transaction
from chain.update import LocalUpdate, PrivacyCharge, Release
from consensus.context import BlockContext
from consensus.engines import make_engine
from consensus.fees import get_required_escrow
from consensus.headertree import HeaderTree
from consensus.transition import fill, genesis_block, genesis_execution, make_header
from consensus.undo import make_undo
from consensus.view import Delta, EmptyView
from fl.plan.parse import parse_plan
from fl.plan.schema import Plan, encode_plan, plan_id
from fl.support import write_support
from fl.task import Task
from fl.varints import pack_signed
from node.core.config import CoreConfig
from node.core.core import NodeCore
from node.effects import CancelJob, Close, Dial, Effect, Halt, Send, StartJob
from node.events import Connected, Event, JobDone, Received, Sent, Started, Tick
from node.jobs.control import JobControl
from node.jobs.run import run_job
from node.jobs.specs import BuildBlock, JobSpec, SealBlock
from node.world import World
from p2p.access import NetworkConfig
from p2p.identity import make_certificate
from p2p.network import PeerNetwork
from storage.base import ChainStore, CommitBatch, ConnectedBlock, GenesisData, PayloadStore
from storage.directory import DataDirectory
from storage.memory import MemoryChainStore
from storage.memorystores import MemoryPayloadStore, MemoryReleaseJournal

CHAIN_ID = "updates"
START = 1_700_000_000_000
BLOCK_MS = 2000
SAMPLES = 200
_PLAN = Path(__file__).parent.parent / "examples" / "authors" / "plan.toml"
_TEMPLATES = 200
_OWNER = key_of("owner")


def make_rules() -> Rules:
    """Return the rules of a network for many devices: no stamps, and room for a phase in a few blocks."""
    return replace(
        newest_rules(),
        stamp_bits=0,
        max_block_bytes=4 * 2**20,
        max_block_payload_bytes=128 * 2**20,
        max_block_work=10**12,
    )


def make_plan(devices: int) -> Plan:
    """Return the plan of ``examples/authors`` for so many devices, without attestations."""
    plan = parse_plan(_PLAN.read_text())
    participation = replace(
        plan.participation, min_devices=max(1, devices * 9 // 10), goal_devices=devices, max_devices=devices
    )
    return replace(plan, participation=participation, verification=replace(plan.verification, attestations=0))


@dataclass(slots=True)
class Founding:
    """A chain in memory whose last block opened a plan's first task."""

    genesis: Genesis
    plan: Plan
    keys: list[KeyPair]
    blocks: list[tuple[Block, CommitBatch]] = field(default_factory=list)
    state: dict[bytes, bytes] = field(default_factory=dict)

    def get(self, key: bytes, /) -> bytes | None:
        """Return a value of the state after the last block."""
        return self.state.get(key)

    def open_store(self, path: Path | None) -> tuple[ChainStore, PayloadStore]:
        """Return stores that have these blocks, on disk or in memory."""
        execution = genesis_execution(self.genesis)
        first = GenesisData(
            self.genesis.id, genesis_block(self.genesis), execution.delta.writes, encode(execution.events)
        )
        store: ChainStore
        payloads: PayloadStore
        if path is None:
            store, payloads = MemoryChainStore(first), MemoryPayloadStore()
        else:
            directory = DataDirectory.create(path, self.genesis)
            lock = directory.lock()
            store, payloads = directory.open_chain(lock, first), directory.open_payloads(lock)
        for block, batch in self.blocks:
            store.put_headers([block.header])
            store.put_body(block.id, block.body)
            store.commit(batch)
        return store, payloads


def found(devices: int) -> Founding:
    """Return a chain on which so many devices have joined a plan that is running."""
    genesis = default_genesis(
        CHAIN_ID,
        {_OWNER.account: 10**15, **{key_of(f"miner {n}").account: 100 * COIN for n in range(4)}},
        time_ms=START,
        block_ms=BLOCK_MS,
        hashes_per_block=1,
        rules=make_rules(),
    )
    plan = make_plan(devices)
    keys = [key_of(f"device {number}") for number in range(devices)]
    founding = Founding(genesis, plan, keys)
    founding.state = {key: value for key, value in genesis_execution(genesis).delta.writes.items() if value is not None}
    engine = make_engine(genesis)
    parent = genesis_block(genesis)
    tree = HeaderTree(engine, parent.header)
    escrow = get_required_escrow(plan, genesis.rules_at(1))
    assert escrow is not None
    bodies: list[tuple[KeyPair, int, Body]] = [
        (_OWNER, 0, SubmitPlan(encode_plan(plan), Amount(escrow))),
        *[(key, 0, RegisterDevice(0, 0)) for key in keys],
        *[(key, 1, JoinPlan(plan_id(plan), plan.roles[0].name, SAMPLES, Hash(key.account))) for key in keys],
    ]
    for begin in range(0, len(bodies), 5000):
        above = parent.header
        now = Millis(above.time_ms + BLOCK_MS)
        prepared = engine.prepare(tree, parent.id, now)
        context = BlockContext(
            chain_id=CHAIN_ID,
            height=Height(above.height + 1),
            parent_time_ms=above.time_ms,
            time_ms=prepared.time_ms,
            producer=_OWNER.account,
            beacon=engine.beacon(above),
            rules=genesis.rules_at(above.height + 1),
        )
        signed = [
            Transaction(1, CHAIN_ID, key.account, nonce, Amount(0 if key is not _OWNER else 10**7), body).sign(key)
            for key, nonce, body in bodies[begin : begin + 5000]
        ]
        filling = fill(founding, context, signed, (), EmptyView())
        assert len(filling.body.transactions) == len(signed), list(filling.rejected.values())[:1]
        header = make_header(context, parent.id, filling.body, filling.execution, prepared.engine)
        seal = engine.seal(header, lambda: False)
        assert seal is not None
        parent = Block(replace(header, seal=seal), filling.body)
        tree.accept(parent.header, now)
        execution = filling.execution
        _write(founding.state, execution.delta)
        connected = ConnectedBlock(
            id=parent.id,
            height=parent.header.height,
            undo=encode(make_undo(execution)),
            events=encode(execution.events),
            transactions=tuple([each.id for each in signed]),
        )
        founding.blocks.append((parent, CommitBatch(parent.id, execution.delta.writes, (connected,))))
    return founding


def _write(state: dict[bytes, bytes], delta: Delta) -> None:
    for key, new in delta.writes.items():
        if new is None:
            del state[key]
        else:
            state[key] = new


def make_payloads(plan: Plan, phase: int, count: int, seed: int = 1) -> list[bytes]:
    """Return as many payloads, all different: supports of some 1,700 of the features, as the authors' are."""
    random = np.random.default_rng(seed + phase)
    features = 20_001
    made: list[bytes] = []
    rests: list[int] = []
    """Where each template's last value begins."""
    for number in range(count):
        if number < _TEMPLATES:
            named = np.sort(random.choice(features, int(random.integers(900, 2500)), replace=False)).astype(np.int64)
            vector = random.integers(-(1 << 18), 1 << 18, named.size + 1).astype(np.int64)
            counts = random.integers(1, 40, named.size).astype(np.int64)
            made.append(
                write_support(named, vector, number + 1, counts) if phase == 0 else write_support(named, vector)
            )
            rests.append(len(made[-1]) - len(pack_signed(vector[-1:])))
        elif phase == 0:
            made.append(made[number % _TEMPLATES][:-8] + (number + 1).to_bytes(8, "little"))
        else:
            template = number % _TEMPLATES
            made.append(made[template][: rests[template]] + pack_signed(np.array([number - 5000])))
    return made


def release(founding: Founding, task: Task, payloads: Sequence[bytes]) -> list[LocalUpdate]:
    """Return the signed updates of the devices for a task."""
    return [
        Release(
            chain_id=CHAIN_ID,
            plan=Hash(task.plan),
            round=task.round,
            phase=task.phase,
            task=task.digest,
            device=key.account,
            samples=SAMPLES,
            computation_us=1000,
            privacy=PrivacyCharge("none", 0, 0),
            payload=PayloadRef.of(payload),
        ).sign(key)
        for key, payload in zip(founding.keys, payloads, strict=True)
    ]


class Node:
    """One core and its costs in nanoseconds of CPU time: by what it handled, and by what its jobs were."""

    def __init__(self, name: str, founding: Founding, config: CoreConfig, path: Path | None) -> None:
        self.name = name
        self.key = key_of(name)
        self.payloads: PayloadStore
        store, self.payloads = founding.open_store(path)
        self.world = World(
            genesis=founding.genesis,
            engine=make_engine(founding.genesis),
            store=store,
            payloads=self.payloads,
            journal=MemoryReleaseJournal(),
            key=self.key,
            random=Random(1),
        )
        settings = NetworkConfig(outbound=0, exchange_addresses=False)
        world = self.world
        self.core = NodeCore(world, config, lambda chain: PeerNetwork(settings, world.key, chain, world.random))
        self.cost: dict[str, int] = defaultdict(int)
        self.seals: dict[int, SealBlock] = {}
        self.received = 0
        self.offered = 0
        """Updates put before the jobs that build candidates, each time they were."""

    def spend(self, what: str, began: int) -> None:
        """Note what something took."""
        self.cost[what] += thread_time_ns() - began


class Town:
    """Cores joined by pipes. Time passes when it is told to; seals are found when they are asked for."""

    def __init__(self, nodes: Sequence[Node], now: int) -> None:
        self.nodes = nodes
        self.now = now
        self._events: deque[tuple[Node, Event]] = deque()
        self._pipes: dict[tuple[int, int], tuple[Node, int]] = {}
        for node in nodes:
            self.give(node, Started())
        self.run()

    def connect(self, first: int, second: int) -> None:
        """Join two nodes; the first is who dials."""
        client, server, number = self.nodes[first], self.nodes[second], len(self._pipes) + 1
        certificate = make_certificate(server.key.seed).der
        self._pipes[id(client), number] = (server, number)
        self._pipes[id(server), number] = (client, number)
        self.give(server, Connected(number, False, f"127.0.0.1:{10000 + number}", certificate))
        self.give(client, Connected(number, True, f"127.0.0.1:{20000 + number}", certificate))
        self.run()

    def give(self, node: Node, event: Event) -> None:
        """Let a node handle this after what waits."""
        self._events.append((node, event))

    def run(self) -> None:
        """Handle all that waits."""
        while self._events:
            node, event = self._events.popleft()
            self._handle(node, event)

    def tick(self, ms: int = 250) -> None:
        """Let time pass."""
        self.now += ms
        for node in self.nodes:
            self.give(node, Tick())
        self.run()

    def seal(self, node: Node) -> None:
        """Let a node find the seal of what it works on."""
        job, spec = next(iter(reversed(node.seals.items())))
        node.seals.clear()
        self._run_job(node, job, spec)
        self.run()

    def _handle(self, node: Node, event: Event) -> None:
        began = thread_time_ns()
        effects = node.core.handle(event, Millis(self.now))
        tag = str(event.__struct_config__.tag)
        if isinstance(event, JobDone):
            tag += " " + str(event.result.__struct_config__.tag)
        node.spend("core: " + tag, began)
        if isinstance(event, Received):
            node.received += len(event.data)
        self.take(node, effects)

    def take(self, node: Node, effects: Sequence[Effect]) -> None:
        """Carry out a node's effects."""
        for effect in effects:
            match effect:
                case Send(connection, data):
                    other, number = self._pipes[id(node), connection]
                    for begin in range(0, len(data), 1 << 16):
                        self.give(other, Received(number, data[begin : begin + (1 << 16)]))
                    self.give(node, Sent(connection, len(data)))
                case StartJob(job, spec):
                    if isinstance(spec, SealBlock):
                        node.seals[job] = spec
                    else:
                        self._run_job(node, job, spec)
                case CancelJob(job):
                    node.seals.pop(job, None)
                case Halt(reason):
                    raise RuntimeError(f"{node.name} halts: {reason}")
                case Close(_, reason):
                    raise RuntimeError(f"{node.name} closes: {reason}")
                case Dial():
                    raise RuntimeError("nobody dials here")
                case _:
                    pass

    def _run_job(self, node: Node, job: int, spec: JobSpec) -> None:
        control = JobControl(is_cancelled=lambda: False, sleep=lambda _: None, clock_us=lambda: 0)
        began = thread_time_ns()
        result = run_job(spec, node.world, control)
        node.spend("job: " + str(spec.__struct_config__.tag), began)
        if isinstance(spec, BuildBlock):
            node.offered += len(spec.updates)
        self.give(node, JobDone(job, result))
