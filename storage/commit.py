"""Does a commit fit the store it is meant for? Asked by every store before it writes anything."""

from collections.abc import Sequence

from chain.ids import Hash
from storage.base import ChainStore, CommitBatch, Pruned
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
        if header.height <= max(store.base(), store.floor("undo"), store.floor("bodies")):
            raise UseError(f"commit disconnects block {id.hex()} (height {header.height}), whose undo is not here")
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


def check_adoption(store: ChainStore, path: Sequence[Hash]) -> None:
    """Raise ``UseError`` unless ``path`` leads from the tip, over stored headers, to the block whose state is staged.

    The links between are the caller's: reading a hundred thousand headers would hold everybody up.
    """
    if not path or store.staging.target() != path[-1]:
        raise UseError("adoption of a state that was not gathered")
    first, last = store.header(path[0]), store.header(path[-1])
    if first is None or last is None or first.parent != store.tip() or last.height != store.height() + len(path):
        raise UseError(f"adoption of the state after {path[-1].hex()}, to which the path does not lead")


def check_prune(store: ChainStore, kind: Pruned, to: int) -> None:
    """Raise ``UseError`` for a height that is not between the floor and the tip."""
    if not store.floor(kind) <= to < max(1, store.height()):
        raise UseError(f"pruning {kind} up to height {to}, with the tip at {store.height()}")
