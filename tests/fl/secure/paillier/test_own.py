"""A committee whose members each have a key: nobody deals, three of five open, two can't, cheaters are named."""

from dataclasses import replace as with_fields
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from gmpy2 import is_prime, next_prime
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import decode, encode
from fl.secure.paillier import unpack
from fl.secure.paillier.member import Factors, MemberKey, MemberKeys, draw_factors, show_key
from fl.secure.paillier.own import (
    OwnKeys,
    add_shares,
    check_own,
    check_own_keys,
    check_shares,
    combine_own,
    encrypt_shares,
    get_field,
    get_packing,
    open_own,
    opened_bytes,
    shares_bytes,
)
from tests.fl.secure.paillier.keys import (
    CONTEXT,
    LARGE,
    MEMBERS,
    SMALL_BITS,
    decrypt_textbook,
    split,
    stream,
    values_of,
)

VECTORS = [values_of(seed, 30, 24) for seed in range(4)]


@cache
def _factors(member: int) -> Factors:
    return draw_factors(SMALL_BITS, stream(b"own", bytes([member])))


def _show(factors: Factors, member: int) -> MemberKey:
    return show_key(factors, MEMBERS[member], bytes([member]) * 32)


@cache
def _keys() -> OwnKeys:
    return OwnKeys(3, tuple(_show(_factors(member), member) for member in range(5)))


PACKING = get_packing(_keys(), 24, 4, 30)


@cache
def _body(place: int) -> bytes:
    return encrypt_shares(_keys(), PACKING, VECTORS[place], CONTEXT, stream(b"shares", bytes([place])))


@cache
def _totals() -> tuple[bytes, ...]:
    return add_shares(_keys(), PACKING, [_body(place) for place in range(4)])


@cache
def _part(member: int) -> bytes:
    return open_own(_factors(member), _totals()[member])


def test_the_members_keys_pass_and_travel() -> None:
    """Each shows that its ciphertexts have one opening."""
    assert check_own_keys(_keys(), SMALL_BITS) is None
    assert decode(encode(MemberKeys(_keys().keys)), MemberKeys).members == _keys().keys
    assert _keys().members == tuple(each.account for each in MEMBERS)
    assert draw_factors(SMALL_BITS, stream(b"own", bytes([2]))) == _factors(2), "from a secret the same key again"
    assert "first" not in repr(_factors(0)), "factors are not shown"


@pytest.mark.parametrize("members", list(combinations(range(5), 3)))
def test_any_three_members_open_the_sum(members: tuple[int, ...]) -> None:
    """The exact sum of four devices' values."""
    plaintexts = combine_own(_keys(), PACKING, {member: _part(member) for member in members})
    assert plaintexts is not None
    assert (unpack(PACKING, plaintexts, 4) == sum(VECTORS)).all()


def test_two_members_can_not() -> None:
    """They are too few; and whatever the sum were, a third member could hold what fits it with what two hold."""
    assert combine_own(_keys(), PACKING, {0: _part(0), 1: _part(1)}) is None
    assert combine_own(_keys(), PACKING, {}) is None
    prime = get_field(SMALL_BITS)
    first, second = (int.from_bytes(_part(member)[:64], "big") for member in (0, 1))
    for other in (0, 1, 12345):
        third = (other - 3 * first + 3 * second) % prime
        fitting = {0: _part(0), 1: _part(1), 2: int(third).to_bytes(64, "big") + _part(2)[64:]}
        plaintexts = combine_own(_keys(), PACKING, fitting)
        assert plaintexts is not None
        assert plaintexts[0] == other


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([-(1 << 23), (1 << 23) - 1, 0]), st.integers(1, 4))
def test_the_ends_of_the_range_have_room(value: int, count: int) -> None:
    """As many devices as planned, all at an end."""
    vector = np.full(30, value, dtype=np.int64)
    body = encrypt_shares(_keys(), PACKING, vector, CONTEXT, stream(b"ends"))
    totals = add_shares(_keys(), PACKING, [body] * count)
    parts = {member: open_own(_factors(member), totals[member]) for member in (0, 1, 4)}
    assert [check_own(_keys(), totals[member], member, part) for member, part in parts.items()] == [None] * 3
    plaintexts = combine_own(_keys(), PACKING, parts)
    assert plaintexts is not None
    assert (unpack(PACKING, plaintexts, count) == count * vector).all()


def test_what_a_member_opens_is_what_the_textbook_decrypts() -> None:
    """m by each prime apart, against λ; it is a value of the field and 128 bits of noise above."""
    primes = (_factors(1).first, _factors(1).second)
    n = primes[0] * primes[1]
    opened = split(_part(1), 64)[::2]
    assert opened == [each % n for each in decrypt_textbook(primes, split(_totals()[1], 128))]
    assert all(2**126 < each // get_field(SMALL_BITS) < 2**131 for each in opened), "the carries are hidden"


def test_a_full_key_opens_too() -> None:
    """2048 bits."""
    factors = Factors(*LARGE)
    keys = OwnKeys(2, (_show(factors, 0), _show(factors, 1)))
    packing = get_packing(keys, 24, 4, 30)
    assert check_own_keys(keys) == "the moduli of members 0 and 1 have a factor in common"
    assert packing.values == 72, "of 26 bits, where a dealt key takes 78"
    totals = add_shares(keys, packing, [encrypt_shares(keys, packing, VECTORS[0], CONTEXT, stream(b"full"))])
    parts = {member: open_own(factors, totals[member]) for member in (0, 1)}
    assert [check_own(keys, totals[member], member, part) for member, part in parts.items()] == [None] * 2
    plaintexts = combine_own(keys, packing, parts)
    assert plaintexts is not None
    assert (unpack(packing, plaintexts, 1) == VECTORS[0]).all()


def test_an_update_is_for_its_device_and_task_and_each_part_for_its_member() -> None:
    """Another context, or members' parts swapped, and the proofs do not hold."""
    body, size = _body(0), len(_body(0)) // 5
    assert len(body) == shares_bytes(_keys(), PACKING)
    assert check_shares(_keys(), PACKING, body, CONTEXT) is None
    assert "for member 0: the proof is wrong" in (check_shares(_keys(), PACKING, body, b"another") or "")
    swapped = body[size : 2 * size] + body[:size] + body[2 * size :]
    assert "for member 0" in (check_shares(_keys(), PACKING, swapped, CONTEXT) or "")
    mixed = body[: 4 * size] + _body(1)[:size]
    assert "for member 4" in (check_shares(_keys(), PACKING, mixed, CONTEXT) or "")


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.binary(min_size=len(_body(0)), max_size=len(_body(0)))))
def test_strangers_bytes_are_a_fault_in_words(data: bytes) -> None:
    """Updates, and members' parts."""
    assert check_shares(_keys(), PACKING, data, CONTEXT)
    assert check_own(_keys(), _totals()[0], 0, data)
    assert check_own(_keys(), _totals()[0], 0, data[: opened_bytes(_keys(), PACKING)])


@settings(max_examples=80, deadline=None)
@given(st.integers(0, opened_bytes(_keys(), PACKING) - 1), st.integers(1, 255))
def test_no_byte_of_a_part_can_be_changed(place: int, change: int) -> None:
    """Whoever says that something else was in the sum is named."""
    forged = bytearray(_part(3))
    forged[place] ^= change
    assert "member 3" in (check_own(_keys(), _totals()[3], 3, bytes(forged)) or "")


def test_a_part_is_for_its_member_and_sum() -> None:
    """Another's, or of another sum, is refused."""
    assert check_own(_keys(), _totals()[2], 2, _part(2)) is None
    assert check_own(_keys(), _totals()[2], 2, _part(1)) is not None
    assert check_own(_keys(), _totals()[1], 2, _part(2)) is not None
    assert check_own(_keys(), _totals()[2], 5, _part(2)) == "there is no member 5"


def test_a_member_with_a_small_factor_in_its_modulus_can_not_say_something_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """m off by k·N/l goes unseen in one round of weights for one k in 2^16, which it can look for; not in eight."""
    first = int(next_prime(1 << 17))
    second = int(_factors(0).first * _factors(0).second // first)
    while not (is_prime(second) and first * second % 12 == 1 and (second - 1) % first):
        second += 1
    n = first * second
    keys = with_fields(_keys(), keys=(_show(Factors(first, second), 0), *_keys().keys[1:]))
    assert check_own_keys(keys, SMALL_BITS) is None, "nobody can see it"
    total = b"".join([((1 + plain * n) * pow(5, n, n * n) % (n * n)).to_bytes(128, "big") for plain in (1, 2, 3)])
    assert check_own(keys, total, 0, open_own(Factors(first, second), total)) is None
    wrong = (1, 2 + 27_028 * (n // first), 3)
    part = b"".join([plain.to_bytes(64, "big") + (5).to_bytes(64, "big") for plain in wrong])
    assert "of member 0: the opening is wrong" in (check_own(keys, total, 0, part) or "")
    monkeypatch.setattr("fl.secure.paillier.openings.ROUNDS", 1)
    assert check_own(keys, total, 0, part) is None, "this one was looked for, and found among the first 2^17"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"threshold": 1}, "one member alone could decrypt"),
        ({"threshold": 6}, "threshold 6 of 5 members"),
        ({"keys": _keys().keys[:2]}, "threshold 3 of 2 members"),
        ({"keys": (_keys().keys[1], *_keys().keys[1:])}, "an account is a member twice"),
        ({"keys": (_show(_factors(1), 0), *_keys().keys[1:])}, "the moduli of members 0 and 1 have a factor in common"),
        ({"keys": (_show(Factors(*LARGE), 0), *_keys().keys[1:])}, "different sizes"),
        ({"keys": (*_keys().keys[:4], replace(_keys().keys[4], label=bytes(32)))}, "member 4: another account signed"),
    ],
)
def test_committees_that_protect_nothing_are_refused(changes: dict[str, Any], fault: str) -> None:
    """Counts, and each member's key."""
    assert fault in (check_own_keys(with_fields(_keys(), **changes), SMALL_BITS) or "")


def test_more_devices_than_a_sum_has_room_for_are_refused() -> None:
    """2^20."""
    with pytest.raises(ValueError, match="at most 1048576"):
        get_packing(_keys(), 24, 2**20 + 1, 30)
