"""Asking for a block to be built: what every role that makes blocks puts into them."""

from chain.ids import Hash
from consensus.engine import Prepared
from node.core.payloads import transaction_payload
from node.core.turn import Turn
from node.jobs.results import BlockBuilt
from node.jobs.specs import BuildBlock
from node.roles.attesting import trim_attestations
from node.roles.base import Surroundings


def start_build(around: Surroundings, parent: Hash, prepared: Prepared, turn: Turn) -> int:
    """Start the job that builds a block on ``parent`` from what waits in the pools; return its number."""
    chain = around.chain
    rules, height = chain.rules, chain.height + 1
    has = around.world.payloads.has
    transactions = [
        signed
        for signed in around.mempool.select(rules.max_block_bytes)
        if (ref := transaction_payload(signed)) is None or has(ref.id)
    ]
    undo, apply = chain.tree.path(chain.head_id, parent)
    return turn.start(
        BuildBlock(
            parent=parent,
            producer=around.account,
            time_ms=prepared.time_ms,
            engine=prepared.engine,
            transactions=tuple(transactions),
            updates=around.updates.select(lambda attested: trim_attestations(chain.view, rules, attested, height)),
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
