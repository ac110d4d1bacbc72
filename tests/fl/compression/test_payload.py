"""Payloads of some coordinates: each contribution has one encoding, and a reader takes nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.fixedpoint import VALUE_MAX
from fl.compression.payload import SparseForm, parse_sparse, write_sparse
from fl.errors import PayloadError
from fl.payload import LOSS_MAX

FORM = SparseForm(dimension=70_000, limit=12, bits=54)
Said = tuple[list[int], list[int], int]


@st.composite
def said(draw: st.DrawFn, form: SparseForm = FORM) -> Said:
    """Draw coordinates, their values and a loss."""
    positions = sorted(draw(st.sets(st.integers(0, form.dimension - 1), max_size=form.limit)))
    shift = draw(st.integers(0, 53))
    size = st.integers(1, min(VALUE_MAX >> shift, 2**form.bits - 1))
    values = [draw(size) * draw(st.sampled_from((1, -1))) << shift for _ in positions]
    return positions, values, draw(st.integers(0, LOSS_MAX))


def written(positions: list[int], values: list[int], loss: int = 0) -> bytes:
    """Return the payload."""
    return write_sparse(np.array(positions, np.int64), np.array(values, np.int64), loss)


def read(payload: bytes, form: SparseForm = FORM) -> Said:
    """Return what a payload says."""
    found = parse_sparse(payload, form)
    assert found.positions is not None
    return found.positions.tolist(), found.vector.tolist(), found.loss


@settings(max_examples=60)
@given(said())
def test_what_is_said_comes_back(what: Said) -> None:
    """Coordinates, values and loss, and no payload is longer than its form says."""
    payload = written(*what)
    assert read(payload) == what
    assert len(payload) <= FORM.most_bytes()


@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    """Draw a payload of which one byte is another."""
    whole, byte = written(*draw(said())), draw(st.integers(0, 255))
    at = draw(st.integers(0, len(whole) - 1))
    return whole[:at] + bytes([byte]) + whole[at + 1 :]


@settings(max_examples=100)
@given(st.one_of(st.binary(max_size=60), nearly()))
def test_bytes_are_refused_or_the_only_ones_for_what_they_say(payload: bytes) -> None:
    """Whatever a stranger sends, what can be read is written again to the same bytes."""
    try:
        what = read(payload)
    except PayloadError:
        return
    assert written(*what) == payload


def test_a_payload_is_three_bytes_a_coordinate() -> None:
    """With 6 bits a value and gaps from 128 to 16,383: two bytes where, one what."""
    positions = list(range(500, 70_000, 1000))
    assert len(written(positions, [63 << 20, -63 << 20] * 35)) == 13 + 3 * 70


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (written([1, 2], [3, 4])[:12], "head has 13"),
        (written([1, 2], [3, 5]) + b"\0", "16 bytes|18 bytes"),
        (written([1, 2], [3, 5])[:-1], "coordinates need"),
        ((13).to_bytes(4, "little") + bytes(9) + bytes(26), "at most 12"),
        ((2**32 - 1).to_bytes(4, "little") + bytes(9), "at most 12"),
        (written([69_999], [1])[:13] + b"\xf0\xa2\x04\x02", "70000; there are"),
        (written([1], [1])[:-1] + b"\0", "1 … 2"),
        (written([1], [1], LOSS_MAX)[:11] + b"\x7f" + written([1], [1])[12:], "loss sum"),
        (written([1], [1])[:12] + b"\x01\x01\x04", "more than 2"),
        (written([1], [1])[:12] + b"\x36\x01\x02", "multiples of 2"),
        (written([1], [1])[:12] + b"\x00\x01\x04", "more than 2"),
        (written([], [])[:12] + b"\x01", "multiples of 2"),
        (written([1], [1])[:12] + b"\x35\x01\x06", "in size"),
        (written([1], [1])[:13] + b"\x81\x00\x02", "longer than it needs"),
    ],
)  # fmt: skip
def test_each_fault_is_told(payload: bytes, why: str) -> None:
    """Cut short, followed by more, too many, out of range, zero, or in another encoding than the one there is."""
    with pytest.raises(PayloadError, match=why):
        read(payload)


def test_values_have_no_more_bits_than_the_plan_allows() -> None:
    """Seven bits where the plan says six."""
    form = SparseForm(70_000, 12, 6)
    assert read(written([5], [63]), form)[1] == [63]
    with pytest.raises(PayloadError, match=r"2\*\*6 - 1"):
        read(written([5, 6], [65, 1]), form)
