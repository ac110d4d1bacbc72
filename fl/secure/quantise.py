"""Updates as the small signed integers that are encrypted, and their sum as the update of the whole cohort.

A device's vector x, in units of fixed point, becomes q = round(w·x / 2^s), half to even: w is 1 where a phase releases
sums, and the device's n_k where it releases displacements, whose mean goes by samples. s is the least shift at which
the largest w·x that the plan allows fits ``value_bits`` with its sign (``fl.secure.ranges``). So Σ q·2^s is the
weighted sum, off by at most half a unit of 2^s a device; ``algorithm.settle`` takes it as the update of one device with
all the samples.

Where each device's vector carries noise, rounding comes after it: it is post-processing, and costs no privacy. Noise
that only the sum carries comes after the rounding, which is counted in the sensitivity (``fl.privacy.summed``).

Rules of this file: pure integers; every node gets the same.
"""

from collections.abc import Sequence

import numpy as np

from chain.fixedpoint import VALUE_MAX, Int64Vector, divide_half_even
from chain.ids import AccountId
from fl.algorithms.base import Contribution, Settled
from fl.objective import Objective
from fl.plan.schema import Plan
from fl.privacy.noise import add_share
from fl.privacy.randomness import RandomSource
from fl.privacy.summed import is_summed
from fl.secure.ranges import get_coordinate_bound, get_limit, get_shift, get_sum_bound, is_weighted

COHORT: AccountId = AccountId(bytes(32))
"""Stands for all devices of a sum; no key has it."""


def quantise(problem: Objective, phase: int, samples: int, vector: Int64Vector) -> Int64Vector:
    """Return q, int64 (d,), |q| <= ``get_limit``, without the sum's noise. What is beyond the allowed is cut to it."""
    plan = problem.plan
    most, limit = get_coordinate_bound(plan, phase, samples), get_limit(plan)
    weight = samples if is_weighted(plan, phase) else 1
    weighted = np.clip(vector, -most, most) * np.int64(weight)
    cut: Int64Vector = np.clip(_shifted_half_even(weighted, get_shift(plan, phase)), -limit, limit)
    return cut


def _shifted_half_even(values: Int64Vector, shift: int) -> Int64Vector:
    """Return values / 2^shift, half to even."""
    if not shift:
        return values
    floor, rest, half = values >> shift, values & ((1 << shift) - 1), np.int64(1) << np.int64(shift - 1)
    rounded: Int64Vector = floor + ((rest > half) | ((rest == half) & (floor & 1 == 1)))
    return rounded


def get_cohort_update(problem: Objective, phase: int, samples: Sequence[int], sums: Sequence[int]) -> Settled:
    """Return what a cohort sent together, as one device's update.

    ``samples``: n_k of each of its devices. ``sums``: Σ q a coordinate. It is cut to what honest devices can have sent
    together, so that no liar moves the model further than the plan's bounds.
    """
    plan, total = problem.plan, max(sum(samples), 1)
    shift, most = get_shift(plan, phase), get_sum_bound(plan, phase, samples)
    if is_weighted(plan, phase):
        values = [divide_half_even(value << shift, total) for value in sums]
        most = -(-most // total) if is_summed(plan) else _largest_of(plan, phase, samples)
    else:
        values = [value << shift for value in sums]
    most = min(most, VALUE_MAX)
    vector = np.array([min(max(value, -most), most) for value in values], dtype=np.int64)
    return Settled.of(COHORT, sum(samples), Contribution(vector, None, 0))


def _largest_of(plan: Plan, phase: int, samples: Sequence[int]) -> int:
    return max([get_coordinate_bound(plan, phase, count) for count in samples], default=0)


def sum_in_clear(problem: Objective, phase: int, settled: Sequence[Settled], noise: RandomSource) -> Settled:
    """Return the cohort's update made of updates that are known: to the bit what is decrypted on a chain.

    ``noise`` is drawn from where only the sum carries it.
    """
    vectors = [
        add_share(problem.plan, phase, quantise(problem, phase, each.samples, each.contribution.vector), noise)
        for each in settled
    ]
    sums: list[int] = np.sum(vectors, axis=0).tolist()
    return get_cohort_update(problem, phase, [each.samples for each in settled], sums)
