"""Payload stores: bytes under their digest, caps, and damage that is named."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.hashing import content_id
from chain.ids import Hash
from storage.errors import CapacityError, DamagedError
from storage.files import write_file
from storage.memorystores import MemoryPayloadStore
from storage.payloads import PayloadFiles
from storage.segments import HEAD_BYTES, SMALL_BYTES
from tests.storage.conftest import Disk


def test_a_payload_is_found_under_its_digest(disk: Disk):
    """Put, has, get, ids and delete speak of the same bytes; a payload put twice is there once."""
    store = disk.payloads()
    id = store.put(b"update", sync=True)
    assert id == content_id(b"update") == store.put(b"update")
    assert store.has(id)
    assert store.get(id) == store.payload(id) == b"update"
    assert (list(store.ids()), store.total_bytes()) == ([id], 6)
    store.delete(id)
    store.delete(id)
    assert not store.has(id)
    assert store.get(id) is None
    assert (list(store.ids()), store.total_bytes()) == ([], 0)


def test_payloads_survive_a_restart(disk: Disk):
    """What was put is there in the next process, and counted."""
    ids = sorted(disk.payloads().put(bytes([n]) * n, sync=bool(n % 2)) for n in range(40))
    store = disk.payloads()
    assert list(store.ids()) == ids
    assert store.total_bytes() == sum(range(40))


def test_caps_are_errors_that_change_nothing(disk: Disk):
    """A payload over its own cap, or over what is left, is refused with the numbers; after pruning it fits."""
    store = disk.payloads(max_payload_bytes=10, max_total_bytes=15)
    first = store.put(b"0123456789")
    with pytest.raises(CapacityError, match="11 bytes; at most 10"):
        store.put(b"0123456789A")
    with pytest.raises(CapacityError, match="cap of 15"):
        store.put(b"987654")
    assert store.put(b"0123456789") == first
    store.delete(first)
    assert store.get(store.put(b"987654")) == b"987654"


def test_only_what_asks_for_it_waits_for_the_disk(tmp_path, monkeypatch):
    """A payload from others is flushed never, one of our own on return, also if it came from others before."""
    flushed: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (flushed.append(os.fstat(file).st_ino), fsync(file))[1])
    large = bytes(SMALL_BYTES)
    store = PayloadFiles(tmp_path)
    store.put(b"theirs")
    store.put(large + b"theirs")
    assert flushed == []
    for own in (b"ours", b"theirs", large + b"ours", large + b"theirs"):
        flushed.clear()
        id = store.put(own, sync=True).hex()
        file = tmp_path / "segments" / "00000001" if len(own) <= SMALL_BYTES else tmp_path / id[:2] / id[2:]
        assert {file.stat().st_ino, file.parent.stat().st_ino, tmp_path.stat().st_ino} <= set(flushed)


@pytest.mark.parametrize("small_bytes", [SMALL_BYTES, -1])
@pytest.mark.parametrize("damage", [b"", b"updatX", b"update and more"])
def test_changed_bytes_are_named_never_returned(tmp_path, damage, small_bytes):
    """A file that does not hold what its name says is an error that names it; deleted, it can be put again."""
    store = PayloadFiles(tmp_path, small_bytes=small_bytes)
    id = store.put(b"update")
    (file,) = list(tmp_path.glob("*/*"))
    file.write_bytes(damage if small_bytes < 0 else file.read_bytes()[:HEAD_BYTES] + damage.ljust(6)[-6:])
    with pytest.raises(DamagedError, match=file.name):
        store.get(id)
    store.delete(id)
    store.put(b"update")
    assert store.get(id) == b"update"


def test_what_a_crash_left_is_removed(tmp_path):
    """Temporary files do not count as payloads and are gone after opening; strange names are passed over."""
    store = PayloadFiles(tmp_path)
    id = store.put(b"update")
    (tmp_path / "ab").mkdir(exist_ok=True)
    (tmp_path / "ab" / ".cdef.123.tmp").write_bytes(b"half")
    (tmp_path / "README").write_bytes(b"")
    store = PayloadFiles(tmp_path)
    assert list(store.ids()) == [id]
    assert list(PayloadFiles(tmp_path).ids()) == [id]
    assert store.total_bytes() == 6
    assert not list(tmp_path.glob("*/*.tmp"))


def test_a_file_that_can_not_be_finished_leaves_nothing(tmp_path, monkeypatch):
    """If the disk fails while writing, neither the file nor its temporary twin is there."""

    def fail(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storage.files.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_file(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


operations = st.lists(st.tuples(st.sampled_from(["put", "delete"]), st.binary(max_size=2)), max_size=20)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_both_stores_do_the_same(tmp_path_factory, operations):
    """After any puts and deletes disk and memory hold the same."""
    files, memory = PayloadFiles(tmp_path_factory.mktemp("payloads")), MemoryPayloadStore()
    for name, data in operations:
        for store in (files, memory):
            if name == "put":
                store.put(data)
            else:
                store.delete(content_id(data))
    again = PayloadFiles(files.path)
    assert list(again.ids()) == list(memory.ids())
    assert again.total_bytes() == memory.total_bytes()
    assert [again.get(Hash(id)) for id in memory.ids()] == [memory.get(Hash(id)) for id in memory.ids()]


@pytest.mark.parametrize("small_bytes", [SMALL_BYTES, -1])
def test_a_running_node_sets_a_damaged_file_aside(tmp_path, small_bytes):
    """Then the payload is missing, can be stored again, and the damage was told once; nothing is thrown away."""
    store, told = PayloadFiles(tmp_path, small_bytes=small_bytes), []
    store.on_damage = told.append
    id = store.put(b"update")
    (file,) = tmp_path.glob("*/*")
    file.write_bytes(file.read_bytes()[:-6] + b"updaet")
    assert store.get(id) is None
    assert not store.has(id)
    assert store.get(id) is None
    assert [aside.read_bytes() for aside in told] == [b"updaet"]
    store.put(b"update")
    assert store.get(id) == b"update"
    assert list(store.ids()) == [id]
    assert list(PayloadFiles(tmp_path).ids()) == [id]
