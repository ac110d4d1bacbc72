"""What leaders proposed in the views around the current one, and what this node knows of the blocks.

Two proposals a view are kept, the second as evidence against its leader. Memory: views are pruned by the agreement;
blocks go with their views.
"""

from dataclasses import dataclass

from chain.block import block_id
from chain.ids import Hash, Millis
from consensus.pos.votes import Proposal, Reproposal, proposed_block


@dataclass(slots=True)
class KnownBlock:
    """A block of the live epoch. ``is_executed``: complete and valid here; ``is_admitted``: offered to the tree."""

    height: int
    time_ms: Millis
    view: int
    is_executed: bool = False
    is_admitted: bool = False


@dataclass(slots=True)
class Slot:
    """A view's proposals in the order they came; only the first is ever voted for."""

    first: Proposal | Reproposal
    rival: Proposal | Reproposal | None = None

    def messages(self) -> list[Proposal | Reproposal]:
        """Return both."""
        return [self.first] if self.rival is None else [self.first, self.rival]


class Proposals:
    """The proposals and blocks of one epoch's live views. ``pending``: blocks not yet offered to the tree."""

    def __init__(self) -> None:
        self._slots: dict[int, Slot] = {}
        self.blocks: dict[Hash, KnownBlock] = {}
        self.pending: dict[Hash, Proposal] = {}

    def __len__(self) -> int:
        return sum(len(slot.messages()) for slot in self._slots.values()) + len(self.blocks)

    def slot(self, view: int) -> Slot | None:
        """Return what was proposed in a view."""
        return self._slots.get(view)

    def is_news(self, view: int, message: Proposal | Reproposal) -> bool:
        """Is this the first or a second, different proposal of its view? Asked before verifying it."""
        slot = self._slots.get(view)
        return slot is None or (slot.rival is None and not is_same(slot.first, message))

    def know(self, id: Hash, height: int, time_ms: Millis, view: int) -> KnownBlock:
        """Return what is known of a block, which is this at least."""
        return self.blocks.setdefault(id, KnownBlock(height, time_ms, view))

    def mark_executed(self, block: Hash) -> None:
        """Take note that a known block is complete, valid and in the tree."""
        self.blocks[block].is_executed = self.blocks[block].is_admitted = True
        self.pending.pop(block, None)

    def take_pending(self, block: Hash) -> Proposal:
        """Take note that a pending block is offered to the tree, and return it."""
        self.blocks[block].is_admitted = True
        return self.pending.pop(block)

    def add(self, view: int, message: Proposal | Reproposal) -> Proposal | Reproposal | None:
        """Take a verified proposal that is news. Returns the one it contradicts, if there is one."""
        if isinstance(message, Proposal):
            id = block_id(message.header)
            if not self.know(id, message.header.height, message.header.time_ms, view).is_admitted:
                self.pending[id] = message
        slot = self._slots.get(view)
        if slot is None:
            self._slots[view] = Slot(message)
            return None
        slot.rival = message
        return slot.first

    def admitted_of(self, view: int) -> list[Hash]:
        """Return the blocks sealed in a view that were offered to the tree."""
        return [id for id, block in self.blocks.items() if block.view == view and block.is_admitted]

    def prune(self, floor: int, keep: set[Hash]) -> None:
        """Forget proposals of views below ``floor``, and blocks of such views unless they are in ``keep``."""
        for view in [view for view in self._slots if view < floor]:
            del self._slots[view]
        for id in [id for id, block in self.blocks.items() if block.view < floor and id not in keep]:
            del self.blocks[id]
            self.pending.pop(id, None)


def is_same(one: Proposal | Reproposal, other: Proposal | Reproposal) -> bool:
    """Do two proposals of one view say the same?"""
    if isinstance(one, Reproposal) and isinstance(other, Reproposal):
        return (one.parent_view, one.block) == (other.parent_view, other.block)
    return type(one) is type(other) and proposed_block(one) == proposed_block(other)
