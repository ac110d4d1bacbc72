"""The pledge journal: what a node has helped to decrypt is known for ever, and nothing else is helped with."""

from pathlib import Path

import pytest

from chain.hashing import digest
from chain.ids import Hash
from storage.errors import DamagedError, JournalError, LockedError, SchemaError
from storage.pledges import FilePledges, MemoryPledges, Pledge, PledgeJournal
from storage.recordfile import HEAD_BYTES


def name(text: str) -> Hash:
    return digest(b"test", text.encode())


FIRST, AGAIN, OTHER = Pledge(name("a"), name("1")), Pledge(name("a"), name("2")), Pledge(name("b"), name("2"))


@pytest.mark.parametrize("make", [lambda path: MemoryPledges(), FilePledges], ids=["memory", "file"])
def test_one_value_a_subject(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The first stands, the same again is no news, another is refused; subjects do not touch each other."""
    pledges: PledgeJournal = make(tmp_path / "pledges.log")
    assert pledges.find(FIRST.subject) is None
    pledges.record(FIRST)
    pledges.record(FIRST)
    with pytest.raises(JournalError, match="two sums of one round"):
        pledges.record(AGAIN)
    pledges.record(OTHER)
    assert (pledges.find(FIRST.subject), pledges.find(OTHER.subject)) == (FIRST.value, OTHER.value)
    pledges.close()
    pledges.close()


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    """Through a record that a crash left unfinished, which nobody was told of; and no second process has it open."""
    path = tmp_path / "pledges.log"
    pledges = FilePledges(path)
    pledges.record(FIRST)
    pledges.record(OTHER)
    whole = path.read_bytes()
    with pytest.raises(LockedError):
        FilePledges(path)
    pledges.close()
    for cut in (1, 30, HEAD_BYTES):
        path.write_bytes(whole[:-cut])
        with_cut = FilePledges(path)
        assert with_cut.find(FIRST.subject) == FIRST.value
        assert with_cut.find(OTHER.subject) is None
        with pytest.raises(JournalError):
            with_cut.record(AGAIN)
        with_cut.close()


def test_damage_is_not_passed_over(tmp_path: Path) -> None:
    """A file that says two things of one subject, or was changed, does not open: its owner's word depends on it."""
    path = tmp_path / "pledges.log"
    pledges = FilePledges(path)
    pledges.record(FIRST)
    pledges.record(OTHER)
    pledges.close()
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(bytes(whole))
    with pytest.raises(DamagedError, match="no backup of it is newer"):
        FilePledges(path)
    path.write_bytes(b"fedchain pledge journal 9\n")
    with pytest.raises(SchemaError):
        FilePledges(path)
