"""What a full node's core and a light one's have in common: the turn of an event, ends of jobs, readings for the RPC.

Rules of this file: nothing that depends on having a chain. Who hears what, each composition says in a table of its own.
"""

from collections.abc import Callable

from chain.ids import Hash, Millis
from chain.transaction import SignedTransaction
from node.core.routes import Routes
from node.core.turn import JobTable, Turn
from node.effects import Effect
from node.errors import CoreHalted
from node.events import Event, JobDone, JobFailed, Shutdown
from node.mempool import Mempool
from node.updatepool import UpdatePool
from node.world import World
from p2p.access import ChainAccess
from p2p.events import PeerInfo
from p2p.network import PeerNetwork
from p2p.saved import SavedPeers

Connect = Callable[[ChainAccess], PeerNetwork]
"""Makes the peer network over the chain it is given."""


class Core:
    """Events in, effects out. A composition makes ``network`` and fills the routes before the first event."""

    network: PeerNetwork

    def __init__(self, world: World, mempool: Mempool, updates: UpdatePool) -> None:
        self.world = world
        self.mempool = mempool
        self.updates = updates
        self._jobs = JobTable()
        self._routes = Routes()
        self._halted = False

    def handle(self, event: Event, now: Millis) -> list[Effect]:
        """Return what this event leads to, in the order it is to be done.

        ``now`` never goes back. ``CoreHalted`` after a ``Halt``, or after an exception of ours has passed through:
        what is on disk is whole, what is in memory may not be.
        """
        if self._halted:
            raise CoreHalted("the core has stopped; start the node again")
        turn = Turn(now, self._jobs)
        turn.tell(event)
        try:
            while turn.messages and not turn.is_halted:
                self._routes.dispatch(turn.messages.popleft(), turn)
        except BaseException:
            self._halted = True
            raise
        self._halted = turn.is_halted
        return turn.effects

    def awaits_tick(self) -> bool:
        """Is there something that the next tick may do, beside what time alone brings, like pings and dials?

        If not, a tick may be left out. A composition that does not know says yes.
        """
        return True

    # --- jobs -------------------------------------------------------------------------------------

    def _on_job_done(self, event: JobDone, turn: Turn) -> None:
        spec = self._jobs.end(event.job)
        if spec is not None:
            self._routes.dispatch_job(spec, event.result, turn)

    def _on_job_failed(self, event: JobFailed, turn: Turn) -> None:
        """A foreign exception says nothing about any block, update or peer: stop before it becomes a verdict."""
        spec = self._jobs.end(event.job)
        if spec is not None:
            turn.halt(f"{type(spec).__name__} failed: {event.error}")

    def _cancel_rest(self, event: Shutdown, turn: Turn) -> None:
        for job in self._jobs.ids():
            turn.cancel(job)

    # --- what the RPC reads between two events ----------------------------------------------------

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return the connected peers."""
        return self.network.peers()

    def remember_peers(self, now: Millis) -> SavedPeers:
        """Return what the next run should know of its peers."""
        return self.network.remember(now)

    def known_addresses(self) -> tuple[str, ...]:
        """Return the peer addresses worth remembering for the next run."""
        return self.network.known_addresses()

    def pending_transactions(self) -> tuple[SignedTransaction, ...]:
        """Return the transactions that wait for a block."""
        return self.mempool.transactions()

    def pending_transaction(self, id: Hash) -> SignedTransaction | None:
        """Return a transaction that waits for a block."""
        return self.mempool.get(id)

    def pool_sizes(self) -> tuple[int, int, int, int]:
        """Return transactions and their bytes, updates and their payloads' bytes, all in waiting."""
        return len(self.mempool), self.mempool.size_bytes, len(self.updates), self.updates.size_bytes
