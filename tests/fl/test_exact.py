"""Quotients of arrays are those of Python's integers, whichever way they are found."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.fixedpoint import divide_half_even
from fl.exact import _divided_narrow, divided, narrowed

INTS = st.integers(-(2**20), 2**20) | st.integers(-(2**62), 2**62) | st.integers(-(2**90), 2**90)
DIVISORS = st.integers(1, 9) | st.integers(1, 2**40) | st.integers(1, 2**62)


@given(st.lists(st.tuples(INTS, DIVISORS), max_size=8), INTS, DIVISORS)
@settings(max_examples=100)
def test_quotients_are_rounded_half_to_even(pairs: list[tuple[int, int]], numerator: int, divisor: int) -> None:
    """Of any size, with one divisor or one for each."""
    values, below = [value for value, _ in pairs], np.array([other for _, other in pairs], np.int64)
    assert divided(values, numerator, below, divisor) == [
        divide_half_even(value * numerator, other * divisor) for value, other in pairs
    ]
    assert divided(values, numerator, divisor) == [divide_half_even(value * numerator, divisor) for value in values]


@given(
    st.lists(st.tuples(st.integers(-(2**58), 2**58), st.integers(1, 2**14)), min_size=1, max_size=8),
    st.integers(-(2**14), 2**14),
    st.integers(2**16, 2**40),
)
@settings(max_examples=100)
def test_the_fast_way_is_taken_and_right(pairs: list[tuple[int, int]], numerator: int, divisor: int) -> None:
    """Sums of a large federation: products beyond 64 bits, quotients within 48."""
    values, below = np.array([value for value, _ in pairs]), np.array([other for _, other in pairs])
    found = _divided_narrow(values, numerator, below, divisor)
    expected = [divide_half_even(value * numerator, other * divisor) for value, other in pairs]
    assert found is None or found.tolist() == expected
    assert found is not None or max(map(abs, expected)) >= 2**47


def test_ties_go_to_even_and_large_numbers_the_slow_way() -> None:
    """Halves both ways; a value that has no place in 64 bits."""
    assert divided([1, 3, 5, -1, -3, -5], 1, 2) == [0, 2, 2, 0, -2, -2]
    assert narrowed([2**63]) is None
    assert divided([2**80 + 1, 3], 2, 4) == [2**79, 2]
