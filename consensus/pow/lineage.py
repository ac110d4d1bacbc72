"""The last headers of a chain, as far back as the rules of the next one look: read once, handed on to each child.

A header's id commits to all its ancestors, so what its lineage is depends on the id alone: it is remembered. Judging
a chain of headers one after the other then reads no header twice.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from chain.block import Header
from chain.ids import Hash
from consensus.engine import HeaderView
from consensus.pow.fields import MAX_SIBLING_AGE, MEDIAN_SPAN, PowFields

KIN_SPAN: Final = 2 * MAX_SIBLING_AGE
"""A sibling stands up to ``MAX_SIBLING_AGE`` lower than who refers to it, and its own siblings up to as much again."""
_REMEMBERED: Final = 256

FieldsOf = Callable[[Header], PowFields]


class Lineage(NamedTuple):
    """The last headers up to one of ``height``, the latest first; fewer near genesis. One is made for every header.

    ids    of the last ``KIN_SPAN``
    named  the siblings that each of these refers to
    times  of the last ``MEDIAN_SPAN``, in ms
    """

    height: int
    ids: tuple[Hash, ...]
    named: tuple[tuple[Hash, ...], ...]
    times: tuple[int, ...]

    def child(self, id: Hash, header: Header, siblings: tuple[Hash, ...]) -> "Lineage":
        """Return the lineage of a header on this one's latest."""
        return Lineage(
            self.height + 1,
            (id, *self.ids[: KIN_SPAN - 1]),
            (siblings, *self.named[: KIN_SPAN - 1]),
            (header.time_ms, *self.times[: MEDIAN_SPAN - 1]),
        )

    def id_at(self, height: int) -> Hash | None:
        """Return the id of the chain's header at this height, if it is one of these."""
        distance = self.height - height
        return self.ids[distance] if 0 <= distance < len(self.ids) else None

    def referred(self) -> set[Hash]:
        """Return all siblings that these headers refer to."""
        return {id for siblings in self.named for id in siblings}

    def median_time(self) -> int:
        """Return the median of the times; of an even number of them, the lower one in the middle."""
        return sorted(self.times)[(len(self.times) - 1) // 2]


class Lineages:
    """A memory of lineages by the id of their latest header."""

    __slots__ = ("_fields_of", "_known")

    def __init__(self, fields_of: FieldsOf) -> None:
        self._fields_of = fields_of
        self._known: OrderedDict[Hash, Lineage] = OrderedDict()

    def of(self, chain: HeaderView, header: Header, id: Hash) -> Lineage:
        """Return the lineage of a header whose ancestors ``chain`` holds."""
        known = self._known.get(id)
        if known is not None:
            return known
        parent = self._known.get(header.parent) if header.height > 0 else None
        if parent is None:
            lineage = read_lineage(chain, header, id, self._fields_of)
        else:
            lineage = parent.child(id, header, self._fields_of(header).siblings)
        self._known[id] = lineage
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return lineage


def read_lineage(chain: HeaderView, header: Header, id: Hash, fields_of: FieldsOf) -> Lineage:
    """Return the lineage of a header by reading its ancestors, one by one."""
    height = header.height
    ids: list[Hash] = []
    named: list[tuple[Hash, ...]] = []
    times: list[int] = []
    at: Header | None = header
    while at is not None and len(ids) < KIN_SPAN:
        ids.append(id)
        named.append(fields_of(at).siblings)
        times.append(at.time_ms)
        id = at.parent
        at = chain.header(id) if at.height > 0 else None
    return Lineage(height, tuple(ids), tuple(named), tuple(times[:MEDIAN_SPAN]))
