"""Openings of a dealt key's sums, checked all at once: what is right passes, and nothing else does."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.secure.paillier.openings import find_opening_fault, join_opening, read_plaintexts
from tests.fl.secure.paillier.keys import SMALL, decrypt_textbook, small_key, split

COUNT = 5
N = SMALL[0] * SMALL[1]
PLAIN = (0, 1, -1, (N - 1) // 2, 12345)


@cache
def _total() -> bytes:
    ciphertexts = [(1 + plain * N) * pow(3 + place, N, N * N) % (N * N) for place, plain in enumerate(PLAIN)]
    assert decrypt_textbook(SMALL, ciphertexts) == list(PLAIN)
    return b"".join([each.to_bytes(128, "big") for each in ciphertexts])


@cache
def _opening() -> bytes:
    return join_opening(PLAIN, [3 + place for place in range(COUNT)], small_key().modulus)


def test_what_is_in_the_ciphertexts_passes() -> None:
    """Negative numbers and the largest one too."""
    assert find_opening_fault(small_key().modulus, _total(), _opening()) is None
    assert read_plaintexts(small_key().modulus, _opening()) == tuple(plain % N for plain in PLAIN)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(_opening()) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(place: int, change: int) -> None:
    """Neither of an m, nor of an r."""
    forged = bytearray(_opening())
    forged[place] ^= change
    assert find_opening_fault(small_key().modulus, _total(), bytes(forged))


def test_two_wrong_ones_do_not_make_up_for_each_other() -> None:
    """Their weights differ: what one is too large by, the other can't be too small by."""
    roots = [3 + place for place in range(COUNT)]
    for first in range(COUNT - 1):
        wrong = [plain + (place == first) - (place == first + 1) for place, plain in enumerate(PLAIN)]
        assert find_opening_fault(small_key().modulus, _total(), join_opening(wrong, roots, small_key().modulus))


@pytest.mark.parametrize("which", [0, 1])
def test_a_number_has_one_form(which: int) -> None:
    """m + N and r + N are refused, though they would open the same; so are 0 and what has no inverse for r."""
    width = 64
    numbers = split(_opening(), width)
    for place in range(which, 2 * COUNT, 2):
        for value in (numbers[place] + N, *((0, SMALL[0]) if which else ())):
            if value < 1 << (8 * width):
                forged = [*numbers[:place], value, *numbers[place + 1 :]]
                data = b"".join([each.to_bytes(width, "big") for each in forged])
                assert "not below N" in (find_opening_fault(small_key().modulus, _total(), data) or "")


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=700))
def test_strangers_bytes_are_a_fault_in_words(data: bytes) -> None:
    """Their size first."""
    assert "bytes of an opening" in (find_opening_fault(small_key().modulus, _total(), data) or "")
