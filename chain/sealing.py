"""Sealed payloads: bytes that travel by any hands and that only the named accounts can read.

The data are encrypted once (AES-256-GCM, which processors have instructions for); their key is put into one box for
each reader (XSalsa20-Poly1305), made with a throw-away key and the reader's own (X25519, derived from the Ed25519 key
that is its account). OpenSSL and libsodium do all of it. Both keys are digests of a secret of the sender and of the
data, so that the same seal is made again from the same things, and never one key for two messages. Whoever can't read
learns who can, and how long the data are.

Rules of this file: what strangers send gives ``None``, never an exception.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta
from nacl.bindings import crypto_box_beforenm
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey
from nacl.secret import SecretBox
from nacl.signing import VerifyKey

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.hashing import content_id, digest
from chain.ids import AccountField, AccountId
from chain.keys import KeyPair

MAX_READERS: Final = 32
_DOMAIN: Final = b"fedchain/seal"
_NONCE: Final = bytes(24)
"""Each key encrypts one message: a constant nonce is as good as any. AES-GCM takes 12 bytes of it."""


class KeyBox(Record):
    """The data's key for one reader."""

    reader: AccountField
    box: Annotated[bytes, Meta(min_length=48, max_length=48)]


class Sealed(Record):
    """Data for some readers; ``sender`` is the throw-away key's public half."""

    sender: Annotated[bytes, Meta(min_length=32, max_length=32)]
    keys: Annotated[tuple[KeyBox, ...], Meta(min_length=1, max_length=MAX_READERS)]
    data: bytes


def seal(data: bytes, readers: Sequence[AccountId], secret: bytes) -> bytes:
    """Return ``data`` sealed for these accounts, 1 … ``MAX_READERS`` of them. ``secret``: 32 bytes of the sender's."""
    name = content_id(data)
    key, throw_away = digest(_DOMAIN, secret, name, b"data"), PrivateKey(digest(_DOMAIN, secret, name, b"sender"))
    boxes = [
        KeyBox(reader, _box(bytes(throw_away), _public_half(reader), reader).encrypt(key, _NONCE).ciphertext)
        for reader in readers
    ]
    return encode(Sealed(bytes(throw_away.public_key), tuple(boxes), AESGCM(key).encrypt(_NONCE[:12], data, None)))


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
        secret = _box(key.exchange_key, frame.sender, key.account).decrypt(own.box, _NONCE)
        return AESGCM(secret).decrypt(_NONCE[:12], frame.data, None)
    except (
        CryptoError,
        InvalidTag,
        ValueError,
        RuntimeError,
    ):  # a box that does not open, holds no key, or is of no real sender
        return None


@lru_cache(maxsize=1024)
def _public_half(account: AccountId) -> bytes:
    return bytes(VerifyKey(account).to_curve25519_public_key())


def _box(private: bytes, public: bytes, reader: AccountId) -> SecretBox:
    """Return the box between two X25519 keys, its key bound to the reader it is for."""
    return SecretBox(digest(_DOMAIN, crypto_box_beforenm(public, private), reader))
