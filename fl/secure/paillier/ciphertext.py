"""Encrypted vectors: ciphertexts, with one proof that their sender knows what is in them; and their sum.

A ciphertext is c = (1 + MN)·r^N mod N², r = h^a modulo N for a secret a; so c = (1 + MN)·η^a with η = h^N mod N² from a
table of its powers. That nothing can be learned from c:
- were r any square, it would be Paillier's assumption (decisional composite residuosity, DCR) alone: N-th powers of
  units look like any units of N², their squares like any squares, and those hide M as 2 has an inverse modulo N;
- h follows from N and generates the squares (but with probability below 2^-1000, N being of safe primes), so h^a is any
  square for a long a. For a of half N's bits it can't be told from one unless N can be factored (Goldreich and Rosen
  2003, after Håstad, Schrift and Shamir 1993), and who factors N breaks DCR. ``a`` has 64 bits more than the half.
Damgård, Jurik and Nielsen (2010) encrypt so. It is no assumption about small subgroups.

The proof. For ciphertexts c_1 … c_n the sender gives A = (1 + xN)·s^N, takes weights e_i of 128 bits from the digest of
everything (N, context, c_i, A), and answers z = x + Σ e_i·M_i mod N, w = s·Π r_i^e_i mod N; checked is
(1 + zN)·w^N = A·Π c_i^e_i modulo N².
- *Knowledge.* Who answers with probability p above 2^-127 is run again with other digests until n + 1 answers are
  there whose weight vectors differ independently, modulo each prime P of N: of the 2^128 < P values of one weight, the
  others given, at most one lies in a given hyperplane, so the next accepted answer misses it but with probability
  2·2^-128/p. Dividing equations gives
  Π c_i^(e_i - e'_i) = (1 + z'N)·w'^N, n of them, with a determinant D that N has no factor in common with; solving them
  (by the adjugate matrix, in integers) gives c_i^D = (1 + y_i N)·u_i^N. With αD + βN = 1, c_i = c_i^(αD)·(c_i^β)^N
  is (1 + αy_i N)·(u_i^α·c_i^β)^N: its plaintext and r. (Cramer and Damgård's argument for maps with known N-th
  powers, on the batches of Gennaro et al. 2004. In the random oracle model, like all proofs here.)
- *Zero knowledge.* z is uniform since x is, w is a square like any other since s is, and A follows from both.
- *Bound to its context.* The digest is of device and task as well: for another's, the same ciphertexts need another
  answer, which takes the plaintexts to make.
Nothing is proven of the plaintexts' range (``packing``).

    body       n ciphertexts, A (each twice N's width), z, w (each N's width); n follows from the packing
    aggregate  n ciphertexts

Rules of this file: what strangers send gives a fault in words; its size is looked at first.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from chain.fixedpoint import Int64Vector
from chain.hashing import digest
from fl.errors import PayloadError
from fl.privacy.randomness import RandomSource
from fl.secure.paillier.key import Group, PublicKey, get_group
from fl.secure.paillier.numbers import (
    FixedBase,
    are_units,
    as_bytes,
    number,
    numbers,
    power,
    product_of_powers,
    random_below,
    weights,
)
from fl.secure.paillier.packing import Packing, pack

_DOMAIN: Final = b"fedchain/paillier/plaintexts"
_SPARE_BITS: Final = 64
_WINDOW: Final = 6
_FEW: Final = 12
"""Below so many powers the table costs more than it saves."""


def body_bytes(packing: Packing) -> int:
    """Return the size of an encrypted vector with its proof."""
    return (2 * packing.ciphertexts + 4) * _width(packing)


def aggregate_bytes(packing: Packing) -> int:
    """Return the size of a sum."""
    return 2 * packing.ciphertexts * _width(packing)


def _width(packing: Packing) -> int:
    return (packing.modulus_bits + 7) // 8


@lru_cache(maxsize=1)
def _table(modulus: bytes) -> FixedBase:
    """Return the table of η: six megabytes at 2048 bits, made in as long as a dozen powers take."""
    group = get_group(modulus)
    return FixedBase(group.noise_root, group.square, _exponent_bits(group), _WINDOW)


def _exponent_bits(group: Group) -> int:
    return (group.bits + 1) // 2 + _SPARE_BITS


def encrypt(key: PublicKey, packing: Packing, values: Int64Vector, context: bytes, random: RandomSource) -> bytes:
    """Return the body of values (d,) within the packing's range, for this context. ``ValueError``: out of range.

    Of a checked key. ``random`` must be secret and used once: two plaintexts under the same ``a`` give away their
    difference.
    """
    return encrypt_plaintexts(key.modulus, pack(packing, values), context, random)


def encrypt_plaintexts(modulus: bytes, plaintexts: Sequence[int], context: bytes, random: RandomSource) -> bytes:
    """Return ciphertexts of plaintexts modulo N, and the proof."""
    group = get_group(modulus)
    n, square, width = group.modulus, group.square, group.width
    bits = _exponent_bits(group)
    exponents = [random_below(1 << bits, random) for _ in range(len(plaintexts) + 1)]
    masks = _noise(modulus, exponents)
    mask_plain = random_below(n, random)
    ciphertexts = [(1 + plain * n) * mask % square for plain, mask in zip(plaintexts, masks[1:], strict=True)]
    commitment = (1 + mask_plain * n) * masks[0] % square
    sent = as_bytes(ciphertexts, 2 * width)
    committed = as_bytes([commitment], 2 * width)
    challenge = _challenge(modulus, context, sent, committed, len(ciphertexts))
    answer = (mask_plain + sum(e * plain for e, plain in zip(challenge, plaintexts, strict=True))) % n
    noise = exponents[0] + sum(e * a for e, a in zip(challenge, exponents[1:], strict=True))
    return sent + committed + as_bytes([answer, power(group.noise_base, noise, n)], width)


def noise_powers(modulus: bytes, count: int, random: RandomSource) -> list[int]:
    """Return that many encryptions of 0."""
    bits = _exponent_bits(get_group(modulus))
    return _noise(modulus, [random_below(1 << bits, random) for _ in range(count)])


def _noise(modulus: bytes, exponents: Sequence[int]) -> list[int]:
    """Return η^a for each exponent."""
    group = get_group(modulus)
    if len(exponents) < _FEW:
        return [power(group.noise_root, exponent, group.square) for exponent in exponents]
    table = _table(modulus)
    return [table.power(exponent) for exponent in exponents]


def _challenge(modulus: bytes, context: bytes, ciphertexts: bytes, commitment: bytes, count: int) -> list[int]:
    return weights(digest(_DOMAIN, modulus, context, ciphertexts, commitment), count)


def check(key: PublicKey, packing: Packing, body: bytes, context: bytes) -> str | None:
    """Return what is wrong with a body, None if it is ciphertexts of this key whose sender knows what is in them.

    Of a checked key. Takes one power modulo N² and, a ciphertext, some forty products.
    """
    if len(body) != body_bytes(packing):
        return f"{len(body)} bytes of ciphertexts, not {body_bytes(packing)}"
    bits = get_group(key.modulus).bits
    if packing.modulus_bits != bits:
        return f"a packing for {packing.modulus_bits} bits under a key of {bits}"
    return check_ciphertexts(key.modulus, body, context)


def check_ciphertexts(modulus: bytes, body: bytes, context: bytes) -> str | None:
    """Return what is wrong with a body of the right size."""
    group = get_group(modulus)
    n, square, width = group.modulus, group.square, group.width
    end = len(body) - 4 * width
    ciphertexts, commitment = numbers(body[:end], 2 * width), number(body[end : end + 2 * width])
    answer, root = numbers(body[end + 2 * width :], width)
    if any(not 0 < each < square for each in (*ciphertexts, commitment)):
        return "a ciphertext is not below N², or 0"
    if answer >= n or not 0 < root < n:
        return "an answer of the proof is not below N"
    if not are_units([*(each % n for each in ciphertexts), commitment % n, root], n):
        return "a ciphertext has no inverse modulo N²"
    challenge = _challenge(modulus, context, body[:end], body[end : end + 2 * width], len(ciphertexts))
    expected = commitment * product_of_powers(ciphertexts, challenge, square) % square
    if (1 + answer * n) * power(root, n, square) % square != expected:
        return "the proof is wrong: the sender does not know what is in the ciphertexts, or they are another's"
    return None


def add(key: PublicKey, bodies: Sequence[bytes]) -> bytes:
    """Return the aggregate of one or more bodies that passed ``check``; their order does not matter.

    ``PayloadError`` if their sizes differ or are of no body.
    """
    return add_ciphertexts(key.modulus, bodies)


def add_ciphertexts(modulus: bytes, bodies: Sequence[bytes]) -> bytes:
    """Return the products of the bodies' ciphertexts, one for each place. ``PayloadError``."""
    group = get_group(modulus)
    width = 2 * group.width
    sizes = {len(body) for body in bodies}
    size = next(iter(sizes), 0) - 2 * width
    if len(sizes) != 1 or size < width or size % width:
        raise PayloadError(f"bodies of {sorted(sizes)} bytes are no ciphertexts of one packing")
    totals = numbers(bodies[0][:size], width)
    for body in bodies[1:]:
        totals = [total * each % group.square for total, each in zip(totals, numbers(body[:size], width), strict=True)]
    return as_bytes(totals, width)
