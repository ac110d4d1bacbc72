"""One node, running: what starts, in which order, and how it all ends.

    start   listen for peers (bound, silent) → core → RPC → accept peers → Started
    stop    Shutdown to the core → RPC and peers closed → jobs cancelled → logs and stores closed by the caller

``run`` ends with the exit code: 0 after a stop that was asked for, 1 after a ``Halt`` or a fault of ours.

Rules of this file: composition and lifetime. What anything does stands in the modules named here.
"""

import asyncio
import errno
import os
import secrets
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final

from aiohttp import web
from structlog.typing import EventDict, FilteringBoundLogger

from chain.address import format_account
from chain.ids import Millis
from fl.data.sources import DataSource, GrowingSource
from fl.errors import DataError
from node.addresses import join_address
from node.config import Config
from node.core.core import NodeCore
from node.errors import StartupError
from node.eventlog import EventRecorder, LogHeader
from node.events import Shutdown, Started, Tick
from node.fleet.hosted import HostedFleet
from node.light.core import LightCore
from node.light.kept import Kept
from node.logs import NodeLog
from node.metrics import Metrics
from node.rpc.door import open_door
from node.rpc.hub import EventHub
from node.rpc.methods import make_registry, openrpc_document, package_version
from node.rpc.server import RpcServer, ServerLimits
from node.service.announce import Announcer
from node.service.datastore import StoreSource
from node.service.doors import ServiceDoors
from node.service.home import (
    OpenHome,
    core_config,
    light_config,
    make_world,
    network_config,
    remove_rpc_files,
    write_rpc_files,
)
from node.service.lan import LanDoor, open_lan
from node.service.lightfile import read_headers, write_headers
from node.service.links import LinkLimits, Links
from node.service.machinefacts import LOOK_S, MachineWatch
from node.service.peerfile import read_former_peers, read_peers, write_peers
from node.service.runner import Runner
from node.service.tls import make_client_context, make_server_context
from node.service.trusted import check_trust
from node.service.workers import Workers
from node.world import World
from p2p.access import ChainAccess, NetworkConfig
from p2p.identity import make_certificate
from p2p.limits import MAX_HALF_OPEN, TICK_MS
from p2p.network import PeerNetwork
from p2p.saved import SavedPeers
from storage.backup import BackupReport, back_up
from storage.errors import UseError
from storage.leveldb import LevelChainStore

_SPARE_LINKS: Final = MAX_HALF_OPEN + 8
"""Connections that may be shaking hands or look for a moment who is there, beside those that are peers."""
_REMEMBER_S: Final = 600.0
_REMEMBER_FIRST_S: Final = 30.0
_RPC_STOP_S: Final = 0.5
_CLOCK_TOLERANCE_MS: Final = 2_000
_JOBS_STOP_S: Final = 2.0
_LAG_PROBE_S: Final = 0.1
_EXPIRE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running node can be reached."""

    url: str
    listening: str


@dataclass(slots=True)
class _Parts:
    """What a service is made of, and what of it has been started."""

    core: NodeCore | LightCore
    runner: Runner
    links: Links
    workers: Workers
    doors: ServiceDoors
    hub: EventHub
    metrics: Metrics
    data: DataSource | GrowingSource | None = None
    web_runner: web.AppRunner | None = None
    rpc_door: asyncio.Server | None = None
    lan: LanDoor | None = None
    helpers: list[asyncio.Task[None]] = field(default_factory=list)


class Service:
    """A node over an open data directory. ``record`` names a file for its event log (``node.eventlog``)."""

    def __init__(self, home: OpenHome, config: Config, log: NodeLog, *, record: Path | None = None) -> None:
        self._home = home
        self._config = config
        self._log = log
        self._logger = log.logger
        self._record = record
        self._stopping = asyncio.Event()
        self._code = 0
        self.running: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        self.jobs_ended = True
        """After ``run``: have all threads of jobs ended? If not, the process must not wait for them."""
        self._fleet: HostedFleet | None = None

    @property
    def is_stopping(self) -> bool:
        """Was it asked to stop?"""
        return self._stopping.is_set()

    def stop(self, reason: str) -> None:
        """Begin to stop."""
        if not self._stopping.is_set():
            self._logger.info("stopping", reason=reason)
            self._stopping.set()

    async def run(self) -> int:
        """Run until stopped; return the exit code. ``StartupError`` if it can't start.

        A fault in one of the node's own tasks stops it, in order, and is raised afterwards.
        """
        recorder, seed = self._open_recorder()
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = await self._assemble(tasks, recorder, seed)
                try:
                    await self._live(tasks, parts)
                finally:
                    await self._end(parts)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1 and isinstance(group.exceptions[0], StartupError):
                raise group.exceptions[0] from None
            raise
        finally:
            if recorder is not None:
                recorder.close()
        return self._code

    def _open_recorder(self) -> tuple[EventRecorder | None, bytes]:
        seed = secrets.token_bytes(32)
        if self._record is None:
            return None, seed
        header = LogHeader(package_version(), self._home.genesis.id, self._home.key.account, seed)
        try:
            return EventRecorder(self._record, header), seed
        except FileExistsError:
            raise StartupError(f"{self._record} exists already", "choose another file for the event log") from None

    # --- putting it together ---------------------------------------------------------------------------

    async def _assemble(self, tasks: asyncio.TaskGroup, recorder: EventRecorder | None, seed: bytes) -> _Parts:
        """Make everything and take the peers' port; nothing runs yet."""
        home, config = self._home, self._config
        genesis = home.genesis
        metrics = Metrics(package_version(), genesis.chain_id, genesis.id.hex())
        hub = EventHub()
        announcer = Announcer(hub, metrics, self._logger, genesis.prefix)
        home.payloads.on_damage = self._on_damaged_payload
        world = make_world(home, config, seed)
        self._fleet = world.fleet
        kept = self._read_headers(world)
        now, best = Millis(time.time_ns() // 1_000_000), None if kept is None else kept.best
        check_trust(world, core_config(config).checkpoint, now, best)
        links = self._make_links(tasks, metrics)
        is_light = config.device.light
        agent = f"fedchain{'-light' if is_light else ''}/{package_version()}"
        network = network_config(config, genesis, agent, 0, self._read_peers(), read_former_peers(home.path))
        host, port = ("", 0) if is_light else await _bind(links, config)
        network = replace(network, listen_port=port)
        core = self._make_core(world, network, kept)
        runner = Runner(
            core,
            links,
            metrics,
            recorder=recorder,
            on_publish=announcer.announce,
            on_halt=self._on_halt,
            on_fault=self._on_fault,
        )
        threads = config.limits.job_threads or os.cpu_count() or 1
        workers = Workers(world, runner.deliver, threads, metrics, self._logger)
        runner.jobs = workers
        links.deliver, links.has_room = runner.deliver, runner.has_room
        doors = ServiceDoors(
            world,
            core,
            runner,
            listening="" if is_light else join_address(host, port),
            roles=_roles(config),
            job_threads=threads,
            stop=self.stop,
            back_up=self._back_up,
        )
        self._forward_log(announcer, runner)
        return _Parts(core, runner, links, workers, doors, hub, metrics, world.data)

    def _make_core(self, world: World, network: NetworkConfig, kept: Kept | None) -> NodeCore | LightCore:
        def connect(chain: ChainAccess) -> PeerNetwork:
            return PeerNetwork(network, world.key, chain, world.random)

        if self._config.device.light:
            return LightCore(world, light_config(self._config), connect, kept)
        return NodeCore(world, core_config(self._config), connect)

    def _make_links(self, tasks: asyncio.TaskGroup, metrics: Metrics) -> Links:
        network = self._config.network
        certificate = make_certificate(self._home.key.seed)
        return Links(
            tasks,
            server=make_server_context(certificate),
            client=make_client_context(),
            certificate=certificate.der,
            limits=LinkLimits(
                self._config.limits.write_queue_bytes, network.outbound + network.max_inbound + _SPARE_LINKS
            ),
            metrics=metrics,
            logger=self._logger,
        )

    def _read_peers(self) -> SavedPeers | None:
        remembered, problem = read_peers(self._home.path)
        if problem:
            self._logger.warning("the list of peers can't be read", reason=problem, remedy="the node finds peers anew")
        return remembered

    def _read_headers(self, world: World) -> Kept | None:
        """Return what an earlier run of a light device kept of its headers."""
        if not self._config.device.light:
            return None
        kept, problem = read_headers(self._home.path, world.genesis, light_config(self._config).checkpoint)
        if problem:
            self._logger.warning(
                "the headers kept can't be used", reason=problem, remedy="they are asked for anew, from genesis on"
            )
        return kept

    # --- life ------------------------------------------------------------------------------------------

    async def _live(self, tasks: asyncio.TaskGroup, parts: _Parts) -> None:
        """Open the doors, run until asked to stop."""
        home, genesis, listening = self._home, self._home.genesis, parts.doors.listening
        url = ""
        if self._config.rpc.enabled:
            cookie = secrets.token_hex(32)
            url = await self._open_rpc(parts, cookie)
            write_rpc_files(home.path, url, listening, cookie)
        if not self._config.device.light:
            parts.links.accept()
        height, core_device = parts.core.chain.height, core_config(self._config).device
        parts.runner.deliver(Started())
        await self._open_lan(tasks, parts)
        parts.helpers += [
            tasks.create_task(_tick(parts.runner, self._logger), name="tick"),
            tasks.create_task(_watch_lag(parts.metrics), name="watch the loop"),
            tasks.create_task(_remember(parts.core, parts.runner, home.path), name="remember peers"),
        ]
        if core_device is not None and core_device.conditions.are_any:
            parts.helpers.append(tasks.create_task(_watch_machine(parts.runner), name="watch the machine"))
        if isinstance(parts.data, StoreSource):
            parts.helpers.append(tasks.create_task(_expire(parts.data, self._logger), name="let old rows go"))
        self._logger.info(
            "node started",
            account=format_account(home.key.account, genesis.prefix),
            chain_id=genesis.chain_id,
            genesis=genesis.id,
            height=height,
            listening=listening,
            rpc=url,
            roles=_roles(self._config),
        )
        self.running.set_result(Running(url, listening))
        await self._stopping.wait()

    async def _open_lan(self, tasks: asyncio.TaskGroup, parts: _Parts) -> None:
        """Look for nodes in the local network, if this one is told to."""
        network, runner = self._config.network, parts.runner
        if not network.lan:
            return
        _, _, port = parts.doors.listening.rpartition(":")
        door = await open_lan(
            self._home.genesis.id, network.host, int(port or 0), runner.deliver, runner.now, self._logger
        )
        if door is not None:
            parts.lan = door
            parts.helpers.append(tasks.create_task(door.run(), name="say hello"))

    async def _end(self, parts: _Parts) -> None:
        """Close the doors, end the jobs, remember the peers."""
        for helper in parts.helpers:
            helper.cancel()
        if parts.lan is not None:
            parts.lan.close()
        await parts.runner.finish(Shutdown())
        self._log.on_event = None
        parts.hub.close()
        remove_rpc_files(self._home.path)
        if parts.rpc_door is not None:
            parts.rpc_door.close()
        if parts.web_runner is not None:
            await parts.web_runner.cleanup()
        await parts.links.stop()
        parts.doors.close()
        if self._fleet is not None:
            await asyncio.to_thread(self._fleet.close)  # what waits for workers elsewhere ends
        self.jobs_ended = await parts.workers.stop(_JOBS_STOP_S)
        write_peers(self._home.path, parts.core.remember_peers(parts.runner.now()))
        if isinstance(parts.core, LightCore) and not self._code:  # what a fault left in memory may not be whole
            write_headers(self._home.path, parts.core.keep())
        if self.running.done():
            self._logger.info("node stopped", code=self._code)

    # --- RPC -----------------------------------------------------------------------------------------

    async def _open_rpc(self, parts: _Parts, cookie: str) -> str:
        """Serve RPC and return its URL."""
        rpc, limits = self._config.rpc, self._config.limits
        registry = make_registry()
        doors, metrics = parts.doors, parts.metrics
        server = RpcServer(
            registry,
            doors,
            parts.hub,
            lambda: _render(metrics, doors),
            cookie=cookie,
            hosts=(rpc.host, *rpc.hosts),
            limits=ServerLimits(limits.rpc_body_bytes, limits.rpc_batch),
            openrpc=openrpc_document(registry),
            logger=self._logger,
        )
        runner = web.AppRunner(
            server.application(), handle_signals=False, access_log=None, shutdown_timeout=_RPC_STOP_S
        )
        parts.web_runner = runner
        await runner.setup()
        try:
            parts.rpc_door = await open_door(runner, rpc.host, rpc.port)
        except OSError as error:
            raise _cannot_listen("RPC", rpc.host, rpc.port, "[rpc] port", error) from None
        host, port = parts.rpc_door.sockets[0].getsockname()[:2]
        return f"http://{join_address(host, port)}"

    def _forward_log(self, announcer: Announcer, runner: Runner) -> None:
        """Let subscribers of the log's topic have its lines, whichever thread wrote them."""
        loop = asyncio.get_running_loop()

        def tell(event: EventDict) -> None:
            if announcer.is_log_wanted and not loop.is_closed():
                loop.call_soon_threadsafe(announcer.tell_log, dict(event), runner.now())

        self._log.on_event = tell

    def _back_up(self, directory: str) -> tuple[Path, BackupReport]:
        """Copy chain and payloads; in any thread. Ends early when the node stops."""
        home = self._home
        if not isinstance(home.store, LevelChainStore):
            raise UseError("a light node has no chain to copy")
        to = home.path / directory
        return to, back_up(home.directory, home.store, home.payloads, to, lambda: self.is_stopping)

    def _on_damaged_payload(self, aside: Path) -> None:
        self._logger.warning("a payload file was damaged", set_aside=str(aside), remedy="look after the disk")

    # --- ends ----------------------------------------------------------------------------------------

    def _on_halt(self, reason: str) -> None:
        self._code = 1
        self._logger.error("the node halts: something happened that no rule foresees", reason=reason)
        self.stop("halted")

    def _on_fault(self, error: BaseException) -> None:
        self._code = 1
        self._logger.error("the node halts: a fault of its own", exc_info=error)
        self.stop("a fault")


async def _render(metrics: Metrics, doors: ServiceDoors) -> bytes:
    return metrics.render(await doors.figures())


async def _bind(links: Links, config: Config) -> tuple[str, int]:
    host, port = config.network.host, config.network.port
    try:
        return await links.bind(host, port)
    except OSError as error:
        raise _cannot_listen("peers", host, port, "[network] port", error) from None


def _cannot_listen(what: str, host: str, port: int, setting: str, error: OSError) -> StartupError:
    place = join_address(host, port)
    if error.errno == errno.EADDRINUSE:
        return StartupError(
            f"port {port} ({place}, for {what}) is in use by another program",
            f"stop that program, or set {setting} in config.toml to another one (0 takes any free port)",
        )
    return StartupError(f"can't listen at {place} for {what}: {error.strerror or error}", f"check {setting} and host")


def _roles(config: Config) -> tuple[str, ...]:
    roles = {"miner": config.mining.enabled, "device": bool(config.device.data), "fleet": bool(config.fleet.data)}
    return tuple(role for role, is_played in roles.items() if is_played)


async def _watch_lag(metrics: Metrics) -> None:
    """Measure how late the loop comes to what is due, at moments that have nothing to do with its work."""
    loop, random = asyncio.get_running_loop(), Random()
    while True:
        due = loop.time() + random.uniform(0.5, 1.5) * _LAG_PROBE_S
        await asyncio.sleep(due - loop.time())
        metrics.loop_lag_seconds.observe(max(0.0, loop.time() - due))


async def _tick(runner: Runner, logger: FilteringBoundLogger) -> None:
    """Give the core the passing of time; say it if the clock was set back."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    was_ahead = False
    while True:
        due += TICK_MS / 1000
        await asyncio.sleep(max(0.0, due - loop.time()))
        due = max(due, loop.time() - TICK_MS / 1000)  # after a long pause, no burst of ticks
        runner.deliver(Tick())
        is_ahead = (ahead_ms := runner.ahead_ms()) > _CLOCK_TOLERANCE_MS
        if is_ahead and not was_ahead:
            logger.warning(
                "the machine's clock was set back", seconds=ahead_ms // 1000, remedy="restart if it is right now"
            )
        was_ahead = is_ahead


async def _watch_machine(runner: Runner) -> None:
    """Tell the device how the machine is, now and then."""
    watch = MachineWatch()
    while True:
        runner.deliver(await asyncio.to_thread(watch.look))
        await asyncio.sleep(LOOK_S)


async def _expire(data: StoreSource, logger: FilteringBoundLogger) -> None:
    """Let the rows of the device's store go when their time is up, whether or not anything is trained."""
    has_warned = False
    while True:
        try:
            expired = await asyncio.to_thread(data.expire)
        except DataError as error:
            logger.warning("old rows of the data store stay", reason=str(error), remedy="look after the store")
        else:
            if expired.rows:
                logger.info("old rows of the data store are gone", rows=expired.rows, held=expired.held)
        if data.older_by and not has_warned:
            has_warned = True
            logger.warning(
                "the data store is an old copy of itself",
                changes_missing=data.older_by,
                remedy="put the newer one back; rows, limits and holds of plans since then are not in this one",
            )
        await asyncio.sleep(_EXPIRE_S)


async def _remember(core: NodeCore | LightCore, runner: Runner, home: Path) -> None:
    """Write down now and then whom to call after a crash, and a light device which headers it need not ask for."""
    seconds = _REMEMBER_FIRST_S
    while True:
        await asyncio.sleep(seconds)
        seconds = _REMEMBER_S
        peers = await runner.look(lambda: core.remember_peers(runner.now()))
        await asyncio.to_thread(write_peers, home, peers)
        if isinstance(core, LightCore):
            await asyncio.to_thread(write_headers, home, await runner.look(core.keep))
