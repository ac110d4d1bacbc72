"""Compiled sums, norms and varints: to the last digit what their slower twins give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import fixedpoint
from chain.errors import FixedPointError
from chain.fixedpoint import VALUE_MAX, Int64Vector, ScatteredSum
from fl.algorithms.base import Contribution
from fl.errors import PayloadError
from fl.sums import SupportSum, squared_norm
from fl.support import Form, coordinates
from fl.varints import PLACES, pack_varints, unpack_varints

VALUES = st.one_of(
    st.integers(-VALUE_MAX, VALUE_MAX), st.sampled_from([VALUE_MAX, -VALUE_MAX, 0, 1, -1, 2**27, -(2**27)])
)
WEIGHTS = st.one_of(st.integers(1, 2**32 - 1), st.just(2**32 - 1))
FEATURES, UNITS, REST = 7, 2, 3
FORM = Form(FEATURES, FEATURES, UNITS, REST, True, True)


@given(st.lists(VALUES, min_size=1, max_size=12), st.integers(1, 300))
@settings(max_examples=50)
def test_a_norm_is_exact_however_long_the_vector(values: list[int], repeats: int) -> None:
    """Short and long vectors, values at their bounds: the sum of squares in Python's integers."""
    vector = np.array(values * repeats, np.int64)
    assert squared_norm(vector) == repeats * sum(value * value for value in values) == fixedpoint.squared_norm(vector)


def test_a_norm_of_values_out_of_range_is_none() -> None:
    """A value beyond 2**53 is refused as it is by the slower twin: its limbs would not be what they seem."""
    with pytest.raises(FixedPointError):
        squared_norm(np.full(1000, VALUE_MAX + 1, np.int64))


@st.composite
def contributions(draw: st.DrawFn) -> tuple[Contribution, Int64Vector, int, int]:
    features = np.array(sorted(draw(st.sets(st.integers(0, FEATURES - 1)))), np.int64)
    size = features.size * UNITS + REST
    vector = np.array(draw(st.lists(VALUES, min_size=size, max_size=size)), np.int64)
    counts = draw(st.lists(st.integers(1, 2**32 - 1), min_size=features.size, max_size=features.size))
    said = Contribution(vector, np.array(counts, np.int64) if draw(st.booleans()) else None, 0, features)
    return said, features, draw(WEIGHTS), draw(WEIGHTS)


@given(st.lists(contributions(), max_size=30))
@settings(max_examples=50)
def test_sums_over_supports_are_exact(said: list[tuple[Contribution, Int64Vector, int, int]]) -> None:
    """Weights that together pass what 64 bits hold, supports of any shape: what adding one by one gives."""
    dimension = FEATURES * UNITS + REST
    found = SupportSum(dimension, FEATURES, UNITS)
    sums, rows, counts, holders = ScatteredSum(dimension), [0] * FEATURES, [0] * FEATURES, [0] * FEATURES
    for each, features, weight, samples in said:
        found.add(features, each, weight, samples)
        sums.add(coordinates(features, FORM), each.vector, weight)
        for place, feature in enumerate(features.tolist()):
            rows[feature] += samples
            if each.counts is not None:
                counts[feature] += int(each.counts[place])
                holders[feature] += 1
    assert found.total() == sums.total()
    assert (found.rows.tolist(), found.counts.tolist(), found.holders.tolist()) == (rows, counts, holders)


def test_what_does_not_fit_the_sums_is_refused() -> None:
    """Features beyond the model, a vector of another length, a weight of 33 bits: nothing is written anywhere else."""
    found = SupportSum(FEATURES * UNITS + REST, FEATURES, UNITS)
    one = np.zeros(UNITS + REST, np.int64)
    for features, vector, weight in (([FEATURES], one, 1), ([-1], one, 1), ([0], one[:-1], 1), ([0], one, 2**32)):
        with pytest.raises(FixedPointError):
            found.add(np.array(features, np.int64), Contribution(vector, None, 0), weight, 1)
    with pytest.raises(FixedPointError):
        found.add(np.array([0], np.int64), Contribution(one + VALUE_MAX + 1, None, 0), 1, 1)


@given(st.lists(st.integers(0, 2**35 - 1), max_size=40), st.binary(max_size=4), st.data())
@settings(max_examples=60)
def test_varints_are_read_as_they_are_defined(values: list[int], behind: bytes, data: st.DataObject) -> None:
    """Whole, cut, or with a byte changed: what a reader in plain Python makes of the same bytes, or an error as it."""
    packed = bytearray(pack_varints(np.array(values, np.int64)) + behind)
    if packed and data.draw(st.booleans()):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    payload = bytes(packed[: data.draw(st.integers(0, len(packed)))])
    expected = _read_plainly(payload, len(values))
    if expected is None:
        with pytest.raises(PayloadError):
            unpack_varints(payload, 0, len(values))
    else:
        found, end = unpack_varints(payload, 0, len(values))
        assert (found.tolist(), end) == expected


def _read_plainly(payload: bytes, count: int) -> tuple[list[int], int] | None:
    found, at = [], 0
    for _ in range(count):
        group = bytearray()
        while not group or group[-1] >= 0x80:
            if at == len(payload):
                return None
            group.append(payload[at])
            at += 1
        if len(group) > PLACES or (len(group) > 1 and group[-1] == 0):
            return None
        found.append(sum((byte & 0x7F) << 7 * place for place, byte in enumerate(group)))
    return found, at
