"""Payloads are named by their content; IPFS finds the same bytes under ``cid``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.payload import MAX_PAYLOAD_BYTES, PayloadRef, cid


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_reference_is_of_its_bytes_alone(payload: bytes, other: bytes) -> None:
    """Other bytes, or a wrong size, do not match."""
    reference = PayloadRef.of(payload)
    assert reference.is_of(payload)
    assert reference.is_of(other) == (payload == other)
    assert not PayloadRef(reference.id, reference.size + 1).is_of(payload)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (b"hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
    ],
)
def test_cids_are_those_of_ipfs(payload: bytes, text: str) -> None:
    """The names under which IPFS has long known these bytes."""
    assert cid(PayloadRef.of(payload)) == text


def test_a_payload_too_large_to_travel_has_no_reference() -> None:
    """The codec refuses the size before anybody fetches it."""
    reference = PayloadRef.of(b"")
    largest = PayloadRef(reference.id, MAX_PAYLOAD_BYTES)
    assert decode(encode(largest), PayloadRef) == largest
    with pytest.raises(CodecError):
        decode(encode(PayloadRef(reference.id, MAX_PAYLOAD_BYTES + 1)), PayloadRef)
