"""An attack that measures what a mechanism tells: whether one row, or one device's rows, were these or those.

The attacker knows all but that: both data sets, the model, what training gives for each. It sees many releases made
from the one, and from the other, and guesses by the likelihood which of both it was. How often it is right, and how
often wrong, bounds the ε from below that the mechanism can have: for any set of outputs, P(guess | these) is at most
e^ε · P(guess | those) + δ (Jagielski, Ullman and Oprea 2020; Nasr et al. 2023). The threshold is chosen on one half of
the trials, and both chances are bounded on the other by Clopper and Pearson.

    claimed ε    what the plan's charge means at this δ
    measured ε   below the real one with ``CONFIDENCE``; above the claim only if the mechanism is broken
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from chain.fixedpoint import Int64Vector
from fl.payload import parse_payload, write_payload
from fl.plan.schema import Gaussian, Plan
from fl.privacy.charges import phase_charge
from fl.privacy.convert import epsilon_of
from fl.privacy.noise import add_noise
from fl.privacy.randomness import RandomSource
from fl.privacy.scales import noise_scale
from fl.problem import Problem

CONFIDENCE: Final = 0.999
Scores = NDArray[np.float64]
Release = Callable[[Int64Vector], Int64Vector]
"""A mechanism: makes a release of what training gave."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What an audit found, at ``delta``."""

    claimed: float
    measured: float
    delta: float

    @property
    def is_broken(self) -> bool:
        """Does the mechanism tell more than its plan claims?"""
        return self.measured > self.claimed


def mechanism(problem: Problem, phase: int, samples: int, source: RandomSource) -> Release:
    """Return the mechanism of a plan's phase, as a device runs it: payload in, payload out."""
    loss = 0 if phase == 0 else None

    def release(trained: Int64Vector) -> Int64Vector:
        payload = add_noise(problem, phase, samples, write_payload(trained, loss), source)
        return parse_payload(payload, problem.dimension, has_loss=phase == 0).vector

    return release


def claimed_epsilon(plan: Plan, phase: int, delta: float) -> float:
    """Return the ε at δ that one release of the phase is charged: of Laplace noise its own, whatever δ."""
    charge = phase_charge(plan, phase)
    return epsilon_of(charge.loss, delta) if charge.epsilon is None else charge.epsilon / 1e6


def audit(
    problem: Problem, phase: int, samples: int, these: Int64Vector, those: Int64Vector, release: Release, trials: int
) -> Finding:
    """Return what so many releases of either data set, whose trained vectors are given, tell about which it was."""
    plan = problem.plan
    delta = 0.1 if isinstance(plan.privacy, Gaussian) else 0.0
    scale = float(noise_scale(plan, phase, samples))

    def score(seen: Int64Vector) -> float:
        """Return the logarithm of how much likelier the release is if it was made of these."""
        near, far = (seen - these) / scale, (seen - those) / scale
        if isinstance(plan.privacy, Gaussian):
            return float((far @ far - near @ near) / 2)
        return float(np.abs(far).sum() - np.abs(near).sum())

    of_these = np.array([score(release(these)) for _ in range(trials)])
    of_those = np.array([score(release(those)) for _ in range(trials)])
    return Finding(claimed_epsilon(plan, phase, delta), measured_epsilon(of_these, of_those, delta), delta)


def measured_epsilon(of_these: Scores, of_those: Scores, delta: float) -> float:
    """Return a lower bound of ε at δ: the score says "these" above a threshold, and "those" below another one."""
    half = of_these.size // 2
    bounds = [0.0]
    for sign in (1.0, -1.0):
        right, wrong = (of_these, of_those) if sign > 0 else (of_those, of_these)
        threshold = _best_threshold(sign * right[:half], sign * wrong[:half], delta)
        hits = int((sign * right[half:] > threshold).sum())
        errors = int((sign * wrong[half:] > threshold).sum())
        least, most = _least_share(hits, right.size - half), _most_share(errors, wrong.size - half)
        if least > delta:
            bounds.append(log((least - delta) / most))
    return max(bounds)


def _best_threshold(right: Scores, wrong: Scores, delta: float) -> float:
    """Return the threshold whose bound is largest on these scores."""
    found = []
    for threshold in np.quantile(np.concatenate([right, wrong]), np.linspace(0.02, 0.999, 40)):
        least = _least_share(int((right > threshold).sum()), right.size)
        most = _most_share(int((wrong > threshold).sum()), wrong.size)
        found.append((log((least - delta) / most) if least > delta else -1.0, float(threshold)))
    return max(found)[1]


def _least_share(hits: int, trials: int) -> float:
    """Return the lower end of Clopper and Pearson's interval, half of the doubt for it."""
    doubt = (1 - CONFIDENCE) / 4  # two ends, two directions
    return float(beta.ppf(doubt, hits, trials - hits + 1)) if hits else 0.0


def _most_share(hits: int, trials: int) -> float:
    """Return the upper end."""
    doubt = (1 - CONFIDENCE) / 4
    return float(beta.ppf(1 - doubt, hits + 1, trials - hits)) if hits < trials else 1.0
