"""Randomised response over all values (Warner 1965; generalised, Kairouz, Bonawitz and Ramage 2016).

A row tells its own value with chance s, else any of the M answers uniformly, its own included. The answers are the
plan's values, and one more for whatever is none of them where that is counted. Where values are few it has the least
error of all: M < 3·e^ε + 2 about (Wang et al. 2017).

The device adds up how many of its rows gave each answer. With q = (1 − s)/M and p* = s + q the estimate is

    f̂(d) = (C_d − n·q) / (p* − q)

Counters: C for the values in the plan's order, then for the others, if they are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector
from fl.plan.statistics import RandomisedResponse
from fl.privacy.local.thresholds import ONE, draw_below, draw_events, stay_threshold
from fl.privacy.randomness import RandomSource
from fl.statistics.base import Codes, Question
from fl.statistics.support import unbias, variance_of


@dataclass(frozen=True, slots=True)
class RandomisedResponses:
    """Randomised response with a plan's parameters: ``answers`` is M."""

    spec: RandomisedResponse
    answers: int
    is_signed: bool = False

    @property
    def stay(self) -> int:
        """The chance s out of 2^64."""
        return stay_threshold(self.spec.epsilon.fraction(), self.answers)

    @property
    def counters(self) -> int:
        """One for each answer."""
        return self.answers

    def report(self, question: Question, codes: Codes, source: RandomSource) -> Int64Vector:
        """Return how many rows gave each answer: who tells the truth is drawn first, then the other answers."""
        is_true, drawn = draw_events(source, self.stay, codes.size), draw_below(source, self.answers, codes.size)
        told = np.where(is_true, np.minimum(codes, self.answers - 1), drawn)
        return np.bincount(told, minlength=self.answers).astype(np.int64)

    def find_fault(self, counters: Int64Vector, samples: int) -> str | None:
        """Return why these are no counts of so many answers."""
        total = sum(map(int, counters.tolist()))
        if int(counters.min()) < 0 or total != samples:
            return f"{total} answers of a device with {samples} rows: there is one for each"
        return None

    def estimate(self, question: Question, counters: Int64Vector, samples: int, codes: Codes) -> Float64Vector:
        """Return the unbiased estimates; ``codes`` are of values that the plan lists."""
        return unbias(counters[codes], samples, *self._chances())

    def variance(self, codes_counts: Sequence[float], samples: int) -> Float64Vector:
        """Return (f·p*·(1 − p*) + (n − f)·q·(1 − q)) / (p* − q)²."""
        return variance_of(codes_counts, samples, *self._chances())

    def _chances(self) -> tuple[float, float]:
        stay = Fraction(self.stay, ONE)
        chance = (1 - stay) / self.answers
        return float(stay + chance), float(chance)
