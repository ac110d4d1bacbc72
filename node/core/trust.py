"""What a node trusts, and what of the chain it has: said in its status, so that nobody takes it for more than it is."""

from chain.codec import Record
from chain.ids import Height, HeightField, Natural
from node.core.checkpoint import Checkpoint
from node.core.config import CoreConfig
from node.core.statesync import StateSync
from storage.base import ChainStore


class Trust(Record):
    """Where a node's word on the chain comes from.

    checkpoint      HEIGHT:HASH that the operator trusts, empty without one
    synced_at       height at which the state came from peers, proven against that block's header; 0 = every block was
                    executed here from genesis on
    blocks_above    blocks up to this height have no body here (genesis aside)
    payloads_above  payloads of blocks up to this height may have been pruned
    gathering       height of the state that is being fetched now, 0 if none is; ``gathered``: how much, in millionths
    light           what a light node trusts, in words: it has no block and no state of its own; empty for full nodes
    witnesses       networks whose peers bear out the chain whose state is taken, or was in this run, and how many are
                    asked for; (0, 0) where a checkpoint, the least work or certificates say which chain it is
    """

    checkpoint: str
    synced_at: HeightField
    blocks_above: HeightField
    payloads_above: HeightField
    archive: bool
    gathering: HeightField
    gathered: Natural
    light: str = ""
    witnesses: tuple[Natural, Natural] = (0, 0)

    def sentence(self) -> str:
        """Say it in words."""
        if self.light:
            return self.light
        parts = [f"checkpoint {self.checkpoint}" if self.checkpoint else "genesis"]
        if self.gathering:
            parts.append(f"fetching the state at {self.gathering}: {self.gathered / 10_000:.1f}%")
        if self.synced_at:
            parts.append(f"state-synced at {self.synced_at}")
        if self.witnesses[1]:
            parts.append(
                "the heaviest chain, as peers of {} networks (of {} asked for) tell it".format(*self.witnesses)
            )
        if self.blocks_above > self.synced_at:
            parts.append(f"blocks pruned up to {self.blocks_above}")
        if self.payloads_above > max(self.synced_at, self.blocks_above):
            parts.append(f"payloads pruned up to {self.payloads_above}")
        if self.archive:
            parts.append("archive")
        return "; ".join(parts)


def get_trust(store: ChainStore, config: CoreConfig, statesync: StateSync) -> Trust:
    """Return what the node trusts now."""
    point: Checkpoint | None = config.checkpoint
    witnesses = statesync.witnesses
    is_asked = witnesses.is_waiting or witnesses.count > 0
    height, gathered = statesync.progress() or (Height(0), 0)
    return Trust(
        checkpoint="" if point is None else str(point),
        synced_at=store.base(),
        blocks_above=store.floor("bodies"),
        payloads_above=store.floor("payloads"),
        archive=config.retention.archive,
        gathering=height,
        gathered=gathered,
        witnesses=(witnesses.count, witnesses.needed if is_asked else 0),
    )
