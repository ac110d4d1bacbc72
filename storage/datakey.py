"""The key of a data store: random, and in the file ``key.json`` under a password or a key of the system's keyring.

``key.json``, version 1:

    version      1
    store        the store's id (hex, 16 bytes), authenticated with the key
    encryption   under a password: as ``storage.passwords`` says; in the keyring: keyring (the entry's service and its
                 user, which is the store's id), cipher "chacha20-poly1305", nonce and ciphertext (hex)

The keyring holds a random key of 32 bytes (hex) that locks the store's key, never the store's key itself: a change from
a keyring to a password or back rewrites this small file alone.

Rules of this file: whoever has this file and the password has the data; neither alone opens anything.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from storage.errors import KeystoreError, WrongPasswordError
from storage.files import write_file
from storage.passwords import (
    CIPHER,
    MAX_DOCUMENT_BYTES,
    NONCE_BYTES,
    SCRYPT_N,
    TAG_BYTES,
    Document,
    hex_field,
    lock_secret,
    object_field,
    parse_document,
    unlock_secret,
)

VERSION: Final = 1
KEY_BYTES: Final = 32
ID_BYTES: Final = 16
SERVICE: Final = "fedchain data store"
_BOUND: Final = b"fedchain data store key 1"


class SecretKeeper(Protocol):
    """Where the operating system keeps secrets for its user, by service and user name."""

    def get(self, service: str, user: str) -> str | None:
        """Return a secret; None if there is none of that name. ``KeystoreError`` if nobody can be asked."""
        ...

    def set(self, service: str, user: str, secret: str) -> None:
        """Keep a secret. ``KeystoreError`` if it is not taken."""
        ...


@dataclass(frozen=True, slots=True)
class Password:
    """A store's key is under this password. ``n`` is scrypt's cost, for tests, which can't wait."""

    text: str
    n: int = SCRYPT_N


@dataclass(frozen=True, slots=True)
class Keyring:
    """A store's key is under a key that this keeper holds."""

    keeper: SecretKeeper


Opener: TypeAlias = Password | Keyring


@dataclass(frozen=True, slots=True)
class StoreKey:
    """A data store's id and its key."""

    store: bytes
    key: bytes

    @classmethod
    def make(cls) -> "StoreKey":
        """Return a new store's."""
        return cls(secrets.token_bytes(ID_BYTES), secrets.token_bytes(KEY_BYTES))


def write_key(file: Path, key: StoreKey, opener: Opener, *, replace: bool = False) -> None:
    """Keep a store's key; with ``replace`` in place of the same key under another lock. Durable on return."""
    if isinstance(opener, Password):
        section = lock_secret(key.key, opener.text, _BOUND + key.store, opener.n)
    else:
        section = _lock_by_keyring(key, opener.keeper)
    document: Document = {"version": VERSION, "store": key.store.hex(), "encryption": section}
    write_file(file, (json.dumps(document, indent=2) + "\n").encode(), replace=replace)


def read_key(file: Path, opener: Opener) -> StoreKey:
    """Return a store's key. ``WrongPasswordError``, ``KeystoreError``."""
    document, where = _read(file), f"data store key {file}"
    store = hex_field(document, "store", ID_BYTES, where)
    section = object_field(document, "encryption", where)
    if isinstance(opener, Password):
        if "keyring" in section:
            raise WrongPasswordError(f"{where}: it is in the system's keyring: use --keyring, no password")
        key = unlock_secret(section, opener.text, _BOUND + store, KEY_BYTES, where, f"the data store {file.parent}")
        return StoreKey(store, key)
    if "keyring" not in section:
        raise WrongPasswordError(f"{where}: it is under a password, not in the keyring: give the password")
    return StoreKey(store, _unlock_by_keyring(section, store, opener.keeper, where))


def is_in_keyring(file: Path) -> bool:
    """Is this store's key in the system's keyring, and not under a password? ``KeystoreError``."""
    return "keyring" in object_field(_read(file), "encryption", f"data store key {file}")


def _lock_by_keyring(key: StoreKey, keeper: SecretKeeper) -> Document:
    nonce, user = secrets.token_bytes(NONCE_BYTES), key.store.hex()
    kept = keeper.get(SERVICE, user)
    locking = secrets.token_bytes(KEY_BYTES) if kept is None else _kept_key(kept)
    if kept is None:
        keeper.set(SERVICE, user, locking.hex())
        if keeper.get(SERVICE, user) != locking.hex():
            raise KeystoreError("the system's keyring does not give back what it was given: use a password")
    sealed = ChaCha20Poly1305(locking).encrypt(nonce, key.key, _BOUND + key.store)
    return {
        "keyring": {"service": SERVICE, "user": user},
        "cipher": CIPHER,
        "nonce": nonce.hex(),
        "ciphertext": sealed.hex(),
    }


def _unlock_by_keyring(section: Document, store: bytes, keeper: SecretKeeper, where: str) -> bytes:
    if section.get("cipher") != CIPHER:
        raise KeystoreError(f"{where}: cipher {section.get('cipher')!r:.40}")
    kept = keeper.get(SERVICE, store.hex())
    if kept is None:
        raise KeystoreError(
            f"{where}: the keyring of this user has no entry {SERVICE!r} for {store.hex()}: was the store made by "
            "another user or on another machine?"
        )
    nonce = hex_field(section, "nonce", NONCE_BYTES, where)
    sealed = hex_field(section, "ciphertext", KEY_BYTES + TAG_BYTES, where)
    try:
        return ChaCha20Poly1305(_kept_key(kept)).decrypt(nonce, sealed, _BOUND + store)
    except InvalidTag:
        raise WrongPasswordError(f"{where}: the key that the keyring holds does not open it") from None


def _kept_key(text: str) -> bytes:
    return hex_field({"key": text}, "key", KEY_BYTES, "the keyring's entry of this data store")


def _read(file: Path) -> Document:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_DOCUMENT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise KeystoreError(
            f"{file.parent} is no data store: it has no {file.name}; make one with `fedchain data store init`"
        ) from None
    remedy = "restore a backup of this one file; without it nobody can read the store"
    return parse_document(data, VERSION, f"data store key {file}", remedy)
