"""Opening data files: plain or gzip, within a size limit, every failure a ``DataError`` naming the file.

Rules of this file: bytes only.
"""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fl.errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_BYTES: Final = 4 << 30
"""Most bytes read from a file, after decompression."""
_GZIP_MAGIC: Final = b"\x1f\x8b"


class _Limited(io.RawIOBase):
    """A stream that refuses to give more than a number of bytes: a small gzip file can hold a huge text."""

    def __init__(self, stream: gzip.GzipFile, name: str, limit: int) -> None:
        self._stream = stream
        self._name = name
        self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        target = memoryview(buffer)
        data = self._stream.read(len(target))
        self._left -= len(data)
        if self._left < 0:
            raise DataError(f"{self._name}: is larger than what is read of a file")
        target[: len(data)] = data
        return len(data)


@contextmanager
def open_data(path: Path, limit: int = MAX_BYTES) -> Iterator[io.BufferedReader]:
    """Open a file for reading, decompressing gzip. ``DataError`` for what can't be opened, read or decompressed."""
    with explained(path):
        if path.is_dir():
            raise DataError(f"{path.name}: is a directory, not a data file")
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP_MAGIC
            if not packed and os.fstat(raw.fileno()).st_size > limit:
                raise DataError(f"{path.name}: is larger than the {limit} bytes that are read")
            if not packed:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield io.BufferedReader(_Limited(unpacked, path.name, limit), 1 << 20)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what reading a file can raise into ``DataError``."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name}: is cut short or is not valid gzip ({error})") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name}: byte {error.start} is not UTF-8 text ({error.reason}); save the file as UTF-8"
        ) from None
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror or error})") from None
