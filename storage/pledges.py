"""What this node's key has helped to decrypt, on disk before its part leaves (``storage.recordfile``).

One sum a phase of a round: two sums of the same updates but one would show that one. So whoever gives a part of a
decryption pledges itself first: under a subject (the phase of a round of a plan) it stands by one value (the digest of
just the updates whose sum it is), for ever, through restarts, retries and forks.
"""

from pathlib import Path
from typing import Final, Protocol

from chain.codec import Record, encode
from chain.ids import Hash, HashField
from storage.errors import JournalError
from storage.promises import need_sure, open_records
from storage.recordfile import RecordFormat

_FORMAT: Final = RecordFormat(
    name="pledge journal",
    stem=b"fedchain pledge journal ",
    version=1,
    max_entry_bytes=256,
    user="node",
    remedy="it says which sums this node has helped to decrypt, and no backup of it is newer than that. Without it the "
    "node could open a second sum of the same round, which can show a single device's update: move the file away only "
    "if no plan that it helps with is running",
)


class Pledge(Record):
    """Under ``subject`` this node stands by ``value``."""

    subject: HashField
    value: HashField


class PledgeJournal(Protocol):
    """What this node's key stands by, durably, before any part of a decryption leaves the process."""

    def find(self, subject: Hash) -> Hash | None:
        """Return what this node stands by."""
        ...

    def record(self, pledge: Pledge) -> None:
        """Write a pledge; it is durable on return. ``JournalError`` if it contradicts an earlier one."""
        ...

    def close(self) -> None:
        """Release the journal. Twice does no harm."""
        ...


class MemoryPledges:
    """A ``PledgeJournal`` in a dictionary."""

    def __init__(self) -> None:
        self._values: dict[Hash, Hash] = {}

    def find(self, subject: Hash) -> Hash | None:
        """Return what this node stands by."""
        return self._values.get(subject)

    def record(self, pledge: Pledge) -> None:
        """Write a pledge. ``JournalError`` if it contradicts an earlier one."""
        check_pledge(self._values.get(Hash(pledge.subject)), pledge)
        self._values[Hash(pledge.subject)] = Hash(pledge.value)

    def close(self) -> None:
        """Nothing is open."""


class FilePledges:
    """A ``PledgeJournal`` in a file, locked against other processes while it is open."""

    def __init__(self, path: Path) -> None:
        """Open the journal; make it if there is none. ``LockedError``, ``SchemaError``, ``DamagedError``."""
        self.path = path
        self._values: dict[Hash, Hash] = {}
        self._records = open_records(path, _FORMAT, Pledge, self._load)

    def _load(self, pledge: Pledge) -> None:
        check_pledge(self._values.get(Hash(pledge.subject)), pledge)
        self._values[Hash(pledge.subject)] = Hash(pledge.value)

    def find(self, subject: Hash) -> Hash | None:
        """Return what this node stands by."""
        return self._values.get(subject)

    def record(self, pledge: Pledge) -> None:
        """Write a pledge; it is durable on return. The same one again changes nothing.

        ``JournalError`` if it contradicts an earlier one, and for every pledge after a write that failed: what is on
        disk is not known then, until the journal is opened again.
        """
        need_sure(self._records, _FORMAT.user)
        known = self._values.get(Hash(pledge.subject))
        check_pledge(known, pledge)
        if known is None:
            self._records.append(encode(pledge))
            self._values[Hash(pledge.subject)] = Hash(pledge.value)

    def close(self) -> None:
        """Close the file, and with it drop the lock. Twice does no harm."""
        self._records.close()


def check_pledge(known: Hash | None, pledge: Pledge) -> None:
    """Check a pledge against what stands under its subject. ``JournalError`` if that is something else."""
    if known is not None and known != pledge.value:
        raise JournalError(
            f"this node stands by {known.hex()[:16]} under {pledge.subject.hex()[:16]} and can't help with "
            f"{pledge.value.hex()[:16]}: two sums of one round could show a single update"
        )
