"""db check finds what is wrong; an export holds the whole chain and notices any change."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.block import Block
from storage.check import check_stores
from storage.errors import DamagedError, ForeignGenesisError, StorageError
from storage.export import export_chain, read_export
from storage.layout import BODY, CHAIN, EVENTS, INVALID, PLACE, UNDO, Writer, number_key
from storage.memory import MemoryChainStore
from storage.memorystores import MemoryPayloadStore, MemoryReleaseJournal
from storage.opening import open_chain_store
from storage.payloads import PayloadFiles
from tests.storage.chains import batch, make_block, make_genesis, make_release
from tests.storage.conftest import Disk

PAYLOADS = [b"one", b"two", b"three"]


def filled(store, payloads) -> list[Block]:
    """Three committed blocks with transactions, updates and their payloads; one more block beside them."""
    blocks = []
    parent = store.header(store.tip())
    for number, payload in enumerate(PAYLOADS):
        block = make_block(parent, transactions=(2 * number, 2 * number + 1), payloads=(payload,))
        payloads.put(payload)
        store.put_headers([block.header])
        store.put_body(block.id, block.body)
        store.commit(batch([block]))
        blocks.append(block)
        parent = block.header
    store.put_headers([make_block(blocks[0].header, salt=9).header])
    return blocks


def test_a_sound_store_is_said_to_be(disk: Disk):
    """Everything is counted and nothing is wrong; a pruned payload is counted, not blamed."""
    store, payloads, journal = disk.chain(), disk.payloads(), disk.journal()
    filled(store, payloads)
    journal.record(make_release())
    payloads.delete(next(payloads.ids()))
    report = check_stores(store, payloads, journal)
    assert report.is_sound, report.problems
    assert (report.headers, report.bodies, report.main_chain, report.transactions) == (5, 4, 4, 6)
    assert (report.payloads, report.payloads_missing, report.releases) == (2, 1, 1)


def faults(blocks: list[Block]):
    """Ways in which a database can be wrong, and what the check says."""
    first, second = blocks[0].id, blocks[1].id
    transaction = blocks[1].body.transactions[0].id
    yield (lambda writer: writer.delete(UNDO + second)), "its undo is missing"
    yield (lambda writer: writer.delete(EVENTS + second)), "its events are missing"
    yield (lambda writer: writer.delete(PLACE + transaction)), "is not indexed at position 0"
    yield (lambda writer: writer.delete(BODY + second)), "its mark says otherwise"
    yield (lambda writer: writer.put(CHAIN + bytes(7) + b"\x02", first)), "does not follow"
    yield (lambda writer: writer.delete(number_key(CHAIN, 2))), "no stored block at height 2"
    yield (lambda writer: writer.put(number_key(CHAIN, 4), first)), "above the tip"
    yield (lambda writer: writer.put(INVALID + second, b"a rule")), "marked invalid"
    yield (lambda writer: writer.put(BODY + second, b"\x92\x90\x90")), "does not have the roots"
    yield (lambda writer: writer.put(BODY + second, b"?")), "not a Body"
    yield (lambda writer: writer.put(b"h" + second, number_key(b"", 0))), "leads to another header"


@pytest.mark.parametrize("number", range(11))
def test_each_fault_is_found(tmp_path, lock, number):
    """Change one thing behind the store's back: the check names it, and nothing raises."""
    store, payloads = open_chain_store(tmp_path / "chain", lock, make_genesis()), MemoryPayloadStore()
    blocks = filled(store, payloads)
    spoil, message = list(faults(blocks))[number]

    def fill(writer: Writer) -> None:
        spoil(writer)

    assert check_stores(store, payloads).is_sound
    store.database.write(fill, sync=False)
    report = check_stores(store, payloads)
    store.close()
    assert any(message in problem for problem in report.problems), report.problems


def test_a_changed_payload_is_found(tmp_path):
    """The check reads every payload file against its name."""
    store, payloads = MemoryChainStore(make_genesis()), PayloadFiles(tmp_path)
    filled(store, payloads)
    file = next(tmp_path.glob("*/*"))
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    (problem,) = check_stores(store, payloads).problems
    assert "is not what its digest says" in problem


def test_compaction_changes_nothing(tmp_path, lock):
    """After rewriting its files the database says the same."""
    store, payloads = open_chain_store(tmp_path / "chain", lock, make_genesis()), MemoryPayloadStore()
    filled(store, payloads)
    before = check_stores(store, payloads)
    store.database.compact()
    assert check_stores(store, payloads) == before
    assert before.is_sound
    store.close()


def test_an_export_gives_the_chain_back(disk: Disk, tmp_path):
    """Blocks from genesis up, each after its payloads; importing them makes an equal store."""
    store, payloads = disk.chain(), disk.payloads()
    blocks = filled(store, payloads)
    assert export_chain(store, payloads, tmp_path / "chain.export") == 4
    items = list(read_export(tmp_path / "chain.export", store.genesis))
    expected = [disk.genesis.block]
    for block, payload in zip(blocks, PAYLOADS, strict=True):
        expected += [payload, block]
    assert items == expected
    again, copied = MemoryChainStore(disk.genesis), MemoryPayloadStore()
    for item in items[1:]:
        if isinstance(item, bytes):
            copied.put(item)
        else:
            again.put_headers([item.header])
            again.put_body(item.id, item.body)
            again.commit(batch([item]))
    assert (again.tip(), list(copied.ids())) == (store.tip(), list(payloads.ids()))
    assert check_stores(again, copied, MemoryReleaseJournal()).is_sound


def test_an_export_is_another_networks(tmp_path):
    """It says so before the first block."""
    store = MemoryChainStore(make_genesis())
    export_chain(store, MemoryPayloadStore(), tmp_path / "chain.export")
    with pytest.raises(ForeignGenesisError, match="holds the chain of the network"):
        next(read_export(tmp_path / "chain.export", store.tip()))


def test_an_export_of_a_chain_with_a_hole_leaves_no_file(tmp_path, lock):
    """A body that is missing is an error that names the height; no half file stays behind."""
    store = open_chain_store(tmp_path / "chain", lock, make_genesis())
    blocks = filled(store, MemoryPayloadStore())
    store.database.write(lambda writer: writer.delete(BODY + blocks[1].id), sync=False)
    with pytest.raises(StorageError, match="height 2"):
        export_chain(store, MemoryPayloadStore(), tmp_path / "chain.export")
    assert not list(tmp_path.glob("*export*"))
    store.close()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An export's path, its bytes and its genesis."""
    store, payloads = MemoryChainStore(make_genesis()), MemoryPayloadStore()
    filled(store, payloads)
    path = tmp_path_factory.mktemp("export") / "chain.export"
    export_chain(store, payloads, path)
    return path, path.read_bytes(), store.genesis


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_to_an_export_is_noticed(exported, tmp_path, data):
    """One byte changed, bytes missing or added: reading ends in an error that names the file."""
    _, content, genesis = exported
    position = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["change", "cut", "add"]))
    changed = bytearray(content)
    if kind == "change":
        changed[position] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del changed[position:]
    else:
        changed[position:position] = data.draw(st.binary(min_size=1, max_size=3))
    if changed == content:
        changed += b"\0"
    path = tmp_path / "changed.export"
    path.write_bytes(changed)
    with pytest.raises((DamagedError, ForeignGenesisError), match=r"changed\.export"):
        list(read_export(path, genesis))


def test_an_export_writes_through_no_link(tmp_path):
    """Not through one under the name its part had once, nor one in its own place; what it was on is as it was."""
    store, payloads = MemoryChainStore(make_genesis()), MemoryPayloadStore()
    filled(store, payloads)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for name in (".chain.export.tmp", "chain.export"):
        (tmp_path / name).symlink_to(victim)
    assert export_chain(store, payloads, tmp_path / "chain.export") == 4
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "chain.export").stat().st_size > 100
