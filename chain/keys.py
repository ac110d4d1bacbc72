"""Ed25519 keys, the strict verification rule, and the text form of accounts.

Nodes must agree on every signature. Libraries differ on the edges of RFC 8032, so ``verify`` decides
them itself before any curve arithmetic: A and R canonical encodings, neither of small order, S < L.
What passes is checked by libsodium without cofactor; batch verification is never used.

Rules of this file: pure functions and one small key object; files and passwords are ``storage.keystore``'s.
"""

import secrets
from typing import Final

from nacl import bindings
from nacl.exceptions import BadSignatureError

from chain.errors import AddressError
from chain.ids import AccountId

SEED_BYTES: Final = 32
_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493

# y coordinates of the eight points whose order divides the cofactor (RFC 7748 §7; canonical y only,
# since non-canonical encodings are refused before this is looked at).
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303021022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)


def _is_strict_point(encoded: bytes) -> bool:
    """Is this a canonical encoding (y < p, no sign on x = 0) of a point not of small order?"""
    y = int.from_bytes(encoded, "little") & ((1 << 255) - 1)
    return y < _P and y not in _SMALL_ORDER_Y


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Is ``signature`` (64 bytes) a strict Ed25519 signature of ``message`` under ``public_key`` (32 bytes)?"""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    if int.from_bytes(signature[32:], "little") >= _L:
        return False
    if not _is_strict_point(public_key) or not _is_strict_point(signature[:32]):
        return False
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


class KeyPair:
    """An Ed25519 key pair made from a 32-byte seed. Its representation never shows the secret."""

    __slots__ = ("_secret", "account")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise AddressError(f"a key seed has {SEED_BYTES} bytes, not {len(seed)}")
        public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.account = AccountId(public)

    @classmethod
    def generate(cls) -> "KeyPair":
        """Return a fresh key pair from the operating system's randomness."""
        return cls(secrets.token_bytes(SEED_BYTES))

    @property
    def seed(self) -> bytes:
        """The secret seed, for the keystore alone."""
        return self._secret[:SEED_BYTES]

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of ``message``; deterministic (RFC 8032)."""
        signed: bytes = bindings.crypto_sign(message, self._secret)
        return signed[:64]

    def __repr__(self) -> str:
        return f"KeyPair({self.account.hex()[:12]}…)"
