"""Nodes for tests: small networks on loopback, as services in this process or as processes of their own."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from chain.genesis import Genesis
from chain.genesis_default import default_genesis
from chain.genesis_default_stake import default_stake_genesis
from chain.keys import KeyPair
from consensus.engines import make_engine
from node.client import Client
from node.config import Config, LogSettings, MiningSettings, NetworkSettings, RpcSettings
from node.core.core import NodeCore
from node.eventlog import EventLog
from node.home import create_home
from node.light.core import LightCore
from node.logs import NodeLog
from node.service.home import core_config, first_data, light_config, make_world, network_config, open_home
from node.service.service import Running, Service
from node.signer import ValidatorSigner
from p2p.access import ChainAccess
from p2p.network import PeerNetwork
from storage.memory import MemoryChainStore
from storage.memorystores import MemoryPayloadStore, MemoryReleaseJournal, MemorySigningJournal

ROOT = Path(__file__).resolve().parents[3]
RICH = KeyPair(b"r" * 32)
"""The account that has all coins at the start."""


def make_genesis(chain_id: str = "house", *, block_ms: int = 1000) -> Genesis:
    """A network with blocks that any machine makes at once."""
    return default_genesis(
        chain_id,
        {RICH.account: 10**15},
        time_ms=int(time.time() * 1000) - 60_000,
        block_ms=block_ms,
        hashes_per_block=16,
        half_life_ms=20_000,
    )


def make_stake_genesis(chain_id: str = "house", *, block_ms: int = 400) -> Genesis:
    """A network whose one validator is ``RICH``."""
    return default_stake_genesis(
        chain_id,
        {RICH.account: 10**15},
        {RICH.account: 10**15},
        time_ms=int(time.time() * 1000) - 60_000,
        block_ms=block_ms,
        delta_ms=block_ms // 4,
        epoch_blocks=4,
    )


def make_config(*, connect: Sequence[str] = (), mine: bool = False, level: str = "debug") -> Config:
    """Ephemeral ports, and a miner that leaves the machine to others."""
    return Config(
        network=NetworkSettings(port=0, connect=tuple(connect)),
        rpc=RpcSettings(port=0),
        mining=MiningSettings(enabled=mine, register=False, max_hashrate=2_000),
        log=LogSettings(level=level),  # type: ignore[arg-type]
    )


def make_home(path: Path, genesis: Genesis, config: Config | None = None, *, key: KeyPair | None = None) -> Path:
    """A data directory."""
    create_home(path, genesis, make_config() if config is None else config, key=key)
    return path


@dataclass(frozen=True)
class House:
    """A service that runs in this process."""

    home: Path
    service: Service
    running: Running

    def log(self) -> list[dict[str, object]]:
        """Every line it has logged."""
        return read_log_lines(self.home)


@asynccontextmanager
async def running_service(
    home: Path, config: Config, *, code: int = 0, record: Path | None = None
) -> AsyncIterator[House]:
    """Run a service until the block ends, and see that it ends with ``code`` and its threads with it."""
    with (
        open_home(home, light=config.device.light) as opened,
        NodeLog(config.log, home / "logs" / "node.log", io.StringIO()) as log,
    ):
        service = Service(opened, config, log, record=record)
        run = asyncio.create_task(service.run())
        await asyncio.wait({run, service.running}, return_when=asyncio.FIRST_COMPLETED)
        if run.done():
            await run
        try:
            yield House(home, service, await service.running)
        finally:
            service.stop("the test is over")
            assert await run == code
            assert service.jobs_ended


def make_replaying_core(home: Path, config: Config, log: EventLog) -> NodeCore | LightCore:
    """A core over a world as the recording node's was at its start, but in memory."""
    is_light = config.device.light
    with open_home(home, light=is_light) as opened:
        genesis, key, real = opened.genesis, opened.key, make_world(opened, config, log.header.seed)
    signer = None if real.signer is None else ValidatorSigner(key, MemorySigningJournal())
    world = replace(
        real,
        store=MemoryChainStore(first_data(genesis)),
        payloads=MemoryPayloadStore(),
        journal=MemoryReleaseJournal(),
        signer=signer,
        engine=make_engine(genesis, signer, real.signatures),
    )
    line = next(line for line in read_log_lines(home) if line["event"] == "node started")
    port = 0 if is_light else int(str(line["listening"]).rpartition(":")[2])
    agent = f"fedchain{'-light' if is_light else ''}/{log.header.version}"
    network = network_config(config, genesis, agent, port)

    def connect(chain: ChainAccess) -> PeerNetwork:
        return PeerNetwork(network, key, chain, world.random)

    if is_light:
        return LightCore(world, light_config(config), connect)
    return NodeCore(world, core_config(config), connect)


def read_log_lines(home: Path) -> list[dict[str, object]]:
    """The lines of a node's log file."""
    return [json.loads(line) for line in (home / "logs" / "node.log").read_text().splitlines()]


async def until(condition, *, seconds: float = 60.0, what: str = "") -> None:
    """Wait until ``condition()`` (or what it awaits) is true."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < end, f"waited {seconds} s in vain {what}"
        await asyncio.sleep(0.02)


_START = """
import sys
from pathlib import Path
from node.service.process import run_node
record = Path(sys.argv[2]) if len(sys.argv) > 2 else None
sys.exit(run_node(Path(sys.argv[1]), record=record))
"""


class NodeProcess:
    """A node as a process of its own. Leaving the ``with`` block kills it if it still runs."""

    def __init__(self, home: Path, *, record: Path | None = None) -> None:
        arguments = [sys.executable, "-c", _START, str(home)] + ([] if record is None else [str(record)])
        self.home = home
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__
        self.process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )

    def __enter__(self) -> "NodeProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._errors.close()

    async def client(self) -> Client:
        """A client, once the node answers."""
        await until(lambda: (self.home / "rpc.json").exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.errors()
        return Client.from_home(self.home)

    def errors(self) -> str:
        """What it wrote to standard error; waits for its end."""
        self.process.wait(60)
        self._errors.seek(0)
        return self._errors.read()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return the exit code and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(60), time.monotonic() - began


def with_port(config: Config, *, network: int | None = None, rpc: int | None = None) -> Config:
    """The same settings with fixed ports."""
    return replace(
        config,
        network=config.network if network is None else replace(config.network, port=network),
        rpc=config.rpc if rpc is None else replace(config.rpc, port=rpc),
    )
