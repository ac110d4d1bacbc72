"""One step of the main chain as one batch for the store.

Invariant: the changes take the state from the old tip to the new one, whatever lies between: undos first,
then the new blocks, and of several writes to one key the last stands.
"""

from collections.abc import Sequence

from chain.ids import Hash
from consensus.undo import Undo, decode_undo
from node.core.messages import ConnectedBlock as Connected
from node.jobs.results import ExecutedBlock
from storage.base import ChainStore, CommitBatch, ConnectedBlock


def make_batch(
    store: ChainStore,
    tip: Hash,
    undo: Sequence[Hash],
    executed: Sequence[ExecutedBlock],
    blocks: Sequence[Connected],
) -> CommitBatch:
    """Return the batch that disconnects ``undo`` (the old tip first) and connects ``blocks``, executed one by one.

    It is made on the event loop: what takes time, encoding above all, the job has done that executed them.
    """
    changes: dict[bytes, bytes | None] = {}
    for id in undo:
        lay_undo(changes, store, id)
    connected: list[ConnectedBlock] = []
    for outcome, block in zip(executed, blocks, strict=True):
        changes.update(outcome.changes)
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
    return CommitBatch(tip, tuple(changes.items()), tuple(connected), tuple(undo))


def lay_undo(changes: dict[bytes, bytes | None], store: ChainStore, id: Hash) -> None:
    """Put what takes a block of the main chain back over changes that were made before it is."""
    undo = _stored_undo(store, id)
    changes.update(zip(undo.keys, undo.values, strict=True))


def _stored_undo(store: ChainStore, id: Hash) -> Undo:
    data = store.undo(id)
    if data is None:
        raise LookupError(f"connected block {id.hex()} has no undo")
    return decode_undo(data)
