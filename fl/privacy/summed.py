"""Noise that only a sum carries: how much each device adds of it, in the whole numbers that are encrypted.

Under ``privacy.type = "gaussian-sum"`` a device quantises its clipped update first, and then adds a discrete Gaussian
to what it encrypts. Nobody sees a single update, so each need only carry a part: with h = min_devices − colluders
devices whose noise the observer does not know, a variance of (multiplier · Δ)² / h each makes (multiplier · Δ)² in the
sum. More devices make more noise, which takes nothing away.

    Δ      how far apart a row (or a device's rows) can bring the sum: that of the weighted vector, whichever number of
           rows the device has, over 2^shift; and √d, since rounding parts two coordinates by less than a unit more
    shift  the least with which a device's number and its noise fit ``value_bits``
    sigma  of a device, rounded up

A sum of discrete Gaussians is no discrete Gaussian, but nearly: ``excess`` is how far off (Kairouz, Liu and Steinke
2021, theorem 1: ½·(Δ/(√h·sigma) + τ·√d)² zCDP, τ = 10·Σ exp(−2π²·sigma²·k/(k+1)) over k = 1 … h − 1).

Rules of this file: exact integers, from the plan alone, never too small; total on every plan that decodes.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from chain.fixedpoint import fixed
from fl.plan.dimensions import encryption_of, parameter_count, phase_count
from fl.plan.remember import remembered
from fl.plan.schema import FedSvrg, Plan, SummedGaussian
from fl.privacy.sensitivity import (
    bounds_of,
    ceiling,
    find_distance,
    is_gradient_phase,
    is_record_private,
    root_above,
    rounding_of,
)

LEAST_SIGMA: Final = 2
"""Of a device: below it sums of discrete Gaussians are too far from one."""
NOISE_TAIL: Final = 12
"""In sigmas. One of 2**24 coordinates has noise beyond in fewer than one of 2**64 releases (2·e**-72 each)."""
_MOST_SHIFT: Final = 62
_MOST_HALVINGS: Final = 4096
_ANY_BITS: Final = 24


@dataclass(frozen=True, slots=True)
class Share:
    """What a device adds to a phase's sum.

    sigma  of its noise, in units of what is encrypted
    shift  such a unit is 2^shift units of fixed point, of the weighted vector
    limit  what is encrypted lies within ± limit
    """

    sigma: int
    shift: int
    limit: int

    def tail(self, devices: int) -> int:
        """Return what the noise of so many devices together stays within, but for one of 2**64 releases."""
        return NOISE_TAIL * root_above(devices * self.sigma * self.sigma)


def is_summed(plan: Plan) -> bool:
    """Do the plan's updates carry noise in their sum alone?"""
    return isinstance(plan.privacy, SummedGaussian)


def honest_devices(plan: Plan) -> int:
    """Return h: devices of a sum, at least, whose noise nobody else knows; at least 1. The plan is a summed one."""
    spec = plan.privacy
    assert isinstance(spec, SummedGaussian)
    return max(1, plan.participation.min_devices - spec.colluders)


@remembered
def shares_of(plan: Plan) -> tuple[Share, ...]:
    """Return what a device adds in each phase of a summed plan."""
    return tuple([_share(plan, phase) for phase in range(phase_count(plan))])


def _share(plan: Plan, phase: int) -> Share:
    """Return the share with the least shift that fits; with the largest there is if none does."""
    spec = encryption_of(plan)
    limit = (1 << ((_ANY_BITS if spec is None else spec.value_bits) - 1)) - 1
    largest = largest_weighted(plan, phase)
    for shift in range(_MOST_SHIFT):
        share = Share(_sigma(plan, phase, shift), shift, limit)
        if fits(share, largest):
            return share
    return Share(_sigma(plan, phase, _MOST_SHIFT), _MOST_SHIFT, limit)


def fits(share: Share, largest: int) -> bool:
    """Is a number of this size, rounded, within the limit together with a device's noise?"""
    return -(-largest >> share.shift) + share.tail(1) <= share.limit


def _sigma(plan: Plan, phase: int, shift: int) -> int:
    spec = plan.privacy
    assert isinstance(spec, SummedGaussian)
    wanted = spec.multiplier.fraction() * sum_sensitivity(plan, phase, shift)
    return max(1, root_above(ceiling(wanted**2 / honest_devices(plan))))


def sum_sensitivity(plan: Plan, phase: int, shift: int) -> Fraction:
    """Return how far apart neighbours bring the sum of what is encrypted, in its units; rounding is counted."""
    rounding = root_above(parameter_count(plan)) if shift else 0
    return weighted_sensitivity(plan, phase) / (1 << shift) + rounding


def largest_weighted(plan: Plan, phase: int) -> int:
    """Return the largest |w·coordinate| of a clipped vector, in units of fixed point: of a device with most rows."""
    bounds, most = bounds_of(plan), plan.participation.max_samples
    if is_gradient_phase(plan, phase):
        return fixed(bounds.sample_clip.fraction() * most, plan.fraction_bits)
    return fixed(bounds.update_clip.fraction(), plan.fraction_bits) * most


def weighted_sensitivity(plan: Plan, phase: int) -> Fraction:
    """Return by how much neighbours' vectors differ, weighted, in units: the most that any number of rows allows.

    Noise comes from all devices, so it is made for whichever of them it has to hide. Gradient sums weigh 1; updates
    weigh n_k, and n_k times what they move by falls nowhere as n_k grows, but where bounded passes begin.
    """
    bounds, units, most = bounds_of(plan), 1 << plan.fraction_bits, plan.participation.max_samples
    if is_gradient_phase(plan, phase):
        return 2 * bounds.sample_clip.fraction() * units * (1 if is_record_private(plan) else most)
    return max(_weighted(plan, samples) for samples in {most, _most_unbounded(plan)} if samples > 0 or most == 0)


def _weighted(plan: Plan, samples: int) -> Fraction:
    """Return samples times what an update of so many moves by, in units."""
    bounds, units = bounds_of(plan), 1 << plan.fraction_bits
    whole, moved = 2 * bounds.update_clip.fraction() * units * samples, find_distance(plan, samples)
    return whole if moved is None else min(whole, samples * (moved * units + rounding_of(plan)))


def _most_unbounded(plan: Plan) -> int:
    """Return the most rows with which a pass is not bounded though with more it is; 0 where there are no such."""
    spec, limits = plan.algorithm, plan.participation
    if not isinstance(spec, FedSvrg):
        return 0
    samples = min(limits.max_samples, ceiling(spec.step.fraction() * plan.model.l2.fraction()) - 1)
    return samples if samples >= limits.min_samples else 0


def excess(plan: Plan, phase: int) -> Fraction:
    """Return τ·√d, rounded up: π²/ln 2 > 14 and k/(k+1) >= ½, so τ <= 10·(h − 1)·2^(−14·sigma²)."""
    sigma = shares_of(plan)[phase].sigma
    halvings = min(14 * sigma * sigma, _MOST_HALVINGS)
    return Fraction(10 * (honest_devices(plan) - 1) * root_above(parameter_count(plan)), 1 << halvings)
