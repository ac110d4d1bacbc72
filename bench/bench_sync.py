"""A new node joins a long chain: by state sync, and by executing every block. Real processes, TLS over loopback.

The chain is made here, block by block with every rule kept, and put into the data directory of a node that serves it.
Then a new node with an empty data directory takes the state from it: headers, state, and the blocks after the state,
until its head is the chain's. A second one executes blocks, for a sample of them; its rate over all blocks is what the
long way would take. Both in one run, so that a busy machine disturbs both.
"""

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random

from msgspec.structs import replace

from bench.ledger import key_of, state_changes
from bench.report import OUT, publish, row
from chain.block import Block
from chain.codec import encode
from chain.genesis import Genesis
from chain.genesis_default import default_genesis
from chain.ids import AccountId, Amount, Height, Millis
from chain.transaction import Transaction, Transfer
from consensus.context import BlockContext
from consensus.engines import make_engine
from consensus.headertree import HeaderTree
from consensus.transition import fill, genesis_block, genesis_execution, make_header
from consensus.undo import make_undo
from consensus.view import EmptyView, Overlay
from node.client import Client
from node.config import Config, LogSettings, NetworkSettings, RpcSettings, SyncSettings
from node.home import create_home
from node.rpc.failures import ClientError
from storage.base import CommitBatch, ConnectedBlock, GenesisData
from storage.directory import DataDirectory
from storage.leveldb import LevelChainStore

BLOCK_MS = 10_000
ACCOUNTS = 20_000
SENDERS = 100
BATCH = 200
_POLL_S = 0.1


def make_genesis(blocks: int) -> Genesis:
    """A network that began so long ago that its last block is of this minute."""
    holders = [key_of(f"sender {number}").account for number in range(SENDERS)]
    holders += [AccountId(sha256(b"holder" + number.to_bytes(4, "big")).digest()) for number in range(ACCOUNTS)]
    start = int(time.time() * 1000) - (blocks + 6) * BLOCK_MS
    return default_genesis("bench", dict.fromkeys(holders, 10**9), time_ms=start, block_ms=BLOCK_MS, hashes_per_block=1)


class Builder:
    """Makes blocks of one transfer to a new account each, and commits them to a store in batches."""

    def __init__(self, home: Path, genesis: Genesis, blocks: int) -> None:
        self.genesis = genesis
        self.blocks = blocks
        self.engine = make_engine(genesis)
        config = Config(network=NetworkSettings(port=0), rpc=RpcSettings(port=0), log=LogSettings(level="warning"))
        self.directory = create_home(home, genesis, config)
        self.keys = [key_of(f"sender {number}") for number in range(SENDERS)]
        self.draw = Random(1)

    def build(self) -> None:
        """Fill the data directory's chain."""
        execution = genesis_execution(self.genesis)
        first = genesis_block(self.genesis)
        data = GenesisData(self.genesis.id, first, state_changes(execution.delta), encode(execution.events))
        with self.directory.lock() as lock:
            store = self.directory.open_chain(lock, data)
            tree, parent = HeaderTree(self.engine, first.header), first
            for start in range(1, self.blocks + 1, BATCH):
                with store.view() as view:
                    overlay = Overlay(view)
                    connected: list[ConnectedBlock] = []
                    for height in range(start, min(start + BATCH, self.blocks + 1)):
                        parent = self._add(tree, overlay, parent, height, connected, store)
                    changes = overlay.delta().writes
                store.commit(CommitBatch(parent.id, changes, connected))
                print(f"\rchain of {parent.header.height} blocks", end="", file=sys.stderr, flush=True)
            store.close()
        print(file=sys.stderr)

    def _add(
        self,
        tree: HeaderTree,
        overlay: Overlay,
        parent: Block,
        height: int,
        connected: list[ConnectedBlock],
        store: LevelChainStore,
    ) -> Block:
        key = self.keys[height % SENDERS]
        body = Transfer(AccountId(self.draw.randbytes(32)), Amount(1000))
        signed = Transaction(1, "bench", key.account, (height - 1) // SENDERS, Amount(5000), body).sign(key)
        now = Millis(parent.header.time_ms + BLOCK_MS)
        prepared = self.engine.prepare(tree, parent.id, now)
        context = BlockContext(
            chain_id="bench",
            height=Height(height),
            parent_time_ms=parent.header.time_ms,
            time_ms=prepared.time_ms,
            producer=self.keys[0].account,
            beacon=self.engine.beacon(parent.header),
            rules=self.genesis.rules_at(height),
        )
        filling = fill(overlay, context, (signed,), (), EmptyView())
        if filling.rejected:
            raise RuntimeError(f"a transfer does not fit: {filling.rejected}")
        header = make_header(context, parent.id, filling.body, filling.execution, prepared.engine)
        seal = self.engine.seal(header, lambda: False)
        block = Block(replace(header, seal=seal or b""), filling.body)
        tree.accept(block.header, Millis(now + BLOCK_MS))
        for change in filling.execution.delta.changes:
            overlay.put(change.key, change.new)
        store.put_headers([block.header])
        store.put_body(block.id, block.body)
        undo, events = encode(make_undo(filling.execution)), encode(filling.execution.events)
        connected.append(ConnectedBlock(block.id, Height(height), undo, events, (signed.id,)))
        return block


@contextmanager
def node(home: Path) -> Iterator[None]:
    """Run a node as a process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "node", "start", "--home", str(home)], stdout=subprocess.DEVNULL
    )
    try:
        while not (home / "rpc.json").exists():
            if process.poll() is not None:
                raise RuntimeError(f"the node of {home} ended with code {process.returncode}")
            time.sleep(_POLL_S)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


async def watch(home: Path, until: int) -> tuple[float, float, int]:
    """Wait for a height; return the seconds until the first block, until that height, and the bytes received."""
    began = time.perf_counter()
    first = size = 0.0
    async with Client.from_home(home) as client:
        while True:
            try:
                status = await client.status()
                size = max(size, sum(peer.bytes_received for peer in await client.peers()))
            except ClientError:
                await asyncio.sleep(_POLL_S)
                continue
            if status.height and not first:
                first = time.perf_counter() - began
            if status.height >= until:
                return first, time.perf_counter() - began, int(size)
            await asyncio.sleep(_POLL_S)


async def listening(home: Path) -> str:
    """Return where a node listens."""
    async with Client.from_home(home) as client:
        return (await client.status()).listening


def join(
    root: Path, name: str, genesis: Genesis, server: Path, state_blocks: int, until: int
) -> tuple[float, float, int, Path]:
    """Let a new node join; return when it began to execute, when it was there, the bytes it took, its directory."""
    home = root / name
    config = Config(
        network=NetworkSettings(port=0, connect=(asyncio.run(listening(server)),)),
        rpc=RpcSettings(port=0),
        sync=SyncSettings(state_blocks=state_blocks),
        log=LogSettings(level="warning"),
    )
    create_home(home, genesis, config)
    with node(home):
        return (*asyncio.run(watch(home, until)), home)


def size_of(path: Path) -> int:
    """Return the bytes of all files in a directory."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=3_000)
    parser.add_argument("--keep", action="store_true", help="leave the chain there, or take the one that was left")
    options = parser.parse_args()
    root = OUT / "sync"
    server = root / "server"
    if not options.keep or not server.exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        Builder(server, make_genesis(options.blocks), options.blocks).build()
    genesis = DataDirectory.find(server).genesis()
    for name in ("state", "replay"):
        shutil.rmtree(root / name, ignore_errors=True)
    with node(server):
        _, seconds, taken, home = join(root, "state", genesis, server, 5_000, options.blocks)
        disk = size_of(home / "chain")
        began, ended, _, _ = join(root, "replay", genesis, server, 0, min(options.sample, options.blocks))
    each = (ended - began) / options.sample
    case = f"{options.blocks:,} blocks, {options.blocks + ACCOUNTS:,} accounts"
    publish(
        "sync",
        [
            row(case, "a new node is there", "s", seconds, {"executing every block": began + each * options.blocks}),
            row(case, "bytes received", "MB", taken / 1e6, {"the server's database": size_of(server / "chain") / 1e6}),
            row(case, "chain on disk", "MB", disk / 1e6, {"the server's database": size_of(server / "chain") / 1e6}),
        ],
        note=f"executing every block: from {options.sample:,} of them in the same run, {1 / each:,.0f} blocks/s",
    )
    if not options.keep:
        shutil.rmtree(root)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
