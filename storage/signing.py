"""The signing journal on disk: what a validator's key has signed, before the signature leaves (``storage.recordfile``).

A validator that forgot what it signed could sign the contrary, and lose its stake for it. So each intent is on disk
first. When a new epoch begins the file is replaced by one that begins with it: nobody signs in an epoch that is over.

The journal belongs to one key, and there must be one journal a key: two processes with the same key and a journal
each know nothing of each other's signatures. A backup of it is worth nothing as soon as the key has signed again.
"""

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from chain.codec import encode
from chain.ids import Hash
from storage.own import SignedKind, SigningIntent
from storage.promises import need_sure, open_records
from storage.recordfile import RecordFormat
from storage.signatures import Signatures

_FORMAT: Final = RecordFormat(
    name="signing journal",
    stem=b"fedchain signing journal ",
    version=1,
    max_entry_bytes=1024,
    user="validator",
    remedy="it says what this validator has signed, and no backup of it is newer than that. Keep the validator stopped "
    "until the epoch it last signed in is over for certain, then move this file away; or unbond with another node",
)


class FileSigningJournal:
    """A ``SigningJournal`` in a file, locked against other processes while it is open."""

    def __init__(self, path: Path) -> None:
        """Open the journal; make it if there is none. ``LockedError``, ``SchemaError``, ``DamagedError``."""
        self.path = path
        self._signatures = Signatures()
        self._records = open_records(path, _FORMAT, SigningIntent, self._load)

    def _load(self, intent: SigningIntent) -> None:
        if self._signatures.is_new(intent):
            self._signatures.add(intent)

    def record(self, intent: SigningIntent) -> None:
        """Write an intent; it is durable on return.

        ``JournalError`` as the Protocol says, and for every record after a write that failed: what is on disk is not
        known then, until the journal is opened again.
        """
        need_sure(self._records, "node")
        if not self._signatures.is_new(intent):
            return
        if self._signatures.begins_epoch(intent):
            self._records.replace(encode(intent))
        else:
            self._records.append(encode(intent))
        self._signatures.add(intent)

    def signed(self, epoch: int, view: int, kind: SignedKind) -> Hash | None:
        """Return the block for which a message of this kind was signed in this view."""
        return self._signatures.signed(epoch, view, kind)

    def latest(self) -> tuple[int, int] | None:
        """Return the epoch and the highest view in which anything was signed."""
        return self._signatures.latest()

    def entries(self) -> tuple[SigningIntent, ...]:
        """Return the intents of the latest epoch in the order they were recorded."""
        return self._signatures.entries()

    def close(self) -> None:
        """Close the file, and with it drop the lock. Twice does no harm."""
        self._records.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
