"""Certificates beside the chain: the highest final block, the proofs of epochs for ever, the epoch under way."""

import pytest

from chain.ids import Hash, Height
from storage.base import FinalBlock
from storage.errors import SchemaError
from storage.layout import META_FINAL, META_SCHEMA, SCHEMA_VERSION, encode_version
from storage.leveldb import LevelChainStore
from storage.opening import open_chain_store
from tests.storage.chains import make_genesis
from tests.storage.conftest import Disk


def final(height: int) -> FinalBlock:
    return FinalBlock(Height(height), Hash(bytes([height]) * 32), b"certificate %d" % height)


def test_the_highest_final_block_is_kept(disk: Disk):
    """A lower one changes nothing; it is there after a restart."""
    store = disk.chain()
    assert store.certificates.latest_final() is None
    for height in (3, 7, 5):
        store.certificates.keep_final(final(height))
    store.close()
    assert disk.chain().certificates.latest_final() == final(7)


def test_a_final_block_of_the_epoch_under_way_is_kept_as_both(disk: Disk):
    """The certificate of a block that is not the highest is one of the epoch all the same."""
    store = disk.chain()
    store.certificates.keep_final(final(7), (1, 4))
    store.certificates.keep_final(final(6), (1, 3))
    store.close()
    certificates = disk.chain().certificates
    assert certificates.latest_final() == final(7)
    assert certificates.live() == (final(6).certificate, final(7).certificate)


def test_both_are_one_write_that_is_waited_for(tmp_path, lock, monkeypatch):
    """Each wait for the disk is one between a block and the next."""
    store = open_chain_store(tmp_path / "chain", lock, make_genesis())
    write, waited = store.database.write, []
    monkeypatch.setattr(store.database, "write", lambda fill, *, sync: (waited.append(sync), write(fill, sync=sync)))
    store.certificates.keep_final(final(7), (1, 4))
    assert waited == [True]
    store.close()


def test_the_proofs_of_epochs_stay(disk: Disk):
    """Each epoch has its own; one that is not over has none."""
    store = disk.chain()
    for epoch in (0, 1, 300):
        store.certificates.keep_epoch(epoch, b"proof %d" % epoch)
    store.close()
    certificates = disk.chain().certificates
    assert [certificates.epoch_proof(epoch) for epoch in (0, 1, 2, 300)] == [b"proof 0", b"proof 1", None, b"proof 300"]


def test_the_epoch_under_way_is_kept_in_order_and_forgotten_from_below(disk: Disk):
    """By epoch and view, each message once."""
    store = disk.chain()
    for epoch, view, message in ((1, 2, b"b"), (0, 900, b"a"), (1, 300, b"c"), (1, 2, b"b")):
        store.certificates.keep_live(epoch, view, message)
    store.close()
    certificates = disk.chain().certificates
    assert certificates.live() == (b"a", b"b", b"c")
    certificates.forget_live(1, 3)
    assert certificates.live() == (b"c",)
    certificates.forget_live(2, 0)
    assert certificates.live() == ()


def make_version_1(store: LevelChainStore) -> None:
    store.database.write(lambda writer: writer.put(META_SCHEMA, encode_version(1)), sync=True)


def test_a_database_of_version_1_is_raised_and_keeps_its_content(tmp_path, lock):
    """Nothing in it is rewritten; certificates can be kept in it from then on."""
    store = open_chain_store(tmp_path / "chain", lock, make_genesis())
    before = list(store.database.scan(b""))
    make_version_1(store)
    store.close()
    store = open_chain_store(tmp_path / "chain", lock, make_genesis())
    assert list(store.database.scan(b"")) == before
    assert store.database.get(META_SCHEMA) == encode_version(SCHEMA_VERSION)
    store.certificates.keep_final(final(1))
    store.close()


def test_a_database_that_claims_version_1_and_holds_certificates_is_refused(tmp_path, lock):
    """No program of version 1 wrote it."""
    store = open_chain_store(tmp_path / "chain", lock, make_genesis())
    store.certificates.keep_final(final(1))
    assert store.database.get(META_FINAL) is not None
    make_version_1(store)
    store.close()
    with pytest.raises(SchemaError, match="does not know"):
        open_chain_store(tmp_path / "chain", lock, make_genesis())
