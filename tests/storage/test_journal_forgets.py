"""A release journal that forgets what is over: never what was lost, never that nothing else may be released."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.hashing import digest
from chain.ids import AccountId, Hash
from storage.errors import DamagedError, JournalError
from storage.journal import MAGIC, FileReleaseJournal
from storage.memorystores import MemoryReleaseJournal
from storage.own import JournalEntry, ReleaseJournal
from tests.storage.chains import make_release
from tests.storage.test_datastore_crash import Crash, Death

TASKS = [digest(b"test", bytes([n])) for n in range(4)]
DEVICES = [AccountId(n.to_bytes(32, "big")) for n in range(1, 4)]


def release(task: int, device: int, loss: int, total: int) -> JournalEntry:
    """A release of one of the devices for one of the tasks, some hundred bytes."""
    return make_release(bytes([task]), device=device, loss=loss, total=total, payload=bytes([task, device]) * 200)


def history() -> st.SearchStrategy[list[JournalEntry]]:
    """Releases in any order of tasks and devices, each at most once; totals rise, at times by more than the loss."""

    def entries(drawn: list[tuple[int, int, int, int]]) -> list[JournalEntry]:
        totals, seen, found = dict.fromkeys(range(1, 4), 0), set(), []
        for task, device, loss, more in drawn:
            if (task, device) not in seen:
                seen.add((task, device))
                totals[device] += loss + more
                found.append(release(task, device, loss, totals[device]))
        return found

    one = st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(0, 9), st.integers(0, 4))
    return st.lists(one, min_size=1, max_size=12).map(entries)


def losses(journal: ReleaseJournal, plan: Hash) -> tuple[object, ...]:
    """All that a journal says of losses."""
    totals = [journal.total(device) for device in DEVICES]
    under = [journal.spent_by(device, plan) for device in DEVICES]
    return (totals, under, journal.spent(), journal.spent_under(plan), journal.devices())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=history(), over=st.sets(st.integers(0, 3), min_size=1), more=st.sets(st.integers(0, 3)))
def test_forgetting_changes_no_loss_and_lets_nothing_be_released_again(tmp_path_factory, said, over, more) -> None:
    """Once, twice, reopened, in memory and on disk: totals stay, other entries stay, tasks that are over stay so."""
    path = tmp_path_factory.mktemp("journal") / "releases.log"
    plan = said[0].update.release.plan
    memory = MemoryReleaseJournal(0)
    with FileReleaseJournal(path, 0) as disk:
        for journal in (disk, memory):
            journal.record_all(said)
            known = losses(journal, plan)
            gone = set(over)
            for tasks in (over, more):
                journal.forget([TASKS[task] for task in tasks])
                gone |= tasks
                assert losses(journal, plan) == known
    left = [entry for entry in said if entry.task not in {TASKS[task] for task in gone}]
    with FileReleaseJournal(path, 0) as disk:
        for journal in (disk, memory):
            assert losses(journal, plan) == known
            assert list(journal.entries()) == left
            for entry in said:
                assert journal.has(entry.task, entry.device)
                assert journal.lookup(entry.task, entry.device) == (entry if entry in left else None)
            for task in gone & {task for task in range(4) if any(entry.task == TASKS[task] for entry in said)}:
                with pytest.raises(JournalError, match="is over: nothing is released for it any more"):
                    journal.record(release(task, 1, 0, 10_000))
            assert set(journal.tasks()) == {entry.task for entry in left}


def test_a_new_file_is_worth_it_only_if_enough_goes(tmp_path: Path) -> None:
    """Half of the file at least, and as many bytes as were asked for: else each task would have everything copied."""
    with FileReleaseJournal(tmp_path / "releases.log", 1000) as journal:
        journal.record_all([release(0, 1, 1, 1), release(1, 1, 1, 2), release(1, 2, 1, 1), release(2, 1, 0, 2)])
        before = journal.path.stat()
        assert journal.forget([TASKS[0]]) == 0, "too little"
        assert journal.path.stat().st_ino == before.st_ino
        assert journal.forget([TASKS[0], TASKS[1]]) > 1000
        assert journal.path.stat().st_ino != before.st_ino
        assert before.st_size - journal.path.stat().st_size > 1000
        assert journal.forget([TASKS[0], TASKS[1]]) == 0
        sample = journal.sample(TASKS[2])
        assert sample is not None
        assert (sample.task, journal.sample(TASKS[0])) == (TASKS[2], None)


def test_killed_at_any_write_of_a_new_file_the_journal_is_the_old_or_the_new_one(tmp_path, monkeypatch) -> None:
    """Nothing is lost or torn, nothing is left lying beside it, and forgetting can be done again."""
    death = Death(monkeypatch)
    said = [release(0, 1, 2, 2), release(1, 2, 3, 3), release(0, 2, 1, 4), release(2, 1, 1, 3)]
    crashes = 0
    while True:
        for half in (False, True):
            path = tmp_path / f"{crashes} {half}" / "releases.log"
            path.parent.mkdir()
            with FileReleaseJournal(path, 0) as journal:
                journal.record_all(said)
                known = losses(journal, said[0].update.release.plan)
                death.left, death.half = crashes, half
                try:
                    journal.forget([TASKS[0]])
                    is_whole = True
                except Crash:
                    is_whole = False
                death.left = None
            left_behind = [file.name for file in path.parent.iterdir() if file != path]
            with FileReleaseJournal(path, 0) as journal:
                assert losses(journal, said[0].update.release.plan) == known
                assert list(journal.entries()) in (said, [said[1], said[3]])
                assert [file for file in path.parent.iterdir() if file != path] == []
                journal.forget([TASKS[0]])
                assert list(journal.entries()) == [said[1], said[3]]
                journal.record(release(3, 1, 1, 4))
            assert len(left_behind) <= 1
        if is_whole:
            break
        crashes += 1
    assert crashes >= 5, "magic, three records, a flush, the renaming, the directory"


def test_a_new_file_is_flushed_before_it_takes_the_old_one_s_place(tmp_path, monkeypatch) -> None:
    """And the directory after, so that a power cut finds one of the two."""
    death = Death(monkeypatch)
    with FileReleaseJournal(tmp_path / "releases.log", 0) as journal:
        journal.record_all([release(0, 1, 2, 2), release(1, 2, 3, 3)])
        death.seen.clear()
        journal.forget([TASKS[0]])
    assert death.seen == ["write"] * 3 + ["fsync", "rename", "fsync"]


def test_a_write_that_fails_leaves_the_old_file_and_is_told(tmp_path, monkeypatch) -> None:
    """As for any write of the journal: nothing is recorded until it is opened again."""
    path = tmp_path / "releases.log"
    with FileReleaseJournal(path, 0) as journal:
        journal.record(release(0, 1, 2, 2))
        content = path.read_bytes()
        with monkeypatch.context() as patch:

            def fail(*given: object) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr(os, "rename", fail)
            with pytest.raises(OSError, match="No space"):
                journal.forget([TASKS[0]])
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]
        for attempt in (lambda: journal.record(release(1, 1, 1, 3)), lambda: journal.forget([TASKS[0]])):
            with pytest.raises(JournalError, match="an earlier write"):
                attempt()


def test_a_journal_of_the_first_version_opens_and_goes_on(tmp_path) -> None:
    """It has no summary and else the same records; when something is forgotten it becomes one of the second."""
    path = tmp_path / "releases.log"
    with FileReleaseJournal(path, 0) as journal:
        journal.record_all([release(0, 1, 2, 2), release(1, 1, 1, 3)])
    first = MAGIC.replace(b"2", b"1")
    path.write_bytes(first + path.read_bytes()[len(MAGIC) :])
    with FileReleaseJournal(path, 0) as journal:
        journal.record(release(1, 2, 1, 1))
        assert path.read_bytes().startswith(first)
        assert journal.forget([TASKS[1]]) > 0
        assert path.read_bytes().startswith(MAGIC)
        assert [entry.task for entry in journal.entries()] == [TASKS[0]]


def test_a_changed_summary_is_damage(tmp_path) -> None:
    """It says what cannot be found anywhere else."""
    path = tmp_path / "releases.log"
    with FileReleaseJournal(path, 0) as journal:
        journal.record(release(0, 1, 2, 2))
        journal.forget([TASKS[0]])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"releases\.log"):
        FileReleaseJournal(path)
