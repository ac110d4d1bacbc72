"""A device's own store as a source of training data: rows are opened in memory, and nowhere else.

    store:DIR     in ``[device] data``, or device run --store DIR

Rules of this file: between ``storage.datastore``, which knows bytes, and ``fl.data.rows``, which knows what they mean.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from chain.codec import decode_own, encode
from chain.errors import CodecError
from chain.ids import AccountId, Hash
from fl.data.rows import Cells, column_names, encode_row, encode_stored
from fl.dataset import Dataset
from fl.dataset import rows as count_rows
from fl.errors import DataError
from fl.plan.schema import CountingRole, Role
from storage.datakey import Keyring, Opener, Password, is_in_keyring
from storage.datasegment import Source
from storage.datastate import StoreLimits
from storage.datastore import DataStore, Expired
from storage.errors import DamagedError, StorageError, UseError, WrongPasswordError
from storage.keyrings import SystemKeyring
from storage.seenstores import SeenStores

SCHEME: Final = "store:"
_TRIES: Final = 3

T = TypeVar("T")


def create_store(path: Path, opener: Opener, role: Role, limits: StoreLimits) -> DataStore:
    """Make a store for the rows of a role. ``DataError`` if they are too wide; room ``storage``'s errors."""
    column_names(role)
    return DataStore.create(path, opener, encode(role), limits)


def _decode_role(schema: bytes) -> Role:
    try:
        return decode_own(schema, Role)
    except CodecError:
        return decode_own(schema, CountingRole)  # of a plan that counts


def stored_role(schema: bytes) -> Role:
    """Return the role that a store was made for. ``DamagedError``."""
    try:
        return _decode_role(schema)
    except CodecError as error:
        raise DamagedError(
            f"the data store's schema can't be read ({error}): restore the store from a backup"
        ) from None


def choose_opener(path: Path, password: str | None) -> Opener:
    """Return what opens a store: the keyring if its key is there, else the password. ``WrongPasswordError``."""
    if is_in_keyring(path / "key.json"):
        return Keyring(SystemKeyring())
    if password is None:
        raise WrongPasswordError(f"the data store {path} has a password: give it (--data-password-file)")
    return Password(password)


class OpenedStore:
    """A store with the role it was made for: rows go in as cells that were checked. A context manager."""

    def __init__(self, path: Path, opener: Opener) -> None:
        self.store = DataStore(path, opener)
        self.role = stored_role(self.store.facts().schema)

    def append(self, rows: Sequence[Cells], times: Sequence[int], source: Source | None = None) -> None:
        """Add rows that ``fl.data.rows.check_rows`` let in; durable on return. ``CapacityError``."""
        self.store.append([encode_row(row) for row in rows], times, source)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.store.close()


class StoreSource:
    """A ``fl.data.sources.GrowingSource`` over a data store. Threads may share it."""

    def __init__(
        self,
        store: DataStore,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        seen: SeenStores | None = None,
    ) -> None:
        self._store, self._now_ms = store, now_ms
        self._memory = seen
        self.older_by = 0
        """Changes of the store that this node remembers and the store does not know: it is an old copy."""
        self._remember()
        self._role = stored_role(store.facts().schema)
        self._held = {Hash(hold.plan) for hold in store.holds()}
        self._seen: dict[Hash, tuple[int, int]] = {}
        """By plan: the end and the number of the rows that were read for it last."""

    def _remember(self) -> None:
        """Remember the store as it is now, and note whether it was newer before. ``StorageError``."""
        if self._memory is not None:
            changes = self._store.changes()
            self.older_by = max(0, self._memory.note(self._store.id, changes) - changes)

    @property
    def name(self) -> str:
        """The store's directory."""
        return self._store.path.name

    @property
    def store(self) -> DataStore:
        """The store."""
        return self._store

    def load(self, role: Role) -> Dataset:
        """Return all rows that there are now, encoded for a role of a plan; those whose time is up go first."""
        return self._load_now(role)[0]

    def load_for(self, plan: Hash, role: Role) -> Dataset:
        """Return the rows held for a plan; where none are, all that there are now."""
        hold = _explained(lambda: self._store.held(plan))
        if hold is not None and hold.is_broken:
            raise DataError(
                f"{self.name}: rows that plan {plan.hex()[:16]} is trained on were let go although it holds them; the "
                "device takes no further part in it"
            )
        if hold is not None:
            return _explained(lambda: self._load(role, hold.end))
        data, self._seen[plan] = self._load_now(role)
        return data

    def _load_now(self, role: Role) -> tuple[Dataset, tuple[int, int]]:
        """Return the rows of now with their extent; read again if rows go meanwhile."""
        self.expire()
        for _ in range(_TRIES):
            end, count = _explained(self._store.extent)
            try:
                data = self._load(role, end)
            except UseError:
                continue
            except StorageError as error:
                raise DataError(str(error)) from None
            if count_rows(data) == count:
                return data, (end, count)
        raise DataError(f"{self.name}: rows go faster than they can be read")

    def _load(self, role: Role, end: int) -> Dataset:
        batches = (batch.rows for batch in self._store.read(end))
        return encode_stored(self._role, role, batches, self.name)

    def expire(self) -> Expired:
        """Let the rows go whose time is up and that no plan holds. ``DataError``."""
        expired = _explained(lambda: self._store.expire(self._now_ms()))
        _explained(self._remember)
        return expired

    def hold(self, plan: Hash, device: AccountId) -> bool:
        """Keep the rows that ``load_for`` returned last for this plan, until ``release``; they serve this device."""
        if plan in self._held:
            return True
        if plan not in self._seen:
            return False
        end, count = self._seen[plan]
        try:
            self._store.hold(plan, device, end, count)
            self._remember()
        except UseError:
            return False
        except StorageError as error:
            raise DataError(str(error)) from None
        self._held.add(plan)
        return True

    def held(self) -> frozenset[Hash]:
        """Return the plans for which rows are held."""
        return frozenset(self._held)

    def is_intact(self, plan: Hash) -> bool:
        """Are rows held for a plan, and none of them gone against the hold?"""
        hold = _explained(lambda: self._store.held(plan))
        return hold is not None and not hold.is_broken

    def release(self, plan: Hash) -> None:
        """Hold nothing for this plan any more."""
        _explained(lambda: self._store.release(plan))
        self._held.discard(plan)
        self._seen.pop(plan, None)


def open_data_store(path: Path, opener: Opener, device: AccountId, seen: SeenStores | None = None) -> StoreSource:
    """Return the source of an existing store. ``BoundError`` if it serves another device; room ``storage``'s errors.

    ``seen`` remembers what it was: ``older_by`` of the source says whether this is an old copy.
    """
    store = DataStore(path, opener)
    try:
        bound = store.bound_device()
        if bound is not None and bound != device:
            store.bind_device(device)  # which says whom it serves
        return StoreSource(store, seen=seen)
    except BaseException:
        store.close()
        raise


def _explained(act: Callable[[], T]) -> T:
    """Return what comes of it; a fault of the store is one of the device's data."""
    try:
        return act()
    except StorageError as error:
        raise DataError(str(error)) from None
