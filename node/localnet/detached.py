"""A localnet that goes on after the command that started it: its record on disk, its state, its end.

``localnet.json`` names every process by id and start time, so that only what was started here is ever stopped.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from node.client import Client, ClientError
from node.errors import LocalnetError
from node.localnet.homes import RECORD, Layout
from node.localnet.processes import start_detached, stop_recorded

_YOUNG_S: Final = 30.0
"""A process that is younger and does not answer is still starting."""


@dataclass(frozen=True, slots=True)
class Member:
    """A process of a detached localnet."""

    name: str
    role: str
    home: Path
    pid: int
    started: float

    def is_running(self) -> bool:
        """Does the process that was started still run?"""
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and bool(abs(process.create_time() - self.started) <= 1.0)
        except psutil.NoSuchProcess:
            return False


def bring_up(layout: Layout) -> tuple[Member, ...]:
    """Start every node, write the record, and return the members; the processes outlive this one."""
    members = []
    for home in layout.homes:
        pid = start_detached(home)
        members.append(Member(home.name, home.role, home.path, pid, psutil.Process(pid).create_time()))
    rows = [{"name": m.name, "role": m.role, "home": str(m.home), "pid": m.pid, "started": m.started} for m in members]
    (layout.out / RECORD).write_text(json.dumps({"plan": str(layout.plan_file), "nodes": rows}, indent=2) + "\n")
    return tuple(members)


def read_members(out: Path) -> tuple[Member, ...]:
    """Return the members of the localnet in a directory. ``LocalnetError`` if there is none."""
    record = out / RECORD
    if not record.is_file():
        raise LocalnetError(f"{out} holds no running localnet", "start one: fedchain localnet up PLAN --data DIR")
    rows = json.loads(record.read_text())["nodes"]
    return tuple(Member(row["name"], row["role"], Path(row["home"]), row["pid"], row["started"]) for row in rows)


def bring_down(out: Path) -> dict[str, bool]:
    """Stop every node and remove the record; tell for each whether it still ran."""
    stopped = {member.name: stop_recorded(member.pid, member.started) for member in read_members(out)}
    (out / RECORD).unlink()
    return stopped


async def read_state(out: Path) -> list[dict[str, Any]]:
    """Return what each member says of itself, "down" for one that does not run, "starting" for one not yet there."""
    return list(await asyncio.gather(*(_state(member) for member in read_members(out))))


async def _state(member: Member) -> dict[str, Any]:
    known: dict[str, Any] = {"name": member.name, "role": member.role, "pid": member.pid, "home": str(member.home)}
    if not member.is_running():
        return known | {"state": "down"}
    try:
        async with Client.from_home(member.home) as client:
            status = await client.status()
    except ClientError as error:
        is_young = time.time() - member.started < _YOUNG_S
        return known | {"state": "starting" if is_young else "not answering", "cause": error.cause}
    return known | {"state": status.state, "height": status.height, "head": status.head, "peers": status.peers}
