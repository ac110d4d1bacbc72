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

# y coordinates of the eight points whose order divides the cofactor, canonical ones alone: other encodings
# are refused before this is looked at. The two points with x = 0, whose sign bit must be clear in a canonical
# encoding, are among them (y = 1 and y = -1), so x itself never has to be computed.
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)


def _is_strict_point(encoded: bytes) -> bool:
    """Is this a canonical encoding (y < p, no sign on x = 0) of a point not of small order, if of a point at all?"""
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

    @property
    def exchange_key(self) -> bytes:
        """The secret X25519 key, 32 bytes, that belongs to this key: what is sealed for the account is read with it."""
        key: bytes = bindings.crypto_sign_ed25519_sk_to_curve25519(self._secret)
        return key

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of ``message``; deterministic (RFC 8032)."""
        signed: bytes = bindings.crypto_sign(message, self._secret)
        return signed[:64]

    def __repr__(self) -> str:
        return f"KeyPair({self.account.hex()[:12]}…)"


def _require_cofactorless() -> None:
    """Refuse to work with a libsodium that multiplies by the cofactor.

    Both equations are RFC 8032's, and versions of libsodium differ; on a signature like this one (vector 4 of
    Chalkias, Garillot and Nikolaenko, "Taming the many EdDSAs", 2020) two nodes would disagree about a block.
    """
    key = bytes.fromhex("cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d")
    message = bytes.fromhex("e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c")
    signature = bytes.fromhex(
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512"
        "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09"
    )
    if verify(key, signature, message):
        raise ImportError("this libsodium verifies Ed25519 with the cofactor; fedchain nodes verify without it")


_require_cofactorless()
