"""Decrypting a sum together: partial decryptions with proofs, and their combination into an opening.

For a ciphertext c let x = c mod N, which is r^N. With Δ = (number of members)! member i gives x_i = x^(2Δ·s_i), and a
proof (Shoup 2000). Of any ``threshold`` of them, w = Π x_i^(2λ_i) = x^(4Δ²·d) with Lagrange's integers
λ_i = Δ·Π j/(j - i); with α·4Δ² + β·N = 1 that is r = w^α·x^β, since r^N = x^(4Δ²·α + N·β). Then 1 + MN = c·r^-N modulo
N²: that the right side has this form is looked at for each ciphertext, so an opening that ``combine`` returns *is* one,
exactly: c = (1 + MN)·r^N modulo N². Nobody can make another: r -> r^N is one to one (``key``).

A member's one proof for all ciphertexts. With weights ε_j of 128 bits from the digest of everything, X = Π x_j^ε_j and
Y = Π x_ij^(2ε_j), he proves that Y to the base X^(4Δ) has the logarithm that v_i has to the base v (Chaum and Pedersen
1992; integers of unknown order, as Shoup does it): A = v^ρ, B = X^(4Δρ), e of 128 bits from the digest, z = s_i·e + ρ.
- Squares modulo N of safe primes are a cyclic group whose order p'q' has large factors alone. If one x_ij² were not
  x_j^(4Δ·s_i), their ratio would have an order above 2^128, and Y would be right for at most one of 2^128 values of
  ε_j.
- ρ has 128 bits more than s_i·e can: z tells nothing of s_i but with a chance of 2^-128.
x_ij itself may be wrong by a root of 1 that squaring takes away: ``combine`` uses even powers of it.

    part      x_i1 … x_in (N's width each), e (16 bytes), z (N's width + 33 bytes)
    opening   M_1, r_1 … M_n, r_n (N's width each), M modulo N

Rules of this file: what strangers send gives a fault in words; sizes first; secrets are exponents of ``secret_power``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import gmpy2

from chain.hashing import digest
from fl.errors import PayloadError
from fl.parallel import cores, mapped
from fl.privacy.randomness import RandomSource
from fl.secure.paillier.key import Group, PublicKey, get_group
from fl.secure.paillier.numbers import (
    WEIGHT_BITS,
    are_units,
    as_bytes,
    factorial,
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

_DOMAIN: Final = b"fedchain/paillier/part"
_CHALLENGE_BYTES: Final = WEIGHT_BITS // 8
_ANSWER_SPARE: Final = 33
"""Bytes of z beyond N's: twice 128 bits, and one more for the sum."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is in the ciphertexts of an aggregate: ``plaintexts`` M in (-N/2, N/2), ``randomness`` r."""

    plaintexts: tuple[int, ...]
    randomness: tuple[int, ...]


def part_bytes(key: PublicKey, aggregate: bytes) -> int:
    """Return the size of a partial decryption of this aggregate."""
    width = len(key.modulus)
    return len(aggregate) // (2 * width) * width + _CHALLENGE_BYTES + width + _ANSWER_SPARE


def partial(
    key: PublicKey,
    aggregate: bytes,
    member_index: int,
    share: bytes,
    context: bytes,
    random: RandomSource,
    threads: int = 1,
) -> bytes:
    """Return a member's partial decryption, with its proof, of an aggregate that ``add`` made; ``share`` is s_i."""
    group, secret = get_group(key.modulus), number(share)
    n, width = group.modulus, group.width
    exponent = 2 * factorial(len(key.members)) * secret
    roots = [each % n for each in numbers(aggregate, 2 * width)]
    parts = list(mapped(lambda root: secret_power(root, exponent, n), roots, threads))
    sent = as_bytes(parts, width)
    seed = _seed(key, aggregate, member_index, context, sent)
    base, value = _batched(key, group, roots, parts, seed)
    mask = random_below(1 << (group.bits + 2 * WEIGHT_BITS), random)
    commitments = [secret_power(group.proof_base, mask, n), secret_power(base, mask, n)]
    challenge = _challenge(group, seed, base, value, commitments)
    return sent + challenge + as_bytes([secret * number(challenge) + mask], width + _ANSWER_SPARE)


def check_partial(key: PublicKey, aggregate: bytes, member_index: int, part: bytes, context: bytes) -> str | None:
    """Return what is wrong with a member's partial decryption, None if it is the right one."""
    if not 0 <= member_index < len(key.members):
        return f"there is no member {member_index}"
    if len(part) != part_bytes(key, aggregate):
        return f"{len(part)} bytes of a partial decryption, not {part_bytes(key, aggregate)}"
    group = get_group(key.modulus)
    n, width = group.modulus, group.width
    end = len(aggregate) // 2
    parts, answer = numbers(part[:end], width), number(part[end + _CHALLENGE_BYTES :])
    challenge = part[end : end + _CHALLENGE_BYTES]
    if any(not 0 < each < n for each in parts) or not are_units(parts, n):
        return f"a number of member {member_index} has no inverse modulo N"
    seed = _seed(key, aggregate, member_index, context, part[:end])
    base, value = _batched(key, group, [each % n for each in numbers(aggregate, 2 * width)], parts, seed)
    back = -number(challenge)
    commitments = [
        power(group.proof_base, answer, n) * power(number(key.verification[member_index]), back, n) % n,
        power(base, answer, n) * power(value, back, n) % n,
    ]
    if challenge != _challenge(group, seed, base, value, commitments):
        return f"the proof of member {member_index} is wrong: this is no decryption by the share of the key"
    return None


def _seed(key: PublicKey, aggregate: bytes, member_index: int, context: bytes, sent: bytes) -> bytes:
    """Return the digest of everything that is stated."""
    member = bytes([member_index]), key.members[member_index], key.verification[member_index]
    return digest(_DOMAIN, key.modulus, *member, context, aggregate, sent)


def _batched(key: PublicKey, group: Group, roots: Sequence[int], parts: Sequence[int], seed: bytes) -> tuple[int, int]:
    """Return X^(4Δ) and Y."""
    n, share = group.modulus, weights(seed, len(roots))
    base = power(product_of_powers(roots, share, n), 4 * factorial(len(key.members)), n)
    return base, product_of_powers(parts, share, n) ** 2 % n


def _challenge(group: Group, seed: bytes, base: int, value: int, commitments: Sequence[int]) -> bytes:
    stated = as_bytes([base, value, *commitments], group.width)
    return digest(_DOMAIN, b"proof", seed, stated)[:_CHALLENGE_BYTES]


def combine(
    key: PublicKey, aggregate: bytes, partials: Mapping[int, bytes], threads: int | None = None
) -> Opening | None:
    """Return the opening of an aggregate; None if these are fewer than it takes, or do not open it.

    ``partials`` by the members' numbers, each of which passed ``check_partial``; the lowest are used. On all cores
    unless told otherwise; the last openings are remembered, since who builds a block and connects it asks again.
    """
    members = sorted(partials)[: key.threshold]
    if len(members) < key.threshold or any(
        len(partials[member]) != part_bytes(key, aggregate) or not 0 <= member < len(key.members) for member in members
    ):
        return None
    end = len(aggregate) // 2
    sent = tuple((member, partials[member][:end]) for member in members)
    return _combined(key, aggregate, sent, cores() if threads is None else threads)


@lru_cache(maxsize=4)
def _combined(key: PublicKey, aggregate: bytes, sent: tuple[tuple[int, bytes], ...], threads: int) -> Opening | None:
    """Return the opening; ``sent``: members' numbers, and theirs for each ciphertext."""
    group = get_group(key.modulus)
    columns = zip(*(numbers(part, group.width) for _, part in sent), strict=True)
    items = list(zip(numbers(aggregate, 2 * group.width), columns, strict=True))
    opened = list(mapped(_opener(key, group, [member for member, _ in sent]), items, min(threads, len(items))))
    found = [each for each in opened if each is not None]
    if len(found) != len(opened):
        return None
    return Opening(tuple(plain for plain, _ in found), tuple(root for _, root in found))


def _opener(
    key: PublicKey, group: Group, members: Sequence[int]
) -> Callable[[tuple[int, tuple[int, ...]]], tuple[int, int] | None]:
    """Return what makes (M, r) of a ciphertext and the members' numbers for it; None if they do not fit."""
    n = group.modulus
    scale = factorial(len(key.members))
    places = [member + 1 for member in members]
    powers = [2 * lagrange(places, place, 0, scale) for place in places]
    four = 4 * scale * scale
    alpha = inverse(four, n)
    beta = (1 - alpha * four) // n

    def opened(item: tuple[int, tuple[int, ...]]) -> tuple[int, int] | None:
        ciphertext, parts = item
        try:
            joined = gmpy2.mpz(1)
            for part, exponent in zip(parts, powers, strict=True):
                joined = joined * power(part, exponent, n) % n
            root = power(joined, alpha, n) * power(ciphertext % n, beta, n) % n
            plain = _plaintext(group, ciphertext, root)
        except ZeroDivisionError:
            return None
        return None if plain is None else (plain, root)

    return opened


def _plaintext(group: Group, ciphertext: int, root: int) -> int | None:
    """Return M in (-N/2, N/2) with c = (1 + MN)·r^N mod N²; None if there is none."""
    n = group.modulus
    quotient, rest = divmod(ciphertext * inverse(power(root, n, group.square), group.square) % group.square - 1, n)
    if rest:
        return None
    value: int = quotient - n if 2 * quotient > n else quotient
    return value


def check_opening(key: PublicKey, aggregate: bytes, opening: Opening, threads: int = 1) -> bool:
    """Is this what is in the aggregate: c = (1 + MN)·r^N mod N² for each ciphertext, exactly?"""
    group = get_group(key.modulus)
    n, square = group.modulus, group.square
    ciphertexts = numbers(aggregate, 2 * group.width)
    if len(opening.plaintexts) != len(ciphertexts) or len(opening.randomness) != len(ciphertexts):
        return False
    if not all(-n < 2 * plain < n for plain in opening.plaintexts):
        return False
    if not all(0 < root < n for root in opening.randomness):
        return False
    items = zip(ciphertexts, opening.plaintexts, opening.randomness, strict=True)
    return all(mapped(lambda each: (1 + each[1] * n) * power(each[2], n, square) % square == each[0], items, threads))


def opening_bytes(key: PublicKey, opening: Opening) -> bytes:
    """Return an opening as it is kept."""
    n, width = number(key.modulus), len(key.modulus)
    pairs = zip(opening.plaintexts, opening.randomness, strict=True)
    return as_bytes([each for plain, root in pairs for each in (plain % n, root)], width)


def read_opening(key: PublicKey, data: bytes) -> Opening:
    """Return the opening that bytes say, right or wrong. ``PayloadError``: they are of no opening."""
    n, width = number(key.modulus), len(key.modulus)
    values = numbers(data, width)
    if len(data) % (2 * width) or any(value >= n for value in values):
        raise PayloadError("not an opening: numbers below N, in pairs")
    plain = [value - n if 2 * value > n else value for value in values[::2]]
    return Opening(tuple(plain), tuple(values[1::2]))
