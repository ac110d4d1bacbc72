"""``node.*``, ``device.*``, ``miner.*``, ``genesis.get``: the node itself and its roles."""

from typing import Any, Final

from chain.genesis_file import write_genesis
from chain.ids import AccountId
from chain.upgrades import show_upgrades
from consensus.queries import get_device, get_miner, get_miners
from node.core.trust import Trust
from node.events import DialOrder, JoinOrder, MiningOrder
from node.roles.device import DeviceStatus as RoleReport
from node.rpc.doors import NodeDoors, Reader
from node.rpc.jsonrpc import INVALID_PARAMS, REFUSED, RpcError
from node.rpc.methods.convert import address, done, read_id
from node.rpc.params import BackupParams, ConnectParams, JoinParams
from node.rpc.registry import Method, Nothing
from node.rpc.render import show
from node.rpc.shapes import (
    AgreementView,
    BackupView,
    DeviceStatus,
    Done,
    FleetStatus,
    GenesisView,
    LiarView,
    MinerStatus,
    NodeStatus,
    PeerView,
    TrustView,
)
from node.status import AgreementStatus, Liar
from node.targets import read_target
from storage.errors import StorageError, UseError


def _agreement(status: AgreementStatus | None) -> AgreementView | None:
    if status is None:
        return None
    return AgreementView(
        epoch=status.epoch,
        view=status.view,
        validators=status.validators,
        part=status.part,
        leads=status.leads,
        reason=status.reason,
    )


async def _status(doors: NodeDoors, _params: Nothing) -> NodeStatus:
    figures = await doors.figures()
    status = figures.status
    head_id, head = await doors.head()
    genesis = doors.genesis
    return NodeStatus(
        version=figures.version,
        chain_id=genesis.chain_id,
        genesis=genesis.id.hex(),
        account=address(doors.account, genesis.prefix),
        state=status.state,
        reason=status.reason,
        height=head.height,
        target=max(status.target, head.height),
        rate=status.rate_milli / 1000,
        eta_s=status.eta_ms / 1000 if status.state == "syncing" and status.eta_ms else None,
        head=head_id.hex(),
        head_time_ms=head.time_ms,
        state_root=head.state_root.hex(),
        finalized=figures.finalized,
        agreement=_agreement(figures.agreement),
        trust=_trust(figures.trust),
        liars=tuple([_liar(liar, genesis.prefix) for liar in figures.liars]),
        peers=status.peers,
        listening=figures.listening,
        roles=figures.roles,
        transactions=figures.pools.transactions,
        updates=figures.pools.updates,
        uptime_s=figures.uptime_s,
        job_threads=figures.job_threads,
    )


def _trust(trust: Trust) -> TrustView:
    return TrustView(
        says=trust.sentence(),
        checkpoint=trust.checkpoint or None,
        synced_at=trust.synced_at or None,
        blocks_above=trust.blocks_above,
        payloads_above=trust.payloads_above,
        archive=trust.archive,
        gathering=trust.gathering or None,
        gathered=trust.gathered / 1_000_000,
    )


def _liar(liar: Liar, prefix: str) -> LiarView:
    return LiarView(
        peer=address(AccountId(liar.peer), prefix), height=liar.height, reason=liar.reason, time_ms=liar.at_ms
    )


async def _peers(doors: NodeDoors, _params: Nothing) -> tuple[PeerView, ...]:
    prefix = doors.genesis.prefix
    return tuple(
        PeerView(
            peer=address(info.peer, prefix),
            outbound=info.outbound,
            address=info.address,
            agent=info.agent,
            height=info.height,
            head=info.head.hex(),
            latency_ms=None if info.latency_ms < 0 else info.latency_ms,
            since_ms=info.since,
            bytes_received=info.bytes_received,
            bytes_sent=info.bytes_sent,
            points=info.points,
        )
        for info in await doors.peers()
    )


async def _connect(doors: NodeDoors, params: ConnectParams) -> Done:
    try:
        target = read_target(params.address, doors.genesis.prefix)
    except ValueError as error:
        raise RpcError(INVALID_PARAMS, str(error)) from None
    return done(await doors.ask(lambda request: DialOrder(request, target)))


async def _backup(doors: NodeDoors, params: BackupParams) -> BackupView:
    try:
        path, report = await doors.back_up(params.directory)
    except UseError as error:
        raise RpcError(INVALID_PARAMS, str(error)) from None
    except StorageError as error:
        raise RpcError(REFUSED, str(error)) from None
    return BackupView(
        directory=str(path),
        height=report.height,
        block=report.tip.hex(),
        keys=report.keys,
        payloads=report.payloads,
        linked=report.payloads_linked,
    )


async def _stop(doors: NodeDoors, _params: Nothing) -> Done:
    doors.stop("asked through RPC")
    return Done()


async def _genesis(doors: NodeDoors, _params: Nothing) -> GenesisView:
    genesis = doors.genesis
    return GenesisView(
        genesis=genesis.id.hex(),
        chain_id=genesis.chain_id,
        prefix=genesis.prefix,
        document=write_genesis(genesis),
        upgrades=show_upgrades(genesis),
    )


async def _device_status(doors: NodeDoors, _params: Nothing) -> DeviceStatus:
    prefix = doors.genesis.prefix
    report = await doors.role_report("device")
    if isinstance(report, RoleReport):
        registered = report.registered
    else:
        registered = await doors.read(lambda reader: get_device(reader.view, doors.account) is not None)
    return DeviceStatus(
        account=address(doors.account, prefix),
        registered=registered,
        role=None if report is None else show(report, prefix),
    )


async def _device_join(doors: NodeDoors, params: JoinParams) -> Done:
    return done(await doors.ask(lambda request: JoinOrder(request, read_id(params.plan), params.role)))


async def _fleet_status(doors: NodeDoors, _params: Nothing) -> FleetStatus:
    report = await doors.role_report("fleet")
    return FleetStatus(role=None if report is None else show(report, doors.genesis.prefix))


async def _miner_status(doors: NodeDoors, _params: Nothing) -> MinerStatus:
    def question(reader: Reader) -> tuple[int, int]:
        miner = get_miner(reader.view, doors.account)
        return 0 if miner is None else miner.bond, len(get_miners(reader.view))

    prefix = doors.genesis.prefix
    bond, miners = await doors.read(question)
    report = await doors.role_report("miner")
    return MinerStatus(
        account=address(doors.account, prefix),
        bond=bond,
        miners=miners,
        role=None if report is None else show(report, prefix),
    )


async def _miner_pause(doors: NodeDoors, _params: Nothing) -> Done:
    return done(await doors.ask(lambda request: MiningOrder(request, enabled=False)))


async def _miner_resume(doors: NodeDoors, _params: Nothing) -> Done:
    return done(await doors.ask(lambda request: MiningOrder(request, enabled=True)))


NODE_METHODS: Final[list[Method[NodeDoors, Any]]] = [
    Method("node.status", "Returns the node's state at a glance.", Nothing, NodeStatus, _status),
    Method("node.peers", "Returns the connected peers.", Nothing, tuple[PeerView, ...], _peers),
    Method("node.connect", "Connects to a node and stays connected.", ConnectParams, Done, _connect, guarded=True),
    Method("node.backup", "Copies chain and payloads.", BackupParams, BackupView, _backup, guarded=True),
    Method("node.stop", "Stops the node, as SIGTERM does.", Nothing, Done, _stop, guarded=True),
    Method("genesis.get", "Returns the genesis document.", Nothing, GenesisView, _genesis),
    Method("device.status", "Returns what this node's device does.", Nothing, DeviceStatus, _device_status),
    Method("device.join", "Makes this node's device serve a plan.", JoinParams, Done, _device_join, guarded=True),
    Method("fleet.status", "Returns what the devices that this node hosts do.", Nothing, FleetStatus, _fleet_status),
    Method("miner.status", "Returns what this node's miner does.", Nothing, MinerStatus, _miner_status),
    Method("miner.pause", "Stops building blocks; verifying goes on.", Nothing, Done, _miner_pause, guarded=True),
    Method("miner.resume", "Builds blocks again.", Nothing, Done, _miner_resume, guarded=True),
]
