"""What an honest sender draws at random: it follows from its account's secret key, and from all that it is drawn for.

So the same message has the same bytes again after a crash, two different ones never share a draw, and nobody without
the key can tell it from a coin. (RFC 6979 makes the nonces of signatures in this way.)
"""

from typing import Final

from chain.hashing import digest
from chain.keys import KeyPair
from fl.privacy.randomness import RandomSource, SeededRandom

DOMAIN_DRAWS: Final = b"fedchain/paillier-draws"


def draws_of(key: KeyPair, purpose: bytes, *about: bytes) -> RandomSource:
    """Return bytes that follow from a secret key, and from what they are for."""
    return SeededRandom(digest(DOMAIN_DRAWS, key.seed, purpose, *about))
