"""The signing journal: nothing that contradicts what was signed, through any crash; and old epochs are over."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.ids import ZERO_HASH, Hash
from storage.errors import DamagedError, JournalError, LockedError, UseError
from storage.own import SigningIntent
from storage.signing import FileSigningJournal
from tests.storage.conftest import Disk

A, B = Hash(b"a" * 32), Hash(b"b" * 32)


def intent(epoch: int, view: int, kind: str, block: Hash = A) -> SigningIntent:
    return SigningIntent(epoch, view, kind, ZERO_HASH if kind == "nullify" else block)


def intents() -> st.SearchStrategy[SigningIntent]:
    kinds = st.sampled_from(["propose", "notarize", "nullify", "finalize"])
    return st.builds(intent, st.integers(0, 2), st.integers(1, 3), kinds, st.sampled_from([A, B]))


def contradicts(one: SigningIntent, other: SigningIntent) -> bool:
    """The rules, said again: one place, one kind, two blocks; or a finalize and a nullify in one place."""
    if (one.epoch, one.view) != (other.epoch, other.view):
        return False
    return (one.kind == other.kind and one.block != other.block) or {one.kind, other.kind} == {"finalize", "nullify"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(intents(), max_size=25), reopen_at=st.integers(0, 25))
def test_nothing_signed_contradicts_anything_signed_before(tmp_path_factory, asked, reopen_at):
    """Whatever is asked, what the journal allows is free of contradiction, in rising epochs, also over a restart."""
    path = tmp_path_factory.mktemp("signing") / "signed.log"
    allowed: list[SigningIntent] = []
    journal = FileSigningJournal(path)
    for number, each in enumerate(asked):
        if number == reopen_at:
            journal.close()
            journal = FileSigningJournal(path)
        should = all(not contradicts(each, before) and each.epoch >= before.epoch for before in allowed)
        try:
            journal.record(each)
        except JournalError:
            assert not should
        else:
            assert should
            allowed.append(each)
    assert all(one.epoch <= other.epoch for one, other in pairwise(allowed))
    last = [each for each in allowed if each.epoch == allowed[-1].epoch]
    assert journal.entries() == tuple(dict.fromkeys(last))
    assert journal.latest() == ((last[-1].epoch, max(each.view for each in last)) if last else None)
    journal.close()


def test_what_was_signed_is_known_after_a_restart(disk: Disk):
    """Each kind by its place; nothing where nothing was signed."""
    journal = disk.signing()
    journal.record(intent(1, 4, "notarize", A))
    journal.record(intent(1, 4, "finalize", A))
    journal.record(intent(1, 5, "nullify"))
    journal.record(intent(1, 5, "nullify"))
    journal.close()
    journal = disk.signing()
    assert journal.signed(1, 4, "notarize") == A
    assert journal.signed(1, 5, "nullify") == ZERO_HASH
    assert journal.signed(1, 5, "notarize") is None
    assert journal.latest() == (1, 5)
    assert len(journal.entries()) == 3


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (intent(1, 4, "propose", A), intent(1, 4, "propose", B), "costs stake"),
        (intent(1, 4, "finalize", A), intent(1, 4, "nullify"), "both are an offence"),
        (intent(1, 4, "nullify"), intent(1, 4, "finalize", A), "both are an offence"),
        (intent(2, 1, "nullify"), intent(1, 9, "nullify"), "that epoch is over"),
    ],
)
def test_a_refusal_says_what_it_would_contradict(disk: Disk, first, second, why):
    """The message names both; what was signed first stands."""
    journal = disk.signing()
    journal.record(first)
    with pytest.raises(JournalError, match=why):
        journal.record(second)
    assert journal.entries() == (first,)


def test_a_closed_journal_takes_nothing(disk: Disk):
    """Recording after closing is an error, never a silent loss."""
    journal = disk.signing()
    journal.close()
    with pytest.raises(UseError, match="closed"):
        journal.record(intent(0, 1, "nullify"))


def test_a_new_epoch_begins_a_new_file(tmp_path):
    """The file does not grow for ever; the lock stays held over the change."""
    path = tmp_path / "signed.log"
    with FileSigningJournal(path) as journal:
        for view in range(1, 50):
            journal.record(intent(0, view, "nullify"))
        grown = path.stat().st_size
        journal.record(intent(1, 1, "nullify"))
        assert path.stat().st_size < grown // 20
        with pytest.raises(LockedError, match="stop that validator"):
            FileSigningJournal(path)
        journal.record(intent(1, 2, "nullify"))
    with FileSigningJournal(path) as journal:
        assert journal.entries() == (intent(1, 1, "nullify"), intent(1, 2, "nullify"))
    assert [file.name for file in tmp_path.iterdir()] == ["signed.log"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_torn_tail_costs_only_what_was_not_acknowledged(tmp_path_factory, data):
    """Cut anywhere, every whole record is there, and recording goes on."""
    path = tmp_path_factory.mktemp("signing") / "signed.log"
    entries = [intent(0, view, "notarize") for view in range(1, 5)]
    ends = []
    with FileSigningJournal(path) as journal:
        for entry in entries:
            journal.record(entry)
            ends.append(path.stat().st_size)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    with FileSigningJournal(path) as journal:
        assert list(journal.entries()) == entries[: sum(end <= cut for end in ends)]
        for entry in entries:
            journal.record(entry)
    assert path.read_bytes() == content


def test_a_changed_byte_is_damage_and_says_what_to_do(tmp_path):
    """A journal that can't be read is not begun anew: that would sign twice."""
    path = tmp_path / "signed.log"
    with FileSigningJournal(path) as journal:
        journal.record(intent(0, 1, "nullify"))
        journal.record(intent(0, 2, "nullify"))
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"signing journal .*keep the validator stopped|Keep the validator stopped"):
        FileSigningJournal(path)


def test_after_a_failed_write_nothing_is_signed_until_reopened(tmp_path, monkeypatch):
    """When the disk fails, what is on it is not known."""
    path = tmp_path / "signed.log"
    with FileSigningJournal(path) as journal:
        journal.record(intent(0, 1, "nullify"))

        def fail(file: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(OSError, match="Input/output"):
                journal.record(intent(0, 2, "nullify"))
        with pytest.raises(JournalError, match="earlier write"):
            journal.record(intent(0, 3, "nullify"))
    with FileSigningJournal(path) as journal:
        journal.record(intent(0, 3, "nullify"))


def test_it_is_on_disk_before_it_returns(tmp_path, monkeypatch):
    """The write is synced inside ``record``: a signature that leaves after it is accounted for."""
    synced: list[int] = []
    fsync = os.fsync

    def note(file: int) -> None:
        fsync(file)
        synced.append(os.fstat(file).st_size)

    with FileSigningJournal(tmp_path / "signed.log") as journal:
        monkeypatch.setattr(os, "fsync", note)
        journal.record(intent(0, 1, "nullify"))
        assert synced == [(tmp_path / "signed.log").stat().st_size]
        journal.record(intent(1, 1, "nullify"))
        assert (tmp_path / "signed.log").stat().st_size in synced


@pytest.mark.parametrize("epoch", [1, 2])
def test_what_a_killed_process_had_not_flushed_is_flushed_before_it_counts(tmp_path, monkeypatch, epoch):
    """Killed before the flush (of the file, or of its new name), it reads its entry again: the power may fail next."""
    path = tmp_path / "signed.log"
    journal = FileSigningJournal(path)
    journal.record(intent(1, 1, "notarize"))

    def die(file: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        if epoch == 2:
            patch.setattr("storage.recordfile._append", lambda file, data, at: os.pwrite(file, data, at))
            patch.setattr("storage.recordfile.sync_directory", die)
            patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        with pytest.raises(KeyboardInterrupt):
            journal.record(intent(epoch, 2, "notarize"))
    journal.close()

    flushed: list[int] = []
    fsync = os.fsync
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: (flushed.append(os.fstat(file).st_ino), fsync(file)))
        journal = FileSigningJournal(path)
        journal.record(intent(epoch, 2, "notarize"))
    assert journal.signed(epoch, 2, "notarize") == A
    assert {path.stat().st_ino, tmp_path.stat().st_ino} <= set(flushed)
    journal.close()
