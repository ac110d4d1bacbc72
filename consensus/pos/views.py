"""What certificates say of an epoch's views: which have a block, which have none, which is final, what may be built on.

The one place where *justification* is decided: a block of view v may stand on view p if p is notarised (or is 0, the
epoch's start) and every view between them is nullified. Only verified certificates come in. A view can be both
notarised and nullified while it is not final; it can be justified either way.

Memory: certificates of the newest ``KEPT_VIEWS`` views above the final one. Of older views only the fact that they
are nullified remains, as spans.
"""

from collections.abc import Iterator
from typing import Final

from chain.ids import Hash
from consensus.pos.votes import Certificate, VoteKind

KEPT_VIEWS: Final = 512
"""Views above the final one whose certificates are kept: at Δ = 1 s half a day without a block, as patience grows."""


class Spans:
    """A set of whole numbers kept as disjoint spans, ascending: as long as there are gaps, not as numbers."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, number: int) -> None:
        """Take one number."""
        first = last = number
        others: list[tuple[int, int]] = []
        for start, end in self._spans:
            if end + 1 < number or start - 1 > number:
                others.append((start, end))
            else:
                first, last = min(first, start), max(last, end)
        self._spans = sorted([*others, (first, last)])

    def covers(self, first: int, last: int) -> bool:
        """Are all numbers from ``first`` to ``last`` in the set? None at all are if ``last`` is below ``first``."""
        return last < first or any(start <= first and last <= end for start, end in self._spans)

    def prune(self, floor: int) -> None:
        """Forget the numbers below ``floor``."""
        self._spans = [(max(start, floor), end) for start, end in self._spans if end >= floor]


class Views:
    """The certificates of one epoch."""

    def __init__(self, start: Hash) -> None:
        """Begin with the boundary block ``start`` that the epoch stands on, which is final as view 0."""
        self.final_view = 0
        self.final_block = start
        self.finality: Certificate | None = None
        self._notarized: dict[int, Certificate] = {}
        self._nullified: dict[int, Certificate] = {}
        self._spans = Spans()
        self._top = 0

    def __len__(self) -> int:
        return len(self._notarized) + len(self._nullified) + len(self._spans)

    @property
    def current(self) -> int:
        """The view to be in: the one after the highest that has a certificate."""
        return self._top + 1

    def is_news(self, certificate: Certificate) -> bool:
        """Does this certificate, if it is good, say something that is not known? Asked before verifying it."""
        view = certificate.view
        if certificate.kind is VoteKind.FINALIZE:
            return view > self.final_view
        if view <= self.final_view:
            return False
        if certificate.kind is VoteKind.NULLIFY:
            return not self.is_nullified(view)
        return view not in self._notarized and view > self._top - KEPT_VIEWS

    def add(self, certificate: Certificate) -> None:
        """Take a verified certificate that is news."""
        view = certificate.view
        self._top = max(self._top, view)
        match certificate.kind:
            case VoteKind.NULLIFY:
                self._nullified[view] = certificate
                self._spans.add(view)
            case VoteKind.NOTARIZE:
                self._notarized[view] = certificate
            case VoteKind.FINALIZE:
                self.final_view, self.final_block, self.finality = view, certificate.block, certificate
                self._spans.prune(view + 1)
        floor = max(self.final_view + 1, self._top - KEPT_VIEWS + 1)
        for kept in (self._notarized, self._nullified):
            for old in [old for old in kept if old < floor]:
                del kept[old]

    def is_nullified(self, view: int) -> bool:
        """Did a quorum say that this view has no block?"""
        return self._spans.covers(view, view)

    def block_at(self, view: int) -> Hash | None:
        """Return the block that is notarised (or final) in this view; the epoch's start for 0."""
        if view == self.final_view:
            return self.final_block
        certificate = self._notarized.get(view)
        return None if certificate is None else certificate.block

    def is_settled(self, view: int) -> bool:
        """Do certificates say what block this view has? If it is nullified: none, unless a later one has a block.

        That later block may stand on one of this view whose certificate is not known here.
        """
        return view in self._notarized or (self.is_nullified(view) and view > self.last_block_view(self.current))

    def notarized(self, floor: int) -> Iterator[tuple[int, Hash]]:
        """Return the views above the final one and at or above ``floor`` that have a block, with it."""
        return ((view, kept.block) for view, kept in self._notarized.items() if view >= floor)

    def last_block_view(self, view: int) -> int:
        """Return the highest view below ``view`` that has a block."""
        return max((other for other in self._notarized if other < view), default=self.final_view)

    def justified_parent(self, view: int, parent_view: int) -> Hash | None:
        """Return the block that a proposal of ``view`` on ``parent_view`` must stand on, or None if it may not."""
        if not self.final_view <= parent_view < view or not self._spans.covers(parent_view + 1, view - 1):
            return None
        return self.block_at(parent_view)

    def justified_parents(self, view: int) -> Iterator[int]:
        """Return the views that a proposal of ``view`` may stand on, the highest first; 0 is the epoch's start.

        Each lower one needs the same nullifications and more, so the first that is not justified ends it.
        """
        for parent_view in [*sorted((v for v in self._notarized if v < view), reverse=True), self.final_view]:
            if parent_view >= view or not self._spans.covers(parent_view + 1, view - 1):
                return
            yield parent_view

    def summary(self, limit: int) -> list[Certificate]:
        """Return what brings another node to this view: finality, the last block above it, ``limit`` nullifications."""
        last = self.last_block_view(self.current)
        certificates = [self.finality] if self.finality is not None else []
        if last in self._notarized:
            certificates.append(self._notarized[last])
        views = [view for view in sorted(self._nullified) if view > last][-limit:]
        return certificates + [self._nullified[view] for view in views]
