"""Shares of a secret: enough of them give it back, fewer say nothing, a wrong one is found out."""

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from fl.errors import ShareError
from fl.secure import feldman, shamir
from fl.secure.curve import IDENTITY, ORDER, add, is_point, scalar_bytes, times, times_base
from tests.fl.secure.masking import TORSION, coins

SCALARS = st.integers(1, ORDER - 1)


@st.composite
def sharings(draw: st.DrawFn) -> tuple[int, int, int, Callable[[int], bytes]]:
    """A secret, a threshold, a number of shares, and coins."""
    count = draw(st.integers(1, 8))
    return draw(SCALARS), draw(st.integers(1, count)), count, coins(draw(st.binary(max_size=8)))


@given(sharings(), st.randoms())
@settings(max_examples=50)
def test_any_threshold_of_the_shares_give_the_secret(sharing, random):
    """Whichever shares are there, as long as there are enough."""
    secret, threshold, count, draw = sharing
    shares = dict(enumerate(shamir.split(secret, threshold, count, draw), 1))
    kept = dict(random.sample(sorted(shares.items()), threshold))
    assert shamir.reconstruct(kept, threshold) == secret


@given(SCALARS, SCALARS, st.binary(max_size=8))
@settings(max_examples=25)
def test_fewer_shares_fit_every_secret(secret, other, seed):
    """To threshold - 1 shares and any other secret there is a last share that makes them that secret's."""
    shares = dict(enumerate(shamir.split(secret, 4, 6, coins(seed)), 1))
    for kept in combinations(shares, 3):
        # The polynomial through the kept shares with the other secret at 0, at the first point left.
        last = next(number for number in shares if number not in kept)
        with_zero = {**{number: shares[number] for number in kept}, last: 0}
        step = {**dict.fromkeys(kept, 0), last: 1}
        base, slope = shamir.reconstruct(with_zero, 4), shamir.reconstruct(step, 4)
        needed = (other - base) * pow(slope, -1, ORDER) % ORDER
        assert shamir.reconstruct({**with_zero, last: needed}, 4) == other


@given(SCALARS, SCALARS, st.binary(max_size=8))
@settings(max_examples=25)
def test_shares_of_two_secrets_add_up_to_shares_of_the_sum(one, other, seed):
    """Who holds shares alone can add: the sum of secrets comes out, not the secrets."""
    draw = coins(seed)
    left, right = shamir.split(one, 3, 5, draw), shamir.split(other, 3, 5, draw)
    added = {number: (a + b) % ORDER for number, (a, b) in enumerate(zip(left, right, strict=True), 1)}
    assert shamir.reconstruct(added, 3) == (one + other) % ORDER


@given(sharings(), st.integers(1, ORDER - 1), st.randoms())
@settings(max_examples=30)
def test_a_wrong_share_is_named_and_left_aside(sharing, error, random):
    """The secret comes out as long as enough right shares are there; else the error has the wrong one's number."""
    secret, threshold, count, draw = sharing
    given_out, commitment = feldman.split(secret, threshold, count, draw)
    shares = dict(enumerate(given_out, 1))
    wrong = random.randint(1, count)
    shares[wrong] = (shares[wrong] + error) % ORDER
    assert feldman.find_wrong_shares(shares, commitment) == (wrong,)
    if count > threshold:
        assert feldman.reconstruct(shares, threshold, commitment) == secret
    else:
        with pytest.raises(ShareError, match=f"numbered {wrong} are wrong"):
            feldman.reconstruct(shares, threshold, commitment)


@given(sharings())
@settings(max_examples=30)
def test_a_commitment_shows_its_degree(sharing):
    """What any ``threshold`` of the shares determine is a commitment for that threshold, not for a lower one."""
    secret, threshold, count, draw = sharing
    shares, commitment = feldman.split(secret, threshold, count, draw)
    assert feldman.is_commitment(commitment, threshold, count)
    assert threshold == 1 or not feldman.is_commitment(commitment, threshold - 1, count)
    assert all(feldman.check_share(number, share, commitment) for number, share in enumerate(shares, 1))


def test_a_commitment_of_other_points_is_none():
    """Points that lie on no such polynomial, or are none, or of another order, or too many."""
    _, commitment = feldman.split(7, 2, 3, coins(b""))
    head, rest = commitment[:32], commitment[32:]
    assert feldman.is_commitment(commitment, 2, 3)
    for bad in (
        times_base(8),
        IDENTITY,
        TORSION,
        bytes(32),
        b"\xff" * 32,
        bindings.crypto_core_ed25519_add(head, TORSION),
    ):
        assert not feldman.is_commitment(bad + rest, 2, 3)
    assert not feldman.is_commitment(commitment + head, 2, 3)
    assert not feldman.is_commitment(commitment[:-32], 2, 3)


@pytest.mark.parametrize(("threshold", "count"), [(0, 3), (4, 3), (1, 0), (2, shamir.MAX_SHARES + 1)])
def test_a_threshold_that_makes_no_sense_is_refused(threshold, count):
    """Nobody can need more shares than there are, or none."""
    with pytest.raises(ShareError, match="is needed"):
        shamir.split(1, threshold, count, coins(b""))


def test_a_commitment_to_nothing_is_refused():
    """0·B says what it is; and too few shares say how many are needed."""
    with pytest.raises(ShareError, match="0 can't"):
        feldman.split(0, 1, 1, coins(b""))
    with pytest.raises(ShareError, match="1 shares of 2"):
        shamir.reconstruct({1: 5}, 2)


def test_points_are_checked_before_they_are_used():
    """Of small order, of mixed order, not canonical, not on the curve: None, never a point or an exception."""
    point = times_base(5)
    mixed = bindings.crypto_core_ed25519_add(point, TORSION)
    for bad in (
        IDENTITY,
        TORSION,
        mixed,
        bytes(32),
        (2**255 - 18).to_bytes(32, "little"),
        b"\xff" * 32,
        b"",
        point[:31],
    ):
        assert times(3, bad) is None
        assert times(0, bad) is None
        assert not is_point(bad)
    assert times(0, point) == IDENTITY == add(point, times(ORDER - 1, point) or b"")
    assert times(3, point) == times_base(15)


def test_shares_are_the_same_wherever_they_are_made():
    """Known answers: the polynomial 5 + 7x over the group's order, and the base point's multiples of RFC 8032."""
    draw = iter([(7).to_bytes(64, "little")])
    assert shamir.split(5, 2, 3, lambda _: next(draw)) == (12, 19, 26)
    assert times_base(1).hex() == "58" + "66" * 31
    assert scalar_bytes(258).hex() == "0201" + "00" * 30
