"""The compiled search equals hashlib, nonce by nonce."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.pow import reference
from consensus.pow.search import search_chunk

digests = st.binary(min_size=32, max_size=32)
nonces = st.integers(0, 2**64 - 1) | st.integers(2**32 - 50, 2**32 + 50) | st.integers(2**64 - 50, 2**64 - 1)


@settings(max_examples=100, deadline=None)
@given(digests, nonces, st.integers(0, 200), st.integers(0, 12))
def test_both_searches_find_the_same_nonce(digest, start, count, bits):
    """For any digest, start, count and difficulty, at the ends of 32 and 64 bits too."""
    target = 2 ** (256 - bits) - 1
    assert search_chunk(digest, target, start, count) == reference.search_chunk(digest, target, start, count)


@settings(max_examples=50, deadline=None)
@given(digests, nonces)
def test_the_bound_is_exact(digest, nonce):
    """A hash that equals the target meets it, one less and it does not: every bit of the hash is compared."""
    hash_ = int.from_bytes(reference.compute_work_hash(digest, nonce), "big")
    assert search_chunk(digest, hash_, nonce, 1) == nonce
    assert search_chunk(digest, hash_ - 1, nonce, 1) is None


def test_a_search_ends_with_the_nonces():
    """Past the last nonce there is nothing, and nothing wraps around."""
    assert search_chunk(bytes(32), 0, 2**64 - 3, 10) is None
    assert search_chunk(bytes(32), 2**256 - 1, 2**64 - 1, 10) == 2**64 - 1
    assert search_chunk(bytes(32), 2**256 - 1, 2**64, 10) is None


def test_a_digest_has_32_bytes():
    """Another size is refused rather than padded."""
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        search_chunk(bytes(31), 1, 0, 1)
