"""Where a block stands on a chain with validators, from its header: what the transition is told beside the rules.

The engine has judged the fields (leader, VRF, justification) or will; here they are only read.
"""

from chain.block import Header
from chain.codec import decode
from chain.genesis import Genesis, PosParameters
from chain.ids import ZERO_HASH
from consensus.context import StakeContext
from consensus.pos.fields import PosFields, read_fields
from consensus.pos.validators import epoch_of


def place_of(genesis: Genesis, header: Header) -> StakeContext | None:
    """Return where the block of this header stands; None without validators. ``CodecError`` for malformed fields."""
    return place_in(genesis, header.engine)


def place_in(genesis: Genesis, engine: bytes) -> StakeContext | None:
    """Return where the block stands whose header will carry these engine fields. ``CodecError`` for malformed ones."""
    if not isinstance(genesis.engine, PosParameters):
        return None
    fields = decode(engine, PosFields)
    return StakeContext(fields.epoch, fields.view, fields.parent_view, fields.mix, genesis.engine)


def place_after(genesis: Genesis, parent: Header) -> StakeContext | None:
    """Return where the block after ``parent`` will stand at the earliest; its beacon is not known (zero).

    For pools, which ask what a transaction may do next; blocks are built and checked with ``place_of``.
    """
    if not isinstance(genesis.engine, PosParameters):
        return None
    epoch = epoch_of(parent.height + 1, genesis.engine.epoch_blocks)
    before = read_fields(parent) if parent.height else None
    view = before.view if before is not None and before.epoch == epoch else 0
    return StakeContext(epoch, view + 1, view, ZERO_HASH, genesis.engine)
