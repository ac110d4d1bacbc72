"""Dealing a key: two safe primes, a polynomial, and a sealed share for each member. Then the dealer forgets.

Shoup's threshold RSA ("Practical Threshold Signatures", 2000), with N itself for the public exponent: the secret
operation of Paillier's scheme is the N-th root modulo N. Shoup takes a prime exponent above the number of members; what
his proof uses is that it has no factor in common with 4·(n!)², and N has none below 2^16. He needs p = 2p' + 1 and
q = 2q' + 1 with p', q' prime, so that the squares modulo N are a cyclic group without small subgroups, where equality
of logarithms can be proven. (Variants for other primes exist: Fouque and Stern 2001, Damgård and Koprowski 2001; they
need more assumptions, or larger proofs.) Safe primes are rare, and found in seconds all the same: a sieve strikes from
a stretch of numbers all p' for which p' or 2p' + 1 has a factor below 2^17, and one in a thousand of the rest is it.

Rules of this file: the dealer's process is trusted; nothing secret leaves it but in sealed shares.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import gmpy2
import numpy as np
from numpy.typing import NDArray

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import AccountId
from chain.keys import KeyPair
from chain.sealing import seal, unseal
from fl.privacy.randomness import RandomSource, SystemRandom
from fl.secure.paillier.key import MIN_BITS, PublicKey, get_group, get_root_challenges
from fl.secure.paillier.numbers import as_bytes, evaluate, inverse, number, power, random_below

_SIEVE: Final = 1 << 17
_STRETCH: Final = 1 << 17

Progress = Callable[[str], None]


def _silent(_message: str) -> None:
    return None


class Share(Record):
    """A member's secret: s_i, as wide as N."""

    modulus: bytes
    value: bytes


def deal(
    members: Sequence[AccountId],
    threshold: int,
    bits: int = MIN_BITS,
    random: RandomSource | None = None,
    progress: Progress = _silent,
) -> PublicKey:
    """Return a fresh key of ``bits`` bits (even) for these members, any ``threshold`` of whom can decrypt.

    Takes seconds at 2048 bits; ``progress`` is told what is being done. Raises ``ValueError`` where ``check_key`` would
    refuse the counts.
    """
    source = SystemRandom() if random is None else random
    if not 2 <= threshold <= len(members):
        raise ValueError(f"threshold {threshold} of {len(members)} members: 2 … {len(members)} are allowed")
    progress(f"looking for the first of two safe primes of {bits // 2} bits")
    first = second = safe_prime(bits // 2, source)
    progress("looking for the second")
    while are_close(first, second, bits):
        second = safe_prime(bits // 2, source)
    progress("dealing the shares")
    return deal_of(first, second, members, threshold, source)


def are_close(first: int, second: int, bits: int) -> bool:
    """Do the primes agree in their first bits (FIPS 186-5, A.1.1: in 100), as bad luck alone can have it?"""
    return abs(first - second) < 1 << (bits // 2 - min(100, bits // 8))


def deal_of(first: int, second: int, members: Sequence[AccountId], threshold: int, source: RandomSource) -> PublicKey:
    """Return the key of two safe primes."""
    n, order = first * second, (first // 2) * (second // 2)
    width = (int(n).bit_length() + 7) // 8
    modulus = as_bytes([n], width)
    secret = inverse(n, order)
    polynomial = [secret, *(random_below(order, source) for _ in range(threshold - 1))]
    shares = [evaluate(polynomial, place, order) for place in range(1, len(members) + 1)]
    base = get_group(modulus).proof_base
    root = inverse(n, 4 * order)
    return PublicKey(
        modulus,
        threshold,
        tuple(members),
        tuple(as_bytes([power(base, share, n)], width) for share in shares),
        tuple(
            seal(encode(Share(modulus, as_bytes([share], width))), [member], source.bytes(32))
            for share, member in zip(shares, members, strict=True)
        ),
        tuple(as_bytes([power(each, root, n)], width) for each in get_root_challenges(modulus)),
    )


def open_share(key: PublicKey, keys: KeyPair) -> bytes | None:
    """Return a member's share of a checked key; None if the account has none, or it is not the one promised."""
    if keys.account not in key.members:
        return None
    place = key.members.index(keys.account)
    opened = unseal(key.shares[place], keys)
    try:
        share = None if opened is None else decode(opened, Share)
    except CodecError:
        return None
    if share is None or share.modulus != key.modulus or len(share.value) != len(key.modulus):
        return None
    group, value = get_group(key.modulus), number(share.value)
    if not value or power(group.proof_base, value, group.modulus) != number(key.verification[place]):
        return None
    return share.value


def safe_prime(bits: int, source: RandomSource) -> int:
    """Return a prime p of exactly ``bits`` bits, its two highest set, for which (p - 1)/2 is prime.

    From a random stretch of numbers, the first: primes after wide gaps are a little more probable, of which nobody has
    made an attack.
    """
    while True:
        start = random_below(1 << (bits - 1), source) | (3 << (bits - 3))
        start -= start % 6 - 5  # p' ≡ 5 mod 6: p' and 2p' + 1 have neither 2 nor 3
        for offset in _survivors(start):
            half = start + 6 * int(offset)
            candidate = 2 * half + 1
            if int(candidate).bit_length() != bits or half < 5:
                continue
            if gmpy2.is_strong_prp(half, 2) and gmpy2.is_prime(candidate, 40) and gmpy2.is_prime(half, 40):
                value: int = candidate
                return value


def _survivors(start: int) -> NDArray[np.int64]:
    """Return the k for which neither start + 6k nor 2(start + 6k) + 1 has a factor from 5 to the sieve's bound."""
    small = int(start) < _SIEVE * _SIEVE
    alive = np.ones(_STRETCH, np.bool_)
    if small:  # numbers of tests, where a factor may be the number itself
        return np.arange(_STRETCH, dtype=np.int64)
    for prime in _primes():
        rest = int(gmpy2.f_mod(start, prime))
        sixth = pow(6, -1, prime)
        alive[(-rest * sixth) % prime :: prime] = False
        alive[(-(rest + (prime + 1) // 2) * sixth) % prime :: prime] = False
    return np.flatnonzero(alive)


@lru_cache(maxsize=1)
def _primes() -> list[int]:
    """Return the primes from 5 to the sieve's bound."""
    alive = np.ones(_SIEVE, np.bool_)
    alive[:2] = False
    for each in range(2, int(_SIEVE**0.5) + 1):
        if alive[each]:
            alive[each * each :: each] = False
    return [int(prime) for prime in np.flatnonzero(alive) if prime > 3]
