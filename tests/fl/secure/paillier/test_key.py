"""A key is refused for what everybody can see of it, by the name of the fault."""

import pytest
from gmpy2 import next_prime
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import decode, encode
from chain.ids import AccountId
from fl.secure.paillier import PublicKey, check_key, deal, shared_factor
from fl.secure.paillier.dealing import deal_of
from fl.secure.paillier.key import ROOTS
from tests.fl.secure.paillier.keys import LARGE, MEMBERS, SMALL, SMALL_BITS, large_key, modulus_of, small_key, stream


def _with_modulus(modulus: int) -> PublicKey:
    return replace(small_key(), modulus=modulus.to_bytes((modulus.bit_length() + 7) // 8, "big"))


def test_a_full_key_passes_everything_and_travels() -> None:
    """2048 bits, three of five."""
    assert check_key(large_key()) is None
    assert modulus_of(large_key()) == LARGE[0] * LARGE[1]
    assert decode(encode(large_key()), PublicKey) == large_key()


def test_a_key_of_512_bits_is_for_tests_alone() -> None:
    """The least size is 2048 bits, unless a test asks for less."""
    assert check_key(small_key()) == "a modulus of 512 bits: 2048 … 4096 are allowed"
    assert check_key(small_key(), SMALL_BITS) is None


P, Q = SMALL


@pytest.mark.parametrize(
    ("modulus", "fault"),
    [
        (P, "a modulus of 256 bits"),
        (P * Q * 2**4000, "a modulus of 4512 bits"),
        (P * Q - 1, "even"),
        (65521 * P * Q, "a factor below 65536"),
        (P * P, "a perfect power"),
        (int(next_prime(P * Q)), "prime"),
        (P * int(next_prime(Q + 2)), "no product of two safe primes"),
    ],
)
def test_moduli_that_hide_nothing_are_refused(modulus: int, fault: str) -> None:
    """Small, large, even, with a small factor, a square, prime, of wrong primes."""
    assert fault in (check_key(_with_modulus(modulus), SMALL_BITS) or "")


def test_close_primes_are_found_out() -> None:
    """Their product would be factored by Fermat's way in a moment."""
    first = P
    while True:
        first = int(next_prime(first))
        second = int(next_prime(first))
        if first * second % 12 == 1:
            break
    assert check_key(_with_modulus(first * second), SMALL_BITS) == (
        "the modulus is a product of two numbers that are nearly the same"
    )


def test_a_modulus_may_not_have_leading_zeros() -> None:
    """One key, one encoding."""
    key = replace(small_key(), modulus=b"\0" + small_key().modulus)
    assert check_key(key, SMALL_BITS) == "the modulus has leading zeros"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"threshold": 1}, "one member alone could decrypt"),
        ({"threshold": 0}, "one member alone could decrypt"),
        ({"threshold": 6}, "threshold 6 of 5 members"),
        ({"members": ()}, "0 members"),
        ({"members": small_key().members[:1]}, "1 members"),
        ({"members": tuple(AccountId(bytes([i]) * 32) for i in range(17))}, "17 members"),
        ({"members": (small_key().members[0], *small_key().members[:4])}, "an account is a member twice"),
        ({"verification": small_key().verification[:4]}, "4 verification keys"),
        ({"shares": ()}, "0 shares"),
        ({"roots": small_key().roots[1:]}, f"{ROOTS - 1} roots"),
        ({"roots": (b"", *small_key().roots[1:])}, "not 64 bytes long"),
        ({"roots": (bytes(64), *small_key().roots[1:])}, "no inverse"),
        ({"roots": (bytes(63) + b"\1", *small_key().roots[1:])}, "a root is wrong"),
        ({"verification": (bytes([255]) * 64, *small_key().verification[1:])}, "no inverse"),
        ({"verification": (P.to_bytes(64, "big"), *small_key().verification[1:])}, "no inverse"),
    ],
)
def test_keys_whose_parts_do_not_fit_are_refused(changes: dict[str, object], fault: str) -> None:
    """Counts, widths, and elements that are no units."""
    assert fault in (check_key(replace(small_key(), **changes), SMALL_BITS) or "")


@pytest.mark.parametrize("member", range(5))
def test_each_verification_key_is_proven_to_be_of_the_one_polynomial(member: int) -> None:
    """So a dealer can't make a committee that will not open what is encrypted."""
    values = list(small_key().verification)
    values[member] = (int.from_bytes(values[member], "big") * 4 % (P * Q)).to_bytes(64, "big")
    fault = check_key(replace(small_key(), verification=tuple(values)), SMALL_BITS)
    assert fault is not None
    assert ("not those of shares of the decryption key" in fault) if member < 3 else (f"member {member}" in fault)


def test_shares_of_another_polynomial_through_other_places_are_refused() -> None:
    """All members' keys swapped around: each is of a share, none of its member's."""
    key = replace(small_key(), verification=small_key().verification[::-1])
    assert "not those of shares" in (check_key(key, SMALL_BITS) or "")


def test_a_modulus_under_which_ciphertexts_open_in_two_ways_has_no_roots_to_show() -> None:
    """p divides q - 1: r -> r^N is many to one, N has no inverse modulo φ(N), and no dealer can make the roots."""
    q = 2 * P + 1
    while not (int(next_prime(q - 1)) == q and P * q % 12 == 1):
        q += 2 * P
    assert (q - 1) % P == 0
    with pytest.raises(ZeroDivisionError):
        deal_of(P, q, [each.account for each in MEMBERS], 3, stream(b"bad"))
    fault = check_key(_with_modulus(P * q), SMALL_BITS)
    assert fault is not None


def test_moduli_that_share_a_factor_are_found_by_their_places() -> None:
    """Whoever has both keys has the factors of both."""
    others = [int(next_prime(P * (i + 2))) * int(next_prime(Q * (i + 3))) for i in range(5)]
    moduli = [each.to_bytes((each.bit_length() + 7) // 8, "big") for each in [*others, P * Q, P * int(next_prime(Q))]]
    assert shared_factor(moduli[:6]) is None
    assert shared_factor(moduli) == (5, 6)
    assert shared_factor([moduli[0], moduli[1], moduli[0]]) == (0, 2)
    assert shared_factor(moduli[:1]) is None
    assert shared_factor([]) is None


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_key_of_a_stranger_makes_an_exception(data: st.DataObject) -> None:
    """Any bytes in any field: a fault in words."""
    some = st.one_of(st.binary(max_size=70), st.just(small_key().modulus), st.sampled_from(small_key().verification))
    lists = st.one_of(st.lists(some, max_size=9).map(tuple), st.just(small_key().roots))
    key = PublicKey(
        data.draw(some.filter(bool)),
        data.draw(st.integers(-5, 20)),
        data.draw(st.sampled_from([small_key().members, ()])),
        data.draw(st.one_of(lists, st.just(small_key().verification))),
        data.draw(st.one_of(lists, st.just(small_key().shares))),
        data.draw(lists),
    )
    fault = check_key(key, 8)
    assert fault is None or fault


def test_a_dealt_key_is_fresh_and_right() -> None:
    """The whole of dealing, at a size at which it takes a moment; who deals is told what is being done."""
    told: list[str] = []
    accounts = [each.account for each in MEMBERS[:3]]
    first = deal(accounts, 2, SMALL_BITS, stream(b"deal"), told.append)
    second = deal(accounts, 2, SMALL_BITS)
    assert check_key(first, SMALL_BITS) is None
    assert check_key(second, SMALL_BITS) is None
    assert first.modulus != second.modulus
    assert modulus_of(first).bit_length() == modulus_of(second).bit_length() == SMALL_BITS
    assert len(told) == 3


@pytest.mark.parametrize("threshold", [0, 1, 4])
def test_no_key_is_dealt_that_would_be_refused(threshold: int) -> None:
    """One member alone, or more than there are."""
    with pytest.raises(ValueError, match="of 3 members"):
        deal([each.account for each in MEMBERS[:3]], threshold, SMALL_BITS)
