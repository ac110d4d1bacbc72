"""A node that does everything at once: it imports full blocks, mines full blocks, and trains, in one real process.

Two nodes on the loopback address. The *sender* (``bench.sender``) owns a plan, hears of enough new transfers for a full
block each block interval, tells its peer of them and mines. The *node under test* is an ordinary ``fedchain node
start`` with mining on and a data file: it judges the transfers, builds and seals candidates of them, imports the
sender's blocks and its own, trains for the plan without end and verifies updates. It measures itself, by ``/metrics``.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.ledger import key_of
from bench.sender import allocations
from bench.testnet import wait_for_peers
from chain.genesis import Genesis
from chain.genesis_default import COIN, default_genesis, newest_rules
from node.addresses import join_address
from node.config import Config, DeviceSettings, LogSettings, MiningSettings, NetworkSettings, RpcSettings
from node.home import create_home
from node.localnet.homes import LOOPBACK, free_ports
from node.localnet.processes import NodeHome, NodeProcess, child_environment

BLOCK_MS: Final = 1000
TRANSFERS: Final = 1000
"""Transfers a block: a full one, as issue and benchmarks mean it."""
SENDERS: Final = 200
SENDER_RATE: Final = 1_000_000
"""Hashes a second of the sender; the node under test searches as fast as one thread can."""
FIRST_HASHES: Final = 2_500_000
"""Hashes that the first blocks take; the difficulty finds out the rest."""
ROWS, COLUMNS, CLASSES, EPOCHS = 2000, 784, 10, 12
PLAN: Final = f"""
title = "Without end"

[[roles]]
name = "device"
label = {{ name = "label", type = "classes", classes = [{", ".join(f'"{number}"' for number in range(CLASSES))}] }}
features = [{{ name = "x", type = "vector", size = {COLUMNS}, lower = 0, upper = 255 }}]

[model]
type = "softmax"

[algorithm]
name = "fedavg"
step = 0.05
epochs = {EPOCHS}
batch = 16

[participation]
min_devices = 1
goal_devices = 1
max_devices = 1
max_samples = {ROWS}
retries = 10

[deadlines]
enrol_blocks = 100

[verification]
attestations = 0

[verification.bounds]
sample_clip = 50
update_clip = 50

[stopping]
rounds = 1000
"""


@dataclass(frozen=True, slots=True)
class Busy:
    """The two homes and the plan's file."""

    sender: NodeHome
    node: NodeHome
    plan: Path


def write_rows(file: Path) -> None:
    """Write rows of noise with labels: what is learnt does not matter, how long it takes does."""
    draw = np.random.default_rng(1)
    np.savez(
        file,
        x=draw.integers(0, 256, (ROWS, COLUMNS)).astype(np.uint8),
        y=draw.integers(0, CLASSES, ROWS).astype(np.int64),
    )


def lay_out_busy(out: Path) -> Busy:
    """Make both data directories, the plan and the data."""
    out.mkdir(parents=True)
    write_rows(out / "rows.npz")
    (out / "plan.toml").write_text(PLAN)
    sender, node = key_of("busy sender"), key_of("busy node")
    rules = newest_rules()
    coins = {sender.account: 10**9 * COIN, node.account: 10 * rules.min_bond + 1000 * COIN}
    genesis: Genesis = default_genesis(
        "busy",
        coins | allocations(SENDERS),
        time_ms=time.time_ns() // 10**6,
        block_ms=BLOCK_MS,
        half_life_ms=30 * BLOCK_MS,
        hashes_per_block=FIRST_HASHES * BLOCK_MS // 1000,
        rules=rules,
    )
    ports = free_ports(2)
    rpc, log = RpcSettings(host=LOOPBACK, port=0), LogSettings(json=True)
    settings = {
        "sender": Config(
            network=NetworkSettings(host=LOOPBACK, port=ports[0]),
            rpc=rpc,
            log=log,
            mining=MiningSettings(enabled=True, max_hashrate=SENDER_RATE),
        ),
        "node": Config(
            network=NetworkSettings(host=LOOPBACK, port=ports[1], connect=(join_address(LOOPBACK, ports[0]),)),
            rpc=rpc,
            log=log,
            mining=MiningSettings(enabled=True, threads=1, bond=rules.min_bond),
            device=DeviceSettings(data=str((out / "rows.npz").resolve()), consent=True, any_plan=True),
        ),
    }
    create_home(out / "sender", genesis, settings["sender"], key=sender)
    create_home(out / "node", genesis, settings["node"], key=node)
    return Busy(NodeHome("sender", "miner", out / "sender"), NodeHome("node", "miner", out / "node"), out / "plan.toml")


@asynccontextmanager
async def busy_pair(busy: Busy) -> AsyncIterator[tuple[NodeProcess, NodeProcess]]:
    """Run sender and node under test, the plan submitted; yield their processes in this order."""
    feed = [str(number) for number in (SENDERS, TRANSFERS, BLOCK_MS)]
    sender = await NodeProcess.spawn(busy.sender, sys.executable, "-m", "bench.sender", str(busy.sender.path), *feed)
    try:
        node = await NodeProcess.start(busy.node)
        try:
            await wait_for_peers([sender, node], 1)
            await _submit(busy)
            yield sender, node
        finally:
            await node.stop()
    finally:
        await sender.stop()


async def _submit(busy: Busy) -> None:
    """Submit the plan as its owner would, through the command line."""
    command = ("plan", "submit", str(busy.plan), "--home", str(busy.sender.path), "--json")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *command),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
    )
    _, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the plan could not be submitted: {errors.decode()[-1000:]}")
