"""A fleet's network on this machine: miners and one node that hosts all devices, each a process of its own.

What such a network's rules say, and why, stands here, since a genesis is free to say it: a registration stamp costs
next to nothing (all devices are one holder's), and a block has room for thousands of updates. Nothing in them knows of
a fleet. By default blocks are voted on: only the leader builds one, none is built for nothing, and what is final at
once lets payloads of settled rounds go. By work, blocks that take seconds to import lengthen every miner's own branch.
"""

import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

from msgspec.structs import replace as with_fields

from chain.genesis import Genesis, Rules
from chain.genesis_default import COIN, default_genesis, newest_rules
from chain.genesis_default_stake import default_stake_genesis
from chain.keys import KeyPair
from fl.data.fleetfile import read_names
from fl.plan.bind import load_plan
from fl.plan.render import render_plan
from fl.plan.schema import Plan
from node.addresses import join_address
from node.config import (
    Config,
    FleetSettings,
    LimitSettings,
    LogSettings,
    MiningSettings,
    NetworkSettings,
    RpcSettings,
    StorageSettings,
    read_config,
)
from node.errors import LocalnetError
from node.fleet.keys import FLEET_KEY
from node.home import create_home
from node.localnet.homes import LOOPBACK, Layout, allocate_coins, free_ports, prepare_out
from node.localnet.processes import NodeHome
from node.localnet.spec import DELTA_MS, STAKE_COINS, epoch_blocks, unbonding_blocks
from storage.directory import DataDirectory

DEFAULT_BLOCK_MS: Final = 2_000
FLEET: Final = "fleet"
"""The name and the role of the node that hosts the devices."""
PLAN_FILE: Final = "plan.toml"
_STAMP_BITS: Final = 1
_BLOCK_BYTES: Final = 4 * 2**20
_BLOCK_PAYLOAD_BYTES: Final = 128 * 2**20
_REORG_BLOCKS: Final = 500
_PAYLOAD_BLOCKS: Final = 8
"""Payloads of settled rounds are kept for so many blocks beyond finality, by every node."""
_SETTLING_US: Final = 500
"""Of each device: a validator settles thousands of updates before it votes, and others on this machine do as well."""
_HALF_LIFE_BLOCKS: Final = 8
_HASHES_A_SECOND: Final = 500
"""Hashes of each miner: the cores are for updates."""
_LEAST_UPDATE_BYTES: Final = 512 * 2**20
_UPDATE_BYTES: Final = 64 * 1024
"""Of each device's update the pools take so much, on average."""


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """One run: a fleet file, a plan, and the network to make. With a ``seed`` all keys are drawn from it.

    ``resume`` goes on with the network that ``out`` holds.
    """

    data: Path
    plan: Plan
    out: Path
    miners: int = 3
    engine: Literal["pow", "pos"] = "pos"
    block_ms: int = DEFAULT_BLOCK_MS
    seed: int | None = None
    timeout_s: float = 7200.0
    keep_payloads: bool = False
    resume: bool = False
    hold_ms: int = 0
    """Under proof of stake: how long a leader holds a block back while it would lack updates (``[mining] hold_ms``)."""
    executor: str = "threads"
    """What trains the devices (``[fleet] executor``)."""

    def key(self, name: str) -> KeyPair:
        """Return a node's key, or the fleet's secret."""
        if self.seed is None:
            return KeyPair.generate()
        return KeyPair(sha256(f"fedchain fleet {self.seed} {name}".encode()).digest())


def lay_out_fleet(spec: FleetSpec) -> Layout:
    """Make the directories of a fleet's network below ``spec.out``, or find those of an earlier run that goes on.

    Raises ``DataError`` or ``LocalnetError`` before anything is written.
    """
    if spec.resume:
        return _found(spec)
    names, plan = read_names(spec.data), spec.plan
    if len(names) < plan.participation.min_devices:
        raise LocalnetError(
            f"{spec.data.name} holds {len(names)} devices; the plan needs {plan.participation.min_devices}",
            "take a larger fleet, or lower participation.min_devices",
        )
    prepare_out(spec.out)
    miners = [f"miner-{number}" for number in range(1, spec.miners + 1)]
    keys = {name: spec.key(name) for name in (*miners, FLEET, "devices")}
    genesis = _make_genesis(spec, keys, miners)
    plan_file = spec.out / PLAN_FILE
    plan_file.write_text(render_plan(plan), encoding="utf-8")
    ports = dict(zip((*miners, FLEET), free_ports(len(miners) + 1), strict=True))
    homes: dict[str, NodeHome] = {}
    for name in (*miners, FLEET):
        homes[name] = NodeHome(name, FLEET if name == FLEET else "miner", spec.out / "nodes" / name)
        others = tuple(join_address(LOOPBACK, ports[miner]) for miner in miners if miner != name)
        network = NetworkSettings(host=LOOPBACK, port=ports[name], connect=others)
        config = _config(spec, network, genesis, len(names), hosts=name == FLEET)
        directory = create_home(homes[name].path, genesis, config, key=keys[name])
        if name == FLEET:
            directory.keystore().add(FLEET_KEY, keys["devices"])
    return _layout(spec, plan_file, genesis, homes)


def _layout(spec: FleetSpec, plan_file: Path, genesis: Genesis, homes: dict[str, NodeHome]) -> Layout:
    miners = tuple(home for home in homes.values() if home.role == "miner")
    return Layout(spec.out, spec.data, plan_file, spec.plan, genesis, spec.data, miners, (homes[FLEET],))


def _found(spec: FleetSpec) -> Layout:
    """Return the layout of an earlier run, of its plan and its rows."""
    nodes = spec.out / "nodes"
    names = sorted(path.name for path in nodes.iterdir())
    homes = {name: NodeHome(name, FLEET if name == FLEET else "miner", nodes / name) for name in names}
    return _layout(spec, spec.out / PLAN_FILE, DataDirectory.find(nodes / FLEET).genesis(), homes)


def find_earlier(out: Path) -> tuple[Plan, Path]:
    """Return the plan and the fleet file of the run that a directory holds. ``LocalnetError`` if it holds none."""
    plan_file, home = out / PLAN_FILE, out / "nodes" / FLEET
    if not plan_file.is_file() or not home.is_dir():
        raise LocalnetError(f"{out} holds no fleet's network to go on with", "leave --resume out")
    config = read_config(DataDirectory.find(home).config_file)
    return load_plan(plan_file).plan, Path(config.fleet.data)


def fleet_rules(plan: Plan) -> Rules:
    """Return the rules of a fleet's network (see this file's beginning)."""
    rules = newest_rules()
    return with_fields(
        rules,
        stamp_bits=_STAMP_BITS,
        max_block_bytes=_BLOCK_BYTES,
        max_block_payload_bytes=_BLOCK_PAYLOAD_BYTES,
    )


def _make_genesis(spec: FleetSpec, keys: dict[str, KeyPair], miners: list[str]) -> Genesis:
    """Return a genesis in which the first miner can pay for the plan and every miner can bond."""
    rules = fleet_rules(spec.plan)
    allocations = allocate_coins(spec.plan, rules, [keys[name].account for name in miners])
    name, now = f"fleet-{'random' if spec.seed is None else spec.seed}", time.time_ns() // 10**6
    if spec.engine == "pos":
        return default_stake_genesis(
            name,
            allocations,
            {keys[miner].account: STAKE_COINS * COIN for miner in miners},
            time_ms=now,
            block_ms=spec.block_ms,
            delta_ms=max(DELTA_MS, spec.block_ms, _SETTLING_US * spec.plan.participation.max_devices // 1000),
            epoch_blocks=epoch_blocks(spec.block_ms),
            unbonding_blocks=unbonding_blocks(spec.block_ms),
            rules=rules,
        )
    return default_genesis(
        name,
        allocations,
        rules=rules,
        time_ms=now,
        block_ms=spec.block_ms,
        half_life_ms=_HALF_LIFE_BLOCKS * spec.block_ms,
        hashes_per_block=max(1, _HASHES_A_SECOND * spec.miners * spec.block_ms // 1000),
        max_reorg=_REORG_BLOCKS,
    )


def _config(spec: FleetSpec, network: NetworkSettings, genesis: Genesis, devices: int, *, hosts: bool) -> Config:
    """Return a node's settings: pools that hold a phase's updates, and the payloads of settled rounds let go."""
    rpc, log = RpcSettings(host=LOOPBACK, port=0), LogSettings(json=True)
    defaults = LimitSettings()
    limits = LimitSettings(
        updates=max(defaults.updates, 2 * devices), update_bytes=max(_LEAST_UPDATE_BYTES, 2 * devices * _UPDATE_BYTES)
    )
    storage = StorageSettings(payload_blocks=0 if spec.keep_payloads else _PAYLOAD_BLOCKS)
    if hosts:
        fleet = FleetSettings(data=str(spec.data.resolve()), consent=True, any_plan=True, executor=spec.executor)
        return Config(network=network, rpc=rpc, fleet=fleet, log=log, limits=limits, storage=storage)
    mining = MiningSettings(
        enabled=True, max_hashrate=_HASHES_A_SECOND, bond=genesis.rules_at(0).min_bond, hold_ms=spec.hold_ms
    )
    return Config(network=network, rpc=rpc, mining=mining, log=log, limits=limits, storage=storage)
