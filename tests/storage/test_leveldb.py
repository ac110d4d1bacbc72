"""What only a database on disk can suffer: other networks, other versions, missing and changed bytes, two openers."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chain.ids import Height
from storage.base import GenesisData
from storage.errors import DamagedError, ForeignGenesisError, LockedError, SchemaError, UseError
from storage.layout import META_SCHEMA, SCHEMA_VERSION, STATE, encode_version
from storage.leveldb import LevelChainStore
from storage.lock import DirectoryLock
from storage.opening import create_chain_database, open_chain_store
from tests.storage.chains import batch, make_chain, make_genesis


def open_store(path: Path, lock: DirectoryLock, **options) -> LevelChainStore:
    return open_chain_store(path / "chain", lock, make_genesis(), **options)


def grow(store: LevelChainStore, length: int) -> None:
    """Commit blocks on the tip, each with a large enough state change to fill LevelDB's files."""
    blocks = make_chain(store.header(store.tip()), length, first_nonce=10_000 + 10 * store.height())
    store.put_headers([block.header for block in blocks])
    for block in blocks:
        store.put_body(block.id, block.body)
        store.commit(batch([block], [(b"s/%d" % block.header.height, os.urandom(2000))]))


def test_another_networks_database_is_refused(tmp_path, lock):
    """A database made for one genesis does not open with another, nor with another first block."""
    open_store(tmp_path, lock).close()
    genesis = make_genesis()
    foreign = GenesisData(genesis.block.id, genesis.block, genesis.changes)
    with pytest.raises(ForeignGenesisError, match="belongs to the network with genesis"):
        open_chain_store(tmp_path / "chain", lock, foreign)
    with pytest.raises(ForeignGenesisError, match="another block"):
        open_chain_store(tmp_path / "chain", lock, make_genesis(salt=1))
    open_store(tmp_path, lock).close()


def test_a_value_that_is_read_once_is_that_of_the_snapshot_and_is_not_kept(tmp_path, lock):
    """It comes from the cache or the disk, after the tip or before it; what the disk says goes no further."""
    store = open_store(tmp_path, lock)
    before = store.view()
    block = make_chain(store.header(store.tip()), 1)[0]
    store.put_headers([block.header])
    store.put_body(block.id, block.body)
    store.commit(batch([block], [(b"s/new", b"here"), (b"s/start", None)]))
    with store.view() as after:
        for view, expected in ((before, [None, b"0", None]), (after, [b"here", None, None])):
            assert [view.get_once(key) for key in (b"s/new", b"s/start", b"s/none")] == expected
    assert set(store._cache.young) == {b"s/new", b"s/start"}  # what the commit has written
    before.close()
    store.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path, lock):
    """The error names both versions and the way out; the database opens with the version that wrote it."""
    newer = SCHEMA_VERSION + 1
    open_store(tmp_path, lock, migrations={SCHEMA_VERSION: lambda reader, writer: None}, version=newer).close()
    expected = rf"newer fedchain \(schema {newer}; this one knows {SCHEMA_VERSION}\).*upgrade"
    with pytest.raises(SchemaError, match=expected):
        open_store(tmp_path, lock)
    store = open_store(tmp_path, lock, version=newer)
    assert store.height() == 0
    store.close()


def test_migrations_run_in_order_each_with_its_version(tmp_path, lock):
    """A step that fails leaves the schema before it; the next opening goes on from there."""
    store = open_store(tmp_path, lock)
    grow(store, 1)
    store.close()

    def rename(reader, writer):
        writer.put(STATE + b"s/new", reader.get(STATE + b"s/start"))
        writer.delete(STATE + b"s/start")

    def fail(reader, writer):
        writer.put(STATE + b"s/new", b"half")
        raise RuntimeError("power cut")

    def double(reader, writer):
        writer.put(STATE + b"s/new", reader.get(STATE + b"s/new") * 2)

    first, second = SCHEMA_VERSION, SCHEMA_VERSION + 1
    with pytest.raises(RuntimeError, match="power cut"):
        open_store(tmp_path, lock, migrations={first: rename, second: fail}, version=second + 1)
    store = open_store(tmp_path, lock, migrations={first: fail, second: double}, version=second + 1)
    with store.view() as view:
        assert (view.get(b"s/start"), view.get(b"s/new")) == (None, b"00")
    assert store.database.get(META_SCHEMA) == encode_version(second + 1)
    store.close()


def test_a_schema_with_no_way_up_is_refused(tmp_path, lock):
    """A gap in the table of migrations is a clear error, not a wrong reading."""
    open_store(tmp_path, lock).close()
    with pytest.raises(SchemaError, match="can't read any more"):
        open_store(
            tmp_path, lock, migrations={SCHEMA_VERSION + 1: lambda reader, writer: None}, version=SCHEMA_VERSION + 2
        )


def damage_somewhere(directory: Path, pattern: str, cut: bool) -> None:
    """Cut or change the largest file of a kind in the middle."""
    file = max(directory.glob(pattern), key=lambda file: file.stat().st_size)
    data = bytearray(file.read_bytes())
    if cut:
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "changed"])
def test_damaged_files_are_named_with_a_remedy(tmp_path, lock, cut):
    """A table file that lost or changed bytes is found at opening or by its checksums, never read as right."""
    store = open_store(tmp_path, lock)
    grow(store, 30)
    store.database.compact()
    store.close()
    damage_somewhere(tmp_path / "chain", "*.ldb", cut)
    with pytest.raises(DamagedError, match=r"chain.*fedchain db check"):
        open_and_verify(tmp_path, lock)


def open_and_verify(path: Path, lock: DirectoryLock) -> None:
    """Open the store and look at every checksum."""
    store = open_store(path, lock)
    try:
        store.database.verify_checksums()
    finally:
        store.close()


@pytest.mark.parametrize("pattern", ["CURRENT", "MANIFEST-*", "*.log"])
def test_missing_files_are_a_clear_error(tmp_path, lock, pattern):
    """Without one of its files the database says that it is damaged; it does not begin anew."""
    store = open_store(tmp_path, lock)
    grow(store, 3)
    store.close()
    for file in (tmp_path / "chain").glob(pattern):
        file.unlink()
    with pytest.raises(DamagedError):
        open_store(tmp_path, lock)
    with pytest.raises(DamagedError):
        open_store(tmp_path, lock)


def test_an_emptied_log_is_a_cut_short_database(tmp_path, lock):
    """A log that lost all its records, the first among them, leaves a database without a schema, which is refused."""
    create_chain_database(tmp_path / "chain", lock, make_genesis())
    for file in (tmp_path / "chain").glob("*.log"):
        file.write_bytes(b"")
    with pytest.raises(DamagedError, match="cut short"):
        open_store(tmp_path, lock)


def test_a_log_that_lost_its_last_commits_is_noticed(tmp_path, lock):
    """LevelDB opens it with the state of an earlier commit; the store knows that there were more."""
    store = open_store(tmp_path, lock)
    grow(store, 3)
    store.close()
    (log,) = (tmp_path / "chain").glob("*.log")
    with open(log, "r+b") as stream:
        stream.truncate(log.stat().st_size - 3500)
    with pytest.raises(DamagedError, match="2 commits are missing"):
        open_store(tmp_path, lock)


@pytest.mark.parametrize("witness", [b"", b"\0" * 12, b"?" * 12, None], ids=["empty", "zeros", "strange", "missing"])
def test_a_witness_that_a_power_cut_spoilt_is_no_problem(tmp_path, lock, witness):
    """It only ever says that more was there; what it can't say is not held against the database."""
    store = open_store(tmp_path, lock)
    grow(store, 2)
    store.close()
    file = tmp_path / "chain" / "COMMITS"
    file.unlink()
    if witness is not None:
        file.write_bytes(witness)
    store = open_store(tmp_path, lock)
    assert store.height() == 2
    grow(store, 1)
    assert store.height() == 3
    store.close()


def test_a_creation_that_was_cut_off_starts_over(tmp_path, lock):
    """What a crash left beside the place is thrown away."""
    (tmp_path / "chain.new").mkdir()
    (tmp_path / "chain.new" / "CURRENT").write_text("half")
    open_store(tmp_path, lock).close()
    assert not (tmp_path / "chain.new").exists()


def test_tools_do_not_create(tmp_path, lock):
    """Opening without a genesis needs a database that is there."""
    with pytest.raises(UseError, match="does not exist"):
        open_chain_store(tmp_path / "chain", lock)
    assert not (tmp_path / "chain").exists()


def test_the_lock_must_be_held(tmp_path):
    """A released lock opens nothing."""
    lock = DirectoryLock(tmp_path / ".lock")
    lock.release()
    with pytest.raises(UseError, match="lock"):
        open_store(tmp_path, lock)


def test_a_second_process_is_told_who_holds_the_directory(tmp_path, lock):
    """The error names the holder's pid; within one process the second lock fails as well, and the first one stays."""
    with pytest.raises(LockedError, match=f"pid {os.getpid()}"):
        DirectoryLock(tmp_path / ".lock")
    file = str(tmp_path / ".lock")
    script = f"from pathlib import Path; from storage.lock import DirectoryLock; DirectoryLock(Path({file!r}))"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "LockedError" in other.stderr
    assert str(os.getpid()) in other.stderr
    lock.release()
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_reads_from_threads_survive_a_close(tmp_path, lock):
    """Regression: reading a LevelDB that another thread closes ends the process. Here a reader gets an error."""
    store = open_store(tmp_path, lock)
    grow(store, 5)
    view, ended = store.view(), []

    def read() -> None:
        try:
            while True:
                assert view.get(b"s/start") == b"0"
        except UseError as error:
            ended.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    store.close()
    for thread in threads:
        thread.join(10)
    assert len(ended) == 3
    assert all("closed" in message for message in ended)


def test_a_failing_batch_writes_nothing(tmp_path, lock):
    """Regression: plyvel writes a batch whose block raised, unless it is a transaction."""
    store = open_store(tmp_path, lock)

    def fill(writer):
        writer.put(STATE + b"s/start", b"half")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        store.database.write(fill, sync=True)
    with store.view() as view:
        assert view.get(b"s/start") == b"0"
    assert store.block_id_at(Height(0)) == store.tip()
    store.close()


def test_what_is_acknowledged_was_synced(tmp_path, lock, monkeypatch):
    """What a power cut would show and a kill can't: a commit, or an epoch's end, is flushed before it returns."""
    store = open_store(tmp_path, lock)
    (block,) = make_chain(store.header(store.tip()), 1)
    store.put_headers([block.header])
    store.put_body(block.id, block.body)
    write, synced = store.database.write, []
    monkeypatch.setattr(store.database, "write", lambda fill, *, sync: (write(fill, sync=sync), synced.append(sync)))
    store.commit(batch([block]))
    store.certificates.keep_epoch(0, b"proof")
    assert synced == [True, True]
    store.close()
