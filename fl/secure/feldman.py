"""Shares that can be checked: with them goes a commitment to the polynomial, against which everybody checks a share.

Feldman's idea (1987), with the polynomial p committed by its values p(0)·B … p(n)·B instead of its coefficients
(as in SCRAPE: Cascudo and David, 2017). The two say the same. Checking one share is then one multiplication of the
base point for any threshold; that n + 1 points lie on a polynomial of degree below the threshold is checked once, by
one random word of the dual code, which misses a wrong one with probability 2**-252.

What a commitment gives away: p(0)·B. A secret that could be guessed could be checked against it, so only random
scalars are shared here; keys are made of them by hashing.

Rules of this file: pure; what strangers send gives False or a named share, never an exception.
"""

from collections.abc import Mapping
from functools import lru_cache
from math import factorial
from typing import Final

from chain.hashing import digest
from fl.errors import ShareError
from fl.secure import shamir
from fl.secure.curve import IDENTITY, ORDER, POINT_BYTES, Random, combine, hash_scalar, times_base

_DOMAIN: Final = b"fedchain/share-degree"


def commitment_bytes(count: int) -> int:
    """Return the size of the commitment to a sharing among ``count``."""
    return POINT_BYTES * (count + 1)


def split(secret: int, threshold: int, count: int, random: Random) -> tuple[tuple[int, ...], bytes]:
    """Return shares 1 … ``count`` of a random secret, and the commitment to them. Errors as ``shamir.split``."""
    if not secret:
        raise ShareError("0 can't be committed to: its commitment says what it is")
    while True:
        shares = shamir.split(secret, threshold, count, random)
        if all(shares):  # the commitment to 0 is no point that anybody accepts; it comes up once in 2**252
            return shares, b"".join(times_base(value) for value in (secret, *shares))


def get_point(commitment: bytes, number: int) -> bytes:
    """Return what is committed for a share; number 0 is the secret's own point."""
    return commitment[POINT_BYTES * number : POINT_BYTES * (number + 1)]


def is_commitment(commitment: bytes, threshold: int, count: int) -> bool:
    """Is this a commitment to shares of which any ``threshold`` of ``count`` give one secret?"""
    if not 1 <= threshold <= count or len(commitment) != commitment_bytes(count):
        return False
    points = [get_point(commitment, number) for number in range(count + 1)]
    name = digest(_DOMAIN, commitment, threshold.to_bytes(2, "big"))
    word = [hash_scalar(_DOMAIN, name, k.to_bytes(2, "big")) for k in range(count + 1 - threshold)]
    scalars = []
    for number, weight in enumerate(_dual_weights(count + 1)):
        value = 0
        for coefficient in reversed(word):
            value = (value * number + coefficient) % ORDER
        scalars.append(value * weight % ORDER)
    return combine(scalars, points) == IDENTITY


@lru_cache(maxsize=64)
def _dual_weights(size: int) -> tuple[int, ...]:
    """Return 1/Π(x - y) over the other points y, for the points x = 0 … size - 1.

    Σ of weight(x)·f(x)·p(x) is 0 for all f and p whose degrees add up to less than size - 1.
    """
    weights = []
    for point in range(size):
        product = factorial(point) * factorial(size - 1 - point)
        weights.append(pow(-product if (size - 1 - point) % 2 else product, -1, ORDER))
    return tuple(weights)


def check_share(number: int, share: int, commitment: bytes) -> bool:
    """Is this the share with this number, 1 … n, that was committed to?"""
    if number < 1 or len(commitment) < POINT_BYTES * (number + 1) or not 0 < share < ORDER:
        return False
    return times_base(share) == get_point(commitment, number)


def find_wrong_shares(shares: Mapping[int, int], commitment: bytes) -> tuple[int, ...]:
    """Return the numbers of the shares that are not those committed to, ascending."""
    return tuple(number for number in sorted(shares) if not check_share(number, shares[number], commitment))


def reconstruct(shares: Mapping[int, int], threshold: int, commitment: bytes) -> int:
    """Return the committed secret from at least ``threshold`` right shares; wrong ones are left aside.

    ``ShareError`` names the numbers of wrong shares if too few are right.
    """
    if len(shares) >= threshold:
        secret = shamir.reconstruct(shares, threshold)
        if times_base(secret) == get_point(commitment, 0):
            return secret
    wrong = find_wrong_shares(shares, commitment)
    right = {number: share for number, share in shares.items() if number not in wrong}
    if len(right) < threshold:
        named = f"; those numbered {', '.join(map(str, wrong))} are wrong" if wrong else ""
        raise ShareError(f"{len(right)} right shares of {threshold} that are needed{named}")
    return shamir.reconstruct(right, threshold)
