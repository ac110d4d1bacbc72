"""How much of a vector a device sends in each round (Lin et al. 2018, section 3.3: warm-up training).

The paper begins with 25 %, then 6.25, 1.5625 and 0.390625 %, and goes on with 0.1 %: each stage keeps a quarter of the
one before. A plan names the share at the end, ``keep``, and the rounds of warm-up: the last of them keeps the smallest
of the paper's shares that is above ``keep``, each before it four times as much, 25 % at most.

Rules of this file: exact fractions; the share is a function of the plan and the round's number, the same for everybody.
"""

from fractions import Fraction

from fl.plan.schema import TopK

_QUARTER = Fraction(1, 4)
_LEAST = 32
"""Quarters below every share that a plan may name: one that names 0 or less, which none may, ends the search too."""


def kept_share(spec: TopK, round_number: int) -> Fraction:
    """Return the share of its coordinates that a device sends in a round, the first of which is 0."""
    keep = spec.keep.fraction()
    before_end = spec.warm_up - round_number
    if before_end <= 0:
        return keep
    power = 0
    while power < _LEAST and _QUARTER ** (power + 1) > keep:
        power += 1
    return max(keep, _QUARTER ** max(1, power + 1 - before_end))


def kept_count(spec: TopK, round_number: int, dimension: int) -> int:
    """Return how many of ``dimension`` coordinates a device sends in a round at most, 1 or more."""
    share = kept_share(spec, round_number) * dimension
    return min(dimension, max(1, -(-share.numerator // share.denominator)))


def most_kept(spec: TopK, dimension: int) -> int:
    """Return the most that it sends in any round: what a plan's first round keeps."""
    return kept_count(spec, 0, dimension)
