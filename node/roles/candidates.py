"""Asking for a block to be built: what every role that makes blocks puts into them."""

from chain.ids import Hash
from consensus.engine import Prepared
from node.core.turn import Turn
from node.jobs.results import BlockBuilt
from node.jobs.specs import BuildBlock
from node.roles.base import Surroundings


def start_build(around: Surroundings, parent: Hash, prepared: Prepared, turn: Turn) -> int:
    """Start the job that builds a block on ``parent`` from what waits in the pools; return its number."""
    chain = around.chain
    undo, apply = chain.tree.path(chain.head_id, parent)
    return turn.start(
        BuildBlock(
            parent=parent,
            producer=around.account,
            time_ms=prepared.time_ms,
            engine=prepared.engine,
            pool=around.mempool.snapshot(),
            updates=around.updates.verified(),
            undo=undo,
            apply=apply,
        )
    )


def forget_hopeless(around: Surroundings, spec: BuildBlock, result: BlockBuilt) -> None:
    """Drop from the pools what can never be included; a verdict beside the head's chain condemns nothing."""
    if spec.undo or spec.apply:
        return
    hopeless = [broken.id for broken in result.rejected if not broken.later]
    around.mempool.remove(hopeless)
    around.updates.drop(hopeless)
