"""The other stores in memory, twins of those on disk: payloads, journals, keys. The chain's is ``storage.memory``."""

from collections.abc import Collection, Iterator, Sequence

from chain.hashing import content_id
from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from chain.payload import MAX_PAYLOAD_BYTES
from chain.update import Release
from storage.capacity import check_capacity
from storage.errors import KeystoreError, UseError, WrongPasswordError
from storage.keystore import check_given, check_name, check_password
from storage.own import JournalEntry, KeyInfo, SignedKind, SigningIntent
from storage.releases import COMPACT_BYTES, Releases, is_worth
from storage.signatures import Signatures


class MemoryPayloadStore:
    """A ``PayloadStore`` in a dictionary."""

    def __init__(self, *, max_payload_bytes: int = MAX_PAYLOAD_BYTES, max_total_bytes: int | None = None) -> None:
        self._max_payload_bytes = max_payload_bytes
        self._max_total_bytes = max_total_bytes
        self._payloads: dict[Hash, bytes] = {}
        self._total = 0

    def has(self, id: Hash) -> bool:
        """Is this payload stored?"""
        return id in self._payloads

    def get(self, id: Hash) -> bytes | None:
        """Return the payload; None if not stored."""
        return self._payloads.get(id)

    def payload(self, id: Hash, /) -> bytes | None:
        """Return what ``get`` does."""
        return self.get(id)

    def put(self, payload: bytes, sync: bool = False) -> Hash:
        """Store bytes and return their id."""
        id = content_id(payload)
        if id not in self._payloads:
            check_capacity(len(payload), self._total, self._max_payload_bytes, self._max_total_bytes)
            self._payloads[id] = payload
            self._total += len(payload)
        return id

    def delete(self, id: Hash) -> None:
        """Forget a payload."""
        payload = self._payloads.pop(id, None)
        if payload is not None:
            self._total -= len(payload)

    def ids(self) -> Iterator[Hash]:
        """Iterate over the ids of all payloads, in ascending order."""
        yield from sorted(self._payloads)

    def total_bytes(self) -> int:
        """Return the sum of the sizes of all payloads."""
        return self._total


class MemoryReleaseJournal:
    """A ``ReleaseJournal`` in a list."""

    def __init__(self, compact_bytes: int = COMPACT_BYTES) -> None:
        self._compact_bytes = compact_bytes
        self._releases = Releases()
        self._entries: list[JournalEntry] = []
        self._is_closed = False

    def lookup(self, task: Hash, device: AccountId) -> JournalEntry | None:
        """Return what this device released for this task."""
        position = self._releases.find(task, device)
        return None if position is None else self._entries[position]

    def has(self, task: Hash, device: AccountId) -> bool:
        """Has this device released anything for this task, or is it over?"""
        return self._releases.is_over(task) or self._releases.find(task, device) is not None

    def tasks(self) -> tuple[Hash, ...]:
        """Return the tasks that have entries."""
        return self._releases.tasks()

    def sample(self, task: Hash) -> Release | None:
        """Return one of the releases for a task."""
        place = self._releases.first(task)
        return None if place is None else self._entries[place].update.release

    def forget(self, over: Collection[Hash]) -> int:
        """Put the entries of tasks that are over into a summary; return the bytes of their payloads."""
        gone = set(self._releases.places(over))
        freed = sum(len(self._entries[place].payload) for place in gone)
        if not is_worth(freed, sum(len(entry.payload) for entry in self._entries), self._compact_bytes):
            return 0
        left = [entry for place, entry in enumerate(self._entries) if place not in gone]
        self._releases, self._entries = Releases(self._releases.summary(over, left)), left
        for place, entry in enumerate(left):
            self._releases.add(entry, place)
        return freed

    def record_all(self, entries: Sequence[JournalEntry]) -> None:
        """Keep releases, one after the other."""
        for entry in entries:
            self.record(entry)

    def record(self, entry: JournalEntry) -> None:
        """Keep a release."""
        if self._is_closed:
            raise UseError("the release journal is closed")
        known = self.lookup(entry.task, entry.device)
        if self._releases.is_new(entry, known):
            self._releases.add(entry, len(self._entries))
            self._entries.append(entry)

    def total(self, device: AccountId) -> int:
        """Return the device's cumulative privacy loss in micro-zCDP."""
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
        yield from self._entries

    def close(self) -> None:
        """Refuse later records."""
        self._is_closed = True

    def reopen(self) -> "MemoryReleaseJournal":
        """Return this journal opened again, as a process that restarts finds it."""
        self._is_closed = False
        return self


class MemorySigningJournal:
    """A ``SigningJournal`` in a dictionary."""

    def __init__(self) -> None:
        self._signatures = Signatures()
        self._is_closed = False

    def record(self, intent: SigningIntent) -> None:
        """Keep an intent."""
        if self._is_closed:
            raise UseError("the signing journal is closed")
        if self._signatures.is_new(intent):
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
        """Refuse later records."""
        self._is_closed = True

    def reopen(self) -> "MemorySigningJournal":
        """Return this journal opened again, as a process that restarts finds it."""
        self._is_closed = False
        return self


class MemoryKeystore:
    """A ``Keystore`` in a dictionary, passwords beside the keys: for tests, it protects nothing."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[KeyPair, str | None]] = {}

    def list_keys(self) -> tuple[KeyInfo, ...]:
        """Return all keys in ascending order of name."""
        return tuple([self.find(name) for name in sorted(self._keys)])

    def find(self, name: str) -> KeyInfo:
        """Return one key's public facts."""
        key, password = self._get(name)
        return KeyInfo(name, key.account, password is not None)

    def _get(self, name: str) -> tuple[KeyPair, str | None]:
        entry = self._keys.get(check_name(name))
        if entry is None:
            raise KeystoreError(f"there is no key {name!r} in memory")
        return entry

    def add(self, name: str, key: KeyPair, password: str | None = None) -> KeyInfo:
        """Keep a key under a new name."""
        if check_name(name) in self._keys:
            raise KeystoreError(f"there is already a key {name!r}: choose another name")
        check_password(password)
        self._keys[name] = (key, password)
        return self.find(name)

    def load(self, name: str, password: str | None = None) -> KeyPair:
        """Return a key."""
        key, expected = self._get(name)
        check_given(name, password, is_encrypted=expected is not None)
        if password != expected:
            raise WrongPasswordError(f"wrong password for key {name!r}")
        return key

    def change_password(self, name: str, old: str | None, new: str | None) -> KeyInfo:
        """Keep a key under another password; None = unencrypted."""
        key = self.load(name, old)
        check_password(new)
        self._keys[name] = (key, new)
        return self.find(name)
