"""What processes take of the machine, all below them included: memory while they run, processor time so far.

Memory is the proportional set: what several processes share is counted once, so that a sum over them means something.
"""

import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import psutil

_EVERY: Final = 1.0
"""Seconds between two looks: reading what a process shares takes it some milliseconds."""


def family(roots: Iterable[int]) -> list[psutil.Process]:
    """Return these processes, as far as they still run, and all that came of them."""
    found: dict[int, psutil.Process] = {}
    for pid in roots:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            found |= {process.pid: process for process in (root, *root.children(recursive=True))}
    return list(found.values())


def processor_seconds(roots: Iterable[int]) -> float:
    """Return the processor time of these processes and all that came of them, so far."""
    total = 0.0
    for process in family(roots):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def memory_bytes(roots: Iterable[int]) -> int:
    """Return the memory of these processes and all that came of them, what they share counted once."""
    total = 0
    for process in family(roots):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            total += process.memory_full_info().pss
    return total


class Footprint:
    """Watches processes from entry to exit: ``peak_mb`` is the most memory they had together, in MB (10**6 bytes)."""

    def __init__(self, *roots: int) -> None:
        self._roots = roots
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_mb = 0.0

    def look(self) -> None:
        """Look now."""
        self.peak_mb = max(self.peak_mb, memory_bytes(self._roots) / 1e6)

    def _watch(self) -> None:
        while not self._end.wait(_EVERY):
            self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
