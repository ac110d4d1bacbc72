"""The mechanisms: what training gave, with the plan's noise on it, is what leaves the device.

Every coordinate gets a number of its own from the exact samplers (``fl.privacy.discrete``), scaled as
``fl.privacy.scales`` says. Of the loss a round begins at, nothing leaves: it is stated as 0.

Noise that only a sum carries is added later, to what is encrypted: rounding after noise would be each device's own, and
a sum of rounded numbers does not follow from the sum of the numbers.

Rules of this file: integers; the noise is drawn once for a release, and overwritten.
"""

from fractions import Fraction

import numpy as np

from chain.fixedpoint import VALUE_MAX, Int64Vector
from fl.objective import Objective
from fl.payload import parse_payload, write_payload
from fl.plan.dimensions import parameter_count
from fl.plan.schema import Laplace, Plan, StatisticsPlan
from fl.privacy.charges import is_private
from fl.privacy.discrete import gaussian_noise, laplace_noise
from fl.privacy.randomness import RandomSource
from fl.privacy.scales import noise_scale
from fl.privacy.summed import is_summed, shares_of


def add_noise(problem: Objective, phase: int, samples: int, trained: bytes, source: RandomSource) -> bytes:
    """Return the payload of a release, made of what ``Algorithm.train`` gave; that itself under a plan without noise.

    A coordinate beyond 2**53 units, which noise brings about once in 2**64 releases at most, is cut to it.
    """
    if not is_private(problem.plan) or isinstance(problem.plan, StatisticsPlan):  # reports are drawn at random
        return trained
    is_first = phase == 0  # a round's first phase states a loss
    vector = parse_payload(trained, problem.dimension, has_loss=is_first).vector
    if not is_summed(problem.plan):
        noise = draw_noise(problem.plan, phase, samples, source)
        vector += noise
        noise[:] = 0
    return write_payload(np.clip(vector, -VALUE_MAX, VALUE_MAX), 0 if is_first else None)


def draw_noise(plan: Plan, phase: int, samples: int, source: RandomSource) -> Int64Vector:
    """Return the noise of a release of so many samples, int64 (d,)."""
    draw = laplace_noise if isinstance(plan.privacy, Laplace) else gaussian_noise
    return draw(Fraction(noise_scale(plan, phase, samples)), parameter_count(plan), source)


def add_share(plan: Plan, phase: int, values: Int64Vector, source: RandomSource) -> Int64Vector:
    """Return the numbers to encrypt, with a device's part of the noise that their sum has to carry, int64 (d,).

    Those of other plans come back as they are. What leaves the limit, once in 2**64 releases at most, is cut to it.
    """
    if not is_summed(plan):
        return values
    share = shares_of(plan)[phase]
    noise = gaussian_noise(Fraction(share.sigma), values.size, source)
    noised: Int64Vector = np.clip(values + noise, -share.limit, share.limit)
    noise[:] = 0
    return noised
