"""Hadamard count mean sketch (Apple's Differential Privacy Team 2017, algorithms HCMS client and server).

A row draws one of k hash functions, j, and one of m coordinates, l, and tells the sign H[l, h_j(value)] of the Hadamard
matrix, turned round with chance f = 1/(1 + e^ε): one bit, so the whole ε is for it.

The device adds up S_jl, the signs told for (j, l). From everybody's sums, with c = 1/(1 − 2f), M = c·S·H counts the
rows that are hashed to (j, l), and f̂(d) = m/(m−1) · (Σ_j M_{j, h_j(d)} − n/m).

Counters: S row by row. m is a power of two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector, Int64Vector
from fl.plan.statistics import HadamardCountMeanSketch
from fl.privacy.local.thresholds import ONE, draw_below, draw_events, flip_threshold
from fl.privacy.randomness import RandomSource
from fl.statistics.base import Codes, Question
from fl.statistics.cms import others
from fl.statistics.hashing import places, places_of_rows


@dataclass(frozen=True, slots=True)
class HadamardSketches:
    """HCMS with a plan's parameters."""

    spec: HadamardCountMeanSketch
    is_signed: bool = True

    @property
    def flip(self) -> int:
        """The chance f out of 2^64."""
        return flip_threshold(self.spec.epsilon.fraction())

    @property
    def counters(self) -> int:
        """k·m sums of signs."""
        return self.spec.hashes * self.spec.width

    def report(self, question: Question, codes: Codes, source: RandomSource) -> Int64Vector:
        """Return the sum of the rows' reports: all functions are drawn first, then coordinates, then flips."""
        k, m = self.spec.hashes, self.spec.width
        chosen = draw_below(source, k, codes.size)
        coordinate = draw_below(source, m, codes.size)
        is_minus = is_negative(coordinate, places_of_rows(question.plan_id, codes, chosen, k, m))
        is_minus ^= draw_events(source, self.flip, codes.size)
        told = np.where(is_minus, -1.0, 1.0)
        return np.bincount(chosen * m + coordinate, told, minlength=k * m).astype(np.int64)

    def find_fault(self, counters: Int64Vector, samples: int) -> str | None:
        """Return why these are no sums of so many signs."""
        told = sum(map(abs, counters.tolist()))
        if told > samples:
            return f"counters come to {told} reports; the device has {samples} rows"
        if (samples - told) % 2:
            return f"counters of an odd rest: {samples} signs can't add up to them"
        return None

    def estimate(self, question: Question, counters: Int64Vector, samples: int, codes: Codes) -> Float64Vector:
        """Return the estimates of the server algorithm."""
        k, m = self.spec.hashes, self.spec.width
        rows = transform(counters.reshape(k, m))  # whole numbers: exact
        found = rows[np.arange(k), places(question.plan_id, codes, k, m)].sum(axis=1)
        return np.asarray(m / (m - 1) * (_scale(self.flip) * found - samples / m), np.float64)

    def variance(self, codes_counts: Sequence[float], samples: int) -> Float64Vector:
        """Return (m/(m−1))² times the variance of Σ ±c over the rows, and of what shares places with the value."""
        k, m = self.spec.hashes, self.spec.width
        c, share = _scale(self.flip), (1.0 - 1.0 / m) / m
        counts = np.maximum(np.asarray(codes_counts, np.float64), 0.0)
        single, double = others(counts, samples)
        elsewhere = c * c - 1.0 / (m * m) - share / k
        return np.asarray((m / (m - 1)) ** 2 * ((c * c - 1.0) * counts + elsewhere * single + share / k * double))


def is_negative(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether H[row, column] is −1: whether the two have an odd number of bits in common."""
    both = rows & columns
    for shift in (8, 4, 2, 1):  # indices are below 2^16
        both = both ^ (both >> shift)
    return (both & 1).astype(np.bool_)


def transform(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``rows`` times the Hadamard matrix, (k, m), in m·log m additions a row."""
    k, m = rows.shape
    step, values = 1, rows.copy()
    while step < m:
        pairs = values.reshape(k, m // (2 * step), 2, step)
        values = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(k, m)
        step *= 2
    return values


def _scale(flip: int) -> float:
    return float(1 / (1 - 2 * Fraction(flip, ONE)))
