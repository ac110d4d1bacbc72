"""Readings as numbers: exact, in range, and sums of them come out field by field."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.address import format_account
from chain.keys import KeyPair
from fl.errors import DataError, ShareError
from fl.sharing.group import Field, SharingGroup, read_group
from fl.sharing.readings import pack, read_number, show_number, unpack

ACCOUNTS = [format_account(KeyPair(bytes([number]) * 32).account) for number in range(1, 8)]
GROUP = f"""
name = "north"
mode = "shares"
threshold = 2
least = 2
devices = ["{ACCOUNTS[0]}", "{ACCOUNTS[1]}", "{ACCOUNTS[2]}"]
[[gateways]]
account = "{ACCOUNTS[3]}"
url = "http://127.0.0.1:1"
[[gateways]]
account = "{ACCOUNTS[4]}"
url = "http://127.0.0.1:2"
[[gateways]]
account = "{ACCOUNTS[5]}"
url = "http://127.0.0.1:3"
[[fields]]
name = "PM2.5"
low = 0
high = 1000
decimals = 0
[[fields]]
name = "TEMP"
low = -40
high = 60
decimals = 1
"""


def group_with(old: str = "", new: str = "") -> SharingGroup:
    """Return the group of this file with one text replaced."""
    assert old in GROUP
    return read_group(GROUP.replace(old, new, 1))


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=3))
@settings(max_examples=50)
def test_sums_of_packed_readings_are_packed_sums(readings):
    """However large each is, no field runs into the next."""
    group = group_with()
    total = sum(pack(group, reading) for reading in readings)
    assert unpack(group, total, len(readings)) == tuple(map(sum, zip(*readings, strict=True)))


@given(st.integers(-400, 600), st.integers(0, 30))
@settings(max_examples=50)
def test_a_number_comes_back_as_it_was(tenths, zeros):
    """Units are exact, and so is what is shown of a single one."""
    column = Field("TEMP", -40, 60, 1)
    text = f"{'-' if tenths < 0 else ''}{abs(tenths) // 10}.{abs(tenths) % 10}"
    units = read_number(column, text + "0" * min(zeros, 20))
    assert units == tenths + 400
    assert Fraction(show_number(column, units, 1)) == Fraction(tenths, 10)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=50))
@settings(max_examples=50)
def test_a_mean_is_right_to_two_decimals_more(units):
    """What is shown is within half of its last place of the true mean."""
    shown = Fraction(show_number(Field("TEMP", -40, 60, 1), sum(units), len(units)))
    assert abs(shown - (Fraction(sum(units), 10 * len(units)) - 40)) <= Fraction(1, 2000)


@pytest.mark.parametrize("text", ["1001", "-1", "abc", "inf", "NaN1", "1e999999999", "9" * 29, "0x1", "1,5"])
def test_what_is_no_number_in_range_is_refused_by_name(text):
    """Nothing is cut to the range, and nothing makes big numbers."""
    with pytest.raises(DataError, match=r"PM2.5 = .*: a number from 0 to 1000 is needed"):
        read_number(Field("PM2.5", 0, 1000, 0), text)


def test_a_missing_number_is_none():
    """In the ways that tables say it."""
    assert {read_number(Field("PM2.5", 0, 1000, 0), text) for text in ("", " ", "NA", "?", "nan")} == {None}
    assert read_number(Field("PM2.5", 0, 1000, 0), "1e-999999") == 0


def test_sums_out_of_range_are_refused():
    """What right readings can't add up to is no sum."""
    group = group_with()
    with pytest.raises(ShareError, match=r"PM2.5: the sum of 1 readings is out of range"):
        unpack(group, 1001, 1)
    with pytest.raises(ShareError, match="bits beyond the last field"):
        unpack(group, 1 << sum(group.slots), 3)
    with pytest.raises(ShareError, match="TEMP: 1001 units"):
        pack(group, (0, 1001))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("threshold = 2", "threshold = 1", "above half"),
        ("threshold = 2", "threshold = 4", "above half"),
        ("least = 2", "least = 1", "a sum of one is no sum"),
        ("least = 2", "least = 4", "to the 3 devices"),
        ('mode = "shares"', 'mode = "open"', "mode = 'open'"),
        ('mode = "shares"', 'mode = "sealed"', "exactly one gateway"),
        ("high = 1000", "high = 1000000000\ncolour = 1", "nothing else"),
        ("decimals = 1", "decimals = 10", "0 to 9 decimals"),
        ("low = -40", "low = 60", "low < high"),
        ("http://127.0.0.1:2", "ftp://x", "http://HOST:PORT"),
        (ACCOUNTS[1], ACCOUNTS[0], "named twice"),
        (ACCOUNTS[4], ACCOUNTS[3], "named twice"),
        (ACCOUNTS[1], "fed1qqq", "devices: "),
        ('name = "TEMP"', 'name = "time"', 'or "time"'),
        ("threshold = 2", "threshold = true", "a whole number"),
        ('name = "north"', "", "a group has the keys"),
        ('name = "north"', "name = ", "no TOML"),
    ],
)
def test_a_group_that_makes_no_sense_is_refused(old, new, told):
    """With what stands there and what is allowed."""
    with pytest.raises(ShareError, match=told):
        group_with(old, new)


def test_a_group_whose_sums_do_not_fit_is_refused():
    """Sixteen fields of thirty bits are more than a scalar has."""
    fields = "".join(
        f'[[fields]]\nname = "f{number}"\nlow = 0\nhigh = 1000000000\ndecimals = 0\n' for number in range(9)
    )
    with pytest.raises(ShareError, match="252 are there"):
        read_group(GROUP + fields)


def test_groups_are_told_apart_by_all_but_addresses():
    """Another URL is the same group, anything else another one."""
    assert group_with().id == group_with("http://127.0.0.1:2", "https://example.org").id
    others = [
        group_with(*pair).id for pair in (("least = 2", "least = 3"), ("high = 60", "high = 61"), ("north", "south"))
    ]
    assert len({group_with().id, *others}) == 4
