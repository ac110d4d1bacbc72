"""Proof that no value of a plan with noise leaves fixed point: its clips, the noise's longest tail and the rounds fit.

Rules of this file: as in ``fl.plan.validate``, by way of ``fl.plan.checks_privacy``.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import isqrt
from typing import Final

from chain.fixedpoint import VALUE_MAX
from fl.errors import Problem
from fl.plan.dimensions import phase_count
from fl.plan.schema import Gaussian, NoPrivacy, Plan
from fl.privacy.scales import noise_bound
from fl.privacy.sensitivity import bound_squared, bounds_of, clips_rows, is_gradient_phase

Problems = Iterator[Problem]
_FIRST_WEIGHT: Final = 8
"""No weight of a new model is larger, as in ``fl.plan.validate``."""


def check_clips(plan: Plan) -> Problems:
    """A clip of less than a unit leaves nothing of any vector; sums of clipped rows are exact up to 2^53 units."""
    if isinstance(plan.privacy, NoPrivacy):
        return
    bounds, bits = bounds_of(plan), plan.fraction_bits
    for name, clip in (("sample_clip", bounds.sample_clip), ("update_clip", bounds.update_clip)):
        if clip.mantissa > 0 and bound_squared(clip.fraction(), bits) < 1:
            allowed = f"is below 2^-{bits}, the unit of fixed point: under noise nothing would be left; raise it or "
            yield Problem(f"verification.bounds.{name}", str(clip), f"{allowed}fraction_bits")
    most = plan.participation.max_samples
    if clips_rows(plan) and bounds.sample_clip.fraction() * most > Fraction(VALUE_MAX, 1 << bits):
        allowed = f"times participation.max_samples = {most} must be at most 2^{53 - bits}, so that sums are exact"
        yield Problem("verification.bounds.sample_clip", str(bounds.sample_clip), allowed)


def check_noise_range(plan: Plan) -> Problems:
    """A release is as long as its clip and its noise, and a model moves no farther than that in a round."""
    if isinstance(plan.privacy, NoPrivacy):
        return
    path, value = _named(plan)
    for phase in range(phase_count(plan)):
        is_gradient = is_gradient_phase(plan, phase)
        most = _longest(plan, phase)
        rounds = 1 if is_gradient else plan.stopping.rounds
        if most * rounds + (_FIRST_WEIGHT << plan.fraction_bits) > VALUE_MAX:
            what = "a gradient sum" if is_gradient else f"what {rounds} rounds move the model by"
            bits = (most * rounds).bit_length() - plan.fraction_bits
            allowed = (
                f"lets {what}, noise included, come to 2^{bits}; fixed point with fraction_bits = {plan.fraction_bits} "
                f"ends at 2^{53 - plan.fraction_bits}: take smaller clips or fraction_bits, or less noise"
            )
            yield Problem(path, value, allowed)


def _named(plan: Plan) -> tuple[str, str]:
    if isinstance(plan.privacy, Gaussian):
        return "privacy.multiplier", str(plan.privacy.multiplier)
    return "privacy.epsilon", "" if isinstance(plan.privacy, NoPrivacy) else str(plan.privacy.epsilon)


def _longest(plan: Plan, phase: int) -> int:
    """Return the length in units that no release of the phase reaches, noise included, whatever its device's samples.

    Sensitivities are sums of parts that fall with the samples and parts that rise: both ends together are above all.
    """
    bounds, sizes = bounds_of(plan), (plan.participation.min_samples, plan.participation.max_samples)
    is_gradient = is_gradient_phase(plan, phase)
    clip = bounds.sample_clip.fraction() * sizes[1] if is_gradient else bounds.update_clip.fraction()
    return isqrt(bound_squared(clip, plan.fraction_bits)) + 1 + sum(noise_bound(plan, phase, max(n, 1)) for n in sizes)


_READ: Final = frozenset(
    {"privacy", "verification", "participation", "stopping", "algorithm", "fraction_bits", "roles", "model"}
)
NOISE_PLAN_RULES: Final[tuple[tuple[frozenset[str], Callable[[Plan], Problems]], ...]] = (
    (_READ, check_clips),
    (_READ, check_noise_range),
)
