"""Sealed payloads: bytes that travel by any hands and that only the named accounts can read.

The data are encrypted once under a fresh key (XSalsa20-Poly1305); the key is put into one box for each reader, made
with a throw-away key and the reader's own (X25519, derived from the Ed25519 key that is its account). libsodium does
all of it. Whoever can't read learns who can, and how long the data are.

Rules of this file: what strangers send gives ``None``, never an exception.
"""

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta
from nacl.exceptions import CryptoError
from nacl.public import SealedBox
from nacl.secret import SecretBox
from nacl.signing import SigningKey, VerifyKey
from nacl.utils import random

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import AccountField, AccountId
from chain.keys import KeyPair

MAX_READERS: Final = 32
OVERHEAD: Final = 256 + MAX_READERS * (32 + 80 + 8)
"""Bytes that sealing adds at most."""


class KeyBox(Record):
    """The data's key for one reader."""

    reader: AccountField
    box: Annotated[bytes, Meta(min_length=80, max_length=80)]


class Sealed(Record):
    """Data for some readers."""

    keys: Annotated[tuple[KeyBox, ...], Meta(min_length=1, max_length=MAX_READERS)]
    data: bytes


def seal(data: bytes, readers: Sequence[AccountId]) -> bytes:
    """Return ``data`` sealed for these accounts, 1 … ``MAX_READERS`` of them. Every call gives other bytes."""
    key = random(SecretBox.KEY_SIZE)
    boxes = [KeyBox(reader, SealedBox(VerifyKey(reader).to_curve25519_public_key()).encrypt(key)) for reader in readers]
    return encode(Sealed(tuple(boxes), bytes(SecretBox(key).encrypt(data))))


def read_sealed(sealed: bytes) -> Sealed | None:
    """Return the frame of sealed bytes, to see who may read them; None for any others."""
    try:
        return decode(sealed, Sealed, max_bytes=len(sealed))
    except CodecError:
        return None


def unseal(sealed: bytes, key: KeyPair) -> bytes | None:
    """Return what was sealed for this account; None if nothing was, or it does not open."""
    frame = read_sealed(sealed)
    own = None if frame is None else next((each for each in frame.keys if each.reader == key.account), None)
    if frame is None or own is None:
        return None
    try:
        secret = SealedBox(SigningKey(key.seed).to_curve25519_private_key()).decrypt(own.box)
        return bytes(SecretBox(secret).decrypt(frame.data))
    except (CryptoError, ValueError, TypeError):  # a box that does not open, or that holds no key
        return None
