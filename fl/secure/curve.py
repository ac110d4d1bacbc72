"""The group everything here is shared and proven in: edwards25519's points of prime order, and scalars modulo it.

Points travel as their 32 canonical bytes, scalars as 32 little-endian bytes below the order. libsodium does the
arithmetic; its ``noclamp`` multiplication refuses a point that is not canonical, not on the curve or not of prime
order, so whatever went through ``times`` has been checked.

Rules of this file: pure; what strangers send gives None or False, never an exception.
"""

from collections.abc import Callable
from hashlib import sha512
from typing import Final

from nacl import bindings
from nacl.exceptions import RuntimeError as SodiumError

from chain.hashing import digest
from chain.keys import KeyPair

ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""The prime order of the group (RFC 8032, section 5.1: L)."""
POINT_BYTES: Final = 32
SCALAR_BYTES: Final = 32
IDENTITY: Final = b"\x01" + bytes(31)

Random = Callable[[int], bytes]
"""Gives that many random bytes: ``os.urandom``, or a stream that follows from a secret."""


def scalar_bytes(scalar: int) -> bytes:
    """Return the 32 bytes of a scalar 0 … order - 1."""
    return scalar.to_bytes(SCALAR_BYTES, "little")


def read_scalar(encoded: bytes) -> int | None:
    """Return the scalar of its 32 canonical bytes; None for any others."""
    if len(encoded) != SCALAR_BYTES:
        return None
    scalar = int.from_bytes(encoded, "little")
    return scalar if scalar < ORDER else None


def random_scalar(random: Random) -> int:
    """Return a uniform scalar that is not 0: 64 random bytes modulo the order, off by less than 2**-250."""
    while True:
        scalar = int.from_bytes(random(64), "little") % ORDER
        if scalar:
            return scalar


def hash_scalar(domain: bytes, *parts: bytes) -> int:
    """Return a scalar that follows from these parts as if it were drawn at random."""
    wide = digest(domain, b"low", *parts) + digest(domain, b"high", *parts)
    return int.from_bytes(wide, "little") % ORDER


def scalar_of(key: KeyPair) -> int:
    """Return the secret scalar a with account = a·B (RFC 8032, section 5.1.5), modulo the order."""
    half = bytearray(sha512(key.seed).digest()[:32])
    half[0] &= 248
    half[31] = half[31] & 127 | 64
    return int.from_bytes(half, "little") % ORDER


def times_base(scalar: int) -> bytes:
    """Return scalar·B."""
    scalar %= ORDER
    if not scalar:
        return IDENTITY
    point: bytes = bindings.crypto_scalarmult_ed25519_base_noclamp(scalar_bytes(scalar))
    return point


def times(scalar: int, point: bytes) -> bytes | None:
    """Return scalar·point; None if ``point`` is not one of prime order, canonically encoded."""
    scalar %= ORDER
    if not scalar:
        return IDENTITY if is_point(point) else None
    if len(point) != POINT_BYTES:
        return None
    try:
        product: bytes = bindings.crypto_scalarmult_ed25519_noclamp(scalar_bytes(scalar), point)
    except SodiumError:  # how libsodium says that it is no such point
        return None
    return product


def add(left: bytes, right: bytes) -> bytes:
    """Return the sum of two points that ``times`` or ``times_base`` gave."""
    total: bytes = bindings.crypto_core_ed25519_add(left, right)
    return total


def is_point(encoded: bytes) -> bool:
    """Is this the canonical encoding of a point of prime order? (Not of the neutral element, which has order 1.)"""
    return len(encoded) == POINT_BYTES and bool(bindings.crypto_core_ed25519_is_valid_point(encoded))


def combine(scalars: list[int], points: list[bytes]) -> bytes | None:
    """Return Σ scalar·point; None if one of the points is none."""
    total = IDENTITY
    for scalar, point in zip(scalars, points, strict=True):
        product = times(scalar, point)
        if product is None:
            return None
        total = add(total, product)
    return total
