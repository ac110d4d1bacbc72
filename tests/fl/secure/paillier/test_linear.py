"""Linear algebra on ciphertexts is linear algebra, as long as its numbers fit; where they may not, it is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.errors import PayloadError
from fl.secure.paillier import check_partial, combine, partial
from fl.secure.paillier.linear import (
    EncryptedVector,
    add,
    add_plain,
    aggregate_of,
    dot,
    encrypt_vector,
    multiply,
    read_vector,
    refresh,
    scale,
    subtract,
)
from tests.fl.secure.paillier.keys import (
    CONTEXT,
    SMALL,
    decrypt_textbook,
    large_key,
    modulus_of,
    share_of,
    small_key,
    stream,
)

BOUND = 1 << 40
NUMBERS = st.integers(-BOUND, BOUND)
HALF = modulus_of(small_key()) // 2


def _encrypted(values: list[int], bound: int = BOUND) -> EncryptedVector:
    return encrypt_vector(small_key(), values, bound, stream(b"linear", repr(values).encode()))


def _decrypted(vector: EncryptedVector) -> list[int]:
    values = decrypt_textbook(SMALL, [int(each) for each in vector.ciphertexts])
    assert all(abs(value) <= vector.bound for value in values), "the bound holds"
    return values


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4), NUMBERS)
def test_sums_differences_and_multiples(pairs: list[tuple[int, int]], factor: int) -> None:
    """Element by element; negative factors and 0 among them."""
    first, second = _encrypted([one for one, _ in pairs]), _encrypted([other for _, other in pairs])
    assert _decrypted(add(first, second)) == [one + other for one, other in pairs]
    assert _decrypted(subtract(first, second)) == [one - other for one, other in pairs]
    assert _decrypted(scale(first, factor)) == [factor * one for one, _ in pairs]
    assert _decrypted(add_plain(first, [other for _, other in pairs])) == [one + other for one, other in pairs]


@settings(max_examples=10, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=5), st.data())
def test_a_matrix_times_a_vector(values: list[int], data: st.DataObject) -> None:
    """Each row's dot product."""
    rows = data.draw(st.lists(st.lists(NUMBERS, min_size=len(values), max_size=len(values)), min_size=1, max_size=3))
    vector = _encrypted(values)
    expected = [sum(weight * value for weight, value in zip(row, values, strict=True)) for row in rows]
    assert _decrypted(multiply(rows, vector)) == expected
    assert _decrypted(dot(vector, rows[0])) == expected[:1]


def test_the_committee_decrypts_what_was_computed() -> None:
    """A vector is an aggregate like any other."""
    computed = dot(_encrypted([3, -4, 5]), [10, 20, -30])
    total = aggregate_of(computed)
    parts = {
        m: partial(small_key(), total, m, share_of(small_key(), m), CONTEXT, stream(bytes([m]))) for m in (0, 2, 4)
    }
    assert [check_partial(small_key(), total, m, part, CONTEXT) for m, part in parts.items()] == [None] * 3
    opening = combine(small_key(), total, parts)
    assert opening is not None
    assert opening.plaintexts == (-200,)


def test_an_overflow_is_refused_at_the_bound_and_not_before() -> None:
    """2·bound < N is what numbers modulo N can tell apart."""
    largest = _encrypted([HALF, -HALF], HALF)
    assert _decrypted(largest) == [HALF, -HALF]
    half = _encrypted([HALF // 2], HALF // 2)
    assert _decrypted(add(half, half)) == [2 * (HALF // 2)]
    for overflow in (
        lambda: _encrypted([0], HALF + 1),
        lambda: add(largest, largest),
        lambda: subtract(largest, largest),
        lambda: scale(largest, -2),
        lambda: add_plain(largest, [0, 1]),
        lambda: dot(largest, [1, -1]),
        lambda: multiply([[0, 1], [1, 1]], largest),
        lambda: read_vector(small_key(), aggregate_of(largest), 2, HALF + 1),
    ):
        with pytest.raises(OverflowError, match="do not fit"):
            overflow()
    assert _decrypted(multiply([[0, 1], [-1, 0]], largest)) == [-HALF, -HALF]


def test_vectors_that_do_not_belong_together_are_refused() -> None:
    """Other lengths, other keys, values beyond their bound."""
    vector = _encrypted([1, 2])
    other = encrypt_vector(large_key(), [1, 2], 5, stream(b"large"))
    for wrong, match in (
        (lambda: add(vector, other), "two keys"),
        (lambda: subtract(vector, other), "two keys"),
        (lambda: add(vector, _encrypted([1])), "2 and 1 numbers"),
        (lambda: add_plain(vector, [1]), "2 and 1 numbers"),
        (lambda: dot(vector, [1]), "not 2 numbers"),
        (lambda: _encrypted([-2], 1), "beyond"),
    ):
        with pytest.raises(ValueError, match=match):
            wrong()


def test_a_refreshed_vector_shows_nothing_of_how_it_was_made() -> None:
    """Twice a ciphertext is its square for all to see, until it is refreshed; the number is the same."""
    vector = _encrypted([7])
    doubled = scale(vector, 2)
    assert doubled.ciphertexts[0] == vector.ciphertexts[0] ** 2 % modulus_of(small_key()) ** 2
    fresh = refresh(small_key(), doubled, stream(b"fresh"))
    assert fresh.ciphertexts != doubled.ciphertexts
    assert _decrypted(fresh) == [14]
    assert fresh.bound == doubled.bound


@pytest.mark.parametrize("number", [0, SMALL[0], modulus_of(small_key()), modulus_of(small_key()) ** 2])
def test_ciphertexts_of_a_stranger_are_units_or_refused(number: int) -> None:
    """And as many as were agreed."""
    vector = _encrypted([1, 2])
    data = aggregate_of(vector)
    assert read_vector(small_key(), data, 2, BOUND) == vector
    with pytest.raises(PayloadError, match="no inverse"):
        read_vector(small_key(), data[:128] + number.to_bytes(128, "big"), 2, BOUND)
    with pytest.raises(PayloadError, match="bytes of 3"):
        read_vector(small_key(), data, 3, BOUND)
    with pytest.raises(PayloadError, match="bytes of 0"):
        read_vector(small_key(), b"", 0, BOUND)
