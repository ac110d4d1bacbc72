"""The way up to a checkpoint under votes: which blocks stand below the block that the operator trusts.

Whoever was a validator long ago can sign another past for nothing, with ends of epochs, sets and certificates that
nothing on the wire tells from the true ones. The links can: a header's id covers its parent's. So a node that knows
a checkpoint above its chain believes no vote and no proof of an epoch's end below it before it knows which blocks lead
there, and keeps nothing meanwhile.

    first time    a peer's headers are followed by their links alone and forgotten again; of every ``RUN`` one id is
                  noted. If the chain ends in another block than the checkpoint, its sender is let go and the notes
                  with it: they are that peer's chain's, nobody else is misled by them.
    second time   once a chain has led to the checkpoint, the same headers are asked for again, of any peer, and handed
                  on a run at a time if it ends in the noted id. A proof of an epoch's end is taken if the block it is
                  about is on this way.

Memory: 32 bytes a run for each peer whose chain is on trial.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from chain.block import Header, block_id
from chain.ids import Hash, Height, Millis
from consensus.headertree import HeaderTree
from node.core.checkpoint import Checkpoint
from p2p.access import TrialStep

RUN: Final = 512
"""Headers between two ids that are noted: fewer than half of what one answer holds."""


class Waymarks:
    """What is known of the blocks up to the checkpoint. Without a checkpoint, or above it, there is nothing to know."""

    def __init__(self, tree: HeaderTree, point: Checkpoint | None) -> None:
        """``point`` is None where no checkpoint is trusted, and under work, where links prove themselves by work."""
        self._tree = tree
        self._point = point
        self._notes: dict[int, Hash] = {}
        self._ahead: deque[Hash] = deque()  # of the notes, those whose headers are not here yet
        self._tip: Hash | None = None  # the highest block here that is known to lead to the checkpoint
        if point is not None and tree.header(point.block) is not None:
            self._tip = point.block

    @property
    def is_reached(self) -> bool:
        """Is the checkpoint's header here, with all below it?"""
        self._advance()
        return self._point is None or self._tip == self._point.block

    @property
    def is_proven(self) -> bool:
        """Is it known which blocks lead to the checkpoint?"""
        return bool(self._notes) or self.is_reached

    @property
    def next_epochs_height(self) -> int:
        """The height of the first block that no proof up to the checkpoint is about; 0 without one."""
        return 0 if self._point is None else self._point.height + 1

    def covers(self, height: int) -> bool:
        """Does the checkpoint say which block stands at this height?"""
        return self._point is not None and height <= self._point.height

    def note_at(self, height: int) -> Hash | None:
        """Return the id that was noted at a height; None if none was."""
        return self._notes.get(height)

    def block_at(self, height: int) -> Hash | None:
        """Return the block at a height that the checkpoint covers; None while its header is not here."""
        self._advance()
        return None if self._tip is None else self._tree.ancestor_id(self._tip, Height(height))

    def _advance(self) -> None:
        point = self._point
        if point is not None and self._tip != point.block and point.block in self._tree:
            self._tip = point.block
            self._ahead.clear()
        while self._ahead and self._ahead[0] in self._tree:
            self._tip = self._ahead.popleft()

    def prove(self, notes: dict[int, Hash]) -> None:
        """Take the notes, in ascending order, of a chain that ends in the checkpoint."""
        if not self.is_proven:
            self._notes, self._ahead = notes, deque(notes.values())

    def trial(self) -> "LinkTrial":
        """Return a new trial of a peer's headers (``p2p.access.HeaderTrial``)."""
        assert self._point is not None  # nobody asks above it
        return LinkTrial(self, self._tree, self._point)


class LinkTrial:
    """One peer's chain of headers on its way to the checkpoint."""

    def __init__(self, marks: Waymarks, tree: HeaderTree, point: Checkpoint) -> None:
        self._marks = marks
        self._tree = tree
        self._point = point
        self._notes: dict[int, Hash] = {}
        self._start: Hash | None = None
        self._at: Hash | None = None
        self._height = 0

    def locator(self) -> tuple[Hash, ...]:
        """Return where to go on asking; nothing if the tree's own locator says it."""
        if self._marks.is_proven or self._at is None or self._start is None:
            return ()
        return self._at, self._start

    def take(self, headers: tuple[Header, ...], more: bool, now: Millis) -> TrialStep:
        """Take an answer; return what to hand on, whether to go on asking, and what condemns the peer."""
        if self._marks.is_reached:
            return TrialStep(headers)
        if self._marks.is_proven:
            return self._release(headers)
        return self._follow(headers, more)

    def _follow(self, headers: Sequence[Header], more: bool) -> TrialStep:
        """Follow the links, and note where they lead."""
        for header in headers:
            if self._at is None:
                first = self._tree.header(header.parent)
                if first is None:
                    return TrialStep(())
                self._start = self._at = header.parent
                self._height = first.height
            if header.parent != self._at or header.height != self._height + 1:
                return TrialStep(())  # its sender went over to another chain meanwhile: from the start, another time
            self._at, self._height = block_id(header), header.height
            if self._height == self._point.height:
                return self._arrive(headers)
            if self._height % RUN == 0:
                self._notes[self._height] = self._at
        return TrialStep((), goes_on=more)

    def _arrive(self, headers: Sequence[Header]) -> TrialStep:
        if self._at != self._point.block:
            return TrialStep((), fault=f"its chain contradicts the trusted checkpoint {self._point}")
        self._marks.prove({**self._notes, self._height: self._point.block})
        step = self._release(headers)
        return step if step.release or step.fault else TrialStep((), goes_on=True)

    def _release(self, headers: Sequence[Header]) -> TrialStep:
        """Hand on what ends in a noted id: by its links it is the way to the checkpoint."""
        at, count = headers[0].parent, 0
        if self._tree.header(at) is None:
            return TrialStep(())
        for number, header in enumerate(headers, 1):
            if header.parent != at:
                break
            at = block_id(header)
            noted = self._marks.note_at(header.height)
            if noted is not None and noted != at:
                reason = f"block {at.hex()} at height {header.height} does not lead to the checkpoint {self._point}"
                return TrialStep((), fault=reason)
            if noted is not None:
                count = number
        return TrialStep(tuple(headers[:count]))
