"""What a plan's releases cost the device that makes them: exact whole numbers, the same on every node.

The unit of loss is the micro-zCDP: 10^-6 of the ρ of zero-concentrated differential privacy (Bun and Steinke 2016),
which adds up over releases whatever plans they belong to. A release whose mechanism is pure has an ε too, in 10^-6.

    Gaussian of multiplier z   sigma = z · sensitivity, so ρ = 1 / (2 z²)
    Laplace of epsilon ε       scale = sensitivity / ε: pure ε, and ρ = ε² / 2
    rows randomised under ε    pure ε, and ρ = ε² / 2, once: what is learnt from them is free
    Gaussian of a sum          ρ = (1/z + e)² / 2, e what a sum of discrete Gaussians is off (``fl.privacy.summed``)
    local reports of ε         each row is reported once: pure ε, and ρ = ε² / 2, for whichever row

Every number here is rounded up: a sum of rounded losses is never less than the sum of the losses. Who is selected,
and how often, is drawn from a beacon that everybody can read: sampling amplifies nothing, so nothing is taken off.

Rules of this file: counting only, from the plan alone; total on every plan that decodes. Which noise is added is
``fl.privacy.noise``'s, what the chain does with a charge ``consensus.privacy``'s.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Final

from chain.number import Number
from fl.plan.dimensions import phase_count, randomised_policy
from fl.plan.remember import remembered
from fl.plan.schema import Gaussian, Laplace, NoPrivacy, Plan, SummedGaussian
from fl.plan.statistics import LocalReports
from fl.privacy.summed import excess

MICRO: Final = 10**6
"""Units of loss in a ρ of 1, and of ε in an ε of 1."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one release costs: the mechanism's name, its loss in micro-zCDP, and its pure ε in 10^-6, if it has one."""

    mechanism: str
    loss: int
    epsilon: int | None


FREE: Final = Charge("none", 0, 0)
"""What follows from released things alone, or releases nothing, costs nothing."""
NOT_COUNTED: Final = Charge("none", 0, None)
"""A release without noise: its loss has no bound, so none is counted."""


def gaussian_charge(multiplier: Number) -> Charge:
    """Return what a Gaussian release of this noise multiplier costs. The multiplier is above 0."""
    z = multiplier.fraction()
    return Charge("gaussian", ceil(Fraction(MICRO) / (2 * z * z)), None)


def laplace_charge(epsilon: Number) -> Charge:
    """Return what a Laplace release of this ε costs. The ε is above 0."""
    e = epsilon.fraction()
    return Charge("laplace", ceil(MICRO * e * e / 2), ceil(MICRO * e))


def summed_charge(multiplier: Number, off: Fraction) -> Charge:
    """Return what a release costs whose sum has a Gaussian of this multiplier, but for ``off``. Above 0."""
    return Charge("gaussian-sum", ceil(MICRO * (1 / multiplier.fraction() + off) ** 2 / 2), None)


def is_private(plan: Plan) -> bool:
    """Do the plan's updates carry noise?"""
    return not isinstance(plan.privacy, NoPrivacy)


def is_bounded(plan: Plan) -> bool:
    """Has all that a device releases under the plan, joining included, a bounded loss?"""
    return is_private(plan) or randomised_policy(plan) is not None


@remembered
def update_charge(plan: Plan) -> Charge:
    """Return what one update of the plan costs: each phase's noise is that of the plan."""
    match plan.privacy:
        case Gaussian(multiplier=multiplier) if multiplier.mantissa > 0:
            return gaussian_charge(multiplier)
        case Laplace(epsilon=epsilon) if epsilon.mantissa > 0:
            return laplace_charge(epsilon)
        case SummedGaussian(multiplier=multiplier) if multiplier.mantissa > 0:
            return summed_charge(multiplier, max(excess(plan, phase) for phase in range(phase_count(plan))))
        case LocalReports(epsilon=epsilon) if epsilon.mantissa > 0:
            return replace(laplace_charge(epsilon), mechanism="local")
        case _:
            return NOT_COUNTED if randomised_policy(plan) is None else FREE


def phase_charge(plan: Plan, phase: int) -> Charge:
    """Return what the release of this phase costs its device."""
    return update_charge(plan)


def join_charge(plan: Plan) -> Charge:
    """Return what joining costs: ε for each row of a randomised copy of the data, nothing where none is shared."""
    policy = randomised_policy(plan)
    if policy is None:
        return FREE
    e = policy.epsilon.fraction()
    return Charge("randomised", ceil(MICRO * e * e / 2), ceil(MICRO * e))


def releases_of(plan: Plan) -> int:
    """Return the most releases a device makes under the plan: one for each phase of each attempt at each round."""
    return plan.stopping.rounds * (plan.participation.retries + 1) * phase_count(plan)


@remembered
def worst_case(plan: Plan) -> int:
    """Return the most that a device can lose under the plan, in micro-zCDP: what joining it reserves."""
    attempt = sum(phase_charge(plan, phase).loss for phase in range(phase_count(plan)))
    attempts = plan.stopping.rounds * (plan.participation.retries + 1)
    return join_charge(plan).loss + attempts * attempt


def plan_budget(plan: Plan) -> int:
    """Return the plan's bound on a device's loss under it, in micro-zCDP: its own, or the worst case itself."""
    if not isinstance(plan.privacy, NoPrivacy) and plan.privacy.budget:
        return plan.privacy.budget
    return worst_case(plan)
