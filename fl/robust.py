"""Robust aggregation: where a round's vectors lie when some of their senders lie (docs/learning.md).

A rule looks at one vector a device, all of the same unit: its update w_k − w, or the mean of its gradients. It gives
the vectors' *location* as exact integers over one denominator, so every node gets the same bits in any order.

    median        of each coordinate; K ≥ 2f + 1 holds against f liars (Yin et al. 2018)
    trimmed-mean  the mean of each coordinate without its largest and smallest values (Yin et al. 2018)
    multi-krum    the mean, by samples, of the K − f vectors nearest to their neighbours (Blanchard et al. 2017)
    norm-clip     the mean, by samples, of vectors cut to a multiple of the median length (Sun et al. 2019)

The first two count every device once, whatever samples it claims. Rules of this file: no float, no order of devices;
vectors of a phase are held in memory together (``fl.plan.validate`` bounds them).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

import numpy as np

from chain.fixedpoint import VALUE_MAX, Int64Vector, divide_half_even, squared_norm, weighted_sum
from chain.ids import AccountId
from fl.plan.schema import Median, MultiKrum, NormClip, RobustRule, TrimmedMean

_BLOCK_VALUES: Final = 1 << 21
"""Values of all devices that are sorted at a time."""
_SCALE_BITS: Final = 32
_LOW_BITS: Final = 27


@dataclass(frozen=True, slots=True)
class Member:
    """A device with its vector, int64 (d,), |value| <= 2**53 units, and n_k."""

    device: AccountId
    samples: int
    vector: Int64Vector


@dataclass(frozen=True, slots=True)
class Location:
    """Where the vectors lie: ``sums`` / ``denominator`` in each coordinate, in fixed-point units."""

    sums: list[int]
    denominator: int

    def scaled(self, numerator: int, denominator: int) -> "Location":
        """Return the location times a fraction."""
        return Location([total * numerator for total in self.sums], self.denominator * denominator)

    def times(self, factor: int) -> list[int]:
        """Return the location times a whole number, each coordinate rounded once, half to even."""
        return [divide_half_even(total * factor, self.denominator) for total in self.sums]


def locate(rule: RobustRule, members: Sequence[Member]) -> Location:
    """Return where the vectors lie by the plan's rule; there is at least one."""
    match rule:
        case Median():
            return _locate_median(members)
        case TrimmedMean():
            return _locate_trimmed(members, rule.percent * len(members) // 100)
        case MultiKrum():
            return _mean(choose_nearest(members, rule.percent * len(members) // 100))
        case NormClip():
            return _mean(clip_to_median(members, rule.percent))


def mean_vector(vector: Int64Vector, samples: int) -> Int64Vector:
    """Return vector / samples, each coordinate rounded half to even; 1 <= samples < 2**32."""
    quotient = vector // samples
    twice = 2 * (vector - quotient * samples)
    quotient += (twice > samples) | ((twice == samples) & (quotient & 1 == 1))
    return quotient


def _locate_median(members: Sequence[Member]) -> Location:
    low, high = (len(members) - 1) // 2, len(members) // 2
    middle = [rows[low] + rows[high] for rows in _sorted_blocks(members)]  # below 2**54
    sums: list[int] = np.concatenate(middle).tolist()
    return Location(sums, 2)


def _locate_trimmed(members: Sequence[Member], cut: int) -> Location:
    kept = len(members) - 2 * cut
    sums: list[int] = []
    for rows in _sorted_blocks(members):
        sums += weighted_sum(rows[cut : cut + kept], [1] * kept)
    return Location(sums, kept)


def _sorted_blocks(members: Sequence[Member]) -> Iterator[Int64Vector]:
    """Yield the devices' values of a stretch of coordinates, int64 (K, columns), each column in ascending order."""
    columns = max(1, _BLOCK_VALUES // len(members))
    for start in range(0, members[0].vector.size, columns):
        yield np.sort([member.vector[start : start + columns] for member in members], axis=0)


def _mean(members: Sequence[Member]) -> Location:
    weights = [member.samples for member in members]
    return Location(weighted_sum([member.vector for member in members], weights), sum(weights))


def choose_nearest(members: Sequence[Member], hostile: int) -> list[Member]:
    """Return the K − f vectors whose K − f − 2 nearest neighbours are nearest in sum (Multi-Krum).

    f = ``hostile`` at most, and so few that K >= 2f + 3 holds. Ties go to the lower device.
    """
    count = len(members)
    f = max(0, min(hostile, (count - 3) // 2))
    if f == 0:
        return list(members)
    distances = [[0] * count for _ in members]
    for one in range(count):
        for other in range(one):
            distance = _distance_squared(members[one].vector, members[other].vector)
            distances[one][other] = distances[other][one] = distance
    scores = [sum(sorted(row)[1 : count - f - 1]) for row in distances]  # the nearest of all is itself
    order = sorted(range(count), key=lambda number: (scores[number], members[number].device))
    return [members[number] for number in order[: count - f]]


def _distance_squared(one: Int64Vector, other: Int64Vector) -> int:
    difference = one - other  # below 2**54
    if int(np.abs(difference).max(initial=0)) <= VALUE_MAX:
        return squared_norm(difference)
    return sum(value * value for value in difference.tolist())


def clip_to_median(members: Sequence[Member], percent: int) -> list[Member]:
    """Return the devices, vectors longer than ``percent`` % of the median length cut to that, towards zero.

    The median of an even number is the lower of the two in the middle: half of the devices may be liars with long
    vectors. Bounds are on the squares, which are exact.
    """
    norms = [squared_norm(member.vector) for member in members]
    bound = sorted(norms)[(len(norms) - 1) // 2] * percent**2 // 100**2
    return [
        member if norm <= bound else Member(member.device, member.samples, _shrunk(member.vector, bound, norm))
        for member, norm in zip(members, norms, strict=True)
    ]


def _shrunk(vector: Int64Vector, bound: int, norm: int) -> Int64Vector:
    """Return vector · √(bound / norm), cut towards zero; bound < norm. No length comes out above √bound."""
    factor = isqrt((bound << 2 * _SCALE_BITS) // norm)  # below 2**32
    size = np.abs(vector)
    high, low = size >> _LOW_BITS, size & (1 << _LOW_BITS) - 1  # both at most 2**27, their products fit
    shrunk: Int64Vector = np.sign(vector) * (high * factor + (low * factor >> _LOW_BITS) >> _SCALE_BITS - _LOW_BITS)
    return shrunk
