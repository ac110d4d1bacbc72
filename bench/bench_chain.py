"""The chain without learning: executing transfers, judging headers, encoding, committing to disk.

Each is compared with the least that must be done: Ed25519 alone, SHA-256 alone, an untyped codec, one synced write. The
results of both sides are compared before a figure is published.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from hashlib import sha256
from itertools import chain as joined
from pathlib import Path
from statistics import median
from typing import Any

import msgpack
from msgspec.structs import replace

from bench.ledger import START, Step, TransferChain, commit_batch
from bench.measure import AT_LEAST, Clock, interleaved, timed
from bench.report import OUT, Row, publish, row
from chain.block import Block, Body, Header, block_id
from chain.codec import decode, encode, unpack
from chain.genesis import Genesis
from chain.genesis_default import default_genesis
from chain.ids import Millis
from chain.keys import verify
from chain.transaction import SignedTransaction
from consensus.branch import run_branch
from consensus.engine import Engine
from consensus.engines import make_engine
from consensus.first import genesis_block
from consensus.headertree import HeaderTree, Outcome
from consensus.pos.vouched import find_vouched
from consensus.signatures import SignatureCache
from consensus.statekeys import STATE_PREFIX
from consensus.treeupdate import compute_update
from consensus.view import EmptyView
from storage.leveldb import LevelChainStore
from storage.lock import DirectoryLock
from storage.opening import open_chain_store

TRANSFERS = 1000
HEADERS = 2000
COMMITS = 12
IMPORTS = 24
REPEATS = 7


class WrongFigureError(Exception):
    """Two sides do not compute the same thing: nothing is published."""


def require(holds: bool, what: str) -> None:
    """Raise ``WrongFigureError`` unless something holds."""
    if not holds:
        raise WrongFigureError(what)


# --- execution ------------------------------------------------------------------------------------


def measure_execution(ledger: TransferChain, step: Step, repeats: int = REPEATS) -> list[Row]:
    """Return the rows of executing the next block, all transfers, as an importing node does."""
    signed = step.block.body.transactions
    transfers = len(signed)
    known = SignatureCache()
    ledger.execute(step, known)
    writes = [(key, new) for key, new in step.execution.delta.writes.items() if key.startswith(STATE_PREFIX)]
    messages = [(each.transaction.sender, each.signature, each.id) for each in signed]

    def root() -> bytes:
        return compute_update(ledger, writes).root

    require(ledger.execute(step) == step.execution, "executing a block twice gives two results")
    require(root() == step.execution.state_root, "the tree alone gives another state root than the block")
    require(all(verify(*message) for message in messages), "a signature of the block is not good")
    clocks: dict[str, Clock] = {
        "execute": timed(lambda: ledger.execute(step)),
        "known": timed(lambda: ledger.execute(step, known)),
        "root": timed(root),
        "raw-ed25519": timed(lambda: [verify(*message) for message in messages]),
    }
    seconds = interleaved(clocks, repeats, at_least=AT_LEAST)
    raw = {"raw-ed25519": transfers / seconds["raw-ed25519"]}
    name = f"block of {transfers} transfers"
    return [
        row(name, "execution", "tx/s", transfers / seconds["execute"], raw),
        row(name, "execution, signatures seen before", "tx/s", transfers / seconds["known"], raw),
        row(name, "state root alone", "ms", 1000 * seconds["root"], {"whole execution": 1000 * seconds["execute"]}),
    ]


# --- importing ------------------------------------------------------------------------------------


def measure_import(
    ledger: TransferChain, directory: Path, transfers: int = TRANSFERS, blocks: int = IMPORTS
) -> list[Row]:
    """Return the rows of importing blocks of transfers into a database, from decoding the body to the synced commit.

    Signatures were not seen before. The peers check the same signatures and do nothing else: on one thread, as an
    import does, and on as many as there are cores. ``ledger`` must not have taken a block yet.
    """
    beginning = ledger.beginning()
    steps: list[Step] = []
    for _ in range(blocks):
        steps.append(ledger.build(ledger.sign_transfers(transfers)))
        ledger.take(steps[-1])
    cores = os.cpu_count() or 1
    spent: dict[str, list[float]] = {"import": [], "commit": [], "one": [], "all": []}
    with (
        scratch(directory),
        DirectoryLock(directory / ".lock") as lock,
        ThreadPoolExecutor(cores) as pool,
        closing(open_chain_store(directory / "chain", lock, beginning)) as store,
    ):
        for step in steps:
            messages = [(each.transaction.sender, each.signature, each.id) for each in step.block.body.transactions]
            parts = [messages[core::cores] for core in range(cores)]
            spent["one"].append(timed(partial(_verify_all, messages))())
            spent["all"].append(timed(lambda parts=parts: list(pool.map(_verify_all, parts)))())  # type: ignore[misc]
            seconds, commit = _import(store, step)
            spent["import"].append(seconds)
            spent["commit"].append(commit)
        require(dict(store.state_items()) == ledger.state, "the database holds another state")
    typical = {name: median(values[1:]) for name, values in spent.items()}  # the first fills the caches
    peers = {
        "raw-ed25519": transfers / typical["one"],
        f"raw-ed25519, {cores} threads": transfers / typical["all"],
    }
    case = f"blocks of {transfers} transfers, in LevelDB"
    return [
        row(case, "import", "tx/s", transfers / typical["import"], peers),
        row(case, "of it: commit", "ms", 1000 * typical["commit"], {"whole import": 1000 * typical["import"]}),
    ]


def _verify_all(messages: Sequence[tuple[bytes, bytes, bytes]]) -> None:
    require(all(verify(*message) for message in messages), "a signature of the block is not good")


def _import(store: LevelChainStore, step: Step) -> tuple[float, float]:
    """Import the next block as a node does; return the seconds of all of it, and of the commit alone."""
    data = encode(step.block.body)
    start = time.perf_counter()
    body = decode(data, Body)
    store.put_headers([step.block.header])
    store.put_body(step.block.id, body)
    with store.view() as view:
        outcome = run_branch(view, (), [(Block(step.block.header, body), step.context)], EmptyView())
    require(outcome.invalid is None, "a block of the bench is refused")
    batch = commit_batch(Step(Block(step.block.header, body), step.context, outcome.executions[0]))
    before = time.perf_counter()
    store.commit(batch)
    end = time.perf_counter()
    return end - start, end - before


# --- headers --------------------------------------------------------------------------------------


def mine_headers(count: int) -> tuple[Genesis, list[Header]]:
    """Return a network whose blocks take one hash, and ``count`` sealed headers on its genesis."""
    genesis = default_genesis("bench-headers", {}, time_ms=START, block_ms=1000, hashes_per_block=1)
    engine, tree = _empty_tree(genesis)
    parent = genesis_block(genesis).header
    headers: list[Header] = []
    for number in range(1, count + 1):
        now = Millis(START + 1000 * number)
        prepared = engine.prepare(tree, block_id(parent), now)
        draft = replace(
            parent,
            height=parent.height + 1,
            parent=block_id(parent),
            time_ms=prepared.time_ms,
            engine=prepared.engine,
            seal=b"",
        )
        seal = engine.seal(draft, lambda: False)
        assert seal is not None  # nobody cancels
        parent = replace(draft, seal=seal)
        tree.accept(parent, now)
        headers.append(parent)
    return genesis, headers


def _empty_tree(genesis: Genesis) -> tuple[Engine, HeaderTree]:
    engine = make_engine(genesis)
    return engine, HeaderTree(engine, genesis_block(genesis).header)


def measure_headers(count: int = HEADERS, repeats: int = REPEATS) -> list[Row]:
    """Return the rows of growing the tree by a chain of headers, as a node that syncs does under either engine."""
    genesis, headers = mine_headers(count)
    now = Millis(headers[-1].time_ms)
    encoded = [encode(header) for header in headers]

    def accept() -> list[Outcome]:
        block_id.cache_clear()  # else a header would be remembered from the turn before
        _, tree = _empty_tree(genesis)
        return [tree.accept(decode(data, Header), now)[0].outcome for data in encoded]

    def hash_twice() -> list[bytes]:
        return [sha256(sha256(data).digest()).digest() for data in encoded]

    def link() -> list[Outcome]:
        """Take them as headers of proof of stake under a proven end of their epoch: by their links."""
        block_id.cache_clear()
        _, tree = _empty_tree(genesis)
        decoded = [decode(data, Header) for data in encoded]
        vouched = find_vouched(decoded, count, {count: block_id(headers[-1])}.get)
        return [tree.accept_vouched(header, now)[0].outcome for header in decoded if block_id(header) in vouched]

    require(accept() == [Outcome.ADDED] * count, "the engine refuses a header it sealed")
    require(link() == [Outcome.ADDED] * count, "headers that hang together are not taken by their links")
    clocks = {"accept": timed(accept), "link": timed(link), "raw-sha256d": timed(hash_twice)}
    seconds = interleaved(clocks, repeats, at_least=AT_LEAST)
    peers = {"raw-sha256d": count / seconds["raw-sha256d"]}
    case = f"chain of {count} headers"
    return [
        row(case, "decode, check, add", "headers/s", count / seconds["accept"], peers),
        row(case, "decode, link to a certified one, add", "headers/s", count / seconds["link"], peers),
    ]


# --- codec ----------------------------------------------------------------------------------------


def measure_codec(step: Step, repeats: int = REPEATS) -> list[Row]:
    """Return the rows of encoding and decoding, typed and checked, against msgpack's untyped values."""
    found: list[Row] = []
    transactions = step.block.body.transactions
    cases: tuple[tuple[str, Sequence[object], type], ...] = (
        (f"codec, {len(transactions)} transactions", transactions, SignedTransaction),
        (f"codec, body of {len(transactions)} transfers", (step.block.body,), Body),
    )
    for name, objects, kind in cases:
        encoded = [encode(each) for each in objects]
        plain = [unpack(data) for data in encoded]
        require([msgpack.packb(value) for value in plain] == encoded, f"{name}: msgpack writes other bytes")
        require([decode(data, kind) for data in encoded] == list(objects), f"{name}: decoding gives another object")
        require([msgpack.unpackb(data, use_list=False) for data in encoded] == plain, f"{name}: msgpack reads another")
        clocks = {
            "encode": _clock_of(encode, objects),
            "packb": _clock_of(msgpack.packb, plain),
            "decode": _clock_of(partial(decode, kind=kind), encoded),
            "unpackb": _clock_of(partial(msgpack.unpackb, use_list=False), encoded),
        }
        seconds = interleaved(clocks, repeats, at_least=AT_LEAST)
        speed = {key: sum(map(len, encoded)) / value / 1e6 for key, value in seconds.items()}
        found.append(row(name, "encode", "MB/s", speed["encode"], {"msgpack": speed["packb"]}))
        found.append(row(name, "decode, canonical", "MB/s", speed["decode"], {"msgpack": speed["unpackb"]}))
    return found


def _clock_of(function: Callable[[Any], object], values: Sequence[object]) -> Clock:
    """Return the clock of calling a function once for each value."""
    return timed(lambda: [function(value) for value in values])


# --- disk -----------------------------------------------------------------------------------------


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Make an empty directory on the disk where results go, and remove it afterwards."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def stored_bytes(step: Step) -> bytes:
    """Return all bytes that a block leaves on disk, one after another: what the raw write writes."""
    batch = commit_batch(step)
    state = joined.from_iterable((key, new or b"") for key, new in batch.changes.items())
    connected = batch.connected[0]
    ends = (encode(step.block.header), encode(step.block.body), connected.undo, connected.events, batch.tip)
    return b"".join([*state, *ends])


def measure_commits(ledger: TransferChain, transfers: int, directory: Path, commits: int = COMMITS) -> list[Row]:
    """Return the row of storing blocks of so many transfers one by one, each durable before the next.

    ``ledger`` must not have taken a block yet: the database begins with its genesis.
    """
    beginning = ledger.beginning()
    steps: list[Step] = []
    for _ in range(commits + 1):
        steps.append(ledger.build(ledger.sign_transfers(transfers)))
        ledger.take(steps[-1])
    with scratch(directory), DirectoryLock(directory / ".lock") as lock:
        store = open_chain_store(directory / "chain", lock, beginning)
        raw = os.open(directory / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            seconds = interleaved(
                {"commit": _commit_clock(store, steps), "raw-synced-write": _raw_clock(raw, steps)}, commits
            )
        finally:
            os.close(raw)
            store.close()
        _check_store(directory / "chain", lock, ledger)
    size = len(stored_bytes(steps[-1]))
    peers = {"raw-synced-write": 1000 * seconds["raw-synced-write"]}
    return [row(f"block of {transfers} transfers", f"commit, {size // 1000} kB", "ms", 1000 * seconds["commit"], peers)]


def _commit_clock(store: LevelChainStore, steps: Sequence[Step]) -> Clock:
    waiting = iter(steps)

    def clock() -> float:
        step = next(waiting)
        batch = commit_batch(step)
        start = time.perf_counter()
        store.put_headers([step.block.header])
        store.put_body(step.block.id, step.block.body)
        store.commit(batch)
        return time.perf_counter() - start

    return clock


def _raw_clock(file: int, steps: Sequence[Step]) -> Clock:
    waiting = iter([stored_bytes(step) for step in steps])

    def clock() -> float:
        data = next(waiting)
        start = time.perf_counter()
        written = os.write(file, data)
        os.fdatasync(file)
        seconds = time.perf_counter() - start
        require(written == len(data), "the raw write was cut short")
        return seconds

    return clock


def _check_store(path: Path, lock: DirectoryLock, ledger: TransferChain) -> None:
    """Open the database again: it must hold the last block and its state."""
    store = open_chain_store(path, lock)
    try:
        require(store.tip() == ledger.tip.id, "the database does not end in the last block")
        require(dict(store.state_items()) == ledger.state, "the database holds another state")
    finally:
        store.close()


def main() -> None:
    """Measure everything."""
    ledger = TransferChain()
    step = ledger.build(ledger.sign_transfers(TRANSFERS))
    found = measure_execution(ledger, step)
    found += measure_import(TransferChain(), OUT / "scratch")
    found += measure_headers()
    found += measure_codec(step)
    for transfers in (1, TRANSFERS):
        found += measure_commits(TransferChain(), transfers, OUT / "scratch")
    publish("chain", found, ("msgspec", "msgpack", "pynacl", "plyvel"))


if __name__ == "__main__":
    main()
