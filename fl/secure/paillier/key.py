"""The committee's public key, and what anybody can check of it.

A modulus N = pq of two safe primes; ciphertexts are (1 + mN)·r^N mod N². Whoever knows d = N^-1 mod p'q' can decrypt:
r = (c mod N)^d. Nobody keeps d: member i has s_i = f(i), a share of it (``dealing``), and v_i = v^{s_i} stands in the
key. Two bases follow from N by hashing, so that nobody chose them: v, and h, whose powers are the ciphertexts' r.

What ``check_key`` proves, to everybody and against the dealer too:
- r -> r^N is one to one (so a ciphertext has one opening, whoever made N): the key holds N-th roots of ``ROOTS``
  numbers that follow from N. Were there a prime l dividing both N and φ(N), l > 2^16 since smaller factors are looked
  for, at most one unit in l would have a root, and eight have with probability below 2^-128 (Gennaro, Micciancio, Rabin
  1998; Goldberg et al. 2019);
- the v_i belong to *one* polynomial of degree threshold - 1 through d, so that any ``threshold`` correct partial
  decryptions open what is encrypted: v_i^Δ of the others follow from the first ones', and so does v^d, whose N-th power
  must be v.
What it can't: that p and q are safe primes of equal size, and that nobody knows them: the dealer is trusted for that
(docs/privacy.md). Of safe primes follows N ≡ 1 mod 12, which is looked at.

Rules of this file: hostile keys give a fault in words, never an exception.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Final

import gmpy2
from msgspec import Meta

from chain.codec import Record
from chain.ids import AccountField, AccountId
from fl.secure.paillier.numbers import (
    are_units,
    as_bytes,
    derived_below,
    factorial,
    gcd,
    lagrange,
    number,
    power,
    product,
)

MIN_BITS: Final = 2048
MAX_BITS: Final = 4096
"""Bounds what a stranger's key makes everybody compute."""
MAX_MEMBERS: Final = 16
SMALL_FACTORS: Final = 1 << 16
"""No prime below divides N."""
ROOTS: Final = 8
_DOMAIN: Final = b"fedchain/paillier"
_FERMAT_STEPS: Final = 64


class PublicKey(Record):
    """What encrypts, and what proves decryptions right.

    modulus       N, big-endian, as many bytes as it needs
    threshold     how many members decrypt together; one fewer can't
    members       their accounts; a member's number is its place
    verification  v_i = v^{s_i} mod N, as wide as N
    shares        s_i, sealed for the member's account (``chain.sealing``)
    roots         N-th roots of the numbers that follow from N, as wide as N
    """

    modulus: Annotated[bytes, Meta(min_length=1, max_length=MAX_BITS // 8)]
    threshold: int
    members: tuple[AccountField, ...]
    verification: tuple[bytes, ...]
    shares: tuple[bytes, ...]
    roots: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The numbers of a modulus.

    modulus, square   N and N²
    bits, width       of N, in bits and in bytes
    proof_base        v, a square modulo N
    noise_base        h, a square modulo N
    noise_root        h^N mod N², whose powers are encryptions of 0
    """

    modulus: int
    square: int
    bits: int
    width: int
    proof_base: int
    noise_base: int
    noise_root: int


@lru_cache(maxsize=16)
def get_group(modulus: bytes) -> Group:
    """Return the numbers that follow from a modulus."""
    n = number(modulus)
    proof, noise = _derived_square(n, b"proofs"), _derived_square(n, b"noise")
    return Group(n, n * n, int(n).bit_length(), len(modulus), proof, noise, power(noise, n, n * n))


def _derived_square(modulus: int, label: bytes) -> int:
    root = derived_below(modulus, _DOMAIN, label, as_bytes([modulus], (int(modulus).bit_length() + 7) // 8))
    return root * root % modulus


def get_root_challenges(modulus: bytes, *owner: bytes) -> list[int]:
    """Return the numbers whose N-th roots a key shows: nobody but its ``owner``, where it has one, shows these."""
    n = number(modulus)
    return [derived_below(n, _DOMAIN, b"root", modulus, *owner, bytes([place])) for place in range(ROOTS)]


def check_key(key: PublicKey, min_bits: int = MIN_BITS) -> str | None:
    """Return what is wrong with a key, None if nothing is that can be seen. Takes some 40 powers modulo N at most.

    ``min_bits`` is lower in tests alone.
    """
    fault = find_committee_fault(key.members, key.threshold) or _fault_of_counts(key)
    fault = fault or find_modulus_fault(key.modulus, min_bits) or find_units_fault(key.modulus, key.verification)
    return fault or find_roots_fault(key.modulus, key.roots) or _fault_of_shares(key)


def find_committee_fault(members: Sequence[AccountId], threshold: int) -> str | None:
    """Return what is wrong with who are members, and how many of them it takes."""
    count = len(members)
    if not 2 <= count <= MAX_MEMBERS:
        return f"{count} members: a committee has 2 … {MAX_MEMBERS}"
    if len(set(members)) != count:
        return "an account is a member twice"
    if threshold < 2:
        return f"threshold {threshold}: one member alone could decrypt each update; at least 2"
    if threshold > count:
        return f"threshold {threshold} of {count} members"
    return None


def _fault_of_counts(key: PublicKey) -> str | None:
    count = len(key.members)
    if len(key.verification) != count or len(key.shares) != count:
        return f"{len(key.verification)} verification keys and {len(key.shares)} shares for {count} members"
    return None


def find_modulus_fault(modulus: bytes, min_bits: int, max_bits: int = MAX_BITS) -> str | None:
    """Return what is wrong with a modulus, None if nothing is that can be seen."""
    n, bits = number(modulus), int(number(modulus)).bit_length()
    if len(modulus) * 8 - bits >= 8:
        return "the modulus has leading zeros"
    if not min_bits <= bits <= max_bits:
        return f"a modulus of {bits} bits: {min_bits} … {max_bits} are allowed"
    if n % 2 == 0:
        return "the modulus is even"
    if gcd(n, _small_primes_product()) != 1:
        return f"the modulus has a factor below {SMALL_FACTORS}"
    if gmpy2.is_power(n):
        return "the modulus is a perfect power"
    if gmpy2.is_prime(n):
        return "the modulus is prime"
    if n % 12 != 1:
        return "the modulus is no product of two safe primes"
    if _has_close_factors(n):
        return "the modulus is a product of two numbers that are nearly the same"
    return None


@lru_cache(maxsize=1)
def _small_primes_product() -> int:
    value: int = gmpy2.primorial(SMALL_FACTORS)
    return value


def _has_close_factors(n: int) -> bool:
    """Does Fermat's way find factors within a few steps?"""
    middle = gmpy2.isqrt(n) + 1
    return any(gmpy2.is_square((middle + step) ** 2 - n) for step in range(_FERMAT_STEPS))


def find_units_fault(modulus: bytes, elements: Sequence[bytes]) -> str | None:
    """Return what is wrong with numbers that are to be units modulo N, each as wide as N."""
    n, width = number(modulus), len(modulus)
    if any(len(each) != width for each in elements):
        return f"a verification key or root is not {width} bytes long"
    values = [number(each) for each in elements]
    if any(not 0 < value < n for value in values) or not are_units(values, n):
        return "a verification key or root has no inverse modulo N"
    return None


def find_roots_fault(modulus: bytes, roots: Sequence[bytes], *owner: bytes) -> str | None:
    """Return what is wrong with the roots that show that r -> r^N is one to one."""
    if len(roots) != ROOTS:
        return f"{len(roots)} roots, not {ROOTS}"
    n = number(modulus)
    fault = find_units_fault(modulus, roots)
    if fault is not None:
        return fault
    for root, challenge in zip(roots, get_root_challenges(modulus, *owner), strict=True):
        if power(number(root), n, n) != challenge:
            return "a root is wrong: nobody can be sure that a ciphertext has one opening"
    return None


def _fault_of_shares(key: PublicKey) -> str | None:
    """Are the verification keys those of one polynomial through d?"""
    group, count = get_group(key.modulus), len(key.members)
    n, scale = group.modulus, factorial(count)
    values = [number(each) for each in key.verification]
    places = range(1, key.threshold + 1)
    at_zero = interpolate([values[place - 1] for place in places], places, 0, scale, n)
    if power(at_zero, n, n) != power(group.proof_base, scale, n):
        return "the verification keys are not those of shares of the decryption key"
    for other in range(key.threshold + 1, count + 1):
        if interpolate([values[place - 1] for place in places], places, other, scale, n) != power(
            values[other - 1], scale, n
        ):
            return f"the verification key of member {other - 1} is of another share than the others'"
    return None


def interpolate(values: Sequence[int], places: Sequence[int], at: int, scale: int, modulus: int) -> int:
    """Return v^{scale·f(at)} of values v^{f(place)}: Lagrange's formula in the exponent. All values are units."""
    return product(
        [
            power(value, lagrange(places, place, at, scale), modulus)
            for value, place in zip(values, places, strict=True)
        ],
        modulus,
    )


def shared_factor(moduli: Sequence[bytes]) -> tuple[int, int] | None:
    """Return the places of two moduli that have a factor in common (or are the same), None if no two have.

    Each modulus against the product of all the others, by two passes over a tree of products (Bernstein's batch gcd).
    """
    values = [number(modulus) for modulus in moduli]
    if len(values) < 2:
        return None
    tree = [values]
    while len(tree[-1]) > 1:
        row = tree[-1]
        tree.append([row[i] * row[i + 1] if i + 1 < len(row) else row[i] for i in range(0, len(row), 2)])
    rests = tree.pop()
    for row in reversed(tree):
        rests = [rests[i // 2] % (value * value) for i, value in enumerate(row)]
    for first, (value, rest) in enumerate(zip(values, rests, strict=True)):
        if value > 1 and gcd(rest // value, value) != 1:
            return next(
                (
                    (first, second)
                    for second in range(len(values))
                    if second != first and gcd(value, values[second]) != 1
                ),
                None,
            )
    return None
