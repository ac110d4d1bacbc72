"""The ground a testnet stands on: real networks made of Linux namespaces, or the loopback where that is not allowed.

In ``Namespaces`` every node has two cables: one to the others, which faults cut and squeeze, and one for its RPC, which
stays whole, so that whoever judges always gets an answer. A partition plugs cables into a second switch: packets are
lost and nobody is told, as in a real one.

Rules of this file: everything made here has this process's own name in it, and is removed again.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

_BETWEEN: Final = "10.93.0"
_RPC: Final = "10.94.0"
_MOST: Final = 250


class Ground(Protocol):
    """Where nodes run, and what can be done to the lines between them."""

    name: str

    def host(self, number: int) -> str:
        """Return the address under which node ``number`` meets the others."""
        ...

    def rpc_host(self, number: int) -> str:
        """Return the address under which it can be asked."""
        ...

    def prefix(self, number: int) -> list[str]:
        """Return what a command begins with so that it runs where the node is."""
        ...

    def part(self, numbers: Sequence[int]) -> bool:
        """Cut these nodes off from all others, who stay together; False if this ground can't."""
        ...

    def join(self, numbers: Sequence[int]) -> None:
        """End that partition for these nodes."""
        ...

    def squeeze(self, number: int, kbit: int) -> bool:
        """Let node ``number`` send no more than so many kbit/s; 0 lifts it. False if this ground can't."""
        ...

    def mount(self, path: Path, megabytes: int) -> bool:
        """Put a disk of this size at ``path``; False if this ground can't."""
        ...

    def close(self) -> None:
        """Remove what was made."""
        ...


class Loopback:
    """All nodes on 127.0.0.1: their processes can be harmed, the lines between them can't."""

    name = "loopback"

    def host(self, number: int) -> str:
        return "127.0.0.1"

    def rpc_host(self, number: int) -> str:
        return "127.0.0.1"

    def prefix(self, number: int) -> list[str]:
        return []

    def part(self, numbers: Sequence[int]) -> bool:
        return False

    def join(self, numbers: Sequence[int]) -> None:
        raise AssertionError("the loopback was never parted")

    def squeeze(self, number: int, kbit: int) -> bool:
        return False

    def mount(self, path: Path, megabytes: int) -> bool:
        return False

    def close(self) -> None:
        pass


class GroundError(Exception):
    """This machine does not let us make networks."""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GroundError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


class Namespaces:
    """A network namespace for each node, two switches between them, and one for RPC."""

    name = "namespaces"

    def __init__(self, count: int) -> None:
        """Make it. ``GroundError`` if the machine does not allow it; nothing is left then."""
        if count > _MOST:
            raise GroundError(f"{count} nodes; there are addresses for {_MOST}")
        self._tag = f"fc{os.getpid() % 46656:x}"
        self._count = count
        self._mounts: list[Path] = []
        self._switches = {kind: f"{self._tag}{kind}" for kind in ("a", "b", "r")}
        try:
            self._build()
        except (GroundError, FileNotFoundError) as error:
            self.close()
            raise GroundError(str(error)) from None

    def _build(self) -> None:
        for switch in self._switches.values():
            _run("ip", "link", "add", switch, "type", "bridge", "forward_delay", "0")
            _run("ip", "link", "set", switch, "up")
        _run("ip", "addr", "add", f"{_RPC}.254/24", "dev", self._switches["r"])
        for number in range(self._count):
            space = self._space(number)
            _run("ip", "netns", "add", space)
            _run("ip", "-n", space, "link", "set", "lo", "up")
            for kind, switch, net in (("d", "a", _BETWEEN), ("m", "r", _RPC)):
                outer, inner = f"{self._tag}{kind}{number}", f"{kind}0"
                _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space)
                _run("ip", "link", "set", outer, "master", self._switches[switch], "up")
                _run("ip", "-n", space, "addr", "add", f"{net}.{number + 1}/24", "dev", inner)
                _run("ip", "-n", space, "link", "set", inner, "up")

    def _space(self, number: int) -> str:
        return f"{self._tag}n{number}"

    def host(self, number: int) -> str:
        return f"{_BETWEEN}.{number + 1}"

    def rpc_host(self, number: int) -> str:
        return f"{_RPC}.{number + 1}"

    def prefix(self, number: int) -> list[str]:
        return ["ip", "netns", "exec", self._space(number)]

    def part(self, numbers: Sequence[int]) -> bool:
        for number in numbers:
            _run("ip", "link", "set", f"{self._tag}d{number}", "master", self._switches["b"])
        return True

    def join(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            _run("ip", "link", "set", f"{self._tag}d{number}", "master", self._switches["a"])

    def squeeze(self, number: int, kbit: int) -> bool:
        cable = ("-n", self._space(number))
        if not kbit:
            subprocess.run(["tc", *cable, "qdisc", "del", "dev", "d0", "root"], capture_output=True, check=False)
            return True
        try:
            limit = ("tbf", "rate", f"{kbit}kbit", "burst", "16kb", "latency", "400ms")
            _run("tc", *cable, "qdisc", "replace", "dev", "d0", "root", *limit)
        except (GroundError, FileNotFoundError):
            return False
        return True

    def mount(self, path: Path, megabytes: int) -> bool:
        try:
            _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(path))
        except GroundError:
            return False
        self._mounts.append(path)
        return True

    def close(self) -> None:
        """Remove the namespaces and switches; mounts go too, what is in them is lost."""
        for path in self._mounts:
            keep = path.with_name(path.name + ".kept")
            shutil.copytree(path, keep, ignore_dangling_symlinks=True)
            subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=False)
            shutil.copytree(keep, path, dirs_exist_ok=True)
            shutil.rmtree(keep)
        self._mounts.clear()
        for number in range(self._count):
            subprocess.run(["ip", "netns", "del", self._space(number)], capture_output=True, check=False)
            for kind in "dm":
                outer = f"{self._tag}{kind}{number}"
                subprocess.run(["ip", "link", "del", outer], capture_output=True, check=False)
        for switch in self._switches.values():
            subprocess.run(["ip", "link", "del", switch], capture_output=True, check=False)


def make_ground(kind: str, count: int) -> Ground:
    """Return the ground that was asked for: ``namespaces``, ``loopback``, or ``auto``, the first that is allowed."""
    if kind == "loopback":
        return Loopback()
    try:
        return Namespaces(count)
    except GroundError as error:
        if kind == "namespaces":
            raise
        print(f"no namespaces here ({error}): on the loopback, without partitions, slow links and full disks")
        return Loopback()
