"""Openings of ciphertexts, (m, r) each, and their check all at once: is this what is in there?

    opening   m_1, r_1 … m_n, r_n (N's width each), m modulo N; c_i = (1 + m_i N)·r_i^N modulo N²

The check needs nothing of N but what ``key`` shows of every modulus, whoever made it: r -> r^N is one to one, so that a
ciphertext holds one m, and no factor is below 2^16. It is done ``ROUNDS`` times with weights ε_i of 16 bits from the
digest of all: Π c_i^ε_i = (1 + Σ ε_i m_i·N)·(Π r_i^ε_i)^N modulo N². Units modulo N² are the product of the powers of
1 + N and the N-th powers; so if m_i were off by δ_i from what is in c_i, Σ ε_i δ_i would be 0 modulo N, and modulo a
prime l > 2^16 of it that does not divide some δ_i: one value of that ε_i at most is right, of 2^16; eight times,
2^-128. (r_i may be wrong by a root of 1, which nobody uses.) It takes some twenty products a ciphertext and one power
a round, in place of a power for each.

Rules of this file: what strangers send gives a fault in words; sizes first.
"""

from collections.abc import Sequence
from typing import Final

from chain.hashing import digest
from fl.secure.paillier.key import get_group
from fl.secure.paillier.numbers import are_units, as_bytes, numbers, power, product_of_powers, weights

ROUNDS: Final = 8
_ROUND_BITS: Final = 16
_DOMAIN: Final = b"fedchain/paillier/opening"


def find_opening_fault(modulus: bytes, total: bytes, opening: bytes) -> str | None:
    """Return what is wrong with an opening of ciphertexts under a checked modulus; None if it is what is in them.

    ``total``: the ciphertexts, units modulo N², each twice as wide as N.
    """
    if len(opening) != len(total):
        return f"{len(opening)} bytes of an opening, not {len(total)}"
    group = get_group(modulus)
    n, square, width = group.modulus, group.square, group.width
    values = numbers(opening, width)
    plain, roots = values[::2], values[1::2]
    if any(value >= n for value in plain) or any(not 0 < root < n for root in roots) or not are_units(roots, n):
        return "a number of the opening is not below N, or has no inverse"
    ciphertexts, seed = numbers(total, 2 * width), digest(_DOMAIN, modulus, total, opening)
    for turn in range(ROUNDS):
        shares = weights(digest(_DOMAIN, b"turn", seed, bytes([turn])), len(roots), _ROUND_BITS)
        left = product_of_powers(ciphertexts, shares, square, _ROUND_BITS)
        known = sum(share * value for share, value in zip(shares, plain, strict=True)) % n
        root = product_of_powers(roots, shares, n, _ROUND_BITS)
        if left != (1 + known * n) * power(root, n, square) % square:
            return "the opening is wrong: this is not what is in the sum"
    return None


def join_opening(plaintexts: Sequence[int], roots: Sequence[int], modulus: bytes) -> bytes:
    """Return an opening's bytes; m may be signed."""
    n = get_group(modulus).modulus
    pairs = zip(plaintexts, roots, strict=True)
    return as_bytes([each for plain, root in pairs for each in (plain % n, root)], len(modulus))


def read_signed(modulus: bytes, opening: bytes) -> tuple[int, ...]:
    """Return m of each ciphertext in (-N/2, N/2), of an opening that has no fault."""
    n = get_group(modulus).modulus
    return tuple([value - n if 2 * value > n else value for value in read_plaintexts(modulus, opening)])


def read_plaintexts(modulus: bytes, opening: bytes) -> tuple[int, ...]:
    """Return m of each ciphertext, modulo N, of an opening that has no fault."""
    return tuple(numbers(opening, len(modulus))[::2])
