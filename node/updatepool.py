"""The update pool: local updates that wait for a block, one a task and device.

Rules of this file: pure bookkeeping, like the mempool. An update passes through three states, and only the last
one is given to block builders and peers:

    waiting (for its payload) → checking → verified

Attestations are gathered from wherever they come and kept ordered by miner. A second, different update of one
device for one task is refused: an honest device never makes one. Signatures were checked before.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from chain.ids import AccountId, Hash, Height
from chain.payload import PayloadRef
from chain.update import Attestation, AttestedUpdate, LocalUpdate
from node.core.config import PoolLimits

K = TypeVar("K")
V = TypeVar("V")
MAX_ATTESTATIONS = 64


class Stage(StrEnum):
    """How far an update has come."""

    WAITING = "waiting"
    CHECKING = "checking"
    VERIFIED = "verified"


class Intake(StrEnum):
    """What became of an update that was handed in."""

    NEW = "new"
    MERGED = "merged"
    KNOWN = "known"
    CONFLICT = "conflict"
    FULL = "full"


@dataclass(slots=True)
class PooledUpdate:
    """An update in the pool: ``id`` is the release's, ``since`` the head's height when ``source`` sent it."""

    id: Hash
    update: LocalUpdate
    stage: Stage
    since: Height
    source: AccountId | None = None
    attestations: dict[AccountId, Attestation] = field(default_factory=dict)
    _attested: AttestedUpdate | None = None
    _version: Hash | None = None

    @property
    def payload(self) -> PayloadRef:
        """Where its payload is."""
        return self.update.release.payload

    def attested(self) -> AttestedUpdate:
        """Return the update with all its attestations, ordered by miner, as a block carries it."""
        if self._attested is None:
            ordered = [self.attestations[miner] for miner in sorted(self.attestations)]
            self._attested = AttestedUpdate(self.update, tuple(ordered))
        return self._attested

    def version(self) -> Hash:
        """Return the digest of the update with the attestations that are here."""
        if self._version is None:
            self._version = self.attested().version
        return self._version

    def merge(self, attestations: Iterable[Attestation]) -> bool:
        """Add the attestations of miners that have none here yet; was there one?"""
        before = len(self.attestations)
        for attestation in attestations:
            if len(self.attestations) < MAX_ATTESTATIONS:
                self.attestations.setdefault(attestation.miner, attestation)
        if len(self.attestations) == before:
            return False
        self._attested = self._version = None
        return True


class UpdatePool:
    """Local updates in waiting, within ``limits``."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._entries: dict[Hash, PooledUpdate] = {}
        self._by_task: dict[Hash, dict[AccountId, Hash]] = {}
        self._by_payload: dict[Hash, dict[Hash, None]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, id: Hash) -> bool:
        return id in self._entries

    @property
    def size_bytes(self) -> int:
        """The sum of the updates' payload sizes."""
        return self._bytes

    def get(self, id: Hash) -> PooledUpdate | None:
        """Return an update by its release's id."""
        return self._entries.get(id)

    def of_device(self, task: Hash, device: AccountId) -> PooledUpdate | None:
        """Return what the device released for the task, if it waits here."""
        id = self._by_task.get(task, {}).get(device)
        return None if id is None else self._entries[id]

    def entries(self) -> tuple[PooledUpdate, ...]:
        """Return all updates in the order they came."""
        return tuple(self._entries.values())

    def add(self, attested: AttestedUpdate, height: Height, known_id: Hash | None = None) -> Intake:
        """Take an update in, or only the attestations that are new with it. ``known_id``: its id, if that was found."""
        id = attested.id if known_id is None else known_id
        update = attested.update
        release = update.release
        held = self._by_task.get(release.task, {}).get(release.device)
        if held is None:
            if not self._has_room(update):
                return Intake.FULL
            entry = self._entries[id] = PooledUpdate(id, update, Stage.WAITING, height)
            self._by_task.setdefault(release.task, {})[release.device] = id
            self._by_payload.setdefault(release.payload.id, {})[id] = None
            self._bytes += release.payload.size
            entry.merge(attested.attestations)
            return Intake.NEW
        if held != id:
            return Intake.CONFLICT
        return Intake.MERGED if self._entries[held].merge(attested.attestations) else Intake.KNOWN

    def _has_room(self, update: LocalUpdate) -> bool:
        size = update.release.payload.size
        return len(self._entries) < self._limits.updates and self._bytes + size <= self._limits.update_bytes

    def waiting_for(self, payload: Hash) -> tuple[PooledUpdate, ...]:
        """Return the updates that wait for this payload."""
        entries = [self._entries[id] for id in self._by_payload.get(payload, ())]
        return tuple([entry for entry in entries if entry.stage is Stage.WAITING])

    def attest(self, id: Hash, attestation: Attestation) -> bool:
        """Add an attestation; is it new?"""
        entry = self._entries.get(id)
        return entry is not None and entry.merge((attestation,))

    def drop(self, ids: Iterable[Hash]) -> None:
        """Forget these updates."""
        for id in ids:
            entry = self._entries.pop(id, None)
            if entry is not None:
                release = entry.update.release
                _take_out(self._by_task, release.task, release.device)
                _take_out(self._by_payload, release.payload.id, id)
                self._bytes -= release.payload.size

    def of_task(self, task: Hash) -> tuple[PooledUpdate, ...]:
        """Return what devices released for the task, in the order it came."""
        return tuple([self._entries[id] for id in self._by_task.get(task, {}).values()])

    def tasks(self) -> tuple[tuple[Hash, Hash], ...]:
        """Return the tasks that updates in here are for, each with its plan."""
        first = ((task, next(iter(ids.values()))) for task, ids in self._by_task.items())
        return tuple([(task, Hash(self._entries[id].update.release.plan)) for task, id in first])

    def drop_task(self, task: Hash) -> tuple[PooledUpdate, ...]:
        """Forget the updates for a task, and return them."""
        gone = [self._entries[id] for id in self._by_task.get(task, {}).values()]
        self.drop([entry.id for entry in gone])
        return tuple(gone)

    def settle(self, is_wanted: Callable[[LocalUpdate], bool]) -> tuple[PooledUpdate, ...]:
        """Follow a new head: forget the updates nobody can include any more, and return them."""
        gone = [entry for entry in self._entries.values() if not is_wanted(entry.update)]
        self.drop([entry.id for entry in gone])
        return tuple(gone)

    def verified(self) -> tuple[AttestedUpdate, ...]:
        """Return the verified updates in the order they came, each with all its attestations."""
        return tuple([entry.attested() for entry in self._entries.values() if entry.stage is Stage.VERIFIED])


def _take_out(index: dict[Hash, dict[K, V]], key: Hash, member: K) -> None:
    """Take a member out of an index; an empty row goes."""
    row = index[key]
    del row[member]
    if not row:
        del index[key]
