"""Stale siblings: which blocks that lost their race a header may refer to, and which it should.

A sibling's parent is on the chain that refers to it, the sibling is not, no header before it on that chain refers to
it, and it is at most ``MAX_SIBLING_AGE`` lower. A sibling may itself refer to siblings; the chain that takes it
refers to these too, before or in the same header. So a chain's headers with the siblings they name hold every header
that is needed to judge them, and a new node can be given just that.

Siblings are judged as headers, never as blocks: nodes that never saw a sibling's body agree with those that did.
"""

from collections.abc import Iterator

from chain.ids import Hash
from consensus.engine import HeaderView
from consensus.pow.fields import MAX_SIBLING_AGE, MAX_SIBLINGS
from consensus.pow.lineage import FieldsOf, Lineage


class Kin:
    """The siblings of the next block on a chain, whose last headers are ``lineage``."""

    __slots__ = ("_chain", "_fields_of", "_height", "_lineage", "_referred")

    def __init__(self, chain: HeaderView, lineage: Lineage, fields_of: FieldsOf) -> None:
        self._chain = chain
        self._fields_of = fields_of
        self._height = lineage.height + 1
        self._lineage = lineage
        self._referred: set[Hash] = lineage.referred()

    def find_fault(self, siblings: tuple[Hash, ...]) -> tuple[str, tuple[Hash, ...]] | None:
        """Return why these can't be the next header's siblings, and which unknown ids may change that; else None."""
        if len(siblings) > MAX_SIBLINGS:
            return f"{len(siblings)} siblings; at most {MAX_SIBLINGS}", ()
        if list(siblings) != sorted(set(siblings)):
            return "siblings are not in strictly ascending order", ()
        missing = tuple([id for id in siblings if self._chain.header(id) is None])
        if missing:
            return f"sibling {missing[0].hex()} is unknown", missing
        for id in siblings:
            reason = self._find_reason(id, siblings)
            if reason is not None:
                return f"sibling {id.hex()} {reason}", ()
        return None

    def _find_reason(self, id: Hash, together: tuple[Hash, ...]) -> str | None:
        """Return why the known header ``id`` can't be referred to, given those it is named with."""
        header = self._chain.header(id)
        assert header is not None
        if not self._height - MAX_SIBLING_AGE <= header.height < self._height:
            return f"is {self._height - header.height} lower; allowed are 1 to {MAX_SIBLING_AGE}"
        if self._lineage.id_at(header.height) == id:
            return "is an ancestor"
        if self._lineage.id_at(header.height - 1) != header.parent:
            return "does not have its parent on this chain"
        if id in self._referred:
            return "was referred to before"
        for other in self._fields_of(header).siblings:
            if other not in self._referred and other not in together:
                return f"refers to {other.hex()}, which this chain does not"
        return None

    def choose(self) -> tuple[Hash, ...]:
        """Return the siblings the next header should refer to: the oldest that qualify, in ascending order of id."""
        chosen: tuple[Hash, ...] = ()
        for id in self._candidates():
            if len(chosen) == MAX_SIBLINGS:
                break
            if self._find_reason(id, chosen) is None:
                chosen = tuple(sorted((*chosen, id)))
        return chosen

    def _candidates(self) -> Iterator[Hash]:
        for height in range(max(1, self._height - MAX_SIBLING_AGE), self._height):
            parent = self._lineage.id_at(height - 1)
            if parent is not None:
                yield from self._chain.children(parent)
