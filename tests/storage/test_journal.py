"""The release journal: one task, one release, the same bytes for ever, through any crash."""

import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.codec import encode
from chain.hashing import digest
from chain.ids import AccountId, Hash
from storage.errors import DamagedError, JournalError, LockedError, SchemaError, UseError
from storage.journal import HEAD_BYTES, MAGIC, FileReleaseJournal
from tests.storage.chains import make_release
from tests.storage.conftest import Disk

NOBODY = AccountId(bytes(32))


def test_a_release_is_found_by_task_and_device(disk: Disk):
    """What was recorded is found, byte for byte, after a restart too; other tasks and devices have nothing."""
    journal = disk.journal()
    entries = [make_release(b"a"), make_release(b"b"), make_release(b"a", device=1, payload=b"other")]
    for entry in entries:
        journal.record(entry)
    journal.close()
    journal = disk.journal()
    assert [encode(entry) for entry in journal.entries()] == [encode(entry) for entry in entries]
    assert all(journal.lookup(entry.task, entry.device) == entry for entry in entries)
    assert journal.lookup(entries[1].task, entries[2].device) is None


def test_another_release_for_the_same_task_is_refused(disk: Disk):
    """The first stands; the same one again is no error and is not written twice."""
    journal = disk.journal()
    first = make_release(b"a", payload=b"one")
    journal.record(first)
    journal.record(first)
    with pytest.raises(JournalError, match="the same bytes for ever"):
        journal.record(make_release(b"a", payload=b"two"))
    assert list(journal.entries()) == [first]


def test_totals_only_grow(disk: Disk):
    """A device's total is its last release's; a release whose total leaves out what was spent is refused."""
    journal = disk.journal()
    journal.record(make_release(b"a", loss=5, total=5))
    journal.record(make_release(b"b", loss=5, total=12))
    journal.record(make_release(b"a", device=1, loss=3, total=3))
    with pytest.raises(JournalError, match="spent 13"):
        journal.record(make_release(b"c", loss=1, total=12))
    journal.close()
    journal = disk.journal()
    assert [journal.total(AccountId(n.to_bytes(32, "big"))) for n in range(3)] == [12, 3, 0]


def test_a_payload_must_be_the_one_the_update_names(disk: Disk):
    """Else the device could not prove what it sent."""
    entry = make_release(b"a")
    with pytest.raises(JournalError, match="which the update names"):
        disk.journal().record(type(entry)(entry.update, b"something else"))


def test_a_closed_journal_takes_nothing(disk: Disk):
    """Recording after closing is an error, never a silent loss."""
    journal = disk.journal()
    journal.close()
    journal.close()
    with pytest.raises(UseError, match="closed"):
        journal.record(make_release(b"a"))


ENTRIES = [make_release(b"%d" % n, payload=bytes([n]) * 40 * n, loss=1, total=n + 1) for n in range(4)]


def test_a_batch_is_what_its_releases_are_one_by_one(tmp_path):
    """The same bytes on disk, found by task and device; what is known already is not written again."""
    one, many = tmp_path / "one.log", tmp_path / "many.log"
    entries = [
        make_release(b"%d" % (n // 3), device=n % 3, payload=b"%d" % n, loss=1, total=n // 3 + 1) for n in range(9)
    ]
    with FileReleaseJournal(one) as journal:
        for entry in entries:
            journal.record(entry)
    with FileReleaseJournal(many) as journal:
        journal.record_all(entries[:4])
        journal.record_all(entries)
        journal.record_all([])
        assert all(journal.has(entry.task, entry.device) for entry in entries)
        assert not journal.has(entries[0].task, AccountId(b"stranger".ljust(32)))
        assert [journal.total(AccountId(n.to_bytes(32, "big"))) for n in range(3)] == [3, 3, 3]
    assert many.read_bytes() == one.read_bytes()


def test_a_batch_is_flushed_once(tmp_path, monkeypatch):
    """However many devices it is of: that is what a batch is for."""
    flushes = []
    with FileReleaseJournal(tmp_path / "releases.log") as journal:
        flush = os.fsync
        monkeypatch.setattr(os, "fsync", lambda file: (flushes.append(file), flush(file))[1])
        journal.record_all([make_release(b"a", device=device) for device in range(50)])
    assert len(flushes) == 1


def test_a_batch_in_which_a_device_says_two_things_is_refused(tmp_path):
    """Two releases for one task, or a total that leaves out the one before it in the same batch."""
    with FileReleaseJournal(tmp_path / "releases.log") as journal:
        with pytest.raises(JournalError, match="the same bytes for ever"):
            journal.record_all([make_release(b"a", payload=b"one"), make_release(b"a", payload=b"two")])
        with pytest.raises(JournalError, match="spent 10"):
            journal.record_all([make_release(b"b", loss=5, total=5), make_release(b"c", loss=5, total=5)])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_batch_torn_anywhere_leaves_its_first_releases_whole(tmp_path_factory, data):
    """None of it was acknowledged; what is there stays what was released, and the batch can be recorded again."""
    path = tmp_path_factory.mktemp("journal") / "releases.log"
    batch = [make_release(b"a", device=n, payload=bytes([n]) * 60 * n) for n in range(1, 6)]
    ends = []
    with FileReleaseJournal(path) as journal:
        journal.record(ENTRIES[0])
        start = path.stat().st_size
        journal.record_all(batch)
        ends = [journal._records._starts[place] + journal._records._lengths[place] for place in range(1, 6)]
    content = path.read_bytes()
    cut = data.draw(st.integers(start, len(content)))
    path.write_bytes(content[:cut])
    with FileReleaseJournal(path) as journal:
        assert list(journal.entries()) == [ENTRIES[0], *batch[: sum(end <= cut for end in ends)]]
        journal.record_all(batch)
    assert path.read_bytes() == content


def written(path) -> tuple[bytes, list[int]]:
    """A journal's bytes and the offsets at which its records end."""
    ends = []
    with FileReleaseJournal(path) as journal:
        for entry in ENTRIES:
            journal.record(entry)
            ends.append(path.stat().st_size)
    return path.read_bytes(), ends


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_torn_tail_costs_only_what_was_not_acknowledged(tmp_path_factory, data):
    """Cut anywhere, or cut and filled with zeros: every whole record is there, and recording goes on."""
    path = tmp_path_factory.mktemp("journal") / "releases.log"
    content, ends = written(path)
    if data.draw(st.booleans()):
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:cut])
    else:
        cut = data.draw(st.sampled_from([len(MAGIC), *ends]))
        head = data.draw(st.sampled_from([0, HEAD_BYTES])) if cut < len(content) else 0
        path.write_bytes(content[: cut + head] + bytes(data.draw(st.sampled_from([1, 50, 5000]))))
    whole = sum(end <= cut for end in ends)
    with FileReleaseJournal(path) as journal:
        assert list(journal.entries()) == ENTRIES[:whole]
        for entry in ENTRIES:
            journal.record(entry)
    assert path.read_bytes() == content


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_is_damage_never_a_lost_release(tmp_path_factory, data):
    """Whatever single byte is changed, the journal refuses to open and leaves the file alone; it forgets nothing."""
    path = tmp_path_factory.mktemp("journal") / "releases.log"
    content, _ = written(path)
    position = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    with pytest.raises((DamagedError, SchemaError), match=r"releases\.log"):
        FileReleaseJournal(path)
    assert path.read_bytes() == bytes(changed)


def test_damage_says_what_to_do(tmp_path):
    """The error names file, byte and remedy."""
    path = tmp_path / "releases.log"
    content, ends = written(path)
    path.write_bytes(content[: ends[0] + 60] + b"?" + content[ends[0] + 61 :])
    with pytest.raises(DamagedError, match=rf"record at byte {ends[0]} .*restore a backup.*new key"):
        FileReleaseJournal(path)


def test_a_journal_of_another_version_is_refused(tmp_path):
    """A later format is named, not misread."""
    path = tmp_path / "releases.log"
    path.write_bytes(MAGIC.replace(b"2", b"3"))
    with pytest.raises(SchemaError, match="another version"):
        FileReleaseJournal(path)


def test_two_processes_can_not_share_a_journal(tmp_path):
    """The second is told; when the first ends, the second may open it."""
    path = tmp_path / "releases.log"
    script = "import sys, pathlib, storage.journal as s; s.FileReleaseJournal(pathlib.Path(sys.argv[1]))"
    with FileReleaseJournal(path):
        with pytest.raises(LockedError, match="another process"):
            FileReleaseJournal(path)
        other = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
        assert other.returncode == 1
        assert "LockedError" in other.stderr
    FileReleaseJournal(path).close()


def test_after_a_failed_write_nothing_is_recorded_until_reopened(tmp_path, monkeypatch):
    """When the disk fails, what is on it is not known: the journal takes nothing more, and reopened it is sound."""
    path = tmp_path / "releases.log"
    with FileReleaseJournal(path) as journal:
        journal.record(ENTRIES[0])
        with monkeypatch.context() as patch:

            def fail(file: int) -> None:
                raise OSError(5, "Input/output error")

            patch.setattr(os, "fsync", fail)
            with pytest.raises(OSError, match="Input/output"):
                journal.record(ENTRIES[1])
        with pytest.raises(JournalError, match="earlier write"):
            journal.record(ENTRIES[2])
        assert list(journal.entries()) == [ENTRIES[0]]
    with FileReleaseJournal(path) as journal:
        journal.record(ENTRIES[1])
        assert list(journal.entries()) == ENTRIES[:2]


def test_the_entry_of_a_task_can_not_be_confused(tmp_path):
    """Digests of tasks are looked up whole."""
    with FileReleaseJournal(tmp_path / "releases.log") as journal:
        journal.record(make_release(b"a"))
        assert journal.lookup(digest(b"test", b"b"), NOBODY) is None
        assert journal.lookup(digest(b"test", b"a"), NOBODY) == make_release(b"a")


def test_the_losses_of_all_keys_add_up(disk: Disk):
    """The journal lies with the data: what an earlier key released counts on, and so does what only totals say."""
    journal = disk.journal()
    assert (journal.spent(), journal.devices()) == (0, ())
    journal.record(make_release(b"a", loss=5, total=5))
    journal.record(make_release(b"b", loss=5, total=25))
    assert journal.spent() == 25
    journal.record(make_release(b"a", device=1, loss=3, total=3))
    assert journal.spent() == 28, "a new key that begins at nothing"
    journal.record(make_release(b"b", device=1, loss=3, total=31))
    assert journal.spent() == 31, "one that counts on is not counted twice"
    plan = make_release(b"a").update.release.plan
    assert journal.spent_under(plan) == 16
    assert journal.spent_under(Hash(b"\x01" * 32)) == 0
    journal.close()
    journal = disk.journal()
    assert (journal.spent(), journal.spent_under(plan)) == (31, 16)
    assert [int.from_bytes(device, "big") for device in journal.devices()] == [0, 1]
