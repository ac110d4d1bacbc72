"""The core of a light node: events in, effects out, like ``node.core.core``, and without a chain.

Rules of this file: composition and one table. It is driven by the same runner and simulator as a full node's core.

    transport ─▶ Peers ─▶ PeerNetwork ─┬▶ TrustedHeaders ─TipMoved─▶ StateDesk ─StateGained─▶ DeviceDesk ─▶ Device
    users ─────▶ Outbox                └▶ StateDesk (proofs)                                    │
    peers ◀──── Outbox ◀─OwnTransaction, UpdateReleased─────────────────────────────────────────┘
"""

from chain.ids import AccountId, Height, Millis
from consensus.pos.engine import PosEngine
from node.core.base import Connect, Core
from node.core.config import PoolLimits
from node.core.messages import OwnTransaction, PayloadStored, UpdateReleased
from node.core.peers import Peers
from node.core.routes import Routes
from node.core.trust import Trust
from node.core.turn import Turn
from node.effects import Refused
from node.events import (
    BanOrder,
    Closed,
    Connected,
    DialFailed,
    DialOrder,
    Heard,
    JobDone,
    JobFailed,
    JoinOrder,
    MachineSensed,
    MiningOrder,
    Received,
    Sent,
    Shutdown,
    Started,
    SubmitBody,
    SubmitTransaction,
    Tick,
    UnbanOrder,
)
from node.jobs.specs import FindStamp, InspectData, TrainTask
from node.light.access import LightAccess
from node.light.chain import LightChain, LightSurroundings
from node.light.config import LightConfig
from node.light.devicedesk import DeviceDesk
from node.light.finalheaders import FinalHeaders
from node.light.kept import FinalTail, Kept, WorkTail
from node.light.liars import Liars
from node.light.monitor import LightMonitor
from node.light.outbox import Outbox
from node.light.source import TipMoved
from node.light.statedesk import StateDesk, StateGained
from node.light.workheaders import WorkHeaders
from node.mempool import Mempool
from node.roles.base import MinerStatus
from node.roles.device import Device, DeviceStatus
from node.status import AgreementStatus, Liar, Status
from node.updatepool import UpdatePool
from node.world import World
from p2p.events import (
    BodyArrived,
    EngineArrived,
    EpochsArrived,
    HeadersArrived,
    PartArrived,
    PayloadArrived,
    PeerDown,
    PeerServes,
    PeerUp,
    TransactionArrived,
    UpdateArrived,
)

LIGHT_POOLS = PoolLimits(transactions=64, transaction_bytes=4 * 1024 * 1024, updates=64, update_bytes=256 * 1024 * 1024)


class LightCore(Core):
    """A whole light node, sans I/O. ``connect`` as for ``NodeCore``; ``Started`` must be the first event.

    The world's store holds the genesis block and is never written to. ``kept``: what an earlier run wrote down.
    """

    def __init__(self, world: World, config: LightConfig, connect: Connect, kept: Kept | None = None) -> None:
        super().__init__(world, Mempool(LIGHT_POOLS), UpdatePool(LIGHT_POOLS))
        self.config = config
        self._liars = Liars()
        engine = world.engine
        self.source: WorkHeaders | FinalHeaders
        if isinstance(engine, PosEngine):
            final = kept.tail if kept is not None and isinstance(kept.tail, FinalTail) else None
            self.source = FinalHeaders(world, engine, config.checkpoint, self._liars, final)
        else:
            work = kept.tail if kept is not None and isinstance(kept.tail, WorkTail) else None
            self.source = WorkHeaders(world, config.checkpoint, config.minimum_work, self._liars, work)
        self.network = connect(LightAccess(world, self.source, self.mempool, self.updates))
        self.source.network = self.network
        self._states = StateDesk(world, self.source, self.network, self._liars)
        self.chain = LightChain(world, self.source, self._states)
        around = LightSurroundings(world, self.chain, self.source, self.network, self.mempool)
        self._devices = DeviceDesk(Device(around, config.device), around, self._states)
        self._outbox = Outbox(world, self.chain, self.mempool, self.updates, self.network)
        self._monitor = LightMonitor(config, self.source, self.chain, self._states, self.network)
        self._peers = Peers(self.network, self.mempool, self.updates)
        self._connect_outside(self._routes)
        self._connect_inside(self._routes)

    # --- the routing table ------------------------------------------------------------------------

    def _connect_outside(self, routes: Routes) -> None:
        """Fill the table for what the runner, users and peers say."""
        peers, outbox = self._peers, self._outbox
        states, devices, monitor = self._states, self._devices, self._monitor
        routes.on(Started, states.on_started, outbox.on_started, devices.on_started, monitor.on_any)
        routes.on(Tick, peers.on_transport, states.on_tick, monitor.on_any)
        routes.on(Connected, peers.on_transport)
        routes.on(Received, peers.on_transport)
        routes.on(Sent, peers.on_transport)
        routes.on(Closed, peers.on_transport)
        routes.on(DialFailed, peers.on_transport)
        routes.on(Heard, peers.on_transport)
        routes.on(DialOrder, peers.on_dial)
        routes.on(BanOrder, peers.on_ban)
        routes.on(UnbanOrder, peers.on_unban)
        routes.on(JobDone, self._on_job_done)
        routes.on(JobFailed, self._on_job_failed)
        routes.on(SubmitTransaction, outbox.on_submit)
        routes.on(SubmitBody, outbox.on_submit_body)
        routes.on(JoinOrder, devices.on_join_order)
        routes.on(MachineSensed, devices.on_machine)
        routes.on(MiningOrder, _refuse_mining)
        routes.on(Shutdown, devices.on_shutdown, self._cancel_rest, peers.on_shutdown)
        routes.on(TransactionArrived, outbox.on_arrived)
        routes.on(UpdateArrived, outbox.on_update)
        routes.on(BodyArrived)
        routes.on(PayloadArrived)

    def _connect_inside(self, routes: Routes) -> None:
        """Fill the table for what peers bring and what the parts tell each other."""
        source, states, devices, monitor = self.source, self._states, self._devices, self._monitor
        routes.on(PeerUp, self._peers.on_up, source.on_peer_up, states.on_peer_up, devices.on_peer_up, monitor.on_any)
        routes.on(PeerDown, self._peers.on_down, source.on_peer_down, states.on_peer_down, monitor.on_any)
        routes.on(HeadersArrived, source.on_headers, states.on_headers)
        routes.on(EngineArrived, source.on_engine)
        routes.on(EpochsArrived, source.on_epochs)
        routes.on(TipMoved, states.on_tip, devices.on_tip, monitor.on_moved)
        routes.on(PeerServes, states.on_serves)
        routes.on(PartArrived, states.on_part)
        routes.on(StateGained, self._outbox.on_gained, devices.on_gained, monitor.on_moved)
        routes.on(OwnTransaction, self._outbox.on_own)
        routes.on(UpdateReleased, self._outbox.on_released)
        routes.on(PayloadStored)
        routes.on_job(FindStamp, devices.on_stamp)
        routes.on_job(InspectData, devices.on_inspected)
        routes.on_job(TrainTask, devices.on_trained)

    # --- what the RPC reads between two events ----------------------------------------------------

    def status(self, now: Millis) -> Status:
        """Return the node's state and its figures."""
        return self._monitor.status(now)

    def liars(self) -> tuple[Liar, ...]:
        """Return the peers that told something false about the chain or its state, the last ones."""
        return self._liars.seen

    def trust(self) -> Trust:
        """Return what the node trusts; it has nothing of the chain."""
        point, best = self.config.checkpoint, self.source.best.height
        return Trust(
            "" if point is None else str(point), Height(0), best, best, False, Height(0), 0, self.source.says()
        )

    def keep(self) -> Kept | None:
        """Return what the next run should know of the headers; None if there is nothing yet, or too much.

        Nor below the checkpoint: what was believed there may turn out to contradict it.
        """
        tail, point = self.source.keep() if self.source.is_past_checkpoint else None, self.config.checkpoint
        return None if tail is None else Kept(self.world.genesis.id, "" if point is None else str(point), tail)

    def finalized(self) -> Height:
        """Return the height up to which the chain is final."""
        return self.source.final_height

    def agreement_status(self) -> AgreementStatus | None:
        """Return None: a light node has no part in it."""
        return None

    def next_nonce(self, account: AccountId) -> int:
        """Return the nonce of the account's next transaction, those in waiting counted. ``UnknownKeyError``."""
        return self.mempool.next_nonce(account, self.chain.nonce(account))

    def fleet_status(self) -> None:
        """Return nothing: a fleet takes a chain."""

    def device_status(self) -> DeviceStatus:
        """Return what the device role does."""
        return self._devices.status

    def miner_status(self) -> MinerStatus | None:
        """Return None: a light node makes no blocks."""
        return None


def _refuse_mining(order: MiningOrder, turn: Turn) -> None:
    turn.reply(order.request, Refused("miner.role", "this node does not play the miner role: it has no chain"))
