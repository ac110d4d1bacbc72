"""Chaos: a testnet of real processes that is harmed in every way at random while a plan runs; then a judgement.

    python -m tests.chaos.run [SEED] [--nodes 12] [--devices 8] [--engine pow|pos] …       (make chaos does the same)

The plan must finish whatever happens; afterwards all nodes agree, no coin is lost, every process ends with code 0,
every database is sound, and no device released twice for one task. A few nodes at most are harmed at a time. Prints
what it did and what is wrong, and writes it to build/chaos.json; exit code 0 only if nothing is. The faults repeat
with their seed, though not to the millisecond. What failed is kept, homes and logs.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, Final

from rich.console import Console

from node.client import Client, ClientError
from node.errors import LocalnetError
from node.localnet.processes import NodeHome
from node.localnet.progress import Progress
from node.localnet.run import open_clients, submit_plan
from tests.chaos.faults import FAULTS
from tests.chaos.ground import Ground, make_ground
from tests.chaos.judge import judge_chain, judge_disks, judge_end
from tests.chaos.town import Town, TownSpec

QUIET: Final = Progress(Console(quiet=True))
PATIENCE_S: Final = 1500.0
DISK_MB: Final = 48
DISKS: Final = 4
"""Nodes that stand on a small disk of their own."""


async def harm_one(town: Town, kind: str, home: NodeHome, random: Random) -> None:
    """Do one thing to one node, and wait until it is whole again."""
    town.harmed.add(home.name)
    try:
        if await FAULTS[kind](town, home, random.uniform(1, 15), random):
            town.done[kind] += 1
    finally:
        town.harmed.discard(home.name)


async def harm(town: Town, most: int, kinds: list[str], random: Random, until: asyncio.Event) -> None:
    """Do harm until told to stop; when this returns, every node is up."""
    async with asyncio.TaskGroup() as tasks:
        while not until.is_set():
            await asyncio.sleep(random.uniform(0.3, 3.0))
            town.note_deaths()
            free = town.free()
            if len(town.harmed) >= most or town.problems or not free:
                continue
            kind = random.choice(kinds)
            mounted = [home for home in free if home.path.is_mount()]
            among = mounted if kind == "fill disk" and mounted else free
            tasks.create_task(harm_one(town, kind, random.choice(among), random))


async def wait_for_end(town: Town, plan: str, end: asyncio.Event) -> str:
    """Return the plan's status when it has ended, as any node tells it."""
    deadline = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline and not town.problems:
            for home in town.free():
                if (status := await _status(home, plan)) != "running":
                    return status
            await asyncio.sleep(1)
        return "running"
    finally:
        end.set()


async def _status(home: NodeHome, plan: str) -> str:
    """Return a plan's status as this node tells it; "running" if it does not tell, or the plan has not ended."""
    try:
        async with asyncio.timeout(3), Client.from_home(home.path) as client:
            status = (await client.plan(plan)).standing.status
    except (ClientError, TimeoutError):
        return "running"
    return status if status in ("finished", "cancelled") else "running"


async def run(town: Town, most: int, kinds: list[str]) -> dict[str, Any]:
    """Do it all; ``town.problems`` says what is wrong."""
    random = Random(town.spec.seed)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(town.stop_all)
        for home in town.layout.homes:
            await town.start(home)
        async with AsyncExitStack() as first:
            await open_clients(town.layout, list(town.processes.values()), first)
        plan, end = await submit_plan(town.layout, QUIET), asyncio.Event()
        began = time.monotonic()
        status, _ = await asyncio.gather(wait_for_end(town, plan, end), harm(town, most, kinds, random, end))
        seconds = time.monotonic() - began
        if status != "finished":
            town.problems.append(f"the plan is {status}")
        try:
            report = await judge_chain(town, plan)
        except (LocalnetError, ClientError) as error:  # the report must say what else was seen
            town.problems.append(f"no judgement: {error}")
            report = {}
    judge_end(town)
    return report | {"plan": status, "plan_seconds": round(seconds, 1)}


def mount_disks(town: Town, ground: Ground) -> None:
    """Give a few nodes small disks of their own, with what they have so far."""
    for home in town.layout.homes[1 : 1 + DISKS]:
        aside = home.path.with_name(home.path.name + ".aside")
        shutil.copytree(home.path, aside)
        if ground.mount(home.path, DISK_MB):
            shutil.copytree(aside, home.path, dirs_exist_ok=True)
            home.path.chmod(0o700)
        shutil.rmtree(aside)


def parse_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--nodes", type=int, default=12)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--engine", choices=("pow", "pos"), default="pow")
    parser.add_argument("--plan", default="plan", help="of examples/heart: plan, paillier, masks, …")
    parser.add_argument("--block-ms", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--ground", choices=("auto", "namespaces", "loopback"), default="auto")
    parser.add_argument("--kinds", default=",".join(FAULTS), help="faults to do, of: " + ", ".join(FAULTS))
    parser.add_argument("--json", type=Path, default=Path("build/chaos.json"))
    return parser.parse_args()


def main() -> int:
    """Run once; return the exit code."""
    asked = parse_arguments()
    place = Path(tempfile.mkdtemp(prefix="chaos-"))
    ground = make_ground(asked.ground, asked.nodes + asked.devices)
    try:
        spec = TownSpec(
            place, asked.nodes, asked.devices, asked.rounds, asked.block_ms, asked.seed, asked.engine, asked.plan
        )
        town = Town(spec, ground)
        mount_disks(town, ground)
        # Under proof of stake more than a third of the validators away means waiting: that is promised, and no fault.
        most = max(1, min(asked.nodes // 4, (asked.nodes - 1) // 3 if asked.engine == "pos" else asked.nodes))
        report = asyncio.run(run(town, most, asked.kinds.split(",")))
        report["releases"] = judge_disks(town)
    finally:
        ground.close()
    report |= {
        "seed": asked.seed,
        "engine": asked.engine,
        "learned": asked.plan,
        "ground": ground.name,
        "nodes": asked.nodes,
        "devices": asked.devices,
        "faults": dict(sorted(town.done.items())),
        "most_rss_mb": round(max(town.peaks.values(), default=0.0), 1),
        "problems": town.problems,
    }
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    if town.problems:
        print(f"{len(town.problems)} problems; homes and logs are kept in {place}")
    else:
        shutil.rmtree(place)
        print("all is well")
    return bool(town.problems)


if __name__ == "__main__":
    sys.exit(main())
