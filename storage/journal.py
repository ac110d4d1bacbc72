"""The release journal on disk: one append-only file that a device's word depends on (``storage.recordfile``).

A device that forgot what it released would release again, with other noise, and its privacy loss would be more than
anybody counted. So a release is on disk before it leaves the process, and the same task gets the same bytes for ever.

The journal lies with the device's data, not with the chain: a device that syncs anew keeps it.

A fleet's grows by gigabytes. So entries of tasks that are over for good may be put into one summary (``forget``), which
is then the first record. A new file with it and all other entries takes the old one's place: a process that is killed
leaves the one or the other.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.ids import AccountId, Hash
from chain.payload import MAX_PAYLOAD_BYTES
from chain.update import Release
from storage.errors import JournalError
from storage.own import JournalEntry
from storage.recordfile import HEAD_BYTES, RecordFile, RecordFormat
from storage.releases import COMPACT_BYTES, Releases, ReleaseSummary, is_worth

MAX_ENTRY_BYTES: Final = MAX_PAYLOAD_BYTES + 4096
_FORMAT: Final = RecordFormat(
    name="release journal",
    stem=b"fedchain release journal ",
    version=2,
    max_entry_bytes=MAX_ENTRY_BYTES,
    older=(1,),
    user="device",
    remedy="restore a backup of it. Without it the device may release twice for one task and spend more privacy than "
    "it counts: if there is no backup, give the device a new key",
)
MAGIC: Final = _FORMAT.magic

__all__ = ["HEAD_BYTES", "MAGIC", "MAX_ENTRY_BYTES", "FileReleaseJournal"]


class FileReleaseJournal:
    """A ``ReleaseJournal`` in a file, locked against other processes while it is open."""

    def __init__(self, path: Path, compact_bytes: int = COMPACT_BYTES) -> None:
        """Open the journal; make it if there is none. ``LockedError``, ``SchemaError``, ``DamagedError``."""
        self.path, self._compact_bytes = path, compact_bytes
        self._records = RecordFile(path, _FORMAT)
        try:
            summary = self._read_summary()
            self._releases = Releases(summary)
            self._first = 0 if summary is None else 1
            for place in range(self._first, len(self._records)):
                self._releases.add(self._at(place), place)
        except BaseException:
            self.close()
            raise

    def _read_summary(self) -> ReleaseSummary | None:
        """Return the first record, if it is a summary."""
        if not len(self._records):
            return None
        try:
            return decode(self._records[0], ReleaseSummary, MAX_ENTRY_BYTES)
        except CodecError:
            return None  # an entry, or damage that is told where entries are read

    def _at(self, place: int) -> JournalEntry:
        try:
            return decode(self._records[place], JournalEntry, MAX_ENTRY_BYTES)
        except CodecError as error:
            raise self._records.damage_at(place, str(error)) from None

    def lookup(self, task: Hash, device: AccountId) -> JournalEntry | None:
        """Return what this device released for this task."""
        place = self._releases.find(task, device)
        return None if place is None else self._at(place)

    def has(self, task: Hash, device: AccountId) -> bool:
        """Has this device released anything for this task, or is it over? Nothing is read."""
        return self._releases.is_over(task) or self._releases.find(task, device) is not None

    def record(self, entry: JournalEntry) -> None:
        """Write a release; it is durable on return.

        ``JournalError`` as the Protocol says, and for every record after a write that failed: what is on disk is not
        known then, until the journal is opened again.
        """
        self.record_all([entry])

    def record_all(self, entries: Sequence[JournalEntry]) -> None:
        """Write releases of many devices with one flush; all are durable on return. ``JournalError`` as ``record``."""
        if self._records.is_unsure:
            raise JournalError(f"an earlier write to {self.path} failed: restart the device after mending the disk")
        pending: dict[AccountId, JournalEntry] = {}
        for entry in entries:
            if entry.device in pending:  # what it may release now follows from what it released before
                self._write(pending.values())
                pending.clear()
            if self._releases.is_new(entry, self.lookup(entry.task, entry.device)):
                pending[entry.device] = entry
        self._write(pending.values())

    def _write(self, entries: Collection[JournalEntry]) -> None:
        """Append new entries, each of another device."""
        encoded = list(map(encode, entries))
        if not encoded:
            return
        longest = max(map(len, encoded))
        if longest > MAX_ENTRY_BYTES:
            raise JournalError(f"a release of {longest} bytes; at most {MAX_ENTRY_BYTES} are allowed")
        first = len(self._records)
        self._records.append_all(encoded)
        for place, entry in enumerate(entries, first):
            self._releases.add(entry, place)

    def tasks(self) -> tuple[Hash, ...]:
        """Return the tasks that have entries."""
        return self._releases.tasks()

    def sample(self, task: Hash) -> Release | None:
        """Return one of the releases for a task."""
        place = self._releases.first(task)
        return None if place is None else self._at(place).update.release

    def forget(self, over: Collection[Hash]) -> int:
        """Put the entries of tasks that are over into a summary, if that is worth a new file; return the bytes freed.

        ``JournalError`` after a write that failed, as for ``record``.
        """
        gone = set(self._releases.places(over))
        freed = sum(map(self._records.size, gone))
        if not is_worth(freed, self._records.total_bytes, self._compact_bytes):
            return 0
        if self._records.is_unsure:
            raise JournalError(f"an earlier write to {self.path} failed: restart the device after mending the disk")
        left = [place for place in range(self._first, len(self._records)) if place not in gone]
        summary = self._releases.summary(over, (self._at(place) for place in left))
        before = self._records.total_bytes
        self._records.replace_all(chain([encode(summary)], (self._records[place] for place in left)))
        self._releases, self._first = Releases(summary), 1
        for place in range(1, len(self._records)):
            self._releases.add(self._at(place), place)
        return before - self._records.total_bytes

    def total(self, device: AccountId) -> int:
        """Return the device's cumulative privacy loss over all entries, in micro-zCDP."""
        return self._releases.total(device)

    def spent(self) -> int:
        """Return the loss of all entries, whatever key made them."""
        return self._releases.spent()

    def spent_under(self, plan: Hash) -> int:
        """Return the losses of all entries of a plan, in micro-zCDP."""
        return self._releases.spent_under(plan)

    def spent_by(self, device: AccountId, plan: Hash) -> int:
        """Return the losses of a device's entries of a plan, in micro-zCDP."""
        return self._releases.spent_by(device, plan)

    def devices(self) -> tuple[AccountId, ...]:
        """Return the devices that have entries, in the order of their first ones."""
        return self._releases.devices()

    def entries(self) -> Iterator[JournalEntry]:
        """Iterate over all entries in the order they were recorded."""
        for place in range(self._first, len(self._records)):
            yield self._at(place)

    def close(self) -> None:
        """Close the file, and with it drop the lock. Twice does no harm."""
        self._records.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
