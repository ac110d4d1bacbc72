"""Small files that are whole or not there (``chain.wholefile``), readable by their owner alone."""

import os
import secrets
from pathlib import Path
from typing import Final

from chain.wholefile import sync_directory, whole_file

__all__ = ["sync_directory", "sync_file", "write_all", "write_file", "write_unsynced"]

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_all(file: int, data: bytes) -> None:
    """Write every byte to a file descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def write_file(path: Path, data: bytes, *, mode: int = 0o600, replace: bool = True, sync: bool = True) -> None:
    """Write a file so that after a crash it holds all of ``data``, or what it held before.

    The file's bytes are always flushed before it gets its name. ``replace=False`` raises ``FileExistsError`` rather
    than take the place of another; ``sync=False`` leaves it open whether the name survives a power cut.
    """
    with whole_file(path, mode=mode, replace=replace, sync=sync) as stream:
        stream.write(data)


def write_unsynced(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file that is whole or not there however the process ends; a power cut may leave anything in it.

    Only for bytes that are compared with their digest whenever they are read: waiting for a disk takes milliseconds.
    """
    aside = f"{path}.{secrets.token_hex(6)}.tmp"
    file = os.open(aside, _NEW, mode)
    try:
        try:
            write_all(file, data)
        finally:
            os.close(file)
        os.rename(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def sync_file(path: str) -> None:
    """Make the bytes of a file, and its name, durable."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
    sync_directory(Path(path).parent)
