"""Which of several equal updates stands: the earliest. The others are copies, and no part of the round's game.

Two honest devices do not send the same vector: their rows differ, or the permutation that the task gives each. An
update of zeros is a copy of any other; it would earn nothing anyway.

Rules of this file: equality is of the whole vector as the model sees it, however its payload wrote it.
"""

from collections.abc import Sequence
from hashlib import sha256

from chain.fixedpoint import to_bytes
from fl.algorithms.base import Settled
from fl.algorithms.support import expanded
from fl.objective import Objective

Rank = tuple[int, ...]
"""How early an update came: the least of equal ones stands. Ranks of a phase are all different."""


def find_originals(problem: Objective, settled: Sequence[Settled], ranks: Sequence[Rank]) -> list[int]:
    """Return for each update the number of the one that stands for its vector: its own, unless it is a copy."""
    digests = [sha256(to_bytes(expanded(problem, entry.contribution))).digest() for entry in settled]
    return choose_originals(digests, ranks)


def choose_originals(digests: Sequence[bytes], ranks: Sequence[Rank]) -> list[int]:
    """Return for each digest the number of the earliest that equals it."""
    first: dict[bytes, int] = {}
    for number in sorted(range(len(digests)), key=lambda each: ranks[each]):
        first.setdefault(digests[number], number)
    return [first[digest] for digest in digests]
