"""Small networks of real processes for benchmarks: founded, started, asked for what they have used, stopped.

No plan and no devices of their own: what is measured is the node. Every node listens on the loopback address and
knows a few of the others to begin with.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Literal

import psutil

from bench.ledger import key_of
from chain.genesis import Genesis
from chain.genesis_default import COIN, default_genesis, newest_rules
from chain.genesis_default_stake import default_stake_genesis
from node.addresses import join_address
from node.client import Client, ClientError
from node.config import Config, LogSettings, MiningSettings, NetworkSettings, RpcSettings
from node.home import create_home
from node.localnet.homes import LOOPBACK, free_ports
from node.localnet.processes import NodeHome, NodeProcess

Engine = Literal["pow", "pos"]
HASHRATE: Final = 20_000
"""Attempts a second of a throttled miner."""
MINERS: Final = 2
"""Nodes that mine where blocks cost work; all others follow."""
_NEIGHBOURS: Final = 4
_STAKE: Final = 10_000 * COIN
_START_S: Final = 240.0


@dataclass(frozen=True, slots=True)
class Testnet:
    """The homes of a network that was laid out."""

    genesis: Genesis
    homes: tuple[NodeHome, ...]


def make_genesis(engine: Engine, names: Sequence[str], block_ms: int) -> Genesis:
    """Return a network whose validators are all nodes, or whose first target fits ``MINERS`` of them."""
    keys = [key_of(name).account for name in names]
    allocations, now = dict.fromkeys(keys, 10 * newest_rules().min_bond), time.time_ns() // 10**6
    if engine == "pos":
        return default_stake_genesis(
            "testnet", allocations, dict.fromkeys(keys, _STAKE), time_ms=now, block_ms=block_ms
        )
    hashes = HASHRATE * MINERS * block_ms // 1000
    return default_genesis("testnet", allocations, time_ms=now, block_ms=block_ms, hashes_per_block=hashes)


def lay_out_testnet(out: Path, engine: Engine, nodes: int, block_ms: int) -> Testnet:
    """Make the data directories of so many nodes below ``out``."""
    names = [f"node-{number:02}" for number in range(1, nodes + 1)]
    genesis = make_genesis(engine, names, block_ms)
    addresses = [join_address(LOOPBACK, port) for port in free_ports(nodes)]
    random, homes = Random(1), []
    for number, name in enumerate(names):
        others = [address for address in addresses if address != addresses[number]]
        is_mining = engine == "pos" or number < MINERS
        config = Config(
            network=NetworkSettings(
                host=LOOPBACK,
                port=int(addresses[number].rpartition(":")[2]),
                connect=tuple(random.sample(others, min(_NEIGHBOURS, len(others)))),
            ),
            rpc=RpcSettings(host=LOOPBACK, port=0),
            mining=MiningSettings(enabled=is_mining, max_hashrate=HASHRATE),
            log=LogSettings(json=True),
        )
        homes.append(NodeHome(name, "miner" if is_mining else "node", out / name))
        create_home(homes[-1].path, genesis, config, key=key_of(name))
    return Testnet(genesis, tuple(homes))


@asynccontextmanager
async def running(testnet: Testnet) -> AsyncIterator[list[NodeProcess]]:
    """Start all nodes and yield their processes once all answer and have peers; stop them in the end."""
    processes: list[NodeProcess] = []
    async with AsyncExitStack() as stack:

        async def stop_all() -> None:
            await asyncio.gather(*(process.stop() for process in processes))

        stack.push_async_callback(stop_all)
        for home in testnet.homes:
            process = await NodeProcess.start(home)
            processes.append(process)  # at once: a failure at the next one must find it here
        await wait_for_peers(processes, 2)
        yield processes


async def wait_for_peers(processes: Sequence[NodeProcess], least: int) -> None:
    """Wait until every node answers and has so many peers; raise if one dies or takes too long."""
    deadline = time.monotonic() + _START_S
    for process in processes:
        while not await has_peers(process.home, least):
            process.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{process.home.name} found no peers in {_START_S:g} s")
            await asyncio.sleep(0.5)


async def has_peers(home: NodeHome, least: int) -> bool:
    """Does this node answer, and has it so many peers?"""
    try:
        async with asyncio.timeout(5), Client.from_home(home.path) as client:
            return (await client.status()).peers >= least
    except (ClientError, TimeoutError):
        return False


async def height_of(home: NodeHome) -> int:
    """Return the height of a node's head."""
    async with Client.from_home(home.path) as client:
        return (await client.status()).height


def cpu_seconds(processes: Sequence[NodeProcess]) -> Mapping[str, float]:
    """Return the processor time that each process has used, user and system."""
    used: dict[str, float] = {}
    for process in processes:
        times = psutil.Process(process.pid).cpu_times()
        used[process.home.name] = times.user + times.system
    return used


def resident_mb(processes: Sequence[NodeProcess]) -> list[float]:
    """Return each process's resident memory in MB (10**6 bytes)."""
    return [psutil.Process(process.pid).memory_info().rss / 1e6 for process in processes]
