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
from pathlib import Path
from typing import Final

from chain.ids import AccountId
from chain.keys import SEED_BYTES, KeyPair
from storage.errors import KeystoreError, WrongPasswordError
from storage.files import write_file
from storage.own import KeyInfo
from storage.passwords import (
    MAX_DOCUMENT_BYTES,
    SCRYPT_N,
    SCRYPT_P,
    SCRYPT_R,
    Document,
    check_password,
    hex_field,
    lock_secret,
    object_field,
    parse_document,
    unlock_secret,
)

__all__ = ["SCRYPT_N", "SCRYPT_P", "SCRYPT_R", "KeyFiles", "check_given", "check_name", "check_password"]

VERSION: Final = 1
_NAME: Final = re.compile("[a-z0-9][a-z0-9_-]{0,63}")


def check_name(name: str) -> str:
    """Return ``name`` if a key may have it, else raise ``KeystoreError``."""
    if not _NAME.fullmatch(name):
        raise KeystoreError(f"key name {name!r:.80}: 1 to 64 of a-z, 0-9, _ and -, not beginning with _ or -")
    return name


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
        return KeyInfo(
            name, AccountId(hex_field(document, "public_key", 32, f"key file {file}")), "encryption" in document
        )

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
        account = hex_field(document, "public_key", 32, f"key file {file}")
        check_given(name, password, is_encrypted="encryption" in document)
        if password is None:
            seed = hex_field(document, "seed", SEED_BYTES, f"key file {file}")
        else:
            where = f"key file {file}"
            section = object_field(document, "encryption", where)
            seed = unlock_secret(section, password, account, SEED_BYTES, where, f"key {name!r}")
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
            document["encryption"] = lock_secret(key.seed, password, key.account, self._scrypt_n)
        return (json.dumps(document, indent=2) + "\n").encode()


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
        data = stream.read(MAX_DOCUMENT_BYTES + 1)
    return parse_document(data, VERSION, f"key file {file}", "restore a backup")
