"""A member's key of its own: made at home from its account's secret key, shown with its proof, signed by its account.

The factors are drawn from a stream that follows from the account's secret key and a random label, which stands in the
public part. So nothing new has to be kept, locked or copied: where the account's key is, encrypted with a password or
not, the committee's key is, and a new label makes a new one. (``tests/fl/secure/paillier/test_member.py`` holds a key
that must come out the same for ever.) The price: whoever gets the account's key, at any later time, has this one too;
who wants to be able to forget it makes an account for the purpose and deletes that.

What everybody can check of it (``find_member_fault``), and nothing else is believed:
- N as ``key`` checks every modulus: its size, no factor below 2^16, not prime, no power, no close factors;
- r -> r^N is one to one: N-th roots of numbers that follow from N *and from the account*, which takes the factors to
  make. So nobody can show another's modulus as its own;
- all of it was signed by the account that is to be the member.

That N is of two good primes nobody sees: who makes a bad one spoils the secrecy of its own shares alone (``own``).

Rules of this file: hostile keys give a fault in words, never an exception; secrets leave it in ``Factors`` alone.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record
from chain.hashing import digest
from chain.ids import AccountField, Hash, HashField, SignatureField
from chain.keys import KeyPair, verify
from fl.privacy.randomness import RandomSource, SeededRandom
from fl.secure.paillier.dealing import are_close, safe_prime
from fl.secure.paillier.key import (
    MAX_MEMBERS,
    MIN_BITS,
    ROOTS,
    find_modulus_fault,
    find_roots_fault,
    get_root_challenges,
)
from fl.secure.paillier.numbers import as_bytes, inverse, secret_power

MAX_OWN_BITS: Final = 3072
"""Everybody computes for each member: fewer bits than a dealt key may have bound that."""
_DOMAIN: Final = b"fedchain/paillier/member"


@dataclass(frozen=True, slots=True)
class Factors:
    """A member's secret: the safe primes of its modulus."""

    first: int = field(repr=False)
    second: int = field(repr=False)


class MemberKey(Record):
    """What a member shows of its key.

    label   what its factors were drawn from, with the account's secret key
    roots   N-th roots of the numbers that follow from N and the account, as wide as N
    """

    account: AccountField
    label: HashField
    modulus: Annotated[bytes, Meta(min_length=1, max_length=MAX_OWN_BITS // 8)]
    roots: Annotated[tuple[bytes, ...], Meta(min_length=ROOTS, max_length=ROOTS)]
    signature: SignatureField


class MemberKeys(Record):
    """The members of a committee, as they stand in a plan; a member's number is its place."""

    members: Annotated[tuple[MemberKey, ...], Meta(max_length=MAX_MEMBERS)]


def draw_factors(bits: int, random: RandomSource) -> Factors:
    """Return fresh factors of a modulus of ``bits`` bits; from a stream that repeats, the same ones again."""
    first = second = safe_prime(bits // 2, random)
    while are_close(first, second, bits):
        second = safe_prime(bits // 2, random)
    return Factors(first, second)


def derive_factors(key: KeyPair, label: bytes, bits: int) -> Factors:
    """Return the factors that follow from an account's key and a label; seconds, the first time a process asks."""
    return _derived(digest(_DOMAIN, b"factors", key.seed, label, bits.to_bytes(4, "big")), bits)


@lru_cache(maxsize=4)
def _derived(seed: bytes, bits: int) -> Factors:
    return draw_factors(bits, SeededRandom(seed))


def make_member_key(key: KeyPair, label: bytes, bits: int = MIN_BITS) -> MemberKey:
    """Return an account's key for a committee; ``label``: 32 random bytes. Takes about a second at 2048 bits."""
    return show_key(derive_factors(key, label, bits), key, label)


def show_key(factors: Factors, key: KeyPair, label: bytes) -> MemberKey:
    """Return what a member shows of these factors."""
    n = factors.first * factors.second
    width = (int(n).bit_length() + 7) // 8
    modulus = as_bytes([n], width)
    root = inverse(n, (factors.first - 1) * (factors.second - 1))
    challenges = get_root_challenges(modulus, key.account)
    roots = tuple(as_bytes([secret_power(each, root, n)], width) for each in challenges)
    return MemberKey(key.account, Hash(label), modulus, roots, key.sign(get_statement(label, modulus, roots)))


def get_statement(label: bytes, modulus: bytes, roots: tuple[bytes, ...]) -> bytes:
    """Return what a member's account signs."""
    return digest(_DOMAIN, b"statement", label, modulus, *roots)


def find_member_fault(member: MemberKey, min_bits: int = MIN_BITS) -> str | None:
    """Return what is wrong with a member's key, None if nothing is that can be seen. Some ten powers modulo N."""
    if not verify(member.account, member.signature, get_statement(member.label, member.modulus, member.roots)):
        return "another account signed the key, or its bytes were changed"
    fault = find_modulus_fault(member.modulus, min_bits, MAX_OWN_BITS)
    return fault or find_roots_fault(member.modulus, member.roots, member.account)


def find_factors(member: MemberKey, key: KeyPair) -> Factors | None:
    """Return the secret of a member's key, which its account's key makes again; None if this account's does not."""
    if member.account != key.account:
        return None
    factors = derive_factors(key, member.label, int.from_bytes(member.modulus, "big").bit_length())
    return factors if as_bytes([factors.first * factors.second], len(member.modulus)) == member.modulus else None
