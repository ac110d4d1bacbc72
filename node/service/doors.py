"""The service as its RPC sees it: questions go to snapshots in reader threads, orders to the core.

Rules of this file: the core works in its own thread; whatever is read of it is read between two events
(``Runner.look``).
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from chain.block import Header, block_id
from chain.codec import Record
from chain.genesis import Genesis
from chain.ids import AccountId, Hash
from chain.transaction import SignedTransaction
from node.core.core import NodeCore
from node.effects import Outcome
from node.events import Event
from node.light.core import LightCore
from node.light.proven import UnknownKeyError
from node.light.reading import ProvenSnapshot
from node.rpc.doors import Figures, LightReader, PoolFigures, Reader
from node.rpc.jsonrpc import BUSY, NOT_FOUND, RpcError
from node.rpc.methods import package_version
from node.service.runner import Runner
from node.world import World
from p2p.events import PeerInfo
from p2p.saved import SavedBan
from storage.backup import BackupReport

T = TypeVar("T")
_READERS: Final = 2
_REPLY_S: Final = 30.0


class ServiceDoors:
    """Implements ``node.rpc.doors.NodeDoors`` over a running core."""

    def __init__(
        self,
        world: World,
        core: NodeCore | LightCore,
        runner: Runner,
        *,
        listening: str,
        roles: tuple[str, ...],
        job_threads: int,
        stop: Callable[[str], None],
        back_up: Callable[[str], tuple[Path, BackupReport]],
    ) -> None:
        self._world = world
        self._core = core
        self._runner = runner
        self.listening = listening
        self._roles = roles
        self._job_threads = job_threads
        self._stop = stop
        self._back_up = back_up
        self._backup = asyncio.Lock()
        self._started = time.monotonic()
        self._readers = ThreadPoolExecutor(_READERS, "read")

    @property
    def genesis(self) -> Genesis:
        """The network's genesis."""
        return self._world.genesis

    @property
    def account(self) -> AccountId:
        """The node's own account."""
        return self._world.key.account

    async def head(self) -> tuple[Hash, Header]:
        """Return the head's id and header."""
        head = await self._runner.look(lambda: self._core.chain.head)
        return block_id(head), head

    async def read(self, question: Callable[[Reader], T]) -> T:
        """Return what ``question`` finds in a snapshot; it runs in a reader thread.

        A light node knows what its device has just read; other questions end with an ``RpcError``.
        """
        core = self._core
        if isinstance(core, LightCore):
            return await self._runner.look(lambda: self._look_lightly(core, question))
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, question)

    def _look_lightly(self, core: LightCore, question: Callable[[Reader], T]) -> T:
        state = core.chain.proven
        try:
            if state is None:
                raise UnknownKeyError(b"")
            with ProvenSnapshot(state) as view:
                return question(LightReader(self._world.genesis, self._world.store, view, state.point.header))
        except UnknownKeyError:
            cause = "this is a light node: it knows of the chain only what its device has just looked at"
            raise RpcError(NOT_FOUND, cause, "ask a full node") from None

    def _look(self, question: Callable[[Reader], T]) -> T:
        with self._world.store.view() as view:
            return question(Reader(self._world.genesis, self._world.store, view))

    async def payload(self, id: Hash) -> bytes | None:
        """Return a payload's bytes, read in a reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._world.payloads.get, id)

    async def ask(self, order: Callable[[int], Event]) -> Outcome:
        """Give the core an order and return what came of it."""
        try:
            async with asyncio.timeout(_REPLY_S):
                return await self._runner.ask(order)
        except TimeoutError:
            raise RpcError(BUSY, f"the node did not answer in {_REPLY_S:g} s", "try again later") from None

    async def figures(self) -> Figures:
        """Return the service's own figures."""
        return await self._runner.look(self._figures)

    def _figures(self) -> Figures:
        core = self._core
        return Figures(
            version=package_version(),
            status=core.status(self._runner.now()),
            finalized=core.finalized(),
            agreement=core.agreement_status(),
            listening=self.listening,
            roles=self._roles,
            pools=PoolFigures(*core.pool_sizes()),
            trust=core.trust(),
            liars=core.liars(),
            uptime_s=round(time.monotonic() - self._started, 3),
            job_threads=self._job_threads,
        )

    async def peers(self) -> tuple[PeerInfo, ...]:
        """Return the connected peers."""
        return await self._runner.look(self._core.peers)

    async def bans(self) -> tuple[SavedBan, ...]:
        """Return who is not spoken to, and why."""
        return await self._runner.look(lambda: self._core.network.bans(self._runner.now()))

    async def addresses(self) -> tuple[int, int, tuple[str, ...]]:
        """Return how many addresses worked, how many were only heard of, and which a restart would dial first."""
        network = self._core.network
        (tried, new), anchors = await self._runner.look(lambda: (network.address_figures(), network.anchors()))
        return tried, new, anchors

    async def waiting(self) -> tuple[SignedTransaction, ...]:
        """Return the transactions that wait for a block."""
        return await self._runner.look(self._core.pending_transactions)

    async def waiting_transaction(self, id: Hash) -> SignedTransaction | None:
        """Return a transaction that waits for a block."""
        return await self._runner.look(lambda: self._core.pending_transaction(id))

    async def next_nonce(self, account: AccountId, in_state: int) -> int:
        """Return the nonce after an account's waiting transactions."""
        try:
            return max(in_state, await self._runner.look(lambda: self._core.next_nonce(account)))
        except UnknownKeyError:
            return in_state

    async def role_report(self, role: str) -> Record | None:
        """Return what a role of this node does, None if it is not played."""
        core = self._core
        ask = {"miner": core.miner_status, "device": core.device_status, "fleet": core.fleet_status}[role]
        return await self._runner.look(ask)

    async def back_up(self, directory: str) -> tuple[Path, BackupReport]:
        """Copy chain and payloads into a new directory, in a thread of its own; one at a time."""
        async with self._backup:
            return await asyncio.to_thread(self._back_up, directory)

    def stop(self, reason: str) -> None:
        """Begin to stop the node."""
        self._stop(reason)

    def close(self) -> None:
        """Answer no more questions."""
        self._readers.shutdown(wait=False, cancel_futures=True)
