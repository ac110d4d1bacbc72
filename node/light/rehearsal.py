"""Trying what the device would do, to learn what it would read, without doing it.

A twin of the device takes the step in a world whose journal and payload store only pretend to write. It ends with the
first key that is not proven yet; that is fetched, and the step is tried again. Once a twin has got through, the device
itself takes the same step in the same state, and can't fail for want of a key: what it journals, it journals once.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from chain.hashing import content_id
from chain.ids import AccountId, Hash
from chain.update import Release
from fl.data.sources import GrowingSource
from fl.dataset import Dataset
from fl.plan.schema import Role
from node.core.turn import JobTable, Turn
from node.light.chain import LightSurroundings
from node.light.proven import UnknownKeyError
from node.roles.device import Device
from node.world import World
from storage.base import PayloadStore
from storage.own import JournalEntry, ReleaseJournal, ResidualStore

Step = Callable[[Device, Turn], None]
"""Something that happens to the device."""


def find_unknown(device: Device, around: LightSurroundings, step: Step, turn: Turn) -> bytes | None:
    """Return the key that keeps the device from taking this step; None if nothing does."""
    twin = device.twin(around.in_world(_pretended(around.world)))
    try:
        around.chain.nonce(around.account)  # whoever is to sign next needs it
        step(twin, Turn(turn.now, JobTable()))
    except UnknownKeyError as unknown:
        return unknown.key
    return None


def _pretended(world: World) -> World:
    return replace(
        world,
        journal=PretendedJournal(world.journal),
        residuals=PretendedResiduals(world.residuals),
        payloads=PretendedPayloads(world.payloads),
        data=PretendedRows(world.data) if isinstance(world.data, GrowingSource) else world.data,
    )


class PretendedRows:
    """Data that grow, of which nothing is held or released; reading is a job's, and no job is run here."""

    def __init__(self, real: GrowingSource) -> None:
        self._real = real

    @property
    def name(self) -> str:
        """What messages call them."""
        return self._real.name

    def load(self, role: Role) -> Dataset:
        """Return all rows that there are now."""
        return self._real.load(role)

    def load_for(self, plan: Hash, role: Role) -> Dataset:
        """Return the rows held for a plan; where none are, all that there are now."""
        return self._real.load_for(plan, role)

    def hold(self, plan: Hash, device: AccountId) -> bool:
        """Pretend."""
        return True

    def held(self) -> frozenset[Hash]:
        """Return the plans for which rows are held."""
        return self._real.held()

    def is_intact(self, plan: Hash) -> bool:
        """Are rows held for a plan, and none of them gone against the hold?"""
        return self._real.is_intact(plan)

    def release(self, plan: Hash) -> None:
        """Pretend."""


class PretendedJournal:
    """A release journal that writes nothing down but knows what it was told."""

    def __init__(self, real: ReleaseJournal) -> None:
        self._real = real
        self._told: dict[tuple[Hash, AccountId], JournalEntry] = {}

    def lookup(self, task: Hash, device: AccountId) -> JournalEntry | None:
        """Return what was released for the task, really or not."""
        return self._told.get((task, device)) or self._real.lookup(task, device)

    def has(self, task: Hash, device: AccountId) -> bool:
        """Was anything released for the task, really or not?"""
        return (task, device) in self._told or self._real.has(task, device)

    def record_all(self, entries: Sequence[JournalEntry]) -> None:
        """Pretend."""
        for entry in entries:
            self.record(entry)

    def record(self, entry: JournalEntry) -> None:
        """Pretend."""
        self._told[entry.task, entry.device] = entry

    def tasks(self) -> tuple[Hash, ...]:
        """Return the tasks for which anything was really released."""
        return self._real.tasks()

    def sample(self, task: Hash) -> Release | None:
        """Return what was really released for a task."""
        return self._real.sample(task)

    def forget(self, over: Collection[Hash]) -> int:
        """Forget nothing."""
        return 0

    def total(self, device: AccountId) -> int:
        """Return the privacy charged so far."""
        return self._real.total(device)

    def spent(self) -> int:
        """Return the loss of what was really released."""
        return self._real.spent()

    def spent_under(self, plan: Hash) -> int:
        """Return the loss of what was really released under a plan."""
        return self._real.spent_under(plan)

    def spent_by(self, device: AccountId, plan: Hash) -> int:
        """Return the loss of what a device really released under a plan."""
        return self._real.spent_by(device, plan)

    def devices(self) -> tuple[AccountId, ...]:
        """Return the devices that really released anything."""
        return self._real.devices()

    def entries(self) -> Iterator[JournalEntry]:
        """Iterate over what was really released."""
        return self._real.entries()

    def close(self) -> None:
        """Do nothing."""


class PretendedResiduals:
    """Residuals that are read and neither kept nor forgotten."""

    def __init__(self, real: ResidualStore) -> None:
        self._real = real

    def get(self, plan: Hash, device: AccountId, task: Hash) -> bytes | None:
        """Return what is really kept."""
        return self._real.get(plan, device, task)

    def put(self, plan: Hash, device: AccountId, task: Hash, kept: bytes, settled: Hash | None) -> None:
        """Pretend."""

    def plans(self) -> tuple[Hash, ...]:
        """Return the plans for which anything is really kept."""
        return self._real.plans()

    def forget(self, plan: Hash) -> None:
        """Pretend."""


class PretendedPayloads:
    """A payload store that writes nothing down but knows what it was told."""

    def __init__(self, real: PayloadStore) -> None:
        self._real = real
        self._told: dict[Hash, bytes] = {}

    def has(self, id: Hash) -> bool:
        """Is this payload here, really or not?"""
        return id in self._told or self._real.has(id)

    def get(self, id: Hash) -> bytes | None:
        """Return a payload."""
        return self._told.get(id) or self._real.get(id)

    def put(self, payload: bytes, sync: bool = False) -> Hash:
        """Pretend."""
        id = content_id(payload)
        self._told[id] = payload
        return id

    def delete(self, id: Hash) -> None:
        """Pretend."""
        self._told.pop(id, None)

    def ids(self) -> Iterator[Hash]:
        """Iterate over the payloads that are really here."""
        return self._real.ids()

    def total_bytes(self) -> int:
        """Return the bytes that are really here."""
        return self._real.total_bytes()

    def payload(self, id: Hash) -> bytes | None:
        """Return a payload."""
        return self.get(id)
