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

DOMAIN_TIE: Final = b"fedchain/fork-tie"


class Frontier:
    """Tips and their weights. A block must be added after its parent."""

    __slots__ = ("_best", "_tips")

    def __init__(self) -> None:
        self._tips: dict[Hash, int] = {}
        self._best: Hash | None = None

    def __len__(self) -> int:
        return len(self._tips)

    def tips(self) -> tuple[Hash, ...]:
        """Return all tips in ascending order of id."""
        return tuple(sorted(self._tips))

    def latest(self, count: int) -> list[Hash]:
        """Return the ``count`` tips that were added last, the last first."""
        return list(islice(reversed(self._tips), count))

    def extend(self, parent: Hash, id: Hash, weight: int) -> None:
        """Add a block; its parent is no tip any more."""
        self._tips.pop(parent, None)
        self._tips[id] = weight
        self._best = None

    def remove(self, id: Hash) -> None:
        """Forget a tip; not an error if it is none."""
        if self._tips.pop(id, None) is not None:
            self._best = None

    def restore(self, id: Hash, weight: int) -> None:
        """Make a block a tip again after what stood on it was removed."""
        self._tips[id] = weight
        self._best = None

    def best(self) -> Hash:
        """Return the best tip. There must be one."""
        if self._best is None:
            greatest = max(self._tips.values())
            self._best = break_tie([id for id, weight in self._tips.items() if weight == greatest])
        return self._best


def break_tie(tied: list[Hash]) -> Hash:
    """Return the block that wins among blocks of equal weight, whatever their order."""
    if len(tied) == 1:
        return tied[0]
    draw = digest(DOMAIN_TIE, *sorted(tied))
    return min(tied, key=lambda id: digest(DOMAIN_TIE, draw, id))
