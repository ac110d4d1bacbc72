"""A committee without a dealer: each member has a key of its own, and devices share their values between the keys.

Nobody ever knows what decrypts an update but the members, ``threshold`` of them together. The price: a device encrypts
once for each member.

    device   each packed plaintext M is shared in Shamir's way over the field of P elements: f(0) = M, f of degree
             threshold - 1 with random coefficients; member j (place j + 1) gets f(j + 1) + P·u, u of 128 random bits,
             encrypted under its key, with the proof of ``ciphertext`` for each member's ciphertexts
    node     multiplies ciphertexts, key by key
    member   opens the sums under its own key: (m, r) for each, which everybody checks
    node     m modulo P are values of Σ f, and any ``threshold`` of them give Σ M by Lagrange's formula

What the members' openings tell. m modulo P for all members is a sharing of Σ M that is as random as any, if one device
of the sum is honest. What m has beyond that, its quotient by P, is a carry below K + 1 plus Σ u; one u that is unknown
hides the carry but for 2^-128·(K + 1). So they tell the sum. threshold - 1 members who see each device's shares for
them see random numbers (Shamir 1979), and of the rest ciphertexts (DCR, as in ``ciphertext``).

Head-room. M = Σ v_i·2^(s·i) with s·n <= bits(P) - 3 is within ±P/2 for sums of K devices (``packing``). Σ (f + P·u) of
K <= 2^20 devices is below 2^20·P·2^128 < 2^(bits(N) - 1) <= N, as P < 2^(bits(N) - 149).

Checks. A member may have made its key to cheat, so its N is taken for no more than ``check_own_keys`` shows: r -> r^N
is one to one, so a ciphertext holds one m, and no factor is below 2^16. (What else is wrong with its factors harms its
own shares' secrecy alone.) A part is checked for all ciphertexts at once, ``ROUNDS`` times with weights ε_i of 16 bits
from the digest of all: Π c_i^ε_i = (1 + Σ ε_i m_i·N)·(Π r_i^ε_i)^N modulo N². Units modulo N² are the product of the
powers of 1 + N and the N-th powers; so if m_i were off by δ_i from what is in c_i, Σ ε_i δ_i would be 0 modulo N, and
modulo a prime l > 2^16 of it that does not divide some δ_i: one value of that ε_i at most is right, of 2^16; eight
times, 2^-128. (r_i may be wrong by a root of 1, which nobody uses.)

A device can send members shares of no polynomial. Then the sum depends on whose parts are used: nodes use the same, and
a liar gets wrong sums, as it does by wrong values.

Rules of this file: what strangers send gives a fault in words; sizes first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Final

import gmpy2
from msgspec import Meta

from chain.codec import Record
from chain.fixedpoint import Int64Vector
from chain.hashing import digest
from chain.ids import AccountField
from fl.privacy.randomness import RandomSource
from fl.secure.paillier.ciphertext import add_ciphertexts, check_ciphertexts, encrypt_plaintexts
from fl.secure.paillier.dealing import are_close, safe_prime
from fl.secure.paillier.key import (
    MAX_BITS,
    MIN_BITS,
    find_committee_fault,
    find_modulus_fault,
    find_roots_fault,
    get_group,
    get_root_challenges,
    shared_factor,
)
from fl.secure.paillier.numbers import (
    are_units,
    as_bytes,
    inverse,
    lagrange,
    number,
    numbers,
    power,
    product_of_powers,
    random_below,
    secret_power,
    weights,
)
from fl.secure.paillier.packing import Packing, pack

MAX_DEVICES: Final = 1 << 20
ROUNDS: Final = 8
_ROUND_BITS: Final = 16
_MASK_BITS: Final = 128
_FIELD_SPARE: Final = 150
"""Bits of N that P has less: 20 for the sum, 128 for u, 2 for the bounds' sake."""
_DOMAIN: Final = b"fedchain/paillier/own"


@dataclass(frozen=True, slots=True)
class Factors:
    """A member's secret: the safe primes of its modulus."""

    first: int = field(repr=False)
    second: int = field(repr=False)


class OwnKey(Record):
    """A member's modulus N, and N-th roots of the numbers that follow from it (``key``)."""

    modulus: Annotated[bytes, Meta(min_length=1, max_length=MAX_BITS // 8)]
    roots: tuple[bytes, ...]


class OwnKeys(Record):
    """A committee: who are members, each one's key, and how many open a sum together."""

    threshold: int
    members: tuple[AccountField, ...]
    keys: tuple[OwnKey, ...]


def draw_factors(bits: int, random: RandomSource) -> Factors:
    """Return fresh factors of a modulus of ``bits`` bits; from a stream that repeats, the same ones again."""
    first = second = safe_prime(bits // 2, random)
    while are_close(first, second, bits):
        second = safe_prime(bits // 2, random)
    return Factors(first, second)


def get_own_key(factors: Factors) -> OwnKey:
    """Return what a member shows of its key."""
    n = factors.first * factors.second
    width = (int(n).bit_length() + 7) // 8
    modulus = as_bytes([n], width)
    root = inverse(n, (factors.first - 1) * (factors.second - 1))
    return OwnKey(modulus, tuple(as_bytes([secret_power(x, root, n)], width) for x in get_root_challenges(modulus)))


def check_own_keys(keys: OwnKeys, min_bits: int = MIN_BITS) -> str | None:
    """Return what is wrong with a committee's keys, None if nothing is that can be seen."""
    fault = find_committee_fault(keys.members, keys.threshold)
    if fault is not None:
        return fault
    if len(keys.keys) != len(keys.members):
        return f"{len(keys.keys)} keys for {len(keys.members)} members"
    for member, key in enumerate(keys.keys):
        fault = find_modulus_fault(key.modulus, min_bits) or find_roots_fault(key.modulus, key.roots)
        if fault is not None:
            return f"member {member}: {fault}"
    if len({_bits(key) for key in keys.keys}) != 1:
        return "the members' moduli have different sizes"
    pair = shared_factor([key.modulus for key in keys.keys])
    return None if pair is None else f"the moduli of members {pair[0]} and {pair[1]} have a factor in common"


def _bits(key: OwnKey) -> int:
    return int(number(key.modulus)).bit_length()


@lru_cache(maxsize=8)
def get_field(bits: int) -> int:
    """Return P for moduli of so many bits: the first prime above 2^(bits - 150)."""
    value: int = gmpy2.next_prime(gmpy2.mpz(1) << (bits - _FIELD_SPARE))
    return value


def get_packing(keys: OwnKeys, value_bits: int, devices: int, dimension: int) -> Packing:
    """Return the packing under a committee's keys. ``ValueError`` where sums can't fit."""
    if devices > MAX_DEVICES:
        raise ValueError(f"sums of {devices} devices: at most {MAX_DEVICES}")
    return Packing(value_bits, devices, dimension, _bits(keys.keys[0]) - _FIELD_SPARE)


def shares_bytes(keys: OwnKeys, packing: Packing) -> int:
    """Return the size of an update that is shared between the members' keys."""
    return len(keys.keys) * _one_bytes(keys, packing)


def _one_bytes(keys: OwnKeys, packing: Packing) -> int:
    return (2 * packing.ciphertexts + 4) * len(keys.keys[0].modulus)


def opened_bytes(keys: OwnKeys, packing: Packing) -> int:
    """Return the size of a member's part, and of what it is about."""
    return 2 * packing.ciphertexts * len(keys.keys[0].modulus)


def encrypt_shares(keys: OwnKeys, packing: Packing, values: Int64Vector, context: bytes, random: RandomSource) -> bytes:
    """Return the body of values (d,) within the packing's range: a part for each member's key. ``ValueError``.

    Of checked keys; ``random`` is secret and used once.
    """
    prime = get_field(_bits(keys.keys[0]))
    plaintexts = pack(packing, values)
    polynomials = [
        [plain % prime, *(random_below(prime, random) for _ in range(keys.threshold - 1))] for plain in plaintexts
    ]
    return b"".join(
        [
            encrypt_plaintexts(
                key.modulus,
                [
                    _value(polynomial, member + 1, prime) + prime * random_below(1 << _MASK_BITS, random)
                    for polynomial in polynomials
                ],
                _context(context, member),
                random,
            )
            for member, key in enumerate(keys.keys)
        ]
    )


def _value(polynomial: Sequence[int], place: int, prime: int) -> int:
    value: int = gmpy2.mpz(0)
    for coefficient in reversed(polynomial):
        value = (value * place + coefficient) % prime
    return value


def _context(context: bytes, member: int) -> bytes:
    return digest(_DOMAIN, b"for", context, bytes([member]))


def check_shares(keys: OwnKeys, packing: Packing, body: bytes, context: bytes) -> str | None:
    """Return what is wrong with a body, None if its sender knows what is in each ciphertext."""
    if len(body) != shares_bytes(keys, packing):
        return f"{len(body)} bytes of ciphertexts, not {shares_bytes(keys, packing)}"
    size = _one_bytes(keys, packing)
    for member, key in enumerate(keys.keys):
        part = body[member * size : (member + 1) * size]
        fault = check_ciphertexts(key.modulus, part, _context(context, member))
        if fault is not None:
            return f"for member {member}: {fault}"
    return None


def add_shares(keys: OwnKeys, packing: Packing, bodies: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the sums of bodies that passed ``check_shares``, under each member's key."""
    size = _one_bytes(keys, packing)
    return tuple(
        add_ciphertexts(key.modulus, [body[member * size : (member + 1) * size] for body in bodies])
        for member, key in enumerate(keys.keys)
    )


def open_own(factors: Factors, total: bytes) -> bytes:
    """Return a member's part: m and r of each ciphertext of the sum under its key, by each prime apart."""
    p, q = factors.first, factors.second
    n = p * q
    width = (int(n).bit_length() + 7) // 8
    ciphertexts = numbers(total, 2 * width)
    sides = [_residues(prime, n, ciphertexts) for prime in (p, q)]
    back = inverse(p, q)
    joined = [
        low + p * ((high - low) * back % q)
        for one, other in zip(*sides, strict=True)
        for low, high in zip(one, other, strict=True)
    ]
    return as_bytes(joined, width)


def _residues(prime: int, n: int, ciphertexts: Sequence[int]) -> list[tuple[int, int]]:
    """Return (m, r) modulo a prime of N. (1 + mN)^(p-1) = 1 + (p - 1)·mN and r^(N(p-1)) = 1, modulo p²."""
    square = prime * prime
    scale = inverse((prime - 1) * (n // prime), prime)
    root = inverse(n, prime - 1)
    return [
        (
            (secret_power(each, prime - 1, square) - 1) // prime * scale % prime,
            secret_power(each % prime, root, prime),
        )
        for each in ciphertexts
    ]


def check_own(keys: OwnKeys, total: bytes, member: int, part: bytes) -> str | None:
    """Return what is wrong with a member's part of the sum under its key, None if it is what is in there."""
    if not 0 <= member < len(keys.keys):
        return f"there is no member {member}"
    if len(part) != len(total):
        return f"{len(part)} bytes of an opening, not {len(total)}"
    modulus = keys.keys[member].modulus
    group = get_group(modulus)
    n, square, width = group.modulus, group.square, group.width
    values = numbers(part, width)
    plain, roots = values[::2], values[1::2]
    if any(value >= n for value in plain) or any(not 0 < root < n for root in roots) or not are_units(roots, n):
        return f"a number of member {member} is not below N, or has no inverse"
    ciphertexts, seed = numbers(total, 2 * width), digest(_DOMAIN, b"opening", modulus, total, part)
    for turn in range(ROUNDS):
        shares = weights(digest(_DOMAIN, b"turn", seed, bytes([turn])), len(roots), _ROUND_BITS)
        left = product_of_powers(ciphertexts, shares, square, _ROUND_BITS)
        known = sum(share * value for share, value in zip(shares, plain, strict=True)) % n
        root = product_of_powers(roots, shares, n, _ROUND_BITS)
        if left != (1 + known * n) * power(root, n, square) % square:
            return f"the opening of member {member} is wrong: this is not what is in the sum"
    return None


def combine_own(keys: OwnKeys, packing: Packing, parts: Mapping[int, bytes]) -> tuple[int, ...] | None:
    """Return the sum's plaintexts of parts that passed ``check_own``, for ``unpack``; None if they are too few.

    The members with the lowest numbers are used.
    """
    members = sorted(parts)[: keys.threshold]
    if len(members) < keys.threshold:
        return None
    prime, width = get_field(_bits(keys.keys[0])), len(keys.keys[0].modulus)
    scale = gmpy2.fac(len(keys.keys))
    places = [member + 1 for member in members]
    back = inverse(scale, prime)
    factors = [lagrange(places, place, 0, scale) * back % prime for place in places]
    columns = zip(*(numbers(parts[member], width)[::2] for member in members), strict=True)
    sums = [sum(factor * each for factor, each in zip(factors, column, strict=True)) % prime for column in columns]
    if len(sums) != packing.ciphertexts:
        return None
    return tuple(value - prime if 2 * value > prime else value for value in sums)
