"""Updates as the small signed integers that are encrypted, and their sum as the update of the whole cohort.

A device's vector x, in units of fixed point, becomes q = round(w·x / 2^s), half to even: w is 1 where a phase releases
sums, and the device's n_k where it releases displacements, whose mean goes by samples. s is the least shift at which
the largest w·x that the plan allows fits ``value_bits`` with its sign. So Σ q·2^s is the weighted sum, off by at most
half a unit of 2^s a device; ``algorithm.settle`` takes it as the update of one device with all the samples.

Rounding comes after noise: it is post-processing, and costs no privacy.

Rules of this file: pure integers; every node gets the same.
"""

from collections.abc import Sequence

import numpy as np

from chain.fixedpoint import VALUE_MAX, Int64Vector, divide_half_even, fixed
from chain.ids import AccountId
from fl.algorithms.base import Contribution, PhaseSpec, Settled
from fl.algorithms.exchange import bounds_of
from fl.algorithms.registry import algorithm_of
from fl.objective import Objective
from fl.plan.dimensions import encryption_of
from fl.plan.schema import Encryption

COHORT: AccountId = AccountId(bytes(32))
"""Stands for all devices of a sum; no key has it."""


def need_encryption(problem: Objective) -> Encryption:
    """Return how the plan's updates are encrypted; ``LookupError`` if they are not."""
    spec = encryption_of(problem.plan)
    if spec is None:
        raise LookupError("the plan's updates travel in the clear")
    return spec


def get_phase(problem: Objective, phase: int) -> PhaseSpec:
    """Return the phase with this number."""
    return algorithm_of(problem.plan).phases[phase]


def get_limit(problem: Objective) -> int:
    """Return the largest |q|: 2^(value_bits - 1) - 1."""
    return (1 << (need_encryption(problem).value_bits - 1)) - 1


def get_coordinate_bound(problem: Objective, phase: int, samples: int) -> int:
    """Return the largest |coordinate| of a device's vector with ``samples`` rows, in units of fixed point."""
    bounds, bits = bounds_of(problem), problem.fraction_bits
    if get_phase(problem, phase).releases_model:
        return fixed(bounds.update_clip.fraction(), bits)
    return fixed(bounds.sample_clip.fraction() * samples, bits)


def get_shift(problem: Objective, phase: int) -> int:
    """Return s: a unit of what is encrypted is 2^s units of fixed point, of the weighted vector."""
    most = problem.plan.participation.max_samples
    weight = most if get_phase(problem, phase).releases_model else 1
    largest, limit = weight * get_coordinate_bound(problem, phase, most), get_limit(problem)
    return max(0, -(-largest // limit) - 1).bit_length()


def quantise(problem: Objective, phase: int, samples: int, vector: Int64Vector) -> Int64Vector:
    """Return q, int64 (d,), |q| <= ``get_limit``; a value beyond what the plan allows is cut to it."""
    shift, limit = get_shift(problem, phase), get_limit(problem)
    weight = samples if get_phase(problem, phase).releases_model else 1
    weighted = vector * np.int64(weight)
    cut: Int64Vector = np.clip(_shifted_half_even(weighted, shift), -limit, limit)
    return cut


def _shifted_half_even(values: Int64Vector, shift: int) -> Int64Vector:
    """Return values / 2^shift, half to even."""
    if not shift:
        return values
    floor, rest, half = values >> shift, values & ((1 << shift) - 1), np.int64(1) << np.int64(shift - 1)
    rounded: Int64Vector = floor + ((rest > half) | ((rest == half) & (floor & 1 == 1)))
    return rounded


def get_cohort_update(problem: Objective, phase: int, samples: int, sums: Sequence[int]) -> Settled:
    """Return what a cohort with ``samples`` rows together sent, as one device's update. ``sums``: Σ q a coordinate.

    Cut to what honest devices can have sent together, so that no liar moves the model further than the plan's bounds.
    """
    shift = get_shift(problem, phase)
    most = get_coordinate_bound(problem, phase, samples)
    if get_phase(problem, phase).releases_model:
        values = [divide_half_even(value << shift, max(samples, 1)) for value in sums]
    else:
        values = [value << shift for value in sums]
    most = min(most, VALUE_MAX)
    vector = np.array([min(max(value, -most), most) for value in values], dtype=np.int64)
    return Settled.of(COHORT, samples, Contribution(vector, None, 0))
