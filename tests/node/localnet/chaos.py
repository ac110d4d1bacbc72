"""Chaos: a localnet whose processes are killed, frozen and stopped at random while a plan runs; then a judgement.

    python -m tests.node.localnet.chaos [SEED] [--block-ms N] [--rounds N]        (make chaos does the same)

At most two nodes are down at once. The plan must finish whatever happens; afterwards all nodes agree, no coin is lost,
every process ends with code 0, every database is sound, and no device released twice for one task. Prints what it
did and what is wrong; exit code 0 only if nothing is. What it found is shown by the seed: the faults repeat, though
not to the millisecond.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from rich.console import Console

from node.client import Client, ClientError
from node.localnet.homes import Layout, lay_out
from node.localnet.processes import NodeHome, NodeProcess, last_lines
from node.localnet.progress import Progress
from node.localnet.run import open_clients, submit_plan
from node.localnet.spec import LocalnetSpec
from node.localnet.summary import chain_part, read_chain, wait_for_agreement
from storage.base import JournalEntry
from storage.check import check_stores
from storage.directory import DataDirectory

HEART: Final = Path(__file__).parents[3] / "examples" / "heart"
QUIET: Final = Progress(Console(quiet=True))
PATIENCE_S: Final = 600.0
AGREE_S: Final = 90.0
SETTLE_S: Final = 3.0
MOST_DOWN: Final = 2
KINDS: Final = ("kill", "kill", "kill owner", "freeze", "freeze", "stop")


class Chaos:
    """One network, its processes, and what was done to them."""

    def __init__(self, layout: Layout, seed: int) -> None:
        self.layout = layout
        self.processes: dict[str, NodeProcess] = {}
        self.done: Counter[str] = Counter()
        self.problems: list[str] = []
        self._random = Random(seed)
        self._down: set[str] = set()

    async def start(self, home: NodeHome) -> None:
        self.processes[home.name] = await NodeProcess.start(home)

    def note_deaths(self) -> None:
        """Take note of processes that ended though nobody ended them."""
        for home in self.layout.homes:
            process = self.processes[home.name]
            if home.name not in self._down and process.exit_code is not None:
                self.problems.append(f"{home.name} died: {last_lines(home.path / 'console.log')}")

    # --- faults ---

    async def kill(self, home: NodeHome, seconds: float) -> None:
        process = self.processes[home.name]
        process.kill()
        await process.wait()
        await asyncio.sleep(self._random.choice([0.0, seconds / 3]))
        await self.start(home)

    async def freeze(self, home: NodeHome, seconds: float) -> None:
        pid = self.processes[home.name].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    async def stop(self, home: NodeHome, seconds: float) -> None:
        code = await self.processes[home.name].stop()
        # A process that is told to stop before it has begun to listen for that just ends.
        if code not in (0, -signal.SIGTERM):
            self.problems.append(f"{home.name} stopped with code {code}")
        await asyncio.sleep(seconds / 5)
        await self.start(home)

    async def harm_one(self) -> None:
        """Do one thing to one node, and wait until it is up again."""
        kind = self._random.choice(KINDS)
        free = [home for home in self.layout.homes if home.name not in self._down]
        home = self.layout.owner if kind == "kill owner" else self._random.choice(free)
        if home.name in self._down:
            return
        faults: dict[str, Callable[[NodeHome, float], Coroutine[None, None, None]]] = {
            "kill": self.kill,
            "kill owner": self.kill,
            "freeze": self.freeze,
            "stop": self.stop,
        }
        self.done[kind] += 1
        self._down.add(home.name)
        try:
            await faults[kind](home, self._random.uniform(1, 15))
        finally:
            self._down.discard(home.name)

    async def harm(self, until: asyncio.Event) -> None:
        """Do harm until told to stop; when this returns, every node is up."""
        async with asyncio.TaskGroup() as tasks:
            while not until.is_set():
                await asyncio.sleep(self._random.uniform(0.3, 3.5))
                self.note_deaths()
                if len(self._down) < MOST_DOWN and not self.problems:
                    tasks.create_task(self.harm_one())

    # --- the plan ---

    async def wait_for_end(self, plan: str, end: asyncio.Event) -> str:
        """Return the plan's status when it has ended, as any node tells it."""
        deadline = time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < deadline and not self.problems:
                for home in self.layout.homes:
                    if home.name not in self._down and (status := await _status(home, plan)) != "running":
                        return status
                await asyncio.sleep(1)
            return "running"
        finally:
            end.set()

    async def judge(self, plan: str) -> None:
        """Let all nodes come together, and compare what they have."""
        async with AsyncExitStack() as stack:
            nodes = await open_clients(self.layout, [self.processes[home.name] for home in self.layout.homes], stack)
            await asyncio.gather(*(node.client.call("miner.pause") for node in nodes if node.role == "miner"))
            if not await wait_for_agreement(nodes, AGREE_S):
                self.problems.append("the nodes do not come to one head")
            # A block that was sealed just before its miner was paused may still be on its way.
            await asyncio.sleep(SETTLE_S)
            record = await read_chain(nodes, plan)
        summary = chain_part(record, {}, self.layout.genesis)
        if not record.agreed:
            pairs = zip(nodes, record.statuses, strict=True)
            heads = [f"{node.name} {one.height} {one.head[:12]} ({one.state})" for node, one in pairs]
            self.problems.append(f"they do not agree: {', '.join(heads)}; models {set(record.model_digests)}")
        if not summary["supply_conserved"]:
            self.problems.append(f"coins were made or lost: {record.supplies}")

    def judge_disks(self) -> None:
        """Check every database, and that no task has two releases."""
        released: dict[tuple[bytes, bytes], JournalEntry] = {}
        for home in self.layout.homes:
            directory = DataDirectory.find(home.path)
            with directory.lock() as lock, directory.open_journal() as journal:
                store = directory.open_chain(lock)
                report = check_stores(store, directory.open_payloads(lock), journal)
                store.close()
                self.problems += [f"{home.name}: {problem}" for problem in report.problems]
                for entry in journal.entries():
                    if released.setdefault((entry.task, entry.device), entry) != entry:
                        self.problems.append(f"{home.name} released twice for task {entry.task.hex()}")
        if not released:
            self.problems.append("nothing was released: this run shows nothing")

    async def run(self) -> None:
        """Do it all; ``problems`` says what is wrong."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._stop_all)
            for home in self.layout.homes:
                await self.start(home)
            async with AsyncExitStack() as first:
                await open_clients(self.layout, list(self.processes.values()), first)
            plan, end = await submit_plan(self.layout, QUIET), asyncio.Event()
            status, _ = await asyncio.gather(self.wait_for_end(plan, end), self.harm(end))
            if status != "finished":
                self.problems.append(f"the plan is {status}")
            await self.judge(plan)
        for name, process in self.processes.items():
            if process.exit_code != 0:
                self.problems.append(f"{name} ended with code {process.exit_code}")
        self.judge_disks()

    async def _stop_all(self) -> None:
        await asyncio.gather(*(process.stop() for process in self.processes.values()))


async def _status(home: NodeHome, plan: str) -> str:
    """Return a plan's status as this node tells it; "running" if it does not tell, or the plan has not ended."""
    try:
        async with asyncio.timeout(3), Client.from_home(home.path) as client:
            status = (await client.plan(plan)).standing.status
    except (ClientError, TimeoutError):
        return "running"
    return status if status in ("finished", "cancelled") else "running"


def main() -> int:
    """Run once; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--block-ms", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    spec = partial(LocalnetSpec, HEART / "plan.toml", HEART / "data", block_ms=arguments.block_ms, seed=arguments.seed)
    place = Path(tempfile.mkdtemp(prefix="chaos-"))
    chaos = Chaos(lay_out(spec(out=place / "net", rounds=arguments.rounds)), arguments.seed)
    asyncio.run(chaos.run())
    faults = ", ".join(f"{count} × {kind}" for kind, count in sorted(chaos.done.items()))
    print(f"seed {arguments.seed}: {chaos.done.total()} faults ({faults})")
    for problem in chaos.problems:
        print(f"  {problem}")
    if chaos.problems:
        print(f"{len(chaos.problems)} problems; homes and logs are kept in {place}")
    else:
        shutil.rmtree(place)
        print("all is well")
    return bool(chaos.problems)


if __name__ == "__main__":
    sys.exit(main())
