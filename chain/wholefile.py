"""Files that are whole or not there: written aside under a name nobody can guess, flushed, renamed.

A file that grows under its final name is half a file after a crash or on a full disk; one that grows under a name that
can be guessed can be written through a link that somebody else has put there, in a directory that others may write to.

Rules of this file: knows bytes and names, and nothing of what they mean.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def whole_file(path: Path, *, mode: int = 0o644, replace: bool = True, sync: bool = True) -> Iterator[BinaryIO]:
    """Lend a stream whose bytes become the file at ``path`` when the block ends well; else nothing is left of them.

    A link at ``path`` is replaced, not followed; a pipe or a device (``/dev/stdout``) is written to as it is. ``mode``
    is of a new file, less the process's umask. ``replace=False`` raises ``FileExistsError`` rather than take the place
    of another; ``sync=False`` leaves it open whether the name survives a power cut.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        with path.open("wb") as stream:
            yield stream
        return
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        descriptor = os.open(aside, _NEW, mode)
    except OSError as error:
        error.filename = str(path)  # nobody has heard of the other
        raise
    with os.fdopen(descriptor, "wb") as stream:
        try:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
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


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as stream:
        stream.write(text.encode("utf-8"))


def open_plainly(path: str, flags: int) -> int:
    """Open a file that is no link: the opener for ``open`` where a name has to be one that can be guessed."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
