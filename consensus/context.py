"""What a block is executed in, and what executing it gives: the records around the transition."""

from chain.codec import Record
from chain.genesis import PosParameters, Rules
from chain.ids import AccountField, HashField, HeightField, MillisField, Natural, ShortText
from consensus.events import LedgerEvent
from consensus.view import Delta


class StakeContext(Record):
    """Where a block stands on a chain with validators: its header's fields, and what genesis says of staking.

    epoch, view   the block's; ``parent_view``: that of its parent, 0 for an epoch's first block
    mix           the beacon's state after this block; the boundary block's is the next epoch's seed
    """

    epoch: Natural
    view: Natural
    parent_view: Natural
    mix: HashField
    parameters: PosParameters


class BlockContext(Record):
    """Where a block stands: everything outside its body that the transition may look at.

    beacon   the engine's randomness of the parent header (``Engine.beacon``), known before this block's body
    rules    those in force at ``height``
    stake    None under an engine without validators
    """

    chain_id: ShortText
    height: HeightField
    parent_time_ms: MillisField
    time_ms: MillisField
    producer: AccountField
    beacon: HashField
    rules: Rules
    stake: StakeContext | None = None


class Execution(Record):
    """What a block does: the state's changes (those of the tree's nodes last), the root after them, the events."""

    delta: Delta
    state_root: HashField
    events: tuple[LedgerEvent, ...]
