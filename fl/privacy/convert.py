"""From ρ to (ε, δ): what a sum of losses means, and which loss a wanted (ε, δ) allows. Floats, for people alone.

    zCDP        ε = min over α > 1 of αρ + ln((α−1)/α) + (ln(1/δ) − ln α) / (α−1): Canonne, Kamath and Steinke
                2020, Corollary 13. Holds whatever the losses are of. Every α gives a bound: a poor minimum is no error
    Gaussian    the exact curve of one Gaussian with μ = √(2ρ), to which Gaussian releases add up: Balle and Wang 2018.
                Less than the above; of continuous noise, from which discrete noise of many units' sigma hardly differs

δ is the probability with which ε may fail; it has to be below one in as many as are protected (rows or devices).
Rules of this file: no decision of the chain's rests on it; that one counts micro-zCDP in whole numbers.
"""

from collections.abc import Callable
from math import erfc, exp, expm1, log, log1p, pi, sqrt
from typing import Final

from fl.privacy.charges import MICRO

_STEPS: Final = 200
"""Of a search; each one narrows it by a third at least, so it ends at what floats can tell."""
_LARGEST: Final = 1e9
"""No α is looked at beyond: it is the better the smaller ρ is, and this one is for a ρ of 10**-17."""


def epsilon_of(loss: int, delta: float) -> float:
    """Return the ε at this δ (0 < δ < 1) of a loss in micro-zCDP. ``ValueError`` for another δ."""
    _check_delta(delta)
    if loss <= 0:
        return 0.0
    rho = loss / MICRO

    def bound(x: float) -> float:
        above = exp(x)  # α − 1
        return (1 + above) * rho - log1p(1 / above) - (log(delta) + log1p(above)) / above

    lowest = _least(bound, log(1e-9), log(_LARGEST))
    return max(0.0, bound(lowest))


def delta_of(loss: int, epsilon: float) -> float:
    """Return the δ at this ε >= 0 of a loss in micro-zCDP."""
    if loss <= 0:
        return 0.0
    rho = loss / MICRO

    def bound(x: float) -> float:
        above = exp(x)
        alpha = 1 + above
        return above * (alpha * rho - epsilon) - alpha * log1p(1 / above) - x

    lowest = bound(_least(bound, log(1e-9), log(_LARGEST)))
    return exp(min(lowest, 0.0))


def gaussian_epsilon(loss: int, delta: float) -> float:
    """Return the ε at this δ of Gaussian releases that lost this much together: exact for continuous noise."""
    _check_delta(delta)
    if loss <= 0:
        return 0.0
    mu = sqrt(2 * loss / MICRO)
    if _gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, epsilon_of(loss, delta)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _gaussian_delta(mu, middle) <= delta else (middle, high)
    return high


def loss_within(epsilon: float, delta: float) -> int:
    """Return the largest loss in micro-zCDP whose (ε, δ) is within this one; 0 if the least is too much."""
    _check_delta(delta)
    low, high = 0, 1
    while high < 2**62 and epsilon_of(high, delta) <= epsilon:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if epsilon_of(middle, delta) <= epsilon else (low, middle)
    return low


def _gaussian_delta(mu: float, epsilon: float) -> float:
    """Return Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ), which is between 0 and 1."""
    first, second = _log_normal(mu / 2 - epsilon / mu), epsilon + _log_normal(-mu / 2 - epsilon / mu)
    return exp(first) * -expm1(second - first) if second < first else 0.0


def _log_normal(x: float) -> float:
    """Return ln Φ(x), Φ the distribution of the standard normal."""
    if x > -30:
        return log(erfc(-x / sqrt(2)) / 2)
    return -x * x / 2 - log(-x * sqrt(2 * pi)) + log1p(-1 / (x * x))  # within 3/x⁴ of it


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function that falls and then rises is least."""
    for _ in range(_STEPS):
        third = (high - low) / 3
        if function(low + third) <= function(high - third):
            high -= third
        else:
            low += third
    return (low + high) / 2


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ValueError(f"delta {delta}: must be above 0 and below 1")
