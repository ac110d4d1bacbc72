"""Secrets under a password: scrypt makes the key, ChaCha20-Poly1305 locks the secret and what it belongs to.

As JSON: kdf "scrypt" with salt (hex), n, r, p; cipher "chacha20-poly1305" with nonce and ciphertext (hex).

Rules of this file: the cost stands beside the secret, so that it can grow; what a file asks for is checked before any
memory is taken for it.
"""

import json
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from storage.errors import KeystoreError, WrongPasswordError

SCRYPT_N: Final = 2**15
SCRYPT_R: Final = 8
SCRYPT_P: Final = 3
"""32 MiB and about 0.2 s for each guess: the OWASP password storage cheat sheet's choice for this memory."""
CIPHER: Final = "chacha20-poly1305"
TAG_BYTES: Final = 16
NONCE_BYTES: Final = 12
_MAX_N: Final = 2**20
_SALT_BYTES: Final = 16

Document = dict[str, object]


MAX_DOCUMENT_BYTES: Final = 16 * 1024
"""Largest file of this kind that is looked at."""


def parse_document(data: bytes, version: int, name: str, remedy: str) -> Document:
    """Return a key file's document. ``name`` is what messages call the file, ``remedy`` what to do about a broken one.

    ``KeystoreError`` for bytes that are no JSON object, or are more than ``MAX_DOCUMENT_BYTES``, and for another
    version than ``version``.
    """
    try:
        document = json.loads(data) if len(data) <= MAX_DOCUMENT_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise KeystoreError(f"{name} is not a JSON object of at most {MAX_DOCUMENT_BYTES} bytes: {remedy}")
    if document.get("version") != version:
        raise KeystoreError(f"{name} has version {document.get('version')!r:.40}; this fedchain knows {version}")
    return document


def check_password(password: str | None) -> None:
    """Raise ``KeystoreError`` for a new password that can't be one."""
    if password == "":
        raise KeystoreError("an empty password protects nothing: give one, or none at all")


def lock_secret(secret: bytes, password: str, bound: bytes, n: int = SCRYPT_N) -> Document:
    """Return a secret under a password; ``bound`` is authenticated with it. ``n`` is for tests, which can't wait."""
    check_password(password)
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    return {
        "kdf": "scrypt",
        "salt": salt.hex(),
        "n": n,
        "r": SCRYPT_R,
        "p": SCRYPT_P,
        "cipher": CIPHER,
        "nonce": nonce.hex(),
        "ciphertext": ChaCha20Poly1305(_derive(password, salt, n, SCRYPT_R, SCRYPT_P))
        .encrypt(nonce, secret, bound)
        .hex(),
    }


def unlock_secret(section: Document, password: str, bound: bytes, size: int, where: str, name: str) -> bytes:
    """Return a secret of ``size`` bytes. ``where`` is the file and ``name`` the secret as messages call them.

    ``WrongPasswordError``; ``KeystoreError`` for a section that makes no sense.
    """
    if section.get("kdf") != "scrypt" or section.get("cipher") != CIPHER:
        raise KeystoreError(f"{where}: kdf {section.get('kdf')!r:.40}, cipher {section.get('cipher')!r:.40}")
    n, r, p = (_cost(section, field, where) for field in ("n", "r", "p"))
    key = _derive(password, hex_field(section, "salt", _SALT_BYTES, where), n, r, p)
    nonce = hex_field(section, "nonce", NONCE_BYTES, where)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, hex_field(section, "ciphertext", size + TAG_BYTES, where), bound)
    except InvalidTag:
        raise WrongPasswordError(f"wrong password for {name}") from None


def hex_field(document: Document, field: str, size: int, where: str) -> bytes:
    """Return a field of ``size`` bytes that stands in hex. ``KeystoreError``."""
    value = document.get(field)
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if len(data) != size:
        raise KeystoreError(f"{where}: {field} must be {size} bytes in hex: restore a backup")
    return data


def object_field(document: Document, field: str, where: str) -> Document:
    """Return a field that is an object. ``KeystoreError``."""
    value = document.get(field)
    if not isinstance(value, dict):
        raise KeystoreError(f"{where}: {field} must be an object")
    return value


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(password.encode())


def _cost(section: Document, field: str, where: str) -> int:
    value = section.get(field)
    limit = _MAX_N if field == "n" else 16
    is_fine = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limit
    if not is_fine or (field == "n" and (value < 2 or value & (value - 1))):  # type: ignore[operator]
        raise KeystoreError(f"{where}: {field} = {value!r:.40}; must be 1 to {limit}, n a power of two")
    assert isinstance(value, int)
    return value
