"""The data directory: made whole, used by one process, refused if it is another's."""

from pathlib import Path

import pytest

from chain.genesis_default import default_genesis
from chain.ids import AccountId, Height
from storage.directory import DataDirectory
from storage.errors import DamagedError, ForeignGenesisError, LockedError, UseError
from tests.storage.chains import make_genesis, make_release

GENESIS = default_genesis("test", {AccountId(bytes(32)): 5}, time_ms=1000, block_ms=1000)


def test_a_new_directory_has_everything_for_its_owner_alone(tmp_path):
    """Every part is there, mode 0700, and the genesis reads back."""
    directory = DataDirectory.create(tmp_path / "a" / "node", GENESIS)
    assert directory.path.stat().st_mode & 0o777 == 0o700
    assert DataDirectory.find(directory.path).genesis() == GENESIS
    assert sorted(entry.name for entry in directory.path.iterdir()) == ["genesis.json", "journal", "keys", "payloads"]


def test_all_stores_open_under_one_lock(tmp_path):
    """Chain, payloads, journal and keys of one directory work together and are found again."""
    directory = DataDirectory.create(tmp_path / "node", GENESIS)
    genesis = make_genesis()
    with directory.lock() as lock:
        store = directory.open_chain(lock, genesis)
        id = directory.open_payloads(lock).put(b"update")
        with directory.open_journal() as journal:
            journal.record(make_release())
        store.close()
    with directory.lock() as lock:
        store = directory.open_chain(lock)
        assert store.block_id_at(Height(0)) == genesis.block.id
        assert directory.open_payloads(lock).get(id) == b"update"
        with directory.open_journal() as journal:
            assert list(journal.entries()) == [make_release()]
        store.close()
    assert directory.keystore().list_keys() == ()


def test_a_second_node_is_refused(tmp_path):
    """While one holds the directory, another is told; afterwards it may have it."""
    directory = DataDirectory.create(tmp_path / "node", GENESIS)
    with directory.lock(), pytest.raises(LockedError, match="in use by another process"):
        directory.lock()
    directory.lock().release()


def test_a_released_lock_opens_nothing(tmp_path):
    """Stores are not opened by somebody who does not hold the directory."""
    directory = DataDirectory.create(tmp_path / "node", GENESIS)
    lock = directory.lock()
    lock.release()
    with pytest.raises(UseError, match="lock"):
        directory.open_payloads(lock)
    with pytest.raises(UseError, match="lock"):
        directory.open_chain(lock, make_genesis())


def test_creating_never_overwrites(tmp_path):
    """A data directory is not made anew, and a directory with other things in it is left alone."""
    DataDirectory.create(tmp_path / "node", GENESIS)
    with pytest.raises(UseError, match="already is a data directory"):
        DataDirectory.create(tmp_path / "node", GENESIS)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("")
    with pytest.raises(UseError, match=r"not empty \(thesis\.tex\)"):
        DataDirectory.create(tmp_path / "home", GENESIS)


def test_a_creation_that_was_cut_off_can_be_repeated(tmp_path):
    """The genesis file comes last: without it there is no data directory, and making one goes on."""
    path = tmp_path / "node"
    (path / "keys").mkdir(parents=True)
    (path / ".genesis.json.123.tmp").write_text("{")
    with pytest.raises(UseError, match="fedchain init"):
        DataDirectory.find(path)
    assert DataDirectory.create(path, GENESIS).genesis() == GENESIS


@pytest.mark.parametrize("text", ["", "{", "[]", '{"chain_id": 1}', "\udcff"])
def test_a_spoilt_genesis_file_is_named(tmp_path, text):
    """The error names the file and what is wrong in it."""
    directory = DataDirectory.create(tmp_path / "node", GENESIS)
    Path(directory.genesis_file).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DamagedError, match=r"genesis\.json"):
        directory.genesis()


def test_a_directory_of_another_network_is_refused(tmp_path):
    """Exchanging genesis.json does not move a chain to another network."""
    directory = DataDirectory.create(tmp_path / "node", GENESIS)
    genesis = make_genesis()
    with directory.lock() as lock:
        directory.open_chain(lock, genesis).close()
        foreign = type(genesis)(genesis.block.id, genesis.block, ())
        with pytest.raises(ForeignGenesisError):
            directory.open_chain(lock, foreign)
