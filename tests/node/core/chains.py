"""A chain of many small blocks with transfers to many accounts, and nodes that have it already."""

from copy import copy
from dataclasses import replace as replace_world
from functools import cache
from random import Random

from msgspec.structs import replace

from chain.block import Block
from chain.genesis import Genesis
from chain.ids import AccountId, Hash
from chain.transaction import SignedTransaction
from node.core.config import CoreConfig
from node.world import World
from storage.memory import MemoryChainStore
from storage.staging import MemoryStaging
from tests.node.core.lonely import Lonely
from tests.node.core.mint import Mint
from tests.node.core.town import key_of, make_genesis, make_world

RICH = key_of(1)
INTERVAL = 20
"""Blocks between two states that are served."""
DEPTH = 10
"""Blocks below the tip that are final."""
SERVER = CoreConfig(snapshot_blocks=INTERVAL)


@cache
def shallow_genesis() -> Genesis:
    """A network whose blocks are final early."""
    genesis = make_genesis([RICH])
    return replace(genesis, engine=replace(genesis.engine, max_reorg=DEPTH))


def make_chain(length: int) -> tuple[Block, ...]:
    """Blocks on genesis, each with three transfers to accounts that nobody had heard of."""
    return _strike(length)[1]


def make_stale_branch(length: int, above: int, count: int) -> tuple[Block, ...]:
    """Empty blocks beside those of such a chain, the first at the height after ``above``."""
    mint, chain = _strike(length)
    parent, blocks = chain[above - 1].id, list[Block]()
    for _ in range(count):
        blocks.append(mint.block(parent, producer=key_of(7)))
        parent = blocks[-1].id
    return tuple(blocks)


@cache
def _strike(length: int) -> tuple[Mint, tuple[Block, ...]]:
    mint = Mint(shallow_genesis())
    draw = Random(1)
    blocks: list[Block] = []
    parent = mint.root
    for number in range(length):
        transfers: list[SignedTransaction] = []
        for each in range(3):
            to = AccountId(draw.randbytes(32))
            transfers.append(mint.transfer(RICH, to, 10 + number, 3 * number + each))
        blocks.append(mint.block(parent, transfers, producer=key_of(2)))
        parent = blocks[-1].id
    return mint, tuple(blocks)


@cache
def _executed_store(length: int) -> MemoryChainStore:
    holder = Lonely(shallow_genesis(), make_world(shallow_genesis(), key_of(99)), SERVER)
    holder.give(*make_chain(length))
    assert holder.head == make_chain(length)[-1].id
    assert isinstance(holder.world.store, MemoryChainStore)
    return holder.world.store


def make_holder(length: int, key: int) -> World:
    """A world whose store has executed such a chain."""
    store = MemoryChainStore.__new__(MemoryChainStore)
    for name, value in vars(_executed_store(length)).items():
        setattr(store, name, copy(value) if isinstance(value, dict | list) else value)
    store._staging = MemoryStaging()
    return replace_world(make_world(shallow_genesis(), key_of(key)), store=store)


def state_of(world: World) -> dict[bytes, bytes]:
    """Everything in a node's state, its tree among it."""
    return dict(world.store.state_items())


def executed(world: World, blocks: tuple[Block, ...]) -> list[Hash]:
    """Which of these blocks a node has executed itself."""
    return [block.id for block in blocks if world.store.undo(block.id) is not None]
