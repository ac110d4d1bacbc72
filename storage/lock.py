"""One process per data directory, by ``flock``.

The kernel drops the lock when its process ends, however it ends: a lock file that stays behind locks nobody. It is
taken before LevelDB is opened, for LevelDB's own lock can't be trusted within one process (a second open that fails
drops the first one's lock).
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.errors import LockedError


class DirectoryLock:
    """An exclusive lock on a file, held until ``release``. ``LockedError`` if somebody else holds it."""

    __slots__ = ("_file", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise LockedError(
                f"{path.parent} is in use by another process (pid {holder}): "
                "stop that node first, or give this one another data directory"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    @property
    def is_held(self) -> bool:
        """Is the lock still ours?"""
        return self._file is not None

    def release(self) -> None:
        """Let the next one in. Twice does no harm. The file stays: removing it would let two hold "the" lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
