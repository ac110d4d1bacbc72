"""What a block is executed in, and what executing it gives: the records around the transition."""

from chain.codec import Record
from chain.genesis import Rules
from chain.ids import AccountField, HashField, HeightField, MillisField, ShortText
from consensus.events import LedgerEvent
from consensus.view import Delta


class BlockContext(Record):
    """Where a block stands: everything outside its body that the transition may look at.

    beacon   the engine's randomness of the parent header (``Engine.beacon``), known before this block's body
    rules    those in force at ``height``
    """

    chain_id: ShortText
    height: HeightField
    parent_time_ms: MillisField
    time_ms: MillisField
    producer: AccountField
    beacon: HashField
    rules: Rules


class Execution(Record):
    """What a block does: the state's changes (tree nodes included), the root after them, the events in order."""

    delta: Delta
    state_root: HashField
    events: tuple[LedgerEvent, ...]
