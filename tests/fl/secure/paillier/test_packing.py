"""Values survive packing and sums, up to the bound and not a step further."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.errors import PayloadError
from fl.secure.paillier import Packing, unpack
from fl.secure.paillier.packing import pack

PACKINGS = st.builds(
    Packing,
    value_bits=st.integers(2, 48),
    devices=st.integers(1, 300),
    dimension=st.integers(1, 40),
    modulus_bits=st.sampled_from([256, 511, 2048]),
)


@settings(max_examples=60, deadline=None)
@given(PACKINGS, st.data())
def test_sums_of_packed_plaintexts_are_packed_sums(packing: Packing, data: st.DataObject) -> None:
    """Any values in range, of up to as many devices as were planned; modulo the smallest N of its size."""
    count = data.draw(st.integers(1, min(packing.devices, 4)))
    value = st.one_of(
        st.sampled_from([-packing.limit, packing.limit - 1]), st.integers(-packing.limit, packing.limit - 1)
    )
    vectors = [
        np.array(data.draw(st.lists(value, min_size=packing.dimension, max_size=packing.dimension)), dtype=np.int64)
        for _ in range(count)
    ]
    n = 1 << (packing.modulus_bits - 1)
    totals = [sum(column) % n for column in zip(*(pack(packing, vector) for vector in vectors), strict=True)]
    signed = [total - n if 2 * total > n else total for total in totals]
    assert (unpack(packing, signed, count) == sum(vectors)).all()


@pytest.mark.parametrize("devices", [1, 2, 3, 10, 16, 17, 1000])
@pytest.mark.parametrize("end", ["lowest", "highest", "alternating"])
@pytest.mark.parametrize("modulus_bits", [511, 2048])
def test_as_many_devices_as_planned_may_all_be_at_an_end_of_the_range(
    devices: int, end: str, modulus_bits: int
) -> None:
    """The head-room that the packing's docstring proves, at its bound, under the smallest modulus."""
    packing = Packing(24, devices, 200, modulus_bits)
    ends = {
        "lowest": [-packing.limit],
        "highest": [packing.limit - 1],
        "alternating": [-packing.limit, packing.limit - 1],
    }
    vector = np.resize(np.array(ends[end], dtype=np.int64), 200)
    n = 1 << (modulus_bits - 1)
    totals = [devices * plain for plain in pack(packing, vector)]
    assert all(2 * abs(total) < n for total in totals), "nothing wraps"
    assert (unpack(packing, totals, devices) == devices * vector).all()


def test_one_device_more_than_planned_overflows_a_slot() -> None:
    """The head-room is not more than it must be: where K is a power of two, device K + 1 spills into the next slot."""
    packing = Packing(24, 16, 4, 512)
    values = np.array([-packing.limit, 0, 0, 0])
    assert list(unpack(packing, [16 * plain for plain in pack(packing, values)], 16)) == [-(2**27), 0, 0, 0]
    assert list(unpack(packing, [17 * plain for plain in pack(packing, values)], 17)) == [15 * 2**23, -1, 0, 0]


@pytest.mark.parametrize("value", [-(2**23) - 1, 2**23])
def test_a_value_out_of_range_is_not_packed(value: int) -> None:
    """An honest device never spills."""
    packing = Packing(24, 4, 2, 512)
    with pytest.raises(ValueError, match="24 bits"):
        pack(packing, np.array([0, value]))
    with pytest.raises(ValueError, match="values"):
        pack(packing, np.array([0]))


def test_a_sum_that_no_honest_devices_have_is_refused() -> None:
    """Three devices can't have what four can; and a plaintext may have more digits than slots."""
    packing = Packing(8, 4, 3, 512)
    four = [4 * plain for plain in pack(packing, np.array([-128, 127, 0]))]
    assert list(unpack(packing, four, 4)) == [-512, 508, 0]
    with pytest.raises(PayloadError, match="3 values of 8 bits"):
        unpack(packing, four, 3)
    with pytest.raises(PayloadError, match="digits"):
        unpack(packing, [1 << 200], 4)
    with pytest.raises(PayloadError, match="plaintexts, not 1"):
        unpack(packing, [0, 0], 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**510), 2**510), min_size=2, max_size=2), st.integers(1, 5))
def test_plaintexts_of_liars_give_sums_in_range_or_a_payload_error(plaintexts: list[int], count: int) -> None:
    """Whatever is in an opening."""
    packing = Packing(24, 4, 30, 512)
    try:
        sums = unpack(packing, plaintexts, count)
    except PayloadError:
        return
    assert np.abs(sums).max() <= count * packing.limit


@pytest.mark.parametrize(
    "numbers", [(1, 1, 1, 512), (24, 0, 1, 512), (24, 1, 0, 512), (62, 4, 1, 512), (60, 8, 1, 61), (24, 1, 1, 25)]
)
def test_packings_without_room_are_refused(numbers: tuple[int, int, int, int]) -> None:
    """No slots, no devices, sums beyond 63 bits, a modulus below a slot."""
    with pytest.raises(ValueError, match=r"packing|fit|room"):
        Packing(*numbers)


def test_ten_thousand_values_of_24_bits_for_ten_devices_take_137_ciphertexts() -> None:
    """A slot of 28 bits, 73 of them in 2,046."""
    packing = Packing(24, 10, 10_000, 2048)
    assert (packing.slot_bits, packing.values, packing.ciphertexts) == (28, 73, 137)
