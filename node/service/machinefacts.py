"""How the machine is: what other programs use of it, whether it has power, whether its network is metered.

Load and battery are psutil's; whether there is a battery at all, and whether the connection is metered, the operating
system says where it does (``/sys/class/power_supply``, NetworkManager's ``nmcli``). What can't be told is None.

Rules of this file: looking only; what follows from it is ``node.roles.conditions``'s.
"""

import os
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from node.events import MachineSensed

LOOK_S: Final = 10.0
_LOOKS: Final = 3
"""The load is the mean of so many looks: a program that starts is not a machine in use."""
_NETWORK_S: Final = 60.0
_NMCLI_TIMEOUT_S: Final = 5.0
_ROUTES: Final = Path("/proc/net/route")
_POWER_SUPPLIES: Final = Path("/sys/class/power_supply")

Ask = Callable[[], str]


class MachineWatch:
    """Looks at this machine. ``ask_network`` and ``supplies`` are for tests, which have neither network nor battery."""

    def __init__(self, ask_network: Ask | None = None, supplies: Path = _POWER_SUPPLIES) -> None:
        self._process = psutil.Process()
        self._loads: deque[float] = deque(maxlen=_LOOKS)
        self._ask_network = _ask_nmcli if ask_network is None else ask_network
        self._supplies = supplies
        self._is_metered: bool | None = None
        self._asked_at = float("-inf")
        self._read_load()  # the first figures count from here

    def look(self) -> MachineSensed:
        """Return how the machine is now; takes some milliseconds, once a minute seconds: not for the event loop."""
        self._loads.append(self._read_load())
        now = time.monotonic()
        if now - self._asked_at >= _NETWORK_S:
            self._asked_at = now
            self._is_metered = read_metered(self._ask_network())
        load = round(sum(self._loads) / len(self._loads))
        return MachineSensed(max(0, load), read_power(self._supplies), self._is_metered)

    def _read_load(self) -> float:
        """Return the per cent of all processors that programs other than this one used since the last call."""
        own = float(self._process.cpu_percent(None)) / (os.cpu_count() or 1)
        return max(0.0, float(psutil.cpu_percent(None)) - own)


def read_power(supplies: Path) -> bool | None:
    """Does the machine have power? A machine without a battery has; None if nobody can tell."""
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is not None:
        return None if battery.power_plugged is None else bool(battery.power_plugged)
    if not supplies.is_dir():
        return None
    kinds = [(entry / "type").read_text().strip() for entry in supplies.iterdir() if (entry / "type").is_file()]
    return True if "Battery" not in kinds else None


def read_metered(text: str) -> bool | None:
    """Return what NetworkManager thinks of the connection: "yes", "no", either with "(guessed)"; None for others."""
    word = text.strip().lower().partition(" ")[0]
    return {"yes": True, "no": False}.get(word)


def find_default_device(routes: str) -> str:
    """Return the network device of the default route in the kernel's table (``/proc/net/route``); empty if none is."""
    found = []
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000":
            found.append((int(fields[6]), fields[0]))
    return min(found)[1] if found else ""


def _ask_nmcli() -> str:
    """Return what nmcli says of the device that the default route goes through; empty if there is none, or no nmcli."""
    program = shutil.which("nmcli")
    device = find_default_device(_ROUTES.read_text()) if _ROUTES.is_file() else ""
    if program is None or not device:
        return ""
    try:
        done = subprocess.run(
            [program, "--get-values", "GENERAL.METERED", "device", "show", device],
            capture_output=True,
            text=True,
            timeout=_NMCLI_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
