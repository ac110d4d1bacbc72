"""The tips of a growing tree of blocks, and which of them is best.

The best tip has the greatest weight. Among equals the choice is a draw that anybody can repeat and nobody could
foresee: the smallest digest of a tip's id together with the ids of all the tied tips. So every node that knows the
same tips has the same head, in whatever order they came; and a miner who finds a block and withholds it can't tell,
before the rival it will be compared with exists, whether it would win the tie (with "the smaller id wins" it could
withhold exactly the blocks that win nearly always; with "the first seen wins" it needs only fast connections). Every
tie is a fair coin, γ = 1/2, for which Eyal and Sirer ("Majority is not enough", 2014, §6) show that withholding
does not pay below a quarter of the hashing power.
"""

from itertools import islice
from typing import Final

from chain.hashing import digest
from chain.ids import Hash
from consensus.headernode import Node

DOMAIN_TIE: Final = b"fedchain/fork-tie"


class Frontier:
    """Tips and the best of them. A block must be added after its parent."""

    __slots__ = ("_best", "_tips")

    def __init__(self) -> None:
        self._tips: dict[Hash, Node] = {}
        self._best: Hash | None = None

    def __contains__(self, node: Node) -> bool:
        return node.id in self._tips

    def __len__(self) -> int:
        return len(self._tips)

    def nodes(self) -> tuple[Node, ...]:
        """Return all tips, the one that was added last at the end."""
        return tuple(self._tips.values())

    def ids(self) -> tuple[Hash, ...]:
        """Return the ids of all tips in ascending order."""
        return tuple(sorted(self._tips))

    def latest(self, count: int) -> list[Hash]:
        """Return the ids of the ``count`` tips that were added last, the last first."""
        return list(islice(reversed(self._tips), count))

    def extend(self, node: Node) -> None:
        """Add a block; its parent is no tip any more."""
        assert node.parent is not None
        self._tips.pop(node.parent.id, None)
        self._tips[node.id] = node
        self._best = None

    def remove(self, node: Node) -> None:
        """Forget a tip; not an error if it is none."""
        if self._tips.pop(node.id, None) is not None:
            self._best = None

    def restore(self, node: Node) -> None:
        """Make a block a tip again after what stood on it was removed."""
        self._tips[node.id] = node
        self._best = None

    def best(self) -> Hash:
        """Return the id of the best tip. There must be one."""
        if self._best is None:
            greatest = max(node.weight for node in self._tips.values())
            self._best = break_tie([id for id, node in self._tips.items() if node.weight == greatest])
        return self._best


def break_tie(tied: list[Hash]) -> Hash:
    """Return the block that wins among blocks of equal weight, whatever their order."""
    if len(tied) == 1:
        return tied[0]
    draw = digest(DOMAIN_TIE, *sorted(tied))
    return min(tied, key=lambda id: digest(DOMAIN_TIE, draw, id))
