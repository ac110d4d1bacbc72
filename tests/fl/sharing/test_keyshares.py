"""A key kept by several: enough of them give it back, and who gives something else is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import encode
from chain.keys import KeyPair
from fl.errors import ShareError
from fl.secure.curve import scalar_bytes
from fl.sharing.keyshares import join_key, read_key_share, split_key
from tests.fl.secure.masking import coins

KEY = KeyPair(b"k" * 32)


@given(st.integers(2, 6), st.integers(0, 4), st.randoms())
@settings(max_examples=20)
def test_any_threshold_of_the_shares_give_the_key(threshold, more, random):
    """Whoever they are."""
    shares = list(enumerate(split_key(KEY, threshold, threshold + more, coins(b""))))
    kept = random.sample(shares, threshold)
    assert join_key([(str(name), data) for name, data in kept]).seed == KEY.seed


def test_a_wrong_share_is_named_with_who_gave_it():
    """Wrong by its commitment, cut, or of another key; the others give the key if they are enough."""
    first, second, third = split_key(KEY, 2, 3, coins(b""))
    read = read_key_share(second)
    wrong = encode(replace(read, share=scalar_bytes(1)))
    other = split_key(KeyPair(b"o" * 32), 2, 3, coins(b"o"))[1]
    for bad, told in (
        (wrong, "the share with number 2 is wrong"),
        (other, "a share of something else"),
        (b"x", "not a"),
    ):
        with pytest.raises(ShareError, match=f"1 right shares of 2.*bob: .*{told}"):
            join_key([("ann", first), ("bob", bad)])
        assert join_key([("ann", first), ("bob", bad), ("cy", third)]).seed == KEY.seed
    with pytest.raises(ShareError, match="it was exchanged"):
        join_key(
            [
                (name, encode(replace(read_key_share(data), locked=bytes(48))))
                for name, data in (("a", first), ("b", third))
            ]
        )


def test_one_share_alone_is_never_the_key():
    """A threshold of one would hand the key to everybody."""
    for threshold, count in ((1, 3), (4, 3), (2, 33)):
        with pytest.raises(ShareError, match="one alone is the key"):
            split_key(KEY, threshold, count, coins(b""))
    assert KEY.seed not in b"".join(split_key(KEY, 2, 3, coins(b"")))
