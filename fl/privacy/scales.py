"""How much noise a release carries, and how long it can be: whole units, from the plan and n_k alone.

    Gaussian   sigma = ⌈multiplier · Δ₂⌉ units: 1/(2 · multiplier²) zCDP
    Laplace    scale = ⌈Δ₁ / epsilon⌉ units: pure epsilon

Δ₁ and Δ₂ are the release's sensitivities (``fl.privacy.sensitivity``). Rounded up: more noise than asked for, never
less. What a release costs is ``fl.privacy.charges``'.

What only a sum carries is ``fl.privacy.summed``'s: a release by itself has none then.

Rules of this file: exact integers; total on every plan that decodes, since the validator proves its ranges with it.
"""

from typing import Final

from fl.plan.dimensions import parameter_count
from fl.plan.remember import remembered
from fl.plan.schema import Gaussian, Laplace, Plan
from fl.privacy.sensitivity import ceiling, l1_sensitivity, root_above, sensitivity_squared

TAIL: Final = 46
"""A length is exceeded with a probability below 2·e**-46 < 2**-64."""
_KEPT: Final = 4096
"""Scales of a plan that are remembered."""


@remembered
def _found(plan: Plan) -> dict[tuple[int, int], int]:
    """Return room for a plan's scales: a block of many updates asks for the same ones."""
    return {}


def noise_scale(plan: Plan, phase: int, samples: int) -> int:
    """Return a release's sigma (Gaussian) or scale (Laplace) in units, at least 1; 0 if it has no noise of its own."""
    known = _found(plan)
    scale = known.get((phase, samples))
    if scale is None:
        if len(known) >= _KEPT:
            known.clear()
        scale = known[phase, samples] = _noise_scale(plan, phase, samples)
    return scale


def _noise_scale(plan: Plan, phase: int, samples: int) -> int:
    match plan.privacy:
        case Gaussian(multiplier=multiplier):
            squared = multiplier.fraction() ** 2 * sensitivity_squared(plan, phase, samples)
            return max(1, root_above(ceiling(squared)))
        case Laplace(epsilon=epsilon) if epsilon.mantissa > 0:
            return max(1, ceiling(l1_sensitivity(plan, phase, samples) / epsilon.fraction()))
        case _:
            return 0


def noise_bound(plan: Plan, phase: int, samples: int) -> int:
    """Return the length in units, rounded up, that a release's noise exceeds with a probability below 2**-64.

    Gaussian: d discrete Gaussians are sub-Gaussian with their sigma (Canonne et al. 2020), so the squared length is at
    most sigma²·(d + 2·√(d·x) + 2·x) but for e**-x (Laurent and Massart 2000, whose proof needs no more).

    Laplace: |y| <= scale·E + 1 with E exponential. But for d·e**-c every E is at most c, and then the squares of
    min(E, c) add up to 2·d + √(48·d·x) + c²·x/3 at most but for e**-x (Bernstein), and to d·c² in any case.
    """
    scale, d, x = noise_scale(plan, phase, samples), parameter_count(plan), TAIL
    if scale == 0:
        return 0
    if isinstance(plan.privacy, Gaussian):
        return root_above(scale * scale * (d + 2 * root_above(d * x) + 2 * x))
    most = TAIL + d.bit_length()  # at least TAIL + ln d
    squares = min(2 * d + root_above(48 * d * x) + -(-most * most * x // 3), d * most * most)
    return root_above(scale * scale * squares) + root_above(d)
