"""A machine's disk: stores in memory that outlive its process, and lose what was not synced when the power fails.

Every write has two moments at which the machine can die: before it took effect and after. A ``Fuse`` counts them,
so that a fault can name the very write. What may be lost is what storage's Protocols leave unsynced:

    chain store   headers and bodies since the last commit or mark, the last ones first (they share one log)
    payloads      any that were not put with ``sync``
    journals      nothing
    certificates  nothing
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from random import Random
from typing import Final

from chain.block import Body, Header, block_id
from chain.hashing import content_id
from chain.ids import AccountId, Hash
from chain.payload import MAX_PAYLOAD_BYTES
from chain.update import LocalUpdate
from storage.base import CommitBatch, FinalBlock, GenesisData, StateChanges
from storage.memory import MemoryCertificateStore, MemoryChainStore, State
from storage.memorystores import MemoryPayloadStore, MemoryReleaseJournal, MemorySigningJournal
from storage.own import JournalEntry, SigningIntent
from storage.pledges import MemoryPledges, Pledge
from storage.residuals import MemoryResiduals
from storage.sharedsets import MemorySharedSets

_STATES_KEPT: Final = 256


class PowerCut(BaseException):
    """The machine died in a write. No program sees this: it goes through everything, like the end itself."""


class Fuse:
    """Counts the moments around writes. Not set, it never burns."""

    def __init__(self) -> None:
        self._left: int | None = None
        self.moments = 0

    def set(self, moments: int | None) -> None:
        """Die after so many moments; None: do not."""
        self._left = moments

    def burn(self) -> None:
        """Pass a moment. ``PowerCut`` if it is the last."""
        self.moments += 1
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._left = None
                raise PowerCut


class SharedStates:
    """States that several machines' disks hold, held once: who changes one state object by one mapping gets one result.

    Nothing is compared but who the two objects are, so what a machine alone has is its own.
    """

    def __init__(self) -> None:
        self._first: State | None = None
        self._known: OrderedDict[tuple[int, int], tuple[State, StateChanges, State]] = OrderedDict()

    def first(self, state: State) -> State:
        """Return the state that every disk begins with."""
        if self._first is None or self._first != state:
            self._first = state
        return self._first

    def get(self, state: State, changes: StateChanges) -> State | None:
        """Return what was made of this state by these changes, if it is known."""
        known = self._known.get((id(state), id(changes)))
        return None if known is None else known[2]

    def keep(self, state: State, changes: StateChanges, result: State) -> None:
        """Remember a result, and the two objects, so that no others can be taken for them."""
        self._known[id(state), id(changes)] = state, changes, result
        if len(self._known) > _STATES_KEPT:
            self._known.popitem(last=False)


class FusedCertificates(MemoryCertificateStore):
    """The certificates beside the chain: what is kept is on disk, and so is all that was written before it."""

    def __init__(self, fuse: Fuse, synced: Callable[[], None]) -> None:
        super().__init__()
        self._fuse = fuse
        self._synced = synced

    def keep_final(self, final: FinalBlock, live: tuple[int, int] | None = None) -> None:
        """Keep the certificate of the highest final block, and of the epoch under way."""
        self._fuse.burn()
        super().keep_final(final, live)
        self._synced()
        self._fuse.burn()

    def keep_epoch(self, epoch: int, proof: bytes) -> None:
        """Keep how an epoch ended."""
        self._fuse.burn()
        super().keep_epoch(epoch, proof)
        self._synced()
        self._fuse.burn()

    def keep_live(self, epoch: int, view: int, message: bytes) -> None:
        """Keep a message of the epoch under way."""
        self._fuse.burn()
        super().keep_live(epoch, view, message)
        self._synced()
        self._fuse.burn()


class VolatileChainStore(MemoryChainStore):
    """The chain store with what the operating system has not written yet."""

    def __init__(self, genesis: GenesisData, fuse: Fuse, states: SharedStates | None = None) -> None:
        super().__init__(genesis)
        self._fuse = fuse
        self._states = states
        if states is not None:
            self._state = states.first(self._state)
        self._unsynced: list[tuple[Hash, ...] | Hash] = []
        self._certificates = FusedCertificates(fuse, self._unsynced.clear)

    def put_headers(self, headers: Iterable[Header]) -> None:
        """Store headers, not synced."""
        self._fuse.burn()
        given = list(headers)
        new = tuple([id for header in given if (id := block_id(header)) not in self._headers])
        super().put_headers(given)
        if new:
            self._unsynced.append(new)
        self._fuse.burn()

    def put_body(self, id: Hash, body: Body) -> None:
        """Store a body, not synced."""
        self._fuse.burn()
        if not self.has_body(id):
            self._unsynced.append(id)
        super().put_body(id, body)
        self._fuse.burn()

    def commit(self, batch: CommitBatch) -> None:
        """Apply a batch; it and all before it are on disk."""
        self._fuse.burn()
        super().commit(batch)
        self._unsynced.clear()
        self._fuse.burn()

    def _changed(self, changes: StateChanges) -> State:
        if self._states is None:
            return super()._changed(changes)
        result = self._states.get(self._state, changes)
        if result is None:
            result = super()._changed(changes)
            self._states.keep(self._state, changes, result)
        return result

    def mark_invalid(self, id: Hash, reason: str) -> None:
        """Remember that a block is invalid; synced."""
        self._fuse.burn()
        super().mark_invalid(id, reason)
        self._unsynced.clear()
        self._fuse.burn()

    def lose(self, random: Random) -> int:
        """Forget some of the last unsynced writes; return how many."""
        count = random.randint(0, len(self._unsynced))
        for _ in range(count):
            last = self._unsynced.pop()
            if isinstance(last, tuple):
                for id in last:
                    self._headers.pop(id, None)
            else:
                self._bodies.pop(last, None)
        self._unsynced.clear()
        return count


class VolatilePayloadStore(MemoryPayloadStore):
    """The payload store with files that have no data on disk yet."""

    def __init__(self, fuse: Fuse, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        super().__init__(max_payload_bytes=max_payload_bytes)
        self._fuse = fuse
        self._unsynced: dict[Hash, None] = {}

    def put(self, payload: bytes, sync: bool = False) -> Hash:
        """Store bytes; durable on return if ``sync``."""
        self._fuse.burn()
        id = content_id(payload)
        if sync:
            self._unsynced.pop(id, None)
        elif not self.has(id):
            self._unsynced[id] = None
        super().put(payload, sync)
        self._fuse.burn()
        return id

    def write_back(self) -> None:
        """Let the operating system write what waits: it does so within half a minute."""
        self._unsynced.clear()

    def lose(self, random: Random) -> int:
        """Forget some of the payloads that were not written; return how many."""
        lost = [id for id in self._unsynced if random.random() < 0.5]
        for id in lost:
            self.delete(id)
        self._unsynced.clear()
        return len(lost)


class FusedJournal(MemoryReleaseJournal):
    """The release journal: what it has recorded is on disk. ``hear`` is told of each release that was."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse
        self.hear: Callable[[LocalUpdate], None] = lambda update: None

    def record(self, entry: JournalEntry) -> None:
        """Keep a release."""
        self._fuse.burn()
        super().record(entry)
        self.hear(entry.update)
        self._fuse.burn()


class FusedResiduals(MemoryResiduals):
    """What the device keeps of its updates: what was put is on disk."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def put(self, plan: Hash, device: AccountId, task: Hash, kept: bytes, settled: Hash | None) -> None:
        """Keep a residual."""
        self._fuse.burn()
        super().put(plan, device, task, kept, settled)
        self._fuse.burn()


class FusedSharedSets(MemorySharedSets):
    """The randomised copies that a device has made: what was put is on disk."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def put(self, binding: Hash, payload: bytes) -> bytes:
        """Keep a set."""
        self._fuse.burn()
        kept = super().put(binding, payload)
        self._fuse.burn()
        return kept


class FusedPledges(MemoryPledges):
    """What a machine has helped to decrypt: what it has recorded is on disk."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def record(self, pledge: Pledge) -> None:
        """Keep a pledge."""
        self._fuse.burn()
        super().record(pledge)
        self._fuse.burn()


class FusedSigningJournal(MemorySigningJournal):
    """The signing journal: what it has recorded is on disk. ``hear`` is told of each intent that was."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse
        self.hear: Callable[[SigningIntent], None] = lambda intent: None

    def record(self, intent: SigningIntent) -> None:
        """Keep an intent."""
        self._fuse.burn()
        super().record(intent)
        self.hear(intent)
        self._fuse.burn()


class Disk:
    """What a machine keeps when its process ends."""

    def __init__(self, genesis: GenesisData, states: SharedStates | None = None) -> None:
        self._genesis = genesis
        self._states = states
        self.fuse = Fuse()
        self.wipe()
        self.journal = FusedJournal(self.fuse)
        self.residuals = FusedResiduals(self.fuse)
        self.shared_sets = FusedSharedSets(self.fuse)
        self.pledges = FusedPledges(self.fuse)
        self.signing = FusedSigningJournal(self.fuse)
        self.addresses: tuple[str, ...] = ()

    def wipe(self) -> None:
        """Begin anew without chain and payloads, as after the loss of a database; journals are files of their own."""
        self.chain = VolatileChainStore(self._genesis, self.fuse, self._states)
        self.payloads = VolatilePayloadStore(self.fuse)

    def lose_unsynced(self, random: Random) -> int:
        """Do what a power cut does to what was not synced; return how many writes are gone."""
        return self.chain.lose(random) + self.payloads.lose(random)
