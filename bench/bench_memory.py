"""A long chain of small blocks: what a node's memory is along the way, and how long it takes to start again.

Memory is that of this process, which makes and imports the blocks, one by one, through the real core and LevelDB. Each
row compares a height with the first one measured:

    Python's allocations   how many there are: what the node itself holds. It must not grow with the chain
    own memory             anonymous pages, all that was ever allocated and not given back to the system: LevelDB's two
                           write buffers too, and the holes between them that malloc keeps
    resident memory        the whole set, with the libraries and with LevelDB's tables as far as they are mapped and
                           were read: pages of files, which the system takes back when it needs them. They grow with the
                           database until LevelDB has as many tables open as it may
"""

import gc
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from bench.bench_chain import WrongFigureError, mine_headers, scratch
from bench.node import LonelyNode, open_store, small_genesis
from bench.report import OUT, Row, publish, row
from chain.block import Header, block_id
from chain.codec import encode
from chain.ids import Hash, Height, Millis
from consensus.engines import make_engine
from consensus.first import genesis_block
from consensus.headertree import HeaderTree
from node.core.recovery import rebuild_tree
from storage.leveldb import LevelChainStore
from storage.lock import DirectoryLock

BLOCKS: Final = 100_000
STEPS: Final = 10
AHEAD: Final = 10_000
MB: Final = 1e6


class Memory(NamedTuple):
    """A process's memory; the latter two in bytes."""

    allocations: int
    """Blocks that Python's allocator has given out, of whatever size."""
    own: float
    """Anonymous pages; where the system does not tell them, all of ``resident``."""
    resident: float


def measure_memory() -> Memory:
    """Return this process's memory when garbage is collected."""
    gc.collect()
    allocations, resident = sys.getallocatedblocks(), float(psutil.Process().memory_info().rss)
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else []:
        if line.startswith("RssAnon:"):
            return Memory(allocations, 1024.0 * int(line.split()[1]), resident)
    return Memory(allocations, resident, resident)


def measure_growth(node: LonelyNode, blocks: int, steps: int = STEPS) -> list[Row]:
    """Return a row for every so many blocks: memory, compared with the first row's, and the rate of import."""
    found: list[Row] = []
    first: Memory | None = None
    each = blocks // steps
    for step in range(1, steps + 1):
        start = time.perf_counter()
        node.grow(each)
        seconds = time.perf_counter() - start
        size = measure_memory()
        first = first or size
        case, peer = f"chain of {step * each:,} blocks", f"at {each:,}"
        found.append(row(case, "Python's allocations", "blocks", size.allocations, {peer: first.allocations}))
        found.append(row(case, "own memory", "MB", size.own / MB, {peer: first.own / MB}))
        found.append(row(case, "resident memory", "MB", size.resident / MB, {peer: first.resident / MB}))
        if step in (1, steps):
            found.append(row(case, "made and imported", "blocks/s", each / seconds, {}))
    return found


def measure_start(node: LonelyNode, blocks: int) -> list[Row]:
    """Return the row of building the header tree from the store; its peer is reading the same headers."""
    start = time.perf_counter()
    tree = rebuild_tree(node.world)
    seconds = time.perf_counter() - start
    if tree.head != node.core.chain.head_id or tree.weight(tree.head) != node.core.chain.tree.weight(tree.head):
        raise WrongFigureError("the tree that was built again is another")
    start = time.perf_counter()
    count = sum(1 for _ in node.world.store.headers())
    scan = time.perf_counter() - start
    if count != blocks + 1:
        raise WrongFigureError(f"{count} headers are stored, not {blocks + 1}")
    case = f"chain of {blocks:,} blocks"
    return [
        row(case, "header tree at the start", "s", seconds, {"read all headers": scan}),
        row(case, "headers in memory after it", "headers", len(tree), {"stored": count}),
    ]


class _Archive:
    """Holds the last header alone: whoever asks for another one makes the benchmark stop."""

    latest: Header | None = None

    def header(self, id: Hash) -> Header | None:
        """Return the last header, if it is that."""
        return self.latest if self.latest is not None and block_id(self.latest) == id else None

    def block_id_at(self, height: Height) -> Hash | None:
        """Return None: no block is executed."""
        return None


def measure_ahead(count: int = AHEAD) -> list[Row]:
    """Return the row of what a header takes in memory while its block is still to be fetched; beside its bytes."""
    genesis, headers = mine_headers(count)
    now = Millis(headers[-1].time_ms)
    archive = _Archive()
    tracemalloc.start()
    tree = HeaderTree(make_engine(genesis), genesis_block(genesis).header, archive=archive)
    before = tracemalloc.get_traced_memory()[0]
    for header in headers:
        id = tree.accept(header, now)[0].id
        archive.latest = header
        tree.stored((id,))
    gc.collect()
    size = (tracemalloc.get_traced_memory()[0] - before) / count
    tracemalloc.stop()
    encoded = sum(len(encode(header)) for header in headers) / count
    return [row(f"{count:,} headers ahead of the head", "memory a header", "bytes", size, {"encoded": encoded})]


def measure_chain(blocks: int, directory: Path, steps: int = STEPS) -> list[Row]:
    """Return the rows of one chain of so many blocks on disk."""
    genesis = small_genesis()
    with scratch(directory), DirectoryLock(directory / ".lock") as lock:
        store: LevelChainStore = open_store(genesis, directory, lock)
        try:
            node = LonelyNode(genesis, store)
            return measure_growth(node, blocks, steps) + measure_start(node, blocks)
        finally:
            store.close()


def scratch_directory() -> Path:
    """Return where to put the database: in memory where that is possible, for every block is a synced write."""
    shared = Path("/dev/shm")
    return shared / f"fedchain-bench-{os.getpid()}" if shared.is_dir() else OUT / "scratch-memory"


def main() -> None:
    """Measure everything. Another process compiles the search for seals, as if this node had been started before."""
    subprocess.run([sys.executable, "-c", "from consensus.pow.search import warm_up; warm_up()"], check=True)
    found = measure_chain(BLOCKS, scratch_directory())
    found += measure_ahead()
    publish("memory", found, ("plyvel", "msgspec"))


if __name__ == "__main__":
    main()
