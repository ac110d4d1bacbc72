"""Randomised copies of the device's tables, each made once: what is drawn again is published again, and costs again.

A set is kept under a binding: a digest of the encoded rows, their schema and ε under a salt of this directory, so that
the same rows, asked for by another plan or under another key, are shared as the very same set, which says nothing new.
Who has the directory can test a guess of a *whole table* by it, and nothing less.

    sharedsets/salt       32 random bytes
    sharedsets/BINDING    a magic line, SHA-256 of what follows (32 bytes), the set's bytes

A set is on disk before it is published. One that is lost is made anew, which the chain charges as a release of its own.
"""

import secrets
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from chain.hashing import digest
from chain.ids import Hash
from storage.errors import DamagedError
from storage.files import write_file

MAGIC: Final = b"fedchain shared set 1\n"
_DOMAIN_BINDING: Final = b"fedchain/shared-set"
_HEAD: Final = len(MAGIC) + 32


class SharedSets(Protocol):
    """The randomised copies that a node's device has made."""

    def bind(self, *parts: bytes) -> Hash:
        """Return the binding of what is randomised: encoded rows, schema, ε."""
        ...

    def get(self, binding: Hash) -> bytes | None:
        """Return the set that was made of it; None if none was."""
        ...

    def put(self, binding: Hash, payload: bytes) -> bytes:
        """Keep a set, durable on return; return the one that is kept, which is another if there was one."""
        ...


class MemorySharedSets:
    """``SharedSets`` in a dictionary."""

    def __init__(self) -> None:
        self._sets: dict[Hash, bytes] = {}

    def bind(self, *parts: bytes) -> Hash:
        """Return the binding of what is randomised."""
        return digest(_DOMAIN_BINDING, *parts)

    def get(self, binding: Hash) -> bytes | None:
        """Return the set that was made of it; None if none was."""
        return self._sets.get(binding)

    def put(self, binding: Hash, payload: bytes) -> bytes:
        """Keep a set, if none is kept; return the one that is."""
        return self._sets.setdefault(binding, payload)


class FileSharedSets:
    """``SharedSets`` in files of a directory, which is made when the first is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def bind(self, *parts: bytes) -> Hash:
        """Return the binding of what is randomised, under this directory's salt."""
        return digest(_DOMAIN_BINDING, self._salt(), *parts)

    def _salt(self) -> bytes:
        file = self.path / "salt"
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            with suppress(FileExistsError):  # another process was faster: its salt holds
                write_file(file, secrets.token_bytes(32), replace=False)
        return file.read_bytes()

    def get(self, binding: Hash) -> bytes | None:
        """Return the set that was made of it; None if none was. ``DamagedError`` if the file has changed."""
        file = self.path / binding.hex()
        try:
            whole = file.read_bytes()
        except FileNotFoundError:
            return None
        payload = whole[_HEAD:]
        if whole[:_HEAD] != MAGIC + sha256(payload).digest():
            raise DamagedError(
                f"shared set {file}: it is not what was written; bring it back from a copy. Without it the device "
                "publishes another one, which costs its privacy again"
            )
        return payload

    def put(self, binding: Hash, payload: bytes) -> bytes:
        """Keep a set, durable on return, if none is kept; return the one that is."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            write_file(self.path / binding.hex(), MAGIC + sha256(payload).digest() + payload, replace=False)
        return self.get(binding) or payload
