"""Big integers as the scheme needs them: bytes, powers, products of many powers, numbers that follow from a digest.

All are GMP's (``gmpy2``), which reads as ``int`` here. Threads share work where ``power`` does it: GMP works without
the interpreter's lock.

Rules of this file: arithmetic alone; what a number stands for is the callers' affair.
"""

from collections.abc import Iterable, Sequence
from hashlib import shake_256
from math import gcd as _gcd_of_ints
from typing import Final

import gmpy2

from chain.hashing import digest
from fl.privacy.randomness import RandomSource

WEIGHT_BITS: Final = 128
"""Of the random weights that make one proof of many: a false one passes with probability 2^-128."""
_SPARE: Final = 16
"""Bytes drawn beyond a bound's own before the remainder is taken: its bias is below 2^-128."""


def number(data: bytes) -> int:
    """Return the number that big-endian bytes say."""
    value: int = gmpy2.mpz.from_bytes(data, "big")
    return value


def numbers(data: bytes, width: int) -> list[int]:
    """Return the numbers of ``width`` bytes each that stand one after the other."""
    return [number(data[start : start + width]) for start in range(0, len(data), width)]


def as_bytes(values: Iterable[int], width: int) -> bytes:
    """Return numbers one after the other, ``width`` bytes each."""
    return b"".join([int(value).to_bytes(width, "big") for value in values])


def power(base: int, exponent: int, modulus: int) -> int:
    """Return base^exponent mod modulus, other threads running on. ``ZeroDivisionError``: negative, no inverse."""
    gmpy2.get_context().allow_release_gil = True  # each thread has its own
    value: int = gmpy2.powmod(base, exponent, modulus)
    return value


def secret_power(base: int, exponent: int, modulus: int) -> int:
    """Return base^exponent mod modulus, for an odd modulus, in a time that does not depend on the exponent's bits."""
    gmpy2.get_context().allow_release_gil = True
    value: int = gmpy2.powmod_sec(base, exponent, modulus)
    return value


def inverse(value: int, modulus: int) -> int:
    """Return value^-1 mod modulus; ``ZeroDivisionError`` if it has none."""
    result: int = gmpy2.invert(value, modulus)
    return result


def gcd(first: int, second: int) -> int:
    """Return the greatest common divisor."""
    value: int = gmpy2.gcd(first, second)
    return value


def product(values: Iterable[int], modulus: int) -> int:
    """Return the product of the values, modulo ``modulus``."""
    result: int = gmpy2.mpz(1)
    for value in values:
        result = result * value % modulus
    return result


def whole_product(values: Iterable[int]) -> int:
    """Return the product of the values."""
    result: int = gmpy2.mpz(1)
    for value in values:
        result *= value
    return result


def are_units(values: Sequence[int], modulus: int) -> bool:
    """Has each value, all above 0, an inverse modulo ``modulus``? One gcd, of their product."""
    return gcd(product(values, modulus), modulus) == 1


def random_below(bound: int, source: RandomSource) -> int:
    """Return a number of 0 … bound - 1, each as probable as any other up to 2^-128."""
    return number(source.bytes((int(bound).bit_length() + 7) // 8 + _SPARE)) % bound


def derived_below(bound: int, domain: bytes, *parts: bytes) -> int:
    """Return a number of 0 … bound - 1 that follows from these bytes, as if it were drawn."""
    size = (int(bound).bit_length() + 7) // 8 + _SPARE
    return number(shake_256(digest(domain, *parts)).digest(size)) % bound


def weights(seed: bytes, count: int, bits: int = WEIGHT_BITS) -> list[int]:
    """Return ``count`` numbers below 2^bits, a multiple of 8, that follow from a digest."""
    size = bits // 8
    return numbers(shake_256(seed).digest(size * count), size)


def product_of_powers(bases: Sequence[int], exponents: Sequence[int], modulus: int, bits: int = WEIGHT_BITS) -> int:
    """Return Π base_i^exponent_i mod modulus, for exponents of 0 … 2^bits - 1 (Pippenger's buckets).

    For each window of bits, from the highest: bases with the same digit d are multiplied together, and the product of
    their d-th powers comes from running products over the digits, downwards.
    """
    window = _window(len(bases), bits)
    result: int = gmpy2.mpz(1)
    for shift in range(-(-bits // window) * window - window, -1, -window):
        result = power(result, 1 << window, modulus)
        buckets: list[int] = [gmpy2.mpz(1)] * (1 << window)
        for base, exponent in zip(bases, exponents, strict=True):
            digit = int((exponent >> shift) & ((1 << window) - 1))
            buckets[digit] = buckets[digit] * base % modulus
        running = total = gmpy2.mpz(1)
        for bucket in reversed(buckets[1:]):
            running = running * bucket % modulus
            total = total * running % modulus
        result = result * total % modulus
    return result


def _window(count: int, bits: int) -> int:
    """Return the bits of a digit at which that many bases take the fewest products."""
    return min(range(1, 13), key=lambda digit: -(-bits // digit) * (count + (2 << digit)))


class FixedBase:
    """Powers of one base, from a table: a product for each ``window`` bits of the exponent, and no squaring."""

    __slots__ = ("_modulus", "_rows", "_window")

    def __init__(self, base: int, modulus: int, bits: int, window: int) -> None:
        self._modulus, self._window = modulus, window
        self._rows: list[list[int]] = []
        step = base
        for _ in range(-(-bits // window)):
            row: list[int] = [gmpy2.mpz(1)]
            for _ in range((1 << window) - 1):
                row.append(row[-1] * step % modulus)
            self._rows.append(row)
            step = row[-1] * step % modulus

    def power(self, exponent: int) -> int:
        """Return base^exponent mod modulus, 0 <= exponent < 2^bits."""
        result, mask, window = gmpy2.mpz(1), (1 << self._window) - 1, self._window
        rest = int(exponent)
        for row in self._rows:
            digit = rest & mask
            if digit:
                result = result * row[digit] % self._modulus
            rest >>= window
        value: int = result
        return value


def factorial(count: int) -> int:
    """Return count!."""
    value: int = gmpy2.fac(count)
    return value


def evaluate(polynomial: Sequence[int], place: int, modulus: int) -> int:
    """Return the value at a place of a polynomial, its coefficients from the lowest, modulo ``modulus``."""
    value: int = gmpy2.mpz(0)
    for coefficient in reversed(polynomial):
        value = (value * place + coefficient) % modulus
    return value


def lagrange(places: Sequence[int], place: int, at: int, scale: int) -> int:
    """Return scale·Π (at - j)/(place - j) over the other places j: an integer if ``scale`` is (largest place)!.

    What a polynomial's value at ``place`` counts for its value at ``at``, times ``scale``.
    """
    above, below = scale, 1
    for other in places:
        if other != place:
            above *= at - other
            below *= place - other
    common = _gcd_of_ints(int(above), below)
    return int(above) // common // (below // common)
