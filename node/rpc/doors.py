"""What the methods need of the node that runs them: questions about its state, orders for its core, a few figures.

Rules of this file: no behaviour but reading. The service implements ``NodeDoors``; tests can too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from chain.block import Header
from chain.codec import Record
from chain.genesis import Genesis
from chain.ids import AccountId, Hash
from chain.transaction import SignedTransaction
from node.core.trust import Trust
from node.effects import Outcome
from node.events import Event
from node.status import AgreementStatus, Liar, Status
from p2p.events import PeerInfo
from p2p.saved import SavedBan
from storage.backup import BackupReport
from storage.base import ChainStore, StateSnapshot

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reader:
    """One consistent look at the node's state: ``view`` is the state after block ``view.tip``, whatever comes later."""

    genesis: Genesis
    store: ChainStore
    view: StateSnapshot

    @property
    def head(self) -> Header:
        """The header of the block after which ``view`` is the state."""
        header = self.store.header(self.view.tip)
        if header is None:
            raise LookupError(f"the store has no header of its own tip {self.view.tip.hex()}")
        return header


@dataclass(frozen=True, slots=True)
class LightReader(Reader):
    """The same for a node without a chain: ``header`` is that of the block after which ``view`` is the state."""

    header: Header

    @property
    def head(self) -> Header:
        """The header of the block after which ``view`` is the state."""
        return self.header


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """What waits for blocks."""

    transactions: int
    transaction_bytes: int
    updates: int
    update_bytes: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What the service knows of itself. ``listening`` is HOST:PORT, "" if it accepts no connections."""

    version: str
    status: Status
    finalized: int
    agreement: AgreementStatus | None
    listening: str
    roles: tuple[str, ...]
    pools: PoolFigures
    trust: Trust
    liars: tuple[Liar, ...]
    uptime_s: float
    job_threads: int


class NodeDoors(Protocol):
    """A running node, as its RPC sees it. Used from the event loop's thread."""

    @property
    def genesis(self) -> Genesis:
        """The network's genesis."""
        ...

    @property
    def account(self) -> AccountId:
        """The node's own account."""
        ...

    async def head(self) -> tuple[Hash, Header]:
        """Return the id and the header of the head: of the block after which the state is, or is looked at."""
        ...

    async def read(self, question: Callable[[Reader], T]) -> T:
        """Return what ``question`` finds in a snapshot; it runs in another thread."""
        ...

    async def ask(self, order: Callable[[int], Event]) -> Outcome:
        """Give the core an order, made with the number of this request, and return what came of it."""
        ...

    async def payload(self, id: Hash) -> bytes | None:
        """Return a payload's bytes, checked against their id; None if it is not stored here."""
        ...

    async def figures(self) -> Figures:
        """Return the service's own figures."""
        ...

    async def peers(self) -> tuple[PeerInfo, ...]:
        """Return the connected peers."""
        ...

    async def bans(self) -> tuple[SavedBan, ...]:
        """Return who is not spoken to, and why."""
        ...

    async def addresses(self) -> tuple[int, int, tuple[str, ...]]:
        """Return how many addresses worked, how many were only heard of, and which a restart would dial first."""
        ...

    async def waiting(self) -> tuple[SignedTransaction, ...]:
        """Return the transactions that wait for a block."""
        ...

    async def waiting_transaction(self, id: Hash) -> SignedTransaction | None:
        """Return a transaction that waits for a block."""
        ...

    async def next_nonce(self, account: AccountId, in_state: int) -> int:
        """Return the nonce after an account's waiting transactions; ``in_state`` is the one the state asks for."""
        ...

    async def role_report(self, role: str) -> Record | None:
        """Return what a role ("miner", "device", "fleet") of this node does, None if it is not played."""
        ...

    async def back_up(self, directory: str) -> tuple[Path, BackupReport]:
        """Copy chain and payloads, as they are now, into a new directory; return where it is. ``StorageError``."""
        ...

    def stop(self, reason: str) -> None:
        """Begin to stop the node."""
        ...
