"""Opening the chain store of a directory: made, migrated and checked before anybody reads from it.

Invariant: a new database is made beside its place and renamed into it complete, so a directory without a tip was cut
short. What is opened belongs to the network that was asked for, and its last commit is whole.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chain.codec import encode
from chain.ids import Height
from storage.base import GenesisData
from storage.database import Database
from storage.errors import ForeignGenesisError, UseError
from storage.files import sync_directory
from storage.layout import (
    AREAS,
    BODY,
    HAS_BODY,
    META_COMMITS,
    META_GENESIS,
    META_SCHEMA,
    META_TIP,
    MIGRATIONS,
    SCHEMA_VERSION,
    Migration,
    Writer,
    encode_version,
    number_key,
    write_state,
)
from storage.leveldb import LevelChainStore, write_connected, write_header
from storage.lock import DirectoryLock

_EMPTY: Final = b""


def create_chain_database(path: Path, lock: DirectoryLock, genesis: GenesisData) -> None:
    """Make a database that holds the genesis block and its state, whole or not at all."""
    aside = path.with_name(path.name + ".new")
    if aside.exists():
        shutil.rmtree(aside)  # an earlier attempt that did not get as far as the rename
    block, id = genesis.block, genesis.block.id

    def fill(writer: Writer) -> None:
        writer.put(META_SCHEMA, encode_version(SCHEMA_VERSION))
        writer.put(META_GENESIS, genesis.genesis)
        write_header(writer, 0, id, block.header)
        writer.put(BODY + id, encode(block.body))
        writer.put(HAS_BODY + id, _EMPTY)
        write_connected(writer, id, 0, genesis.events, [transaction.id for transaction in block.body.transactions])
        write_state(writer, AREAS[0], genesis.changes.items())
        writer.put(META_TIP, id)
        writer.put(META_COMMITS, number_key(b"", 0))

    with Database(aside, lock, create=True) as database:
        database.write(fill, sync=True)
    aside.rename(path)
    sync_directory(path.parent)


def open_chain_store(
    path: Path,
    lock: DirectoryLock,
    genesis: GenesisData | None = None,
    *,
    migrations: Mapping[int, Migration] = MIGRATIONS,
    version: int = SCHEMA_VERSION,
) -> LevelChainStore:
    """Open the chain store in directory ``path``; create it with ``genesis`` if there is none.

    Without ``genesis`` only an existing one opens (for the tools). ``SchemaError`` for one that was written by a newer
    version, ``ForeignGenesisError`` for another network's, ``DamagedError`` for one that is cut short.
    """
    if not path.exists():
        if genesis is None:
            raise UseError(f"{path} does not exist: no node has run in this data directory yet")
        create_chain_database(path, lock, genesis)
    database = Database(path, lock)
    try:
        database.migrate(migrations, version)
        store = LevelChainStore(database)
    except BaseException:
        database.close()
        raise
    try:
        _check_genesis(store, path, genesis)
        store.check_tip()
    except BaseException:
        store.close()
        raise
    return store


def _check_genesis(store: LevelChainStore, path: Path, genesis: GenesisData | None) -> None:
    if genesis is None:
        return
    first = store.block_id_at(Height(0))
    if store.genesis != genesis.genesis:
        raise ForeignGenesisError(
            f"{path} belongs to the network with genesis {store.genesis.hex()}, not {genesis.genesis.hex()}: "
            "use that network's genesis.json, or another data directory"
        )
    if first != genesis.block.id:
        raise ForeignGenesisError(
            f"{path} begins with another block than this version of fedchain makes of the same genesis: "
            "move it away and sync again"
        )
