"""Small files that are whole or not there: written aside, flushed, renamed, and the directory flushed."""

import os
import secrets
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


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
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        if replace:
            os.rename(aside, path)
        else:
            os.link(aside, path)
            os.unlink(aside)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)
