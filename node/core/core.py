"""The node's core: events in, effects out.

Rules of this file: the core is a state machine without I/O. Given the same world and the same events at the
same times it returns the same effects, whether asyncio, a simulator or a replayed log drives it. It is put
together here from small parts; which part hears which message is one table (``_connect_parts``).

    transport ─▶ Peers ─▶ PeerNetwork ─┬▶ Importer ──HeadChanged──▶ TransactionDesk, UpdateDesk, Monitor, roles
    users ─────▶ TransactionDesk       ├▶ TransactionDesk ─PoolGrew──────────▶ Miner
    jobs ──────▶ whoever asked         └▶ UpdateDesk ──────UpdateReady───────▶ Miner
"""

from collections.abc import Callable

from chain.ids import AccountId, Height, Millis
from consensus.pos.engine import PosEngine
from node.core.agreement import AgreementDesk
from node.core.audits import connect_audits
from node.core.base import Connect, Core
from node.core.chain import Chain
from node.core.config import CoreConfig
from node.core.encryption import connect_encryption
from node.core.fleets import connect_fleet
from node.core.headstates import HeadStates
from node.core.importer import Importer
from node.core.messages import (
    AttestationMade,
    BlockCondemned,
    BlockMade,
    ChecksWanted,
    FinalMoved,
    HeadChanged,
    HeaderAdmitted,
    HostedTransaction,
    IntakeServed,
    OwnTransaction,
    PayloadsLost,
    PayloadStored,
    PoolGrew,
    ProposalWanted,
    StateAdopted,
    StateChanged,
    StateGrew,
    UpdateReady,
    UpdateReleased,
)
from node.core.monitor import Monitor
from node.core.peers import Peers
from node.core.pruning import Pruner
from node.core.recovery import rebuild_tree
from node.core.refused import RefusedItems
from node.core.replays import Replays
from node.core.routes import Routes
from node.core.serving import Serving
from node.core.snapshots import SnapshotDesk
from node.core.statesync import StateSync
from node.core.transactions import TransactionDesk
from node.core.trust import Trust, get_trust
from node.core.turn import Turn
from node.core.updates import UpdateDesk
from node.core.upgrades import UpgradeWatch
from node.core.wants import PayloadWants
from node.core.waymarks import Waymarks
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
from node.jobs.specs import (
    BuildBlock,
    CheckPiece,
    ExecuteBranch,
    FindStamp,
    InspectData,
    OpenChunk,
    SealBlock,
    TrainTask,
    VerifyUpdates,
)
from node.mempool import Mempool
from node.roles.base import MinerStatus, Surroundings
from node.roles.device import Device, DeviceStatus
from node.roles.fleetservice import FleetStatus
from node.roles.miner import Miner
from node.roles.owner import Owner
from node.roles.validator import Validator
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
    PeerListens,
    PeerServes,
    PeerUp,
    TransactionArrived,
    UpdateArrived,
)


class NodeCore(Core):
    """The whole node, sans I/O.

    ``connect`` makes the peer network over the chain it is given, usually
    ``lambda chain: PeerNetwork(network_config, world.key, chain, world.random)``. ``Started`` must be the first event.
    """

    def __init__(self, world: World, config: CoreConfig, connect: Connect) -> None:
        super().__init__(world, Mempool(config.pools), UpdatePool(config.pools))
        self.config = config
        self.chain = Chain(world, rebuild_tree(world, config.checkpoint, has_reorg_limit=config.has_reorg_limit))
        refused = RefusedItems()
        self._snapshots = SnapshotDesk(world, config, self.chain)
        self._heads = HeadStates(world, self.chain)
        pools = self.mempool, self.updates, refused
        is_voted = isinstance(world.engine, PosEngine)
        self._marks = Waymarks(self.chain.tree, config.checkpoint if is_voted else None)
        serving = Serving(world, self.chain, *pools, self._snapshots, self._heads, self._marks, config.minimum_work)
        self.network = connect(serving)
        self._monitor = Monitor(config, self.chain, self.network)
        self._upgrades = UpgradeWatch(self.chain)
        self._peers = Peers(self.network, self.mempool, self.updates)
        self._wants = PayloadWants(world.payloads, self.network)
        self._importer = Importer(world, config, self.chain, self.network, self._wants)
        self._statesync = StateSync(world, config, self.chain, self.network, self._importer)
        self._importer.is_held = self._statesync.is_holding
        self._pruner = Pruner(world, config, self.chain)
        self._transactions = TransactionDesk(world, self.chain, self.mempool, refused, self.network, self._wants)
        self._update_desk = UpdateDesk(world, config, self.chain, self.updates, refused, self.network, self._wants)
        around = Surroundings(world, config, self.chain, self.mempool, self.updates, self._monitor)
        replays = None if config.miner is None else Replays(around, config.miner)
        self._attester = None if replays is None else replays.attester
        self._miner, self._validator, self._agreement = self._make_producers(around)
        self._device = None if config.device is None else Device(around, config.device)
        self._owner = Owner(around) if config.owner else None
        self._awaiting: list[Callable[[], bool]] = [self.network.awaits_tick, self._importer.awaits_tick]
        self._connect_parts(self._routes)
        self._connect_roles(self._routes)
        connect_audits(self._routes, config, around)
        connect_encryption(self._routes, config, around)
        self._fleet = connect_fleet(self._routes, config, around)
        if replays is not None:
            replays.connect(self._routes)

    def _make_producers(self, around: Surroundings) -> tuple[Miner | None, Validator | None, AgreementDesk | None]:
        """Return what makes blocks under this network's engine, if this node does, and what decides on them."""
        world, miner = self.world, self.config.miner
        engine = world.engine
        if not isinstance(engine, PosEngine):
            return None if miner is None else Miner(around, miner), None, None
        to, at_a_loss = (self.chain, self.network, self._importer, self._marks), self.config.accuses_at_a_loss
        desk = AgreementDesk(world, engine, *to, accuses_at_a_loss=at_a_loss)
        if miner is None or world.signer is None:
            return None, None, desk
        return None, Validator(around, engine, lambda: desk.place, miner.hold_ms), desk

    # --- the routing table ------------------------------------------------------------------------

    def _connect_parts(self, routes: Routes) -> None:
        """Fill the table for the parts every node has; within a line they hear in the order they stand."""
        importer, monitor, peers = self._importer, self._monitor, self._peers
        transactions, updates = self._transactions, self._update_desk
        routes.on(Started, importer.on_started, monitor.on_started, transactions.on_started)
        routes.on(Tick, peers.on_transport, importer.on_tick, monitor.on_tick)
        routes.on(Connected, peers.on_transport)
        routes.on(Received, peers.on_transport)
        routes.on(Sent, peers.on_transport)
        routes.on(Closed, peers.on_transport)
        routes.on(DialFailed, peers.on_transport)
        routes.on(Heard, peers.on_transport)
        routes.on(DialOrder, peers.on_dial)
        routes.on(BanOrder, peers.on_ban)
        routes.on(UnbanOrder, peers.on_unban)
        routes.on(SubmitTransaction, transactions.on_submit)
        routes.on(SubmitBody, transactions.on_submit_body)
        routes.on(Started, self._upgrades.on_started)
        routes.on(HeadChanged, self._upgrades.on_head)
        routes.on(JobDone, self._on_job_done)
        routes.on(JobFailed, self._on_job_failed)
        routes.on(PeerUp, peers.on_up, monitor.on_peer_up)
        routes.on(PeerDown, peers.on_down, monitor.on_peer_down)
        routes.on(HeadersArrived, importer.on_headers, monitor.on_headers)
        routes.on(BodyArrived, importer.on_body)
        routes.on(PayloadArrived, importer.on_payload)
        routes.on(TransactionArrived, transactions.on_arrived)
        routes.on(IntakeServed, transactions.on_intake_served)
        routes.on(Tick, transactions.on_tick)
        self._awaiting.append(transactions.awaits_tick)
        routes.on(PeerDown, transactions.on_peer_down)
        routes.on(UpdateArrived, updates.on_arrived)
        routes.on(Tick, updates.on_tick)
        self._awaiting.append(updates.awaits_tick)
        routes.on(HeadChanged, monitor.on_head, transactions.on_head, updates.on_head)
        self._connect_states(routes)
        self._connect_agreement(routes)
        routes.on(BlockMade, importer.on_block_made)
        routes.on(HeaderAdmitted, importer.on_admitted)
        routes.on(BlockCondemned)
        routes.on(FinalMoved)
        routes.on(PayloadStored, self._wants.on_payload_stored, importer.on_payload_stored)
        routes.on(PayloadStored, transactions.on_payload_stored, updates.on_payload_stored)
        routes.on(PayloadsLost, self._wants.on_payloads_lost)
        routes.on(OwnTransaction, transactions.on_own)
        routes.on(HostedTransaction, transactions.on_hosted)
        routes.on(UpdateReleased, updates.on_released)
        routes.on(ChecksWanted, updates.on_checks_wanted)
        routes.on(AttestationMade, updates.on_attestation)
        routes.on_job(ExecuteBranch, importer.on_executed)
        routes.on_job(VerifyUpdates, updates.on_verified)

    def _connect_states(self, routes: Routes) -> None:
        """Fill the table for the parts that serve states to peers, and fetch one."""
        snapshots, heads, statesync = self._snapshots, self._heads, self._statesync
        routes.on(Started, snapshots.on_started, heads.on_started, statesync.on_started)
        routes.on(Tick, statesync.on_tick, self._pruner.on_tick)
        self._awaiting.append(statesync.is_holding)
        routes.on(PeerUp, statesync.on_peer_up)
        routes.on(PeerDown, statesync.on_peer_down)
        routes.on(PeerServes, statesync.on_serves)
        routes.on(PartArrived, statesync.on_part)
        routes.on(HeadChanged, snapshots.on_head, heads.on_head)
        routes.on(StateAdopted, self._monitor.on_adopted, heads.on_adopted)
        routes.on(StateGrew, self._monitor.on_grown)
        routes.on(Shutdown, snapshots.on_shutdown, heads.on_shutdown)
        routes.on_job(CheckPiece, statesync.on_checked)

    def _connect_agreement(self, routes: Routes) -> None:
        """Fill the table for votes, and for the blocks this node makes where they are voted on."""
        desk, validator = self._agreement, self._validator
        routes.on(EngineArrived)
        routes.on(EpochsArrived)
        routes.on(PeerListens)
        routes.on(ProposalWanted)
        if desk is None:
            return
        routes.on(Started, desk.on_started)
        routes.on(Tick, desk.on_tick)
        self._awaiting.append(desk.awaits_tick)
        routes.on(PeerUp, desk.on_peer_up)
        routes.on(PeerDown, desk.on_peer_down)
        routes.on(PeerListens, desk.on_peer_listens)
        routes.on(EngineArrived, desk.on_arrived)
        routes.on(EpochsArrived, desk.on_epochs)
        routes.on(HeadChanged, desk.on_head)
        routes.on(StateAdopted, desk.on_adopted)
        routes.on(BlockCondemned, desk.on_condemned)
        routes.on(BlockMade, desk.on_block_made)
        if validator is None:
            return
        routes.on(ProposalWanted, validator.on_wanted)
        routes.on(PoolGrew, validator.on_pool_grew)
        routes.on(Tick, validator.on_tick)
        self._awaiting.append(validator.awaits_tick)
        routes.on(HeadChanged, validator.on_head)
        routes.on(MiningOrder, validator.on_mining_order)
        routes.on(Shutdown, validator.on_shutdown)
        routes.on_job(BuildBlock, validator.on_built)

    def _connect_roles(self, routes: Routes) -> None:
        """Fill the table for the roles this node plays; they hear after the parts above."""
        miner, device, owner = self._miner, self._device, self._owner
        routes.on(PoolGrew)
        routes.on(UpdateReady)
        routes.on(StateChanged)
        routes.on(Shutdown)
        if self._attester is not None:
            routes.on(Started, self._attester.on_started)
            routes.on(HeadChanged, self._attester.on_head)
            routes.on(UpdateReady, self._attester.on_update_ready)
        if miner is not None:
            routes.on(Started, miner.on_started)
            routes.on(Tick, miner.on_tick)
            self._awaiting.append(miner.awaits_tick)
            routes.on(HeadChanged, miner.on_head)
            routes.on(StateChanged, miner.on_state)
            routes.on(PoolGrew, miner.on_pool_grew)
            routes.on(MiningOrder, miner.on_mining_order)
            routes.on(Shutdown, miner.on_shutdown)
            routes.on_job(BuildBlock, miner.on_built)
            routes.on_job(SealBlock, miner.on_sealed)
        elif self._validator is None:
            routes.on(MiningOrder, _refuse_mining)
        if device is not None:
            routes.on(Started, device.on_started)
            routes.on(HeadChanged, device.on_head)
            routes.on(FinalMoved, device.on_final)
            routes.on(StateChanged, device.on_state)
            routes.on(Shutdown, device.on_shutdown)
            routes.on(JoinOrder, device.on_join_order)
            routes.on(MachineSensed, device.on_machine)
            routes.on_job(FindStamp, device.on_stamp)
            routes.on_job(InspectData, device.on_inspected)
            routes.on_job(TrainTask, device.on_trained)
        else:
            routes.on(JoinOrder, _refuse_join)
        if owner is not None:
            routes.on(Started, owner.on_started)
            routes.on(HeadChanged, owner.on_head)
            routes.on(FinalMoved, owner.on_final)
            routes.on(StateChanged, owner.on_state)
            routes.on(Shutdown, owner.on_shutdown)
            routes.on_job(OpenChunk, owner.on_opened)
        routes.on(Shutdown, self._cancel_rest, self._peers.on_shutdown)

    def awaits_tick(self) -> bool:
        """Ask the parts; a fleet always has something to do."""
        return self._fleet is not None or any(awaits() for awaits in self._awaiting)

    # --- what the RPC reads between two events ----------------------------------------------------

    def status(self, now: Millis) -> Status:
        """Return the node's state and its figures."""
        return self._monitor.status(now)

    def trust(self) -> Trust:
        """Return what the node trusts, and what of the chain it has."""
        return get_trust(self.world.store, self.config, self._statesync)

    def finalized(self) -> Height:
        """Return the height up to which the head's chain is final."""
        return self.world.engine.finalized(self.chain.tree, self.chain.head_id)

    def agreement_status(self) -> AgreementStatus | None:
        """Return where the agreement on final blocks is, and this node's part in it; None without votes."""
        return None if self._agreement is None else self._agreement.status()

    def next_nonce(self, account: AccountId) -> int:
        """Return the nonce of the account's next transaction, those in waiting counted."""
        return self.mempool.next_nonce(account, self.chain.nonce(account))

    def liars(self) -> tuple[Liar, ...]:
        """Return nothing: a full node believes nobody, and only a light one is lied to."""
        return ()

    def device_status(self) -> DeviceStatus | None:
        """Return what the device role does; None without it."""
        return None if self._device is None else self._device.status()

    def fleet_status(self) -> FleetStatus | None:
        """Return what the fleet role does; None without it."""
        return None if self._fleet is None else self._fleet.status()

    def miner_status(self) -> MinerStatus | None:
        """Return what the miner role does; None without it."""
        attester, maker = self._attester, self._miner or self._validator
        if attester is None or maker is None:
            return None
        return MinerStatus(maker.blocks, attester.attestations, maker.height, attester.is_registered, maker.is_paused)


def _refuse_mining(order: MiningOrder, turn: Turn) -> None:
    turn.reply(order.request, Refused("miner.role", "this node does not play the miner role"))


def _refuse_join(order: JoinOrder, turn: Turn) -> None:
    turn.reply(order.request, Refused("device.role", "this node does not play the device role"))
