"""Killed at every write of a long random history: what is found is what was, before that write or after it.

The file layer is the fault: LevelDB and the journals append, so a process that dies inside a write leaves the file as
it was and a beginning of what it appended. Each such state is made, opened with the real stores, and compared with a
node that never crashed: a write that was torn never happened, and nothing has to be repaired.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from storage.check import check_stores
from storage.journal import FileReleaseJournal
from storage.lock import DirectoryLock
from storage.memory import MemoryChainStore
from storage.memorystores import MemoryPayloadStore, MemoryReleaseJournal, MemorySigningJournal
from storage.opening import open_chain_store
from storage.payloads import PayloadFiles
from storage.signing import FileSigningJournal
from tests.storage.chains import make_genesis
from tests.storage.history import Historian, Stores, look

WRITES = int(os.environ.get("FEDCHAIN_CRASH_WRITES", "130"))
"""In a history; make soak asks for thousands."""
KINDS = {
    "header", "body", "payload", "commit", "spend", "reorganise", "condemn", "keep", "forget", "release", "sign",
    "prune undo", "prune bodies", "begin", "piece", "adopt", "drop", "sweep",
}  # fmt: skip


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A directory whose files cost no disk time, where the machine has one."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else tmp_path) as path:
        yield Path(path)


def open_stores(path: Path, stack: ExitStack) -> Stores:
    """Open the real stores, as a node does."""
    (path / "payloads").mkdir(parents=True, exist_ok=True)
    lock = stack.enter_context(DirectoryLock(path / ".lock"))
    chain = open_chain_store(path / "chain", lock, make_genesis())
    stack.callback(chain.close)
    releases, signing = FileReleaseJournal(path / "releases.log"), FileSigningJournal(path / "signed.log")
    stack.callback(releases.close)
    stack.callback(signing.close)
    return Stores(chain, PayloadFiles(path / "payloads"), releases, signing)


def memory_stores() -> Stores:
    return Stores(
        MemoryChainStore(make_genesis()), MemoryPayloadStore(), MemoryReleaseJournal(), MemorySigningJournal()
    )


def files(path: Path) -> dict[str, bytes]:
    """What is in a directory at one instant: LevelDB rewrites files in a thread of its own."""
    while True:
        names = sorted(path.rglob("*"))
        try:
            content = {str(file.relative_to(path)): file.read_bytes() for file in names if file.is_file()}
            sizes = {str(file.relative_to(path)): file.stat().st_size for file in names if file.is_file()}
        except FileNotFoundError:
            continue
        if sorted(path.rglob("*")) == names and sizes == {name: len(data) for name, data in content.items()}:
            return content


def restore(path: Path, content: dict[str, bytes]) -> None:
    """Make a directory hold just this."""
    shutil.rmtree(path, ignore_errors=True)
    for name, data in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def tear(before: dict[str, bytes], after: dict[str, bytes], draw: Random) -> tuple[dict[str, bytes], bool]:
    """Return what a process leaves that dies inside a write, and whether it dies inside a batch of the database."""
    torn, is_inside = dict(before), False
    for name, data in after.items():
        old = before.get(name)
        if old == data or name.endswith(("LOG", "LOCK", ".lock", "COMMITS")):
            continue
        if old is not None and data.startswith(old) and len(data) - len(old) > 1:
            torn[name] = data[: draw.randrange(len(old) + 1, len(data))]
            is_inside = is_inside or (name.startswith("chain/") and name.endswith(".log"))
        elif old is None and name.startswith("payloads/segments/"):
            torn[name] = data[: draw.randrange(len(data))]
        elif old is None and name.startswith("payloads/"):
            file = Path(name)
            torn[str(file.with_name(f".{file.name}.0123456789ab.tmp"))] = data[: draw.randrange(len(data))]
    return torn, is_inside


def found(path: Path) -> bytes:
    """Open what a crash left, check all of it, and return what can be seen."""
    with ExitStack() as stack:
        stores = open_stores(path, stack)
        assert check_stores(stores.chain, stores.payloads, stores.releases).problems == ()
        return look(stores)


def test_killed_at_every_write_nothing_is_lost_torn_or_to_be_repaired(memory_path: Path) -> None:
    """Before, inside and after each write of a history, the stores are those of a node that never crashed."""
    never, draw = memory_stores(), Random(1)
    historian = Historian(never, 1)
    live, crashed = memory_path / "live", memory_path / "crashed"
    inside: Counter[str] = Counter()
    crashes = 0
    with ExitStack() as stack:
        stores = open_stores(live, stack)
        content = files(live)
        for write in historian.writes(WRITES):
            expected = look(never)
            before = content
            write.do(stores)
            write.do(never)
            content = files(live)
            assert look(stores) == look(never), f"the twins differ after {write.name}"
            torn, is_inside = tear(before, content, draw)
            inside[write.name] += is_inside
            crashes += 2
            restore(crashed, torn)
            assert found(crashed) == expected, f"a torn {write.name} left something"
            late = content | {name: data for name, data in before.items() if name.endswith("COMMITS")}
            restore(crashed, late)  # the database has it, the count of commits beside it not yet
            assert found(crashed) == look(never), f"{write.name} was done and is gone"
    assert crashes >= 2 * WRITES
    assert min(inside[kind] for kind in ("commit", "reorganise", "header", "body")) > 0, "no crash inside a batch"


def test_a_node_that_crashes_again_and_again_ends_like_one_that_never_did(memory_path: Path) -> None:
    """Each write is tried, torn, tried again on what is left: the end is the same, every kind of write was torn."""
    never, draw, path = memory_stores(), Random(3), memory_path / "node"
    historian = Historian(never, 3)
    torn_kinds: Counter[str] = Counter()
    for write in historian.writes(2 * WRITES):
        with ExitStack() as stack:
            stores = open_stores(path, stack)
            before = files(path)
            write.do(stores)
            after = files(path)
        torn, is_inside = tear(before, after, draw)
        torn_kinds[write.name] += is_inside or torn != before
        restore(path, torn)
        with ExitStack() as stack:
            write.do(open_stores(path, stack))
        write.do(never)
    assert found(path) == look(never)
    assert {kind for kind, count in torn_kinds.items() if count} >= KINDS - {"sweep"}
