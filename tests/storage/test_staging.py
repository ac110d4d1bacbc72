"""A state from elsewhere is kept beside the one in use until it is whole, then takes its place; pruning; backup."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chain.block import Block
from chain.hashing import content_id
from chain.ids import Hash, Height
from storage.backup import back_up
from storage.base import ChainStore
from storage.check import check_stores
from storage.database import Database
from storage.directory import DataDirectory
from storage.errors import StorageError, UseError
from storage.export import export_chain
from storage.layout import MIGRATIONS, Writer
from storage.leveldb import LevelChainStore
from storage.memorystores import MemoryPayloadStore
from storage.opening import open_chain_store
from storage.payloads import PayloadFiles
from tests.storage.chains import batch, make_block, make_chain, make_genesis
from tests.storage.conftest import Disk

NEW = ((b"s/one", b"1"), (b"s/two", b"2"), (b"t/node", b"n"))


def with_headers(store: ChainStore, length: int) -> list[Block]:
    """A chain of which the headers alone are stored."""
    genesis = store.header(store.tip())
    assert genesis is not None
    blocks = make_chain(genesis, length)
    store.put_headers([block.header for block in blocks])
    return blocks


def ids(blocks: list[Block]) -> list[Hash]:
    return [block.id for block in blocks]


def state(store: ChainStore) -> dict[bytes, bytes]:
    return dict(store.state_items())


def test_a_gathered_state_is_seen_by_nobody_until_it_is_adopted(disk: Disk) -> None:
    """The old state stands, through reopening too; then all at once the new one, and nothing of the old."""
    store = disk.chain()
    before, blocks = state(store), with_headers(store, 5)
    store.staging.begin(blocks[4].id)
    store.staging.put(NEW[:1], (b"first", b"mark"))
    store.close()
    store = disk.chain()
    assert store.staging.target() == blocks[4].id
    assert list(store.staging.marks()) == [(b"first", b"mark")]
    assert store.staging.get(b"s/one") == b"1"
    assert state(store) == before
    assert store.tip() == disk.genesis.block.id
    held = store.view()
    store.adopt(ids(blocks), NEW[1:])
    assert state(store) == dict(NEW)
    assert held.get(b"s/start") == b"0"
    assert (store.tip(), store.height(), store.base()) == (blocks[4].id, 5, 5)
    assert [store.block_id_at(Height(height)) for height in range(1, 6)] == ids(blocks)
    assert store.staging.target() is None
    while not store.staging.sweep(1):
        pass
    held.close()
    store.close()
    store = disk.chain()
    assert state(store) == dict(NEW)
    with store.view() as view:
        assert [key for key, _ in view.values_from(bytes(32))] == [b"s/two", b"s/one"]
    report = check_stores(store, MemoryPayloadStore())
    assert report.problems == ()
    assert (report.blocks_pruned, report.synced_at, report.values) == (5, 5, 2)


def test_the_chain_goes_on_from_an_adopted_state_and_never_below_it(disk: Disk) -> None:
    """Blocks on it are committed and taken back; the block itself can't be."""
    store = disk.chain()
    blocks = with_headers(store, 3)
    store.staging.begin(blocks[2].id)
    store.adopt(ids(blocks), NEW)
    block = make_block(blocks[2].header, transactions=(90,))
    store.put_headers([block.header])
    store.put_body(block.id, block.body)
    store.commit(batch([block], [(b"s/three", b"3"), (b"s/one", None)]))
    with store.view() as view:
        assert sorted(key for key, _ in view.values_from(bytes(32))) == [b"s/three", b"s/two"]
    rival = make_block(blocks[2].header, salt=5)
    store.put_headers([rival.header])
    store.put_body(rival.id, rival.body)
    store.commit(batch([rival], [(b"s/three", None)], [block.id]))
    with pytest.raises(UseError, match="undo is not here"):
        store.commit(batch([block], [], [rival.id, blocks[2].id]))


def test_only_the_gathered_state_can_be_adopted_and_only_on_the_tip(disk: Disk) -> None:
    """Another target, a path that does not lead there, or nothing gathered: refused, and nothing changed."""
    store = disk.chain()
    blocks, before = with_headers(store, 3), state(store)
    for path, message in ((ids(blocks), "not gathered"), ([], "not gathered")):
        with pytest.raises(UseError, match=message):
            store.adopt(path, ())
    store.staging.begin(blocks[2].id)
    with pytest.raises(UseError, match="does not lead"):
        store.adopt(ids(blocks[1:]), ())
    with pytest.raises(UseError, match="drop them"):
        store.staging.begin(blocks[1].id)
    assert state(store) == before
    store.staging.put(NEW, (b"m", b""))
    store.staging.drop()
    while not store.staging.sweep(1):
        pass
    assert list(store.staging.marks()) == []
    assert store.staging.get(b"s/one") is None
    store.staging.begin(blocks[1].id)
    assert state(store) == before


def grown(store: ChainStore, length: int) -> list[Block]:
    blocks = with_headers(store, length)
    for block in blocks:
        store.put_body(block.id, block.body)
        store.commit(batch([block], [(b"s/height", b"%d" % block.header.height)]))
    return blocks


def test_what_is_pruned_is_gone_and_the_rest_is_sound(disk: Disk) -> None:
    """Undo and bodies go by height; headers, the height index and what is above stay."""
    store = disk.chain()
    blocks = grown(store, 6)
    store.prune("undo", Height(4))
    store.prune("bodies", Height(2))
    assert [store.undo(block.id) is None for block in blocks] == [True] * 4 + [False] * 2
    assert [store.has_body(block.id) for block in blocks] == [False] * 2 + [True] * 4
    gone, kept = blocks[0].body.transactions[0].id, blocks[2].body.transactions[0].id
    assert store.transaction_place(gone) is None
    assert store.transaction_place(kept) is not None
    assert store.header(blocks[0].id) == blocks[0].header
    report = check_stores(store, MemoryPayloadStore())
    assert (report.problems, report.blocks_pruned) == ((), 2)
    with pytest.raises(UseError, match="undo is not here"):
        store.commit(batch([blocks[5]], [], [blocks[5].id, blocks[4].id, blocks[3].id]))
    for height in (1, 6, 7):
        with pytest.raises(UseError, match="pruning undo"):
            store.prune("undo", Height(height))
    with pytest.raises(StorageError, match=r"no blocks up to height 2.*archive"):
        export_chain(store, MemoryPayloadStore(), disk.path / "export")


def test_a_database_of_schema_1_learns_the_order_of_its_values(tmp_path: Path, lock) -> None:
    """The migration finds every value by the digest of its key, and leaves the tree's nodes out."""
    genesis = make_genesis()
    store = open_chain_store(tmp_path / "chain", lock, genesis)
    store.commit(batch([put(store)], [(b"s/x", b"y"), (b"t/x", b"z")]))
    database = store.database
    database.write(lambda writer: [writer.delete(b"d" + key) for key, _ in database.scan(b"d")], sync=True)
    database.write(lambda writer: writer.put(b"mschema", (1).to_bytes(4, "big")), sync=True)
    store.close()
    store = open_chain_store(tmp_path / "chain", lock, genesis, migrations=MIGRATIONS)
    assert check_stores(store, MemoryPayloadStore()).problems == ()
    with store.view() as view:
        assert dict(view.values_from(bytes(32)))[b"s/x"] == b"y"
    store.close()


def test_a_large_database_is_migrated_in_portions_and_again_if_interrupted(
    tmp_path: Path, lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No batch holds more than a portion; a machine that stops in the middle is not left with half an index."""
    monkeypatch.setattr("storage.database._PORTION_BYTES", 500)
    genesis = make_genesis()
    store = open_chain_store(tmp_path / "chain", lock, genesis)
    values = [(b"s/%d" % number, b"value") for number in range(60)]
    store.commit(batch([put(store)], values))
    database = store.database
    order = dict(database.scan(b"d"))
    database.write(lambda writer: [writer.delete(b"d" + key) for key in order], sync=True)
    database.write(lambda writer: writer.put(b"mschema", (1).to_bytes(4, "big")), sync=True)
    store.close()
    write, batches = Database.write, []

    def stop_at_the_third(self: Database, fill: Callable[[Writer], None], *, sync: bool) -> None:
        batches.append(sync)
        if len(batches) == 3:
            raise KeyboardInterrupt
        write(self, fill, sync=sync)

    monkeypatch.setattr(Database, "write", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        open_chain_store(tmp_path / "chain", lock, genesis, migrations=MIGRATIONS)
    assert batches == [False, False, False]
    monkeypatch.setattr(Database, "write", write)
    store = open_chain_store(tmp_path / "chain", lock, genesis, migrations=MIGRATIONS)
    assert dict(store.database.scan(b"d")) == order
    assert check_stores(store, MemoryPayloadStore()).problems == ()
    store.close()


def test_a_database_of_schema_1_learns_who_refers_to_its_payloads(tmp_path: Path, lock) -> None:
    """The last block of the main chain that does, over a payload that two blocks share; not one beside the chain."""
    genesis = make_genesis()
    store = open_chain_store(tmp_path / "chain", lock, genesis)
    parent = store.header(store.tip())
    for payloads in ((b"shared", b"first"), (), (b"shared",)):
        block = make_block(parent, payloads=payloads)
        store.put_headers([block.header])
        store.put_body(block.id, block.body)
        store.commit(batch([block]))
        parent = block.header
    beside = make_block(parent, salt=5, payloads=(b"beside",))
    store.put_headers([beside.header])
    store.put_body(beside.id, beside.body)
    database = store.database
    database.write(lambda writer: [writer.delete(b"p" + key) for key, _ in database.scan(b"p")], sync=True)
    database.write(lambda writer: writer.put(b"mschema", (1).to_bytes(4, "big")), sync=True)
    store.close()
    store = open_chain_store(tmp_path / "chain", lock, genesis, migrations=MIGRATIONS)
    named = [store.referred_at(content_id(name)) for name in (b"shared", b"first", b"beside")]
    assert named == [3, 1, None]
    store.close()


def put(store: LevelChainStore) -> Block:
    tip = store.header(store.tip())
    block = make_block(tip, salt=77)
    store.put_headers([block.header])
    store.put_body(block.id, block.body)
    return block


def test_a_missing_entry_of_the_order_is_found_by_the_check(tmp_path: Path, lock) -> None:
    """A value that peers could not be served is damage."""
    store = open_chain_store(tmp_path / "chain", lock, make_genesis())
    key = next(iter(store.database.scan(b"d")))[0]
    store.database.write(lambda writer: writer.delete(b"d" + key), sync=True)
    assert any("not found by its digest" in problem for problem in check_stores(store, MemoryPayloadStore()).problems)
    store.close()


def test_a_backup_is_the_store_at_one_instant_and_opens_like_it(tmp_path: Path, lock, monkeypatch) -> None:
    """What is committed after the snapshot is not in it; payload files are linked; the copy is sound."""
    monkeypatch.setattr("storage.backup._BATCH_BYTES", 50)  # so that it commits while the database is being read
    home = tmp_path / "home"
    for name in ("payloads", "keys", "journal"):
        (home / name).mkdir(parents=True)
    (home / "genesis.json").write_text("{}")
    store = open_chain_store(home / "chain", lock, make_genesis())
    payloads = PayloadFiles(home / "payloads")
    ref = payloads.put(b"payload")
    grown(store, 3)
    expected, tip = state(store), store.tip()
    moved: list[bool] = []

    def commit_meanwhile() -> bool:
        if not moved:
            moved.append(True)
            store.commit(batch([put(store)], [(b"s/later", b"!")]))
        return False

    report = back_up(DataDirectory(home), store, payloads, tmp_path / "copy", commit_meanwhile)
    assert moved
    assert (report.tip, report.height, report.payloads, report.payloads_linked) == (tip, 3, 1, 1)
    store.close()
    again = open_chain_store(tmp_path / "copy" / "chain", lock, make_genesis())
    assert (again.tip(), state(again)) == (tip, expected)
    copied = PayloadFiles(tmp_path / "copy" / "payloads")
    assert copied.get(ref) == b"payload"
    assert check_stores(again, copied).problems == ()
    again.close()
    with pytest.raises(UseError, match="exists already"):
        back_up(DataDirectory(home), again, payloads, tmp_path / "copy")


def test_a_backup_holds_no_key_and_no_journal(tmp_path: Path, lock) -> None:
    """Whoever restores it signs and releases with what is there now, and whoever finds it can do neither."""
    home = tmp_path / "home"
    for name in ("payloads", "keys", "journal"):
        (home / name).mkdir(parents=True)
        (home / name / "secret.json").write_text("secret")
    for name in ("genesis.json", "rpc.cookie", "peers.dat"):
        (home / name).write_text("secret" if name == "rpc.cookie" else "{}")
    store = open_chain_store(home / "chain", lock, make_genesis())
    back_up(DataDirectory(home), store, PayloadFiles(home / "payloads"), tmp_path / "copy", lambda: False)
    store.close()
    copied = [path for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    assert copied
    assert [path for path in copied if b"secret" in path.read_bytes()] == []


def test_a_cancelled_backup_leaves_nothing(tmp_path: Path, lock) -> None:
    """Neither the directory nor the part that was made of it."""
    (tmp_path / "payloads").mkdir()
    store = open_chain_store(tmp_path / "chain", lock, make_genesis())
    payloads = PayloadFiles(tmp_path / "payloads")
    payloads.put(b"payload")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(StorageError, match="cancelled"):
        back_up(DataDirectory(tmp_path), store, payloads, tmp_path / "copy", lambda: True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    store.close()


def test_a_backup_grows_where_nobody_can_have_put_a_link(tmp_path: Path, lock) -> None:
    """Links that guess at its place are left alone; what a killed backup of ours left is removed."""
    (tmp_path / "payloads").mkdir()
    store = open_chain_store(tmp_path / "chain", lock, make_genesis())
    payloads = PayloadFiles(tmp_path / "payloads")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    for name in (".copy.part", ".copy.0123456789ab.part"):
        (tmp_path / name).symlink_to(elsewhere)
    (tmp_path / ".copy.ba9876543210.part" / "chain").mkdir(parents=True)
    parts: set[str] = set()

    def look() -> bool:
        parts.update(path.name for path in tmp_path.glob(".copy.*.part") if not path.is_symlink())
        return False

    payloads.put(b"payload")
    back_up(DataDirectory(tmp_path), store, payloads, tmp_path / "copy", look)
    back_up(DataDirectory(tmp_path), store, payloads, tmp_path / "other", lambda: False)
    store.close()
    assert [path.name for path in elsewhere.iterdir()] == ["file"]
    assert len(parts) == 1
    assert ".copy.ba9876543210.part" not in parts
    assert not (tmp_path / ".copy.ba9876543210.part").exists()
    assert not (tmp_path / "copy").is_symlink()
