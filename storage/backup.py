"""A copy of a node's chain and payloads, made while the node goes on.

The database is read through one snapshot, so the copy is the node at one instant, whatever is committed meanwhile;
payload files and full segments never change, so they are linked where the file system can, and copied where it can't.
What comes of it is a data directory without keys and journals: `fedchain db check` reads it, and to restore it its
``chain`` and ``payloads`` go back where they came from. Keys and journals are left alone on purpose: an old journal in
the place of a newer one would let a device release, or a validator sign, twice.
"""

import errno
import glob
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chain.ids import Hash, Height
from storage.database import Database
from storage.directory import DataDirectory
from storage.errors import StorageError, UseError
from storage.files import sync_directory
from storage.layout import META_TIP, Writer
from storage.leveldb import LevelChainStore
from storage.lock import DirectoryLock
from storage.payloads import PayloadFiles

_BATCH_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What is in a backup: up to which block, and how much."""

    tip: Hash
    height: Height
    keys: int
    payloads: int
    payloads_linked: int


def back_up(
    directory: DataDirectory,
    store: LevelChainStore,
    payloads: PayloadFiles,
    to: Path,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> BackupReport:
    """Copy what the store and the payload files hold now into a new directory, which has its name when it is whole.

    May run in any thread. ``UseError`` if ``to`` exists, ``StorageError`` if the disk is full or it was cancelled.
    """
    if to.exists():
        raise UseError(f"{to} exists already: name a new directory")
    _remove_parts(to)
    part = to.with_name(f".{to.name}.{secrets.token_hex(6)}.part")
    try:
        report = _fill(directory, store, payloads, part, is_cancelled)
        part.rename(to)
    except OSError as error:
        raise StorageError(f"the backup can't be written: {error.strerror}: {error.filename}") from None
    finally:
        if part.exists():
            shutil.rmtree(part, ignore_errors=True)
    sync_directory(to.parent)
    return report


def _remove_parts(to: Path) -> None:
    """Remove what backups to this place left that were killed: directories of this user's own, and no links."""
    for left in to.parent.glob(f".{glob.escape(to.name)}.*.part"):
        if left.is_dir() and not left.is_symlink() and left.stat().st_uid == os.geteuid():
            shutil.rmtree(left)


def _fill(
    directory: DataDirectory, store: LevelChainStore, payloads: PayloadFiles, to: Path, is_cancelled: Callable[[], bool]
) -> BackupReport:
    for path in (to, *[to / name for name in ("keys", "payloads", "journal")]):
        path.mkdir(mode=0o700, parents=True)
    with DirectoryLock(to / ".lock") as lock:
        tip, keys = _copy_database(store, to / "chain", lock, is_cancelled)
    count, linked = _copy_segments(payloads, to / "payloads", is_cancelled)
    for id in payloads.file_ids():
        if is_cancelled():
            raise StorageError("the backup was cancelled")
        has_linked = _copy_payload(payloads.path, to / "payloads", id)
        count += has_linked is not None
        linked += bool(has_linked)
    for file in (directory.config_file, directory.upgrades_file, directory.genesis_file):
        if file.is_file():
            shutil.copy2(file, to / file.name)
    header = store.header(tip)
    if header is None:
        raise store.database.damage(f"the header of the tip {tip.hex()} is missing")
    return BackupReport(tip, header.height, keys, count, linked)


def _copy_database(
    store: LevelChainStore, to: Path, lock: DirectoryLock, is_cancelled: Callable[[], bool]
) -> tuple[Hash, int]:
    """Write every key of one snapshot into a new database; return the tip and the number of keys."""
    snapshot = store.database.snapshot()
    try:
        tip = snapshot.get(META_TIP)
        assert tip is not None  # every batch that was ever written kept it
        with Database(to, lock, create=True) as copy:
            batch: list[tuple[bytes, bytes]] = []
            count = size = 0
            for key, value in snapshot.scan(b""):
                batch.append((key, value))
                count, size = count + 1, size + len(key) + len(value)
                if size >= _BATCH_BYTES:
                    _write(copy, batch)
                    batch, size = [], 0
                    if is_cancelled():
                        raise StorageError("the backup was cancelled")
            _write(copy, batch)
    finally:
        snapshot.close()
    return Hash(tip), count


def _write(database: Database, items: list[tuple[bytes, bytes]]) -> None:
    def fill(writer: Writer) -> None:
        for key, value in items:
            writer.put(key, value)

    database.write(fill, sync=True)


def _copy_segments(payloads: PayloadFiles, to: Path, is_cancelled: Callable[[], bool]) -> tuple[int, int]:
    """Link or copy the segments, then copy what was deleted of them; return how many payloads, and how many linked."""
    source = payloads.segments
    with source.copying() as (segments, dead):
        if not segments:
            return 0, 0
        new = to / source.path.name
        new.mkdir(mode=0o700)
        is_linked = True
        for segment in segments:
            if is_cancelled():
                raise StorageError("the backup was cancelled")
            is_linked = _link(segment, new / segment.name) and is_linked
        count = len(source.ids())
        if dead.exists():
            shutil.copy2(dead, new / dead.name)
    return count, count if is_linked else 0


def _copy_payload(source: Path, to: Path, id: Hash) -> bool | None:
    """Link a payload file, or copy it: was it linked? None if it was pruned meanwhile."""
    name = id.hex()
    old, new = source / name[:2] / name[2:], to / name[:2] / name[2:]
    new.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        return _link(old, new)
    except FileNotFoundError:
        return None


def _link(old: Path, new: Path) -> bool:
    """Link a file, or copy it where the file system can't: was it linked?"""
    try:
        os.link(old, new)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        shutil.copy2(old, new)
        return False
    return True
