"""A reorganisation a thousand blocks deep: in steps that are whole, and in memory that does not grow with its depth."""

import gc
import tracemalloc
from functools import cache

from chain.block import Block
from chain.genesis_default import default_genesis
from node.core.config import CoreConfig
from tests.node.core.lonely import Lonely
from tests.node.core.mint import Mint
from tests.node.core.town import START, key_of, make_rules

DEPTH = 1000
ALICE, BOB = key_of(1), key_of(2)
GENESIS = default_genesis(
    "deep",
    {ALICE.account: 10**12},
    time_ms=START,
    block_ms=1000,
    hashes_per_block=1,
    max_reorg=DEPTH,
    rules=make_rules(),
)


@cache
def branches() -> tuple[list[Block], list[Block]]:
    """A branch of a thousand blocks, and one that is two blocks longer and begins where it does."""
    mint = Mint(GENESIS)
    found: list[list[Block]] = []
    for producer, length in ((ALICE, DEPTH), (BOB, DEPTH + 2)):
        parent, blocks = mint.root, []
        for _ in range(length):
            blocks.append(mint.block(parent, producer=producer))
            if parent != mint.root:
                del mint.states[parent]
            parent = blocks[-1].id
        found.append(blocks)
    return found[0], found[1]


def reorganise(batch_blocks: int) -> tuple[Lonely, int]:
    """Let a core leave the short branch for the long one; return it and the bytes it took beyond what is kept."""
    short, long = branches()
    lonely = Lonely(GENESIS, config=CoreConfig(batch_blocks=batch_blocks, deep_blocks=batch_blocks))
    lonely.give(*short)
    assert lonely.head == short[-1].id
    lonely.headers(*long)
    for block in long[:-3]:  # not yet the heavier one
        lonely.body(block)
    lonely.settle()
    assert lonely.head == short[-1].id
    lonely.effects.clear()
    gc.collect()
    tracemalloc.start()
    for block in long[-3:]:
        lonely.body(block)
    lonely.settle()
    lonely.effects.clear()
    gc.collect()
    end, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lonely.head == long[-1].id
    return lonely, peak - end


def test_a_thousand_blocks_are_taken_back_in_little_memory() -> None:
    """Executed in batches the way takes a small part of the memory that it takes in one go; the state is the same."""
    in_batches, small = reorganise(batch_blocks=16)
    at_once, large = reorganise(batch_blocks=2 * DEPTH)
    assert small < large / 4, f"{small} bytes against {large}"
    states = [dict(lonely.world.store.state_items()) for lonely in (in_batches, at_once)]
    assert states[0] == states[1]


def test_an_operator_can_lift_the_limit() -> None:
    """A heavier branch that begins below the limit is left alone, until the node is started without a limit."""
    genesis = default_genesis(
        "lift",
        {ALICE.account: 10**12},
        time_ms=START,
        block_ms=1000,
        hashes_per_block=1,
        max_reorg=20,
        rules=make_rules(),
    )
    mint = Mint(genesis)
    found: list[list[Block]] = []
    for producer, length in ((ALICE, 150), (BOB, 155)):
        parent, blocks = mint.root, []
        for _ in range(length):
            blocks.append(mint.block(parent, producer=producer))
            parent = blocks[-1].id
        found.append(blocks)
    short, long = found
    bound = Lonely(genesis)
    bound.give(*short)
    bound.give(*long)
    assert bound.head == short[-1].id
    assert len(bound.core.chain.tree) < len(short)  # what is final is not held in memory
    free = Lonely(genesis, bound.world, CoreConfig(has_reorg_limit=False))
    assert free.head == short[-1].id
    free.give(*long)
    assert free.head == long[-1].id
