"""Optimal local hashing (Wang, Blocki, Li and Jha 2017).

A row draws a hash function of its own, h(x) = ((a·x + b) mod p) mod g with p = 2^31 − 1, a and b uniform below p (a
pairwise independent family), and tells h and its hashed value by randomised response over g = ⌈e^ε⌉ + 1 answers: with
chance s the true one, else any of the g uniformly.

Whoever has the reports counts, for each value d that is asked about, those that d supports: h(d) = what was told. The
device does that itself and sends the counts alone, which tell less than the reports. Values that nobody asks about are
one value more, of which nothing is counted. With q = 1/g and p* = s + (1 − s)/g

    f̂(d) = (C_d − n·q) / (p* − q)

Counters: C_d for the values in the plan's order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector
from fl.plan.statistics import OptimalLocalHashing
from fl.privacy.local.thresholds import ONE, draw_below, draw_events, exp_below, stay_threshold
from fl.privacy.randomness import RandomSource
from fl.statistics.base import Codes, Question
from fl.statistics.support import unbias, variance_of

PRIME: Final = 2**31 - 1
"""Larger than any number of values, so that no two of them are one to the functions."""
_CELLS: Final = 1 << 20
"""Hashed values that are held at a time."""


@dataclass(frozen=True, slots=True)
class LocalHashing:
    """OLH with a plan's parameters; ``values`` are asked about."""

    spec: OptimalLocalHashing
    values: int
    is_signed: bool = False

    @property
    def answers(self) -> int:
        """g, the answers a report chooses among."""
        return ceil(exp_below(self.spec.epsilon.fraction())) + 1

    @property
    def stay(self) -> int:
        """The chance s out of 2^64."""
        return stay_threshold(self.spec.epsilon.fraction(), self.answers)

    @property
    def counters(self) -> int:
        """One for each value."""
        return self.values

    def report(self, question: Question, codes: Codes, source: RandomSource) -> Int64Vector:
        """Return how many rows' reports each value supports: a, b, who tells the truth, then the other answers."""
        g, count = self.answers, codes.size
        a, b = draw_below(source, PRIME, count), draw_below(source, PRIME, count)
        is_true, drawn = draw_events(source, self.stay, count), draw_below(source, g, count)
        own = np.minimum(codes, self.values)
        told = np.where(is_true, (a * own + b) % PRIME % g, drawn)
        supported = np.zeros(self.values, np.int64)
        step = max(1, _CELLS // self.values)
        for first in range(0, count, step):
            part = slice(first, first + step)
            hashed = (a[part, None] * question.asked + b[part, None]) % PRIME % g  # below 2^31 · 2^12
            supported += (hashed == told[part, None]).sum(axis=0)
        return supported

    def find_fault(self, counters: Int64Vector, samples: int) -> str | None:
        """Return why these are no counts of so many reports."""
        if int(counters.min()) < 0 or int(counters.max()) > samples:
            return f"a value supported by {int(counters.max())} reports; the device has {samples} rows"
        return None

    def estimate(self, question: Question, counters: Int64Vector, samples: int, codes: Codes) -> Float64Vector:
        """Return the unbiased estimates; ``codes`` are of values that the plan lists."""
        return unbias(counters[codes], samples, *self._chances())

    def variance(self, codes_counts: Sequence[float], samples: int) -> Float64Vector:
        """Return (f·p*·(1 − p*) + (n − f)·q·(1 − q)) / (p* − q)²."""
        return variance_of(codes_counts, samples, *self._chances())

    def _chances(self) -> tuple[float, float]:
        stay = Fraction(self.stay, ONE)
        return float(stay + (1 - stay) / self.answers), float(Fraction(1, self.answers))
