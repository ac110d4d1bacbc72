"""What a data store knows of itself: its schema and limits, its segments, its device, who holds which rows.

One sealed file that is whole or not there. It is written before anything that relies on it: a segment is in the table
before the next one begins, a device is bound and a plan's rows are held before anything learnt from them leaves.
"""

from pathlib import Path
from typing import Final, Literal

from chain.codec import Record, decode_own, encode
from chain.errors import CodecError
from chain.ids import AccountField, HashField, Natural
from storage.datakey import StoreKey
from storage.errors import DamagedError, SchemaError
from storage.files import write_file
from storage.sealing import seal, unseal

MAGIC: Final = b"fedchain data store 1\n"
_STEM: Final = b"fedchain data store "
_PURPOSE: Final = b"fedchain data state 1"

WhenFull = Literal["refuse", "drop-oldest"]


class StoreLimits(Record):
    """How much a store keeps, and how long.

    max_bytes       of all its segments
    when_full       what happens to rows that find no room: they are refused, or the oldest segment goes
    max_age_ms      rows older than this go; 0 = none does
    segment_bytes   a segment of so many bytes is closed and the next one begun
    """

    max_bytes: Natural
    when_full: WhenFull
    max_age_ms: Natural
    segment_bytes: Natural


class ClosedSegment(Record):
    """A segment that nothing is added to any more: what it must be, and what is in it."""

    number: Natural
    records: Natural
    digest: HashField
    bytes: Natural
    rows: Natural
    first: Natural
    end: Natural
    oldest: Natural
    newest: Natural


class Hold(Record):
    """A plan trains on the rows below ``end``, of which there were ``rows`` when it was joined.

    ``is_broken``: their holder has insisted on their age since, and some are gone.
    """

    plan: HashField
    end: Natural
    rows: Natural
    is_broken: bool = False


class DataState(Record):
    """The state of a data store.

    ``open`` is the segment that is written to, ``open_first`` the number of its first row, ``next`` the first number
    that no segment has had. ``removed`` counts the rows that expired or made room, ``changes`` those of this record.
    """

    schema: bytes
    limits: StoreLimits
    device: AccountField | None
    holds: tuple[Hold, ...]
    closed: tuple[ClosedSegment, ...]
    open: Natural
    open_first: Natural
    next: Natural
    removed: Natural
    changes: Natural = 0


def write_state(file: Path, key: StoreKey, state: DataState) -> None:
    """Put a state in the place of the one before; durable on return."""
    write_file(file, MAGIC + seal(key.key, _PURPOSE, encode(state), MAGIC + key.store))


def read_state(file: Path, key: StoreKey) -> DataState:
    """Return a store's state. ``DamagedError`` if it is not what this store wrote; ``SchemaError``."""
    remedy = "restore the whole store from a backup"
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise DamagedError(f"data store state {file}: is missing; {remedy}") from None
    if not data.startswith(MAGIC):
        if data.startswith(_STEM):
            raise SchemaError(f"{file} was written by another version of fedchain: use that version")
        raise DamagedError(f"data store state {file}: does not begin as such a file does; {remedy}")
    plain = unseal(key.key, _PURPOSE, data[len(MAGIC) :], MAGIC + key.store)
    if plain is None:
        raise DamagedError(f"data store state {file}: is not what was sealed under this store's key; {remedy}")
    try:
        return decode_own(plain, DataState)
    except CodecError as error:
        raise DamagedError(f"data store state {file}: is sealed, and no state ({error}); {remedy}") from None
