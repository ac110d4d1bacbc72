"""The fast ways to powers say what Python's own pow says."""

from math import factorial, prod

from hypothesis import given, settings
from hypothesis import strategies as st

from fl.secure.paillier.numbers import FixedBase, derived_below, lagrange, product_of_powers, random_below, weights
from tests.fl.secure.paillier.keys import SMALL, stream

MODULUS = (SMALL[0] * SMALL[1]) ** 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, MODULUS - 1), st.integers(0, 2**128 - 1)), max_size=12))
def test_a_product_of_powers_is_the_product_of_the_powers(pairs: list[tuple[int, int]]) -> None:
    """Pippenger's buckets against the definition, none and one power among them."""
    expected = prod(pow(base, exponent, MODULUS) for base, exponent in pairs) % MODULUS
    assert product_of_powers([base for base, _ in pairs], [exponent for _, exponent in pairs], MODULUS) == expected


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**70 - 1), st.integers(1, 8))
def test_a_table_gives_the_powers_of_its_base(exponent: int, window: int) -> None:
    """Any exponent that the table has rows for."""
    assert FixedBase(3, MODULUS, 70, window).power(exponent) == pow(3, exponent, MODULUS)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 16), min_size=1, max_size=6, unique=True),
    st.lists(st.integers(-99, 99), max_size=6),
    st.integers(0, 16),
)
def test_lagranges_integers_interpolate(places: list[int], polynomial: list[int], at: int) -> None:
    """n!·f(at) from as many values as the polynomial has coefficients."""
    polynomial = polynomial[: len(places)]
    values = [sum(c * place**power for power, c in enumerate(polynomial)) for place in places]
    total = sum(lagrange(places, place, at, factorial(16)) * value for place, value in zip(places, values, strict=True))
    assert total == factorial(16) * sum(c * at**power for power, c in enumerate(polynomial))


def test_numbers_that_are_drawn_are_below_their_bound_and_differ() -> None:
    """Of a source, and of a digest."""
    source = stream(b"drawn")
    drawn = [random_below(1000, source) for _ in range(200)] + [
        derived_below(1000, b"domain", bytes([place])) for place in range(200)
    ]
    assert all(0 <= each < 1000 for each in drawn)
    assert len(set(drawn)) > 200
    assert len(set(weights(bytes(32), 300))) == 300
    assert max(weights(bytes(32), 300)).bit_length() == 128
