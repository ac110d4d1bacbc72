"""Three of five open a sum, two can't, and whoever sends something wrong is named."""

from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.errors import PayloadError
from fl.secure.paillier import (
    Opening,
    Packing,
    add,
    check_opening,
    check_partial,
    combine,
    encrypt,
    opening_bytes,
    part_bytes,
    partial,
    read_opening,
    unpack,
)
from tests.fl.secure.paillier.keys import (
    CONTEXT,
    LARGE,
    SMALL,
    decrypt_textbook,
    large_key,
    modulus_of,
    share_of,
    small_key,
    split,
    stream,
    values_of,
)

PACKING = Packing(24, 4, 50, 512)
VECTORS = [values_of(seed, 50, 24) for seed in range(4)]
TOTAL = add(
    small_key(), [encrypt(small_key(), PACKING, each, CONTEXT, stream(bytes([i]))) for i, each in enumerate(VECTORS)]
)


@cache
def _part(member: int) -> bytes:
    return partial(small_key(), TOTAL, member, share_of(small_key(), member), CONTEXT, stream(b"part", bytes([member])))


@pytest.mark.parametrize("members", list(combinations(range(5), 3)))
def test_any_three_members_open_the_sum(members: tuple[int, ...]) -> None:
    """The same opening, which everybody can check, whoever helped."""
    parts = {member: _part(member) for member in members}
    opening = combine(small_key(), TOTAL, parts)
    assert opening is not None
    assert list(opening.plaintexts) == decrypt_textbook(SMALL, split(TOTAL, 128))
    assert (unpack(PACKING, opening.plaintexts, 4) == sum(VECTORS)).all()
    assert check_opening(small_key(), TOTAL, opening)
    assert opening == combine(small_key(), TOTAL, {m: _part(m) for m in range(5)}, threads=2)


def test_a_full_key_opens_too() -> None:
    """2048 bits, and the textbook's own plaintexts."""
    key, packing = large_key(), Packing(24, 10, 100, 2048)
    total = add(key, [encrypt(key, packing, VECTORS[0].repeat(2), CONTEXT, stream(b"full"))])
    parts = {m: partial(key, total, m, share_of(key, m), CONTEXT, stream(b"full part")) for m in (1, 2, 4)}
    assert [check_partial(key, total, member, part, CONTEXT) for member, part in parts.items()] == [None] * 3
    opening = combine(key, total, parts)
    assert opening is not None
    assert list(opening.plaintexts) == decrypt_textbook(LARGE, split(total, 512))
    assert check_opening(key, total, opening)


def test_an_opening_is_made_once() -> None:
    """Whoever builds a block, checks and connects it asks for the same one, and waits for it once."""
    parts = {member: _part(member) for member in (0, 1, 2)}
    assert combine(small_key(), TOTAL, parts) is combine(small_key(), TOTAL, dict(reversed(parts.items())))


def test_two_members_can_not_open_it() -> None:
    """Nor two whose parts are sent for three, nor two and a stranger's guess."""
    assert combine(small_key(), TOTAL, {0: _part(0), 1: _part(1)}) is None
    assert combine(small_key(), TOTAL, {0: _part(0), 1: _part(1), 2: _part(1)}) is None
    assert combine(small_key(), TOTAL, {0: _part(0), 1: _part(1), 7: _part(2)}) is None
    assert combine(small_key(), TOTAL, {}) is None


def test_each_part_carries_a_proof_that_everybody_checks() -> None:
    """Three numbers, a challenge and an answer."""
    assert {len(_part(member)) for member in range(5)} == {part_bytes(small_key(), TOTAL)} == {3 * 64 + 16 + 64 + 33}
    assert [check_partial(small_key(), TOTAL, member, _part(member), CONTEXT) for member in range(5)] == [None] * 5


def test_a_member_who_uses_another_share_is_named() -> None:
    """His proof does not hold; and what he sent does not open the sum."""
    wrong = partial(small_key(), TOTAL, 1, share_of(small_key(), 2), CONTEXT, stream(b"wrong"))
    assert check_partial(small_key(), TOTAL, 1, wrong, CONTEXT) == (
        "the proof of member 1 is wrong: this is no decryption by the share of the key"
    )
    assert combine(small_key(), TOTAL, {0: _part(0), 1: wrong, 2: _part(2)}) is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_wrong_number_among_many_is_found(place: int) -> None:
    """The one proof is for all ciphertexts."""
    n = modulus_of(small_key())
    values = split(_part(3)[:192], 64)
    values[place] = values[place] * 2 % n
    wrong = b"".join(value.to_bytes(64, "big") for value in values) + _part(3)[192:]
    assert "member 3" in (check_partial(small_key(), TOTAL, 3, wrong, CONTEXT) or "")


def test_numbers_wrong_by_a_sign_do_no_harm() -> None:
    """A part with -x in place of x can't be proven, and would open the same: even powers of it count."""
    n = modulus_of(small_key())
    flipped = b"".join((n - value).to_bytes(64, "big") for value in split(_part(0)[:192], 64)) + _part(0)[192:]
    assert check_partial(small_key(), TOTAL, 0, flipped, CONTEXT) is not None
    parts = {0: flipped, 1: _part(1), 2: _part(2)}
    assert combine(small_key(), TOTAL, parts) == combine(small_key(), TOTAL, {m: _part(m) for m in (0, 1, 2)})


def test_a_part_is_for_its_member_sum_and_context() -> None:
    """Another's part, another sum's, or another task's is refused."""
    other = add(small_key(), [encrypt(small_key(), PACKING, VECTORS[0], CONTEXT, stream(b"another"))])
    assert check_partial(small_key(), TOTAL, 1, _part(0), CONTEXT) is not None
    assert check_partial(small_key(), other, 0, _part(0), CONTEXT) is not None
    assert check_partial(small_key(), TOTAL, 0, _part(0), b"another task") is not None
    assert check_partial(small_key(), TOTAL, 5, _part(0), CONTEXT) == "there is no member 5"
    assert check_partial(small_key(), TOTAL, -1, _part(0), CONTEXT) == "there is no member -1"


@pytest.mark.parametrize("number", [0, SMALL[0], SMALL[0] * SMALL[1]])
def test_numbers_that_are_no_units_are_refused(number: int) -> None:
    """Before any proof is looked at."""
    wrong = number.to_bytes(64, "big") + _part(2)[64:]
    assert check_partial(small_key(), TOTAL, 2, wrong, CONTEXT) == "a number of member 2 has no inverse modulo N"


@settings(max_examples=80, deadline=None)
@given(st.integers(0, part_bytes(small_key(), TOTAL) - 1), st.integers(1, 255))
def test_no_byte_of_a_part_can_be_changed(place: int, change: int) -> None:
    """Numbers, challenge and answer."""
    forged = bytearray(_part(4))
    forged[place] ^= change
    assert check_partial(small_key(), TOTAL, 4, bytes(forged), CONTEXT) is not None


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.binary(min_size=305, max_size=305)))
def test_strangers_bytes_are_a_fault_in_words(part: bytes) -> None:
    """In a check, and where they are combined all the same."""
    assert check_partial(small_key(), TOTAL, 0, part, CONTEXT)
    assert combine(small_key(), TOTAL, {0: part, 1: _part(1), 2: _part(2)}) is None


def test_only_the_right_opening_passes() -> None:
    """Each number counts, and none has a second form."""
    opening = combine(small_key(), TOTAL, {m: _part(m) for m in (0, 1, 2)})
    assert opening is not None
    n, (first, *rest) = modulus_of(small_key()), opening.plaintexts
    root, *roots = opening.randomness
    for wrong in (
        Opening((first + 1, *rest), opening.randomness),
        Opening((first + n, *rest), opening.randomness),
        Opening(opening.plaintexts, (n - root, *roots)),
        Opening(opening.plaintexts, (root + n, *roots)),
        Opening(opening.plaintexts, (0, *roots)),
        Opening(opening.plaintexts[1:], opening.randomness[1:]),
        Opening(opening.plaintexts, opening.randomness[1:]),
    ):
        assert not check_opening(small_key(), TOTAL, wrong)


def test_an_opening_travels() -> None:
    """Pairs of numbers below N; other bytes are none."""
    opening = combine(small_key(), TOTAL, {m: _part(m) for m in (0, 1, 2)})
    assert opening is not None
    data = opening_bytes(small_key(), opening)
    assert len(data) == 3 * 128
    assert read_opening(small_key(), data) == opening
    for wrong in (data[:-1], data[:-64], bytes([255]) * 128):
        with pytest.raises(PayloadError):
            read_opening(small_key(), wrong)
