"""Does a commit fit the store it is meant for? Asked by every store before it writes anything."""

from storage.base import ChainStore, CommitBatch
from storage.errors import UseError


def check_commit(store: ChainStore, batch: CommitBatch) -> None:
    """Raise ``UseError`` unless the batch leads from the store's tip to its own over stored, valid blocks."""
    tip = store.tip()
    for id in batch.disconnected:
        header = store.header(id)
        if id != tip or header is None:
            raise UseError(f"commit disconnects {id.hex()}, but the tip is {tip.hex()}")
        if header.height == 0:
            raise UseError("commit disconnects the genesis block")
        tip = header.parent
    for block in batch.connected:
        header = store.header(block.id)
        if header is None or not store.has_body(block.id):
            raise UseError(f"commit connects {block.id.hex()}, whose header or body is not stored")
        if header.parent != tip or header.height != block.height:
            raise UseError(f"commit connects {block.id.hex()} at height {block.height}, but the tip is {tip.hex()}")
        reason = store.invalid_reason(block.id)
        if reason is not None:
            raise UseError(f"commit connects {block.id.hex()}, which is invalid: {reason}")
        tip = block.id
    if tip != batch.tip:
        raise UseError(f"commit says it ends in {batch.tip.hex()}, but its blocks end in {tip.hex()}")
    check_keys(batch)


def check_keys(batch: CommitBatch) -> None:
    """Raise ``UseError`` if a state key is changed twice: the order of writes would then decide."""
    keys = {key for key, _ in batch.changes}
    if len(keys) != len(batch.changes):
        raise UseError("commit changes a state key twice")
