"""How a journal of small records is opened, each of which must agree with those before; and when it is to be believed.

Rules of this file: what an entry means is its journal's affair; what can't be read, or contradicts, is damage.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from chain.codec import Record, decode
from chain.errors import CodecError
from storage.errors import JournalError
from storage.recordfile import RecordFile, RecordFormat

T = TypeVar("T", bound=Record)


def open_records(path: Path, form: RecordFormat, kind: type[T], take: Callable[[T], None]) -> RecordFile:
    """Return the file, made if there is none, once ``take`` has had each record of it.

    ``LockedError``, ``SchemaError``; ``DamagedError`` where a record is none of this kind, or ``take`` finds it
    impossible by a ``JournalError``. The file is closed then.
    """
    records = RecordFile(path, form)
    try:
        for place in range(len(records)):
            try:
                take(decode(records[place], kind, form.max_entry_bytes))
            except (CodecError, JournalError) as error:
                raise records.damage_at(place, str(error)) from None
    except BaseException:
        records.close()
        raise
    return records


def need_sure(records: RecordFile, user: str) -> None:
    """Check that no write has failed: what is on disk is not known then, until it is opened again. ``JournalError``."""
    if records.is_unsure:
        raise JournalError(f"an earlier write to {records.path} failed: restart the {user} after mending the disk")
