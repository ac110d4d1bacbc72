"""By how much one row, or one device, can move a release before the noise: exact bounds in fixed-point units.

Two data sets are neighbours if they have equally many rows and differ in one of them (``unit = "record"``) or in any
number of them (``unit = "device"``): the number of rows n_k is public. A release's sensitivity is the longest distance
between the vectors that neighbours give, everything public being the same. Derivations: docs/privacy.md, "Mechanisms".

    gradient sums   record: each row's vector lies in the ball of sample_clip, exactly (``fl.kernels.private``), and the
                    sum is exact, so 2 · sample_clip
                    device: the sum lies in the ball of n_k · sample_clip, so 2 · n_k · sample_clip
    updates         they lie in the ball of update_clip, so 2 · update_clip: trajectories part at the first step that
                    differs, and nothing better holds for any model
    single steps    record: an update that is one step along the mean of clipped gradients moves by
                    2 · step · sample_clip / n_k, and what rounding and the last clip add

Rules of this file: exact integers from the plan and n_k alone, never too small; total on every plan that decodes.
"""

from fractions import Fraction
from math import isqrt
from typing import Final

from chain.number import Number
from fl.plan.dimensions import parameter_count
from fl.plan.schema import Bounds, FedAvg, Gaussian, Laplace, Plan

_CLIP_BITS: Final = 38
"""The last clip of an update (``fl.payload.clipped``) ends within 2**-39 radii of the ball's nearest point."""
_NO_BOUNDS: Final = Bounds(Number(0, 0), Number(0, 0))


def bounds_of(plan: Plan) -> Bounds:
    """Return the plan's bounds policy, which every valid plan has; of others, one that bounds all at 0."""
    found = (policy for policy in plan.verification.policies if isinstance(policy, Bounds))
    return next(found, _NO_BOUNDS)


def is_gradient_phase(plan: Plan, phase: int) -> bool:
    """Does a phase release sums of gradients, and no updates?"""
    return phase == 0 and not isinstance(plan.algorithm, FedAvg)


def is_record_private(plan: Plan) -> bool:
    """Do the plan's updates carry noise that hides a row?"""
    return isinstance(plan.privacy, Gaussian | Laplace) and plan.privacy.unit == "record"


def is_single_step(plan: Plan) -> bool:
    """Is an update one step along the mean of clipped gradients of all rows, under noise that hides a row?"""
    spec = plan.algorithm
    return (
        is_record_private(plan)
        and isinstance(spec, FedAvg)
        and spec.epochs == 1
        and spec.batch >= plan.participation.max_samples
    )


def clips_rows(plan: Plan) -> bool:
    """Does any phase add up gradients of which each row's is clipped by itself?"""
    return is_record_private(plan) and (is_gradient_phase(plan, 0) or is_single_step(plan))


def sensitivity_squared(plan: Plan, phase: int, samples: int) -> int:
    """Return the square of a release's L2 sensitivity, in squared units, for a device of so many samples."""
    bounds, bits = bounds_of(plan), plan.fraction_bits
    if is_gradient_phase(plan, phase):
        rows = 1 if is_record_private(plan) else samples
        return 4 * bound_squared(bounds.sample_clip.fraction() * rows, bits)
    whole = 4 * bound_squared(bounds.update_clip.fraction(), bits)
    if not is_single_step(plan) or samples < 1:
        return whole
    moved = 2 * abs(plan.algorithm.step.fraction()) * bounds.sample_clip.fraction() * (1 << bits) / samples
    return min(whole, (ceiling(moved) + rounding_of(plan)) ** 2)


def rounding_of(plan: Plan) -> int:
    """Return what rounding an update to units, and its last clip, may add to the distance of two, in units.

    Rounding parts two coordinates by less than a unit more than they were: √d units. The clip is the way to the nearest
    point of a ball, which brings no two points farther apart, within 2**-39 of the ball's radius for each of them.
    """
    length = bounds_of(plan).update_clip.fraction() * (1 << plan.fraction_bits)
    return root_above(parameter_count(plan)) + ceiling(length / (1 << _CLIP_BITS)) + 2


def l1_sensitivity(plan: Plan, phase: int, samples: int) -> int:
    """Return a release's L1 sensitivity in units: at most √d times the other, and whole."""
    return isqrt(parameter_count(plan) * sensitivity_squared(plan, phase, samples))


def bound_squared(bound: Fraction, fraction_bits: int) -> int:
    """Return the largest squared norm, in squared units, that a bound on the length allows."""
    units = bound * (1 << fraction_bits)
    return units.numerator**2 // units.denominator**2


def ceiling(value: Fraction) -> int:
    """Return the least whole number that is not below."""
    return -(-value.numerator // value.denominator)


def root_above(value: int) -> int:
    """Return the least whole number whose square is not below, for value >= 0."""
    return isqrt(value - 1) + 1 if value > 0 else 0
