"""Fixed point: the vectorised sums give exactly what fractions and Python's integers give."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import fixedpoint
from chain.errors import FixedPointError
from chain.fixedpoint import (
    MAX_FRACTION_BITS,
    VALUE_MAX,
    Int64Vector,
    check_range,
    divide_half_even,
    fixed,
    from_bytes,
    squared_norm,
    to_bytes,
    to_fixed,
    to_float,
    weighted_sum,
)
from tests.strategies import fixed_values, int64_vectors

WEIGHT_MAX = 2**32 - 1
FRACTION_BITS = st.integers(0, MAX_FRACTION_BITS)


def weights() -> st.SearchStrategy[int]:
    return st.sampled_from((0, 1, WEIGHT_MAX)) | st.integers(0, WEIGHT_MAX)


@given(st.integers(-(2**80), 2**80), st.integers(1, 2**70) | st.integers(1, 8))
def test_division_rounds_to_nearest_and_ties_to_even(numerator: int, denominator: int) -> None:
    """Python's own rounding of the exact fraction is the same rule."""
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.fractions(), FRACTION_BITS)
def test_fixed_is_the_nearest_multiple_of_a_unit(value: Fraction, bits: int) -> None:
    """An exact value becomes the nearest number of units, ties to even."""
    assert fixed(value, bits) == round(value * 2**bits)


@given(st.lists(st.floats(-1e4, 1e4), max_size=10), st.integers(0, 39))
def test_floats_are_rounded_as_exact_values(values: list[float], bits: int) -> None:
    """``to_fixed`` rounds the exact value of each float, and what it gives comes back exactly."""
    vector = to_fixed(np.array(values), bits)
    assert vector.tolist() == [round(Fraction(value) * 2**bits) for value in values]
    assert vector.dtype == np.int64
    assert to_fixed(to_float(vector, bits), bits).tolist() == vector.tolist()


@given(int64_vectors(), FRACTION_BITS)
def test_fixed_values_are_exact_floats(vector: Int64Vector, bits: int) -> None:
    """Every value in range is a float64 without rounding, and comes back."""
    floats = to_float(vector, bits)
    assert [Fraction(value) for value in floats.tolist()] == [Fraction(value, 2**bits) for value in vector.tolist()]
    assert to_fixed(floats, bits).tolist() == vector.tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e308, -(2.0**14), 2.0**13 + 1])
def test_values_without_room_are_refused(value: float) -> None:
    """What is not a number, or too large, is refused with its coordinate and the bound."""
    with pytest.raises(FixedPointError, match=r"coordinate 1 is .*at most 2\*\*13"):
        to_fixed(np.array([0.5, value, value]), 40)


@pytest.mark.parametrize(("value", "units"), [(2.0**13, VALUE_MAX), (-(2.0**13), -VALUE_MAX), (1e-320, 0), (-0.0, 0)])
def test_the_ends_of_the_range_fit(value: float, units: int) -> None:
    """The bound itself is inside, and what is below half a unit is 0."""
    assert to_fixed(np.array([value]), 40).tolist() == [units]


@given(st.data(), st.integers(0, 5), st.integers(0, 30))
def test_weighted_sums_are_exact(data: st.DataObject, size: int, count: int) -> None:
    """Σ weight · vector is what Python's integers give, at every size of weight and value."""
    vectors = [data.draw(int64_vectors(size)) for _ in range(count)]
    factors = [data.draw(weights()) for _ in range(count)]
    expected = [
        sum(factor * int(vector[at]) for factor, vector in zip(factors, vectors, strict=True)) for at in range(size)
    ]
    assert weighted_sum(vectors, factors) == (expected if vectors else [])


@given(st.data(), st.integers(1, 4), st.integers(2, 12))
def test_the_order_of_a_sum_does_not_matter(data: st.DataObject, size: int, count: int) -> None:
    """However updates arrive, the sum is the same."""
    pairs = [(data.draw(int64_vectors(size)), data.draw(weights())) for _ in range(count)]
    shuffled = data.draw(st.permutations(pairs))
    sums = [weighted_sum([vector for vector, _ in each], [factor for _, factor in each]) for each in (pairs, shuffled)]
    assert sums[0] == sums[1]


@pytest.mark.parametrize("value", [VALUE_MAX, -VALUE_MAX, 2**27 - 1, -1, 2**53 - 1])
def test_thousands_of_largest_terms_do_not_overflow(value: int) -> None:
    """Far past what an int64 holds, with the largest weights there are."""
    vector = np.array([value, -value], dtype=np.int64)
    total = 5000 * WEIGHT_MAX * value
    assert abs(total) > 2**66 or abs(value) < 2**30
    assert weighted_sum([vector] * 5000, [WEIGHT_MAX] * 5000) == [total, -total]


@pytest.mark.parametrize("bits", range(5, 17))
def test_sums_around_the_end_of_int64_are_exact(bits: int) -> None:
    """Where the limbs stop fitting one int64 together, nothing wraps round."""
    for values in ([VALUE_MAX, VALUE_MAX - 1], [-VALUE_MAX, 1 - VALUE_MAX], [VALUE_MAX, -VALUE_MAX]):
        for weight in (2**bits - 1, 2**bits, 2**bits + 1):
            vector = np.array(values, dtype=np.int64)
            assert weighted_sum([vector], [weight]) == [weight * value for value in values]


def test_a_sum_leaves_its_vectors_alone() -> None:
    """Vectors that cannot be written to, as those read from bytes may be, are summed all the same."""
    vector = np.array([3, -4], dtype=np.int64)
    vector.flags.writeable = False
    assert weighted_sum([vector, vector], [5, 6]) == [33, -44]
    assert squared_norm(vector) == 25


def test_sums_of_nothing() -> None:
    """No vectors give no coordinates; vectors of no coordinates give none either."""
    assert weighted_sum([], []) == []
    assert weighted_sum([np.zeros(0, dtype=np.int64)] * 2, [1, 2]) == []
    assert squared_norm(np.zeros(0, dtype=np.int64)) == 0


@pytest.mark.parametrize(
    ("vectors", "factors", "reason"),
    [
        ([[1]], [1, 2], "1 vectors with 2 weights"),
        ([[1], [1, 2]], [1, 2], "shapes"),
        ([[1]], [-1], "weight -1"),
        ([[1]], [2**32], "weight 4294967296"),
        ([[0], [VALUE_MAX + 1]], [1, 1], "exceeds"),
        ([[-(2**63)]], [1], "exceeds"),
    ],
)
def test_sums_that_could_be_wrong_are_refused(vectors: list[list[int]], factors: list[int], reason: str) -> None:
    """What is outside the proven range raises instead of wrapping round."""
    with pytest.raises(FixedPointError, match=reason):
        weighted_sum([np.array(vector, dtype=np.int64) for vector in vectors], factors)


@given(int64_vectors(max_size=40))
def test_squared_norms_are_exact(vector: Int64Vector) -> None:
    """Σ v² is what Python's integers give."""
    assert squared_norm(vector) == sum(value**2 for value in vector.tolist())


def test_squared_norms_are_exact_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vector longer than one block of sums is added up block by block."""
    assert fixedpoint._NORM_BLOCK * (2**18) ** 2 < 2**63, "a block of largest products fits an int64"
    monkeypatch.setattr(fixedpoint, "_NORM_BLOCK", 3)
    values = [VALUE_MAX, -VALUE_MAX, 5, 2**18, -(2**36) - 1, 7, 1, -1]
    assert squared_norm(np.array(values, dtype=np.int64)) == sum(value**2 for value in values)


def test_the_norm_of_a_long_vector_of_largest_values() -> None:
    """A hundred thousand coordinates at the end of the range."""
    assert squared_norm(np.full(100_000, -VALUE_MAX, dtype=np.int64)) == 100_000 * VALUE_MAX**2


def test_the_norm_of_a_value_out_of_range_is_refused() -> None:
    """|-2**63| does not even fit an int64."""
    with pytest.raises(FixedPointError):
        squared_norm(np.array([-(2**63)], dtype=np.int64))


@given(int64_vectors())
def test_vectors_come_back_from_bytes(vector: Int64Vector) -> None:
    """Eight little-endian bytes a value, and a result that can be written to."""
    data = to_bytes(vector)
    assert data == b"".join(int(value).to_bytes(8, "little", signed=True) for value in vector)
    back = from_bytes(data, len(vector))
    assert back.tolist() == vector.tolist()
    assert back.flags.writeable


@given(st.binary(max_size=64), st.integers(0, 9))
def test_any_bytes_are_a_vector_in_range_or_refused(data: bytes, size: int) -> None:
    """Another length or a value beyond 2**53 raises ``FixedPointError`` and nothing else."""
    try:
        vector = from_bytes(data, size)
    except FixedPointError:
        return
    assert to_bytes(vector) == data
    check_range(vector)


@given(fixed_values())
def test_the_range_is_closed(value: int) -> None:
    """Exactly |value| ≤ 2**53 passes."""
    check_range(np.array([value], dtype=np.int64))
    for beyond in (VALUE_MAX + 1, -VALUE_MAX - 1):
        with pytest.raises(FixedPointError):
            check_range(np.array([value, beyond], dtype=np.int64))
