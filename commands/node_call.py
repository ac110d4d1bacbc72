"""Asking a running node: the one way from a command to ``node.client``.

Rules of this file: the client (and asyncio's HTTP) is imported when a command needs it, not before.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from commands.home import home_directory
from commands.output import CommandFailed, UsageFault

if TYPE_CHECKING:
    from node.client import Client

T = TypeVar("T")
_LEAST_PREFIX = 4


def ask(home: Path | None, question: "Callable[[Client], Awaitable[T]]", timeout_s: float | None = None) -> T:
    """Return what ``question`` makes of the node that runs in a data directory. A ``ClientError`` if none does.

    ``timeout_s`` bounds each call, in place of the client's own.
    """
    from node.client import Client
    from storage.directory import DataDirectory

    path = home_directory(home)
    DataDirectory.find(path)

    async def run() -> T:
        client = Client.from_home(path) if timeout_s is None else Client.from_home(path, timeout_s=timeout_s)
        async with client as node:
            return await question(node)

    return asyncio.run(run())


async def find_plan(node: "Client", name: str) -> str:
    """Return the id of the plan that ``name`` means: an id, or the beginning of just one id on the chain."""
    prefix = name.strip().lower()
    if not prefix or set(prefix) - set("0123456789abcdef") or len(prefix) > 64:
        raise UsageFault(f"plan {name!r}: must be the 64 hex digits of its id, or the first few of them")
    if len(prefix) == 64:
        return prefix
    if len(prefix) < _LEAST_PREFIX:
        raise UsageFault(f"plan {name!r}: give at least {_LEAST_PREFIX} digits of its id")
    found = [view.plan for view in await node.plans() if view.plan.startswith(prefix)]
    if not found:
        raise CommandFailed(f"no plan on this chain begins with {name}", "fedchain plan list shows the plans")
    if len(found) > 1:
        raise UsageFault(f"{len(found)} plans begin with {name}", "give more digits: fedchain plan list --json")
    return found[0]
