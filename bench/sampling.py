"""What a secret sample of the rows is worth: the noise of a mean, beside that of all rows, at the same (ε, δ).

A device that takes each row with chance q, tells nobody which, and adds Gaussian noise of multiplier z to the sum, has
a mean with noise of z/q times what all rows would give with z = 1. The table says how much more that is than with all
rows, by the least z for either that stays within (ε, δ) over so many releases: Rényi divergences of whole orders of
the sampled Gaussian, for rows added or removed (Mironov, Talwar and Zhang 2019). The sample's own variance is left out.

    python -m bench.sampling
"""

from math import exp, lgamma, log, log1p
from typing import Final

DELTA: Final = 1e-5
ORDERS: Final[tuple[int, ...]] = (*range(2, 200), 256, 512, 1024)
SHARES: Final[tuple[float, ...]] = (0.5, 0.1, 0.03)


def divergence(share: float, multiplier: float, order: int) -> float:
    """Return the Rényi divergence of this order of one release."""
    if share == 1.0:
        return order / (2 * multiplier * multiplier)
    terms = [
        lgamma(order + 1)
        - lgamma(k + 1)
        - lgamma(order - k + 1)
        + k * log(share)
        + (order - k) * log1p(-share)
        + k * (k - 1) / (2 * multiplier * multiplier)
        for k in range(order + 1)
    ]
    most = max(terms)
    total: float = most + log(sum(exp(term - most) for term in terms))
    return total / (order - 1)


def epsilon(share: float, multiplier: float, releases: int) -> float:
    """Return the ε at ``DELTA`` of so many releases."""
    return min(
        releases * divergence(share, multiplier, order)
        + log((order - 1) / order)
        + (log(1 / DELTA) - log(order)) / (order - 1)
        for order in ORDERS
    )


def least_multiplier(share: float, releases: int, allowed: float) -> float:
    """Return the least multiplier that stays within ε."""
    low, high = 0.05, 2000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon(share, middle, releases) > allowed else (low, middle)
    return high


def main() -> None:
    """Print the table."""
    for allowed in (0.25, 1.0, 4.0):
        for releases in (20, 60):
            whole = least_multiplier(1.0, releases, allowed)
            found = [least_multiplier(share, releases, allowed) / share / whole for share in SHARES]
            told = ", ".join(f"q = {share:g}: {more:.2f}" for share, more in zip(SHARES, found, strict=True))
            print(f"ε = {allowed:g}, {releases} releases: noise of the mean, times that of all rows: {told}")


if __name__ == "__main__":
    main()
