"""Digests: no two different lists of parts are hashed as the same bytes."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from chain import hashing
from chain.hashing import content_id, digest, digests

DOMAINS = {name: value for name, value in vars(hashing).items() if name.startswith("DOMAIN_")}


@given(st.binary(max_size=20), st.lists(st.binary(max_size=20), max_size=4))
def test_a_digest_is_over_lengths_and_contents(domain: bytes, parts: list[bytes]) -> None:
    """The layout of docs/formats.md: one byte of length and the domain, eight bytes of length and each part."""
    layout = bytes([len(domain)]) + domain + b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    assert digest(domain, *parts) == sha256(layout).digest()


@given(st.lists(st.binary(max_size=20), max_size=3), st.lists(st.binary(max_size=20), max_size=3))
def test_many_digests_that_begin_alike_are_those_one_by_one(shared: list[bytes], lasts: list[bytes]) -> None:
    """However often the function is asked."""
    finish = digests(b"d", *shared)
    assert [finish(last) for last in lasts] == [digest(b"d", *shared, last) for last in lasts]


@given(st.lists(st.binary(max_size=4), max_size=3), st.lists(st.binary(max_size=4), max_size=3))
def test_parts_cannot_be_shifted(first: list[bytes], second: list[bytes]) -> None:
    """Moving bytes between parts gives another digest."""
    assert (digest(b"d", *first) == digest(b"d", *second)) == (first == second)


def test_every_domain_is_its_own() -> None:
    """No two kinds of object share a domain, and all carry the project's name."""
    assert len(DOMAINS) == len(set(DOMAINS.values())) >= 11
    assert all(value.startswith(b"fedchain/") and len(value) < 256 for value in DOMAINS.values())
    assert len({digest(domain, b"x") for domain in DOMAINS.values()}) == len(DOMAINS)


@given(st.binary(max_size=100))
def test_content_is_named_by_its_plain_hash(payload: bytes) -> None:
    """Anybody's sha256sum finds the name of a payload."""
    assert content_id(payload) == sha256(payload).digest()
