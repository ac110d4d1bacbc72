"""The data directories of a localnet: one genesis, one home a node, every node told where the miners are."""

import shutil
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace as with_fields

from chain.codec import encode
from chain.genesis import Genesis, Rules
from chain.genesis_default import COIN, default_genesis, newest_rules
from chain.genesis_default_stake import default_stake_genesis
from chain.ids import AccountId
from chain.keys import KeyPair
from consensus.fees import get_required_escrow
from fl.data.sources import list_devices
from fl.plan.bind import read_draft
from fl.plan.dimensions import replay_policy
from fl.plan.keyline import put_key
from fl.plan.render import render_plan
from fl.plan.schema import Committee, PaillierOwn, Plan, StatisticsPlan
from fl.privacy.randomness import SYSTEM_RANDOM, RandomSource, SeededRandom
from fl.secure.paillier import deal
from fl.secure.paillier.member import MemberKeys, make_member_key
from node.addresses import join_address
from node.config import Config, DeviceSettings, LogSettings, MiningSettings, NetworkSettings, RpcSettings
from node.errors import LocalnetError
from node.home import create_home
from node.localnet.devices import check_devices
from node.localnet.kills import check_kills
from node.localnet.processes import LIGHT, NodeHome
from node.localnet.spec import (
    DELTA_MS,
    DELTA_SHARE,
    HASHES_A_SECOND,
    OWNER_COINS,
    STAKE_COINS,
    LocalnetSpec,
    epoch_blocks,
    unbonding_blocks,
)

LOOPBACK: Final = "127.0.0.1"
_HALF_LIFE_BLOCKS: Final = 8
"""A loaded machine's miners are slower than they were told: the difficulty must find that out within a short run."""
RECORD: Final = "localnet.json"
"""Written by ``node.localnet.detached`` while the processes run on their own."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A localnet on disk. The first miner owns the plan; ``sample`` is one device's data file."""

    out: Path
    data: Path
    plan_file: Path
    plan: Plan
    genesis: Genesis
    sample: Path
    miners: tuple[NodeHome, ...]
    devices: tuple[NodeHome, ...]

    @property
    def homes(self) -> tuple[NodeHome, ...]:
        """All nodes, miners first."""
        return self.miners + self.devices

    @property
    def owner(self) -> NodeHome:
        """The node whose key submits the plan."""
        return self.miners[0]


def lay_out(spec: LocalnetSpec) -> Layout:
    """Make the directories of a localnet below ``spec.out`` and return them.

    Raises ``PlanError``, ``DataError`` or ``LocalnetError`` for what does not fit together, before any process starts
    and before what an earlier run left in ``spec.out`` is cleared.
    """
    plan, text = _read_plan(spec)
    files = list_devices(spec.data)
    if len(files) < plan.participation.min_devices:
        raise LocalnetError(
            f"{spec.data} holds the files of {len(files)} device{'s' if len(files) != 1 else ''}; the plan needs "
            f"{plan.participation.min_devices} devices",
            "add files, or lower participation.min_devices",
        )
    miners = [f"miner-{number}" for number in range(1, spec.miners + 1)]
    data = {file.name: file.train for file in files}
    names = [*miners, *data]
    if len(set(names)) < len(names):
        raise LocalnetError("a device's file is named like a miner", "name it otherwise: miner-1 … are the miners")
    if spec.light > len(data):
        raise LocalnetError(f"{spec.light} light devices of {len(data)}", "name fewer with --light, or add data files")
    check_devices(files, plan)
    check_kills(spec, plan, miners, list(data))
    prepare_out(spec.out)
    plan_file = spec.out / "plan.toml"
    keys = {name: _key(spec, name) for name in names}
    plan, text = _with_committee(spec, plan, [keys[name] for name in miners], text)
    plan_file.write_text(text, encoding="utf-8")
    genesis = _make_genesis(spec, plan, keys, miners)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    seeds = {name: join_address(LOOPBACK, ports[name]) for name in miners}
    light = set(list(data)[len(data) - spec.light :])
    homes: dict[str, NodeHome] = {}
    shares = replay_policy(plan) is not None
    for name in names:
        role = "miner" if name in seeds else LIGHT if name in light else "device"
        homes[name] = NodeHome(name, role, spec.out / "nodes" / name)
        others = tuple(address for miner, address in seeds.items() if miner != name)
        network = NetworkSettings(host=LOOPBACK, port=ports[name], connect=others)
        config = _config(network, genesis, data.get(name), light=name in light, shares=shares)
        create_home(homes[name].path, genesis, config, key=keys[name])
    return Layout(
        out=spec.out,
        data=spec.data,
        plan_file=plan_file,
        plan=plan,
        genesis=genesis,
        sample=files[0].train,
        miners=tuple(homes[name] for name in miners),
        devices=tuple(homes[name] for name in data),
    )


def prepare_out(out: Path) -> None:
    """Make an empty output directory; only one that an earlier, stopped localnet made is cleared."""
    marker = out / ".localnet"
    if out.exists():
        if (out / RECORD).exists():
            raise LocalnetError(f"{out} holds a localnet that is up", f"stop it: fedchain localnet down --out {out}")
        if not marker.exists() and any(out.iterdir()):
            raise LocalnetError(f"{out} is not empty and was not made by a localnet", "name another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    marker.touch()


def _read_plan(spec: LocalnetSpec) -> tuple[Plan, str]:
    """Return the plan as this run uses it, and its text; what the command line overrides is in it."""
    draft = read_draft(spec.plan)
    plan = draft.plan
    if spec.rounds is not None and isinstance(plan, StatisticsPlan):
        raise LocalnetError("a plan that counts has one round", "leave --rounds out")
    if spec.rounds is not None:
        plan = with_fields(plan, stopping=with_fields(plan.stopping, rounds=spec.rounds))
    holdout = None if draft.holdout_file is None else str((spec.plan.parent / draft.holdout_file).resolve())
    return plan, render_plan(plan, holdout_file=holdout)


def _with_committee(spec: LocalnetSpec, plan: Plan, miners: list[KeyPair], text: str) -> tuple[Plan, str]:
    """Return the plan and its text with a key for the miners' committee, where it asks for one and has none."""
    how = plan.aggregation
    if not isinstance(how, Committee) or how.key:
        return plan, text
    if how.threshold > len(miners):
        raise LocalnetError(
            f"the plan asks for {how.threshold} members of a committee; the localnet has {len(miners)} miners",
            "start more with --miners, or lower aggregation.threshold",
        )
    source: RandomSource = SYSTEM_RANDOM if spec.seed is None else SeededRandom(b"localnet committee %d" % spec.seed)
    if isinstance(how, PaillierOwn):
        key = encode(MemberKeys(tuple([make_member_key(miner, source.bytes(32)) for miner in miners])))
    else:
        key = encode(deal([miner.account for miner in miners], how.threshold, random=source))
    plan = with_fields(plan, aggregation=with_fields(how, key=key))
    return plan, put_key(text, key)


def _key(spec: LocalnetSpec, name: str) -> KeyPair:
    seed = spec.key_seed(name)
    return KeyPair.generate() if seed is None else KeyPair(seed)


def allocate_coins(plan: Plan, rules: Rules, miners: Sequence[AccountId]) -> dict[AccountId, int]:
    """Return what a genesis gives to whom: every miner can bond, and the first can pay for the plan too.

    ``LocalnetError`` for rewards that are more coins than can exist.
    """
    need = get_required_escrow(plan, rules)
    if need is None:
        raise LocalnetError("the plan's rewards are more coins than can exist", "lower [rewards]")
    allocations = dict.fromkeys(miners, 2 * rules.min_bond)
    allocations[miners[0]] += 2 * need + OWNER_COINS * COIN
    return allocations


def _make_genesis(spec: LocalnetSpec, plan: Plan, keys: dict[str, KeyPair], miners: list[str]) -> Genesis:
    """Return a genesis in which the first miner can pay for the plan and every miner can bond."""
    rules = newest_rules()
    allocations = allocate_coins(plan, rules, [keys[name].account for name in miners])
    name, now = f"localnet-{'random' if spec.seed is None else spec.seed}", time.time_ns() // 10**6
    if spec.engine == "pos":
        return default_stake_genesis(
            name,
            allocations,
            {keys[miner].account: STAKE_COINS * COIN for miner in miners},
            time_ms=now,
            block_ms=spec.block_ms,
            delta_ms=max(DELTA_MS, spec.block_ms // DELTA_SHARE),
            epoch_blocks=epoch_blocks(spec.block_ms),
            unbonding_blocks=unbonding_blocks(spec.block_ms),
        )
    return default_genesis(
        name,
        allocations,
        rules=rules,
        time_ms=now,
        block_ms=spec.block_ms,
        half_life_ms=_HALF_LIFE_BLOCKS * spec.block_ms,
        hashes_per_block=max(1, HASHES_A_SECOND * spec.miners * spec.block_ms // 1000),
    )


def _config(network: NetworkSettings, genesis: Genesis, data: Path | None, *, light: bool, shares: bool) -> Config:
    rpc, log = RpcSettings(host=LOOPBACK, port=0), LogSettings(json=True)
    if data is None:
        mining = MiningSettings(enabled=True, max_hashrate=HASHES_A_SECOND, bond=genesis.rules_at(0).min_bond)
        return Config(network=network, rpc=rpc, mining=mining, log=log)
    device = DeviceSettings(data=str(data.resolve()), consent=True, light=light, any_plan=True, share=shares)
    return Config(network=network, rpc=rpc, device=device, log=log)


def free_ports(count: int) -> list[int]:
    """Return TCP ports of the loopback address that nothing listens on now, all different."""
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            door = stack.enter_context(socket.socket())
            door.bind((LOOPBACK, 0))
            ports.append(int(door.getsockname()[1]))
        return ports
