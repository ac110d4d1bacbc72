"""A node's data directory, opened by the one process that runs it (``node.home`` makes it).

    config.toml   the operator's settings            keys/node.json   the node's own key
    logs/         node.log and its predecessors      holdout/         sets kept for plans of this owner
    rpc.json      where the running node answers     rpc.cookie       its secret for those who may command it
    peers.dat     addresses of peers, anchors, bans

The rest is ``storage.directory``'s.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self

from chain.codec import encode
from chain.genesis import Genesis, PosParameters
from chain.ids import Hash
from chain.keys import KeyPair
from chain.statement import DeviceStatement
from consensus.engines import make_engine
from consensus.signatures import SignatureCache
from consensus.transition import genesis_block, genesis_execution
from fl.data.sources import DataSource, open_source
from fl.errors import DataError, ExecutorError
from fl.executors.choice import THREADS, needs_pool, opened_pool
from fl.executors.fleets import FleetWorker
from node.config import Config, read_config
from node.core.checkpoint import Checkpoint
from node.core.config import CoreConfig, DeviceConfig, FleetConfig, MinerConfig, PoolLimits, Retention, WorkConditions
from node.errors import StartupError
from node.fleet.hosted import FleetFile, HostedFleet, Pools
from node.fleet.keys import FLEET_KEY
from node.home import NODE_KEY
from node.light.config import LightConfig
from node.service.datastore import SCHEME as STORE_SCHEME
from node.service.datastore import StoreSource, choose_opener, open_data_store
from node.service.holdout import FileHoldout
from node.signer import ValidatorSigner
from node.statementfile import read_statement
from node.targets import read_target
from node.world import World
from p2p.access import NetworkConfig
from p2p.saved import SavedPeers
from storage.base import GenesisData
from storage.datakey import Opener
from storage.directory import DataDirectory
from storage.errors import StorageError
from storage.files import write_file
from storage.leveldb import LevelChainStore
from storage.lock import DirectoryLock
from storage.memory import MemoryChainStore
from storage.own import ReleaseJournal, SigningJournal
from storage.payloads import PayloadFiles
from storage.pledges import FilePledges

_STALE_BLOCKS: Final = 20
"""So many blocks' time without a new head, and somebody else is asked."""
_STALE_LEAST_MS: Final = 5 * 60_000


@dataclass(frozen=True, slots=True)
class OpenHome:
    """A data directory that this process holds, with its stores open. Close it, or use it as a context manager."""

    directory: DataDirectory
    lock: DirectoryLock
    genesis: Genesis
    key: KeyPair
    store: LevelChainStore | MemoryChainStore
    payloads: PayloadFiles
    journal: ReleaseJournal
    pledges: FilePledges
    signing: SigningJournal | None = None
    fleet_key: KeyPair | None = None
    """The secret of the fleet that this node may host."""
    data_opener: Opener | None = None
    """What opens the data store that the device may train on."""

    @property
    def path(self) -> Path:
        """The directory."""
        return self.directory.path

    def close(self) -> None:
        """Close the stores, then let the next process in."""
        if self.signing is not None:
            self.signing.close()
        self.pledges.close()
        self.journal.close()
        self.store.close()
        self.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_home(
    path: Path, password: str | None = None, *, light: bool = False, data_opener: Opener | None = None
) -> OpenHome:
    """Take a data directory for this process and open its stores; for a light node nothing of a chain.

    Raises the room ``storage``'s errors: ``LockedError`` if a node runs in it, ``UseError`` if it is none,
    ``KeystoreError`` for its key, ``SchemaError`` or ``DamagedError`` for its database.
    """
    directory = DataDirectory.find(path)
    genesis = directory.genesis()
    keys = directory.keystore()
    key = keys.load(NODE_KEY, password)
    has_fleet = any(info.name == FLEET_KEY for info in keys.list_keys())
    fleet_key = keys.load(FLEET_KEY, password) if has_fleet else None
    lock = directory.lock()
    try:
        first = first_data(genesis)
        store = MemoryChainStore(first) if light else directory.open_chain(lock, first)
        payloads = directory.open_payloads(lock)
        journal = directory.open_journal()
        pledges = directory.open_pledges()
        votes = isinstance(genesis.engine, PosParameters)
        signing = directory.open_signing_journal(key.account) if votes and not light else None
    except BaseException:
        lock.release()
        raise
    return OpenHome(directory, lock, genesis, key, store, payloads, journal, pledges, signing, fleet_key, data_opener)


def first_data(genesis: Genesis) -> GenesisData:
    """Return what a new chain store of this network begins with."""
    execution = genesis_execution(genesis)
    changes = execution.delta.writes
    return GenesisData(genesis.id, genesis_block(genesis), changes, encode(execution.events))


# --- from settings to what the core is given -------------------------------------------------------


def make_world(home: OpenHome, config: Config, seed: bytes) -> World:
    """Return the world of a node. ``StartupError`` if its data can't be opened."""
    signer, signatures = None, SignatureCache()
    if home.signing is not None and config.mining.enabled:
        signer = ValidatorSigner(home.key, home.signing)
    return World(
        genesis=home.genesis,
        engine=make_engine(home.genesis, signer, signatures),
        store=home.store,
        payloads=home.payloads,
        journal=home.journal,
        residuals=home.directory.open_residuals(),
        shared_sets=home.directory.open_shared_sets(),
        pledges=home.pledges,
        key=home.key,
        random=Random(seed),
        data=_open_data(home, config),
        statement=_read_statement(home, config),
        holdout=FileHoldout(home.path),
        fleet=_open_fleet(home, config),
        signer=signer,
        signatures=signatures,
    )


def _read_statement(home: OpenHome, config: Config) -> DeviceStatement | None:
    if not config.device.statement:
        return None
    path = home.path / Path(config.device.statement).expanduser()
    return read_statement(path, home.genesis.chain_id, home.key.account)


def _open_data(home: OpenHome, config: Config) -> DataSource | None:
    location = config.device.data
    if not location:
        return None
    if location.startswith(STORE_SCHEME):
        return _open_store(home, location)
    beside = home.path / location
    try:
        return open_source(str(beside) if beside.is_file() else location)
    except DataError as error:
        remedy = f"name a data file in {home.path}/config.toml, [device] data"
        raise StartupError(f"device.data: {error}", remedy) from None


def _open_store(home: OpenHome, location: str) -> StoreSource:
    path = store_path(home.path, location)
    try:
        opener = home.data_opener or choose_opener(path, None)
        return open_data_store(path, opener, home.key.account, home.directory.open_seen_stores())
    except StorageError as error:
        remedy = f"name a data store in {home.path}/config.toml, [device] data, and give its password"
        raise StartupError(f"device.data: {error}", remedy) from None


def store_path(home: Path, location: str) -> Path:
    """Return the directory of a data store that ``[device] data`` names; a relative one lies in the data directory."""
    return home / Path(location.removeprefix(STORE_SCHEME)).expanduser()


def _open_fleet(home: OpenHome, config: Config) -> HostedFleet | None:
    if not config.fleet.data:
        return None
    if home.fleet_key is None:
        raise StartupError(
            f"{home.path} has no key named {FLEET_KEY}, from which the devices of [fleet] have theirs",
            f"make one: fedchain keys new {FLEET_KEY} --home {home.path} (with the node key's password, if it has one)",
        )
    try:
        pools = _find_pools(config.fleet.executor)
        return HostedFleet(FleetFile(home.path / config.fleet.data), home.fleet_key, pools)
    except ExecutorError as error:
        raise StartupError(f"fleet.executor: {error}", f"or train here: executor = {THREADS!r}") from None
    except DataError as error:
        remedy = f"name a fleet file in {home.path}/config.toml, [fleet] data"
        raise StartupError(f"fleet.data: {error}", remedy) from None


def _find_pools(executor: str) -> Pools | None:
    """Return where the devices of a fleet train under this name; None in this process. ``ExecutorError``."""
    if not needs_pool(executor):
        return None
    address = executor.partition(":")[2]
    return lambda: opened_pool(address, FleetWorker)


def core_config(config: Config) -> CoreConfig:
    """Return the core's part of the settings."""
    mining, device, fleet = config.mining, config.device, config.fleet
    limits, kept = config.limits, config.storage
    return CoreConfig(
        miner=MinerConfig(
            bond=mining.bond,
            register=mining.register,
            max_hashrate=mining.max_hashrate,
            threads=mining.threads or os.cpu_count() or 1,
            dispute_percent=mining.dispute_percent,
            hold_ms=mining.hold_ms,
        )
        if mining.enabled
        else None,
        device=DeviceConfig(
            consent=device.consent,
            plans=tuple(Hash(bytes.fromhex(plan)) for plan in device.plans),
            any_plan=device.any_plan,
            role=device.role,
            lifetime_budget=device.lifetime_budget,
            share=device.share,
            conditions=WorkConditions(device.when_idle, device.on_power, device.unmetered, device.idle_percent),
        )
        if device.data
        else None,
        fleet=FleetConfig(
            consent=fleet.consent,
            plans=tuple(Hash(bytes.fromhex(plan)) for plan in fleet.plans),
            any_plan=fleet.any_plan,
            role=fleet.role,
            lifetime_budget=fleet.lifetime_budget,
        )
        if fleet.data
        else None,
        owner=True,
        checkpoint=Checkpoint.parse(config.sync.checkpoint) if config.sync.checkpoint else None,
        state_blocks=0 if kept.archive else config.sync.state_blocks,
        snapshot_blocks=CoreConfig().snapshot_blocks if config.sync.serve_state else 0,
        minimum_work=int(config.sync.minimum_work),
        state_networks=config.sync.state_networks,
        accuses_at_a_loss=config.mining.accuse == "always",
        has_reorg_limit=not config.sync.allow_deep_reorg,
        retention=Retention(kept.archive, kept.payload_blocks, kept.block_blocks),
        pools=PoolLimits(
            transactions=limits.transactions,
            transaction_bytes=limits.transaction_bytes,
            updates=limits.updates,
            update_bytes=limits.update_bytes,
        ),
    )


def light_config(config: Config) -> LightConfig:
    """Return a light node's part of the settings. ``StartupError`` if it is to do what takes a chain."""
    if config.fleet.data:
        remedy = "take back [fleet] data, or [device] light"
        raise StartupError("a light node can't host a fleet: it has no chain", remedy)
    if config.mining.enabled:
        raise StartupError("a light node can't mine: it has no chain", "take back [mining] enabled, or [device] light")
    core = core_config(config)
    return LightConfig(core.device or DeviceConfig(consent=False), core.checkpoint, core.minimum_work)


def network_config(
    config: Config,
    genesis: Genesis,
    agent: str,
    port: int,
    remembered: SavedPeers | None = None,
    known: tuple[str, ...] = (),
) -> NetworkConfig:
    """Return the peer network's part of the settings; ``port`` is the one bound. ``StartupError``.

    ``remembered`` is what an earlier run wrote down, ``known`` what one of a former version did.
    """
    most_body = max(rules.max_block_bytes for rules in genesis.all_rules)
    most_payload = max(rules.max_payload_bytes for rules in genesis.all_rules)
    defaults = NetworkConfig()
    return NetworkConfig(
        agent=agent,
        listen_port=port,
        connect=_targets("connect", config.network.connect, genesis),
        seeds=_targets("seeds", config.network.seeds, genesis),
        known=known,
        remembered=remembered,
        outbound=config.network.outbound,
        max_inbound=config.network.max_inbound,
        ban_ms=config.network.ban_minutes * 60_000,
        stale_ms=max(_STALE_LEAST_MS, _STALE_BLOCKS * genesis.engine.block_ms),
        exchange_addresses=config.network.exchange_addresses,
        max_body_bytes=0 if config.device.light else min(most_body, defaults.max_body_bytes),  # it asks for none
        max_payload_bytes=min(most_payload, defaults.max_payload_bytes),
    )


def _targets(setting: str, texts: tuple[str, ...], genesis: Genesis) -> tuple[str, ...]:
    try:
        return tuple([read_target(text, genesis.prefix) for text in texts])
    except ValueError as error:
        raise StartupError(f"network.{setting}: {error}", "correct it in config.toml, [network]") from None


# --- small files -----------------------------------------------------------------------------------


def read_settings(path: Path) -> Config:
    """Return the settings of a data directory. ``ConfigError``."""
    return read_config(DataDirectory.find(path).config_file)


def write_rpc_files(home: Path, url: str, listening: str, cookie: str) -> None:
    """Say where the running node answers, and what opens it to those who may read this directory."""
    write_file(home / "rpc.cookie", (cookie + "\n").encode())
    document = {"url": url, "listening": listening, "pid": os.getpid()}
    write_file(home / "rpc.json", (json.dumps(document, indent=1) + "\n").encode())


def remove_rpc_files(home: Path) -> None:
    """Say that no node runs here any more."""
    for name in ("rpc.json", "rpc.cookie"):
        (home / name).unlink(missing_ok=True)
