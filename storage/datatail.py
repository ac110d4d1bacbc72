"""What a data store had when it acknowledged something last: what has less since then was cut, or is an old copy.

A small sealed file beside the state. It is written after what it speaks of: after a crash the store may have more than
it says, never less.
"""

from pathlib import Path
from typing import Final

from chain.codec import Record, decode_own, encode
from chain.errors import CodecError
from chain.ids import ZERO_HASH, Hash, HashField, Natural
from storage.datakey import StoreKey
from storage.errors import DamagedError
from storage.files import write_file
from storage.sealing import seal, unseal

MAGIC: Final = b"fedchain data tail 1\n"
_PURPOSE: Final = b"fedchain data tail 1"
_REMEDY: Final = "restore the whole store from a backup"


class Tail(Record):
    """The open segment as it was acknowledged last: its number, its entries, the digest of the last of them.

    ``state`` is the state's number of changes at that time, ``changes`` how many there were of anything.
    """

    segment: Natural
    records: Natural
    digest: HashField
    state: Natural
    changes: Natural

    def least(self, segment: int) -> tuple[int, bytes]:
        """Return how many entries a segment must have at least, and the digest of the last of these."""
        return (self.records, Hash(self.digest)) if segment == self.segment else (0, ZERO_HASH)


FIRST: Final = Tail(0, 0, ZERO_HASH, 0, 0)


def write_tail(file: Path, key: StoreKey, tail: Tail) -> None:
    """Put it in the place of the one before; durable on return."""
    write_file(file, MAGIC + seal(key.key, _PURPOSE, encode(tail), MAGIC + key.store))


def read_tail(file: Path, key: StoreKey) -> Tail:
    """Return what was acknowledged last. ``DamagedError`` if the file is not what this store wrote."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise DamagedError(f"data store tail {file}: is missing; {_REMEDY}") from None
    plain = unseal(key.key, _PURPOSE, data[len(MAGIC) :], MAGIC + key.store) if data.startswith(MAGIC) else None
    if plain is None:
        raise DamagedError(f"data store tail {file}: is not what was sealed under this store's key; {_REMEDY}")
    try:
        return decode_own(plain, Tail)
    except CodecError as error:
        raise DamagedError(f"data store tail {file}: is sealed, and no tail ({error}); {_REMEDY}") from None
