"""What is done to nodes, a function a fault. Each ends with the node as whole as it was, and running.

``seconds`` is how long the fault lasts. A fault that this ground can't do returns False and has done nothing.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from node.localnet.processes import NodeHome, last_lines
from tests.chaos.town import Town

Fault = Callable[[Town, NodeHome, float, Random], Awaitable[bool]]
_BLOCK: Final = 1 << 16
_LAST_WRITE_S: Final = 8.0
"""A node that could not write has stopped by then."""


async def kill(town: Town, home: NodeHome, seconds: float, random: Random) -> bool:
    """The power fails (SIGKILL), and comes back at once or after a while."""
    process = town.processes[home.name]
    town.note_peak(home.name)
    process.kill()
    await process.wait()
    await asyncio.sleep(random.choice([0.0, seconds / 3]))
    await town.start(home)
    return True


async def freeze(town: Town, home: NodeHome, seconds: float, random: Random) -> bool:
    """The process stands still (SIGSTOP) with its connections open."""
    pid = town.processes[home.name].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
    return True


async def stop(town: Town, home: NodeHome, seconds: float, random: Random) -> bool:
    """An operator stops the node in order (SIGTERM) and starts it again."""
    town.note_peak(home.name)
    code = await town.processes[home.name].stop()
    # A process that is told to stop before it has begun to listen for that just ends.
    if code not in (0, -signal.SIGTERM):
        town.problems.append(f"{home.name} stopped with code {code}")
    await asyncio.sleep(seconds / 5)
    await town.start(home)
    return True


async def skew(town: Town, home: NodeHome, seconds: float, random: Random) -> bool:
    """The node is started anew with a clock that is up to a second and a half fast or slow."""
    town.skews[home.name] = random.choice([-1500, -700, 700, 1500])
    await kill(town, home, 0.0, random)
    await asyncio.sleep(seconds)
    town.skews.pop(home.name)
    return await kill(town, home, 0.0, random)


async def slow(town: Town, home: NodeHome, seconds: float, random: Random) -> bool:
    """The node's line carries 64 to 512 kbit/s."""
    number = town.numbers[home.name]
    if not town.ground.squeeze(number, random.choice([64, 256, 512])):
        return False
    try:
        await asyncio.sleep(2 * seconds)
    finally:
        town.ground.squeeze(number, 0)
    return True


async def part(town: Town, home: NodeHome, seconds: float, random: Random) -> bool:
    """The network falls into two parts, up to a third of the nodes in the smaller one."""
    others = [each for each in town.free() if each.name != home.name]
    count = random.randrange(max(1, len(town.layout.homes) // 3))
    chosen = [home, *random.sample(others, min(count, len(others)))]
    numbers = [town.numbers[each.name] for each in chosen]
    town.harmed.update(each.name for each in chosen)
    try:
        if not town.ground.part(numbers):
            return False
        await asyncio.sleep(2 * seconds)
        town.ground.join(numbers)
    finally:
        town.harmed.difference_update(each.name for each in chosen[1:])
    return True


async def fill_disk(town: Town, home: NodeHome, seconds: float, random: Random) -> bool:
    """Something else fills the node's disk: it may stop, saying why; when there is room again it goes on."""
    if not home.path.is_mount():
        return False
    filler = home.path / "filler"
    fill(filler)
    process = town.processes[home.name]
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), 2 * seconds)
    filler.unlink()
    with suppress(TimeoutError):  # it may have begun to stop a moment ago
        await asyncio.wait_for(process.wait(), _LAST_WRITE_S)
    if process.exit_code is None:
        return True  # it had nothing to write in that time
    said = last_lines(home.path / "console.log", 40, 20_000)
    if process.exit_code != 1 or "space" not in said.lower():
        town.problems.append(f"{home.name} on a full disk ended with code {process.exit_code}: {said[-500:]}")
    await town.start(home)
    return True


def fill(path: Path) -> None:
    """Write until there is no room."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(_BLOCK)):
            pass


FAULTS: Final[dict[str, Fault]] = {
    "kill": kill,
    "freeze": freeze,
    "stop": stop,
    "skew": skew,
    "slow": slow,
    "part": part,
    "fill disk": fill_disk,
}
