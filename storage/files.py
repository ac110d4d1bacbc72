"""Small files that are whole or not there (``chain.wholefile``), readable by their owner alone."""

import os
from pathlib import Path

from chain.wholefile import sync_directory, whole_file

__all__ = ["sync_directory", "write_all", "write_file"]


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
