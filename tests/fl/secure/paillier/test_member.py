"""A member's own key: it comes out of the account's key again, and shows that it is that account's alone."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.hashing import content_id
from chain.ids import Hash
from chain.keys import KeyPair
from fl.secure.paillier.key import find_modulus_fault, get_root_challenges
from fl.secure.paillier.member import (
    Factors,
    MemberKey,
    MemberKeys,
    derive_factors,
    find_factors,
    find_member_fault,
    get_statement,
    make_member_key,
    show_key,
)
from tests.fl.secure.paillier.keys import MEMBERS, SMALL_BITS

LABEL = b"for one plan".ljust(32, b".")


@cache
def _key() -> MemberKey:
    return make_member_key(MEMBERS[0], LABEL, SMALL_BITS)


def test_an_account_makes_its_key_again_for_ever() -> None:
    """Nothing but the account's key is kept: another way to find primes would lose every committee's keys."""
    assert content_id(_key().modulus).hex()[:16] == "fe893c52db4b6477"
    assert find_factors(_key(), MEMBERS[0]) == derive_factors(MEMBERS[0], LABEL, SMALL_BITS)
    assert find_factors(_key(), MEMBERS[1]) is None, "another account"
    assert find_factors(replace(_key(), label=Hash(bytes(32))), MEMBERS[0]) is None, "another label"
    assert make_member_key(MEMBERS[0], bytes(32), SMALL_BITS).modulus != _key().modulus


def test_a_key_shows_whose_it_is() -> None:
    """It passes as it was made; signed by another account, or copied by one, it does not."""
    key = _key()
    assert find_member_fault(key, SMALL_BITS) is None
    assert find_member_fault(key) == "a modulus of 512 bits: 2048 … 3072 are allowed"
    copied = replace(key, account=MEMBERS[1].account)
    assert find_member_fault(copied, SMALL_BITS) == "another account signed the key, or its bytes were changed"
    factors = derive_factors(MEMBERS[0], LABEL, SMALL_BITS)
    for other in (show_key(factors, MEMBERS[1], LABEL), key):
        thief = MEMBERS[2]
        stolen = MemberKey(thief.account, other.label, other.modulus, other.roots, _signed(thief, other))
        assert "a root is wrong" in (find_member_fault(stolen, SMALL_BITS) or "")
    assert get_root_challenges(key.modulus, MEMBERS[1].account) != get_root_challenges(key.modulus, MEMBERS[0].account)


def _signed(thief: KeyPair, key: MemberKey) -> bytes:
    return bytes(thief.sign(get_statement(key.label, key.modulus, key.roots)))


@pytest.mark.parametrize(
    ("factors", "fault"),
    [
        (Factors(65537 - 16, derive_factors(MEMBERS[0], LABEL, SMALL_BITS).second), "a factor below 65536"),
        (Factors(derive_factors(MEMBERS[0], LABEL, SMALL_BITS).first, 1), "bits"),
        (Factors(*[derive_factors(MEMBERS[0], LABEL, SMALL_BITS).first] * 2), "perfect power"),
    ],
)
def test_a_modulus_that_is_no_product_of_two_large_primes_is_refused(factors: Factors, fault: str) -> None:
    """A small factor, a prime, a square."""
    modulus = (factors.first * factors.second).to_bytes(((factors.first * factors.second).bit_length() + 7) // 8, "big")
    assert fault in (find_modulus_fault(modulus, 256 if fault != "bits" else SMALL_BITS) or "")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(encode(_key())) - 1), st.integers(1, 255))
def test_no_byte_of_a_key_can_be_changed(place: int, change: int) -> None:
    """It decodes no more, or is refused in words."""
    spoilt = bytearray(encode(_key()))
    spoilt[place] ^= change
    try:
        found = decode(bytes(spoilt), MemberKey)
    except CodecError:
        return
    assert find_member_fault(found, SMALL_BITS)


def test_members_travel_in_a_plan() -> None:
    """As many as a committee has; one byte more is none."""
    members = MemberKeys((_key(),) * 16)
    assert decode(encode(members), MemberKeys) == members
    for spoilt in (encode(members) + b"\0", encode(MemberKeys((_key(),) * 17))):
        with pytest.raises(CodecError):
            decode(spoilt, MemberKeys)
