"""One step of the main chain as one batch for the store.

Invariant: the changes take the state from the old tip to the new one, whatever lies between: undos first,
then the new blocks, and of several writes to one key the last stands.
"""

from collections.abc import Iterable, Sequence

from chain.ids import Hash
from consensus.undo import Undo, apply_undo, decode_undo
from consensus.view import Overlay
from node.core.messages import ConnectedBlock as Connected
from node.jobs.results import ExecutedBlock
from storage.base import ChainStore, CommitBatch, ConnectedBlock, StateChanges


def make_batch(
    tip: Hash,
    undo: Sequence[Hash],
    undone: StateChanges,
    executed: Sequence[ExecutedBlock],
    blocks: Sequence[Connected],
) -> CommitBatch:
    """Return the batch that disconnects ``undo`` (the old tip first) and connects ``blocks``, executed one by one.

    ``undone`` are the changes that take back the former.

    It is made on the event loop: what takes time, encoding above all, the job has done that executed them.
    """
    changes = join_changes([undone, *[outcome.changes for outcome in executed]])
    connected: list[ConnectedBlock] = []
    for outcome, block in zip(executed, blocks, strict=True):
        connected.append(
            ConnectedBlock(
                id=outcome.id,
                height=block.header.height,
                undo=outcome.undo,
                events=outcome.encoded_events,
                transactions=outcome.transactions,
                payloads=outcome.payloads,
            )
        )
    return CommitBatch(tip, changes, tuple(connected), tuple(undo))


def join_changes(parts: Iterable[StateChanges]) -> StateChanges:
    """Return the changes of all parts, of several to one key the last. A single part is not copied: it may be large."""
    full = [part for part in parts if part]
    if len(full) == 1:
        return full[0]
    changes: dict[bytes, bytes | None] = {}
    for part in full:
        changes.update(part)
    return changes


def take_back(store: ChainStore, blocks: Sequence[Hash]) -> StateChanges:
    """Return the changes that take these blocks back, the tip first. Of many, a job does it (``ExecuteBranch``)."""
    with store.view() as view:
        overlay = Overlay(view)
        for id in blocks:
            apply_undo(overlay, stored_undo(store, id))
        return overlay.writes()


def stored_undo(store: ChainStore, id: Hash) -> Undo:
    """Return the undo of a block of the main chain."""
    data = store.undo(id)
    if data is None:
        raise LookupError(f"connected block {id.hex()} has no undo")
    return decode_undo(data)
