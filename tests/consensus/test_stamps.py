"""Registration stamps: the work is real and bound to the device and the chain."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ids import INT_MAX, AccountId
from consensus.stamps import find_stamp, is_stamp

DEVICES = st.binary(min_size=32, max_size=32).map(AccountId)


@settings(max_examples=20)
@given(DEVICES, st.integers(0, 8))
def test_a_stamp_that_is_found_is_one(device, bits):
    """find_stamp and is_stamp agree, and it is the first from where the search began."""
    stamp = find_stamp("chain", device, bits)
    assert stamp is not None
    assert is_stamp("chain", device, bits, stamp)
    assert not any(is_stamp("chain", device, bits, earlier) for earlier in range(stamp))


@settings(max_examples=3, deadline=None)
@given(DEVICES, DEVICES)
def test_a_stamp_is_good_for_one_device_on_one_chain(device, other):
    """Other accounts and other chains hash to other digests."""
    stamps = [find_stamp(chain, key, 16) for chain, key in (("chain", device), ("chain", other), ("fork", device))]
    assert stamps[0] != stamps[2]
    assert (stamps[0] == stamps[1]) == (device == other)


def test_a_search_can_be_cancelled_and_ends():
    """A cancelled search gives nothing, and so does one that has run out of stamps."""
    device = AccountId(bytes(32))
    assert find_stamp("chain", device, 64, 0, lambda: True) is None
    assert find_stamp("chain", device, 64, INT_MAX) is None


@given(DEVICES)
def test_no_bits_are_no_work(device):
    """With 0 bits every stamp is good."""
    assert is_stamp("chain", device, 0, 0)
