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

Checks. A member may have made its key to cheat, so its N is taken for no more than ``member`` shows of it, and its part
is an opening that is checked with just that (``openings``). What else is wrong with its factors harms its own shares'
secrecy alone.

A device can send members shares of no polynomial. Then the sum depends on whose parts are used: nodes use the same, and
a liar gets wrong sums, as it does by wrong values.

Rules of this file: what strangers send gives a fault in words; sizes first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import gmpy2

from chain.fixedpoint import Int64Vector
from chain.hashing import digest
from chain.ids import AccountId
from fl.privacy.randomness import RandomSource
from fl.secure.paillier.ciphertext import add_ciphertexts, check_ciphertexts, encrypt_plaintexts
from fl.secure.paillier.key import MIN_BITS, find_committee_fault, shared_factor
from fl.secure.paillier.member import Factors, MemberKey, find_member_fault
from fl.secure.paillier.numbers import (
    as_bytes,
    evaluate,
    inverse,
    lagrange,
    number,
    numbers,
    random_below,
    secret_power,
)
from fl.secure.paillier.openings import find_opening_fault, read_plaintexts
from fl.secure.paillier.packing import Packing, pack

MAX_DEVICES: Final = 1 << 20
_MASK_BITS: Final = 128
FIELD_SPARE: Final = 150
"""Bits of N that P has less: 20 for the sum, 128 for u, 2 for the bounds' sake."""
_DOMAIN: Final = b"fedchain/paillier/own"


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """A committee: its members' keys, a member's number being its place, and how many open a sum together."""

    threshold: int
    keys: tuple[MemberKey, ...]

    @property
    def members(self) -> tuple[AccountId, ...]:
        """The members' accounts."""
        return tuple([AccountId(key.account) for key in self.keys])


def check_own_keys(keys: OwnKeys, min_bits: int = MIN_BITS) -> str | None:
    """Return what is wrong with a committee's keys, None if nothing is that can be seen."""
    fault = find_committee_fault(keys.members, keys.threshold)
    if fault is not None:
        return fault
    if len({_bits(key) for key in keys.keys}) != 1:
        return "the members' moduli have different sizes"
    for member, key in enumerate(keys.keys):
        fault = find_member_fault(key, min_bits)
        if fault is not None:
            return f"member {member}: {fault}"
    pair = shared_factor([key.modulus for key in keys.keys])
    return None if pair is None else f"the moduli of members {pair[0]} and {pair[1]} have a factor in common"


def _bits(key: MemberKey) -> int:
    return int(number(key.modulus)).bit_length()


@lru_cache(maxsize=8)
def get_field(bits: int) -> int:
    """Return P for moduli of so many bits: the first prime above 2^(bits - 150)."""
    value: int = gmpy2.next_prime(gmpy2.mpz(1) << (bits - FIELD_SPARE))
    return value


def get_packing(keys: OwnKeys, value_bits: int, devices: int, dimension: int) -> Packing:
    """Return the packing under a committee's keys. ``ValueError`` where sums can't fit."""
    if devices > MAX_DEVICES:
        raise ValueError(f"sums of {devices} devices: at most {MAX_DEVICES}")
    return Packing(value_bits, devices, dimension, _bits(keys.keys[0]) - FIELD_SPARE)


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
                    evaluate(polynomial, member + 1, prime) + prime * random_below(1 << _MASK_BITS, random)
                    for polynomial in polynomials
                ],
                _context(context, member),
                random,
            )
            for member, key in enumerate(keys.keys)
        ]
    )


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
    fault = find_opening_fault(keys.keys[member].modulus, total, part)
    return None if fault is None else f"of member {member}: {fault}"


def combine_own(keys: OwnKeys, packing: Packing, parts: Mapping[int, bytes]) -> tuple[int, ...] | None:
    """Return the sum's plaintexts of parts that passed ``check_own``, for ``unpack``; None if they are too few.

    The members with the lowest numbers are used.
    """
    members = sorted(parts)[: keys.threshold]
    if len(members) < keys.threshold:
        return None
    prime = get_field(_bits(keys.keys[0]))
    scale = gmpy2.fac(len(keys.keys))
    places = [member + 1 for member in members]
    back = inverse(scale, prime)
    factors = [lagrange(places, place, 0, scale) * back % prime for place in places]
    columns = zip(*(read_plaintexts(keys.keys[member].modulus, parts[member]) for member in members), strict=True)
    sums = [sum(factor * each for factor, each in zip(factors, column, strict=True)) % prime for column in columns]
    if len(sums) != packing.ciphertexts:
        return None
    return tuple(value - prime if 2 * value > prime else value for value in sums)
