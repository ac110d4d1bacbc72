"""The processes of a localnet: start them, see what they use, stop them, and say why one died.

Only processes started here are ever signalled, each by its own handle or by the id written down at its start
together with its start time, so that a recycled process id is never hit.
"""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from node.errors import LocalnetError

STOP_SECONDS = 8.0
"""How long a process may take to stop before it is killed; a node itself promises 5 s."""


LIGHT: Final = "light device"
"""The role of a device without a chain: of it, only its own status can be asked."""


@dataclass(frozen=True, slots=True)
class NodeHome:
    """One node of a localnet: its name, what it does, and its data directory."""

    name: str
    role: str
    path: Path


class NodeProcess:
    """A running node, ``fedchain node start`` in a process of its own."""

    def __init__(self, home: NodeHome, process: asyncio.subprocess.Process) -> None:
        self.home = home
        self._process = process
        self._handle = psutil.Process(process.pid)
        self._peak_bytes = 0
        self._cpu_seconds = 0.0

    @classmethod
    async def start(cls, home: NodeHome, *arguments: str) -> "NodeProcess":
        """Start the node of ``home``; what it prints goes to ``console.log`` in its home."""
        return await cls.spawn(home, *command_line(home), *arguments)

    @classmethod
    async def spawn(cls, home: NodeHome, *command: str) -> "NodeProcess":
        """Start a command that is the node of ``home``, or stands for one."""
        with (home.path / "console.log").open("ab") as console:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=child_environment(),
                start_new_session=True,
            )
        return cls(home, process)

    @property
    def pid(self) -> int:
        """The operating system's id of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or ``None`` while the process runs."""
        return self._process.returncode

    def peak_rss_mb(self) -> float:
        """Return the largest resident memory seen so far, in MB (10**6 bytes)."""
        # A process that has ended keeps its last reading.
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            self._peak_bytes = max(self._peak_bytes, peak_resident_bytes(self.pid), self._handle.memory_info().rss)
        return self._peak_bytes / 1e6

    def cpu_seconds(self) -> float:
        """Return what the process took of all cores so far, user and system."""
        with suppress(psutil.NoSuchProcess):
            times = self._handle.cpu_times()
            self._cpu_seconds = times.user + times.system
        return self._cpu_seconds

    def rss_bytes(self) -> int:
        """Return the resident memory now, 0 of a process that has ended."""
        with suppress(psutil.NoSuchProcess):
            return int(self._handle.memory_info().rss)
        return 0

    def check(self) -> None:
        """Raise ``LocalnetError`` with the end of its output if the process has died."""
        if self.exit_code is not None:
            raise LocalnetError(
                f"{self.home.name} stopped with exit code {self.exit_code}",
                f"its output ends: {last_lines(self.home.path / 'console.log')}",
            )

    def kill(self) -> None:
        """End the process at once, as a crash would (SIGKILL)."""
        if self.exit_code is None:
            self._process.kill()

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        return await self._process.wait()

    async def stop(self) -> int:
        """Ask the process to stop (SIGTERM), kill it if it does not, and return its exit code."""
        self.peak_rss_mb()
        self.cpu_seconds()
        if self.exit_code is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
            except TimeoutError:
                self._process.kill()
        return await self._process.wait()


def command_line(home: NodeHome) -> list[str]:
    """Return the command that runs the node of a home."""
    return [sys.executable, "-m", "cli", "node", "start", "--home", str(home.path)]


def start_detached(home: NodeHome) -> int:
    """Start the node of a home so that it outlives this program, and return its process id."""
    with (home.path / "console.log").open("ab") as console:
        process = subprocess.Popen(
            command_line(home),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=child_environment(),
            start_new_session=True,
        )
    process.returncode = 0  # it is not ours to wait for; without this Popen warns when it is forgotten
    return process.pid


def child_environment() -> dict[str, str]:
    """Return the environment of a child: this one's, with one thread for libraries that would take all cores."""
    return os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def peak_resident_bytes(pid: int) -> int:
    """Return the kernel's own high-water mark of a process (``VmHWM``), 0 where the system has none."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def last_lines(path: Path, count: int = 8, max_bytes: int = 4000) -> str:
    """Return the last lines of a text file, or a note that there is none."""
    if not path.exists():
        return "(no output)"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - max_bytes))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-count:]) or "(no output)"


def stop_recorded(pid: int, started: float) -> bool:
    """Stop the process with this id if it still is the one that started then; say whether it was there."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - started) > 1.0:
            return False
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
    except psutil.NoSuchProcess:
        return False
    return True
