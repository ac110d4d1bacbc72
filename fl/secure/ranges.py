"""How large what is encrypted may be: the plan's bounds, and the noise that honest devices add.

Noise that only the sum carries is added to the quantised numbers (``fl.privacy.summed``); any other is on the vector.

Rules of this file: exact integers, pure functions of the plan; ``fl.plan`` proves by them that sums fit.
"""

from collections.abc import Sequence
from typing import Final

from chain.fixedpoint import fixed
from fl.plan.dimensions import encryption_of
from fl.plan.schema import Gaussian, Laplace, Plan
from fl.privacy.scales import noise_scale
from fl.privacy.sensitivity import bounds_of, is_gradient_phase
from fl.privacy.summed import is_summed, shares_of

_GAUSSIAN_TAIL: Final = 12
_LAPLACE_TAIL: Final = 64
"""In units of the scale: noise leads one of 2**22 coordinates beyond in fewer than one of 2**64 releases; it is cut."""


def get_limit(plan: Plan) -> int:
    """Return the largest |q|: 2^(value_bits - 1) - 1; ``LookupError`` where updates travel in the clear."""
    spec = encryption_of(plan)
    if spec is None:
        raise LookupError("the plan's updates travel in the clear")
    return (1 << (spec.value_bits - 1)) - 1


def is_weighted(plan: Plan, phase: int) -> bool:
    """Is a phase's vector one whose mean goes by samples? A sum of gradients counts as it is."""
    return not is_gradient_phase(plan, phase)


def get_coordinate_bound(plan: Plan, phase: int, samples: int) -> int:
    """Return the largest |coordinate| of a device's vector with ``samples`` rows, in units of fixed point.

    Noise is counted that the vector carries itself.
    """
    bounds = bounds_of(plan)
    clip = bounds.update_clip.fraction() if is_weighted(plan, phase) else bounds.sample_clip.fraction() * samples
    tail = {Gaussian: _GAUSSIAN_TAIL, Laplace: _LAPLACE_TAIL}.get(type(plan.privacy), 0)
    return fixed(clip, plan.fraction_bits) + tail * noise_scale(plan, phase, samples)


def get_largest(plan: Plan, phase: int) -> int:
    """Return the largest |w·x| of any device, its noise included: w its samples where vectors are weighted, else 1."""
    ends = plan.participation.min_samples, plan.participation.max_samples
    largest = max([_weight(plan, phase, end) * get_coordinate_bound(plan, phase, end) for end in ends])
    if not is_summed(plan):
        return largest
    share = shares_of(plan)[phase]
    return largest + (share.tail(1) << share.shift)


def _weight(plan: Plan, phase: int, samples: int) -> int:
    return samples if is_weighted(plan, phase) else 1


def get_shift(plan: Plan, phase: int) -> int:
    """Return s: a unit of what is encrypted is 2^s units of fixed point, of the weighted vector."""
    if is_summed(plan):
        return shares_of(plan)[phase].shift
    return max(0, -(-get_largest(plan, phase) // get_limit(plan)) - 1).bit_length()


def get_sum_bound(plan: Plan, phase: int, samples: Sequence[int]) -> int:
    """Return the largest |Σ w·x| of devices with so many rows each, in units of fixed point, noise included."""
    parts = [_weight(plan, phase, count) * get_coordinate_bound(plan, phase, count) for count in samples]
    if not is_summed(plan):
        return sum(parts)
    share = shares_of(plan)[phase]
    return sum([-(-part >> share.shift) for part in parts], share.tail(len(parts))) << share.shift
