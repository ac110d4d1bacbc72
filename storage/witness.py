"""How many commits a database has acknowledged, kept beside it.

LevelDB can't tell a log that lost its end, or that somebody removed, from one that was never longer: it opens with
an earlier state, as if nothing had happened. So the number of commits is in every commit and, once the commit is
durable, in this file too. A database that knows of fewer was cut short.

The file is not flushed: after a power cut it may name an earlier commit, or be empty, and never a later one.
"""

import os
from pathlib import Path
from typing import Final
from zlib import crc32

from storage.files import write_all

_NUMBER_BYTES: Final = 8


class CommitWitness:
    """The file. Opened with the database, closed with it."""

    __slots__ = ("_file",)

    def __init__(self, path: Path) -> None:
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self) -> int:
        """Return the last number written; 0 if there is none or it is not whole."""
        assert self._file is not None
        data = os.pread(self._file, _NUMBER_BYTES + 4, 0)
        number = int.from_bytes(data[:_NUMBER_BYTES], "big")
        return number if data == _encode(number) else 0

    def write(self, commits: int) -> None:
        """Take note of a commit that is durable."""
        assert self._file is not None
        os.lseek(self._file, 0, os.SEEK_SET)
        write_all(self._file, _encode(commits))

    def close(self) -> None:
        """Close the file. Twice does no harm."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _encode(number: int) -> bytes:
    encoded = number.to_bytes(_NUMBER_BYTES, "big")
    return encoded + crc32(encoded).to_bytes(4, "big")
