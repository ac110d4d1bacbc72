"""Proof that no value of a plan with noise leaves fixed point: its clips, the noise's longest tail and the rounds fit.

Rules of this file: as in ``fl.plan.validate``, by way of ``fl.plan.checks_privacy``.
"""

from fractions import Fraction
from math import isqrt
from typing import Final

from chain.fixedpoint import VALUE_MAX
from fl.errors import Problem
from fl.plan.checks import FIRST_WEIGHT, PlanRules, Problems
from fl.plan.dimensions import encryption_of, most_selected, phase_count
from fl.plan.schema import Gaussian, NoPrivacy, Plan, SummedGaussian
from fl.privacy.scales import noise_bound
from fl.privacy.sensitivity import bound_squared, bounds_of, ceiling, clips_rows, is_gradient_phase
from fl.privacy.summed import LEAST_SIGMA, NOISE_TAIL, fits, is_summed, largest_weighted, shares_of


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
        if most * rounds + (FIRST_WEIGHT << plan.fraction_bits) > VALUE_MAX:
            what = "a gradient sum" if is_gradient else f"what {rounds} rounds move the model by"
            bits = (most * rounds).bit_length() - plan.fraction_bits
            allowed = (
                f"lets {what}, noise included, come to 2^{bits}; fixed point with fraction_bits = {plan.fraction_bits} "
                f"ends at 2^{53 - plan.fraction_bits}: take smaller clips or fraction_bits, or less noise"
            )
            yield Problem(path, value, allowed)


def _named(plan: Plan) -> tuple[str, str]:
    if isinstance(plan.privacy, Gaussian | SummedGaussian):
        return "privacy.multiplier", str(plan.privacy.multiplier)
    return "privacy.epsilon", "" if isinstance(plan.privacy, NoPrivacy) else str(plan.privacy.epsilon)


def _longest(plan: Plan, phase: int) -> int:
    """Return the length in units that no release of the phase reaches, noise included, whatever its device's samples.

    Sensitivities are sums of parts that fall with the samples and parts that rise: both ends together are above all.
    """
    bounds, sizes = bounds_of(plan), (plan.participation.min_samples, plan.participation.max_samples)
    is_gradient = is_gradient_phase(plan, phase)
    clip = bounds.sample_clip.fraction() * sizes[1] if is_gradient else bounds.update_clip.fraction()
    if is_summed(plan):
        return isqrt(bound_squared(clip, plan.fraction_bits)) + 1 + _farthest(plan, phase)
    return isqrt(bound_squared(clip, plan.fraction_bits)) + 1 + sum(noise_bound(plan, phase, max(n, 1)) for n in sizes)


def _farthest(plan: Plan, phase: int) -> int:
    """Return how far the noise of a sum, and rounding, may bring a coordinate of what is settled, in units.

    Of a mean the fewest devices with the fewest rows make the most: noise goes by the root of how many they are.
    """
    share, limits = shares_of(plan)[phase], plan.participation
    if is_gradient_phase(plan, phase):
        return (share.tail(most_selected(plan)) + most_selected(plan)) << share.shift
    noise = (share.tail(limits.min_devices) + NOISE_TAIL) << share.shift
    return ceiling(Fraction(noise, max(limits.min_devices * limits.min_samples, 1))) + (1 << share.shift)


def check_sum(plan: Plan) -> Problems:
    """Noise of which each device adds a part is noise only where nobody sees the parts, nor knows most of them."""
    if not isinstance(plan.privacy, SummedGaussian):
        return
    spec, least = encryption_of(plan), plan.participation.min_devices
    if spec is None:
        allowed = (
            'needs aggregation.type = "masks", "paillier" or "paillier-own": in the clear each update would carry a '
            'part of the noise alone. For updates in the clear there is "gaussian"'
        )
        yield Problem("privacy.type", "gaussian-sum", allowed)
        return
    if spec.cohort == "open":
        allowed = (
            'must be "gaussian" or "laplace" with aggregation.cohort = "open": who joins under many keys knows most of '
            'the noise and takes it off. If you know each device, say cohort = "known"'
        )
        yield Problem("privacy.type", "gaussian-sum", allowed)
    if plan.privacy.colluders >= least:
        allowed = f"must be below participation.min_devices = {least}: of nobody's noise would any be left"
        yield Problem("privacy.colluders", str(plan.privacy.colluders), allowed)
        return
    wanted = (plan.privacy.multiplier, bounds_of(plan).sample_clip, bounds_of(plan).update_clip)
    if any(number.mantissa <= 0 for number in wanted):
        return  # that is a problem of its own, and more bits would not mend it
    for phase, share in enumerate(shares_of(plan)):
        if not fits(share, largest_weighted(plan, phase)):
            allowed = "has no room for a value and its noise in any unit: raise it, or lower privacy.multiplier"
        elif share.sigma < LEAST_SIGMA:
            allowed = (
                f"is too coarse: a device's part of the noise would have a sigma of {share.sigma} unit, and sums of "
                f"such noise are proved from {LEAST_SIGMA} on: raise it"
            )
        else:
            continue
        yield Problem("aggregation.value_bits", str(spec.value_bits), allowed)
        return


_READ: Final = frozenset(
    {"privacy", "verification", "participation", "stopping", "algorithm", "fraction_bits", "roles", "model"}
)
NOISE_PLAN_RULES: Final[PlanRules] = (
    (_READ, check_clips),
    (_READ | {"aggregation"}, check_noise_range),
    (_READ | {"aggregation"}, check_sum),
)
