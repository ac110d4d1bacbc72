"""Safe primes are what they say, and a share is its member's alone."""

from math import factorial

import pytest
from gmpy2 import is_prime
from msgspec.structs import replace

from chain.keys import KeyPair
from fl.secure.paillier import open_share
from fl.secure.paillier.dealing import safe_prime
from fl.secure.paillier.numbers import lagrange
from tests.fl.secure.paillier.keys import LARGE, MEMBERS, SMALL, modulus_of, share_of, small_key, stream


@pytest.mark.parametrize("bits", [24, 32, 64, 128, 200])
def test_a_safe_prime_has_its_size_and_its_half_is_prime(bits: int) -> None:
    """Its two highest bits are set, so that a product of two has twice the bits."""
    for label in (b"a", b"b", b"c"):
        prime = int(safe_prime(bits, stream(label)))
        assert prime.bit_length() == bits
        assert prime >> (bits - 2) == 3
        assert is_prime(prime)
        assert is_prime(prime // 2)


def test_the_kept_primes_are_safe() -> None:
    """Of both keys of these tests."""
    assert all(is_prime(prime) and is_prime(prime // 2) for prime in (*SMALL, *LARGE))


def test_three_shares_make_the_decryption_key_and_two_fit_any() -> None:
    """f(0) = N^-1 mod p'q' by Lagrange; through two shares and any other secret there is a polynomial too."""
    order, n = (SMALL[0] // 2) * (SMALL[1] // 2), modulus_of(small_key())
    shares = {place: int.from_bytes(share_of(small_key(), place - 1), "big") for place in range(1, 6)}
    scale, inverse = factorial(5), pow(factorial(5), -1, order)
    for places in ((1, 2, 3), (1, 3, 5), (3, 4, 5)):
        secret = sum(lagrange(places, place, 0, scale) * shares[place] for place in places) * inverse % order
        assert secret * n % order == 1
    for secret in (1, 2, order - 1):
        points = {0: secret, 1: shares[1], 2: shares[2]}
        third = sum(lagrange(tuple(points), place, 3, scale) * value for place, value in points.items()) * inverse
        assert third % order != shares[3], (
            "another polynomial, whose value at 3 two members can't tell from the real one"
        )


def test_a_share_opens_for_its_member_alone() -> None:
    """Strangers have none; a share in another's place is not the one that its verification key promises."""
    key = small_key()
    assert open_share(key, KeyPair(bytes(32))) is None
    assert open_share(key, MEMBERS[0]) is not None
    assert open_share(replace(key, shares=(key.shares[1], *key.shares[1:])), MEMBERS[0]) is None
    assert open_share(replace(key, shares=(b"junk", *key.shares[1:])), MEMBERS[0]) is None
    swapped = replace(key, verification=(key.verification[1], *key.verification[1:]))
    assert open_share(swapped, MEMBERS[0]) is None


def test_a_share_of_another_modulus_is_none_of_this_key() -> None:
    """What is sealed names its modulus."""
    key = replace(small_key(), modulus=(modulus_of(small_key()) + 2).to_bytes(64, "big"))
    assert open_share(key, MEMBERS[0]) is None
