"""May a node begin where its directory left off, or must somebody say first which chain is the right one?

Under proof of stake the keys of those who have left can sign another past for nothing. Within the time that stake stays
bonded after it is asked back, whoever did so would still lose it; a node that was away for longer, and a new node of
a network that is older, can't tell the two apart by looking. So it needs a checkpoint: a recent final block from
somebody its operator trusts (weak subjectivity). Proof of work needs none: its past costs what it cost.
"""

from chain.block import Header
from chain.genesis import PosParameters
from chain.ids import Millis
from node.core.checkpoint import Checkpoint
from node.core.recovery import check_checkpoint
from node.errors import StartupError
from node.world import World

_DAY_MS = 24 * 3_600_000


def check_trust(world: World, checkpoint: Checkpoint | None, now: Millis, best: Header | None = None) -> None:
    """Raise ``StartupError`` if the chain here contradicts the checkpoint, or if one is needed and there is none.

    ``best``: the header that a light node goes on from, which has no chain here.
    """
    if checkpoint is not None:
        check_checkpoint(world, checkpoint)
    engine = world.genesis.engine
    head = best or world.store.header(world.store.tip())
    if not isinstance(engine, PosParameters) or engine.permissioned or head is None:
        return
    away, span = now - head.time_ms, engine.unbonding_blocks * engine.block_ms
    if away <= span or (checkpoint is not None and checkpoint.height >= head.height):
        return
    raise StartupError(
        f"the last block here, at height {head.height}, is {away / _DAY_MS:.1f} days old, and stake can be gone after "
        f"{span / _DAY_MS:.1f}: chains that begin there can't be told apart any more by who voted for them",
        "ask somebody you trust for what `fedchain node checkpoint` prints, and start with --checkpoint HEIGHT:HASH "
        "(or set it in config.toml, [sync] checkpoint); a height not below your own",
    )
