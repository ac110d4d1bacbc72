"""Named Ed25519 keys in files that only their owner reads, encrypted if a password is given.

``keys/NAME.json``, version 1:

    version      1
    public_key   hex, so that a key can be listed without its password
    seed         hex; only in a file without a password
    encryption   only in a file with one: kdf "scrypt" with salt (hex), n, r, p; cipher "chacha20-poly1305" with nonce
                 and ciphertext (hex). The public key is authenticated with the seed.

A file that others may read is refused, as ssh does: whoever could read it has the key. Files are never overwritten by
a new key, and a changed password replaces the file in one step.
"""

import json
import os
import re
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from chain.ids import AccountId
from chain.keys import SEED_BYTES, KeyPair
from storage.base import KeyInfo
from storage.errors import KeystoreError, WrongPasswordError
from storage.files import write_file

VERSION: Final = 1
SCRYPT_N: Final = 2**15
SCRYPT_R: Final = 8
SCRYPT_P: Final = 3
"""32 MiB and about 0.2 s for each guess: the OWASP password storage cheat sheet's choice for this memory."""
_MAX_N: Final = 2**20
_MAX_FILE_BYTES: Final = 16 * 1024
_NAME: Final = re.compile("[a-z0-9][a-z0-9_-]{0,63}")

Document = dict[str, object]


def check_name(name: str) -> str:
    """Return ``name`` if a key may have it, else raise ``KeystoreError``."""
    if not _NAME.fullmatch(name):
        raise KeystoreError(f"key name {name!r:.80}: 1 to 64 of a-z, 0-9, _ and -, not beginning with _ or -")
    return name


def check_password(password: str | None) -> None:
    """Raise ``KeystoreError`` for a new password that can't be one."""
    if password == "":
        raise KeystoreError("an empty password protects nothing: give one, or none at all")


def check_given(name: str, password: str | None, *, is_encrypted: bool) -> None:
    """Raise ``WrongPasswordError`` if a password is missing, or given for a key that has none."""
    if is_encrypted and password is None:
        raise WrongPasswordError(f"key {name!r} has a password: give it")
    if not is_encrypted and password is not None:
        raise WrongPasswordError(f"key {name!r} has no password, but one was given")


class KeyFiles:
    """A ``Keystore`` in a directory. ``scrypt_n`` is for tests, which can't wait."""

    def __init__(self, path: Path, *, scrypt_n: int = SCRYPT_N) -> None:
        self.path = path
        self._scrypt_n = scrypt_n

    def _file(self, name: str) -> Path:
        return self.path / f"{check_name(name)}.json"

    def list_keys(self) -> tuple[KeyInfo, ...]:
        """Return all keys in ascending order of name."""
        names = sorted(file.stem for file in self.path.glob("*.json") if not file.name.startswith("."))
        return tuple([self.find(name) for name in names])

    def find(self, name: str) -> KeyInfo:
        """Return one key's public facts."""
        file = self._file(name)
        document = _read(file)
        return KeyInfo(name, AccountId(_bytes(document, "public_key", 32, file)), "encryption" in document)

    def add(self, name: str, key: KeyPair, password: str | None = None) -> KeyInfo:
        """Keep a key under a new name."""
        file = self._file(name)
        try:
            write_file(file, self._document(key, password), replace=False)
        except FileExistsError:
            raise KeystoreError(f"there is already a key {name!r} ({file}): choose another name") from None
        return KeyInfo(name, key.account, password is not None)

    def load(self, name: str, password: str | None = None) -> KeyPair:
        """Return a key."""
        file = self._file(name)
        document = _read(file)
        account = _bytes(document, "public_key", 32, file)
        check_given(name, password, is_encrypted="encryption" in document)
        if password is None:
            seed = _bytes(document, "seed", SEED_BYTES, file)
        else:
            seed = _decrypt(_section(document, "encryption", file), account, password, name, file)
        key = KeyPair(seed)
        if key.account != account:
            raise KeystoreError(f"key file {file}: its seed and its public_key do not belong together")
        return key

    def change_password(self, name: str, old: str | None, new: str | None) -> KeyInfo:
        """Keep a key under another password; None = unencrypted."""
        key = self.load(name, old)
        write_file(self._file(name), self._document(key, new))
        return KeyInfo(name, key.account, new is not None)

    def _document(self, key: KeyPair, password: str | None) -> bytes:
        document: Document = {"version": VERSION, "public_key": key.account.hex()}
        if password is None:
            document["seed"] = key.seed.hex()
        else:
            document["encryption"] = self._encrypt(key, password)
        return (json.dumps(document, indent=2) + "\n").encode()

    def _encrypt(self, key: KeyPair, password: str) -> Document:
        check_password(password)
        salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
        secret = _derive(password, salt, self._scrypt_n, SCRYPT_R, SCRYPT_P)
        return {
            "kdf": "scrypt",
            "salt": salt.hex(),
            "n": self._scrypt_n,
            "r": SCRYPT_R,
            "p": SCRYPT_P,
            "cipher": "chacha20-poly1305",
            "nonce": nonce.hex(),
            "ciphertext": ChaCha20Poly1305(secret).encrypt(nonce, key.seed, key.account).hex(),
        }


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(password.encode())


def _decrypt(section: Document, account: bytes, password: str, name: str, file: Path) -> bytes:
    if section.get("kdf") != "scrypt" or section.get("cipher") != "chacha20-poly1305":
        raise KeystoreError(f"key file {file}: kdf {section.get('kdf')!r:.40}, cipher {section.get('cipher')!r:.40}")
    n, r, p = (_cost(section, field, file) for field in ("n", "r", "p"))
    secret = _derive(password, _bytes(section, "salt", 16, file), n, r, p)
    nonce = _bytes(section, "nonce", 12, file)
    try:
        return ChaCha20Poly1305(secret).decrypt(nonce, _bytes(section, "ciphertext", SEED_BYTES + 16, file), account)
    except InvalidTag:
        raise WrongPasswordError(f"wrong password for key {name!r}") from None


def _cost(section: Document, field: str, file: Path) -> int:
    value = section.get(field)
    limit = _MAX_N if field == "n" else 16
    is_fine = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limit
    if not is_fine or (field == "n" and (value < 2 or value & (value - 1))):  # type: ignore[operator]
        raise KeystoreError(f"key file {file}: {field} = {value!r:.40}; must be 1 to {limit}, n a power of two")
    assert isinstance(value, int)
    return value


def _read(file: Path) -> Document:
    """Return a key file's document, after a look at who may read it."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise KeystoreError(
            f"there is no key {file.stem!r} in {file.parent}: `fedchain keys list` shows which"
        ) from None
    with os.fdopen(handle, "rb") as stream:
        mode = os.fstat(handle).st_mode & 0o777
        if mode & 0o077:
            raise KeystoreError(f"key file {file} may be read by others (mode {mode:04o}): chmod 600 {file}")
        data = stream.read(_MAX_FILE_BYTES + 1)
    try:
        document = json.loads(data) if len(data) <= _MAX_FILE_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise KeystoreError(
            f"key file {file} is not a JSON object of at most {_MAX_FILE_BYTES} bytes: restore a backup"
        )
    if document.get("version") != VERSION:
        raise KeystoreError(
            f"key file {file} has version {document.get('version')!r:.40}; this fedchain knows {VERSION}"
        )
    return document


def _section(document: Document, field: str, file: Path) -> Document:
    value = document.get(field)
    if not isinstance(value, dict):
        raise KeystoreError(f"key file {file}: {field} must be an object")
    return value


def _bytes(document: Document, field: str, size: int, file: Path) -> bytes:
    value = document.get(field)
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if len(data) != size:
        raise KeystoreError(f"key file {file}: {field} must be {size} bytes in hex: restore a backup")
    return data
