"""A copy of the source in which faults are put and tests are run; the repository itself is never touched.

A copy stays in ``build/mutants`` from one run to the next, with its compiled files, so that only what changed is copied
and compiled again. What is compiled from a fault never outlives it: Python's own cache is removed with the fault, and
the kernels' cache is keyed by their sources.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import cache_from_source
from pathlib import Path
from threading import Event
from typing import Final

from tests.mutants.base import ROOT, Mutant, mutate

_NO_SUCH_TESTS: Final = (4, 5)
_OWN: Final = frozenset({".numba", ".hypothesis", ".pytest_cache", "__pycache__"})
"""What a copy has beside the repository's files."""


class StoppedError(Exception):
    """The run was interrupted; what a killed process would have said is not known."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a run of tests was.

    by       empty if all passed, else the first that failed, or why there is none
    seconds  how long each test took
    places   directories from which something was loaded
    """

    by: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    places: tuple[str, ...] = ()


def list_files(root: Path = ROOT) -> list[str]:
    """Return the repository's files: what is tracked, and what is new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout
    return sorted({name for name in names.decode().split("\0") if name and (root / name).is_file()})


class Workplace:
    """One copy. Not for two threads at once, but for ``stop``."""

    def __init__(self, path: Path, stopped: Event) -> None:
        self.path = path
        self._stopped = stopped
        self._process: subprocess.Popen[bytes] | None = None

    def refresh(self, files: Sequence[str]) -> None:
        """Make the copy what the repository is now."""
        for name in files:
            source, target = ROOT / name, self.path / name
            if not (target.is_file() and _stamp(target) == _stamp(source)):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
                _forget_compiled(target)
        kept = set(files)
        for parent, directories, names in os.walk(self.path):
            directories[:] = [name for name in directories if name not in _OWN]
            for name in names:
                file = Path(parent, name)
                if str(file.relative_to(self.path)) not in kept:
                    file.unlink()
                    _forget_compiled(file)

    def try_tests(self, tests: Sequence[str], limit_s: float, mutant: Mutant | None = None) -> Told:
        """Run tests, with a fault or without, until the first fails or all have passed."""
        if mutant is None:
            return self._run(tests, limit_s)
        file = self.path / mutant.path
        stat, source = file.stat(), file.read_bytes()
        try:
            file.write_text(mutate(mutant, source.decode()), encoding="utf-8")
            _forget_compiled(file)
            return self._run(tests, limit_s)
        finally:
            file.write_bytes(source)
            _forget_compiled(file)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def stop(self) -> None:
        """End the tests that run in the copy."""
        process = self._process
        if process is not None:
            _end(process)

    def _run(self, tests: Sequence[str], limit_s: float) -> Told:
        with tempfile.TemporaryDirectory(prefix="fedchain-mutants-") as scratch:
            told = Path(scratch) / "told.json"
            environment = os.environ | {
                "PYTHONPATH": str(self.path),
                "NUMBA_CACHE_DIR": str(self.path / ".numba"),
                "HYPOTHESIS_STORAGE_DIRECTORY": str(self.path / ".hypothesis"),
                "HYPOTHESIS_PROFILE": "mutants",
                "FEDCHAIN_TOLD": str(told),
            }
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            options = ["-x", "-q", "--tb=line", "--no-header", "-p", "no:cacheprovider", "-p", "tests.mutants.told"]
            command = [sys.executable, "-m", "pytest", *options, "--basetemp", f"{scratch}/tests", *tests]
            with open(Path(scratch) / "said.txt", "w+b") as said:
                self._process = subprocess.Popen(
                    command, cwd=self.path, env=environment, stdout=said, stderr=said, start_new_session=True
                )
                try:
                    code = self._process.wait(limit_s)
                except subprocess.TimeoutExpired:
                    code = None
                finally:
                    _end(self._process)
                    self._process = None
                if self._stopped.is_set():
                    raise StoppedError
                said.seek(0)
                return _read(code, told, said.read().decode(errors="replace"), limit_s)


def _read(code: int | None, told: Path, said: str, limit_s: float) -> Told:
    """Make sense of how pytest ended and of what the plugin wrote."""
    if code is None:
        return Told(f"no end after {limit_s:.0f} s")
    if code < 0:
        return Told(f"the process ended by {signal.Signals(-code).name}")
    if not told.exists():
        last = [line for line in said.splitlines() if line.strip()][-1:]
        return Told(" ".join(["nothing could be loaded:", *last]))
    report = json.loads(told.read_text(encoding="utf-8"))
    failed = report["failed"]
    if code in _NO_SUCH_TESTS and not failed:
        raise SystemExit(f"no such tests:\n{said[-2000:]}")
    by = "" if code == 0 else failed[0] if failed else f"pytest's exit code {code}"
    return Told(by, report["seconds"], tuple(report["places"]))


def _stamp(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


def _forget_compiled(file: Path) -> None:
    """Remove what Python keeps of a source; its own stamp, a second and a size, would not tell a fault from its cure."""
    if file.suffix == ".py":
        Path(cache_from_source(str(file))).unlink(missing_ok=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it has started, and wait for it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
