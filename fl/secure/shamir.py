"""Shamir's sharing: a secret as n shares of which any ``threshold`` give it back, and fewer say nothing at all.

Secrets and shares are numbers modulo the prime order of edwards25519 (``fl.secure.curve``). The secret is the value
at 0 of a random polynomial of degree threshold - 1, share i its value at i = 1 … n (Shamir, "How to share a secret",
1979). Shares of two secrets with the same numbers add up to shares of the secrets' sum.

Nothing here tells a wrong share from a right one: see ``fl.secure.feldman``.

Rules of this file: pure integers; who calls it has checked that shares are in range.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from fl.errors import ShareError
from fl.secure.curve import ORDER, Random, random_scalar

MAX_SHARES: Final = 1024


def split(secret: int, threshold: int, count: int, random: Random) -> tuple[int, ...]:
    """Return shares 1 … ``count`` of a secret, 0 … order - 1. ``ShareError`` for a threshold outside 1 … count."""
    if not 1 <= threshold <= count <= MAX_SHARES:
        raise ShareError(f"{threshold} of {count} shares: 1 <= threshold <= shares <= {MAX_SHARES} is needed")
    if not 0 <= secret < ORDER:
        raise ShareError("a secret is a number below the group's order")
    coefficients = [secret] + [random_scalar(random) for _ in range(threshold - 1)]
    return tuple(_value(coefficients, point) for point in range(1, count + 1))


def _value(coefficients: list[int], point: int) -> int:
    total = 0
    for coefficient in reversed(coefficients):
        total = (total * point + coefficient) % ORDER
    return total


def reconstruct(shares: Mapping[int, int], threshold: int) -> int:
    """Return the secret of shares by their numbers; those with the lowest numbers are taken if there are more."""
    if len(shares) < threshold:
        raise ShareError(f"{len(shares)} shares of {threshold} that are needed")
    numbers = tuple(sorted(shares)[:threshold])
    weights = _weights(numbers)
    return sum(weight * shares[number] for weight, number in zip(weights, numbers, strict=True)) % ORDER


@lru_cache(maxsize=64)
def _weights(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Return Lagrange's coefficients at 0 of these points."""
    weights = []
    for own in numbers:
        above, below = 1, 1
        for other in numbers:
            if other != own:
                above, below = above * other % ORDER, below * (other - own) % ORDER
        weights.append(above * pow(below, -1, ORDER) % ORDER)
    return tuple(weights)
