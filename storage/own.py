"""What the stores of this node's own things offer: its releases, what devices keep of them, its signatures, its keys.

Nobody else has them, so what is lost here is lost; what the chain is (``storage.base``) can be had from others again.

Rules of this file: shapes alone. ``storage.journal``, ``storage.residuals``, ``storage.signing`` and
``storage.keystore`` keep them on disk; twins in memory (``storage.memorystores``), for tests and the simulator, pass
the same tests.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from chain.codec import Record
from chain.ids import AccountId, Hash, HashField, Natural
from chain.keys import KeyPair
from chain.update import LocalUpdate, Release


class JournalEntry(Record):
    """One release as it goes out: the signed update and its payload, the same bytes for ever."""

    update: LocalUpdate
    payload: bytes

    @property
    def task(self) -> Hash:
        """The task's digest."""
        return self.update.release.task

    @property
    def device(self) -> AccountId:
        """The releasing device."""
        return self.update.release.device


class ReleaseJournal(Protocol):
    """What each device has released, durably, before it left the process."""

    def lookup(self, task: Hash, device: AccountId) -> JournalEntry | None:
        """Return what this device released for this task."""
        ...

    def has(self, task: Hash, device: AccountId) -> bool:
        """Has this device released anything for this task, or were its entries forgotten?"""
        ...

    def tasks(self) -> tuple[Hash, ...]:
        """Return the tasks that have entries."""
        ...

    def sample(self, task: Hash) -> Release | None:
        """Return one of the releases for a task; None if it has no entries."""
        ...

    def forget(self, over: Collection[Hash]) -> int:
        """Put the entries of tasks that are over, for good, into a summary, if that is worth the work.

        Nothing is released for such a task any more, by any device, and what its releases lost is counted on. Return
        the bytes that are freed; 0 if nothing was done. Durable on return.
        """
        ...

    def record(self, entry: JournalEntry) -> None:
        """Write a release; it is durable on return.

        The same entry again changes nothing. ``JournalError`` if another was recorded for its task and device,
        if its payload is not the one its update names, or if its cumulative total falls short of what the
        device has spent.
        """
        ...

    def record_all(self, entries: Sequence[JournalEntry]) -> None:
        """Write releases of many devices, with one flush where they differ; all are durable on return.

        ``JournalError`` as ``record`` raises it: then some of them may be written, and none may leave.
        """
        ...

    def total(self, device: AccountId) -> int:
        """Return the device's cumulative privacy loss over all entries, in micro-zCDP."""
        ...

    def spent(self) -> int:
        """Return the loss of all entries, whatever key made them: what the data that lie with the journal have lost.

        An entry's total counts where it is more than the losses before it add up to.
        """
        ...

    def spent_under(self, plan: Hash) -> int:
        """Return the losses of all entries of a plan, in micro-zCDP."""
        ...

    def spent_by(self, device: AccountId, plan: Hash) -> int:
        """Return the losses of a device's entries of a plan, in micro-zCDP."""
        ...

    def devices(self) -> tuple[AccountId, ...]:
        """Return the devices that have entries, in the order of their first ones."""
        ...

    def entries(self) -> Iterator[JournalEntry]:
        """Iterate over all entries in the order they were recorded."""
        ...

    def close(self) -> None:
        """Release the journal. Twice does no harm."""
        ...


class ResidualStore(Protocol):
    """What the devices of this node keep of their updates from round to round (``storage.residuals``).

    It belongs to a release: it is what the device keeps if that settles. What is put is durable on return.
    """

    def get(self, plan: Hash, device: AccountId, task: Hash) -> bytes | None:
        """Return what a device keeps if its release for this task settles; None if it is not here."""
        ...

    def put(self, plan: Hash, device: AccountId, task: Hash, kept: bytes, settled: Hash | None) -> None:
        """Keep it. ``settled``: the task of the last release that did settle; its own and the latest few stay."""
        ...

    def plans(self) -> tuple[Hash, ...]:
        """Return the plans for which anything is kept, sorted."""
        ...

    def forget(self, plan: Hash) -> None:
        """Keep nothing of this plan any more."""
        ...


SignedKind = Literal["propose", "notarize", "nullify", "finalize"]
"""What a validator signs; a block proposed again is proposed."""


class SigningIntent(Record):
    """What a validator is about to sign: a message of this kind in this view, for this block (zeros if for none)."""

    epoch: Natural
    view: Natural
    kind: SignedKind
    block: HashField


class SigningJournal(Protocol):
    """What one key has signed as a validator, durably, before each signature left the process.

    It holds the latest epoch alone: whoever has signed in an epoch signs in no earlier one.
    """

    def record(self, intent: SigningIntent) -> None:
        """Write an intent; it is durable on return, and only then may the signature leave.

        The same intent again changes nothing. ``JournalError`` if it would contradict what was signed before: another
        block in one view by a message of the same kind, finalize and nullify in one view, or an earlier epoch.
        """
        ...

    def signed(self, epoch: int, view: int, kind: SignedKind) -> Hash | None:
        """Return the block for which a message of this kind was signed in this view."""
        ...

    def latest(self) -> tuple[int, int] | None:
        """Return the epoch and the highest view in which anything was signed; None if nothing was."""
        ...

    def entries(self) -> tuple[SigningIntent, ...]:
        """Return the intents of the latest epoch in the order they were recorded."""
        ...

    def close(self) -> None:
        """Release the journal. Twice does no harm."""
        ...


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a keystore says about a key without opening it."""

    name: str
    account: AccountId
    is_encrypted: bool


class Keystore(Protocol):
    """Named Ed25519 keys."""

    def list_keys(self) -> tuple[KeyInfo, ...]:
        """Return all keys in ascending order of name."""
        ...

    def find(self, name: str) -> KeyInfo:
        """Return one key's public facts. ``KeystoreError`` if there is none of that name."""
        ...

    def add(self, name: str, key: KeyPair, password: str | None = None) -> KeyInfo:
        """Keep a key under a new name. ``KeystoreError`` for a name that is taken or not allowed."""
        ...

    def load(self, name: str, password: str | None = None) -> KeyPair:
        """Return a key. ``WrongPasswordError`` if the password is missing, wrong or not needed."""
        ...

    def change_password(self, name: str, old: str | None, new: str | None) -> KeyInfo:
        """Keep a key under another password; None = unencrypted. Errors as ``load``."""
        ...
