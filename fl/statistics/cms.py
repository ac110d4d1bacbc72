"""Count mean sketch (Apple's Differential Privacy Team 2017, algorithms CMS client and server).

A row draws one of k hash functions, j, and makes of its value the vector of ``width`` signs that is +1 at h_j(value)
and −1 elsewhere. Each sign is turned round with chance f. Vectors of two values differ in two places at most, so the
whole ε is spent with f = 1/(1 + e^{ε/2}): a report's chances differ by ((1 − f)/f)² <= e^ε.

The device adds up: N_j reports of function j, B_jl of them with +1 at place l. From everybody's sums, with
c = 1/(1 − 2f), M_jl = c·B_jl − (c − 1)/2·N_jl counts the rows that are hashed to (j, l), and

    f̂(d) = m/(m−1) · (Σ_j M_{j, h_j(d)} − n/m)

(k times less and k times more than in the paper, where a row's vector is scaled by k first and the mean is taken.)

Counters: N_0 … N_{k−1}, then B row by row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector
from fl.plan.statistics import CountMeanSketch
from fl.privacy.local.thresholds import ONE, draw_below, draw_events, flip_threshold
from fl.privacy.randomness import RandomSource
from fl.statistics.base import Codes, Question
from fl.statistics.hashing import places, places_of_rows

_EVENTS: Final = 1 << 22
"""Signs that are drawn at a time: 32 MiB of randomness."""


@dataclass(frozen=True, slots=True)
class CountMeanSketches:
    """CMS with a plan's parameters."""

    spec: CountMeanSketch
    is_signed: bool = False

    @property
    def flip(self) -> int:
        """The chance f out of 2^64: half of ε for each of the two places."""
        return flip_threshold(self.spec.epsilon.fraction() / 2)

    @property
    def counters(self) -> int:
        """k counts of reports, and k·m of signs."""
        return self.spec.hashes * (self.spec.width + 1)

    def report(self, question: Question, codes: Codes, source: RandomSource) -> Int64Vector:
        """Return the sum of the rows' reports: all functions are drawn first, then each row's signs in order."""
        k, m = self.spec.hashes, self.spec.width
        chosen = draw_below(source, k, codes.size)
        hashed = places_of_rows(question.plan_id, codes, chosen, k, m)
        sums = np.zeros((k, m), np.int64)
        step = max(1, _EVENTS // m)
        for first in range(0, codes.size, step):
            part, place = chosen[first : first + step], hashed[first : first + step]
            signs = draw_events(source, self.flip, part.size * m).reshape(part.size, m)
            signs[np.arange(part.size), place] ^= True
            order = np.argsort(part, kind="stable")
            used, starts = np.unique(part[order], return_index=True)
            sums[used] += np.add.reduceat(signs[order], starts, axis=0, dtype=np.int64)
        return np.concatenate([np.bincount(chosen, minlength=k).astype(np.int64), sums.ravel()])

    def find_fault(self, counters: Int64Vector, samples: int) -> str | None:
        """Return why these are no counts of so many reports."""
        k = self.spec.hashes
        reports, signs = counters[:k], counters[k:].reshape(k, -1)
        total = sum(map(int, reports.tolist()))
        if int(reports.min()) < 0 or total != samples:
            return f"{total} reports of a device with {samples} rows: there is one for each"
        if int(signs.min()) < 0 or bool((signs > reports[:, None]).any()):
            return "more signs at a place than the function has reports"
        return None

    def estimate(self, question: Question, counters: Int64Vector, samples: int, codes: Codes) -> Float64Vector:
        """Return the estimates of the server algorithm."""
        k, m = self.spec.hashes, self.spec.width
        c = _scale(self.flip)
        reports, signs = counters[:k], counters[k:].reshape(k, m)
        rows = c * signs - (c - 1.0) / 2.0 * reports[:, None]
        found = rows[np.arange(k), places(question.plan_id, codes, k, m)].sum(axis=1)
        return np.asarray(m / (m - 1) * (found - samples / m), np.float64)

    def variance(self, codes_counts: Sequence[float], samples: int) -> Float64Vector:
        """Return (m/(m−1))²·(n·(c² − 1)/4 + what other values hashed to the same places add)."""
        k, m = self.spec.hashes, self.spec.width
        c, share = _scale(self.flip), (1.0 - 1.0 / m) / m
        counts = np.maximum(np.asarray(codes_counts, np.float64), 0.0)
        single, double = others(counts, samples)
        own = samples * (c * c - 1.0) / 4.0
        return np.asarray((m / (m - 1)) ** 2 * (own + share * (1.0 - 1.0 / k) * single + share / k * double))


def _scale(flip: int) -> float:
    return float(1 / (1 - 2 * Fraction(flip, ONE)))


def others(counts: Float64Vector, samples: int) -> tuple[Float64Vector, Float64Vector]:
    """Return, for each value, how many rows have another one, and Σ f² over the other values.

    Rows with values that nobody asks about are taken as each its own.
    """
    unknown = max(samples - float(counts.sum()), 0.0)
    squares = float((counts * counts).sum()) + unknown
    return np.maximum(samples - counts, 0.0), np.maximum(squares - counts * counts, 0.0)
