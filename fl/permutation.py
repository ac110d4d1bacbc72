"""Permutations and draws that every machine repeats bit for bit.

SplitMix64 (Steele, Lea and Flood 2014) seeded by SHA-256 of a task's seed; Fisher–Yates with rejection, so that every
permutation is equally likely as far as the generator is uniform.

Rules of this file: 64-bit integers only. The loop over rows is compiled (``fl.kernels.shuffle``); ``SplitMix`` is its
readable twin.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from chain.hashing import DOMAIN_DRAW, digest

Order = Literal["full", "blocks"]
BLOCK_ROWS: Final = 64
"""Rows of a block where an order goes by blocks."""
_MASK: Final = 2**64 - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15


@dataclass(slots=True)
class SplitMix:
    """The SplitMix64 generator. ``state`` is any integer; its low 64 bits count."""

    state: int

    def word(self) -> int:
        """Return the next 64 bits as an integer 0 … 2**64 - 1."""
        self.state = (self.state + _GOLDEN) & _MASK
        mixed = self.state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, bound: int) -> int:
        """Return an unbiased integer 0 … bound - 1, for 1 <= bound < 2**63."""
        while True:
            word = self.word()
            remainder = word % bound
            if word - remainder <= 2**64 - bound:  # the last, incomplete run of ``bound`` words is drawn again
                return remainder

    def unit(self) -> float:
        """Return a float64 in [0, 1): 53 random bits, exact."""
        return (self.word() >> 11) * 2.0**-53

    def units(self, count: int) -> NDArray[np.float64]:
        """Return the next ``count`` values of ``unit``, float64 (count,), all at once."""
        mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(self.state & _MASK)
        self.state = (self.state + count * _GOLDEN) & _MASK
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def pass_state(seed: bytes, number: int) -> int:
    """Return the generator state that starts local pass ``number`` of a task with this 32-byte seed."""
    return int.from_bytes(digest(DOMAIN_DRAW, seed, b"pass", number.to_bytes(8, "big"))[:8], "big")


def shuffled(count: int, seed: bytes, number: int, order: Order = "full") -> NDArray[np.int64]:
    """Return the random order of rows 0 … count-1 for local pass ``number`` of a task, int64 (count,).

    "full" draws any permutation; "blocks" permutes blocks of ``BLOCK_ROWS`` neighbours, then the rows of each in turn,
    so that a pass reads memory in runs that are long enough.
    """
    from fl.kernels.shuffle import shuffle, shuffle_blocks

    rows = np.arange(count, dtype=np.int64)
    if order == "full":
        shuffle(rows, np.uint64(pass_state(seed, number)))
    else:
        shuffle_blocks(rows, BLOCK_ROWS, np.uint64(pass_state(seed, number)))
    return rows


def part_shuffled(count: int, seed: bytes, number: int, order: Order, first: int, stop: int) -> NDArray[np.int64]:
    """Return ``shuffled(count, seed, number, order)[first:stop]``, for 0 <= first <= stop <= count.

    By blocks, what comes before is drawn and not put in order, and what comes after is not drawn at all.
    """
    from fl.kernels.shuffle import shuffle_part

    if order == "full":
        return shuffled(count, seed, number, order)[first:stop]
    part = np.empty(stop - first, dtype=np.int64)
    shuffle_part(part, count, BLOCK_ROWS, first, np.uint64(pass_state(seed, number)))
    return part
