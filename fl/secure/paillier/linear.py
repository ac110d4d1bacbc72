"""Linear algebra on encrypted integers: add, subtract, scale, dot product, matrix times vector, all with plain weights.

One integer a ciphertext, for protocols in which a party computes with another's numbers that it must not see (vertical
learning: Hardy et al. 2017). With c = Enc(m; r): c·c' holds m + m', c^k holds k·m.

Range. Plaintexts are known modulo N alone, so each vector has a ``bound``: no |m| in it is larger *if* those who
encrypted it kept to theirs. Each operation computes its result's bound exactly, and refuses (``OverflowError``) where
2·bound >= N, before it computes anything. Who lies about what he encrypted gets wrong results, not others' numbers:
parties whose ranges matter are trusted or audited.

What is computed still carries its inputs' randomness: who made an input and sees the result can test guesses of the
weights. ``refresh`` it before it is sent. Weights are plain: the time that powers take depends on them.

A vector is decrypted like any aggregate: ``aggregate_of`` it, parts of the committee, ``combine``; the opening's
plaintexts are the integers.

Rules of this file: exact integers; a vector's ciphertexts are units modulo N².
"""

from collections.abc import Sequence
from dataclasses import dataclass

import gmpy2

from fl.errors import PayloadError
from fl.privacy.randomness import RandomSource
from fl.secure.paillier.ciphertext import noise_powers
from fl.secure.paillier.key import PublicKey, get_group
from fl.secure.paillier.numbers import are_units, as_bytes, inverse, numbers, power, product_of_powers


@dataclass(frozen=True, slots=True)
class EncryptedVector:
    """Encrypted integers under one key, none larger than ``bound`` in magnitude."""

    modulus: bytes
    ciphertexts: tuple[int, ...]
    bound: int

    def __len__(self) -> int:
        return len(self.ciphertexts)

    def __repr__(self) -> str:
        return f"EncryptedVector({len(self)} of at most ±{self.bound})"


def _bounded(modulus: bytes, bound: int) -> int:
    """Return the bound; ``OverflowError`` if such numbers can't be told apart modulo N."""
    if 2 * bound >= get_group(modulus).modulus:
        raise OverflowError(f"numbers of {int(bound).bit_length()} bits do not fit the key's plaintexts")
    return bound


def encrypt_vector(key: PublicKey, values: Sequence[int], bound: int, random: RandomSource) -> EncryptedVector:
    """Return integers, |value| <= bound, encrypted one by one. ``ValueError`` if one is larger, ``OverflowError``."""
    _bounded(key.modulus, bound)
    if any(abs(value) > bound for value in values):
        raise ValueError(f"a value is beyond ±{bound}")
    n, square = get_group(key.modulus).modulus, get_group(key.modulus).square
    masks = noise_powers(key.modulus, len(values), random)
    return EncryptedVector(
        key.modulus,
        tuple((1 + value * n) * mask % square for value, mask in zip(values, masks, strict=True)),
        bound,
    )


def add(first: EncryptedVector, second: EncryptedVector) -> EncryptedVector:
    """Return first + second, element by element. ``ValueError``: of another key or length. ``OverflowError``."""
    square = _common_square(first, second)
    bound = _bounded(first.modulus, first.bound + second.bound)
    pairs = zip(first.ciphertexts, second.ciphertexts, strict=True)
    return EncryptedVector(first.modulus, tuple(one * other % square for one, other in pairs), bound)


def subtract(first: EncryptedVector, second: EncryptedVector) -> EncryptedVector:
    """Return first - second, element by element. ``ValueError``: of another key or length. ``OverflowError``."""
    square = _common_square(first, second)
    bound = _bounded(first.modulus, first.bound + second.bound)
    pairs = zip(first.ciphertexts, second.ciphertexts, strict=True)
    return EncryptedVector(first.modulus, tuple(one * inverse(other, square) % square for one, other in pairs), bound)


def _common_square(first: EncryptedVector, second: EncryptedVector) -> int:
    if first.modulus != second.modulus:
        raise ValueError("the vectors are encrypted under two keys")
    if len(first) != len(second):
        raise ValueError(f"vectors of {len(first)} and {len(second)} numbers")
    return get_group(first.modulus).square


def add_plain(vector: EncryptedVector, values: Sequence[int]) -> EncryptedVector:
    """Return vector + values. ``ValueError``: another length. ``OverflowError``."""
    if len(values) != len(vector):
        raise ValueError(f"vectors of {len(vector)} and {len(values)} numbers")
    group = get_group(vector.modulus)
    bound = _bounded(vector.modulus, vector.bound + max(map(abs, values), default=0))
    pairs = zip(vector.ciphertexts, values, strict=True)
    return EncryptedVector(
        vector.modulus, tuple(each * (1 + value * group.modulus) % group.square for each, value in pairs), bound
    )


def scale(vector: EncryptedVector, factor: int) -> EncryptedVector:
    """Return factor·vector. ``OverflowError``."""
    bound = _bounded(vector.modulus, vector.bound * abs(factor))
    square = get_group(vector.modulus).square
    return EncryptedVector(vector.modulus, tuple(power(each, factor, square) for each in vector.ciphertexts), bound)


def dot(vector: EncryptedVector, weights: Sequence[int]) -> EncryptedVector:
    """Return Σ weight_i·m_i, a vector of one. ``ValueError``: another length. ``OverflowError``."""
    return multiply([weights], vector)


def multiply(matrix: Sequence[Sequence[int]], vector: EncryptedVector) -> EncryptedVector:
    """Return matrix·vector, a number for each row. ``ValueError``: a row of another length. ``OverflowError``."""
    if any(len(row) != len(vector) for row in matrix):
        raise ValueError(f"a row of the matrix has not {len(vector)} numbers")
    largest = max((sum(map(abs, row)) for row in matrix), default=0)
    bound = _bounded(vector.modulus, vector.bound * largest)
    rows = tuple(_weighted(vector.modulus, vector.ciphertexts, row) for row in matrix)
    return EncryptedVector(vector.modulus, rows, bound)


def _weighted(modulus: bytes, ciphertexts: Sequence[int], weights: Sequence[int]) -> int:
    """Return Π c_i^weight_i mod N²: those of positive weight, divided by those of negative."""
    square = get_group(modulus).square
    bits = max((int(abs(weight)).bit_length() for weight in weights), default=0)
    sides: list[int] = []
    for sign in (1, -1):
        chosen = [(c, abs(weight)) for c, weight in zip(ciphertexts, weights, strict=True) if weight * sign > 0]
        some = product_of_powers([c for c, _ in chosen], [weight for _, weight in chosen], square, bits)
        sides.append(some if chosen else gmpy2.mpz(1))
    above, below = sides
    return above if below == 1 else above * inverse(below, square) % square


def refresh(key: PublicKey, vector: EncryptedVector, random: RandomSource) -> EncryptedVector:
    """Return the same numbers under fresh randomness: nobody sees from what they were computed."""
    square = get_group(key.modulus).square
    pairs = zip(vector.ciphertexts, noise_powers(key.modulus, len(vector), random), strict=True)
    return EncryptedVector(vector.modulus, tuple(each * mask % square for each, mask in pairs), vector.bound)


def aggregate_of(vector: EncryptedVector) -> bytes:
    """Return the ciphertexts' bytes, as ``threshold.partial`` and ``threshold.combine`` take them."""
    return as_bytes(vector.ciphertexts, 2 * len(vector.modulus))


def read_vector(key: PublicKey, data: bytes, count: int, bound: int) -> EncryptedVector:
    """Return ``count`` ciphertexts of another party, who says that none is beyond ±bound.

    ``PayloadError`` if they are no units modulo N² or of another size; ``OverflowError`` for the bound.
    """
    group, width = get_group(key.modulus), 2 * len(key.modulus)
    if count < 1 or len(data) != count * width:
        raise PayloadError(f"{len(data)} bytes of {count} ciphertexts, not {count * width}")
    values = numbers(data, width)
    if any(not 0 < each < group.square for each in values) or not are_units(
        [each % group.modulus for each in values], group.modulus
    ):
        raise PayloadError("a ciphertext has no inverse modulo N²")
    return EncryptedVector(key.modulus, tuple(values), _bounded(key.modulus, bound))
