"""Exact decimal numbers: one form for each value, and no value but the one that was typed."""

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.number import Number
from tests.strategies import numbers


@given(numbers())
def test_a_number_is_read_back_from_its_text(number: Number) -> None:
    """What is shown can be typed again."""
    assert Number.of(str(number)) == number
    assert Fraction(str(number)) == number.fraction()


@given(numbers(), numbers())
def test_equal_values_are_equal_records(first: Number, second: Number) -> None:
    """There is one form of each value, so records and their bytes compare as values do."""
    assert (first == second) == (first.fraction() == second.fraction()) == (encode(first) == encode(second))


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.integers() | st.text(max_size=30))
def test_anything_typed_is_exact_or_refused(value: Decimal | int | str) -> None:
    """``Number.of`` keeps the value exactly or raises ``CodecError``."""
    try:
        number = Number.of(value)
    except CodecError:
        return
    assert number.fraction() == Fraction(Decimal(value))
    assert decode(encode(number), Number) == number


@given(st.integers(-(2**53), 2**53), st.integers(-18, 18))
def test_only_the_lowest_form_is_decoded(mantissa: int, exponent: int) -> None:
    """Of 50, 5e1 and 500e-1 one is canonical; the codec refuses the others."""
    canonical = Number.of(Decimal(mantissa).scaleb(exponent)) if mantissa else Number(0, 0)
    data = encode((mantissa, exponent))
    if (canonical.mantissa, canonical.exponent) == (mantissa, exponent):
        assert decode(data, Number) == canonical
    else:
        with pytest.raises(CodecError, match="lowest form"):
            decode(data, Number)


@given(numbers())
def test_floats_are_the_nearest(number: Number) -> None:
    """The float is the correctly rounded value, the one Python reads from the text."""
    assert float(number) == float(str(number))


@pytest.mark.parametrize(
    ("text", "mantissa", "exponent"),
    [("0", 0, 0), ("-0.00", 0, 0), ("0e9999", 0, 0), ("12.50", 125, -1), ("1e20", 100, 18), ("-1e-18", -1, -18)],
)
def test_known_forms(text: str, mantissa: int, exponent: int) -> None:
    """Trailing zeros move to the exponent; zero has one form."""
    assert Number.of(text) == Number(mantissa, exponent)


@pytest.mark.parametrize(
    "value",
    ["", "x", "nan", "inf", "1e-19", "9007199254740993", "1e34", "1e999999999999999999999", "0." + "1" * 5000, 7**9000],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "huge",
)
def test_what_does_not_fit_is_refused_in_a_short_message(value: str | int) -> None:
    """Texts that are no numbers and numbers that need more room, however long."""
    with pytest.raises(CodecError) as caught:
        Number.of(value)
    assert len(str(caught.value)) < 200


def test_the_decimal_context_of_the_program_changes_nothing() -> None:
    """A caller's precision of three digits must not round a plan."""
    with localcontext() as context:
        context.prec = 3
        number = Number.of("1234567.89")
        assert str(number) == "1234567.89"
        assert number.fraction() == Fraction(123456789, 100)
