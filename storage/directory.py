"""The data directory of one node: where everything is, and who may use it.

    genesis.json   the network it belongs to; there last, so a directory that has it is complete
    upgrades.json  rules that came or will come after it (``chain.upgrades``); may be missing
    config.toml    settings (``node.config``)
    keys/          key files (``storage.keystore``)
    chain/         the chain database (``storage.leveldb``)
    payloads/      payloads (``storage.payloads``, ``storage.segments``)
    journal/       what the device released (``storage.journal``), what the validator signed (``storage.signing``)
    residuals/     what the device keeps of its updates (``storage.residuals``); may be missing
    sharedsets/    randomised copies of its tables (``storage.sharedsets``); may be missing
    .lock          held by the process that uses the directory
    rpc.cookie     the running node's secret for those who may ask it (``node.rpc``)

Mode 0700. Reading genesis and keys needs no lock; the databases do.
"""

import os
from pathlib import Path

from chain.errors import GenesisError
from chain.genesis import Genesis
from chain.genesis_file import read_genesis, write_genesis
from chain.ids import AccountId
from chain.upgrades import read_upgrades
from storage.base import GenesisData
from storage.errors import DamagedError, UseError
from storage.files import write_file
from storage.journal import FileReleaseJournal
from storage.keystore import KeyFiles
from storage.leveldb import LevelChainStore
from storage.lock import DirectoryLock
from storage.opening import open_chain_store
from storage.payloads import PayloadFiles
from storage.pledges import FilePledges
from storage.residuals import FileResiduals
from storage.seenstores import SeenStores
from storage.sharedsets import FileSharedSets
from storage.signing import FileSigningJournal

_PARTS = ("keys", "payloads", "journal")


class DataDirectory:
    """The paths of a data directory and the stores in it."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        """Name a directory; ``create`` makes one, ``find`` looks whether it is one."""
        self.path = path

    @classmethod
    def create(cls, path: Path, genesis: Genesis) -> "DataDirectory":
        """Make a data directory for a network. ``UseError`` if it is one already, or holds something else."""
        directory = cls(path)
        if directory.genesis_file.exists():
            raise UseError(f"{path} already is a data directory: choose another, or remove it first")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir() if not entry.name.endswith(".tmp")}
        strangers = sorted(names - {*_PARTS, ".lock"})
        if strangers:
            raise UseError(f"{path} is not empty ({', '.join(strangers)[:200]}): choose another directory")
        os.chmod(path, 0o700)
        for part in _PARTS:
            (path / part).mkdir(mode=0o700, exist_ok=True)
        write_file(directory.genesis_file, write_genesis(genesis).encode())
        return directory

    @classmethod
    def find(cls, path: Path) -> "DataDirectory":
        """Return the data directory at ``path``. ``UseError`` if there is none."""
        directory = cls(path)
        if not directory.genesis_file.is_file():
            raise UseError(f"{path} is not a data directory: it has no genesis.json; make one with `fedchain init`")
        return directory

    @property
    def genesis_file(self) -> Path:
        """The genesis document."""
        return self.path / "genesis.json"

    @property
    def upgrades_file(self) -> Path:
        """The upgrades that the network's operators agreed on; it may be missing."""
        return self.path / "upgrades.json"

    @property
    def config_file(self) -> Path:
        """The node's settings."""
        return self.path / "config.toml"

    @property
    def chain_path(self) -> Path:
        """The chain database."""
        return self.path / "chain"

    @property
    def journal_file(self) -> Path:
        """The release journal."""
        return self.path / "journal" / "releases.log"

    def genesis(self) -> Genesis:
        """Return the genesis of the network this directory belongs to, with the upgrades it has taken on.

        ``DamagedError`` if a file can't be read.
        """
        try:
            genesis = read_genesis(self.genesis_file.read_text(encoding="utf-8"))
        except (GenesisError, UnicodeDecodeError) as error:
            raise DamagedError(f"{self.genesis_file}: {error}") from None
        if not self.upgrades_file.is_file():
            return genesis
        try:
            return read_upgrades(self.upgrades_file.read_text(encoding="utf-8"), genesis)
        except (GenesisError, UnicodeDecodeError) as error:
            raise DamagedError(f"{self.upgrades_file}: {error}") from None

    def lock(self) -> DirectoryLock:
        """Take the directory for this process. ``LockedError`` if another has it."""
        return DirectoryLock(self.path / ".lock")

    def keystore(self) -> KeyFiles:
        """Return the keys."""
        return KeyFiles(self.path / "keys")

    def open_chain(self, lock: DirectoryLock, genesis: GenesisData | None = None) -> LevelChainStore:
        """Open the chain store; with ``genesis`` create it if there is none, and refuse another network's."""
        return open_chain_store(self.chain_path, lock, genesis)

    def open_payloads(self, lock: DirectoryLock, max_total_bytes: int | None = None) -> PayloadFiles:
        """Open the payload store."""
        if not lock.is_held:
            raise UseError("payloads opened without the data directory's lock")
        return PayloadFiles(self.path / "payloads", max_total_bytes=max_total_bytes)

    def open_journal(self) -> FileReleaseJournal:
        """Open the release journal; it has its own lock."""
        return FileReleaseJournal(self.journal_file)

    def open_residuals(self) -> FileResiduals:
        """Open what the device keeps of its updates."""
        return FileResiduals(self.path / "residuals")

    def open_shared_sets(self) -> FileSharedSets:
        """Open the randomised copies that the device has made of its tables."""
        return FileSharedSets(self.path / "sharedsets")

    def open_pledges(self) -> FilePledges:
        """Open what this node has helped to decrypt; it has its own lock."""
        return FilePledges(self.path / "journal" / "pledges.log")

    def open_seen_stores(self) -> SeenStores:
        """Open what this node remembers of data stores."""
        return SeenStores(self.path / "journal" / "stores.json")

    def open_signing_journal(self, account: AccountId) -> FileSigningJournal:
        """Open the signing journal of a key; it has its own lock."""
        return FileSigningJournal(self.path / "journal" / f"signed-{account.hex()[:16]}.log")
