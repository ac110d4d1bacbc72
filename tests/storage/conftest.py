"""Every store twice: on disk and in memory. A ``Disk`` is what survives when a process ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.base import ChainStore, GenesisData, PayloadStore
from storage.journal import FileReleaseJournal
from storage.lock import DirectoryLock
from storage.memory import MemoryChainStore
from storage.memorystores import MemoryPayloadStore, MemoryReleaseJournal, MemorySigningJournal
from storage.opening import open_chain_store
from storage.own import ReleaseJournal, SigningJournal
from storage.payloads import PayloadFiles
from storage.signing import FileSigningJournal
from tests.storage.chains import make_genesis


class Disk:
    """Opens and reopens stores; the same content is there each time."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind = kind
        self.path = path
        self.genesis = make_genesis()
        self._lock = DirectoryLock(path / ".lock")
        self._open: list[ChainStore | ReleaseJournal | SigningJournal] = []
        self._memory_chain: MemoryChainStore | None = None
        self._memory_payloads: MemoryPayloadStore | None = None
        self._memory_journal: MemoryReleaseJournal | None = None
        self._memory_signing: MemorySigningJournal | None = None

    def chain(self, genesis: GenesisData | None = None) -> ChainStore:
        store: ChainStore
        if self.kind == "memory":
            self._memory_chain = (
                MemoryChainStore(genesis or self.genesis) if self._memory_chain is None else self._memory_chain.reopen()
            )
            store = self._memory_chain
        else:
            store = open_chain_store(self.path / "chain", self._lock, genesis or self.genesis)
        self._open.append(store)
        return store

    def payloads(self, **caps: int) -> PayloadStore:
        if self.kind == "memory":
            self._memory_payloads = self._memory_payloads or MemoryPayloadStore(**caps)
            return self._memory_payloads
        (self.path / "payloads").mkdir(exist_ok=True)
        return PayloadFiles(self.path / "payloads", **caps)

    def journal(self) -> ReleaseJournal:
        journal: ReleaseJournal
        if self.kind == "memory":
            self._memory_journal = (
                MemoryReleaseJournal() if self._memory_journal is None else self._memory_journal.reopen()
            )
            journal = self._memory_journal
        else:
            journal = FileReleaseJournal(self.path / "releases.log")
        self._open.append(journal)
        return journal

    def signing(self) -> SigningJournal:
        journal: SigningJournal
        if self.kind == "memory":
            held = self._memory_signing
            journal = self._memory_signing = MemorySigningJournal() if held is None else held.reopen()
        else:
            journal = FileSigningJournal(self.path / "signed.log")
        self._open.append(journal)
        return journal

    def close(self) -> None:
        for store in self._open:
            store.close()
        self._lock.release()


@pytest.fixture(params=["leveldb", "memory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(request.param, tmp_path)
    yield disk
    disk.close()


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[DirectoryLock]:
    with DirectoryLock(tmp_path / ".lock") as lock:
        yield lock
