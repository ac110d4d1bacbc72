"""Shares of numbers that could be guessed: as in ``fl.secure.feldman``, but what is committed to stays hidden.

A commitment to s is s·B + r·H with a random r (Pedersen, 1991); H is a point whose logarithm nobody knows. So a share
is two numbers, of the secret's polynomial and of a random one, and a reading between 0 and 1000 can't be found by
trying. Commitments and shares of several secrets with the same numbers add up to those of the secrets' sum.

Rules of this file: pure; what strangers send gives False or a named share, never an exception.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha512
from typing import Final, TypeAlias

from nacl import bindings

from fl.errors import ShareError
from fl.secure import shamir
from fl.secure.curve import ORDER, POINT_BYTES, Random, add, random_scalar, times, times_base
from fl.secure.feldman import commitment_bytes, get_point, is_commitment

__all__ = ["HIDING", "Share", "add_commitments", "check_share", "commit", "is_commitment", "reconstruct", "split"]

HIDING: Final[bytes] = bindings.crypto_core_ed25519_from_uniform(sha512(b"fedchain/pedersen-hiding").digest()[:32])
"""H: libsodium's map from bytes to points (Elligator 2, times 8), of a digest that nobody could choose."""

Share: TypeAlias = tuple[int, int]
"""A share of the secret, and one of what hides it."""


def commit(value: int, hiding: int) -> bytes:
    """Return value·B + hiding·H."""
    hidden = times(hiding, HIDING)
    assert hidden is not None  # H is of prime order
    return add(times_base(value), hidden)


def split(secret: int, threshold: int, count: int, random: Random) -> tuple[tuple[Share, ...], bytes]:
    """Return shares 1 … ``count`` of a secret, 0 … order - 1, and the commitment to them: points 0 … ``count``."""
    hiding = random_scalar(random)
    values = shamir.split(secret, threshold, count, random)
    hidings = shamir.split(hiding, threshold, count, random)
    shares = tuple(zip(values, hidings, strict=True))
    return shares, b"".join(commit(*pair) for pair in ((secret, hiding), *shares))


def check_share(number: int, share: Share, commitment: bytes) -> bool:
    """Is this the share with this number, 1 … n, that was committed to?"""
    if number < 1 or len(commitment) < POINT_BYTES * (number + 1):
        return False
    if not all(0 <= half < ORDER for half in share):
        return False
    return commit(*share) == get_point(commitment, number)


def add_commitments(commitments: Iterable[bytes], count: int) -> bytes | None:
    """Return the commitment to the sum of secrets that were shared among ``count``; None if one is no points."""
    totals: list[bytes] | None = None
    for commitment in commitments:
        if len(commitment) != commitment_bytes(count):
            return None
        points = [get_point(commitment, number) for number in range(count + 1)]
        try:
            totals = points if totals is None else [add(*pair) for pair in zip(totals, points, strict=True)]
        except RuntimeError:  # libsodium's word for bytes that are no point
            return None
    return None if totals is None else b"".join(totals)


def add_shares(shares: Iterable[Share]) -> Share:
    """Return the share of the sum of secrets."""
    values, hidings = zip(*shares, strict=True)
    return sum(values) % ORDER, sum(hidings) % ORDER


def reconstruct(shares: Mapping[int, Share], threshold: int, commitment: bytes) -> int:
    """Return the committed secret; wrong shares are left aside. ``ShareError`` names them if too few are right."""
    wrong = [number for number in sorted(shares) if not check_share(number, shares[number], commitment)]
    right = {number: share for number, share in shares.items() if number not in wrong}
    if len(right) < threshold:
        named = f"; those numbered {', '.join(map(str, wrong))} are wrong" if wrong else ""
        raise ShareError(f"{len(right)} right shares of {threshold} that are needed{named}")
    secret = shamir.reconstruct({number: value for number, (value, _) in right.items()}, threshold)
    hiding = shamir.reconstruct({number: value for number, (_, value) in right.items()}, threshold)
    if commit(secret, hiding) != get_point(commitment, 0):
        raise ShareError("the commitment is of shares that give no single secret")
    return secret
