"""Amounts, times and sizes as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.ids import INT_MAX
from commands.output import UsageFault
from commands.show import coins, counted, measure, moment, parse_amount, size, span


@given(st.integers(0, INT_MAX))
def test_an_amount_reads_back_from_units_and_from_coins(units: int):
    """What is printed as coins can be typed again, without the separators."""
    assert parse_amount(str(units)) == units
    assert parse_amount(coins(units).replace(",", "").replace(" ", "")) == units


@pytest.mark.parametrize(
    ("text", "units"), [("0", 0), ("2.5coins", 2_500_000), ("1 coin", 1_000_000), ("0.000001coins", 1)]
)
def test_an_amount_is_units_or_coins(text: str, units: int):
    """A bare number is units; coins are named."""
    assert parse_amount(text) == units


@pytest.mark.parametrize(
    "text", ["", "2.5", "-1", "1e6", "0.0000001coins", "coins", "9" * 20, str(2**63), "٣", "1,000"]
)
def test_what_is_no_amount_is_wrong_use(text: str):
    """A decimal point without a unit is refused rather than guessed."""
    with pytest.raises(UsageFault, match="amount"):
        parse_amount(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 s"), (59, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (90061, "1 d 1 h")]
)
def test_a_span_has_its_two_largest_units(seconds: float, text: str):
    """Nobody needs the seconds of a day."""
    assert span(seconds) == text


def test_sizes_times_and_scores_are_short():
    """Each has one form everywhere."""
    assert [size(0), size(999), size(1500), size(2 * 10**12)] == ["0 B", "999 B", "1.5 kB", "2.0 TB"]
    assert moment(0) == "1970-01-01 00:00:00 UTC"
    assert [counted(1, "device"), counted(2, "device")] == ["1 device", "2 devices"]
    assert [measure(None), measure(0.69315)] == ["–", "0.6932"]
