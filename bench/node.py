"""A node's core on a real disk without a network: blocks are made on its head and handed to it as from a peer.

Jobs run at once, on the calling thread, so that what is measured is the core, the ledger and the store.
"""

from pathlib import Path
from random import Random
from typing import cast

from msgspec.structs import replace

from bench.ledger import START, key_of, state_changes
from chain.block import Block
from chain.genesis import Genesis
from chain.genesis_default import default_genesis
from chain.ids import Millis
from consensus.engines import make_engine
from consensus.transition import fill, genesis_block, genesis_execution, make_header
from node.context import context_on
from node.core.config import CoreConfig
from node.core.core import NodeCore
from node.effects import Halt, StartJob
from node.events import Event, JobDone, Started
from node.jobs.control import JobControl
from node.jobs.run import run_job
from node.world import World
from p2p.access import NetworkConfig
from p2p.events import BodyArrived, HeadersArrived
from p2p.network import PeerNetwork
from storage.base import GenesisData
from storage.leveldb import LevelChainStore
from storage.lock import DirectoryLock
from storage.memorystores import MemoryPayloadStore, MemoryReleaseJournal
from storage.opening import open_chain_store

PEER = key_of("peer").account
CONTROL = JobControl(lambda: False, lambda seconds: None, lambda: 0)


def small_genesis(block_ms: int = 1000) -> Genesis:
    """Return a network whose blocks take one hash."""
    return default_genesis("bench-node", {}, time_ms=START, block_ms=block_ms, hashes_per_block=1)


def open_store(genesis: Genesis, directory: Path, lock: DirectoryLock) -> LevelChainStore:
    """Open or create the chain store of a network."""
    changes = state_changes(genesis_execution(genesis).delta)
    return open_chain_store(directory / "chain", lock, GenesisData(genesis.id, genesis_block(genesis), changes))


class LonelyNode:
    """A core over a LevelDB store."""

    def __init__(self, genesis: Genesis, store: LevelChainStore, config: CoreConfig | None = None) -> None:
        key = key_of("node")
        self.world = World(
            genesis, make_engine(genesis), store, MemoryPayloadStore(), MemoryReleaseJournal(), key, Random(1)
        )
        self.core = NodeCore(
            self.world,
            config or CoreConfig(),
            lambda chain: PeerNetwork(NetworkConfig(), key, chain, self.world.random),
        )
        self.now = Millis(START)
        self._handle(Started())

    def _handle(self, event: Event) -> None:
        """Hand in an event and do the jobs that come of it."""
        events = [event]
        while events:
            for effect in self.core.handle(events.pop(0), self.now):
                if isinstance(effect, StartJob):
                    events.append(JobDone(effect.job, run_job(effect.spec, self.world, CONTROL)))
                elif isinstance(effect, Halt):
                    raise RuntimeError(effect.reason)

    def give(self, *blocks: Block) -> None:
        """Hand in blocks as a peer does: their headers, then their bodies."""
        self._handle(cast(Event, HeadersArrived(PEER, tuple([block.header for block in blocks]))))
        for block in blocks:
            self._handle(cast(Event, BodyArrived(PEER, block.id, block.body)))
        self.core.network.unwant([block.id for block in blocks], self.now)  # it never saw them arrive

    def make_block(self) -> Block:
        """Return an empty block on the head, made a block interval later."""
        chain, engine = self.core.chain, self.world.engine
        self.now = Millis(max(self.now, chain.head.time_ms) + 1000)
        prepared = engine.prepare(chain.tree, chain.head_id, self.now)
        context = context_on(self.world, chain.head, prepared.time_ms, self.world.key.account)
        filling = fill(chain.view, context, (), (), self.world.payloads)
        header = make_header(context, chain.head_id, filling.body, filling.execution, prepared.engine)
        seal = engine.seal(header, lambda: False)
        if seal is None:
            raise RuntimeError("the search for a seal ended without one")
        return Block(replace(header, seal=seal), filling.body)

    def grow(self, count: int) -> None:
        """Make and import so many blocks, one by one."""
        for _ in range(count):
            block = self.make_block()
            self.give(block)
            if self.core.chain.head_id != block.id:
                raise RuntimeError(f"the core did not import block {block.header.height}")
