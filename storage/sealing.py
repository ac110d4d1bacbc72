"""Sealing bytes for rest: ChaCha20-Poly1305 under a key that is used once.

    salt (32 random bytes) ‖ ciphertext ‖ tag (16)

Each message has a key of its own, HKDF-SHA256 of the store's key and the salt, and so a nonce of zeros. Nothing has to
be remembered for a nonce never to come twice: not after a crash, not in a file that was restored from a backup, not in
two copies that go on apart. Two salts are the same with a chance of 2^-128 after 2^64 messages.
"""

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SALT_BYTES: Final = 32
OVERHEAD: Final = SALT_BYTES + 16
_NONCE: Final = bytes(12)


def seal(key: bytes, purpose: bytes, data: bytes, bound: bytes) -> bytes:
    """Return ``data`` sealed under ``key``; ``bound`` is authenticated with it and must be named again to open it.

    ``purpose`` keeps what is sealed for one thing from being opened as another.
    """
    salt = secrets.token_bytes(SALT_BYTES)
    return salt + ChaCha20Poly1305(_derive(key, salt, purpose)).encrypt(_NONCE, data, bound)


def unseal(key: bytes, purpose: bytes, sealed: bytes, bound: bytes) -> bytes | None:
    """Return what was sealed; None if it is not what ``seal`` returned for this key, purpose and ``bound``."""
    if len(sealed) < OVERHEAD:
        return None
    cipher = ChaCha20Poly1305(_derive(key, sealed[:SALT_BYTES], purpose))
    try:
        return cipher.decrypt(_NONCE, sealed[SALT_BYTES:], bound)
    except InvalidTag:
        return None


def _derive(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=purpose).derive(key)
