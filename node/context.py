"""Where a block stands: the transition's context, from the headers and the genesis document."""

from chain.block import Header
from chain.ids import AccountId, Height, Millis
from consensus.context import BlockContext, StakeContext
from consensus.staking.place import place_after
from node.world import World


def context_on(
    world: World, parent: Header, time_ms: Millis, producer: AccountId, stake: StakeContext | None = None
) -> BlockContext:
    """Return the context of a block on ``parent`` that carries this time and this producer.

    ``stake`` is its place among validators (``consensus.staking.place.place_of`` its header); without one it is the
    earliest that may follow the parent, which is right for pools and no more.
    """
    height = Height(parent.height + 1)
    return BlockContext(
        chain_id=world.genesis.chain_id,
        height=height,
        parent_time_ms=parent.time_ms,
        time_ms=time_ms,
        producer=producer,
        beacon=world.engine.beacon(parent),
        rules=world.genesis.rules_at(height),
        stake=stake or place_after(world.genesis, parent),
    )
